//! What is told, and how: JSON lines, plain lines, or lines on a terminal that move.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt::Display,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use akool::{Error, JobId, Snapshot, Status, Translation, WaitError, download};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::resume::Resume;

/// Where everything that a run has to say goes through.
pub(crate) struct Report {
    json: bool,
    /// How an unfinished wait is picked up again.
    resume: Option<Resume>,
    /// On a terminal: a line that moves for each job.
    screen: Option<Screen>,
    started: Instant,
    /// Why stdout could not be written to.
    broken: Cell<Option<io::ErrorKind>>,
}

struct Screen {
    lines: MultiProgress,
    jobs: RefCell<BTreeMap<JobId, ProgressBar>>,
}

/// One line of `--json`.
#[derive(Default, Serialize)]
struct Object<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_splits: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

impl<'a> Object<'a> {
    fn of(event: &'static str, snapshot: &'a Snapshot) -> Self {
        let splits: BTreeMap<_, _> = [
            ("original_srt_url", snapshot.original_subtitles()),
            ("translated_srt_url", snapshot.translated_subtitles()),
            ("no_caption_video_url", snapshot.video_without_captions()),
        ]
        .into_iter()
        .filter_map(|(name, url)| Some((name, url?.into())))
        .collect();
        Self {
            event,
            id: Some(snapshot.id()),
            status: Some(snapshot.status().name()),
            status_code: Some(snapshot.status().into()),
            progress: snapshot.progress(),
            video: snapshot.video().map(Into::into),
            audio_splits: Some(splits).filter(|splits| !splits.is_empty()),
            error_code: snapshot.error_code(),
            error_reason: snapshot.error_reason(),
            ..Self::default()
        }
    }

    fn message(mut self, message: impl Display) -> Self {
        self.message = Some(message.to_string());
        self
    }
}

impl Report {
    /// Lines that move where `moving` is wanted and stderr is a terminal.
    pub(crate) fn new(json: bool, moving: bool, resume: Option<Resume>) -> Self {
        let on_terminal = moving && !json && io::stderr().is_terminal() && io::stdout().is_terminal();
        Self {
            json,
            resume,
            screen: on_terminal.then(|| Screen { lines: MultiProgress::new(), jobs: RefCell::default() }),
            started: Instant::now(),
            broken: Cell::new(None),
        }
    }

    /// Why stdout could not be written to, where that is worth telling: a reader that has seen
    /// enough is not.
    pub(crate) fn broken(&self) -> Option<io::ErrorKind> {
        self.broken.get().filter(|kind| *kind != io::ErrorKind::BrokenPipe)
    }

    /// A line for people, to stderr in every mode.
    pub(crate) fn note(&self, text: impl Display) {
        let write = || drop(writeln!(io::stderr(), "{text}"));
        match &self.screen {
            Some(screen) => screen.lines.suspend(write),
            None => write(),
        }
    }

    /// A job's state at one look of `akool status`.
    pub(crate) fn status(&self, snapshot: &Snapshot) {
        if self.json {
            let event = match snapshot.status() {
                Status::Completed => "completed",
                Status::Failed => "failed",
                _ => "update",
            };
            return self.object(&Object::of(event, snapshot));
        }
        let mut text = format!("{}  {}", snapshot.id(), describe(snapshot));
        match snapshot.status() {
            Status::Completed => text += &links(snapshot),
            Status::Failed => text += &format!(": {}", reason(snapshot)),
            _ => {}
        }
        self.line(text);
    }

    /// A job that is about to be looked at: on a terminal, something is there at once.
    pub(crate) fn start(&self, id: &JobId) {
        if let Some(bar) = self.bar(id) {
            bar.set_message("asking");
        }
    }

    /// What in an answer is not as described, once for each job.
    pub(crate) fn oddity(&self, id: &JobId, oddity: impl Display) {
        self.note(format_args!("{id}  {oddity} is not as described; the wait goes on"));
    }

    /// A look that told something new.
    pub(crate) fn update(&self, snapshot: &Snapshot) {
        if self.json {
            self.object(&Object::of("update", snapshot));
        } else if let Some(bar) = self.bar(snapshot.id()) {
            bar.set_message(describe(snapshot));
        } else {
            self.line(format!("{}  {}", snapshot.id(), describe(snapshot)));
        }
    }

    /// A look that failed, and is forgiven.
    pub(crate) fn trouble(&self, error: &Error, failures: u32, budget: u32, next: Duration) {
        let id = error.job().map_or_else(String::new, ToString::to_string);
        let (cause, advice, next) = (error.cause(), error.kind().advice(), short(next));
        self.note(format_args!(
            "{id}  {cause}\n  failure {failures} of {budget} in a row, looking again in {next}; {advice}"
        ));
    }

    pub(crate) fn completed(&self, translation: &Translation, downloading: bool) {
        let snapshot = translation.snapshot();
        if self.json {
            return self.object(&Object::of("completed", snapshot));
        }
        let text = format!("{}  completed after {}", snapshot.id(), short(self.started.elapsed()));
        if downloading {
            match self.bar(snapshot.id()) {
                Some(bar) => bar.set_message("completed, fetching files"),
                None => self.line(text),
            }
        } else {
            self.close(snapshot.id());
            self.line(text + &links(snapshot));
        }
    }

    pub(crate) fn progress(&self, id: &JobId, file: akool::FileKind, progress: download::Progress) {
        if let Some(bar) = self.bar(id) {
            let share = progress
                .total
                .filter(|total| *total > 0)
                .map_or_else(|| size(progress.bytes), |total| format!("{} %", progress.bytes * 100 / total));
            bar.set_message(format!("fetching the {file}, {share}"));
        }
    }

    /// A file that was saved, told at once to programs.
    pub(crate) fn saved(&self, id: &JobId, file: &download::Saved) {
        if self.json {
            let path = Some(file.path.display().to_string());
            self.object(&Object { event: "downloaded", id: Some(id), path, ..Object::default() });
        }
    }

    /// All files of a job that were saved, in one piece for people.
    pub(crate) fn downloaded(&self, id: &JobId, saved: &[(akool::FileKind, download::Saved)]) {
        if self.json {
            return;
        }
        let moving = self.screen.is_some();
        self.close(id);
        if moving {
            self.line(format!("{id}  completed after {}", short(self.started.elapsed())));
        }
        for (kind, file) in saved {
            let kept = if file.kept { ", was there" } else { "" };
            let (path, size) = (file.path.display(), size(file.bytes));
            self.line(format!("  {:<24}{path} ({size}{kept})", kind.to_string()));
        }
    }

    /// A wait that ended without a translation.
    pub(crate) fn ended(&self, error: &WaitError) {
        self.close(error.job());
        if !self.json {
            return match error {
                WaitError::Failed(job) => {
                    self.line(format!("{}  failed: {}", error.job(), reason(&job.snapshot)));
                }
                _ => self.note(self.early(error)),
            };
        }
        let event = match error {
            WaitError::Failed(_) => "failed",
            WaitError::DeadlinePassed(_) | WaitError::FailuresExhausted(_) => "gave_up",
            _ => "error",
        };
        let object = match error.last_snapshot() {
            Some(snapshot) => Object::of(event, snapshot),
            None => Object { event, id: Some(error.job()), ..Object::default() },
        };
        self.object(&object.message(error));
        self.note(self.early(error));
    }

    /// Jobs whose wait was interrupted, as last seen.
    pub(crate) fn interrupted(&self, open: &BTreeMap<JobId, Option<Snapshot>>) {
        let mut fetching = false;
        for (id, snapshot) in open {
            self.close(id);
            let completed = snapshot.as_ref().is_some_and(|seen| seen.status() == Status::Completed);
            fetching |= completed;
            if self.json {
                let object = match snapshot {
                    Some(snapshot) => Object::of("gave_up", snapshot),
                    None => Object { event: "gave_up", id: Some(id), ..Object::default() },
                };
                self.object(&object.message(if completed {
                    "interrupted while its files were fetched; the job is completed"
                } else {
                    "interrupted; the job goes on"
                }));
            }
        }
        let mut text = if fetching {
            "interrupted; jobs go on, and files that are not whole were removed".to_owned()
        } else {
            "interrupted; the jobs go on".to_owned()
        };
        if let Some(resume) = &self.resume {
            text += &format!(". Pick them up again with:\n  {}", resume.command(open.keys()));
        }
        self.note(text);
    }

    /// The early end of a wait, with the command that picks it up again.
    fn early(&self, error: &WaitError) -> String {
        let (why, end) = match error {
            WaitError::DeadlinePassed(end) => {
                (format!("the deadline passed after {}", short(end.waited)), end)
            }
            WaitError::FailuresExhausted(end) => (format!("{} looks in a row failed", end.failures), end),
            WaitError::Rejected(end) => match &end.last_error {
                Some(trouble) if trouble.kind() != akool::ErrorKind::UnknownJob => {
                    let text =
                        format!("error: {}  {}; {}", end.job, trouble.cause(), trouble.kind().advice());
                    return text + &self.goes_on(&end.job, "the job goes on");
                }
                _ => return format!("error: {error}"),
            },
            _ => return format!("error: {error}"),
        };
        let status = end.last_snapshot.as_ref().map(Snapshot::status);
        let (seen, then) = match status {
            Some(Status::Completed) => ("completed when last seen, without a link".to_owned(), "it is there"),
            Some(status) => (format!("still {status} when last seen"), "the job goes on"),
            None => ("its state was never established".to_owned(), "the job goes on"),
        };
        let mut text = format!("{}  {why}, {seen} ({} looks, {} answered)", end.job, end.looks, end.answers);
        if let Some(trouble) = end.last_error.as_ref().filter(|_| end.failures > 0) {
            text += &format!("\n  last trouble: {}; {}", trouble.cause(), trouble.kind().advice());
        }
        text + &self.goes_on(&end.job, then)
    }

    fn goes_on(&self, id: &JobId, then: &str) -> String {
        match &self.resume {
            Some(resume) => format!("\n  {then}; pick it up again with: {}", resume.command([id])),
            None => format!("\n  {then}"),
        }
    }

    /// Anything else that went wrong with one job, or with all.
    pub(crate) fn error(&self, id: Option<&JobId>, error: impl Display) {
        if let Some(id) = id {
            self.close(id);
        }
        if self.json {
            let object = Object { event: "error", id, ..Object::default() };
            self.object(&object.message(&error));
        }
        self.note(format_args!("error: {error}"));
    }

    /// A line for people to stdout; in JSON mode there is nothing else there, so to stderr.
    pub(crate) fn line(&self, text: impl Display) {
        if self.json {
            return self.note(text);
        }
        self.stdout(text);
    }

    pub(crate) fn object(&self, object: &impl Serialize) {
        match serde_json::to_string(object) {
            Ok(text) => self.stdout(text),
            Err(error) => self.note(format_args!("error: cannot write JSON: {error}")),
        }
    }

    fn stdout(&self, text: impl Display) {
        let write = || {
            let mut stdout = io::stdout().lock();
            if let Err(error) = writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
                self.broken.set(self.broken.get().or(Some(error.kind())));
            }
        };
        match &self.screen {
            Some(screen) => screen.lines.suspend(write),
            None => write(),
        }
    }

    /// The moving line of a job, made where it is missing.
    fn bar(&self, id: &JobId) -> Option<ProgressBar> {
        let screen = self.screen.as_ref()?;
        let mut jobs = screen.jobs.borrow_mut();
        let bar = jobs.entry(id.clone()).or_insert_with(|| {
            let bar = screen.lines.add(ProgressBar::new_spinner().with_prefix(id.to_string()));
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {wide_msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Some(bar.clone())
    }

    fn close(&self, id: &JobId) {
        if let Some(screen) = &self.screen
            && let Some(bar) = screen.jobs.borrow_mut().remove(id)
        {
            bar.finish_and_clear();
        }
    }
}

fn describe(snapshot: &Snapshot) -> String {
    match (snapshot.status(), snapshot.progress()) {
        (Status::Processing, Some(percent)) => format!("processing, {percent} %"),
        (status, _) => status.to_string(),
    }
}

fn reason(snapshot: &Snapshot) -> String {
    // A reason is the service's text: no control character of it reaches the terminal.
    let reason = snapshot.error_reason().map(|reason| reason.replace(char::is_control, " "));
    match (reason, snapshot.error_code()) {
        (Some(reason), Some(code)) => format!("{reason} (error code {code})"),
        (Some(reason), None) => reason,
        (None, Some(code)) => format!("error code {code}"),
        (None, None) => "the service gives no reason".to_owned(),
    }
}

/// The files of a completed job, one a line.
fn links(snapshot: &Snapshot) -> String {
    let files = Translation::from_snapshot(snapshot.clone()).map(|translation| translation.files());
    let lines = files.into_iter().flatten();
    lines.map(|file| format!("\n  {:<24}{}", file.kind.to_string(), file.url)).collect()
}

/// A duration for people: `0.5s`, `12s`, `3m 5s`, `1h 2m`.
fn short(duration: Duration) -> String {
    let secs = duration.as_secs();
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, _) if duration < Duration::from_secs(10) => format!("{:.1}s", duration.as_secs_f64()),
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}
