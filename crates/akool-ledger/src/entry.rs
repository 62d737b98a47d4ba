//! What a ledger knows about a request: [`Entry`].

use std::{fmt, time::SystemTime};

use akool::{JobId, Language, Rejection, Status, redact};
use serde_json::{Map, Value};
use url::Url;

use crate::{
    intent::shown,
    work::{EntryId, KnownWork},
};

/// Everything in a ledger.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Contents {
    /// The requests, oldest first.
    pub entries: Vec<Entry>,
    /// The numbers of the lines that cannot be read, from 1, except a last line that a crash cut off.
    /// Each may contain a request that was paid for. As long as there are any, the ledger accepts only
    /// requests that allow duplicates.
    pub unreadable: Vec<usize>,
    /// The byte offset of a last line that was cut off.
    pub(crate) torn: Option<u64>,
}

/// A request, and what is known about it.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// The id of the entry.
    pub id: EntryId,
    /// The time of the request.
    pub at: SystemTime,
    /// The base URL of the service.
    pub base_url: String,
    /// The target languages.
    pub languages: Vec<Language>,
    /// The members of the request as they were sent. The URL of the video may be signed, so protect it.
    pub request: Map<String, Value>,
    /// The outcome of the request.
    pub outcome: Outcome,
    /// The languages with an unknown outcome that someone removed with [`forget`](crate::LedgerFile::forget).
    pub forgotten: Vec<Language>,
}

/// Without the queries of the links, which may grant access.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("id", &self.id)
            .field("at", &self.at)
            .field("base_url", &self.base_url)
            .field("languages", &self.languages)
            .field("request", &shown(&self.request))
            .field("outcome", &self.outcome)
            .field("forgotten", &self.forgotten)
            .finish()
    }
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// A running process is making the request.
    InFlight,
    /// It is unknown whether jobs were created and paid for.
    Unknown {
        /// Why it is unknown. `None` if the process that made the request ended before it could tell.
        why: Option<String>,
    },
    /// Jobs were created.
    Created {
        /// The jobs.
        jobs: Vec<LedgerJob>,
        /// The languages that the service rejected.
        rejected: Vec<Rejection>,
        /// The languages about which the response said nothing clear.
        unknown: Vec<Language>,
    },
    /// Nothing was created.
    NotCreated {
        /// The reason.
        why: String,
    },
}

/// A job that was created, and its last known status.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LedgerJob {
    /// The id of the job.
    pub id: JobId,
    /// The target language. `None` if the response did not say which of several it is.
    pub language: Option<Language>,
    /// The last known status.
    pub status: Option<Status>,
    /// The time of the last known status.
    pub seen: Option<SystemTime>,
    /// Whether someone removed the job with [`forget_job`](crate::LedgerFile::forget_job).
    pub forgotten: bool,
}

impl Entry {
    /// Returns the URL of the video as it was sent.
    pub fn url(&self) -> &str {
        self.request.get("url").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the jobs that were created.
    pub fn jobs(&self) -> &[LedgerJob] {
        match &self.outcome {
            Outcome::Created { jobs, .. } => jobs,
            _ => &[],
        }
    }

    /// Returns the URL of the video in a form that is safe to print: without user name, query and
    /// fragment.
    pub fn source(&self) -> String {
        match Url::parse(self.url()) {
            Ok(url) => redact::link(&url),
            Err(_) => redact::excerpt(self.url()),
        }
    }

    /// Returns whether someone removed a language with an unknown outcome.
    pub fn has_forgotten(&self, language: &Language) -> bool {
        self.forgotten.iter().any(|forgotten| forgotten.is(language))
    }

    /// Returns the languages whose outcome is unknown.
    pub fn unknown(&self) -> &[Language] {
        match &self.outcome {
            Outcome::Unknown { .. } => &self.languages,
            Outcome::Created { unknown, .. } => unknown,
            _ => &[],
        }
    }

    /// Returns what this entry has of the work in a language. Failed and forgotten jobs do not count.
    pub(crate) fn known(&self, language: &Language) -> Option<KnownWork> {
        let without_job =
            |in_flight| KnownWork { in_flight, ..KnownWork::new(self.id.clone(), self.at, language.clone()) };
        let requested = || self.languages.iter().any(|requested| requested.is(language));
        let forgotten = self.has_forgotten(language);
        match &self.outcome {
            Outcome::NotCreated { .. } => None,
            Outcome::InFlight => requested().then(|| without_job(true)),
            Outcome::Unknown { .. } => (requested() && !forgotten).then(|| without_job(false)),
            Outcome::Created { jobs, unknown, .. } => {
                let mut jobs = jobs.iter();
                match jobs.find(|job| job.language.as_ref().is_some_and(|known| known.is(language))) {
                    Some(job) if job.forgotten || job.status == Some(Status::Failed) => None,
                    Some(job) => Some(KnownWork {
                        job: Some(job.id.clone()),
                        status: job.status,
                        ..without_job(false)
                    }),
                    None => (!forgotten && unknown.iter().any(|unknown| unknown.is(language)))
                        .then(|| without_job(false)),
                }
            }
        }
    }
}
