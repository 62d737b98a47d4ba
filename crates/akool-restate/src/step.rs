//! What a poll changes in the state of a job's wait: [`JobState`]. Only [`akool::Poller`] decides; this translates between
//! its times, which count from the beginning of the wait, and the wall clock that several workers share.

use std::time::Duration;

use akool::{Decision, Error, JobId, Observation, PollState, Snapshot};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    model::{JobView, Outcome, WaitEnd, WaitOptions, millis},
    work::{DEFAULT_CREDENTIAL, WorkId},
};

/// No poll is scheduled later, in milliseconds: the engine's own times are limited. It is then sent before it is due.
const MAX_DELAY_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// A poll that is so late, in milliseconds, may have lost its timer.
const LATE_MS: u64 = 60_000;

/// What the engine stores of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobState {
    /// When the wait began, in milliseconds since the Unix epoch.
    pub began_ms: u64,
    /// Counts what was scheduled: a timer with an older number is void.
    #[serde(default)]
    pub generation: u64,
    /// The poller's state.
    #[serde(deserialize_with = "poll_state")]
    pub poll: PollState,
    /// When the next poll is due, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub due_ms: u64,
    /// The wait ends at its next poll, without polling.
    #[serde(default)]
    pub ends_next: bool,
    /// How often in a row the poll that is due was sent back, because more is due than the rate permits.
    #[serde(default)]
    pub sent_back: u32,
    /// How to wait.
    #[serde(default)]
    pub options: WaitOptions,
    /// What is known from the creation.
    #[serde(default)]
    pub origin: Origin,
    /// How the wait ended.
    #[serde(default)]
    pub outcome: Option<Outcome>,
}

/// Where a job comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// The name of the credential.
    pub credential: String,
    /// The work that it was created for.
    pub work: Option<WorkId>,
    /// Its target language.
    pub language: Option<String>,
    /// Where the video comes from.
    pub source: String,
    /// The credits held at its creation.
    pub credits_held: Option<f64>,
}

impl Default for Origin {
    fn default() -> Self {
        Self {
            credential: DEFAULT_CREDENTIAL.to_owned(),
            work: None,
            language: None,
            source: String::new(),
            credits_held: None,
        }
    }
}

/// What follows from a poll, or from a trigger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The state to store.
    pub state: JobState,
    /// How long until the next poll, in milliseconds. `None` if the wait has ended, or nothing changes.
    #[serde(default)]
    pub next_in_ms: Option<u64>,
}

impl JobState {
    /// The state of a wait that begins. The seed determines the jitter.
    pub fn new(now_ms: u64, seed: u64, options: WaitOptions, origin: Origin) -> Self {
        Self {
            began_ms: now_ms,
            generation: 0,
            poll: PollState::new(seed),
            due_ms: now_ms,
            ends_next: false,
            sent_back: 0,
            options,
            origin,
            outcome: None,
        }
    }

    /// How long the wait has lasted at this time.
    fn since_began(&self, at_ms: u64) -> Duration {
        Duration::from_millis(at_ms.saturating_sub(self.began_ms))
    }

    /// Whether the wait has ended, and its job may not have.
    pub fn has_ended_before_its_job(&self) -> bool {
        self.outcome
            .as_ref()
            .is_some_and(|outcome| !matches!(outcome.end, WaitEnd::Completed | WaitEnd::Failed))
    }

    /// Takes what a creation knows of the job, if its wait was begun by a caller that did not: who is told the outcome, and
    /// where the job comes from. Returns what of that is new. `None` if nothing is.
    pub fn learn(&mut self, options: &WaitOptions, origin: &Origin) -> Option<WaitOptions> {
        if self.origin.work.is_some() || origin.work.is_none() {
            return None;
        }
        self.origin = origin.clone();
        let own = &mut self.options;
        let added = WaitOptions {
            deliver: options.deliver.clone().filter(|_| own.deliver.is_none()),
            save: options.save && !own.save,
            traceparent: own.traceparent.clone().or_else(|| options.traceparent.clone()),
            ..own.clone()
        };
        own.deliver = own.deliver.take().or_else(|| added.deliver.clone());
        own.save |= added.save;
        own.traceparent.clone_from(&added.traceparent);
        Some(added)
    }

    /// Whether the timer of the next poll may be lost, for example since an administrator ended the call that would have set
    /// it. If it is not, a second one does no harm, since only the first of one generation has an effect.
    pub fn is_late(&self, now_ms: u64) -> bool {
        self.outcome.is_none() && now_ms.saturating_sub(self.due_ms) > LATE_MS
    }

    /// What follows if a caller asks for another interval. `None` if nothing does. A pause after a failed poll is not
    /// shortened.
    pub fn set_interval(mut self, interval_ms: Option<u64>, now_ms: u64) -> Option<Step> {
        let interval_ms = interval_ms.filter(|_| self.outcome.is_none() && !self.ends_next)?;
        if self.options.interval_ms.replace(interval_ms) == Some(interval_ms) {
            return None;
        }
        let due_ms = match self.poll.failures() {
            0 => self.due_ms.min(now_ms.saturating_add(interval_ms)),
            _ => self.due_ms,
        };
        Some(self.defer(now_ms, due_ms))
    }

    /// Whether the next poll may not be sent any more, because its wait ends at its timeout.
    pub fn is_expired(&self) -> bool {
        self.ends_next
    }

    /// What follows from a poll with this result, which began and ended at these times.
    pub fn observe(
        mut self,
        job: &JobId,
        began_ms: u64,
        ended_ms: u64,
        result: Result<Snapshot, Error>,
    ) -> Step {
        let (began, ended) = (self.since_began(began_ms), self.since_began(ended_ms));
        let decision = self.options.poller().observe(&mut self.poll, began, ended, Observation::of(&result));
        #[cfg(feature = "metrics")]
        akool::metrics::record_poll(&self.poll, decision, &result);
        self.generation += 1;
        self.sent_back = 0;
        match decision {
            Decision::PollAt(at) => self.next(at, ended),
            Decision::TimeoutAt(at) => {
                self.ends_next = true;
                self.next(at, ended)
            }
            Decision::Finished(end) => self.finish(job, end, ended_ms, Some(result)),
        }
    }

    /// What follows if the poll that is due cannot be sent before this time, because the service asked for a pause. A
    /// wait whose timeout falls into the pause ends at its timeout.
    pub fn defer(mut self, now_ms: u64, until_ms: u64) -> Step {
        self.generation += 1;
        let (now, mut until) = (self.since_began(now_ms), self.since_began(until_ms));
        if let Some(timeout) = self.options.poller().timeout()
            && until > timeout
        {
            until = timeout;
            self.ends_next = true;
        }
        self.next(until, now)
    }

    /// What follows if more polls are due than the rate permits. The poll comes back at about this time, and each time it
    /// is sent back after twice as long, up to 16 times: so that work that waits costs little. `random` is from 0 to 1.
    pub fn send_back(mut self, now_ms: u64, until_ms: u64, random: f64) -> Step {
        let pause = until_ms.saturating_sub(now_ms).saturating_mul(1 << self.sent_back.min(4));
        let pause = pause as f64 * (0.5 + random.clamp(0.0, 1.0));
        self.sent_back = self.sent_back.saturating_add(1);
        let until_ms = now_ms.saturating_add(pause as u64);
        match self.options.poller().timeout().map(|timeout| self.began_ms.saturating_add(millis(timeout))) {
            // The last poll is due then, and has one more chance.
            Some(timeout_ms) if now_ms < timeout_ms => self.defer(now_ms, until_ms.min(timeout_ms)),
            _ => self.defer(now_ms, until_ms),
        }
    }

    /// What follows if the timeout passed without a last poll.
    pub fn expire(self, job: &JobId, now_ms: u64) -> Step {
        self.finish(job, akool::End::Timeout, now_ms, None)
    }

    /// What follows from a trigger. `None` if nothing does.
    pub fn trigger(mut self, now_ms: u64) -> Option<Step> {
        if self.outcome.is_some() || self.ends_next {
            return None;
        }
        let (now, before) = (self.since_began(now_ms), self.poll.next_poll());
        let at = self.options.poller().poll_now(&mut self.poll, now);
        (at < before).then(|| {
            self.generation += 1;
            self.next(at, now)
        })
    }

    fn next(mut self, at: Duration, now: Duration) -> Step {
        self.due_ms = self.began_ms.saturating_add(millis(at));
        Step { state: self, next_in_ms: Some(millis(at.saturating_sub(now)).min(MAX_DELAY_MS)) }
    }

    fn finish(
        mut self,
        job: &JobId,
        end: akool::End,
        ended_ms: u64,
        poll: Option<Result<Snapshot, Error>>,
    ) -> Step {
        let waited = self.since_began(ended_ms);
        let snapshot = poll.as_ref().and_then(|result| result.as_ref().ok()).cloned();
        let error = end.result(job, &self.poll, waited, poll).err();
        let ended = matches!(end, akool::End::Completed | akool::End::Failed);
        self.outcome = Some(Outcome {
            job: job.clone(),
            end: end.into(),
            progress: snapshot.as_ref().and_then(Snapshot::progress).or(self.poll.progress()),
            snapshot: snapshot.filter(|_| ended),
            message: error.as_ref().map(ToString::to_string),
            help: error.as_ref().map(|error| error.help().to_owned()),
            error_kind: error
                .as_ref()
                .and_then(|error| error.last_error())
                .map(|error| error.kind().name().to_owned()),
            waited_ms: millis(waited),
            attempts: self.poll.attempts(),
            failures: self.poll.failures(),
            status: match end {
                akool::End::Completed => Some(akool::Status::Completed),
                akool::End::Failed => Some(akool::Status::Failed),
                _ => self.poll.status(),
            },
            ended_ms,
        });
        Step { state: self, next_in_ms: None }
    }

    /// What callers see.
    pub fn view(self, job: JobId) -> JobView {
        let status = self.outcome.as_ref().and_then(|outcome| outcome.status).or(self.poll.status());
        JobView {
            job,
            language: self.origin.language,
            source: self.origin.source,
            work: self.origin.work,
            credential: self.origin.credential,
            began_ms: self.began_ms,
            next_poll_ms: self.outcome.is_none().then_some(self.due_ms),
            attempts: self.poll.attempts(),
            status,
            progress: self.outcome.as_ref().map_or(self.poll.progress(), |outcome| outcome.progress),
            last_error: self.poll.last_error(),
            credits_held: self.origin.credits_held,
            outcome: self.outcome,
            saved: Vec::new(),
        }
    }
}

/// Reads a poller's state that another release stored: a kind of error that this one does not know is left out, since it
/// decides nothing.
fn poll_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PollState, D::Error> {
    let mut value = serde_json::Value::deserialize(deserializer)?;
    if let Ok(state) = PollState::deserialize(&value) {
        return Ok(state);
    }
    if let Some(error) = value.get_mut("last_error") {
        *error = serde_json::Value::Null;
    }
    PollState::deserialize(&value).map_err(serde::de::Error::custom)
}
