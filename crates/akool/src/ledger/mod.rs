//! What was asked for, written down before it is asked: [`Ledger`].
//!
//! A created job is money, and creation cannot be repeated safely. So the intent is durable before the
//! request and the outcome after it. A crash in between leaves an entry without an outcome, never
//! silence.

#[cfg(feature = "ledger")]
mod file;

use std::{error::Error as StdError, fmt, future::Future, pin::Pin, time::SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[cfg(feature = "ledger")]
pub use self::file::{Contents, Entry, LedgerFile, LedgerJob, Outcome};
use crate::{CreateError, Creation, JobId, Language, Status};

/// Where requests that create are written down, for
/// [`Translate::ledger`](crate::Translate::ledger). `LedgerFile`, behind the feature `ledger`, keeps
/// them in a file; a program with a database of its own implements this.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Writes down what is about to be asked for, durably, before this resolves. What
    /// [is there already](Intent::covers) is not written again unless the intent says `again`; telling
    /// that and writing must be one step where several processes share the ledger.
    fn begin<'a>(&'a self, intent: &'a Intent) -> LedgerFuture<'a, Begin>;

    /// Writes down what became of it, durably.
    fn settle<'a>(&'a self, entry: &'a EntryId, outcome: &'a Settlement) -> LedgerFuture<'a, ()>;
}

/// What the methods of a [`Ledger`] return.
pub type LedgerFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'a>>;

/// A request that is about to be sent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Intent {
    /// The service's address.
    pub base_url: String,
    /// The target languages.
    pub languages: Vec<Language>,
    /// The request's members as they will be sent. The source's link may be signed: guard it.
    pub request: Map<String, Value>,
    /// When.
    pub at: SystemTime,
    /// Whether to ask for it although the ledger has it already.
    pub again: bool,
}

impl Intent {
    /// Whether an earlier request asked the same service for the same work in this language. Its other
    /// languages do not matter, nor who is told of it.
    pub fn covers(&self, language: &Language, base_url: &str, request: &Map<String, Value>) -> bool {
        let work = |request: &Map<String, Value>| {
            let mut work = request.clone();
            work.remove("language");
            work.remove("webhookUrl");
            let voice = work.remove("voices_map").and_then(|voices| voices.get(language.code()).cloned());
            (work, voice)
        };
        self.base_url == base_url && work(&self.request) == work(request)
    }
}

/// What [`Ledger::begin`] did.
#[derive(Clone, Debug, PartialEq)]
pub enum Begin {
    /// The intent is written down, under this name.
    Written(EntryId),
    /// Nothing was written: this work is there already.
    AlreadyThere(Vec<KnownWork>),
}

/// A piece of work that the ledger has already.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownWork {
    /// Under what the ledger has it.
    pub entry: EntryId,
    /// When it was asked for.
    pub at: SystemTime,
    /// The target language.
    pub language: Language,
    /// The job. `None`: the outcome is unknown, or another process is asking for it just now.
    pub job: Option<JobId>,
    /// Where the job stood when it was last seen.
    pub status: Option<Status>,
}

impl fmt::Display for KnownWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.job, self.status) {
            (Some(job), Some(status)) => write!(f, "{} is job {job} ({status})", self.language),
            (Some(job), None) => write!(f, "{} is job {job}", self.language),
            (None, _) => write!(f, "{}: outcome unknown (ledger entry {})", self.language, self.entry),
        }
    }
}

/// Under what a ledger has a request.
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

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Settlement {
    /// Jobs were created.
    Created(Creation),
    /// Nothing was created, for this reason.
    NotCreated(String),
    /// Nobody knows, for this reason.
    Unknown(String),
}

impl Settlement {
    pub(crate) fn of(sent: &Result<Creation, CreateError>) -> Self {
        match sent {
            Ok(creation) => Self::Created(creation.clone()),
            Err(CreateError::MaybeCreated(maybe)) => Self::Unknown(maybe.error.cause().to_owned()),
            Err(other) => Self::NotCreated(other.to_string()),
        }
    }
}

/// Why something could not be written down or read.
#[derive(Debug)]
pub struct LedgerError {
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl LedgerError {
    /// An error in words or from another one; its text reaches people.
    pub fn new(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { what: source.into().to_string(), source: None }
    }

    #[cfg(feature = "ledger")]
    fn io(what: String, source: std::io::Error) -> Self {
        Self { what: format!("{what}: {source}"), source: Some(Box::new(source)) }
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
