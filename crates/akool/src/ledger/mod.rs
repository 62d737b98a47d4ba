//! What was asked for, written down before it is asked: [`Ledger`].
//!
//! A created job is money, and creation cannot be repeated safely. So the intent is durable before the
//! request and the outcome after it. A crash in between leaves an entry without an outcome, never
//! silence.

#[cfg(feature = "ledger")]
mod entry;
#[cfg(feature = "ledger")]
mod file;
#[cfg(feature = "ledger")]
mod lines;

use std::{error::Error as StdError, fmt, future::Future, pin::Pin, time::SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

#[cfg(feature = "ledger")]
pub use self::{
    entry::{Contents, Entry, LedgerJob, Outcome},
    file::LedgerFile,
};
use crate::{CreateError, Creation, JobId, Language, Status};

/// Where requests that create are written down, for
/// [`Translate::ledger`](crate::Translate::ledger). `LedgerFile`, behind the feature `ledger`, keeps
/// them in a file; a program with a database of its own implements this.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Writes down what is about to be asked for, durably, before this resolves. What
    /// [is there already](Intent::covers) is not written again unless the intent says `again`; telling
    /// that and writing must be one step where several processes share the ledger.
    fn begin<'a>(&'a self, intent: &'a Intent) -> LedgerFuture<'a, Begin>;

    /// Says that nobody asks any more, and nobody knows what became of it: the future that asked was
    /// dropped. What is written down stays.
    fn abandon(&self, _entry: &EntryId) {}

    /// Writes down what became of it, durably.
    fn record<'a>(&'a self, entry: &'a EntryId, outcome: &'a CreationOutcome) -> LedgerFuture<'a, ()>;
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
    /// An intent made by hand: for tests of a ledger.
    pub fn new(base_url: impl Into<String>, languages: Vec<Language>, request: Map<String, Value>) -> Self {
        Self { base_url: base_url.into(), languages, request, at: SystemTime::now(), again: false }
    }

    /// Whether an earlier request asked the same service for the same work in this language. Its other
    /// languages do not matter, nor who is told of it, nor what is said that holds unless it is said
    /// otherwise.
    pub fn covers(&self, language: &Language, base_url: &str, request: &Map<String, Value>) -> bool {
        self.base_url == base_url && work(&self.request, language) == work(request, language)
    }
}

/// What a request asks for in one language, in one form.
fn work(request: &Map<String, Value>, language: &Language) -> Map<String, Value> {
    /// What holds unless it is said otherwise, as far as that is documented.
    const DEFAULTS: [(&str, Value); 5] = [
        ("lipsync", Value::Bool(false)),
        ("remove_bgm", Value::Bool(false)),
        ("dynamic_duration", Value::Bool(false)),
        ("caption_url", Value::Null),
        ("studio_voice", Value::Null),
    ];
    let mut work = request.clone();
    work.remove("language");
    work.remove("webhookUrl");
    // Requests of earlier versions could choose a voice for each language.
    if let Some(Value::Object(voices)) = work.remove("voices_map")
        && let Some((_, voice)) = voices.into_iter().find(|(name, _)| language.is(&name.as_str().into()))
    {
        work.insert("voice".to_owned(), voice);
    }
    if let Some(url) = work.get_mut("url")
        && let Some(Ok(mut link)) = url.as_str().map(Url::parse)
    {
        // A fragment stays with whoever asks.
        link.set_fragment(None);
        *url = String::from(link).into();
    }
    if let Some(Value::Object(voice)) = work.get_mut("studio_voice") {
        if voice.get("style").is_some_and(|style| style == "professional") {
            voice.remove("style");
        }
        if let Some(Value::Array(words)) = voice.get_mut("no_translate_words") {
            words.sort_by_key(ToString::to_string);
        }
        if voice.is_empty() {
            work.remove("studio_voice");
        }
    }
    for (name, value) in DEFAULTS {
        if work.get(name) == Some(&value) {
            work.remove(name);
        }
    }
    for name in ["caption_type", "speaker_num"] {
        if work.get(name).and_then(Value::as_u64) == Some(0) {
            work.remove(name);
        }
    }
    if work.get("source_language").is_some_and(|language| language == "DEFAULT") {
        work.remove("source_language");
    }
    work
}

/// What [`Ledger::begin`] did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Begin {
    /// The intent is written down, under this name.
    Written(EntryId),
    /// Nothing was written: this work is there already.
    AlreadyThere(Vec<KnownWork>),
}

/// A piece of work that the ledger has already.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct KnownWork {
    /// Under what the ledger has it.
    pub entry: EntryId,
    /// When it was asked for.
    pub at: SystemTime,
    /// The target language.
    pub language: Language,
    /// The job. `None`: the outcome is unknown, or not known yet.
    pub job: Option<JobId>,
    /// Where the job stood when it was last seen.
    pub status: Option<Status>,
    /// Whether somebody is asking for it just now.
    pub in_flight: bool,
}

impl KnownWork {
    /// Work of which the outcome is unknown.
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
                write!(f, "{} is being asked for just now (ledger entry {})", self.language, self.entry)
            }
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
pub enum CreationOutcome {
    /// Jobs were created.
    Created(Creation),
    /// Nothing was created, for this reason.
    NotCreated(String),
    /// Nobody knows, for this reason.
    Unknown(String),
}

impl CreationOutcome {
    pub(crate) fn of(sent: &Result<Creation, CreateError>) -> Self {
        match sent {
            Ok(creation) => Self::Created(creation.clone()),
            Err(CreateError::OutcomeUnknown(maybe)) => Self::Unknown(maybe.error.cause().to_owned()),
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
