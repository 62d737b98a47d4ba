//! Reports on jobs and their files.

use std::{fmt::Display, path::PathBuf, time::Duration};

use akool::{Error, FileKind, JobId, Snapshot, Status, Translation, redact::excerpt};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{Object, Report};
use crate::{
    reported::Known,
    text::{describe, describe_status, good, links, reason, short, size, why},
};

/// A file of a job on disk.
pub(crate) struct LocalFile {
    pub(crate) kind: FileKind,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) state: FileState,
}

/// How a file came to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    Saved,
    /// It was saved by an earlier run.
    Kept,
    /// It was saved by an earlier run and has changed since then.
    Changed,
    /// It was made from another file of the job.
    Converted,
}

impl Report {
    /// The status of a job, for `akool status`.
    pub(crate) fn status(&self, snapshot: &Snapshot) {
        if self.is_json() {
            let event = match snapshot.status() {
                Status::Completed => "completed",
                Status::Failed => "failed",
                _ => "update",
            };
            return self.object(&self.of(event, snapshot));
        }
        let mut text = format!("{}  {}", self.name(snapshot.id()), describe(snapshot));
        match snapshot.status() {
            Status::Completed => {
                self.links.set(true);
                text += &links(snapshot);
            }
            Status::Failed => text += &format!(": {}", reason(snapshot)),
            _ => {}
        }
        self.line(text);
    }

    /// Adds the progress line of a job, before its first poll.
    pub(crate) fn start(&self, id: &JobId) {
        if let Some(bar) = self.bar(id) {
            bar.set_message("polling");
        }
    }

    /// What in a response does not match the description.
    pub(crate) fn unexpected(&self, id: &JobId, what: impl Display) {
        if !self.settings.quiet {
            self.note(format_args!("{}  {what}; the wait continues", self.name(id)));
        }
    }

    /// The first poll of a job, or one that shows a change.
    pub(crate) fn update(&self, snapshot: &Snapshot) {
        if self.settings.quiet {
        } else if self.is_json() {
            self.object(&self.of("update", snapshot));
        } else if let Some(bar) = self.bar(snapshot.id()) {
            bar.set_position(snapshot.progress().unwrap_or_default().into());
            bar.set_message(describe(snapshot));
        } else {
            self.line(format!("{}  {}", self.name(snapshot.id()), describe(snapshot)));
        }
    }

    /// A change of a job of which there is no whole response.
    pub(crate) fn known(&self, id: &JobId, known: Known) {
        let Some(status) = known.status.filter(|_| !self.settings.quiet) else { return };
        let shown = describe_status(status, known.progress);
        if self.is_json() {
            self.object(&self.of_known(id, known));
        } else if let Some(bar) = self.bar(id) {
            bar.set_position(known.progress.unwrap_or_default().into());
            bar.set_message(shown);
        } else {
            self.line(format!("{}  {shown}", self.name(id)));
        }
    }

    /// The same, for `akool status`.
    pub(crate) fn known_status(&self, id: &JobId, known: Known) {
        if self.is_json() {
            return self.object(&self.of_known(id, known));
        }
        let shown = known
            .status
            .map_or("not polled yet".to_owned(), |status| describe_status(status, known.progress));
        self.line(format!("{}  {shown}", self.name(id)));
    }

    pub(super) fn of_known<'a>(&self, id: &'a JobId, known: Known) -> Object<'a> {
        Object {
            event: "update",
            id: Some(id),
            language: self.language(id),
            status: known.status.map(Status::name),
            status_code: known.status.map(Into::into),
            progress: known.progress,
            ..Object::default()
        }
    }

    /// A failed poll that will be retried.
    pub(crate) fn retrying(&self, error: &Error, failures: u32, max_failures: u32, next: Duration) {
        if self.settings.quiet {
            return;
        }
        let id = error.job().map_or_else(String::new, |id| self.name(id));
        let (why, next) = (why(error), short(next));
        self.note(format_args!(
            "{id}  {why}\n  failed poll {failures} of {max_failures} in a row, retrying in {next}; {}",
            error.help()
        ));
    }

    /// A completed job. `waited`: it was not completed at the first poll.
    pub(crate) fn completed(&self, translation: &Translation, waited: bool, downloading: bool) {
        let snapshot = translation.snapshot();
        self.ages.borrow_mut().extend(snapshot.age().map(|age| (snapshot.id().clone(), age)));
        if self.is_json() {
            return self.object(&self.of("completed", snapshot));
        }
        if !downloading {
            self.close(snapshot.id());
            self.links.set(true);
            self.line(self.completion(snapshot.id(), waited) + &links(snapshot));
        } else if let Some(bar) = self.bar(snapshot.id()) {
            bar.set_message("completed, downloading files");
        }
    }

    pub(crate) fn progress(&self, id: &JobId, file: FileKind, progress: akool_download::Progress) {
        if let Some(bar) = self.bar(id) {
            let percent = progress.total.filter(|total| *total > 0).map(|total| progress.bytes * 100 / total);
            bar.set_position(percent.unwrap_or_default());
            let share = percent.map_or_else(|| size(progress.bytes), |percent| format!("{percent} %"));
            bar.set_message(format!("downloading the {file}, {share}"));
        }
    }

    /// A file that was saved, for programs: each as soon as it is complete.
    pub(crate) fn saved(&self, id: &JobId, file: &LocalFile) {
        if self.is_json() {
            self.object(&Object {
                event: "downloaded",
                id: Some(id),
                language: self.language(id),
                file: Some(file.kind.name()),
                path: Some(file.path.display().to_string()),
                bytes: Some(file.bytes),
                kept: Some(matches!(file.state, FileState::Kept | FileState::Changed)),
                changed: (file.state == FileState::Changed).then_some(true),
                ..Object::default()
            });
        }
    }

    /// A completed job and its files, for the program of `--on-complete`.
    pub(crate) fn completed_job(
        &self,
        snapshot: &Snapshot,
        source: Option<String>,
        files: &[LocalFile],
    ) -> Value {
        let mut job = json!(self.of("completed", snapshot));
        let file = |file: &LocalFile| json!({ "file": file.kind.name(), "path": file.path.display().to_string(), "bytes": file.bytes });
        job["source"] = json!(source);
        job["files"] = files.iter().map(file).collect();
        job
    }

    /// The files of a job that were saved, for people: all at once.
    pub(crate) fn downloaded(&self, id: &JobId, waited: bool, saved: &[LocalFile]) {
        if self.is_json() {
            return;
        }
        self.close(id);
        let mut text = self.completion(id, waited);
        for file in saved {
            let state = match file.state {
                FileState::Saved => "",
                FileState::Kept => ", already downloaded",
                FileState::Changed => ", changed since it was downloaded, kept",
                FileState::Converted => ", converted",
            };
            let (kind, path, size) = (file.kind.to_string(), file.path.display(), size(file.bytes));
            text += &format!("\n  {kind:<24}{path} ({size}{state})");
        }
        self.line(text);
    }

    /// `waited`: the wait has seen the end of the job, so it is known how long the job took.
    fn completion(&self, id: &JobId, waited: bool) -> String {
        let name = self.name(id);
        let took = self.ages.borrow().get(id).copied();
        match took.filter(|_| waited) {
            Some(took) => format!("{name}  {} after {}", good("completed"), short(took)),
            None => format!("{name}  {}", good("completed")),
        }
    }

    pub(super) fn of<'a>(&self, event: &'static str, snapshot: &'a Snapshot) -> Object<'a> {
        Object { language: self.language(snapshot.id()), ..Object::of(event, snapshot) }
    }

    fn bar(&self, id: &JobId) -> Option<ProgressBar> {
        // The language is first, because a long name is cut.
        let name = || {
            let sources = self.sources.borrow();
            let name = sources.get(id).map_or_else(|| id.to_string(), |source| excerpt(source));
            self.language(id).map_or(name.clone(), |language| format!("{language:<5} {name}"))
        };
        Some(self.screen.as_ref()?.bar(id, name))
    }
}
