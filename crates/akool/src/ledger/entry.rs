//! What a ledger has of a request: [`Entry`].

use std::time::SystemTime;

use serde_json::{Map, Value};
use url::Url;

use super::{EntryId, KnownWork};
use crate::{JobId, Language, Refusal, Status, redact};

/// Everything in a ledger.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Contents {
    /// The requests, oldest first.
    pub entries: Vec<Entry>,
    /// The numbers of lines that cannot be read, from 1, but for a last one that a crash cut off. Each
    /// may hold a request that was paid for: while there are any, nothing is written but what is asked
    /// for `again`.
    pub unreadable: Vec<usize>,
    /// Where what was cut off begins, in bytes.
    pub(super) torn: Option<u64>,
}

/// A request, and what is known of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Under what the ledger has it.
    pub id: EntryId,
    /// When it was asked for.
    pub at: SystemTime,
    /// The service's address.
    pub base_url: String,
    /// The target languages.
    pub languages: Vec<Language>,
    /// The request's members as they were sent. The source's link may be signed: guard it.
    pub request: Map<String, Value>,
    /// What became of it.
    pub outcome: Outcome,
    /// The languages that are unknown, and of no interest any more, as somebody said.
    pub forgotten: Vec<Language>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// A process that lives is asking for it.
    InFlight,
    /// Nobody knows: jobs may have been created and paid for.
    Unknown {
        /// Why, where the process that asked lived to say it.
        why: Option<String>,
    },
    /// Jobs were created.
    Created {
        /// The jobs.
        jobs: Vec<LedgerJob>,
        /// The languages that were refused.
        refused: Vec<Refusal>,
        /// The languages of which the answer said nothing clear.
        unclear: Vec<Language>,
    },
    /// Nothing was created.
    NotCreated {
        /// Why.
        why: String,
    },
}

/// A job that was created, and what was seen of it since.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LedgerJob {
    /// The job's id.
    pub id: JobId,
    /// Its target language, where the answer told which of several it was.
    pub language: Option<Language>,
    /// Where it stood when it was last seen.
    pub status: Option<Status>,
    /// When that was.
    pub seen: Option<SystemTime>,
    /// Whether somebody said that it is of no interest any more.
    pub forgotten: bool,
}

impl Entry {
    /// The link to the source, as it was sent.
    pub fn url(&self) -> &str {
        self.request.get("url").and_then(Value::as_str).unwrap_or_default()
    }

    /// The jobs that were created.
    pub fn jobs(&self) -> &[LedgerJob] {
        match &self.outcome {
            Outcome::Created { jobs, .. } => jobs,
            _ => &[],
        }
    }

    /// The link to the source as it may be shown: without user name, query and fragment.
    pub fn source(&self) -> String {
        match Url::parse(self.url()) {
            Ok(url) => redact::link(&url),
            Err(_) => redact::excerpt(self.url()),
        }
    }

    /// Whether somebody said that a language that is unknown is of no interest any more.
    pub fn has_forgotten(&self, language: &Language) -> bool {
        self.forgotten.iter().any(|forgotten| forgotten.is(language))
    }

    /// The languages of which nobody knows what became.
    pub fn unknown(&self) -> &[Language] {
        match &self.outcome {
            Outcome::Unknown { .. } => &self.languages,
            Outcome::Created { unclear, .. } => unclear,
            _ => &[],
        }
    }

    /// What of its work is there already, by language: failed and forgotten jobs are not.
    pub(super) fn known(&self, language: &Language) -> Option<KnownWork> {
        let unknown =
            |in_flight| KnownWork { in_flight, ..KnownWork::new(self.id.clone(), self.at, language.clone()) };
        let asked = || self.languages.iter().any(|asked| asked.is(language));
        let forgotten = self.has_forgotten(language);
        match &self.outcome {
            Outcome::NotCreated { .. } => None,
            Outcome::InFlight => asked().then(|| unknown(true)),
            Outcome::Unknown { .. } => (asked() && !forgotten).then(|| unknown(false)),
            Outcome::Created { jobs, unclear, .. } => {
                let mut jobs = jobs.iter();
                match jobs.find(|job| job.language.as_ref().is_some_and(|known| known.is(language))) {
                    Some(job) if job.forgotten || job.status == Some(Status::Failed) => None,
                    Some(job) => {
                        Some(KnownWork { job: Some(job.id.clone()), status: job.status, ..unknown(false) })
                    }
                    None => {
                        (!forgotten && unclear.iter().any(|known| known.is(language))).then(|| unknown(false))
                    }
                }
            }
        }
    }
}
