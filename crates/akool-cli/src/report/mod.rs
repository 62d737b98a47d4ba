//! Everything that the program prints: JSON lines, plain lines, or progress lines on a terminal.
//!
//! This file writes; the others decide what to write: `job` for jobs and their files, `ended` for waits
//! that end without a translation, `creation` for requests that create jobs.

mod creation;
mod ended;
mod job;
mod object;
mod screen;
#[cfg(feature = "stage")]
mod staging;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    convert::Infallible,
    fmt::Display,
    io::{self, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use akool::{Error, ErrorKind, JobId, Language};
use akool_download::source_name;
use serde::Serialize;

pub(crate) use self::job::{FileState, LocalFile};
use self::{object::Object, screen::Screen};
use crate::{env, outcome::Outcome, reported::Failure, resume::Resume, text};

/// How often to read the size of the window.
const WINDOW_INTERVAL: Duration = Duration::from_millis(250);

/// How to print.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) json: bool,
    /// Print only results and errors.
    pub(crate) quiet: bool,
    /// Print details that are for information only.
    pub(crate) verbose: bool,
    /// Show a progress line for each job if stdout and stderr are terminals.
    pub(crate) progress: bool,
    /// Print nothing but the ids of created jobs to stdout.
    pub(crate) ids_only: bool,
    /// The options that printed commands need.
    pub(crate) globals: Resume,
    /// The command that resumes this run, if it waits for jobs.
    pub(crate) resume: Option<Resume>,
}

pub(crate) struct Report {
    settings: Settings,
    /// The languages of jobs, as far as they are known.
    labels: RefCell<BTreeMap<JobId, Language>>,
    /// The names of their videos, for progress lines.
    sources: RefCell<BTreeMap<JobId, String>>,
    screen: Option<Screen>,
    /// How old jobs were when they were completed.
    ages: RefCell<BTreeMap<JobId, Duration>>,
    /// Whether an error was about a job that AKOOL does not know, and whether links were printed.
    unknown_job: Cell<bool>,
    links: Cell<bool>,
    /// The first error of writing to stdout.
    write_error: Cell<Option<io::ErrorKind>>,
}

impl Report {
    pub(crate) fn new(settings: Settings) -> Self {
        let terminal = io::stderr().is_terminal() && io::stdout().is_terminal() && !env::is_dumb_terminal();
        let progress = settings.progress && !settings.json && !settings.quiet && terminal;
        Self {
            settings,
            labels: RefCell::default(),
            sources: RefCell::default(),
            screen: progress.then(Screen::new),
            ages: RefCell::default(),
            unknown_job: Cell::new(false),
            links: Cell::new(false),
            write_error: Cell::new(None),
        }
    }

    /// The first error of writing to stdout. A closed pipe is not an error: its reader has what it needs.
    pub(crate) fn write_error(&self) -> Option<io::ErrorKind> {
        self.write_error.get().filter(|kind| *kind != io::ErrorKind::BrokenPipe)
    }

    /// Whether an error was about a job that AKOOL does not know.
    #[cfg(feature = "sandbox")]
    pub(crate) fn has_unknown_job(&self) -> bool {
        self.unknown_job.get()
    }

    /// Whether links to files were printed for people.
    #[cfg(feature = "sandbox")]
    pub(crate) fn has_links(&self) -> bool {
        self.links.get()
    }

    /// A command to paste, with the options of this run that it needs.
    pub(crate) fn command(&self, command: &str) -> String {
        self.settings.globals.with(command)
    }

    /// The command that waits for a job and saves its files.
    pub(crate) fn wait_command(&self, id: &JobId, folder: &Path) -> String {
        let mut resume = self.settings.globals.clone();
        resume.option("--output", &folder.display().to_string());
        resume.command([id])
    }

    /// Lays the progress lines out again whenever the window has another size.
    pub(crate) async fn watch_window(&self) -> Infallible {
        let Some(screen) = &self.screen else { return std::future::pending().await };
        loop {
            tokio::time::sleep(WINDOW_INTERVAL).await;
            screen.resize();
        }
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.settings.verbose
    }

    pub(crate) fn is_json(&self) -> bool {
        self.settings.json
    }

    /// Remembers the language of a job, which all later lines about the job show, and the URL of its video, after which its
    /// progress line is named.
    pub(crate) fn label(&self, id: &JobId, language: Option<&Language>, source: Option<&str>) {
        if let Some(language) = language {
            self.labels.borrow_mut().insert(id.clone(), language.clone());
        }
        if let Some(name) = source.filter(|_| self.screen.is_some()).and_then(source_name) {
            self.sources.borrow_mut().insert(id.clone(), name);
        }
    }

    /// A line for people, to stderr in every mode.
    pub(crate) fn note(&self, text: impl Display) {
        self.write(|| drop(writeln!(io::stderr(), "{text}")));
    }

    /// A line that is neither a result nor an error.
    pub(crate) fn remark(&self, text: impl Display) {
        if !self.settings.quiet {
            self.note(text);
        }
    }

    /// A line for people: to stdout, or with `--json` to stderr.
    pub(crate) fn line(&self, text: impl Display) {
        if self.is_json() { self.note(text) } else { self.stdout(text) }
    }

    /// A line of `--json`.
    pub(crate) fn object(&self, object: &impl Serialize) {
        match text::json(object) {
            Ok(text) => self.stdout(text),
            Err(error) => self.note(format_args!("{} cannot write JSON: {error}", text::error())),
        }
    }

    /// An error that concerns one job, or the whole run.
    pub(crate) fn error(&self, id: Option<&JobId>, kind: &str, error: impl Display) {
        self.failure(id, kind, error, None);
    }

    /// An error of a call of the API.
    pub(crate) fn call_failed(&self, id: Option<&JobId>, error: &Error) {
        self.failure(id, error.kind().name(), text::with_causes(error), Some(error.help()));
    }

    /// What a place did not do. Returns its outcome.
    pub(crate) fn failed(&self, id: Option<&JobId>, failure: &Failure) -> Outcome {
        self.failure(id, &failure.kind, &failure.text, failure.help.as_deref());
        failure.outcome
    }

    /// An error, and what to do about it on its own line.
    pub(crate) fn failure(&self, id: Option<&JobId>, kind: &str, error: impl Display, help: Option<&str>) {
        self.unknown_job.set(self.unknown_job.get() || kind == ErrorKind::UnknownJob.name());
        if let Some(id) = id {
            self.close(id);
        }
        if self.is_json() {
            let object = Object { event: "error", id, kind: Some(kind), help, ..Object::default() };
            self.object(&object.message(&error));
        }
        let help = help.map_or_else(String::new, |help| format!("\n  {help}"));
        self.note(format_args!("{} {error}{help}", text::error()));
    }

    fn stdout(&self, text: impl Display) {
        self.write(|| {
            let mut stdout = io::stdout().lock();
            if let Err(error) = writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
                self.write_error.set(self.write_error.get().or(Some(error.kind())));
            }
        });
    }

    /// Writes without disturbing the progress lines.
    fn write(&self, write: impl FnOnce()) {
        match &self.screen {
            Some(screen) => screen.suspend(write),
            None => write(),
        }
    }

    /// The name of a job in a line for people: its id, with its language if it is known.
    fn name(&self, id: &JobId) -> String {
        match self.language(id) {
            Some(language) => format!("{id}  {language}"),
            None => id.to_string(),
        }
    }

    fn language(&self, id: &JobId) -> Option<Language> {
        self.labels.borrow().get(id).cloned()
    }

    /// Removes the progress line of a job.
    fn close(&self, id: &JobId) {
        if let Some(screen) = &self.screen {
            screen.close(id);
        }
    }
}
