//! The state of the mocked service: jobs, log, violations and what a test configured. The operations on it are in other
//! modules, and none of them has a clock or a transport.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, header::AUTHORIZATION};
use serde_json::Value;

use crate::{
    clock::Clock,
    fault::Fault,
    recent::{MAX_BYTES, Recent},
    record::{Exchange, short},
    timeline::{DEFAULT_CREDITS_PER_JOB, JobTimeline, Timeline},
    times::FaultQueue,
    variation::Variation,
    webhook_queue::Webhooks,
};

/// The client id that can request a token. The API key is its secret.
pub const CLIENT_ID: &str = "sandbox-client";
/// The API key that the server accepts by default.
pub const DEFAULT_API_KEY: &str = "sandbox-key-000000000000";
/// The bearer token that the server accepts by default.
pub const DEFAULT_TOKEN: &str = "sandbox-token";
/// How many jobs exist at a time, and about how many bytes of the limit are theirs. A new job that a request creates
/// replaces the oldest one; the control API refuses further jobs.
const MAX_JOBS: usize = 200_000;
const MAX_JOB_BYTES: usize = MAX_BYTES / 2;
/// The credits of the account by default: enough for the 100,000 jobs of a load test.
const DEFAULT_CREDITS: f64 = 1_000_000.0;

/// A job that a request created.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreatedJob {
    /// The job's id.
    pub id: String,
    /// Its target language.
    pub language: String,
    /// When it was created.
    pub at: SystemTime,
    /// The body of the request.
    pub request: Value,
}

/// The configured result for a target language.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Create(Timeline),
    Reject(i64, String),
}

/// The sources of one request, and the jobs that wait for them with the timelines that follow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fetch {
    pub(crate) urls: Vec<String>,
    /// About how many bytes are remembered of the request.
    pub(crate) bytes: usize,
    pub(crate) jobs: Vec<(String, Timeline)>,
}

/// The state of the service.
#[derive(Clone, Default)]
pub(crate) struct ServiceState {
    /// Where links in answers point to if a request has no `Host`.
    pub(crate) base_url: String,
    pub(crate) api_key: String,
    pub(crate) token: String,
    pub(crate) clock: Clock,
    /// What a reset returns to.
    pub(crate) initial: Option<Arc<Self>>,
    /// The balance of the account.
    pub(crate) credits: f64,
    /// What a creation holds for each job.
    pub(crate) credits_per_job: u32,
    pub(crate) jobs: BTreeMap<String, JobTimeline>,
    /// About how many bytes are remembered of the jobs.
    pub(crate) job_bytes: usize,
    /// Whether the demo jobs were seeded. Then ids of jobs that an earlier sandbox created are known too.
    pub(crate) seeded: bool,
    /// The timeline of jobs that requests create.
    pub(crate) plan: Timeline,
    /// The same for single target languages.
    pub(crate) plans: BTreeMap<String, Plan>,
    pub(crate) omits_all_results: bool,
    pub(crate) accepts_any_language: bool,
    pub(crate) created: Recent<CreatedJob>,
    /// The ids of jobs that requests created, oldest first. Only so many exist.
    pub(crate) created_ids: VecDeque<String>,
    /// The ids of jobs that were removed, so that a poll does not restore them.
    pub(crate) removed: Recent<String>,
    /// The number of jobs that requests created.
    pub(crate) serial: u32,
    pub(crate) webhooks: Webhooks,
    pub(crate) log: Recent<Exchange>,
    pub(crate) violations: Recent<String>,
    pub(crate) poll_faults: FaultQueue<Fault>,
    pub(crate) file_faults: FaultQueue<Fault>,
    pub(crate) creation_faults: FaultQueue<Fault>,
    /// Overridden file contents, by job (`None` for all jobs) and file name.
    pub(crate) contents: BTreeMap<(Option<String>, String), Bytes>,
    pub(crate) variation: Variation,
    /// Descriptions of jobs, for people.
    pub(crate) notes: BTreeMap<String, String>,
    /// Whether requests may contain undocumented fields and parameters.
    pub(crate) allows_undocumented: bool,
    /// Whether the sources of created jobs are fetched, and those that are to be fetched.
    pub(crate) fetches_sources: bool,
    pub(crate) fetches: VecDeque<Fetch>,
}

impl ServiceState {
    /// Creates a service without jobs.
    pub(crate) fn new(base_url: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            api_key: DEFAULT_API_KEY.to_owned(),
            token: DEFAULT_TOKEN.to_owned(),
            credits: DEFAULT_CREDITS,
            credits_per_job: DEFAULT_CREDITS_PER_JOB,
            ..Self::default()
        }
    }

    pub(crate) fn add_job(&mut self, id: impl Into<String>, timeline: Timeline) {
        let job = JobTimeline::new(timeline).holding(self.credits_per_job);
        self.insert_job(id.into(), job);
    }

    fn insert_job(&mut self, id: String, job: JobTimeline) {
        self.job_bytes += job.size;
        if let Some(replaced) = self.jobs.insert(id, job) {
            self.job_bytes -= replaced.size;
        }
    }

    /// Adds a job that a request created, now or in an earlier sandbox. If there are too many, the oldest one is gone.
    pub(crate) fn add_created(&mut self, id: String, job: JobTimeline) {
        self.created_ids.push_back(id.clone());
        self.insert_job(id, job);
        while self.created_ids.len() > MAX_JOBS
            || (self.job_bytes > MAX_JOB_BYTES && self.created_ids.len() > 1)
        {
            let Some(oldest) = self.created_ids.pop_front() else { break };
            self.remove_job(&oldest);
        }
    }

    /// Counts what is remembered of a job beside its first timeline.
    pub(crate) fn grow_job(&mut self, id: &str, bytes: usize) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.size += bytes;
            self.job_bytes += bytes;
        }
    }

    /// Whether another job, or more about a job, can be remembered.
    pub(crate) fn has_room(&self, is_new: bool, bytes: usize) -> bool {
        self.jobs.len() + usize::from(is_new) <= MAX_JOBS && self.job_bytes + bytes <= MAX_JOB_BYTES
    }

    /// Lets a job continue on another timeline. Returns whether there is such a job.
    pub(crate) fn change_job(&mut self, id: &str, timeline: Timeline, now: SystemTime) -> bool {
        self.grow_job(id, timeline.size());
        self.jobs.get_mut(id).map(|job| job.change(timeline, now)).is_some()
    }

    pub(crate) fn remove_job(&mut self, id: &str) {
        if let Some(job) = self.jobs.remove(id) {
            self.job_bytes -= job.size;
            self.removed.push(id.to_owned(), id.len());
        }
        self.notes.remove(id);
        self.webhooks.hooks.remove(id);
        self.contents.retain(|(job, _), _| job.as_deref() != Some(id));
    }

    /// Makes this the state that a reset returns to.
    pub(crate) fn keep_as_initial(&mut self) {
        self.initial = None;
        self.initial = Some(Arc::new(self.clone()));
    }

    /// Returns to the initial state. The serial numbers of jobs and messages continue, so that no id occurs twice.
    pub(crate) fn reset(&mut self) {
        let initial = self.initial.take().unwrap_or_else(|| {
            let (api_key, token) = (self.api_key.clone(), self.token.clone());
            let (allows_undocumented, fetches_sources) = (self.allows_undocumented, self.fetches_sources);
            let new = Self::new(self.base_url.clone());
            Arc::new(Self { api_key, token, allows_undocumented, fetches_sources, ..new })
        });
        let (jobs, messages) = (self.serial, self.webhooks.serial);
        *self = Self { initial: Some(Arc::clone(&initial)), serial: jobs, ..(*initial).clone() };
        self.webhooks.serial = messages;
    }

    pub(crate) fn clear_faults(&mut self) {
        self.poll_faults.clear();
        self.file_faults.clear();
        self.creation_faults.clear();
        self.webhooks.faults.clear();
    }

    /// The number of injected faults.
    pub(crate) fn injected(&self) -> usize {
        let webhooks = self.webhooks.faults.iter().count();
        let queues = [&self.poll_faults, &self.file_faults, &self.creation_faults];
        webhooks + queues.map(|queue| queue.iter().count()).iter().sum::<usize>()
    }

    pub(crate) fn report_violation(&mut self, violation: &str) {
        const MAX_CHARS: usize = 2_000;
        let violation: String = violation.chars().take(MAX_CHARS).collect();
        let bytes = violation.len();
        self.violations.push(violation, bytes);
    }

    /// Returns the jobs that were never polled, and the faults that have not happened as often as requested.
    pub(crate) fn unmet_expectations(&self) -> Vec<String> {
        let jobs = self.jobs.iter().filter(|(_, job)| !job.was_polled());
        let jobs = jobs.map(|(id, _)| format!("job {} was never polled", short(id)));
        let queues = [
            ("polls", &self.poll_faults),
            ("file requests", &self.file_faults),
            ("creations", &self.creation_faults),
        ];
        let faults = queues.into_iter().flat_map(|(requests, queue)| {
            queue.remaining().map(move |(fault, times)| {
                let fault = fault.description();
                format!("the fault \"{fault}\" for {requests} has not happened {times} more times")
            })
        });
        jobs.chain(faults).collect()
    }

    /// Checks the credentials. As documented, `Authorization` takes precedence and hides an API key.
    pub(crate) fn authorize(&self, headers: &HeaderMap) -> Result<(), (i64, &'static str)> {
        if let Some(value) = headers.get(AUTHORIZATION) {
            let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
            return match token {
                Some(token) if token == self.token => Ok(()),
                _ => Err((1101, "The token is invalid or has expired")),
            };
        }
        match headers.get("x-api-key") {
            Some(key) if key.as_bytes() == self.api_key.as_bytes() => Ok(()),
            Some(_) => Err((1101, "The token is invalid or has expired")),
            None => Err((1102, "The token cannot be empty")),
        }
    }
}
