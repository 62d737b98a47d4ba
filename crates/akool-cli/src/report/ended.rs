//! Reports on waits that end without a translation, each with the command that resumes the wait.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use akool::{ErrorKind, JobId, Snapshot, Status, WaitError};

use super::{Object, Report};
use crate::text::{self, bad, reason, short, status};

impl Report {
    pub(crate) fn ended(&self, error: &WaitError) {
        self.close(error.job());
        if !self.is_json() {
            return match error {
                WaitError::JobFailed(job) => {
                    let (name, reason) = (self.name(error.job()), reason(&job.snapshot));
                    self.line(format!("{name}  {}: {reason}", bad("failed")));
                }
                _ => self.note(self.unfinished(error)),
            };
        }
        let event = match error {
            WaitError::JobFailed(_) => "failed",
            WaitError::Timeout(_) | WaitError::RetriesExhausted(_) => "gave_up",
            _ => "error",
        };
        let object = match error.last_snapshot() {
            Some(snapshot) => self.of(event, snapshot),
            None => Object { event, id: Some(error.job()), ..Object::default() },
        };
        let kind = match error {
            WaitError::Timeout(end) | WaitError::RetriesExhausted(end) | WaitError::Rejected(end) => {
                end.last_error.as_ref().map(|error| error.kind().name())
            }
            _ => None,
        };
        self.object(&Object { kind, ..object }.message(error));
        self.note(self.unfinished(error));
    }

    /// The jobs that had not ended, or were not downloaded, when the program was interrupted.
    pub(crate) fn interrupted(&self, open: &BTreeMap<JobId, Option<Snapshot>>) {
        let mut downloading = false;
        if let Some(screen) = &self.screen {
            screen.freeze();
            let _ = writeln!(io::stderr());
        }
        for (id, snapshot) in open {
            self.close(id);
            let completed = snapshot.as_ref().is_some_and(|last| last.status() == Status::Completed);
            downloading |= completed;
            if self.is_json() {
                let object = match snapshot {
                    Some(snapshot) => self.of("gave_up", snapshot),
                    None => Object { event: "gave_up", id: Some(id), ..Object::default() },
                };
                self.object(&object.message(if completed {
                    "interrupted while its files were downloaded; the job is completed"
                } else {
                    "interrupted; the job continues"
                }));
            }
        }
        let mut text = String::from("interrupted; the jobs continue");
        if downloading {
            text += ", incomplete files were removed";
        }
        if let Some(resume) = self.settings.resume.as_ref().filter(|_| !open.is_empty()) {
            text += &format!(". Resume with:\n  {}", resume.command(open.keys()));
        }
        self.note(text);
    }

    /// Why a wait ended before its job, and how to resume it.
    fn unfinished(&self, error: &WaitError) -> String {
        let (why, end) = match error {
            WaitError::Timeout(end) => (format!("timed out after {}", short(end.waited)), end),
            WaitError::RetriesExhausted(end) => {
                (format!("gave up after {} failed polls in a row", end.failures), end)
            }
            WaitError::Rejected(end) => match &end.last_error {
                Some(error) if error.kind() != ErrorKind::UnknownJob => {
                    let (cause, advice) = (error.cause(), error.kind().advice());
                    let text = format!("{} {}  {cause}; {advice}", text::error(), end.job);
                    return text + &self.resume(&end.job, "the job continues");
                }
                _ => return format!("{} {error}", text::error()),
            },
            _ => return format!("{} {error}", text::error()),
        };
        let (last, job) = match end.last_snapshot.as_ref().map(Snapshot::status) {
            Some(Status::Completed) => {
                ("completed, but without a video URL".to_owned(), "the job is completed")
            }
            Some(last) => (status(last).to_string(), "the job continues"),
            None => ("none".to_owned(), "the job continues"),
        };
        let mut text = format!("{}  {why}; last known status: {last}", end.job);
        if let Some(error) = end.last_error.as_ref().filter(|_| end.failures > 0) {
            text += &format!("\n  last error: {}; {}", error.cause(), error.kind().advice());
        }
        text + &self.resume(&end.job, job)
    }

    fn resume(&self, id: &JobId, job: &str) -> String {
        match &self.settings.resume {
            Some(resume) => format!("\n  {job}; resume with: {}", resume.command([id])),
            None => format!("\n  {job}"),
        }
    }
}
