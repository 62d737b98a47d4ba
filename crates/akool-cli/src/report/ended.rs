//! Reports on waits that end without a translation, each with the command that resumes the wait.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use akool::{ErrorKind, JobId, Snapshot, Status, WaitError};

use super::{Object, Report};
use crate::{
    outcome::Outcome,
    reported::{Failure, Known},
    text::{self, bad, reason, short, status},
};

impl Report {
    /// A wait that ended without a translation. `last`: the last snapshot of the job.
    pub(crate) fn ended(&self, error: &WaitError, last: Option<&Snapshot>) {
        self.close(error.job());
        if error.last_error().is_some_and(|error| error.kind() == ErrorKind::UnknownJob) {
            self.unknown_job.set(true);
        }
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
            WaitError::Timeout { .. } | WaitError::RetriesExhausted { .. } => "gave_up",
            _ => "error",
        };
        let object = match last {
            Some(snapshot) => self.of(event, snapshot),
            // Without a snapshot, a status is known of a fleet's job.
            None => {
                let known =
                    error.last_known().map(|last| Known { status: last.status, progress: last.progress });
                Object { event, ..self.of_known(error.job(), known.unwrap_or_default()) }
            }
        };
        let kind = match error.last_known() {
            Some(last) => last.last_error.map(ErrorKind::name),
            None => None,
        };
        let help = Some(error.help());
        self.object(&Object { kind, help, ..object }.message(text::with_causes(error)));
        self.note(self.unfinished(error));
    }

    /// A wait that ended before its job, for a reason that only text describes.
    pub(crate) fn gave_up(&self, id: &JobId, failure: &Failure) {
        self.close(id);
        if self.is_json() {
            let event = if matches!(failure.outcome, Outcome::Timeout | Outcome::Unreachable) {
                "gave_up"
            } else {
                "error"
            };
            let (kind, help) = (Some(failure.kind.as_str()), failure.help.as_deref());
            let object =
                Object { event, id: Some(id), language: self.language(id), kind, help, ..Object::default() };
            self.object(&object.message(&failure.text));
        }
        let help = failure.help.as_ref().map_or_else(String::new, |help| format!("\n  {help}"));
        let resume = self.resume(id, "the job continues");
        self.note(format_args!("{} {}{help}{resume}", text::error(), failure.text));
    }

    /// The jobs that had not ended, or were not downloaded, when the program was interrupted.
    /// `in_ledger`: the ledger has all of them.
    pub(crate) fn interrupted(&self, open: &BTreeMap<JobId, Option<Snapshot>>, in_ledger: bool) {
        let (mut downloading, mut running) = (false, 0);
        if let Some(screen) = &self.screen {
            screen.freeze();
            let _ = writeln!(io::stderr());
        }
        for (id, snapshot) in open {
            self.close(id);
            let completed = snapshot.as_ref().is_some_and(|last| last.status() == Status::Completed);
            downloading |= completed;
            running += usize::from(!completed);
            if self.is_json() {
                let object = match snapshot {
                    Some(snapshot) => self.of("gave_up", snapshot),
                    None => Object { event: "gave_up", id: Some(id), ..Object::default() },
                };
                self.object(&object.message(if completed {
                    "interrupted after the end of the job, before all was done; the job is completed"
                } else {
                    "interrupted; the job continues"
                }));
            }
        }
        let mut text = String::from(match running {
            0 if downloading => "interrupted; the jobs are completed",
            _ => "interrupted; the jobs continue",
        });
        if downloading {
            text += ", and what was interrupted after their end can be resumed";
        }
        if let Some(resume) = self.settings.resume.as_ref().filter(|_| !open.is_empty()) {
            let all = in_ledger && open.len() > 1;
            let command = if all { resume.pending() } else { resume.command(open.keys()) };
            text += &format!(". Resume with:\n  {command}");
        }
        self.note(text);
    }

    /// Why a wait ended before its job, and how to resume it.
    fn unfinished(&self, error: &WaitError) -> String {
        let (why, last) = match error {
            WaitError::Timeout { last, .. } => (format!("timed out after {}", short(last.waited)), last),
            WaitError::RetriesExhausted { last, .. } => {
                let polls = match last.failures {
                    1 => "1 failed poll".to_owned(),
                    failures => format!("{failures} failed polls in a row"),
                };
                (format!("gave up after {polls}"), last)
            }
            WaitError::Rejected { last, source, .. } if source.kind() != ErrorKind::UnknownJob => {
                let text =
                    format!("{} {}  {}\n  {}", text::error(), last.job, text::why(source), source.help());
                return text + &self.resume(&last.job, "the job continues");
            }
            _ => return format!("{} {}\n  {}", text::error(), text::with_causes(error), error.help()),
        };
        let (known, job) = match last.status {
            Some(Status::Completed) => (
                "last known status: completed, but without a usable link to the video".to_owned(),
                "the job is completed",
            ),
            Some(known) => (format!("last known status: {}", status(known)), "the job continues"),
            None => ("no poll succeeded, so the status is not known".to_owned(), "the job continues"),
        };
        let mut text = format!("{}  {why}; {known}", last.job);
        if let Some(error) = error.last_error() {
            text += &format!("\n  last error: {}; {}", text::why(error), error.help());
        }
        text + &self.resume(&last.job, job)
    }

    fn resume(&self, id: &JobId, job: &str) -> String {
        match &self.settings.resume {
            Some(resume) => format!("\n  {job}; resume with: {}", resume.command([id])),
            None => format!("\n  {job}"),
        }
    }
}
