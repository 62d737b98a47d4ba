//! Following jobs to their end, each on its own, and fetching their files: what `akool wait` and
//! `akool translate` have in common.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    future::IntoFuture,
    path::Path,
    time::Duration,
};

use akool::{
    Client, Event, Job, JobId, PollPolicy, Snapshot, Status, Translation, WaitError,
    ledger::LedgerFile,
};
use akool_download::Downloader;
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};

use crate::{args, connect::Connection, outcome::Outcome, report::Report};

/// How often a sandbox is polled unless told otherwise: its jobs take seconds.
const SANDBOX_INTERVAL: Duration = Duration::from_millis(500);

/// What all jobs of a run share.
pub(crate) struct Follow<'a> {
    options: &'a args::Follow,
    client: &'a Client,
    report: &'a Report,
    /// Told where the jobs stand, as far as it has them.
    ledger: Option<LedgerFile>,
    ledger_failed: Cell<bool>,
    policy: PollPolicy,
    downloads: Option<(Downloader, &'a Path)>,
    /// The jobs whose end was not told yet, as last seen.
    open: RefCell<BTreeMap<JobId, Option<Snapshot>>>,
}

impl<'a> Follow<'a> {
    /// Finds out before anything is asked for, and not after it, that nothing can be saved.
    pub(crate) fn prepare(
        options: &'a args::Follow,
        connection: &'a Connection,
        report: &'a Report,
        ledger: Option<LedgerFile>,
    ) -> Result<Self, String> {
        let interval = options.interval.or(connection.is_sandbox().then_some(SANDBOX_INTERVAL));
        let policy = interval
            .map_or_else(PollPolicy::default, PollPolicy::fixed)
            .with_max_failures(options.max_failures);
        let downloads = match &options.output {
            None => None,
            Some(folder) => Some((downloader(folder)?, folder.as_path())),
        };
        Ok(Self {
            options,
            client: &connection.client,
            report,
            ledger,
            ledger_failed: Cell::new(false),
            policy,
            downloads,
            open: RefCell::default(),
        })
    }

    /// All of these to their end, or until the program is interrupted.
    pub(crate) async fn run(&self, ids: BTreeSet<JobId>) -> Outcome {
        *self.open.borrow_mut() = ids.iter().map(|id| (id.clone(), None)).collect();
        tokio::select! {
            outcome = self.follow(ids) => outcome,
            () = interruption() => {
                self.report.interrupted(&self.open.borrow());
                Outcome::Interrupted
            }
        }
    }

    /// Each job to its end. One job's end does not stop the others, nor does the fetching of its files.
    async fn follow(&self, ids: BTreeSet<JobId>) -> Outcome {
        let mut waits = self.client.wait_set().policy(self.policy.clone());
        waits = match self.options.timeout.0 {
            Some(timeout) => waits.timeout(timeout),
            None => waits.without_timeout(),
        };
        for id in &ids {
            self.report.start(id);
        }
        waits.extend(ids);
        let mut told: BTreeMap<JobId, Told> = BTreeMap::new();
        let mut fetching = FuturesUnordered::new();
        let mut outcome = Outcome::Done;
        loop {
            tokio::select! {
                Some((id, event)) = waits.next() => {
                    let told = told.entry(id.clone()).or_default();
                    match self.take(&id, event, told).await {
                        Some(Ok(translation)) => {
                            let waited = told.waited;
                            fetching.push(async move {
                                let outcome = self.completed(&translation, waited).await;
                                self.open.borrow_mut().remove(translation.id());
                                outcome
                            });
                        }
                        Some(Err(early)) => outcome = outcome.max(early),
                        None => {}
                    }
                }
                Some(fetched) = fetching.next() => outcome = outcome.max(fetched),
                else => return outcome,
            }
        }
    }

    /// Tells what an event says. The end, where it is one.
    async fn take(&self, id: &JobId, event: Event, told: &mut Told) -> Option<Result<Translation, Outcome>> {
        match event {
            Event::Polled { snapshot, changed, .. } => {
                told.waited = true;
                if changed {
                    self.report.update(&snapshot);
                }
                self.report_unexpected_fields(&snapshot, &mut told.odd);
                self.open.borrow_mut().insert(id.clone(), Some(snapshot.clone()));
                self.note(&mut told.noted, &snapshot).await;
            }
            Event::Trouble { error, failures, budget, next_poll_in } => {
                self.report.trouble(&error, failures, budget, next_poll_in);
            }
            Event::Ended(Ok(translation)) => {
                self.note(&mut told.noted, translation.snapshot()).await;
                self.report_unexpected_fields(translation.snapshot(), &mut told.odd);
                return Some(Ok(translation));
            }
            Event::Ended(Err(mut error)) => {
                let last = self.open.borrow_mut().remove(id).flatten();
                if let WaitError::Timeout(end) | WaitError::RetriesExhausted(end) | WaitError::Rejected(end) =
                    &mut error
                {
                    // A set does not keep it.
                    end.last_snapshot = end.last_snapshot.take().or(last);
                }
                if let Some(snapshot) = error.last_snapshot() {
                    self.note(&mut told.noted, snapshot).await;
                }
                self.report.ended(&error);
                return Some(Err(Outcome::from(&error)));
            }
            _ => {}
        }
        None
    }

    /// Tells the ledger where a job stands, where that is new.
    async fn note(&self, noted: &mut Option<Status>, snapshot: &Snapshot) {
        let Some(ledger) = self.ledger.as_ref().filter(|_| *noted != Some(snapshot.status())) else {
            return;
        };
        *noted = Some(snapshot.status());
        let (ledger, id, status) = (ledger.clone(), snapshot.id().clone(), snapshot.status());
        // Not on this thread: another process may hold the file.
        let noted = tokio::task::spawn_blocking(move || ledger.note(&id, status)).await;
        if let Ok(Err(error)) = noted
            && !self.ledger_failed.replace(true)
        {
            // The wait matters more, and `akool jobs --refresh` finds it out again.
            self.report.note(format_args!("warning: {error}"));
        }
    }

    /// Says once for each job what in its answers is not as described.
    fn report_unexpected_fields(&self, snapshot: &Snapshot, told: &mut BTreeSet<String>) {
        let unknown = matches!(snapshot.status(), Status::Unknown(_));
        let status = unknown.then(|| format!("the status {}", i64::from(snapshot.status())));
        let fields = snapshot.dropped().iter().map(|pointer| format!("the field {pointer}"));
        for unexpected_field in status.into_iter().chain(fields) {
            if told.insert(unexpected_field.clone()) {
                self.report.unexpected_field(snapshot.id(), unexpected_field);
            }
        }
    }

    async fn completed(&self, translation: &Translation, waited: bool) -> Outcome {
        self.report.completed(translation, waited, self.downloads.is_some());
        let seen = Some(translation.snapshot().clone());
        self.open.borrow_mut().insert(translation.id().clone(), seen);
        match &self.downloads {
            None => Outcome::Done,
            Some((downloader, folder)) => {
                let fetch = Fetch { downloader, folder, report: self.report, overwrite: false };
                fetch.all(&self.client.job(translation.id()), translation, waited).await
            }
        }
    }
}

/// What was told of a job.
#[derive(Default)]
struct Told {
    /// It was not at its end when it was first looked at.
    waited: bool,
    /// To the ledger.
    noted: Option<Status>,
    odd: BTreeSet<String>,
}

/// A downloader into a folder that can be written to.
pub(crate) fn downloader(folder: &Path) -> Result<Downloader, String> {
    let shown = folder.display();
    // Written to and not only looked at: permissions alone do not tell. The file has no name where
    // the system allows that, so that nothing is left of it, whatever happens.
    let made = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    made.map(drop).map_err(|error| {
        format!("cannot write into {shown}: {error}; choose another folder with --output")
    })?;
    Downloader::new().map_err(|error| error.to_string())
}

/// How files are fetched.
pub(crate) struct Fetch<'a> {
    pub(crate) downloader: &'a Downloader,
    pub(crate) folder: &'a Path,
    pub(crate) report: &'a Report,
    /// Also what is there already.
    pub(crate) overwrite: bool,
}

impl Fetch<'_> {
    /// All files of a completed job. `waited`: it was not completed when it was first looked at.
    pub(crate) async fn all(&self, job: &Job, translation: &Translation, waited: bool) -> Outcome {
        let Self { downloader, folder, report, overwrite } = *self;
        let id = translation.id();
        let saves = translation.files().into_iter().map(async |file| {
            let kind = file.kind;
            let (sender, mut progress) = tokio::sync::watch::channel(None);
            let mut save = downloader.save(&file, folder).renew_link_from(job).on_progress(move |now| {
                let _ = sender.send(Some(now));
            });
            if overwrite {
                save = save.overwrite();
            }
            let mut save = save.into_future();
            loop {
                tokio::select! {
                    saved = &mut save => {
                        if let Ok(file) = &saved {
                            report.saved(id, kind, file);
                        }
                        return (kind, saved);
                    }
                    Ok(()) = progress.changed() => {
                        if let Some(now) = *progress.borrow_and_update() {
                            report.progress(id, kind, now);
                        }
                    }
                }
            }
        });
        let mut outcome = Outcome::Done;
        let mut saved = Vec::new();
        for (kind, result) in join_all(saves).await {
            match result {
                Ok(file) => saved.push((kind, file)),
                Err(error) => {
                    outcome = outcome.max(Outcome::from(&error));
                    report.error(Some(id), "download", &error);
                }
            }
        }
        report.downloaded(id, waited, &saved);
        outcome
    }
}

/// Ctrl-C, a request to end, or a terminal that is closed.
pub(crate) async fn interruption() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};

        if let (Ok(mut terminate), Ok(mut hang_up)) =
            (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
        {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler there is no interruption to wait for: the system ends the process.
        std::future::pending::<()>().await;
    }
}
