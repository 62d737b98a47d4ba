//! The lines of a ledger of an earlier version, and how they become entries.
//!
//! The file had one JSON object per line: intents, outcomes, and the last known status of the jobs.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use akool::{JobId, Language, Status};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::work::EntryId;

/// The version of the file format.
const VERSION: u32 = 1;

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    v: u32,
    /// Milliseconds since 1970.
    at: u64,
    #[serde(flatten)]
    what: What,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Intent {
        entry: EntryId,
        base_url: String,
        languages: Vec<Language>,
        request: Map<String, Value>,
    },
    Created {
        entry: EntryId,
        jobs: Vec<Job>,
        #[serde(rename = "refused", default)]
        rejected: Vec<Rejected>,
        #[serde(rename = "unclear", default)]
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
        job: Job,
    },
    Seen {
        job: JobId,
        status: Status,
    },
    /// Someone removed a job, or languages whose outcome is unknown.
    Forgotten {
        entry: EntryId,
        #[serde(default)]
        job: Option<JobId>,
        #[serde(default)]
        languages: Vec<Language>,
    },
}

#[derive(Debug, Deserialize)]
pub(super) struct Job {
    pub(super) id: JobId,
    #[serde(default)]
    pub(super) language: Option<Language>,
    #[serde(default)]
    pub(super) status: Option<Status>,
    /// When the status was seen.
    #[serde(skip)]
    pub(super) seen: Option<SystemTime>,
    #[serde(skip)]
    pub(super) is_forgotten: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rejected {
    #[serde(default)]
    pub(super) language: Option<Language>,
    pub(super) code: i64,
    pub(super) message: String,
}

/// A request.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    pub(super) at: SystemTime,
    pub(super) api: String,
    pub(super) languages: Vec<Language>,
    pub(super) request: Map<String, Value>,
    pub(super) outcome: Outcome,
    /// The languages with an unknown outcome that someone removed.
    pub(super) forgotten: Vec<Language>,
}

/// The outcome of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    Unknown { why: Option<String> },
    Created { jobs: Vec<Job>, rejected: Vec<Rejected>, unknown: Vec<Language> },
    NotCreated { why: String },
}

/// Why a file cannot be read.
#[derive(Debug, PartialEq)]
pub(super) enum Unreadable {
    /// The line with this number, from 1.
    Line(usize),
    /// A later version has written the line with this number.
    LaterVersion(usize),
}

/// Reads the entries of a file, oldest first. A last line without a line break was not completely written: the request
/// whose intent was cut off was never sent.
pub(super) fn read(file: &[u8]) -> Result<Vec<Entry>, Unreadable> {
    let mut reading = Reading::default();
    let mut lines = file.split(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<Line>(line) {
            Ok(line) if line.v == VERSION => reading.take(line),
            _ if is_later(line) => return Err(Unreadable::LaterVersion(index + 1)),
            _ if lines.peek().is_none() => {}
            _ => return Err(Unreadable::Line(index + 1)),
        }
    }
    Ok(reading.entries)
}

/// Builds the entries, line by line.
#[derive(Default)]
struct Reading {
    entries: Vec<Entry>,
    /// The index of each entry, and the indexes of the entries that have each job.
    indexes: HashMap<EntryId, usize>,
    jobs: HashMap<JobId, Vec<usize>>,
}

impl Reading {
    fn take(&mut self, line: Line) {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(line.at));
        let at = at.unwrap_or(SystemTime::UNIX_EPOCH);
        match line.what {
            What::Intent { entry, base_url, languages, request } => {
                let known = self.entry(entry, at);
                (known.api, known.languages, known.request) = (base_url, languages, request);
            }
            What::Created { entry, mut jobs, rejected, unknown } => {
                for job in &mut jobs {
                    job.seen = job.status.map(|_| at);
                    self.index(&job.id, &entry, at);
                }
                let known = self.entry(entry, at);
                known.outcome = Outcome::Created { jobs, rejected, unknown };
                // An outcome that arrives late overrides an earlier removal.
                known.forgotten.clear();
            }
            What::Adopted { entry, job } => {
                self.index(&job.id, &entry, at);
                let known = self.entry(entry, at);
                if !matches!(known.outcome, Outcome::Created { .. }) {
                    let unknown = known.languages.clone();
                    known.outcome = Outcome::Created { jobs: Vec::new(), rejected: Vec::new(), unknown };
                }
                if let Outcome::Created { jobs, unknown, .. } = &mut known.outcome {
                    unknown.retain(|unknown| job.language.as_ref().is_none_or(|found| !found.is(unknown)));
                    jobs.push(job);
                }
            }
            What::NotCreated { entry, why } => self.entry(entry, at).outcome = Outcome::NotCreated { why },
            What::Unknown { entry, why } => {
                self.entry(entry, at).outcome = Outcome::Unknown { why: Some(why) }
            }
            What::Seen { job, status } => self.each(&job, |job| {
                (job.status, job.seen) = (Some(status), Some(at));
            }),
            What::Forgotten { job: Some(job), .. } => self.each(&job, |job| job.is_forgotten = true),
            What::Forgotten { entry, job: None, languages } => {
                self.entry(entry, at).forgotten.extend(languages);
            }
        }
    }

    fn index(&mut self, job: &JobId, entry: &EntryId, at: SystemTime) {
        self.entry(entry.clone(), at);
        self.jobs.entry(job.clone()).or_default().push(self.indexes[entry]);
    }

    /// Changes a job in all entries that have it.
    fn each(&mut self, id: &JobId, change: impl Fn(&mut Job)) {
        for entry in self.jobs.get(id).into_iter().flatten() {
            if let Outcome::Created { jobs, .. } = &mut self.entries[*entry].outcome {
                jobs.iter_mut().filter(|job| job.id == *id).for_each(&change);
            }
        }
    }

    fn entry(&mut self, id: EntryId, at: SystemTime) -> &mut Entry {
        let next = self.entries.len();
        let index = *self.indexes.entry(id.clone()).or_insert(next);
        if index == next {
            self.entries.push(Entry {
                id,
                at,
                api: String::new(),
                languages: Vec::new(),
                request: Map::new(),
                outcome: Outcome::Unknown { why: None },
                forgotten: Vec::new(),
            });
        }
        &mut self.entries[index]
    }
}

fn is_later(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    serde_json::from_slice::<Version>(line).is_ok_and(|line| line.v > VERSION)
}
