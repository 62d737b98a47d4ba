//! Why nothing was created, or why nobody knows: [`CreateError`].

use std::fmt;

use super::{Creation, Refusal};
use crate::{
    Error, ErrorKind,
    ledger::{EntryId, KnownWork, LedgerError},
};

/// Why a request created nothing, or why nobody knows whether it did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The request breaks a rule of the documents. Nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidTranslation),
    /// The ledger has this work already. Nothing was sent.
    #[error("{}", already_there(.0))]
    AlreadyThere(Vec<KnownWork>),
    /// The intent could not be written down. Nothing was sent.
    #[error("nothing was asked for, since it could not be written down first: {0}")]
    Ledger(#[from] LedgerError),
    /// The request was refused, or did not reach the service. Nothing was created, and the same request
    /// may be sent again.
    #[error("nothing was created: {0}")]
    NotCreated(Error),
    /// Every language was refused on its own. Nothing was created.
    #[error("nothing was created: {}", list(.0))]
    AllRefused(Vec<Refusal>),
    /// The request may have reached the service: jobs may have been created and paid for, whose ids
    /// nobody told. It is not sent again by itself.
    #[error(transparent)]
    MaybeCreated(MaybeCreated),
    /// Jobs were created, but the ledger could not be told of them. This is the only place that has
    /// their ids.
    #[error("jobs were created ({}), but not written down: {error}; keep their ids", ids(.creation))]
    Unrecorded {
        /// What was created.
        creation: Creation,
        /// Why it was not written down.
        error: LedgerError,
    },
}

impl CreateError {
    /// Decides whether anything may have come of a request that failed in this way.
    pub(super) fn of(error: Error) -> Self {
        let refused_by_envelope = error.code().is_some();
        let never_sent = error.kind() == ErrorKind::Connect
            || (error.http_status().is_none()
                && matches!(error.kind(), ErrorKind::Rejected | ErrorKind::CredentialsRefused));
        // 408 may come from a gateway that had passed the request on; 303 follows a success.
        let turned_away = matches!(error.http_status(), Some(301 | 302 | 307 | 308 | 400..=407 | 409..=499));
        if refused_by_envelope || never_sent || turned_away {
            Self::NotCreated(error)
        } else {
            Self::MaybeCreated(MaybeCreated { error, entry: None })
        }
    }

    /// Whether jobs may exist that were paid for, so that the same request must not simply be sent
    /// again.
    pub fn may_have_created(&self) -> bool {
        matches!(self, Self::MaybeCreated(_) | Self::Unrecorded { .. })
    }

    /// The failed call, where it came to one.
    pub fn call(&self) -> Option<&Error> {
        match self {
            Self::NotCreated(error) => Some(error),
            Self::MaybeCreated(maybe) => Some(&maybe.error),
            _ => None,
        }
    }
}

/// Nobody knows whether jobs were created.
#[derive(Debug)]
#[non_exhaustive]
pub struct MaybeCreated {
    /// Why there is no answer that tells.
    pub error: Error,
    /// Under what the ledger has the request, where there is one.
    pub entry: Option<EntryId>,
}

impl MaybeCreated {
    pub(super) fn in_ledger_as(self, entry: EntryId) -> Self {
        Self { entry: Some(entry), ..self }
    }
}

impl fmt::Display for MaybeCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the outcome is unknown: {}; the job may have been created and paid for. Look for it in the \
             service's console before you ask for it again",
            self.error.cause()
        )?;
        match &self.entry {
            Some(entry) => write!(f, " (ledger entry {entry})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for MaybeCreated {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// What in a request breaks a rule of the documents, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTranslation(String);

impl InvalidTranslation {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for InvalidTranslation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidTranslation {}

fn list(refused: &[Refusal]) -> String {
    let refused: Vec<_> = refused.iter().map(ToString::to_string).collect();
    refused.join("; ")
}

fn ids(creation: &Creation) -> String {
    let ids: Vec<_> = creation.jobs().iter().map(|job| job.id.to_string()).collect();
    ids.join(", ")
}

fn already_there(work: &[KnownWork]) -> String {
    let work: Vec<_> = work.iter().map(ToString::to_string).collect();
    format!("already asked for: {}; ask for it `again` to pay for it once more", work.join("; "))
}
