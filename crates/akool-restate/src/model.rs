//! What callers and workers exchange, and what the engine stores: jobs, outcomes, creations.
//!
//! Everything here is read by the release before and after: members have defaults, unknown members are ignored, and no
//! enum loses what an older release does not know.

use std::time::Duration;

use akool::{End, ErrorKind, JobId, PollPolicy, Poller, Snapshot, Status, Translation};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::work::WorkId;

/// How to wait for a job, and what to do at its end.
///
/// ```
/// use std::time::Duration;
/// use akool_restate::{Target, WaitOptions};
///
/// let options = WaitOptions::default()
///     .timeout(Some(Duration::from_secs(60 * 60)))
///     .deliver(Target::Url("https://example.com/outcomes".parse()?));
/// assert_eq!(options.timeout_ms, Some(3_600_000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitOptions {
    /// How long to wait, in milliseconds (2 hours by default). `None` waits as long as the job takes.
    pub timeout_ms: Option<u64>,
    /// The interval between all polls, in milliseconds, give or take a tenth. By default, it grows with the job's age.
    pub interval_ms: Option<u64>,
    /// How many failed polls in a row end the wait (20 by default).
    pub max_failures: u32,
    /// Who is told the outcome.
    pub deliver: Option<Target>,
    /// Whether a worker saves the files of the completed job in its folder.
    pub save: bool,
    /// The W3C trace context that the handler or callback gets as header `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Default for WaitOptions {
    fn default() -> Self {
        Self {
            timeout_ms: Some(millis(akool::DEFAULT_TIMEOUT)),
            interval_ms: None,
            max_failures: PollPolicy::default().max_failures(),
            deliver: None,
            save: false,
            traceparent: None,
        }
    }
}

impl WaitOptions {
    /// Sets how long to wait. `None` waits as long as the job takes.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout_ms = timeout.map(millis);
        self
    }

    /// Sets the interval between all polls, give or take a tenth.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval_ms = Some(millis(interval));
        self
    }

    /// Sets how many failed polls in a row end the wait.
    #[must_use]
    pub fn max_failures(mut self, polls: u32) -> Self {
        self.max_failures = polls;
        self
    }

    /// Sets who is told the outcome.
    #[must_use]
    pub fn deliver(mut self, target: Target) -> Self {
        self.deliver = Some(target);
        self
    }

    /// Sets whether a worker saves the files of the completed job in its folder. Its workers must have one.
    #[must_use]
    pub fn save(mut self, save: bool) -> Self {
        self.save = save;
        self
    }

    /// Sets the W3C trace context of the caller, such as `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`, which
    /// the handler or callback gets as header `traceparent`. One that is not valid is ignored.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// These options, with what those of an earlier wait for the same job ask for at its end.
    pub(crate) fn or_told(self, earlier: &Self) -> Self {
        Self {
            deliver: self.deliver.or_else(|| earlier.deliver.clone()),
            save: self.save || earlier.save,
            traceparent: self.traceparent.or_else(|| earlier.traceparent.clone()),
            ..self
        }
    }

    /// The poller that decides for this wait.
    pub fn poller(&self) -> Poller {
        let policy = match self.interval_ms.map(Duration::from_millis) {
            // With jitter: the engine works in batches, in which waits with exactly the same interval would gather.
            Some(interval) => PollPolicy::from_fn(move |_| interval).with_min_interval(interval),
            None => PollPolicy::default(),
        };
        let policy = policy.with_max_failures(self.max_failures);
        Poller::new(policy, self.timeout_ms.map(Duration::from_millis))
    }
}

/// Who is told an outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Target {
    /// A handler on the same Restate cluster. It gets each [`Outcome`] as JSON, exactly once.
    Handler {
        /// The name of its service.
        service: String,
        /// The key of its virtual object, in which `{id}` stands for the job's id. `None` if it is a service without keys.
        key: Option<String>,
        /// The name of the handler.
        handler: String,
    },
    /// An HTTP callback: POST with the [`Outcome`] as JSON and a header `Idempotency-Key`, which is the job's id if the job
    /// has ended. It may be called more than once. Unless it answers with a status of success, it is called again for a
    /// day, and then given up; redirects are not followed.
    Url(Url),
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitEnd {
    /// The job is completed.
    Completed,
    /// The job failed.
    Failed,
    /// The timeout passed. The job continues.
    Timeout,
    /// Too many polls in a row failed. The job continues.
    RetriesExhausted,
    /// A poll failed with an error that retrying does not fix. The job continues.
    Rejected,
    /// An end that a later version added.
    #[serde(other)]
    Other,
}

impl From<End> for WaitEnd {
    fn from(end: End) -> Self {
        match end {
            End::Completed => Self::Completed,
            End::Failed => Self::Failed,
            End::Timeout => Self::Timeout,
            End::RetriesExhausted => Self::RetriesExhausted,
            End::Rejected => Self::Rejected,
            _ => Self::Other,
        }
    }
}

/// How the wait for a job ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outcome {
    /// The job.
    pub job: JobId,
    /// How its wait ended.
    pub end: WaitEnd,
    /// What the last poll returned, if the job ended. Its links work for 7 days and grant access.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// Why there is no translation, for people. `None` if there is one.
    #[serde(default)]
    pub message: Option<String>,
    /// What to do next, as a sentence without a capital letter and a full stop.
    #[serde(default)]
    pub help: Option<String>,
    /// The kind of the error that ended the wait, as [`ErrorKind::name`] returns it.
    #[serde(default)]
    pub error_kind: Option<String>,
    /// How long the wait lasted, in milliseconds.
    #[serde(default)]
    pub waited_ms: u64,
    /// How many polls were made.
    #[serde(default)]
    pub attempts: u32,
    /// How many polls in a row had failed at the end.
    #[serde(default)]
    pub failures: u32,
    /// The last known status.
    #[serde(default)]
    pub status: Option<Status>,
    /// The last known progress, in percent.
    #[serde(default)]
    pub progress: Option<u8>,
    /// When the wait ended, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub ended_ms: u64,
}

impl Outcome {
    /// The translation, if the job is completed.
    pub fn translation(&self) -> Option<Translation> {
        (self.end == WaitEnd::Completed).then_some(())?;
        Translation::from_snapshot(self.snapshot.clone()?)
    }
}

/// What the fleet knows of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobView {
    /// The job.
    pub job: JobId,
    /// Its target language, if known.
    #[serde(default)]
    pub language: Option<String>,
    /// Where its video comes from, without what grants access. Empty if not known.
    #[serde(default)]
    pub source: String,
    /// The work that it was created for. `None` if the fleet did not create it.
    #[serde(default)]
    pub work: Option<WorkId>,
    /// The name of the credential.
    #[serde(default)]
    pub credential: String,
    /// When its wait began, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub began_ms: u64,
    /// When the next poll is due, in milliseconds since the Unix epoch. `None` if the wait has ended.
    #[serde(default)]
    pub next_poll_ms: Option<u64>,
    /// How many polls were made.
    #[serde(default)]
    pub attempts: u32,
    /// The last known status.
    #[serde(default)]
    pub status: Option<Status>,
    /// The last known progress, in percent.
    #[serde(default)]
    pub progress: Option<u8>,
    /// The kind of the last error.
    #[serde(default)]
    pub last_error: Option<ErrorKind>,
    /// The credits that the service held for it at its creation, if known.
    #[serde(default)]
    pub credits_held: Option<f64>,
    /// How its wait ended.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// The files that workers saved, by their path on the worker's machine. Empty in a list of jobs.
    #[serde(default)]
    pub saved: Vec<String>,
}

/// The result of a creation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Creation {
    /// The job exists, and is waited for.
    Created(CreatedWork),
    /// Nothing was created, and nothing is paid for. The same work may be created again.
    NotCreated(NotCreated),
    /// It is not known whether a job was created. Nothing creates it until someone calls
    /// [`adopt`](crate::Fleet::adopt) or [`forget_work`](crate::Fleet::forget_work).
    OutcomeUnknown(Unknown),
}

/// A job that was created for a work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CreatedWork {
    /// The job.
    pub job: JobId,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// Its status in the response.
    #[serde(default)]
    pub status: Option<Status>,
    /// The credits that the service holds for it, if the response says so.
    #[serde(default)]
    pub credits_held: Option<f64>,
    /// The length of the video, in milliseconds, if the response says so.
    #[serde(default)]
    pub video_length_ms: Option<u64>,
    /// Whether it existed before this call, which created nothing.
    #[serde(default)]
    pub is_reused: bool,
    /// The job of the same work that had failed, and so was created again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaced>,
}

/// A job that failed, and that another one replaces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Replaced {
    /// The job.
    pub job: JobId,
    /// When it ended, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub ended_ms: u64,
    /// Why it failed, in the service's words.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Why nothing was created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NotCreated {
    /// The kind of error, as [`ErrorKind::name`] returns it, or `invalid`.
    pub kind: String,
    /// The service's business code, if it gave one.
    #[serde(default)]
    pub code: Option<i64>,
    /// Why, for people.
    pub message: String,
    /// What to do next, as a sentence without a capital letter and a full stop.
    #[serde(default)]
    pub help: String,
    /// Whether the same creation may succeed later.
    #[serde(default)]
    pub is_retryable: bool,
    /// How long the service asks to wait, in milliseconds.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
}

/// Why an outcome is unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unknown {
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Why, for people.
    pub reason: String,
    /// Where the video comes from, without what grants access. Empty if not known.
    #[serde(default)]
    pub source: String,
    /// The target language. Empty if not known.
    #[serde(default)]
    pub language: String,
}

/// What the fleet knows of a work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkView {
    /// The work.
    pub id: WorkId,
    /// Its last creation. `None` while one is under way.
    #[serde(default)]
    pub creation: Option<Creation>,
    /// All jobs that were created for it.
    #[serde(default)]
    pub jobs: Vec<JobId>,
}

/// A duration in milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
