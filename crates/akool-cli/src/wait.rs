//! `akool wait`: follow jobs to their end, each on its own, and fetch their files.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    future::IntoFuture,
    path::Path,
    time::Duration,
};

use akool::{Event, Job, JobId, PollPolicy, Snapshot, Status, Translation, download::Downloader};
use futures_util::{StreamExt, future::join_all};

use crate::{args::Wait, connect::Connection, outcome::Outcome, report::Report};

/// How often a sandbox is looked at unless told otherwise: its jobs take seconds.
const SANDBOX_INTERVAL: Duration = Duration::from_millis(500);

/// What all jobs of a run share.
struct Run<'a> {
    options: &'a Wait,
    report: &'a Report,
    policy: PollPolicy,
    downloads: Option<(Downloader, &'a Path)>,
    /// The jobs whose end was not told yet, as last seen.
    open: RefCell<BTreeMap<JobId, Option<Snapshot>>>,
}

pub(crate) async fn run(options: &Wait, connection: &Connection, report: &Report) -> Outcome {
    let interval = options.interval.or(connection.is_sandbox().then_some(SANDBOX_INTERVAL));
    let policy = interval
        .map_or_else(PollPolicy::default, PollPolicy::fixed)
        .with_failure_budget(options.max_failures);
    let downloads = match &options.download {
        None => None,
        Some(folder) => match prepare(folder) {
            Ok(downloader) => Some((downloader, folder.as_path())),
            Err(wrong) => {
                report.error(None, wrong);
                return Outcome::WrongUse;
            }
        },
    };

    let ids: BTreeSet<_> = options.jobs.ids.iter().map(|id| JobId::from(id.as_str())).collect();
    let open = ids.iter().map(|id| (id.clone(), None)).collect();
    let run = Run { options, report, policy, downloads, open: RefCell::new(open) };
    let follow_all = join_all(ids.iter().map(|id| run.follow(connection.client.job(id))));
    tokio::select! {
        outcomes = follow_all => outcomes.into_iter().max().unwrap_or(Outcome::Done),
        () = interruption() => {
            report.interrupted(&run.open.borrow());
            Outcome::Interrupted
        }
    }
}

/// Finds out before the wait, and not after it, that nothing can be saved there.
fn prepare(folder: &Path) -> Result<Downloader, String> {
    let shown = folder.display();
    // Written to and not only looked at: permissions alone do not tell. The file has no name where
    // the system allows that, so that nothing is left of it, whatever happens.
    let made = std::fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    made.map(drop).map_err(|error| {
        format!("cannot write into {shown}: {error}; choose another folder for --download")
    })?;
    Downloader::new().map_err(|error| error.to_string())
}

impl Run<'_> {
    /// One job to its end. One job's end does not stop the others.
    async fn follow(&self, job: Job) -> Outcome {
        let wait = job.wait().policy(self.policy);
        let wait = match self.options.timeout.0 {
            Some(deadline) => wait.deadline(deadline),
            None => wait.without_deadline(),
        };
        self.report.start(job.id());
        let mut events = wait.events();
        let mut outcome = Outcome::Unexpected;
        let mut odd = BTreeSet::new();
        while let Some(event) = events.next().await {
            match event {
                Event::Looked { snapshot, changed, .. } => {
                    if changed {
                        self.report.update(&snapshot);
                    }
                    self.tell_oddities(&snapshot, &mut odd);
                    self.open.borrow_mut().insert(job.id().clone(), Some(snapshot));
                }
                Event::Trouble { error, failures, budget, next_look_in } => {
                    self.report.trouble(&error, failures, budget, next_look_in);
                }
                Event::Ended(Ok(translation)) => {
                    self.tell_oddities(translation.snapshot(), &mut odd);
                    outcome = self.completed(&job, &translation).await;
                }
                Event::Ended(Err(error)) => {
                    self.report.ended(&error);
                    outcome = Outcome::from(&error);
                }
                _ => {}
            }
        }
        self.open.borrow_mut().remove(job.id());
        outcome
    }

    /// Says once for each job what in its answers is not as described.
    fn tell_oddities(&self, snapshot: &Snapshot, told: &mut BTreeSet<String>) {
        let unknown = matches!(snapshot.status(), Status::Unknown(_));
        let status = unknown.then(|| format!("the status {}", i64::from(snapshot.status())));
        let fields = snapshot.dropped().iter().map(|pointer| format!("the field {pointer}"));
        for oddity in status.into_iter().chain(fields) {
            if told.insert(oddity.clone()) {
                self.report.oddity(snapshot.id(), oddity);
            }
        }
    }

    async fn completed(&self, job: &Job, translation: &Translation) -> Outcome {
        self.report.completed(translation, self.downloads.is_some());
        let seen = Some(translation.snapshot().clone());
        self.open.borrow_mut().insert(translation.id().clone(), seen);
        let Some((downloader, folder)) = &self.downloads else {
            return Outcome::Done;
        };
        let id = translation.id();
        let saves = translation.files().into_iter().map(async |file| {
            let kind = file.kind;
            let (sender, mut progress) = tokio::sync::watch::channel(None);
            let save = downloader.save(&file, *folder).renew_link_from(job).on_progress(move |now| {
                let _ = sender.send(Some(now));
            });
            let mut save = save.into_future();
            loop {
                tokio::select! {
                    saved = &mut save => {
                        if let Ok(file) = &saved {
                            self.report.saved(id, file);
                        }
                        return (kind, saved);
                    }
                    Ok(()) = progress.changed() => {
                        if let Some(now) = *progress.borrow_and_update() {
                            self.report.progress(id, kind, now);
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
                    self.report.error(Some(id), &error);
                }
            }
        }
        self.report.downloaded(id, &saved);
        outcome
    }
}

/// Ctrl-C, or a request to end.
async fn interruption() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler there is no interruption to wait for: the system ends the process.
        std::future::pending::<()>().await;
    }
}
