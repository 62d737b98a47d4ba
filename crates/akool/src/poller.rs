//! The kernel: a poller without input or output, and without a clock.

use std::{sync::Arc, time::Duration};

use crate::{PollPolicy, Status};

/// What to do after each poll a job, decided without polling, sleeping or reading a clock.
///
/// Whoever drives it says when a poll began and ended and what it saw, as the time since the wait
/// began, and is told when to poll again or that the wait is over. [`Job::wait`](crate::Job::wait)
/// drives it with tokio's clock; a worker of your own, or a simulation, can drive it with another.
///
/// ```
/// use std::time::Duration;
/// use akool::{PollPolicy, Status, poller::{Decision, End, Observation, Poller}};
///
/// let mut poller = Poller::new(PollPolicy::default(), Some(Duration::from_secs(3600)), 7);
/// let mut now = Duration::ZERO;
/// let mut polls = 0;
/// let end = loop {
///     polls += 1;
///     let status = if now.as_secs() < 60 { Status::Processing } else { Status::Completed };
///     match poller.observe(now, now, Observation::Status { status, age: None, video_length: None }) {
///         Decision::PollAt(at) => now = at,
///         Decision::Finished(end) => break end,
///     }
/// };
/// assert_eq!(end, End::Completed);
/// assert!(polls < 25);
/// ```
#[derive(Clone, Debug)]
pub struct Poller {
    policy: Arc<PollPolicy>,
    timeout: Option<Duration>,
    random: fastrand::Rng,
    failures: u32,
    /// When the next poll is due, and when the last one ended.
    due: Duration,
    ended: Option<Duration>,
    status: Option<Status>,
    triggers: TriggerState,
    end: Option<End>,
}

/// How many triggers in a row may lead to a poll that tells nothing new.
const MAX_TRIGGERS: u8 = 3;

/// What triggers may still do.
#[derive(Clone, Debug)]
struct TriggerState {
    /// How many may bring a look forward still.
    left: u8,
    /// The next poll was brought forward by one.
    brought_forward: bool,
    /// When a poll that was brought forward told nothing new: the news may not have reached the
    /// place yet that answers polls.
    in_vain: Option<Duration>,
}

/// What one poll the job told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observation {
    /// The job's status could be read.
    Status {
        /// It.
        status: Status,
        /// How old the job is, where the service says so: a wait that was picked up again
        /// goes on at the pace of the job and not of a new one.
        age: Option<Duration>,
        /// How long the job's video is, where the service says so. Only a policy
        /// [with durations](PollPolicy::with_durations) asks.
        video_length: Option<Duration>,
    },
    /// The poll failed in a way that may pass. It counts against the failure budget.
    Trouble {
        /// How long the service asks to wait.
        retry_after: Option<Duration>,
    },
    /// The poll failed in a way that polling again does not change.
    Rejected,
}

/// What to do now. Times count from the beginning of the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Poll again at this time, which is not before the end of the poll just made.
    PollAt(Duration),
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
    /// The timeout passed, and a last poll did not see the job's end.
    Timeout,
    /// Too many polls in a row failed.
    RetriesExhausted,
    /// A poll failed in a way that polling again does not change.
    Rejected,
}

impl Poller {
    /// A poller that has seen nothing yet. The first poll is due at once.
    ///
    /// `timeout` counts from the beginning of the wait; `None` waits without end. `seed`
    /// determines the jitter: the same seed and the same observations give the same decisions.
    /// Pollers of many jobs can share a policy: an `Arc` of one is taken as well.
    pub fn new(policy: impl Into<Arc<PollPolicy>>, timeout: Option<Duration>, seed: u64) -> Self {
        Self {
            policy: policy.into(),
            timeout,
            random: fastrand::Rng::with_seed(seed),
            failures: 0,
            due: Duration::ZERO,
            ended: None,
            status: None,
            triggers: TriggerState { left: MAX_TRIGGERS, brought_forward: false, in_vain: None },
            end: None,
        }
    }

    /// Takes what a poll saw that began and ended at these times, and says what to do.
    ///
    /// The timeout is never passed over without a poll it: it ends the wait once the status
    /// was read, or a poll that began at it failed. After the end, every further call repeats it.
    pub fn observe(&mut self, began: Duration, ended: Duration, seen: Observation) -> Decision {
        if self.end.is_none() {
            match self.decide(began, ended.max(began), seen) {
                Decision::Finished(end) => self.end = Some(end),
                Decision::PollAt(at) => {
                    self.due = at;
                    self.ended = Some(ended.max(began));
                }
            }
        }
        self.decision()
    }

    /// Takes a trigger that the job has changed, between two polls, and says when to poll now: at once,
    /// if the last poll ended long enough ago ([`PollPolicy::with_min_trigger_gap`]). The result is never
    /// later than without the trigger, and never before its own time.
    ///
    /// A trigger may be forged, doubled or lost, so it can do no more than that. It never shortens the
    /// pause after a poll that failed. Three in a row may lead to a poll that tells nothing new; the
    /// next may do so after a poll that came by itself, or told another status. After a trigger in
    /// vain, polls come again at pauses that start with the gap and double, until they are as long
    /// as without triggers.
    ///
    /// ```
    /// use std::time::Duration;
    /// use akool::{PollPolicy, Status, poller::{Decision, Observation, Poller}};
    ///
    /// let secs = Duration::from_secs;
    /// let mut poller = Poller::new(PollPolicy::safety_net().with_jitter(0.0), None, 7);
    /// let processing = Observation::Status { status: Status::Processing, age: None, video_length: None };
    /// assert_eq!(poller.observe(secs(0), secs(1), processing), Decision::PollAt(secs(31)));
    /// assert_eq!(poller.trigger(secs(9)), Decision::PollAt(secs(9)));
    /// ```
    pub fn trigger(&mut self, now: Duration) -> Decision {
        if self.end.is_none()
            && self.failures == 0
            && self.triggers.left > 0
            && let Some(ended) = self.ended
        {
            let soonest = now.max(ended.saturating_add(self.policy.min_trigger_gap()));
            if soonest < self.due {
                self.due = soonest;
                self.triggers.left -= 1;
                self.triggers.brought_forward = true;
            }
        }
        self.decision()
    }

    /// What was decided last.
    fn decision(&self) -> Decision {
        self.end.map_or(Decision::PollAt(self.due), Decision::Finished)
    }

    /// How many polls in a row have failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn policy(&self) -> &PollPolicy {
        &self.policy
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    fn decide(&mut self, began: Duration, now: Duration, seen: Observation) -> Decision {
        let passed = |time| self.timeout.is_some_and(|timeout| time >= timeout);
        let pause = match seen {
            Observation::Status { status: Status::Completed, .. } => {
                return Decision::Finished(End::Completed);
            }
            Observation::Status { status: Status::Failed, .. } => {
                return Decision::Finished(End::Failed);
            }
            Observation::Rejected => return Decision::Finished(End::Rejected),
            Observation::Status { status, age, video_length } => {
                self.failures = 0;
                let changed = self.status.replace(status) != Some(status);
                if passed(now) {
                    return Decision::Finished(End::Timeout);
                }
                let age = age.unwrap_or_default().max(now);
                let interval = self.policy.interval(age, video_length, self.random.f64());
                self.triggers.after_poll(began, changed);
                self.triggers.pause(now, self.policy.min_trigger_gap(), interval)
            }
            Observation::Trouble { retry_after } => {
                self.failures = self.failures.saturating_add(1);
                if passed(began) {
                    return Decision::Finished(End::Timeout);
                }
                if self.failures >= self.policy.max_failures() {
                    return Decision::Finished(End::RetriesExhausted);
                }
                self.policy.backoff(self.failures, retry_after, self.random.f64())
            }
        };
        let next = now.saturating_add(pause);
        // The last poll is made at the timeout, or at once where it has passed meanwhile.
        let next = self.timeout.map_or(next, |timeout| next.min(timeout.max(now)));
        Decision::PollAt(next)
    }
}

impl TriggerState {
    /// A poll that began at this time told a status, another one than before or not.
    fn after_poll(&mut self, began: Duration, changed: bool) {
        let brought_forward = std::mem::take(&mut self.brought_forward);
        if changed {
            self.left = MAX_TRIGGERS;
            self.in_vain = None;
        } else if brought_forward {
            self.in_vain = Some(began);
        } else if self.in_vain.is_none() {
            self.left = MAX_TRIGGERS.min(self.left + 1);
        }
    }

    /// The pause until the next poll, which would be this interval without triggers.
    fn pause(&mut self, now: Duration, gap: Duration, interval: Duration) -> Duration {
        let again = self.in_vain.map(|since| gap.max(now.saturating_sub(since)));
        match again {
            Some(again) if again < interval => again,
            _ => {
                self.in_vain = None;
                interval
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn poller(timeout: u64) -> Poller {
        Poller::new(PollPolicy::default().with_jitter(0.0).with_max_failures(10), Some(secs(timeout)), 0)
    }

    fn processing() -> Observation {
        Observation::Status { status: Status::Processing, age: None, video_length: None }
    }

    const TROUBLE: Observation = Observation::Trouble { retry_after: None };

    #[test]
    fn polls_come_at_intervals_that_grow_with_age() {
        let mut poller = poller(3600);
        let mut now = secs(0);
        let mut times = vec![];
        while times.len() < 16 {
            match poller.observe(now, now, processing()) {
                Decision::PollAt(at) => now = at,
                Decision::Finished(end) => panic!("{end:?}"),
            }
            times.push(now.as_secs());
        }
        assert_eq!(times[..4], [3, 6, 9, 12]);
        assert!(times[15] - times[14] > 4);
    }

    #[test]
    fn a_resumed_wait_keeps_the_pace_of_the_job() {
        let old =
            Observation::Status { status: Status::Processing, age: Some(secs(300)), video_length: None };
        assert_eq!(poller(3600).observe(secs(0), secs(1), old), Decision::PollAt(secs(31)));
    }

    #[test]
    fn the_timeout_is_preceded_by_one_last_poll() {
        let mut poller = poller(5);
        assert_eq!(poller.observe(secs(0), secs(0), processing()), Decision::PollAt(secs(3)));
        assert_eq!(poller.observe(secs(3), secs(3), processing()), Decision::PollAt(secs(5)));
        let last = Observation::Status { status: Status::Completed, age: None, video_length: None };
        let mut other = poller.clone();
        assert_eq!(other.observe(secs(5), secs(6), last), Decision::Finished(End::Completed));
        assert_eq!(poller.observe(secs(5), secs(6), processing()), Decision::Finished(End::Timeout));
    }

    #[test]
    fn a_poll_that_hung_over_the_timeout_is_not_the_last() {
        let mut poller = poller(10);
        assert_eq!(poller.observe(secs(9), secs(4000), TROUBLE), Decision::PollAt(secs(4000)));
        assert_eq!(poller.observe(secs(4000), secs(4001), TROUBLE), Decision::Finished(End::Timeout));
    }

    #[test]
    fn an_answer_refills_the_budget() {
        let mut poller = poller(36_000);
        let mut now = secs(0);
        for round in 0..50 {
            let seen = if round % 10 == 9 { processing() } else { TROUBLE };
            match poller.observe(now, now, seen) {
                Decision::PollAt(at) => now = at,
                Decision::Finished(end) => panic!("{end:?} in round {round}"),
            }
        }
        for _ in 0..9 {
            assert!(matches!(poller.observe(now, now, TROUBLE), Decision::PollAt(_)));
        }
        assert_eq!(poller.observe(now, now, TROUBLE), Decision::Finished(End::RetriesExhausted));
    }

    #[test]
    fn a_retry_after_is_honoured_within_the_timeout() {
        let asks = |after| Observation::Trouble { retry_after: Some(secs(after)) };
        assert_eq!(poller(3600).observe(secs(0), secs(0), asks(120)), Decision::PollAt(secs(120)));
        assert_eq!(poller(60).observe(secs(0), secs(0), asks(120)), Decision::PollAt(secs(60)));
        assert_eq!(poller(36_000).observe(secs(0), secs(0), asks(u64::MAX)), Decision::PollAt(secs(900)));
    }

    fn triggered() -> Poller {
        Poller::new(PollPolicy::safety_net().with_jitter(0.0), Some(secs(36_000)), 0)
    }

    #[test]
    fn a_hint_leads_to_a_poll_at_once_but_not_right_after_the_last() {
        let mut poller = triggered();
        // The first poll is due anyway.
        assert_eq!(poller.trigger(secs(0)), Decision::PollAt(secs(0)));
        assert_eq!(poller.observe(secs(0), secs(1), processing()), Decision::PollAt(secs(31)));
        assert_eq!(poller.trigger(secs(2)), Decision::PollAt(secs(4)));
        assert_eq!(poller.trigger(secs(3)), Decision::PollAt(secs(4)));
        let mut late = triggered();
        late.observe(secs(0), secs(1), processing());
        assert_eq!(late.trigger(secs(20)), Decision::PollAt(secs(20)));
        assert_eq!(late.trigger(secs(40)), Decision::PollAt(secs(20)));
    }

    #[test]
    fn a_hint_in_vain_is_followed_by_polls_at_doubling_pauses() {
        let mut poller = triggered();
        poller.observe(secs(0), secs(0), processing());
        let mut now = secs(10);
        assert_eq!(poller.trigger(now), Decision::PollAt(now));
        let mut times = vec![];
        while times.len() < 7 {
            match poller.observe(now, now, processing()) {
                Decision::PollAt(at) => now = at,
                Decision::Finished(end) => panic!("{end:?}"),
            }
            times.push(now.as_secs());
        }
        assert_eq!(times, [13, 16, 22, 34, 58, 88, 118]);
    }

    #[test]
    fn a_hint_that_told_something_new_is_not_followed_up() {
        let mut poller = triggered();
        let queueing = Observation::Status { status: Status::Queueing, age: None, video_length: None };
        poller.observe(secs(0), secs(0), queueing);
        poller.trigger(secs(10));
        assert_eq!(poller.observe(secs(10), secs(10), processing()), Decision::PollAt(secs(40)));
    }

    #[test]
    fn a_hint_never_shortens_a_pause_after_trouble() {
        let mut poller = triggered();
        poller.observe(secs(0), secs(0), processing());
        let asks = Observation::Trouble { retry_after: Some(secs(120)) };
        for trouble in [asks, TROUBLE] {
            let due = poller.observe(secs(30), secs(30), trouble);
            assert_eq!(poller.trigger(secs(31)), due);
            assert_eq!(poller.trigger(secs(100)), due);
        }
    }

    #[test]
    fn a_flood_of_hints_runs_dry() {
        let mut poller = triggered();
        let mut now = secs(0);
        let mut times = vec![];
        while times.len() < 14 {
            poller.observe(now, now, processing());
            match poller.trigger(now) {
                Decision::PollAt(at) => now = at,
                Decision::Finished(end) => panic!("{end:?}"),
            }
            times.push(now.as_secs());
        }
        // The third trigger in vain was that for 21; the poll 99 came by itself, and allows one more.
        assert_eq!(times, [3, 6, 9, 12, 15, 18, 21, 24, 27, 33, 45, 69, 99, 102]);
    }

    #[test]
    fn where_polls_come_often_hints_change_nothing() {
        let mut poller = Poller::new(PollPolicy::fixed(secs(2)), None, 0);
        poller.observe(secs(0), secs(0), processing());
        assert_eq!(poller.trigger(secs(1)), Decision::PollAt(secs(2)));
    }

    #[test]
    fn after_the_end_a_hint_changes_nothing() {
        let mut poller = triggered();
        let failed = Observation::Status { status: Status::Failed, age: None, video_length: None };
        poller.observe(secs(0), secs(0), failed);
        assert_eq!(poller.trigger(secs(5)), Decision::Finished(End::Failed));
    }

    #[test]
    fn the_end_stays_the_end() {
        let mut poller = poller(60);
        let failed = Observation::Status { status: Status::Failed, age: None, video_length: None };
        assert_eq!(poller.observe(secs(0), secs(0), failed), Decision::Finished(End::Failed));
        assert_eq!(poller.observe(secs(1), secs(1), processing()), Decision::Finished(End::Failed));
    }

    #[test]
    fn without_a_timeout_nothing_overflows() {
        let mut poller = Poller::new(PollPolicy::default(), None, 1);
        let far = Duration::MAX;
        assert_eq!(poller.observe(far, far, processing()), Decision::PollAt(far));
    }
}
