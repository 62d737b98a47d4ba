//! What to do after each poll: [`Poller`], which has no input, no output and no clock.

use std::time::Duration;

use crate::{
    client::MAX_RETRY_AFTER,
    error::Error,
    kind::ErrorKind,
    snapshot::Snapshot,
    status::Status,
    wait::{
        policy::{PollContext, PollPolicy},
        state::PollState,
    },
};

/// Decides what to do after each poll of a job, without polling, sleeping or reading a clock.
///
/// The caller says when a poll began and ended and what it observed, as times since the beginning of the wait, and
/// learns when to poll next, or that the wait is over. [`WaitSet`](crate::WaitSet) drives it with tokio's clock. A
/// worker of your own, or a simulation, can drive it with another one.
///
/// ```
/// use std::time::Duration;
/// use akool::{Decision, End, Observation, PollPolicy, PollState, Poller, Status};
///
/// let poller = Poller::new(PollPolicy::default(), Some(Duration::from_secs(3600)));
/// let mut state = PollState::new(7);
/// let mut now = Duration::ZERO;
/// let end = loop {
///     let observation = match now.as_secs() {
///         ..60 => Observation::running(Status::Processing),
///         _ => Observation::Completed,
///     };
///     match poller.observe(&mut state, now, now, observation) {
///         Decision::PollAt(at) => now = at,
///         Decision::TimeoutAt(at) => now = at,
///         Decision::Finished(end) => break end,
///     }
/// };
/// assert_eq!(end, End::Completed);
/// assert!(state.attempts() < 25);
/// ```
#[derive(Clone, Debug)]
pub struct Poller {
    pub(super) policy: PollPolicy,
    pub(super) timeout: Option<Duration>,
}

/// What one poll of a job observed. [`Observation::of`] makes it from the result of [`Job::get`](crate::Job::get).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observation {
    /// The job is queued, is processed, or has an undocumented status.
    Running {
        /// The status.
        status: Status,
        /// How much of the job is done, in percent, if the response says so.
        progress: Option<u8>,
        /// How old the job is, if the response says so. So a resumed wait uses the interval for that age.
        age: Option<Duration>,
        /// How long the job's video is, if the response says so.
        video_length: Option<Duration>,
    },
    /// The job is completed, and has a link to its video.
    Completed,
    /// The job failed.
    Failed,
    /// The poll failed with a transient error.
    TransientError {
        /// The kind of error.
        kind: ErrorKind,
        /// How long the service asks to pause.
        retry_after: Option<Duration>,
    },
    /// The poll failed with an error that retrying does not fix.
    Rejected {
        /// The kind of error.
        kind: ErrorKind,
    },
}

impl Observation {
    /// What the result of a poll means. This is the only place that decides what a wait does at each status.
    pub fn of(result: &Result<Snapshot, Error>) -> Self {
        match result {
            Ok(snapshot) => match snapshot.status() {
                Status::Failed => Self::Failed,
                Status::Completed if snapshot.video().is_some() => Self::Completed,
                // The link may come later.
                Status::Completed => {
                    Self::TransientError { kind: ErrorKind::MissingVideo, retry_after: None }
                }
                status => Self::Running {
                    status,
                    progress: snapshot.progress(),
                    age: snapshot.age(),
                    video_length: snapshot.video_length(),
                },
            },
            Err(error) if error.is_retryable() => {
                Self::TransientError { kind: error.kind(), retry_after: error.retry_after() }
            }
            Err(error) => Self::Rejected { kind: error.kind() },
        }
    }

    /// A job that has not ended, with only its status known.
    pub fn running(status: Status) -> Self {
        Self::Running { status, progress: None, age: None, video_length: None }
    }
}

/// What to do now. Times count from the beginning of the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Poll at this time. It is not before the end of the last poll.
    PollAt(Duration),
    /// Do not poll again: the service asked for a pause that lasts longer than the wait. The wait ends at this time.
    TimeoutAt(Duration),
    /// The wait is over.
    Finished(End),
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The job is completed.
    Completed,
    /// The job failed.
    Failed,
    /// The timeout passed.
    Timeout,
    /// Too many polls in a row failed.
    RetriesExhausted,
    /// A poll failed with an error that retrying does not fix.
    Rejected,
}

impl Poller {
    /// A poller with this policy. `timeout` counts from the beginning of the wait; `None` waits without end.
    pub fn new(policy: PollPolicy, timeout: Option<Duration>) -> Self {
        Self { policy, timeout }
    }

    /// The timeout, since the beginning of the wait.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Takes what a poll observed that began and ended at these times, and says what to do.
    ///
    /// The poll during which the timeout passes is the last one. If none is under way then, one is due at the timeout,
    /// except during a pause that the service asked for.
    pub fn observe(
        &self,
        state: &mut PollState,
        began: Duration,
        ended: Duration,
        observation: Observation,
    ) -> Decision {
        let ended = ended.max(began);
        state.attempts = state.attempts.saturating_add(1);
        state.last_poll_ended = ended;
        let triggered = std::mem::take(&mut state.triggered);
        let timed_out = self.timeout.is_some_and(|timeout| ended >= timeout);
        let pause = match observation {
            Observation::Completed => return Decision::Finished(End::Completed),
            Observation::Failed => return Decision::Finished(End::Failed),
            Observation::Rejected { kind } => {
                state.last_error = Some(kind);
                return Decision::Finished(End::Rejected);
            }
            Observation::Running { status, progress, age, video_length } => {
                let changed = (state.status, state.progress) != (Some(status), progress);
                #[cfg(feature = "metrics")]
                if (state.status, status) == (Some(Status::Queueing), Status::Processing) {
                    state.processing_since = Some(ended);
                }
                state.failures = 0;
                (state.status, state.progress) = (Some(status), progress);
                if changed {
                    state.fruitless_triggers = 0;
                } else if triggered {
                    state.fruitless_triggers = state.fruitless_triggers.saturating_add(1);
                }
                let age = age.unwrap_or_default().max(ended);
                let context = PollContext { age, status, progress, video_length, attempts: state.attempts };
                self.policy.interval(&context, state.random())
            }
            Observation::TransientError { kind, retry_after } => {
                state.failures = state.failures.saturating_add(1);
                state.last_error = Some(kind);
                if kind == ErrorKind::MissingVideo {
                    state.status = Some(Status::Completed);
                }
                if !timed_out && state.failures >= self.policy.max_failures() {
                    return Decision::Finished(End::RetriesExhausted);
                }
                let pause = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
                if let Some(timeout) = self.timeout
                    && !timed_out
                    && ended.saturating_add(pause) > timeout
                {
                    state.next_poll = timeout;
                    return Decision::TimeoutAt(timeout);
                }
                self.policy.backoff(state.failures, state.random()).max(pause)
            }
        };
        if timed_out {
            return Decision::Finished(End::Timeout);
        }
        let next = ended.saturating_add(pause);
        state.next_poll = self.timeout.map_or(next, |timeout| next.min(timeout));
        Decision::PollAt(state.next_poll)
    }

    /// Brings the next poll forward, because the job may have changed, and returns when it is due now. Call it between
    /// two polls.
    ///
    /// A trigger may be forged, duplicated or lost, so its effect is limited. It never shortens the pause after a failed
    /// poll. The gap to the last poll is at least
    /// [`with_min_trigger_gap`](PollPolicy::with_min_trigger_gap); it doubles after each triggered poll that shows
    /// nothing new, and resets when a poll shows a change.
    ///
    /// ```
    /// use std::time::Duration;
    /// use akool::{Observation, PollPolicy, PollState, Poller, Status};
    ///
    /// let secs = Duration::from_secs;
    /// let poller = Poller::new(PollPolicy::safety_net().with_jitter(0.0), None);
    /// let mut state = PollState::new(7);
    /// poller.observe(&mut state, secs(0), secs(1), Observation::running(Status::Processing));
    /// assert_eq!(state.next_poll(), secs(31));
    /// assert_eq!(poller.poll_now(&mut state, secs(9)), secs(9));
    /// ```
    pub fn poll_now(&self, state: &mut PollState, now: Duration) -> Duration {
        if state.failures == 0 && state.attempts > 0 {
            let gap = self.policy.trigger_gap(state.fruitless_triggers);
            let soonest = now.max(state.last_poll_ended.saturating_add(gap));
            if soonest < state.next_poll {
                state.next_poll = soonest;
                state.triggered = true;
            }
        }
        state.next_poll
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// A wait with its state, without jitter.
    struct Wait(Poller, PollState);

    impl Wait {
        fn new(policy: PollPolicy, timeout: u64) -> Self {
            Self(Poller::new(policy.with_jitter(0.0), Some(secs(timeout))), PollState::new(0))
        }

        fn default(timeout: u64) -> Self {
            Self::new(PollPolicy::default().with_max_failures(10), timeout)
        }

        fn observe(&mut self, began: u64, ended: u64, observation: Observation) -> Decision {
            self.0.observe(&mut self.1, secs(began), secs(ended), observation)
        }

        fn poll_now(&mut self, now: u64) -> u64 {
            self.0.poll_now(&mut self.1, secs(now)).as_secs()
        }
    }

    fn processing() -> Observation {
        Observation::running(Status::Processing)
    }

    fn failed(retry_after: Option<u64>) -> Observation {
        Observation::TransientError { kind: ErrorKind::Unavailable, retry_after: retry_after.map(secs) }
    }

    fn poll_at(at: u64) -> Decision {
        Decision::PollAt(secs(at))
    }

    #[test]
    fn intervals_grow_with_the_age_of_the_job() {
        let mut wait = Wait::default(3600);
        let mut times = vec![0];
        while times.len() < 17 {
            let now = times[times.len() - 1];
            let Decision::PollAt(at) = wait.observe(now, now, processing()) else { panic!() };
            times.push(at.as_secs());
        }
        assert_eq!(times[..5], [0, 3, 6, 9, 12]);
        assert!(times[16] - times[15] >= 4, "{times:?}");
    }

    #[test]
    fn a_resumed_wait_continues_at_the_interval_of_its_job() {
        let status = Status::Processing;
        let old = Observation::Running { status, progress: None, age: Some(secs(300)), video_length: None };
        assert_eq!(Wait::default(3600).observe(0, 1, old), poll_at(31));
    }

    #[test]
    fn one_poll_begins_at_the_timeout_and_is_the_last() {
        let mut wait = Wait::default(5);
        assert_eq!(wait.observe(0, 0, processing()), poll_at(3));
        assert_eq!(wait.observe(3, 3, processing()), poll_at(5));
        assert_eq!(wait.observe(5, 6, processing()), Decision::Finished(End::Timeout));
        assert_eq!(Wait::default(0).observe(0, 0, processing()), Decision::Finished(End::Timeout));
    }

    #[test]
    fn a_poll_during_which_the_timeout_passes_is_the_last() {
        for observation in [processing(), failed(None), failed(Some(100))] {
            assert_eq!(Wait::default(10).observe(9, 11, observation), Decision::Finished(End::Timeout));
        }
        assert_eq!(
            Wait::default(10).observe(9, 11, Observation::Completed),
            Decision::Finished(End::Completed)
        );
        assert_eq!(Wait::default(10).observe(9, 11, Observation::Failed), Decision::Finished(End::Failed));
    }

    #[test]
    fn a_success_starts_the_count_of_failures_again() {
        let mut wait = Wait::default(36_000);
        let mut now = 0;
        for round in 0..50 {
            let observation = if round % 10 == 9 { processing() } else { failed(None) };
            let Decision::PollAt(at) = wait.observe(now, now, observation) else { panic!("round {round}") };
            now = at.as_secs();
        }
        for _ in 0..9 {
            assert!(matches!(wait.observe(now, now, failed(None)), Decision::PollAt(_)));
        }
        assert_eq!(wait.observe(now, now, failed(None)), Decision::Finished(End::RetriesExhausted));
        assert_eq!((wait.1.failures(), wait.1.last_error()), (10, Some(ErrorKind::Unavailable)));
    }

    #[test]
    fn an_error_that_retrying_does_not_change_ends_the_wait() {
        let rejected = Observation::Rejected { kind: ErrorKind::UnknownJob };
        let mut wait = Wait::default(10);
        assert_eq!(wait.observe(0, 1, rejected), Decision::Finished(End::Rejected));
        assert_eq!(wait.1.last_error(), Some(ErrorKind::UnknownJob));
    }

    #[test]
    fn a_retry_after_is_honoured_up_to_a_quarter_of_an_hour() {
        assert_eq!(Wait::default(3600).observe(0, 0, failed(Some(120))), poll_at(120));
        assert_eq!(Wait::default(3600).observe(0, 0, failed(Some(1))), poll_at(3));
        assert_eq!(Wait::default(36_000).observe(0, 0, failed(Some(u64::MAX))), poll_at(900));
    }

    #[test]
    fn a_pause_that_lasts_longer_than_the_wait_ends_it_without_a_last_poll() {
        assert_eq!(Wait::default(60).observe(0, 0, failed(Some(120))), Decision::TimeoutAt(secs(60)));
        assert_eq!(Wait::default(60).observe(0, 1, failed(Some(59))), poll_at(60));
        // Without a pause, the backoff is cut short for the last poll.
        assert_eq!(Wait::default(2).observe(0, 1, failed(None)), poll_at(2));
    }

    #[test]
    fn a_completed_job_without_a_link_is_polled_again() {
        let mut wait = Wait::default(60);
        let missing = Observation::TransientError { kind: ErrorKind::MissingVideo, retry_after: None };
        assert_eq!(wait.observe(0, 0, missing), poll_at(3));
        assert_eq!(wait.1.status(), Some(Status::Completed));
    }

    fn triggered() -> Wait {
        Wait::new(PollPolicy::safety_net(), 36_000)
    }

    #[test]
    fn a_trigger_leads_to_a_poll_at_once_but_not_right_after_the_last() {
        let mut wait = triggered();
        assert_eq!(wait.poll_now(0), 0, "the first poll is due anyway");
        assert_eq!(wait.observe(0, 1, processing()), poll_at(31));
        assert_eq!(wait.poll_now(2), 4);
        assert_eq!(wait.poll_now(3), 4);
        let mut late = triggered();
        late.observe(0, 1, processing());
        assert_eq!(late.poll_now(20), 20);
        assert_eq!(late.poll_now(40), 20, "a trigger never delays a poll");
    }

    #[test]
    fn the_gap_doubles_after_each_triggered_poll_that_returned_nothing_new() {
        let mut wait = triggered();
        wait.observe(0, 0, Observation::running(Status::Queueing));
        let mut now = 0;
        let mut gaps = vec![];
        for _ in 0..5 {
            let at = wait.poll_now(now);
            gaps.push(at - now);
            now = at;
            wait.observe(now, now, Observation::running(Status::Queueing));
        }
        assert_eq!(gaps, [3, 6, 12, 24, 30], "the last came by itself");
        // A change resets the gap.
        wait.observe(now + 30, now + 30, processing());
        assert_eq!(wait.poll_now(now + 30), now + 33);
    }

    #[test]
    fn a_trigger_for_a_poll_that_is_due_anyway_does_not_count() {
        let mut wait = triggered();
        wait.observe(0, 0, processing());
        assert_eq!(wait.poll_now(30), 30);
        wait.observe(30, 30, processing());
        assert_eq!(wait.poll_now(31), 33, "the gap has not doubled");
    }

    #[test]
    fn a_trigger_never_shortens_a_pause_after_an_error() {
        for retry_after in [Some(120), None] {
            let mut wait = triggered();
            wait.observe(0, 0, processing());
            let Decision::PollAt(due) = wait.observe(30, 30, failed(retry_after)) else { panic!() };
            assert_eq!(wait.poll_now(31), due.as_secs());
            assert_eq!(wait.poll_now(50), due.as_secs());
        }
    }

    #[test]
    fn without_a_timeout_nothing_overflows() {
        let poller = Poller::new(PollPolicy::default(), None);
        let far = Duration::MAX;
        assert_eq!(poller.observe(&mut PollState::new(1), far, far, processing()), Decision::PollAt(far));
    }
}
