//! Remembers which translations were created, so that the same work is not paid for twice: [`ensure()`]
//! creates only the jobs that a [`Ledger`] does not have.
//!
//! A created job costs money, and a request to create cannot be repeated safely. So the ledger stores
//! the intent durably before the request is sent, and the outcome after it. A crash in between leaves an
//! entry whose outcome is unknown. It never loses the request.
//!
//! ```no_run
//! # async fn example(client: akool::Client) -> Result<(), akool_ledger::EnsureError> {
//! use akool_ledger::{LedgerFile, ensure};
//!
//! let ledger = LedgerFile::at("state/ledger.jsonl");
//! let translate = client.translate("https://example.com/talk.mp4").to(["es", "fr"]);
//! for id in ensure(&ledger, translate).await.into_jobs()? {
//!     println!("{id}");
//! }
//! # Ok(())
//! # }
//! ```

mod ensure;
mod entry;
mod error;
mod file;
mod intent;
mod lines;

use std::{fmt, future::Future, pin::Pin, time::SystemTime};

use akool::{CreateError, Created, JobId, Language, Status};
use serde::{Deserialize, Serialize};

pub use self::{
    ensure::{Ensure, Ensured, ensure},
    entry::{Contents, Entry, LedgerJob, Outcome},
    error::{EnsureError, LedgerError},
    file::LedgerFile,
    intent::Intent,
};

/// The example of the README, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Stores requests that create jobs, for [`ensure()`]. [`LedgerFile`] keeps them in a file. A program with
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

/// The translation into one language that the ledger has already.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KnownWork {
    /// The entry of the request.
    pub entry: EntryId,
    /// When the request was made.
    pub at: SystemTime,
    /// The target language.
    pub language: Language,
    /// The job. `None` if the outcome of the request is unknown, or not known yet.
    pub job: Option<JobId>,
    /// The last known status of the job.
    pub status: Option<Status>,
    /// Whether another future or process is making the request now.
    pub in_flight: bool,
}

impl KnownWork {
    /// Creates work whose outcome is unknown.
    pub fn new(entry: EntryId, at: SystemTime, language: Language) -> Self {
        Self { entry, at, language, job: None, status: None, in_flight: false }
    }
}

impl fmt::Display for KnownWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.job, self.status) {
            (Some(job), Some(status)) => write!(f, "{} is job {job} ({status})", self.language),
            (Some(job), None) => write!(f, "{} is job {job}", self.language),
            (None, _) if self.in_flight => {
                write!(f, "{} is being created now (ledger entry {})", self.language, self.entry)
            }
            (None, _) => write!(f, "{}: outcome unknown (ledger entry {})", self.language, self.entry),
        }
    }
}

/// The id of an entry in a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(String);

impl EntryId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for EntryId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl From<&str> for EntryId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
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
    fn of(sent: &Result<Created, CreateError>) -> Self {
        match sent {
            Ok(created) => Self::Created(created.clone()),
            Err(CreateError::OutcomeUnknown(error)) => Self::Unknown(error.cause().to_owned()),
            Err(other) => Self::NotCreated(other.to_string()),
        }
    }
}
