//! The lines of a ledger's file, and how entries come together from them.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    EntryId,
    entry::{Contents, Entry, LedgerJob, Outcome},
};
use crate::{BusinessCode, CreatedJob, Creation, JobId, Language, Refusal, Status};

/// The version of the lines that this code writes.
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

    /// A line, where it can be read and is of this version.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
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
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        refused: Vec<RefusalLine>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unclear: Vec<Language>,
    },
    NotCreated {
        entry: EntryId,
        why: String,
    },
    Unknown {
        entry: EntryId,
        why: String,
    },
    /// A job that somebody found of what was unknown.
    Adopted {
        entry: EntryId,
        job: JobLine,
    },
    Seen {
        job: JobId,
        status: Status,
    },
    /// A job, or languages that are unknown.
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
pub(super) struct RefusalLine {
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

impl RefusalLine {
    fn read(self) -> Refusal {
        let mut refusal = Refusal::new(BusinessCode(self.code), self.message);
        refusal.language = self.language;
        refusal
    }
}

/// Entries as they come together, line by line.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) contents: Contents,
    /// Where each entry is, and in which entries each job.
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
            What::Created { entry, jobs, refused, unclear } => {
                let index = self.entry(entry, at);
                let jobs: Vec<_> = jobs.into_iter().map(|job| job.read(at)).collect();
                for job in &jobs {
                    self.jobs.entry(job.id.clone()).or_default().push(index);
                }
                let refused = refused.into_iter().map(RefusalLine::read).collect();
                let entry = &mut self.contents.entries[index];
                entry.outcome = Outcome::Created { jobs, refused, unclear };
                // What was said before it was known does not hold for it.
                entry.forgotten.clear();
            }
            What::Adopted { entry, job } => {
                let index = self.entry(entry, at);
                self.jobs.entry(job.id.clone()).or_default().push(index);
                let entry = &mut self.contents.entries[index];
                if !matches!(entry.outcome, Outcome::Created { .. }) {
                    let unclear = entry.languages.clone();
                    entry.outcome = Outcome::Created { jobs: Vec::new(), refused: Vec::new(), unclear };
                }
                if let Outcome::Created { jobs, unclear, .. } = &mut entry.outcome {
                    unclear.retain(|unclear| job.language.as_ref().is_none_or(|found| !found.is(unclear)));
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

    /// Changes a job wherever it is.
    fn each(&mut self, id: &JobId, change: impl Fn(&mut LedgerJob)) {
        for entry in self.jobs.get(id).into_iter().flatten() {
            if let Outcome::Created { jobs, .. } = &mut self.contents.entries[*entry].outcome {
                jobs.iter_mut().filter(|job| job.id == *id).for_each(&change);
            }
        }
    }

    /// The entry of this name; one whose intent could not be read is made up, so that its jobs stay.
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

pub(super) fn created(entry: EntryId, creation: &Creation) -> What {
    What::Created {
        entry,
        jobs: creation.jobs().iter().map(JobLine::from).collect(),
        refused: creation
            .refused()
            .iter()
            .map(|refusal| RefusalLine {
                language: refusal.language.clone(),
                code: refusal.code.0,
                message: refusal.message.clone(),
            })
            .collect(),
        unclear: creation.unclear().to_vec(),
    }
}

/// Whether a line says that it is of a later version than this.
pub(super) fn is_later(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    serde_json::from_slice::<Version>(line).is_ok_and(|line| line.v > VERSION)
}

/// A short name that is free.
pub(super) fn new_id(contents: &Contents) -> EntryId {
    loop {
        let id = EntryId(format!("t{:07x}", fastrand::u32(..1 << 28)));
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
