//! The interface of a ledger: [`Ledger`], and what it stores and returns.

use std::{fmt, future::Future, pin::Pin};

use akool::{CreateError, Created};

use crate::{
    error::LedgerError,
    intent::Intent,
    work::{EntryId, KnownWork},
};

/// Stores requests that create jobs, for [`ensure()`](crate::ensure()). [`LedgerFile`](crate::LedgerFile) keeps them in a file. A program with
/// its own database implements this trait.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Stores an intent durably before this resolves, unless the ledger has
    /// [some of its work](Intent::covers) and the intent does not allow duplicates. If several processes
    /// share the ledger, the check and the write must be one atomic step.
    fn begin<'a>(&'a self, intent: &'a Intent) -> LedgerFuture<'a, Begin>;

    /// Notes that the request is no longer being made and its outcome is unknown: its future was
    /// dropped. The stored intent stays.
    fn abandon(&self, _entry: &EntryId) {}

    /// Stores the outcome of a request durably.
    fn record<'a>(&'a self, entry: &'a EntryId, outcome: &'a CreationOutcome) -> LedgerFuture<'a, ()>;
}

/// The future that the methods of a [`Ledger`] return.
pub type LedgerFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'a>>;

/// The result of [`Ledger::begin`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Begin {
    /// The intent is stored under this id.
    Written(EntryId),
    /// Nothing was stored, because the ledger has this work.
    AlreadyThere(Vec<KnownWork>),
}

/// The outcome of a request, for [`Ledger::record`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CreationOutcome {
    /// Jobs were created.
    Created(Created),
    /// Nothing was created, for this reason.
    NotCreated(String),
    /// It is unknown whether jobs were created, for this reason.
    Unknown(String),
}

impl CreationOutcome {
    pub(crate) fn of(sent: &Result<Created, CreateError>) -> Self {
        match sent {
            Ok(created) => Self::Created(created.clone()),
            Err(CreateError::OutcomeUnknown(error)) => Self::Unknown(error.to_string()),
            Err(other) => Self::NotCreated(other.to_string()),
        }
    }
}
