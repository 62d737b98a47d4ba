//! How a run ended, and its exit code: the only table of them.

use akool::{CreateError, Error, ErrorKind, NotCreated, WaitError};
use akool_download::DownloadError;
use akool_ledger::EnsureError;

/// How a run, or one of its jobs, ended. They are in order of precedence: if several apply, the greatest is
/// the outcome of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Done,
    Drifting,
    Timeout,
    BudgetReached,
    JobFailed,
    Unexpected,
    Unreachable,
    Violating,
    CredentialsRefused,
    Unknown,
    Usage,
    Interrupted,
}

impl Outcome {
    pub(crate) const ALL: [Self; 12] = [
        Self::Done,
        Self::Drifting,
        Self::Timeout,
        Self::BudgetReached,
        Self::JobFailed,
        Self::Unexpected,
        Self::Unreachable,
        Self::Violating,
        Self::CredentialsRefused,
        Self::Unknown,
        Self::Usage,
        Self::Interrupted,
    ];

    /// The exit code and its meaning. The help texts are made from this table, and the command reference is printed from
    /// the help text.
    const fn row(self) -> (u8, &'static str) {
        match self {
            Self::Done => (0, "success (`status`: all jobs were polled; `--no-wait`: all jobs were created)"),
            Self::Unexpected => (1, "unexpected error, such as an unknown job id"),
            Self::Usage => (2, "wrong usage or configuration"),
            Self::JobFailed => (3, "a job failed, or AKOOL rejected a language"),
            Self::Timeout => (4, "not completed yet, or timed out; the job continues"),
            Self::CredentialsRefused => (5, "AKOOL rejected the credentials"),
            Self::Unreachable => (6, "AKOOL or the store of --stage could not be reached, or kept failing"),
            Self::Unknown => (7, "outcome unknown: a job may have been created and charged"),
            Self::Drifting => {
                (8, "something is undocumented, but nothing is invalid (`contract check`, `contract proxy`)")
            }
            Self::Violating => {
                (9, "something does not match the description (`contract check`, `contract proxy`)")
            }
            Self::BudgetReached => {
                (10, "not everything was created: `--max-credits` or `--reserve` is reached")
            }
            Self::Interrupted => (130, "interrupted; the jobs continue"),
        }
    }

    pub(crate) const fn exit_code(self) -> u8 {
        self.row().0
    }
}

/// The table of these exit codes, and which of them takes precedence.
pub(crate) fn help(mut outcomes: Vec<Outcome>) -> String {
    outcomes.sort_by_key(|outcome| outcome.exit_code());
    let mut text = String::from("Exit codes:\n");
    for (code, meaning) in outcomes.iter().map(|outcome| outcome.row()) {
        text += &format!("  {code:<3}  {meaning}\n");
    }
    outcomes.sort();
    let codes = outcomes.iter().rev().filter(|outcome| **outcome != Outcome::Done);
    let codes: Vec<_> = codes.map(|outcome| outcome.exit_code().to_string()).collect();
    text + "If several apply, the first of " + &codes.join(", ") + " is used."
}

impl From<&Error> for Outcome {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::CredentialsRefused => Self::CredentialsRefused,
            kind if kind.is_retryable() => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }
}

impl From<&WaitError> for Outcome {
    fn from(error: &WaitError) -> Self {
        match error {
            WaitError::JobFailed(_) => Self::JobFailed,
            WaitError::Timeout { .. } => Self::Timeout,
            WaitError::RetriesExhausted { .. } => Self::Unreachable,
            WaitError::Rejected { source, .. } => Self::from(source),
            _ => Self::Unexpected,
        }
    }
}

impl From<&CreateError> for Outcome {
    fn from(error: &CreateError) -> Self {
        match error {
            CreateError::Invalid(_) => Self::Usage,
            // A rejected request counts as its rejected languages.
            CreateError::NotCreated(NotCreated { error, .. })
                if error.code().is_some()
                    && matches!(error.kind(), ErrorKind::Rejected | ErrorKind::UnknownJob) =>
            {
                Self::JobFailed
            }
            CreateError::NotCreated(NotCreated { error, .. }) => Self::from(error),
            CreateError::OutcomeUnknown(_) => Self::Unknown,
            _ => Self::Unexpected,
        }
    }
}

impl From<&EnsureError> for Outcome {
    fn from(error: &EnsureError) -> Self {
        match error {
            EnsureError::NotCreated(error) | EnsureError::OutcomeUnknown { source: error, .. } => {
                Self::from(error)
            }
            _ => Self::Unexpected,
        }
    }
}

impl From<&DownloadError> for Outcome {
    fn from(error: &DownloadError) -> Self {
        match error {
            DownloadError::Failed { .. } | DownloadError::Stalled { .. } => Self::Unreachable,
            _ => Self::Unexpected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_listed_in_order_of_precedence() {
        assert!(Outcome::ALL.is_sorted());
        assert!(
            help(Outcome::ALL.to_vec()).ends_with("the first of 130, 2, 7, 5, 9, 6, 1, 3, 10, 4, 8 is used.")
        );
    }
}
