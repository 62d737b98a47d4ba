//! Waits for jobs and downloads their files, for `akool wait` and `akool translate`.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use akool::{Client, JobId, Language, PollPolicy, Snapshot, Status, Translation, Update, WaitError};
use akool_ledger::{Filter, Ledger};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{Semaphore, mpsc};

use crate::{
    args,
    connect::Connection,
    fetch::Fetch,
    interrupt::interruption,
    ledger,
    names::Names,
    on_complete,
    outcome::Outcome,
    place::{Event, Place, WaitSettings},
    report::Report,
    text,
};

/// How many programs of `--on-complete` run at a time.
const MAX_PROGRAMS: usize = 8;
/// Polls a sandbox more often than the default policy, because its jobs take seconds.
pub(crate) const SANDBOX_INTERVAL: Duration = Duration::from_millis(500);

/// What all jobs of one run share.
pub(crate) struct Follow<'a> {
    options: &'a args::Follow,
    client: &'a Client,
    report: &'a Report,
    /// The status of each job is recorded here, if the ledger has the job.
    ledger: Option<Ledger>,
    /// The API address under which the ledger has these jobs.
    api: &'a str,
    ledger_failed: Cell<bool>,
    policy: PollPolicy,
    /// Whether the user or the sandbox sets the interval.
    has_interval: bool,
    downloads: Option<Fetch<'a>>,
    /// One permit for each program of `--on-complete` that may run.
    programs: Semaphore,
    /// The jobs whose outcome was not reported yet, with their last snapshots.
    open: RefCell<BTreeMap<JobId, Option<Snapshot>>>,
}

impl<'a> Follow<'a> {
    /// Checks the options, and changes nothing.
    ///
    /// # Errors
    /// What is wrong, as a message.
    pub(crate) fn check(options: &args::Follow) -> Result<(), String> {
        if options.output.is_none() && options.files.is_set() {
            return Err("--files, --vtt, --name-template and --overwrite need --output".to_owned());
        }
        Names::new(&options.files)?;
        options.on_complete.as_ref().map_or(Ok(()), on_complete::check)
    }

    /// Checks before any request is sent whether files can be saved.
    pub(crate) fn prepare(
        options: &'a args::Follow,
        connection: &'a Connection,
        report: &'a Report,
    ) -> Result<Self, String> {
        Self::check(options)?;
        let downloads = match &options.output {
            None => None,
            Some(folder) => Some(Fetch::prepare(folder, &options.files, options.stall_timeout, report)?),
        };
        let interval = options.interval.or(connection.is_sandbox().then_some(SANDBOX_INTERVAL));
        let policy = interval.map_or_else(PollPolicy::default, PollPolicy::fixed);
        Ok(Self {
            options,
            client: &connection.client,
            report,
            ledger: None,
            api: ledger::api(connection),
            ledger_failed: Cell::new(false),
            policy: policy.with_max_failures(options.max_failures),
            has_interval: interval.is_some(),
            downloads,
            programs: Semaphore::new(MAX_PROGRAMS),
            open: RefCell::default(),
        })
    }

    /// Records the jobs' statuses in the ledger of this place, if it has one, and polls when its earlier jobs ended, unless
    /// an interval is set.
    pub(crate) async fn with_ledger_of(mut self, place: &Place) -> Self {
        let ledger = place.ledger().cloned();
        if let Some(fetch) = &mut self.downloads {
            fetch.set_ledger(ledger.clone());
        }
        self.ledger = ledger;
        if let Some(ledger) = self.ledger.as_ref().filter(|_| !self.has_interval)
            && let Ok(policy) = ledger.poll_policy(self.api).await
        {
            self.policy = policy.with_max_failures(self.options.max_failures);
        }
        self
    }

    /// How to wait.
    pub(crate) fn settings(&self) -> WaitSettings {
        WaitSettings {
            policy: self.policy.clone(),
            interval: self.options.interval,
            timeout: self.options.timeout.0,
            max_polls_per_second: self.options.max_polls_per_second,
        }
    }

    /// Waits for these jobs until all have ended or the program is interrupted.
    /// `in_ledger`: the ledger has all of them.
    pub(crate) async fn run(&self, place: &Place, ids: BTreeSet<JobId>, in_ledger: bool) -> Outcome {
        *self.open.borrow_mut() = ids.iter().map(|id| (id.clone(), None)).collect();
        let (sender, jobs) = mpsc::unbounded_channel();
        for id in ids {
            let _ = sender.send(id);
        }
        drop(sender);
        tokio::select! {
            outcome = self.drive(place, jobs, |_| {}) => outcome,
            () = interruption() => {
                self.report.interrupted(&self.open.borrow(), in_ledger);
                Outcome::Interrupted
            }
        }
    }

    /// The completed jobs whose files are being downloaded, or whose program runs.
    pub(crate) fn downloading(&self) -> Vec<(JobId, Option<Snapshot>)> {
        let open = self.open.borrow();
        let has_more = self.downloads.is_some() || self.options.on_complete.is_some();
        let is_completed = |snapshot: &Snapshot| has_more && snapshot.status() == Status::Completed;
        let completed = open.iter().filter(|(_, last)| last.as_ref().is_some_and(is_completed));
        completed.map(|(id, last)| (id.clone(), last.clone())).collect()
    }

    /// The last snapshot of a job that has not ended, if there is one.
    pub(crate) fn last_snapshot(&self, id: &JobId) -> Option<Snapshot> {
        self.open.borrow().get(id).cloned().flatten()
    }

    /// Waits for each job that arrives, until no more will and all have ended. The end of one job, and its downloads, do
    /// not delay the others. `on_end` is called when the wait for a job has ended, before its downloads.
    pub(crate) async fn drive(
        &self,
        place: &Place,
        jobs: mpsc::UnboundedReceiver<JobId>,
        on_end: impl Fn(Ended),
    ) -> Outcome {
        tokio::select! {
            outcome = self.wait(place, jobs, on_end) => outcome,
            never = self.report.watch_window() => match never {},
        }
    }

    async fn wait(
        &self,
        place: &Place,
        mut jobs: mpsc::UnboundedReceiver<JobId>,
        on_end: impl Fn(Ended),
    ) -> Outcome {
        let mut waits = place.waits(self.settings());
        let mut progress: BTreeMap<JobId, Progress> = BTreeMap::new();
        let mut downloading = FuturesUnordered::new();
        let mut outcome = Outcome::Done;
        loop {
            tokio::select! {
                Some(id) = jobs.recv() => {
                    self.report.start(&id);
                    if let Some(fetch) = self.downloads.as_ref().filter(|_| !place.is_fleet()) {
                        fetch.learn(self.api, &id).await;
                    }
                    self.open.borrow_mut().entry(id.clone()).or_default();
                    waits.insert(id);
                }
                Some((id, event)) = waits.next() => {
                    if !progress.contains_key(&id) && place.is_fleet() {
                        self.label(place, &id).await;
                    }
                    let known = progress.entry(id.clone()).or_default();
                    let end = match event {
                        Event::Update(update) => self.take(&id, *update, known).await,
                        Event::Known(new) => {
                            known.waited = true;
                            self.report.known(&id, new);
                            None
                        }
                        Event::Failed(failure) => {
                            self.open.borrow_mut().remove(&id);
                            self.report.gave_up(&id, &failure);
                            Some(Err(failure.outcome))
                        }
                    };
                    let Some(end) = end else { continue };
                    let waited = known.waited;
                    progress.remove(&id);
                    match end {
                        Ok(translation) => {
                            on_end(Ended { id, outcome: Outcome::Done });
                            downloading.push(async move {
                                let outcome = self.completed(&translation, waited).await;
                                self.open.borrow_mut().remove(translation.id());
                                outcome
                            });
                        }
                        Err(ended) => {
                            on_end(Ended { id, outcome: ended });
                            outcome = outcome.max(ended);
                        }
                    }
                }
                Some(fetched) = downloading.next() => outcome = outcome.max(fetched),
                else => return outcome,
            }
        }
    }

    /// Learns what the fleet knows of a job, once it has begun to wait.
    async fn label(&self, place: &Place, id: &JobId) {
        let label = |id: &JobId, language: Option<&Language>, source: Option<&str>| {
            self.report.label(id, language, source);
            if let Some(fetch) = &self.downloads {
                fetch.name(id, language, source);
            }
        };
        place.label([id.clone()], label).await;
    }

    /// Reports an update. Returns the translation, or how the wait ended without one, if the update ends the wait.
    async fn take(
        &self,
        id: &JobId,
        update: Update,
        progress: &mut Progress,
    ) -> Option<Result<Translation, Outcome>> {
        match update {
            Update::Polled { snapshot, changed, .. } => {
                progress.waited = true;
                if changed {
                    self.report.update(&snapshot);
                }
                self.report_unexpected(&snapshot, &mut progress.unexpected);
                self.open.borrow_mut().insert(id.clone(), Some(snapshot.clone()));
                self.record(progress, &snapshot).await;
                progress.running_until = snapshot.age();
            }
            Update::Retrying { error, attempt, next_poll_in, .. } => {
                self.report.retrying(&error, attempt, self.policy.max_failures(), next_poll_in);
            }
            Update::Finished(Ok(translation)) => {
                self.record(progress, translation.snapshot()).await;
                self.report_unexpected(translation.snapshot(), &mut progress.unexpected);
                return Some(Ok(translation));
            }
            Update::Finished(Err(error)) => {
                let mut last = self.open.borrow_mut().remove(id).flatten();
                if let WaitError::JobFailed(failed) = &error {
                    last = Some(failed.snapshot.clone());
                }
                if let Some(snapshot) = &last {
                    self.record(progress, snapshot).await;
                }
                self.report.ended(&error, last.as_ref());
                return Some(Err(Outcome::from(&error)));
            }
            _ => {}
        }
        None
    }

    /// Records the status of a job in the ledger, if it has changed.
    async fn record(&self, progress: &mut Progress, snapshot: &Snapshot) {
        let Some(ledger) = self.ledger.as_ref().filter(|_| progress.recorded != Some(snapshot.status()))
        else {
            return;
        };
        progress.recorded = Some(snapshot.status());
        let recorded = ledger.record(self.api, snapshot, progress.running_until).await;
        if let Err(error) = recorded
            && !self.ledger_failed.replace(true)
        {
            // The wait is more important, and `akool jobs --refresh` records the status later.
            self.report.note(format_args!("warning: {}", text::with_causes(&error)));
        }
    }

    /// Reports what in the responses does not match the description, once for each job.
    fn report_unexpected(&self, snapshot: &Snapshot, reported: &mut BTreeSet<String>) {
        let unknown = matches!(snapshot.status(), Status::Unknown(_));
        let status = unknown.then(|| format!("status {} is not documented", i64::from(snapshot.status())));
        let fields = snapshot
            .unexpected_fields()
            .iter()
            .map(|pointer| format!("field {pointer} is not valid and was ignored"));
        for unexpected in status.into_iter().chain(fields) {
            if reported.insert(unexpected.clone()) {
                self.report.unexpected(snapshot.id(), unexpected);
            }
        }
    }

    async fn completed(&self, translation: &Translation, waited: bool) -> Outcome {
        self.report.completed(translation, waited, self.downloads.is_some());
        let last = Some(translation.snapshot().clone());
        self.open.borrow_mut().insert(translation.id().clone(), last);
        let (outcome, files) = match &self.downloads {
            None => (Outcome::Done, Vec::new()),
            Some(fetch) => fetch.all(&self.client.job(translation.id()), translation, waited).await,
        };
        match self.options.on_complete.as_ref().filter(|_| outcome == Outcome::Done) {
            None => outcome,
            Some(command) => {
                let id = translation.id();
                let source = self.source(id).await;
                let job = self.report.completed_job(translation.snapshot(), source, &files);
                // The semaphore is never closed.
                let _running = self.programs.acquire().await;
                on_complete::run(command, id, &job, self.report).await
            }
        }
    }

    /// The source of a job, if the ledger has it.
    async fn source(&self, id: &JobId) -> Option<String> {
        let filter = Filter::job(id.clone()).at(self.api);
        let works = self.ledger.as_ref()?.works(&filter).await.ok()?;
        works.into_iter().next().map(|work| work.source)
    }
}

/// How the wait for a job ended: [`Outcome::Done`] if the job is completed.
pub(crate) struct Ended {
    pub(crate) id: JobId,
    pub(crate) outcome: Outcome,
}

/// What is known of one wait.
#[derive(Default)]
struct Progress {
    /// The job had not ended at the first poll.
    waited: bool,
    /// The age of the job at the last poll before its end.
    running_until: Option<Duration>,
    /// The status that was last recorded in the ledger.
    recorded: Option<Status>,
    /// What was reported as unexpected.
    unexpected: BTreeSet<String>,
}
