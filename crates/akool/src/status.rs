//! Where a job stands: [`Status`].

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where a job stands, as `video_status` says on the wire.
///
/// The documented values have names. Any other is kept as [`Status::Unknown`]: the service may
/// add a new one at any time, and a wait for a paid job must not end because of it.
///
/// ```
/// use akool::Status;
///
/// assert_eq!(Status::from(3), Status::Completed);
/// assert!(Status::Completed.is_terminal());
/// // A status of tomorrow: not an error, and not an end.
/// assert_eq!(Status::from(7).to_string(), "unknown (7)");
/// assert!(!Status::from(7).is_terminal());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// 1: queued.
    Queueing,
    /// 2: is being translated.
    Processing,
    /// 3: completed; the response has the link to the video.
    Completed,
    /// 4: failed; the response may say why.
    Failed,
    /// An undocumented value. Not terminal: polling continues.
    Unknown(i64),
}

impl Status {
    /// Every status that the description knows, in the order of its numbers.
    pub const KNOWN: &'static [Self] = &[Self::Queueing, Self::Processing, Self::Completed, Self::Failed];

    /// Whether the job will not change any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// The status in one lower-case word: `queueing`, `processing`, `completed`, `failed` or
    /// `unknown`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queueing => "queueing",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(code) => f.pad(&format!("unknown ({code})")),
            known => f.pad(known.name()),
        }
    }
}

impl From<i64> for Status {
    fn from(code: i64) -> Self {
        match code {
            1 => Self::Queueing,
            2 => Self::Processing,
            3 => Self::Completed,
            4 => Self::Failed,
            other => Self::Unknown(other),
        }
    }
}

impl From<Status> for i64 {
    fn from(status: Status) -> Self {
        match status {
            Status::Queueing => 1,
            Status::Processing => 2,
            Status::Completed => 3,
            Status::Failed => 4,
            Status::Unknown(code) => code,
        }
    }
}

/// As on the wire: a number.
impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64((*self).into())
    }
}

/// As on the wire: a number.
impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_the_way_there_and_back() {
        for code in [-1, 0, 1, 2, 3, 4, 5, i64::MIN, i64::MAX] {
            let status = Status::from(code);
            assert_eq!(i64::from(status), code);
            let json = serde_json::to_string(&status).unwrap();
            assert_eq!(json, code.to_string());
            assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
            let known = Status::KNOWN.contains(&status);
            assert_eq!(known, !matches!(status, Status::Unknown(_)));
        }
    }
}
