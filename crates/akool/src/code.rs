//! The table of business codes: [`BusinessCode`].
//!
//! This is the only place that says what a code means, which kind of error it is, and whether a creation that
//! was answered with it may have created jobs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kind::ErrorKind;

/// The `code` in the envelope of a response: 1000 is success, anything else is an error, whatever the HTTP
/// status is.
///
/// A code that is not documented stays readable, and is retried by a wait.
///
/// ```
/// use akool::{BusinessCode, ErrorKind};
///
/// let code = BusinessCode(1006);
/// assert_eq!(code.meaning(), Some("quota balance too low"));
/// assert_eq!(code.kind(), ErrorKind::Rejected);
/// assert!(!code.is_retryable() && !code.may_have_created());
/// assert!(BusinessCode(1299).is_retryable());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BusinessCode(pub i64);

/// Code, meaning, kind of error, whether jobs may have been created.
type Row = (i64, &'static str, ErrorKind, bool);

/// The documented errors that a translation can meet. From the vendor's public documentation.
#[rustfmt::skip]
const TABLE: &[Row] = {
    use ErrorKind::{CredentialsRefused, RateLimited, Rejected, UnknownJob};
    &[
        (1003, "parameter wrong or missing", Rejected, false),
        (1004, "verification required", Rejected, false),
        (1005, "operating too frequently", RateLimited, false),
        (1006, "quota balance too low", Rejected, false),
        (1008, "content does not exist", UnknownJob, false),
        (1009, "no permission", Rejected, false),
        (1010, "content can't be operated on", Rejected, false),
        (1011, "content was already operated on", Rejected, false),
        (1013, "the video needs an audio track", Rejected, false),
        (1014, "resource does not exist", UnknownJob, false),
        (1015, "video processing failed", Rejected, true),
        (1101, "token invalid or expired", CredentialsRefused, false),
        (1102, "token missing", CredentialsRefused, false),
        (1103, "not paid or overdue", Rejected, false),
        (1104, "credits too low", Rejected, false),
        (1109, "account does not exist", CredentialsRefused, false),
        (1200, "account is blocked", CredentialsRefused, false),
        (1202, "same video, same language, lip-sync once only", Rejected, false),
        (1203, "the video needs an audio track", Rejected, false),
        (1204, "video too long (60 s)", Rejected, false),
        (1205, "video creation failed", Rejected, true),
        (1207, "video too large (300 MB)", Rejected, false),
        (1208, "video parsing failed", Rejected, true),
        (1209, "encoding not supported", Rejected, false),
        (1210, "more than 30 frames per second", Rejected, false),
        (1213, "subscription needed", Rejected, false),
        (1221, "subscription needed", Rejected, false),
    ]
};

impl BusinessCode {
    /// 1000: the call succeeded.
    pub const SUCCESS: Self = Self(1000);

    /// All documented codes: success first, then the errors in ascending order.
    pub fn documented() -> impl Iterator<Item = Self> {
        std::iter::once(Self::SUCCESS).chain(TABLE.iter().map(|row| Self(row.0)))
    }

    /// The documented meaning. `None` if the code is not documented.
    pub fn meaning(self) -> Option<&'static str> {
        if self == Self::SUCCESS { Some("success") } else { self.row().map(|row| row.1) }
    }

    /// The kind of error. [`ErrorKind::UnknownCode`] if the code is not documented as an error.
    pub fn kind(self) -> ErrorKind {
        self.row().map_or(ErrorKind::UnknownCode, |row| row.2)
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(self) -> bool {
        self.kind().is_retryable()
    }

    /// Whether jobs may exist after a creation was answered with this code.
    pub fn may_have_created(self) -> bool {
        self.row().is_none_or(|row| row.3)
    }

    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.0 == self.0)
    }
}

impl fmt::Display for BusinessCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.meaning().unwrap_or("undocumented"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_each_code_means_and_what_follows() {
        use ErrorKind::{CredentialsRefused, RateLimited, Rejected, UnknownCode, UnknownJob};
        for (code, shown, kind, may_have_created) in [
            (1000, "1000 (success)", UnknownCode, true),
            (1003, "1003 (parameter wrong or missing)", Rejected, false),
            (1005, "1005 (operating too frequently)", RateLimited, false),
            (1014, "1014 (resource does not exist)", UnknownJob, false),
            (1015, "1015 (video processing failed)", Rejected, true),
            (1101, "1101 (token invalid or expired)", CredentialsRefused, false),
            (1299, "1299 (undocumented)", UnknownCode, true),
        ] {
            let code = BusinessCode(code);
            assert_eq!((code.to_string().as_str(), code.kind()), (shown, kind));
            assert_eq!(code.may_have_created(), may_have_created, "{code}");
            assert_eq!(code.is_retryable(), matches!(kind, RateLimited | UnknownCode), "{code}");
        }
        assert!(BusinessCode::documented().all(|code| code.meaning().is_some()));
        assert_eq!(BusinessCode(1299).meaning(), None);
    }
}
