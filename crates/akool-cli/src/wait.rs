//! `akool wait`: follow jobs to their end, each on its own, and fetch their files.

use std::{cell::RefCell, collections::BTreeSet, path::Path, time::Duration};

use akool::{Event, Job, JobId, PollPolicy, Translation, download::Downloader};
use futures_util::{StreamExt, future::join_all};
use tokio::sync::Semaphore;

use crate::{
    args::Wait,
    connect::Connection,
    outcome::Outcome,
    report::{Report, quoted},
};

/// How many files are fetched at once.
const DOWNLOADS: usize = 4;
/// How often a sandbox is looked at unless told otherwise: its jobs take seconds.
const SANDBOX_INTERVAL: Duration = Duration::from_millis(500);

/// What all jobs of a run share.
struct Run<'a> {
    options: &'a Wait,
    report: &'a Report,
    policy: PollPolicy,
    downloads: Option<(Downloader, &'a Path)>,
    slots: Semaphore,
    /// The jobs whose end was not told yet.
    open: RefCell<BTreeSet<JobId>>,
}

pub(crate) async fn run(options: &Wait, connection: &Connection, report: &Report) -> Outcome {
    let interval = options.interval.or(connection.is_sandbox().then_some(SANDBOX_INTERVAL));
    let policy = interval
        .map_or_else(PollPolicy::default, PollPolicy::fixed)
        .with_failure_budget(options.max_failures);
    let downloads = match &options.download {
        None => None,
        Some(folder) => match prepare(folder, connection) {
            Ok(downloader) => Some((downloader, folder.as_path())),
            Err(wrong) => {
                report.error(None, wrong);
                return Outcome::WrongUse;
            }
        },
    };

    let ids: BTreeSet<_> = options.jobs.ids.iter().map(|id| JobId::from(id.as_str())).collect();
    let run = Run {
        options,
        report,
        policy,
        downloads,
        slots: Semaphore::new(DOWNLOADS),
        open: RefCell::new(ids.clone()),
    };
    let follow_all = join_all(ids.iter().map(|id| run.follow(connection.client.job(id))));
    tokio::select! {
        outcomes = follow_all => outcomes.into_iter().max().unwrap_or(Outcome::Done),
        () = interruption() => {
            run.interrupted();
            Outcome::Interrupted
        }
    }
}

/// Finds out before the wait, and not after it, that nothing can be saved there.
fn prepare(folder: &Path, connection: &Connection) -> Result<Downloader, String> {
    let shown = folder.display();
    // Written to and not only looked at: permissions alone do not tell.
    let probe = folder.join(format!(".akool-{}.part", std::process::id()));
    let made = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe));
    made.map_err(|error| {
        format!("cannot write into {shown}: {error}; choose another folder for --download")
    })?;
    let mut http = reqwest::Client::builder();
    if connection.is_sandbox() {
        http = http.no_proxy();
    }
    Downloader::with_http(http).map_err(|error| error.to_string())
}

impl Run<'_> {
    /// One job to its end. One job's end does not stop the others.
    async fn follow(&self, job: Job) -> Outcome {
        let wait = job.wait().policy(self.policy);
        let wait = match self.options.timeout.0 {
            Some(deadline) => wait.deadline(deadline),
            None => wait.without_deadline(),
        };
        let mut events = wait.events();
        let mut outcome = Outcome::Unexpected;
        while let Some(event) = events.next().await {
            match event {
                Event::Looked { snapshot, changed: true, .. } => self.report.update(&snapshot),
                Event::Trouble { error, failures, budget, next_look_in } => {
                    self.report.trouble(&error, failures, budget, next_look_in);
                }
                Event::Ended(Ok(translation)) => outcome = self.completed(&translation).await,
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

    async fn completed(&self, translation: &Translation) -> Outcome {
        self.report.completed(translation, self.downloads.is_some());
        let Some((downloader, folder)) = &self.downloads else {
            return Outcome::Done;
        };
        let id = translation.id();
        let saves = translation.files().into_iter().map(async |file| {
            let _slot = self.slots.acquire().await;
            let kind = file.kind;
            let (sender, mut progress) = tokio::sync::watch::channel(None);
            let save = downloader.save(&file, *folder).on_progress(move |now| {
                let _ = sender.send(Some(now));
            });
            let mut save = save.into_future();
            loop {
                tokio::select! {
                    saved = &mut save => return (kind, saved),
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

    fn interrupted(&self) {
        let open = self.open.borrow();
        for id in open.iter() {
            self.report.interrupted(id);
        }
        let ids: Vec<_> = open.iter().map(|id| quoted(id.as_str())).collect();
        let download = self.options.download.as_ref();
        let download = download.map_or_else(String::new, |folder| {
            format!(" --download {}", quoted(&folder.display().to_string()))
        });
        self.report.note(format_args!(
            "interrupted; what was created goes on. Pick it up again with:\n  akool wait {}{download}",
            ids.join(" ")
        ));
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
