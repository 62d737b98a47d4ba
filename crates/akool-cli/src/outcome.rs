//! How a run ended, and the exit code that tells it.

use akool::{CreateError, Error, ErrorKind, WaitError};
use akool_download::DownloadError;

/// How a run, or one job of it, ended. The greater one counts where there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Done,
    /// Answers hold something new.
    Drifting,
    Timeout,
    JobFailed,
    Unexpected,
    Unreachable,
    /// Answers are not as described.
    Violating,
    CredentialsRefused,
    Unknown,
    WrongUse,
    Interrupted,
}

impl Outcome {
    /// As documented in `--help` and the README.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unexpected => 1,
            Self::WrongUse => 2,
            Self::JobFailed => 3,
            Self::Timeout => 4,
            Self::CredentialsRefused => 5,
            Self::Unreachable => 6,
            Self::Unknown => 7,
            Self::Drifting => 8,
            Self::Violating => 9,
            Self::Interrupted => 130,
        }
    }
}

impl From<&Error> for Outcome {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::CredentialsRefused => Self::CredentialsRefused,
            kind if kind.is_transient() => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }
}

impl From<&WaitError> for Outcome {
    fn from(error: &WaitError) -> Self {
        match error {
            WaitError::JobFailed(_) => Self::JobFailed,
            WaitError::Timeout(_) => Self::Timeout,
            WaitError::RetriesExhausted(_) => Self::Unreachable,
            WaitError::Rejected(end) => end.last_error.as_ref().map_or(Self::Unexpected, Self::from),
            _ => Self::Unexpected,
        }
    }
}

impl From<&CreateError> for Outcome {
    fn from(error: &CreateError) -> Self {
        match error {
            CreateError::Invalid(_) => Self::WrongUse,
            // Refused as a whole, as a language may be on its own.
            CreateError::NotCreated(error)
                if error.code().is_some()
                    && matches!(error.kind(), ErrorKind::Rejected | ErrorKind::UnknownJob) =>
            {
                Self::JobFailed
            }
            CreateError::NotCreated(error) => Self::from(error),
            CreateError::AllRefused(_) => Self::JobFailed,
            CreateError::OutcomeUnknown(_) => Self::Unknown,
            _ => Self::Unexpected,
        }
    }
}

impl From<&DownloadError> for Outcome {
    fn from(error: &DownloadError) -> Self {
        match error {
            DownloadError::Failed { .. } => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_endings_the_documented_one_counts() {
        let mut all = [
            Outcome::JobFailed,
            Outcome::Done,
            Outcome::Interrupted,
            Outcome::Unreachable,
            Outcome::Violating,
            Outcome::Drifting,
            Outcome::WrongUse,
            Outcome::Timeout,
            Outcome::Unexpected,
            Outcome::CredentialsRefused,
            Outcome::Unknown,
        ];
        all.sort();
        all.reverse();
        assert_eq!(all.map(Outcome::exit_code), [130, 2, 7, 5, 9, 6, 1, 3, 4, 8, 0]);
    }
}
