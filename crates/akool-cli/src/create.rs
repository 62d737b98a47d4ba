//! Creates the jobs of a run, row by row, and keeps the status of each: [`Creator`].

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::Write,
};

use akool::{BusinessCode, JobId, Language};
use akool_ledger::{EnsureError, EnsureEvent, Ensured, Ledger, LedgerJob, Work};
use serde_json::json;
use tokio::sync::{Notify, mpsc};

use crate::{
    args::Translate,
    connect::Connection,
    follow::Ended,
    ledger::{IN_FLIGHT_INTERVAL, api},
    outcome::Outcome,
    plan::Item,
    report::Report,
    text,
};

/// A parameter is wrong, such as a language that AKOOL does not support.
const PARAMETER: BusinessCode = BusinessCode(1003);

/// The status of one language of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetStatus {
    /// Not created yet, or not any more because the run ended.
    Planned,
    /// A job that has not ended.
    Active,
    Completed,
    Failed,
    /// AKOOL does not accept the language.
    Refused,
    NotCreated,
    OutcomeUnknown,
    /// The wait ended before the job.
    Unfinished,
}

impl TargetStatus {
    fn name(self) -> &'static str {
        match self {
            Self::Planned => "not_created",
            Self::Active | Self::Unfinished => "unfinished",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Refused => "rejected",
            Self::NotCreated => "not_created",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }
}

/// One language of one row.
struct Target {
    row: usize,
    language: String,
    status: TargetStatus,
    job: Option<JobId>,
}

/// Creates jobs, and counts.
pub(crate) struct Creator<'a> {
    options: &'a Translate,
    connection: &'a Connection,
    report: &'a Report,
    ledger: &'a Ledger,
    items: Vec<Item>,
    targets: RefCell<Vec<Target>>,
    jobs: RefCell<BTreeSet<JobId>>,
    is_creating: Cell<bool>,
    is_interrupted: Cell<bool>,
    /// How many jobs are waited for.
    active: Cell<usize>,
    /// A wait has ended.
    ended: Notify,
}

impl<'a> Creator<'a> {
    pub(crate) fn new(
        options: &'a Translate,
        connection: &'a Connection,
        report: &'a Report,
        ledger: &'a Ledger,
        items: Vec<Item>,
    ) -> Self {
        let target =
            |row, language: &String, status| Target { row, language: language.clone(), status, job: None };
        let mut targets = Vec::new();
        for (row, item) in items.iter().enumerate() {
            targets
                .extend(item.languages.iter().map(|language| target(row, language, TargetStatus::Planned)));
            targets.extend(item.refused.iter().map(|language| target(row, language, TargetStatus::Refused)));
        }
        Self {
            options,
            connection,
            report,
            ledger,
            items,
            targets: RefCell::new(targets),
            jobs: RefCell::default(),
            is_creating: Cell::new(false),
            is_interrupted: Cell::new(false),
            active: Cell::new(0),
            ended: Notify::new(),
        }
    }

    /// Whether a request is under way, so that jobs may exist whose ids are not known yet.
    pub(crate) fn is_creating(&self) -> bool {
        self.is_creating.get()
    }

    /// Ends the run after the request that is under way.
    pub(crate) fn interrupt(&self) {
        self.is_interrupted.set(true);
    }

    /// The wait for a job has ended.
    pub(crate) fn end(&self, ended: &Ended) {
        let status = match ended.outcome {
            Outcome::Done => TargetStatus::Completed,
            Outcome::JobFailed => TargetStatus::Failed,
            _ => TargetStatus::Unfinished,
        };
        for target in
            self.targets.borrow_mut().iter_mut().filter(|target| target.job.as_ref() == Some(&ended.id))
        {
            target.status = status;
        }
        self.report_progress();
        self.active.set(self.active.get().saturating_sub(1));
        self.ended.notify_one();
    }

    /// Whether there are languages that were not requested yet.
    pub(crate) fn has_more(&self) -> bool {
        self.count(|status| status == TargetStatus::Planned) > 0
    }

    /// The jobs that have not ended.
    pub(crate) fn active(&self) -> Vec<JobId> {
        let targets = self.targets.borrow();
        let active = targets.iter().filter(|target| target.status == TargetStatus::Active);
        active.filter_map(|target| target.job.clone()).collect()
    }

    /// Creates all jobs, as many at a time as may be active, and passes on their ids.
    pub(crate) async fn run(&self, jobs: mpsc::UnboundedSender<JobId>) -> Outcome {
        let mut outcome = Outcome::Done;
        self.report_progress();
        if self.targets.borrow().iter().any(|target| target.status == TargetStatus::Refused) {
            outcome = Outcome::JobFailed;
        }
        let languages = |item: &Item| item.languages.clone();
        let mut queue: VecDeque<_> = self.items.iter().map(languages).enumerate().collect();
        let mut reported_in_flight = false;
        while let Some((row, mut languages)) = queue.pop_front() {
            let room = self.room().await;
            if self.is_interrupted.get() {
                break;
            }
            if languages.len() > room {
                queue.push_front((row, languages.split_off(room)));
            }
            self.is_creating.set(true);
            let ensured = self.ensure(row, &languages).await;
            self.is_creating.set(false);
            let in_flight: Vec<_> =
                ensured.known.iter().filter(|work| work.is_in_flight()).cloned().collect();
            for work in ensured.known.iter().filter(|work| !work.is_in_flight() || !reported_in_flight) {
                self.report.reused(work);
            }
            for id in self.take(row, &languages, &ensured) {
                self.active.set(self.active.get() + 1);
                let _ = jobs.send(id);
            }
            let (ended, goes_on) = self.report_sent(ensured, &languages).await;
            outcome = outcome.max(ended);
            if !goes_on {
                break;
            }
            if !in_flight.is_empty() {
                // Another process is creating them.
                reported_in_flight = true;
                let codes =
                    in_flight.iter().flat_map(|work| &work.language).map(|code| code.code().to_owned());
                queue.push_back((row, codes.collect()));
                tokio::time::sleep(IN_FLIGHT_INTERVAL).await;
            }
        }
        outcome
    }

    /// How many more jobs may be created now: at least one.
    async fn room(&self) -> usize {
        if self.options.no_wait {
            return usize::MAX;
        }
        while self.active.get() >= self.options.max_active {
            self.ended.notified().await;
        }
        self.options.max_active - self.active.get()
    }

    async fn ensure(&self, row: usize, languages: &[String]) -> Ensured {
        let request = self.items[row].row.translate(&self.connection.client, languages);
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut ensure = self.ledger.translate(request).api(api(self.connection)).on_event(move |event| {
            if let Some(event) = Event::of(event) {
                let _ = sender.send(event);
            }
        });
        if self.options.allow_duplicate {
            ensure = ensure.allow_duplicate();
        }
        let mut ensure = std::pin::pin!(ensure.run());
        loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => event.report(self.report),
                ensured = &mut ensure => return ensured,
            }
        }
    }

    /// Notes the status of each language. Returns the jobs that are new in this run.
    fn take(&self, row: usize, languages: &[String], ensured: &Ensured) -> Vec<JobId> {
        let mut new = Vec::new();
        let mut job = |id: &JobId, language: Option<&Language>| {
            self.report.label(id, language);
            if self.jobs.borrow_mut().insert(id.clone()) {
                new.push(id.clone());
            }
        };
        let set = |language: &Language, status: TargetStatus, job: Option<&JobId>| {
            let mut targets = self.targets.borrow_mut();
            let is_it = |target: &&mut Target| {
                target.row == row && language.is(&Language::from(target.language.as_str()))
            };
            if let Some(target) = targets.iter_mut().find(is_it) {
                (target.status, target.job) = (status, job.cloned());
            }
        };
        for work in &ensured.known {
            let Some(language) = &work.language else { continue };
            match work.job() {
                Some(known) => {
                    set(language, TargetStatus::Active, Some(&known.id));
                    job(&known.id, Some(language));
                }
                None if work.is_in_flight() => {}
                None => set(language, TargetStatus::OutcomeUnknown, None),
            }
        }
        let known = |code: &String| {
            let language = Language::from(code.as_str());
            ensured.known.iter().any(|work| work.language.as_ref().is_some_and(|known| known.is(&language)))
        };
        let requested =
            || languages.iter().filter(|code| !known(code)).map(|code| Language::from(code.as_str()));
        match &ensured.sent {
            None => {}
            Some(Ok(created) | Err(EnsureError::Unrecorded { created, .. })) => {
                for unknown in &created.unknown {
                    set(unknown, TargetStatus::OutcomeUnknown, None);
                }
                for created in &created.jobs {
                    if let Some(language) = &created.language {
                        set(language, TargetStatus::Active, Some(&created.id));
                    }
                    job(&created.id, created.language.as_ref());
                }
                for language in created.rejected.iter().flat_map(|rejected| &rejected.language) {
                    set(language, TargetStatus::Refused, None);
                }
            }
            Some(Err(error)) => {
                let status = match (error, Outcome::from(error)) {
                    (EnsureError::OutcomeUnknown { .. }, _) => TargetStatus::OutcomeUnknown,
                    (_, Outcome::JobFailed) => TargetStatus::Refused,
                    _ => TargetStatus::NotCreated,
                };
                requested().for_each(|language| set(&language, status, None));
            }
        }
        new
    }

    /// Reports the result of the request. Returns the outcome, and whether other requests can succeed.
    async fn report_sent(&self, ensured: Ensured, languages: &[String]) -> (Outcome, bool) {
        let is_unknown = |work: &Work| work.job().is_none() && !work.is_in_flight();
        let known = if ensured.known.iter().any(is_unknown) { Outcome::Unknown } else { Outcome::Done };
        let (sent, goes_on) = match ensured.sent {
            None => (Outcome::Done, true),
            Some(Ok(created)) => (self.report_created(&created), true),
            // The ids have been printed.
            Some(Err(EnsureError::Unrecorded { created, source })) => {
                let text = format!(
                    "the ids above could not be recorded: {}; save them, nothing else has them",
                    text::with_causes(&source)
                );
                self.report.error(None, "ledger", text);
                (self.report_created(&created).max(Outcome::Unknown), false)
            }
            Some(Err(error)) => {
                if !self.report_unsupported(&error, languages).await {
                    self.report.not_created(&error);
                }
                let outcome = Outcome::from(&error);
                let is_general =
                    matches!(error, EnsureError::Ledger(_)) || outcome == Outcome::CredentialsRefused;
                (outcome, !is_general)
            }
        };
        (known.max(sent), goes_on)
    }

    /// Names the languages that the service does not list, if it found a parameter wrong. Returns whether there are any.
    async fn report_unsupported(&self, error: &EnsureError, languages: &[String]) -> bool {
        if error.error().and_then(akool::Error::code) != Some(PARAMETER) {
            return false;
        }
        let Ok(listed) = self.connection.client.languages().await else { return false };
        let is_listed = |code: &&String| {
            let language = Language::from(code.as_str());
            listed.iter().any(|listed| listed.language.is(&language))
        };
        let unsupported: Vec<_> = languages.iter().filter(|code| !is_listed(code)).collect();
        for code in &unsupported {
            self.report.unsupported(code);
        }
        !unsupported.is_empty()
    }

    fn report_created(&self, created: &akool::Created) -> Outcome {
        for job in &created.jobs {
            self.report.created(&job.id, job.language.as_ref());
        }
        let mut outcome = Outcome::Done;
        for rejection in &created.rejected {
            self.report.rejected(rejection);
            outcome = outcome.max(Outcome::JobFailed);
        }
        if !created.unknown.is_empty() {
            self.report.unknown(&created.unknown, &created.jobs);
            outcome = outcome.max(Outcome::Unknown);
        }
        outcome
    }

    fn report_progress(&self) {
        let ended = self.count(|status| !matches!(status, TargetStatus::Planned | TargetStatus::Active));
        self.report.advance(ended, self.targets.borrow().len());
    }

    fn count(&self, is_counted: impl Fn(TargetStatus) -> bool) -> usize {
        self.targets.borrow().iter().filter(|target| is_counted(target.status)).count()
    }

    /// The last line of a run with several rows, and the file of `--report`.
    pub(crate) fn summarize(&self) -> Outcome {
        let total = self.targets.borrow().len();
        let is_batch = self.options.from_file.is_some() || self.items.len() > 1;
        if is_batch && !self.options.no_wait {
            let count = |status: TargetStatus| self.count(|other| other == status);
            let targets = self.targets.borrow();
            let refused: BTreeSet<_> = targets
                .iter()
                .filter(|target| target.status == TargetStatus::Refused)
                .map(|target| target.language.as_str())
                .collect();
            let refused: Vec<_> = refused.into_iter().collect();
            let mut parts = vec![format!("{} of {total} completed", count(TargetStatus::Completed))];
            let mut part = |number: usize, what: &str| {
                if number > 0 {
                    parts.push(format!("{number} {what}"));
                }
            };
            part(count(TargetStatus::Failed), "failed");
            part(count(TargetStatus::Active) + count(TargetStatus::Unfinished), "not ended");
            part(count(TargetStatus::OutcomeUnknown), "outcome unknown");
            part(count(TargetStatus::NotCreated) + count(TargetStatus::Planned), "not created");
            part(count(TargetStatus::Refused), &format!("refused: {}", refused.join(", ")));
            let members: serde_json::Map<_, _> = [
                ("total", total),
                ("completed", count(TargetStatus::Completed)),
                ("failed", count(TargetStatus::Failed)),
                ("not_ended", count(TargetStatus::Active) + count(TargetStatus::Unfinished)),
                ("outcome_unknown", count(TargetStatus::OutcomeUnknown)),
                ("not_created", count(TargetStatus::NotCreated) + count(TargetStatus::Planned)),
                ("rejected", count(TargetStatus::Refused)),
            ]
            .into_iter()
            .map(|(name, number)| (name.to_owned(), json!(number)))
            .collect();
            self.report.summary(&parts.join(", "), members);
        }
        match &self.options.report {
            Some(path) => match self.write_report(path) {
                Ok(()) => Outcome::Done,
                Err(error) => {
                    let text = format!("cannot write the report {}: {error}", path.display());
                    self.report.error(None, "file", text);
                    Outcome::Unexpected
                }
            },
            None => Outcome::Done,
        }
    }

    /// Writes one line for each row: all of them, or nothing.
    fn write_report(&self, path: &std::path::Path) -> std::io::Result<()> {
        let targets = self.targets.borrow();
        let mut by_row: BTreeMap<usize, Vec<&Target>> = BTreeMap::new();
        for target in targets.iter() {
            by_row.entry(target.row).or_default().push(target);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(std::path::Path::new(".")))?;
        for (row, targets) in by_row {
            let item = &self.items[row];
            let languages = targets.iter().map(|target| {
                json!({ "language": target.language, "status": target.status.name(), "id": target.job })
            });
            let source = text::source(&item.row.url);
            let line = json!({
                "line": item.line, "source": source, "languages": languages.collect::<Vec<_>>(),
            });
            writeln!(file, "{line}")?;
        }
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// What happens before a creation has its result.
enum Event {
    CreatingAgain(LedgerJob),
    Unrecorded { ids: Vec<JobId>, error: String },
}

impl Event {
    fn of(event: EnsureEvent<'_>) -> Option<Self> {
        match event {
            EnsureEvent::Unrecorded { created, error } => Some(Self::Unrecorded {
                ids: created.jobs.iter().map(|job| job.id.clone()).collect(),
                error: text::with_causes(error),
            }),
            EnsureEvent::CreatingAgain(job) => Some(Self::CreatingAgain(job.clone())),
            _ => None,
        }
    }

    fn report(self, report: &Report) {
        match self {
            Self::CreatingAgain(job) => report.creating_again(&job),
            Self::Unrecorded { ids, error } => report.unrecorded(&ids, &error),
        }
    }
}
