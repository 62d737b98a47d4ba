//! What is told, and how: JSON lines, plain lines, or lines on a terminal that move.

mod creation;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt::Display,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use akool::{Error, JobId, Language, Snapshot, Status, Translation, WaitError};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::{
    args::Global,
    resume::Resume,
    text::{self, bad, describe, good, links, reason, short, size},
};

/// From this width of a terminal on, a line has room for a bar.
const WIDE: u16 = 90;

/// Where everything that a run has to say goes through.
pub(crate) struct Report {
    json: bool,
    /// Results and errors only.
    quiet: bool,
    /// Of created jobs, nothing but their ids goes to stdout.
    ids_only: bool,
    /// The language of a job, where it is known.
    labels: RefCell<BTreeMap<JobId, Language>>,
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
    language: Option<Language>,
    /// What kind of error it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subtitles: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_subtitles: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_captions: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    /// Whether the file was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<bool>,
}

impl<'a> Object<'a> {
    fn of(event: &'static str, snapshot: &'a Snapshot) -> Self {
        Self {
            event,
            id: Some(snapshot.id()),
            status: Some(snapshot.status().name()),
            status_code: Some(snapshot.status().into()),
            progress: snapshot.progress(),
            video: snapshot.video().map(Into::into),
            subtitles: snapshot.subtitles().map(Into::into),
            original_subtitles: snapshot.original_subtitles().map(Into::into),
            no_captions: snapshot.no_captions().map(Into::into),
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
    pub(crate) fn new(global: &Global, moving: bool, resume: Option<Resume>) -> Self {
        let (json, quiet) = (global.json, global.quiet);
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = io::stderr().is_terminal() && io::stdout().is_terminal() && !dumb;
        let on_terminal = moving && !json && !quiet && terminal;
        Self {
            json,
            quiet,
            ids_only: false,
            labels: RefCell::default(),
            resume,
            screen: on_terminal.then(|| Screen { lines: MultiProgress::new(), jobs: RefCell::default() }),
            started: Instant::now(),
            broken: Cell::new(None),
        }
    }

    pub(crate) fn with_ids_only(self, ids_only: bool) -> Self {
        Self { ids_only, ..self }
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

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Says which language a job translates into: from now on it is told with the job.
    pub(crate) fn label(&self, id: &JobId, language: Option<&Language>) {
        if let Some(language) = language {
            self.labels.borrow_mut().insert(id.clone(), language.clone());
        }
    }

    /// A job's name in a line: with its language, where that is known.
    pub(crate) fn name(&self, id: &JobId) -> String {
        match self.labels.borrow().get(id) {
            Some(language) => format!("{id}  {language}"),
            None => id.to_string(),
        }
    }

    /// A job's state at one poll of `akool status`.
    pub(crate) fn status(&self, snapshot: &Snapshot) {
        if self.json {
            let event = match snapshot.status() {
                Status::Completed => "completed",
                Status::Failed => "failed",
                _ => "update",
            };
            return self.object(&self.of(event, snapshot));
        }
        let mut text = format!("{}  {}", self.name(snapshot.id()), describe(snapshot));
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
    pub(crate) fn unexpected_field(&self, id: &JobId, unexpected_field: impl Display) {
        if !self.quiet {
            self.note(format_args!(
                "{}  {unexpected_field} is not as described; the wait goes on",
                self.name(id)
            ));
        }
    }

    /// A poll that told something new.
    pub(crate) fn update(&self, snapshot: &Snapshot) {
        if self.quiet {
        } else if self.json {
            self.object(&self.of("update", snapshot));
        } else if let Some(bar) = self.bar(snapshot.id()) {
            bar.set_position(snapshot.progress().unwrap_or_default().into());
            bar.set_message(describe(snapshot));
        } else {
            self.line(format!("{}  {}", self.name(snapshot.id()), describe(snapshot)));
        }
    }

    /// A poll that failed, and is forgiven.
    pub(crate) fn trouble(&self, error: &Error, failures: u32, budget: u32, next: Duration) {
        if self.quiet {
            return;
        }
        let id = error.job().map_or_else(String::new, |id| self.name(id));
        let (cause, advice, next) = (error.cause(), error.kind().advice(), short(next));
        self.note(format_args!(
            "{id}  {cause}\n  failure {failures} of {budget} in a row, polling again in {next}; {advice}"
        ));
    }

    /// A job that is completed. `waited`: it was not yet when it was first looked at.
    pub(crate) fn completed(&self, translation: &Translation, waited: bool, downloading: bool) {
        let snapshot = translation.snapshot();
        if self.json {
            return self.object(&self.of("completed", snapshot));
        }
        if !downloading {
            self.close(snapshot.id());
            self.line(self.end(snapshot.id(), waited) + &links(snapshot));
        } else if let Some(bar) = self.bar(snapshot.id()) {
            bar.set_message("completed, fetching files");
        }
    }

    fn end(&self, id: &JobId, waited: bool) -> String {
        let name = self.name(id);
        if waited {
            format!("{name}  {} after {}", good("completed"), short(self.started.elapsed()))
        } else {
            format!("{name}  {}", good("completed"))
        }
    }

    pub(crate) fn progress(&self, id: &JobId, file: akool::FileKind, progress: akool_download::Progress) {
        if let Some(bar) = self.bar(id) {
            let percent = progress.total.filter(|total| *total > 0).map(|total| progress.bytes * 100 / total);
            bar.set_position(percent.unwrap_or_default());
            let share = percent.map_or_else(|| size(progress.bytes), |percent| format!("{percent} %"));
            bar.set_message(format!("fetching the {file}, {share}"));
        }
    }

    /// A file that was saved, told at once to programs.
    pub(crate) fn saved(&self, id: &JobId, kind: akool::FileKind, file: &akool_download::Saved) {
        if self.json {
            self.object(&Object {
                event: "downloaded",
                id: Some(id),
                language: self.language(id),
                file: Some(kind.name()),
                path: Some(file.path.display().to_string()),
                bytes: Some(file.bytes),
                kept: Some(file.kept),
                ..Object::default()
            });
        }
    }

    /// All files of a job that were saved, in one piece for people.
    pub(crate) fn downloaded(&self, id: &JobId, waited: bool, saved: &[(akool::FileKind, akool_download::Saved)]) {
        if self.json {
            return;
        }
        self.close(id);
        let mut text = self.end(id, waited);
        for (kind, file) in saved {
            let kept = if file.kept { ", was there" } else { "" };
            let (path, size) = (file.path.display(), size(file.bytes));
            text += &format!("\n  {:<24}{path} ({size}{kept})", kind.to_string());
        }
        self.line(text);
    }

    /// A wait that ended without a translation.
    pub(crate) fn ended(&self, error: &WaitError) {
        self.close(error.job());
        if !self.json {
            return match error {
                WaitError::JobFailed(job) => {
                    let (name, reason) = (self.name(error.job()), reason(&job.snapshot));
                    self.line(format!("{name}  {}: {reason}", bad("failed")));
                }
                _ => self.note(self.early(error)),
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
        let trouble = match error {
            WaitError::Timeout(end) | WaitError::RetriesExhausted(end) | WaitError::Rejected(end) => {
                end.last_error.as_ref().map(|trouble| trouble.kind().name())
            }
            _ => None,
        };
        self.object(&Object { kind: trouble, ..object }.message(error));
        self.note(self.early(error));
    }

    /// Jobs whose wait was interrupted, as last seen.
    pub(crate) fn interrupted(&self, open: &BTreeMap<JobId, Option<Snapshot>>) {
        let mut fetching = false;
        if let Some(screen) = &self.screen {
            // The lines stay as they are: the `^C` that the terminal shows has moved its cursor.
            screen.lines.set_draw_target(ProgressDrawTarget::hidden());
            let _ = writeln!(io::stderr());
        }
        for (id, snapshot) in open {
            self.close(id);
            let completed = snapshot.as_ref().is_some_and(|seen| seen.status() == Status::Completed);
            fetching |= completed;
            if self.json {
                let object = match snapshot {
                    Some(snapshot) => self.of("gave_up", snapshot),
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
        if let Some(resume) = self.resume.as_ref().filter(|_| !open.is_empty()) {
            text += &format!(". Pick them up again with:\n  {}", resume.command(open.keys()));
        }
        self.note(text);
    }

    /// The early end of a wait, with the command that picks it up again.
    fn early(&self, error: &WaitError) -> String {
        let (why, end) = match error {
            WaitError::Timeout(end) => (format!("the timeout passed after {}", short(end.waited)), end),
            WaitError::RetriesExhausted(end) => (format!("{} polls in a row failed", end.failures), end),
            WaitError::Rejected(end) => match &end.last_error {
                Some(trouble) if trouble.kind() != akool::ErrorKind::UnknownJob => {
                    let text = format!(
                        "{} {}  {}; {}",
                        text::error(),
                        end.job,
                        trouble.cause(),
                        trouble.kind().advice()
                    );
                    return text + &self.goes_on(&end.job, "the job goes on");
                }
                _ => return format!("{} {error}", text::error()),
            },
            _ => return format!("{} {error}", text::error()),
        };
        let status = end.last_snapshot.as_ref().map(Snapshot::status);
        let (seen, then) = match status {
            Some(Status::Completed) => ("completed when last seen, without a link".to_owned(), "it is there"),
            Some(status) => (format!("still {status} when last seen"), "the job goes on"),
            None => ("its state was never established".to_owned(), "the job goes on"),
        };
        let mut text = format!("{}  {why}, {seen} ({} polls, {} answered)", end.job, end.polls, end.answers);
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
    pub(crate) fn error(&self, id: Option<&JobId>, kind: &str, error: impl Display) {
        if let Some(id) = id {
            self.close(id);
        }
        if self.json {
            let object = Object { event: "error", id, kind: Some(kind), ..Object::default() };
            self.object(&object.message(&error));
        }
        self.note(format_args!("{} {error}", text::error()));
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
            Err(error) => self.note(format_args!("{} cannot write JSON: {error}", text::error())),
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

    fn of<'a>(&self, event: &'static str, snapshot: &'a Snapshot) -> Object<'a> {
        Object { language: self.language(snapshot.id()), ..Object::of(event, snapshot) }
    }

    fn language(&self, id: &JobId) -> Option<Language> {
        self.labels.borrow().get(id).cloned()
    }

    /// The moving line of a job, made where it is missing.
    fn bar(&self, id: &JobId) -> Option<ProgressBar> {
        let screen = self.screen.as_ref()?;
        let mut jobs = screen.jobs.borrow_mut();
        let bar = jobs.entry(id.clone()).or_insert_with(|| {
            let bar = screen.lines.add(ProgressBar::new(100).with_prefix(self.name(id)));
            let narrow = console::Term::stderr().size().1 < WIDE;
            let template = if narrow {
                "{spinner} {prefix}  {elapsed:>4}  {wide_msg}"
            } else {
                "{spinner} {prefix}  {bar:20} {elapsed:>4}  {wide_msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸ "));
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
