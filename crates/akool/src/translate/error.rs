//! Why nothing was created, or why nobody knows: [`CreateError`].

use std::fmt;

use super::{Creation, Refusal};
use crate::{
    Error, ErrorKind, Retry,
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
    #[error("nothing was created: {}; {}", .0.cause(), advice(.0))]
    NotCreated(Error),
    /// Every language was refused on its own. Nothing was created.
    #[error("nothing was created: {}", list(.0))]
    AllRefused(Vec<Refusal>),
    /// Jobs were created, but not for every language: others were refused, or the answer says nothing
    /// clear of them. Only [`Ensured::into_jobs`](super::Ensured::into_jobs) makes an error of it.
    #[error("jobs were created ({}), but not for every language{}", ids(.0), rest(.0))]
    Partly(Creation),
    /// The request may have reached the service: jobs may have been created and paid for, whose ids
    /// nobody told. It is not sent again by itself.
    #[error(transparent)]
    OutcomeUnknown(OutcomeUnknown),
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
    /// Decides whether anything may have come of a request that failed in this way. Certain is only
    /// what never left this machine, and what the service itself refused: a gateway's answer says
    /// nothing of what the service behind it has done.
    pub(super) fn of(error: Error) -> Self {
        let status = error.http_status().unwrap_or_default();
        // 408 and 499 may come from a gateway that had passed the request on; 302 and 303 may follow a
        // success.
        let turned_away = matches!(status, 301 | 307 | 308 | 400..=407 | 409..=498);
        let refused = error.code().is_some_and(|code| {
            let processing_failed = matches!(code.0, 1015 | 1205 | 1208);
            let by_a_gateway = matches!(status, 408 | 499..);
            code.retry() != Retry::Unknown && !processing_failed && !by_a_gateway
        });
        if error.is_without_effect() || turned_away || refused {
            Self::NotCreated(error)
        } else {
            Self::OutcomeUnknown(OutcomeUnknown { error, entry: None })
        }
    }

    /// Whether jobs may exist that were paid for, so that the same request must not simply be sent
    /// again.
    pub fn may_have_created(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_) | Self::Partly(_) | Self::Unrecorded { .. })
    }

    /// The failed call, where it came to one.
    pub fn call(&self) -> Option<&Error> {
        match self {
            Self::NotCreated(error) => Some(error),
            Self::OutcomeUnknown(maybe) => Some(&maybe.error),
            _ => None,
        }
    }
}

/// Nobody knows whether jobs were created.
#[derive(Debug)]
#[non_exhaustive]
pub struct OutcomeUnknown {
    /// Why there is no answer that tells.
    pub error: Error,
    /// Under what the ledger has the request, where there is one.
    pub entry: Option<EntryId>,
}

impl OutcomeUnknown {
    pub(super) fn in_ledger_as(self, entry: EntryId) -> Self {
        Self { entry: Some(entry), ..self }
    }
}

impl fmt::Display for OutcomeUnknown {
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

impl std::error::Error for OutcomeUnknown {
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

fn rest(creation: &Creation) -> String {
    let refused = creation.refused().iter().map(|refusal| format!("; {refusal}"));
    let unclear = creation.unclear().iter().map(|language| format!("; {language}: outcome unknown"));
    refused.chain(unclear).collect()
}

/// What to do about a refused creation.
fn advice(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::UnknownJob => "check that what the request names is there, and belongs to this account",
        ErrorKind::RateLimited | ErrorKind::UnknownCode => "ask again a little later",
        ErrorKind::Timeout => "check the network, or allow more time",
        kind => kind.advice(),
    }
}

fn already_there(work: &[KnownWork]) -> String {
    let shown: Vec<_> = work.iter().map(ToString::to_string).collect();
    let shown = shown.join("; ");
    if work.iter().all(|work| work.job.is_some()) {
        format!("already asked for: {shown}; ask for it `again` to pay for it once more")
    } else {
        format!(
            "already asked for: {shown}; find out in the service's console what became of it before you ask \
             for it again"
        )
    }
}
