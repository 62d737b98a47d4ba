//! The id of a job: [`JobId`].

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The id of a job: `_id` in responses, `video_model_id` in requests.
///
/// Any text is accepted, because the service documents no format. Cheap to clone.
///
/// ```
/// let id = akool::JobId::from("64dd92c1f0b6684651e90e09");
/// assert_eq!(id.as_str(), "64dd92c1f0b6684651e90e09");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct JobId(Arc<str>);

impl JobId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for JobId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl From<String> for JobId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

impl From<&Self> for JobId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for JobId {
    /// Escapes characters that are not safe on a terminal: an id may come from anywhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::redact::fmt_escaped(&self.0, f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}
