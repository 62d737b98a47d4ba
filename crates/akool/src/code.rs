//! The business codes of the envelope: [`BusinessCode`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// The `code` of an answer's envelope: 1000 is success, anything else is an error, whatever the
/// HTTP status says.
///
/// Codes that the table lacks stay readable, and count against the failure budget of a wait.
///
/// ```
/// use akool::{BusinessCode, Retry};
///
/// let code = BusinessCode(1006);
/// assert_eq!(code.meaning(), Some("quota balance too low"));
/// assert_eq!(code.retry(), Retry::Never);
/// assert_eq!(BusinessCode(1299).retry(), Retry::Unknown);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BusinessCode(pub i64);

/// Whether the same call may succeed when it is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// It will not.
    Never,
    /// It will, a little later.
    Later,
    /// It may, with another credential.
    WithNewCredential,
    /// The code is not in the table: nobody knows.
    Unknown,
}

impl BusinessCode {
    /// 1000: the call succeeded.
    pub const SUCCESS: Self = Self(1000);

    /// The codes that a translation can meet, with what they mean and whether trying again helps.
    /// From the vendor's public documentation.
    pub const TABLE: &'static [(Self, &'static str, Retry)] = &[
        (Self(1000), "success", Retry::Never),
        (Self(1003), "parameter wrong or missing", Retry::Never),
        (Self(1004), "verification required", Retry::Never),
        (Self(1005), "operating too frequently", Retry::Later),
        (Self(1006), "quota balance too low", Retry::Never),
        (Self(1008), "content does not exist", Retry::Never),
        (Self(1009), "no permission", Retry::Never),
        (Self(1010), "content can't be operated on", Retry::Never),
        (Self(1011), "content was already operated on", Retry::Never),
        (Self(1013), "the video needs an audio track", Retry::Never),
        (Self(1014), "resource does not exist", Retry::Never),
        (Self(1015), "video processing failed", Retry::Never),
        (Self(1101), "token invalid or expired", Retry::WithNewCredential),
        (Self(1102), "token missing", Retry::Never),
        (Self(1103), "not paid or overdue", Retry::Never),
        (Self(1104), "credits too low", Retry::Never),
        (Self(1109), "account does not exist", Retry::Never),
        (Self(1200), "account is blocked", Retry::Never),
        (Self(1202), "same video, same language, lip-sync once only", Retry::Never),
        (Self(1203), "the video needs an audio track", Retry::Never),
        (Self(1204), "video too long (60 s)", Retry::Never),
        (Self(1205), "video creation failed", Retry::Never),
        (Self(1207), "video too large (300 MB)", Retry::Never),
        (Self(1208), "video parsing failed", Retry::Never),
        (Self(1209), "encoding not supported", Retry::Never),
        (Self(1210), "more than 30 frames per second", Retry::Never),
        (Self(1213), "subscription needed", Retry::Never),
        (Self(1221), "subscription needed", Retry::Never),
    ];

    /// What the code means, where that is documented.
    pub fn meaning(self) -> Option<&'static str> {
        self.row().map(|(_, meaning, _)| meaning)
    }

    /// Whether the same call may succeed when it is made again.
    pub fn retry(self) -> Retry {
        self.row().map_or(Retry::Unknown, |(_, _, retry)| retry)
    }

    fn row(self) -> Option<(Self, &'static str, Retry)> {
        Self::TABLE.iter().copied().find(|(code, _, _)| *code == self)
    }
}

impl fmt::Display for BusinessCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.meaning() {
            Some(meaning) => write!(f, "{} ({meaning})", self.0),
            None => write!(f, "{} (undocumented)", self.0),
        }
    }
}
