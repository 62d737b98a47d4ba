//! The tools `status` and `wait`.

use akool::{ErrorKind, JobId, Status, Update, WaitError};
use futures_util::{StreamExt, stream};
use rmcp::model::CallToolResult;
use tokio::{sync::watch, time::Instant};

use crate::text;

use super::{
    call::Server,
    output::{Failure, Job, JobsResult, result},
};

const MAX_CONCURRENT_POLLS: usize = 8;

impl Server<'_> {
    /// Polls each job once.
    pub(super) async fn status(&self, ids: &[JobId]) -> CallToolResult {
        let polls = stream::iter(ids).map(async |id| {
            let mut job = Job::new(id, self.language(id).await);
            match self.client.job(id).get().await {
                Ok(snapshot) => {
                    self.record(&snapshot).await;
                    job.set(&snapshot);
                }
                Err(error) => job.error = Some((&error).into()),
            }
            job
        });
        answer(polls.buffered(MAX_CONCURRENT_POLLS).collect().await)
    }

    /// Polls the jobs until all have ended or the time is over, and returns what is known.
    pub(super) async fn wait(&self, ids: &[JobId], progress: &watch::Sender<String>) -> CallToolResult {
        let deadline = Instant::now() + self.max_wait;
        let mut jobs = Vec::new();
        let mut waits = self.client.wait_set().policy(self.poll_policy().await);
        // The set makes a last poll at its timeout, which can take a few seconds.
        waits = waits.timeout(self.max_wait * 6 / 7);
        for id in ids {
            jobs.push(Job::new(id, self.language(id).await));
            waits.insert(id);
        }
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(deadline) => break,
                update = waits.next() => {
                    let Some((id, update)) = update else { break };
                    if let Some(job) = jobs.iter_mut().find(|job| job.id == id.as_str()) {
                        self.take(job, update).await;
                    }
                    progress.send_replace(describe(&jobs));
                }
            }
        }
        answer(jobs)
    }

    async fn take(&self, job: &mut Job, update: Update) {
        let snapshot = match update {
            Update::Polled { snapshot, .. } => snapshot,
            Update::Finished(Ok(translation)) => translation.into_snapshot(),
            Update::Finished(Err(WaitError::JobFailed(failed))) => failed.snapshot,
            Update::Retrying { error, .. } => return job.error = Some((&error).into()),
            Update::Finished(Err(error)) => {
                if let Some(last) = error.last_error() {
                    job.error =
                        Some(Failure::untrusted(last.kind().name(), &text::with_causes(last), error.help()));
                }
                return;
            }
            _ => return,
        };
        self.record(&snapshot).await;
        job.set(&snapshot);
    }
}

/// Whether polling the job again says nothing new.
fn has_ended(job: &Job) -> bool {
    let is = |status: Status| job.status.as_deref() == Some(status.name());
    let is_unknown = job.error.as_ref().is_some_and(|error| error.kind == ErrorKind::UnknownJob.name());
    is(Status::Failed) || is(Status::Completed) && job.error.is_none() || is_unknown
}

fn describe(jobs: &[Job]) -> String {
    let ended = jobs.iter().filter(|job| has_ended(job)).count();
    let mut text = format!("{ended} of {} jobs have ended", jobs.len());
    let percents: Vec<_> = jobs.iter().filter(|job| !has_ended(job)).filter_map(|job| job.progress).collect();
    if let Some(least) = percents.iter().min() {
        text += &format!("; the slowest that is processed is at {least} %");
    }
    text
}

fn answer(jobs: Vec<Job>) -> CallToolResult {
    let pending: Vec<_> = jobs.iter().filter(|job| !has_ended(job)).map(|job| job.id.clone()).collect();
    let has_files = jobs.iter().any(|job| !job.files.is_empty());
    let next = match (pending.is_empty(), has_files) {
        (false, _) => "The jobs continue and stay paid for. Call `wait` again with the ids in `pending`.",
        (true, true) => "Call `download` with the ids of the completed jobs, or use the links.",
        (true, false) => "No job has files: see the reasons and errors.",
    };
    let links: Vec<_> = jobs.iter().flat_map(Job::resources).collect();
    let is_error = jobs.iter().all(|job| job.error.is_some());
    let next = next.to_owned();
    result(&JobsResult { all_ended: pending.is_empty(), jobs, pending, next }, links, is_error)
}
