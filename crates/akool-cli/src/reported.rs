//! What a place says of a job, or of what it did not do, as it is reported: [`Known`], [`Failure`].

use akool::{Error, Status};
use akool_ledger::LedgerError;

use crate::{outcome::Outcome, text};

/// Why a place did not do something, as it is reported.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: String,
    pub(crate) text: String,
    pub(crate) help: Option<String>,
    pub(crate) outcome: Outcome,
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        let text = text::with_causes(&error);
        Self { kind: "ledger".to_owned(), text, help: None, outcome: Outcome::Unexpected }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().name().to_owned(),
            text: text::with_causes(error),
            help: Some(error.help().to_owned()),
            outcome: Outcome::from(error),
        }
    }
}

/// What a place knows of a job that has not ended, if it has no whole response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) status: Option<Status>,
    pub(crate) progress: Option<u8>,
}
