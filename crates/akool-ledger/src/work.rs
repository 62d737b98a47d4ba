//! Work that a ledger has: [`KnownWork`], [`EntryId`].

use std::{fmt, time::SystemTime};

use akool::{JobId, Language, Status};
use serde::{Deserialize, Serialize};

/// The translation into one language that the ledger has already.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KnownWork {
    /// The entry of the request.
    pub entry: EntryId,
    /// When the request was made.
    pub at: SystemTime,
    /// The target language.
    pub language: Language,
    /// The job. `None` if the outcome of the request is unknown, or not known yet.
    pub job: Option<JobId>,
    /// The last known status of the job.
    pub status: Option<Status>,
    /// Whether another future or process is making the request now.
    pub in_flight: bool,
}

impl KnownWork {
    /// Creates work whose outcome is unknown.
    pub fn new(entry: EntryId, at: SystemTime, language: Language) -> Self {
        Self { entry, at, language, job: None, status: None, in_flight: false }
    }
}

impl fmt::Display for KnownWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.job, self.status) {
            (Some(job), Some(status)) => write!(f, "{} is job {job} ({status})", self.language),
            (Some(job), None) => write!(f, "{} is job {job}", self.language),
            (None, _) if self.in_flight => {
                write!(f, "{} is being created now (ledger entry {})", self.language, self.entry)
            }
            (None, _) => write!(f, "{}: outcome unknown (ledger entry {})", self.language, self.entry),
        }
    }
}

/// The id of an entry in a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(String);

impl EntryId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for EntryId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl From<&str> for EntryId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
