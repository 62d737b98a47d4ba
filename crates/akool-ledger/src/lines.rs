//! The lines of a ledger file, and how they become entries.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use akool::{BusinessCode, Created, CreatedJob, JobId, Language, Rejection, Status};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    entry::{Contents, Entry, LedgerJob, Outcome},
    work::EntryId,
};

/// The version of the file format. The JSON names of all members belong to it.
const VERSION: u32 = 1;

/// A line of the file.
#[derive(Serialize, Deserialize)]
pub(super) struct Line {
    v: u32,
    /// Milliseconds since 1970.
    at: u64,
    #[serde(flatten)]
    what: What,
}

impl Line {
    pub(super) fn now(what: What) -> Self {
        Self { v: VERSION, at: millis(SystemTime::now()), what }
    }

    /// Parses a line. Returns `None` if it is not valid, or of another version.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok().filter(|line: &Self| line.v == VERSION)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Intent {
        entry: EntryId,
        base_url: String,
        languages: Vec<Language>,
        request: Map<String, Value>,
    },
    Created {
        entry: EntryId,
        jobs: Vec<JobLine>,
        #[serde(rename = "refused", default, skip_serializing_if = "Vec::is_empty")]
        rejected: Vec<RejectionLine>,
        #[serde(rename = "unclear", default, skip_serializing_if = "Vec::is_empty")]
        unknown: Vec<Language>,
    },
    NotCreated {
        entry: EntryId,
        why: String,
    },
    Unknown {
        entry: EntryId,
        why: String,
    },
    /// Someone found the job of a language whose outcome was unknown.
    Adopted {
        entry: EntryId,
        job: JobLine,
    },
    Seen {
        job: JobId,
        status: Status,
    },
    /// Someone removed a job, or languages whose outcome is unknown.
    Forgotten {
        entry: EntryId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<JobId>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        languages: Vec<Language>,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct JobLine {
    pub(super) id: JobId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) language: Option<Language>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RejectionLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    language: Option<Language>,
    code: i64,
    message: String,
}

impl From<&CreatedJob> for JobLine {
    fn from(job: &CreatedJob) -> Self {
        Self { id: job.id.clone(), language: job.language.clone(), status: job.status }
    }
}

impl JobLine {
    fn read(self, at: SystemTime) -> LedgerJob {
        LedgerJob {
            id: self.id,
            language: self.language,
            seen: self.status.map(|_| at),
            status: self.status,
            forgotten: false,
        }
    }
}

impl RejectionLine {
    fn read(self) -> Rejection {
        let mut rejection = Rejection::new(BusinessCode(self.code), self.message);
        rejection.language = self.language;
        rejection
    }
}

/// Builds the entries, line by line.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) contents: Contents,
    /// The index of each entry, and the indexes of the entries that have each job.
    entries: HashMap<EntryId, usize>,
    jobs: HashMap<JobId, Vec<usize>>,
}

impl Reading {
    pub(super) fn take(&mut self, line: Line) {
        let at = time(line.at);
        match line.what {
            What::Intent { entry, base_url, languages, request } => {
                let index = self.entry(entry, at);
                let known = &mut self.contents.entries[index];
                (known.base_url, known.languages, known.request) = (base_url, languages, request);
            }
            What::Created { entry, jobs, rejected, unknown } => {
                let index = self.entry(entry, at);
                let jobs: Vec<_> = jobs.into_iter().map(|job| job.read(at)).collect();
                for job in &jobs {
                    self.jobs.entry(job.id.clone()).or_default().push(index);
                }
                let rejected = rejected.into_iter().map(RejectionLine::read).collect();
                let entry = &mut self.contents.entries[index];
                entry.outcome = Outcome::Created { jobs, rejected, unknown };
                // An outcome that arrives late overrides an earlier `forget`.
                entry.forgotten.clear();
            }
            What::Adopted { entry, job } => {
                let index = self.entry(entry, at);
                self.jobs.entry(job.id.clone()).or_default().push(index);
                let entry = &mut self.contents.entries[index];
                if !matches!(entry.outcome, Outcome::Created { .. }) {
                    let unknown = entry.languages.clone();
                    entry.outcome = Outcome::Created { jobs: Vec::new(), rejected: Vec::new(), unknown };
                }
                if let Outcome::Created { jobs, unknown, .. } = &mut entry.outcome {
                    unknown.retain(|unknown| job.language.as_ref().is_none_or(|found| !found.is(unknown)));
                    jobs.push(job.read(at));
                }
            }
            What::NotCreated { entry, why } => {
                let index = self.entry(entry, at);
                self.contents.entries[index].outcome = Outcome::NotCreated { why };
            }
            What::Unknown { entry, why } => {
                let index = self.entry(entry, at);
                self.contents.entries[index].outcome = Outcome::Unknown { why: Some(why) };
            }
            What::Seen { job, status } => self.each(&job, |job| {
                (job.status, job.seen) = (Some(status), Some(at));
            }),
            What::Forgotten { job: Some(job), .. } => self.each(&job, |job| job.forgotten = true),
            What::Forgotten { entry, job: None, languages } => {
                let index = self.entry(entry, at);
                self.contents.entries[index].forgotten.extend(languages);
            }
        }
    }

    /// Changes a job in all entries that have it.
    fn each(&mut self, id: &JobId, change: impl Fn(&mut LedgerJob)) {
        for entry in self.jobs.get(id).into_iter().flatten() {
            if let Outcome::Created { jobs, .. } = &mut self.contents.entries[*entry].outcome {
                jobs.iter_mut().filter(|job| job.id == *id).for_each(&change);
            }
        }
    }

    /// Returns the index of an entry. If its intent could not be read, an empty entry keeps its jobs.
    fn entry(&mut self, id: EntryId, at: SystemTime) -> usize {
        let next = self.contents.entries.len();
        let index = *self.entries.entry(id.clone()).or_insert(next);
        if index == next {
            self.contents.entries.push(Entry {
                id,
                at,
                base_url: String::new(),
                languages: Vec::new(),
                request: Map::new(),
                outcome: Outcome::Unknown { why: None },
                forgotten: Vec::new(),
            });
        }
        index
    }
}

pub(super) fn created(entry: EntryId, created: &Created) -> What {
    What::Created {
        entry,
        jobs: created.jobs.iter().map(JobLine::from).collect(),
        rejected: created
            .rejected
            .iter()
            .map(|rejection| RejectionLine {
                language: rejection.language.clone(),
                code: rejection.code.0,
                message: rejection.message.clone(),
            })
            .collect(),
        unknown: created.unknown.clone(),
    }
}

/// Returns whether a line is of a later version.
pub(super) fn is_later(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    serde_json::from_slice::<Version>(line).is_ok_and(|line| line.v > VERSION)
}

/// Returns a short id that no entry has.
pub(super) fn new_id(contents: &Contents) -> EntryId {
    loop {
        let id = EntryId::from(format!("t{:07x}", fastrand::u32(..1 << 28)));
        if contents.entries.iter().all(|entry| entry.id != id) {
            return id;
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn time(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(SystemTime::UNIX_EPOCH)
}
