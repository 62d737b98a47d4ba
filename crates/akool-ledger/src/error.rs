//! Why a translation was not created ([`EnsureError`]), and why a ledger failed ([`LedgerError`]).

use std::{error::Error as StdError, fmt, io, path::Path};

use akool::{CreateError, Created};
use rusqlite::ErrorCode;

use crate::work::{EntryId, Work};

/// Why there is not a job for every language.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnsureError {
    /// The ledger has this work, but not a job for all of it: an outcome is unknown, or another process is creating
    /// the jobs now. No request was sent for it.
    #[error("already requested: {}", list(.0))]
    AlreadyThere(Vec<Work>),
    /// The intent could not be stored. No request was sent.
    #[error("the ledger failed, so no request was sent")]
    Ledger(#[from] LedgerError),
    /// The request is invalid, or was rejected, or did not reach the service. Nothing was created, and the same request
    /// may be sent again.
    #[error(transparent)]
    NotCreated(CreateError),
    /// The request may have reached the service, so jobs may have been created and paid for, but their ids are unknown.
    /// The ledger keeps the entry, and does not send the request again.
    #[error("ledger entry {entry}")]
    OutcomeUnknown {
        /// The entry of the request.
        entry: EntryId,
        /// Why the outcome is unknown; always [`CreateError::OutcomeUnknown`].
        source: CreateError,
    },
    /// Jobs were created, but not for every language: the others were rejected, or their outcome is unknown. Only
    /// [`Ensured::into_jobs`](crate::Ensured::into_jobs) returns this error.
    #[error("jobs were created ({}), but not for every language{}", ids(.0), rest(.0))]
    Partly(Created),
    /// Jobs were created, but the ledger could not store them. Keep their ids: nothing else has them.
    #[error("jobs were created ({}), but could not be stored", ids(.created))]
    Unrecorded {
        /// The created jobs.
        created: Created,
        /// Why they could not be stored.
        source: LedgerError,
    },
}

impl EnsureError {
    /// Whether jobs may exist that were paid for by this request, so that it must not simply be sent again.
    pub fn may_have_created(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. } | Self::Partly(_) | Self::Unrecorded { .. })
    }

    /// The error of the failed request, if one was sent.
    pub fn error(&self) -> Option<&akool::Error> {
        match self {
            Self::NotCreated(error) | Self::OutcomeUnknown { source: error, .. } => error.error(),
            _ => None,
        }
    }

    /// What to do next, as a sentence without a capital letter and a full stop.
    pub fn help(&self) -> &'static str {
        match self {
            Self::AlreadyThere(_) => "find the outcome in the service's console before you allow a duplicate",
            Self::Ledger(_) => "check that the ledger can be written",
            Self::NotCreated(error) | Self::OutcomeUnknown { source: error, .. } => error.help(),
            Self::Partly(_) => "change the languages that were rejected, and find out about the unknown ones",
            Self::Unrecorded { .. } => "keep the ids of the jobs: nothing else has them",
        }
    }
}

fn list(work: &[Work]) -> String {
    let shown: Vec<_> = work.iter().map(ToString::to_string).collect();
    shown.join("; ")
}

fn ids(created: &Created) -> String {
    let ids: Vec<_> = created.jobs.iter().map(|job| job.id.to_string()).collect();
    ids.join(", ")
}

fn rest(created: &Created) -> String {
    let rejected = created.rejected.iter().map(|rejection| format!("; {rejection}"));
    let unknown = created.unknown.iter().map(|language| format!("; {language}: outcome unknown"));
    rejected.chain(unknown).collect()
}

/// Why a ledger could not be read or written. `Display` names the file, the problem and the next step.
#[derive(Debug)]
pub struct LedgerError {
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl LedgerError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    pub(crate) fn with_source(
        what: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { what: what.into(), source: Some(source.into()) }
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for LedgerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The error of an operation on the ledger in this file.
pub(crate) fn failed(path: &Path, verb: &str, error: rusqlite::Error) -> LedgerError {
    let shown = path.display();
    let what = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("another process has locked the ledger {shown}; try again when it has ended")
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => format!(
            "the ledger {shown} is damaged; restore a copy, or move it away (it lists what was paid for)"
        ),
        Some(ErrorCode::DiskFull) => format!("cannot {verb} the ledger {shown}: the disk is full"),
        _ => format!("cannot {verb} the ledger {shown}"),
    };
    LedgerError::with_source(what, error)
}

pub(crate) fn io_failed(path: &Path, verb: &str, error: io::Error) -> LedgerError {
    LedgerError::with_source(format!("cannot {verb} the ledger {}", path.display()), error)
}
