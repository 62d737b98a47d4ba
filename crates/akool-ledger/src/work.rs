//! What a ledger knows: [`Work`], [`LedgerJob`], and which of it to list.

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use akool::{CreatedJob, FileKind, JobId, Language, Rejection, Status};
use serde::{Deserialize, Serialize};

/// How long the service keeps the files of a job.
pub(crate) const FILES_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A translation into one language that was requested.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Work {
    /// The entry of the request, which may have asked for more languages.
    pub entry: EntryId,
    /// The target language. `None` for a job if the response did not say which of several it is.
    pub language: Option<Language>,
    /// The URL of the video in a form that is safe to print: without user name, query and fragment.
    pub source: String,
    /// When it was requested.
    pub requested_at: SystemTime,
    /// The outcome.
    pub outcome: WorkOutcome,
    /// Whether someone removed it with [`forget`](crate::Ledger::forget) or [`forget_job`](crate::Ledger::forget_job).
    pub is_forgotten: bool,
}

/// The outcome of a request, for one language.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WorkOutcome {
    /// A running process is making the request.
    InFlight,
    /// It is unknown whether a job was created and paid for.
    Unknown {
        /// Why it is unknown. `None` if the process that made the request ended before it could say so.
        why: Option<String>,
    },
    /// A job was created.
    Created(LedgerJob),
    /// The service rejected the language. Nothing was created for it.
    Rejected(Rejection),
    /// Nothing was created.
    NotCreated {
        /// The reason.
        why: String,
    },
}

/// A job that was created, and its last known status.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct LedgerJob {
    /// The id of the job.
    pub id: JobId,
    /// The target language. `None` if the response did not say which of several it is.
    pub language: Option<Language>,
    /// The URL of the video as it was requested. It may grant access: do not log it. `None` if it is not known.
    pub source_url: Option<String>,
    /// When the job was requested.
    pub created_at: SystemTime,
    /// The last known status.
    pub status: Option<Status>,
    /// When the status was last recorded as new.
    pub changed_at: Option<SystemTime>,
    /// Why the job failed, if it did.
    pub error_reason: Option<String>,
    /// The credits that the service holds for the job, as its creation or the first poll said. `None` if neither did,
    /// or if an earlier version created the job.
    pub credits_held: Option<f64>,
    /// The credits that were charged for the job, as the poll that found it completed said. `None` if it did not, or if
    /// the job has not been found completed.
    pub credits_charged: Option<f64>,
}

impl Work {
    /// Work that something other than a ledger knows, for code that shows both in the same way.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use akool_ledger::{Work, WorkOutcome};
    ///
    /// let outcome = WorkOutcome::Unknown { why: None };
    /// let work = Work::new("entry", Some("es".into()), "https://example.com/talk.mp4", SystemTime::now(), outcome);
    /// assert!(work.is_pending());
    /// ```
    pub fn new(
        entry: impl Into<EntryId>,
        language: Option<Language>,
        source: impl Into<String>,
        requested_at: SystemTime,
        outcome: WorkOutcome,
    ) -> Self {
        let (entry, source) = (entry.into(), source.into());
        Self { entry, language, source, requested_at, outcome, is_forgotten: false }
    }

    /// The job, if one was created.
    pub fn job(&self) -> Option<&LedgerJob> {
        match &self.outcome {
            WorkOutcome::Created(job) => Some(job),
            _ => None,
        }
    }

    /// Whether a running process is making the request.
    pub fn is_in_flight(&self) -> bool {
        self.outcome == WorkOutcome::InFlight
    }

    /// Whether the job has not ended, or may exist.
    pub fn is_pending(&self) -> bool {
        !self.is_forgotten
            && match &self.outcome {
                WorkOutcome::Created(job) => !job.status.is_some_and(Status::is_terminal),
                WorkOutcome::Unknown { .. } | WorkOutcome::InFlight => true,
                WorkOutcome::Rejected(_) | WorkOutcome::NotCreated { .. } => false,
            }
    }
}

impl LedgerJob {
    /// Until when the service keeps the files at least: seven days from the request.
    pub fn files_expire_at(&self) -> SystemTime {
        self.created_at.checked_add(FILES_KEPT).unwrap_or(self.created_at)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.language {
            Some(language) => write!(f, "{language}")?,
            None => f.write_str("a language")?,
        }
        match &self.outcome {
            WorkOutcome::Created(LedgerJob { id, status: Some(status), .. }) => {
                write!(f, " is job {id} ({status})")
            }
            WorkOutcome::Created(job) => write!(f, " is job {}", job.id),
            WorkOutcome::InFlight => write!(f, " is being created now (ledger entry {})", self.entry),
            WorkOutcome::Unknown { .. } => write!(f, ": outcome unknown (ledger entry {})", self.entry),
            WorkOutcome::Rejected(_) => f.write_str(" was rejected"),
            WorkOutcome::NotCreated { .. } => f.write_str(" was not created"),
        }
    }
}

/// The id of an entry in a ledger, which is one request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(String);

impl EntryId {
    /// The id as text.
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

/// Which work of a ledger to list.
///
/// ```
/// use akool_ledger::Filter;
///
/// let unfinished = Filter::pending().at("https://openapi.akool.com");
/// # let _ = unfinished;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub(crate) pending: bool,
    pub(crate) api: Option<String>,
    pub(crate) job: Option<JobId>,
    pub(crate) entry: Option<EntryId>,
    pub(crate) expiring: bool,
}

impl Filter {
    /// Everything, also what was rejected, not created or forgotten.
    pub fn all() -> Self {
        Self::default()
    }

    /// Jobs that have not ended, and work that may have created a job.
    pub fn pending() -> Self {
        Self { pending: true, ..Self::default() }
    }

    /// The job with this id. It may have several languages.
    pub fn job(id: impl Into<JobId>) -> Self {
        Self { job: Some(id.into()), ..Self::default() }
    }

    /// The work of one request.
    pub fn entry(entry: impl Into<EntryId>) -> Self {
        Self { entry: Some(entry.into()), ..Self::default() }
    }

    /// Jobs whose video was not saved, and whose files have less than one of their seven days left. The days count from
    /// the request, because it is not always known when a job was completed. Jobs that have failed are left out, and
    /// jobs whose days are over.
    pub fn expiring() -> Self {
        Self { expiring: true, ..Self::default() }
    }

    /// Only what was requested at this API address; see [`Client::base_url`](akool::Client::base_url).
    #[must_use]
    pub fn at(mut self, api: impl Into<String>) -> Self {
        self.api = Some(api.into());
        self
    }
}

impl fmt::Debug for LedgerJob {
    /// Leaves the URL of the video out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerJob")
            .field("id", &self.id)
            .field("language", &self.language)
            .field("created_at", &self.created_at)
            .field("status", &self.status)
            .field("changed_at", &self.changed_at)
            .field("error_reason", &self.error_reason)
            .finish_non_exhaustive()
    }
}

/// A file of a job that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedFile {
    /// The job.
    pub job: JobId,
    /// The [name of its kind](akool::FileKind::name).
    pub kind: String,
    /// Its absolute path.
    pub path: PathBuf,
    /// Its length in bytes when it was saved.
    pub bytes: u64,
    /// Its SHA-256 when it was saved.
    pub sha256: [u8; 32],
    /// When it was saved.
    pub saved_at: SystemTime,
}

impl SavedFile {
    /// A file that was saved just now.
    pub fn new(job: JobId, kind: FileKind, path: PathBuf, bytes: u64, sha256: [u8; 32]) -> Self {
        Self { job, kind: kind.name().to_owned(), path, bytes, sha256, saved_at: SystemTime::now() }
    }
}

/// The language and the id: `es 64dd92c1f0b6684651e90e09`.
impl fmt::Display for LedgerJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.language {
            Some(language) => write!(f, "{language} {}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl From<CreatedJob> for LedgerJob {
    /// The job as it was created just now.
    fn from(job: CreatedJob) -> Self {
        let now = SystemTime::now();
        Self {
            id: job.id,
            language: job.language,
            source_url: None,
            created_at: now,
            status: job.status,
            changed_at: job.status.map(|_| now),
            error_reason: None,
            credits_held: job.credits_held,
            credits_charged: None,
        }
    }
}
