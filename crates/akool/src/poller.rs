//! The kernel: a poller without input or output, and without a clock.

use std::time::Duration;

use crate::{PollPolicy, Status};

/// What to do after each look at a job, decided without looking, sleeping or reading a clock.
///
/// Whoever drives it says when a look began and ended and what it saw, as the time since the wait
/// began, and is told when to look again or that the wait is over. [`Job::wait`](crate::Job::wait)
/// drives it with tokio's clock; a worker of your own, or a simulation, can drive it with another.
///
/// ```
/// use std::time::Duration;
/// use akool::{PollPolicy, Status, poller::{Decision, End, Observation, Poller}};
///
/// let mut poller = Poller::new(PollPolicy::default(), Some(Duration::from_secs(3600)), 7);
/// let mut now = Duration::ZERO;
/// let mut looks = 0;
/// let end = loop {
///     looks += 1;
///     let status = if now.as_secs() < 60 { Status::Processing } else { Status::Completed };
///     match poller.observe(now, now, Observation::Status { status, age: None }) {
///         Decision::LookAt(at) => now = at,
///         Decision::Finished(end) => break end,
///     }
/// };
/// assert_eq!(end, End::Completed);
/// assert!(looks < 25);
/// ```
#[derive(Clone, Debug)]
pub struct Poller {
    policy: PollPolicy,
    deadline: Option<Duration>,
    random: fastrand::Rng,
    failures: u32,
    end: Option<End>,
}

/// What one look at the job told.
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
    },
    /// The look failed in a way that may pass. It counts against the failure budget.
    Trouble {
        /// How long the service asks to wait.
        retry_after: Option<Duration>,
    },
    /// The look failed in a way that looking again does not change.
    Rejected,
}

/// What to do now. Times count from the beginning of the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Look again at this time, which is not before the end of the look just made.
    LookAt(Duration),
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
    /// The deadline passed, and a last look did not see the job's end.
    DeadlinePassed,
    /// Too many looks in a row failed.
    FailuresExhausted,
    /// A look failed in a way that looking again does not change.
    Rejected,
}

impl Poller {
    /// A poller that has seen nothing yet. The first look is due at once.
    ///
    /// `deadline` counts from the beginning of the wait; `None` waits without end. `seed`
    /// determines the jitter: the same seed and the same observations give the same decisions.
    pub fn new(policy: PollPolicy, deadline: Option<Duration>, seed: u64) -> Self {
        Self { policy, deadline, random: fastrand::Rng::with_seed(seed), failures: 0, end: None }
    }

    /// Takes what a look saw that began and ended at these times, and says what to do.
    ///
    /// The deadline is never passed over without a look at it: it ends the wait once the status
    /// was read, or a look that began at it failed. After the end, every further call repeats it.
    pub fn observe(&mut self, began: Duration, ended: Duration, seen: Observation) -> Decision {
        if self.end.is_none() {
            match self.decide(began, ended.max(began), seen) {
                Decision::Finished(end) => self.end = Some(end),
                look => return look,
            }
        }
        Decision::Finished(self.end.unwrap_or(End::Rejected))
    }

    /// How many looks in a row have failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn decide(&mut self, began: Duration, now: Duration, seen: Observation) -> Decision {
        let passed = |time| self.deadline.is_some_and(|deadline| time >= deadline);
        let pause = match seen {
            Observation::Status { status: Status::Completed, .. } => {
                return Decision::Finished(End::Completed);
            }
            Observation::Status { status: Status::Failed, .. } => {
                return Decision::Finished(End::Failed);
            }
            Observation::Rejected => return Decision::Finished(End::Rejected),
            Observation::Status { age, .. } => {
                self.failures = 0;
                if passed(now) {
                    return Decision::Finished(End::DeadlinePassed);
                }
                let age = age.unwrap_or_default().max(now);
                self.policy.interval(age, self.random.f64())
            }
            Observation::Trouble { retry_after } => {
                self.failures = self.failures.saturating_add(1);
                if passed(began) {
                    return Decision::Finished(End::DeadlinePassed);
                }
                if self.failures >= self.policy.failure_budget() {
                    return Decision::Finished(End::FailuresExhausted);
                }
                self.policy.backoff(self.failures, retry_after, self.random.f64())
            }
        };
        let next = now.saturating_add(pause);
        // The last look is made at the deadline, or at once where it has passed meanwhile.
        let next = self.deadline.map_or(next, |deadline| next.min(deadline.max(now)));
        Decision::LookAt(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn poller(deadline: u64) -> Poller {
        Poller::new(PollPolicy::default().with_jitter(0.0).with_failure_budget(10), Some(secs(deadline)), 0)
    }

    fn processing() -> Observation {
        Observation::Status { status: Status::Processing, age: None }
    }

    const TROUBLE: Observation = Observation::Trouble { retry_after: None };

    #[test]
    fn looks_come_at_intervals_that_grow_with_age() {
        let mut poller = poller(3600);
        let mut now = secs(0);
        let mut times = vec![];
        while times.len() < 16 {
            match poller.observe(now, now, processing()) {
                Decision::LookAt(at) => now = at,
                Decision::Finished(end) => panic!("{end:?}"),
            }
            times.push(now.as_secs());
        }
        assert_eq!(times[..4], [3, 6, 9, 12]);
        assert!(times[15] - times[14] > 4);
    }

    #[test]
    fn a_resumed_wait_keeps_the_pace_of_the_job() {
        let old = Observation::Status { status: Status::Processing, age: Some(secs(300)) };
        assert_eq!(poller(3600).observe(secs(0), secs(1), old), Decision::LookAt(secs(31)));
    }

    #[test]
    fn the_deadline_is_preceded_by_one_last_look() {
        let mut poller = poller(5);
        assert_eq!(poller.observe(secs(0), secs(0), processing()), Decision::LookAt(secs(3)));
        assert_eq!(poller.observe(secs(3), secs(3), processing()), Decision::LookAt(secs(5)));
        let last = Observation::Status { status: Status::Completed, age: None };
        let mut other = poller.clone();
        assert_eq!(other.observe(secs(5), secs(6), last), Decision::Finished(End::Completed));
        assert_eq!(poller.observe(secs(5), secs(6), processing()), Decision::Finished(End::DeadlinePassed));
    }

    #[test]
    fn a_look_that_hung_over_the_deadline_is_not_the_last() {
        let mut poller = poller(10);
        assert_eq!(poller.observe(secs(9), secs(4000), TROUBLE), Decision::LookAt(secs(4000)));
        assert_eq!(poller.observe(secs(4000), secs(4001), TROUBLE), Decision::Finished(End::DeadlinePassed));
    }

    #[test]
    fn an_answer_refills_the_budget() {
        let mut poller = poller(36_000);
        let mut now = secs(0);
        for round in 0..50 {
            let seen = if round % 10 == 9 { processing() } else { TROUBLE };
            match poller.observe(now, now, seen) {
                Decision::LookAt(at) => now = at,
                Decision::Finished(end) => panic!("{end:?} in round {round}"),
            }
        }
        for _ in 0..9 {
            assert!(matches!(poller.observe(now, now, TROUBLE), Decision::LookAt(_)));
        }
        assert_eq!(poller.observe(now, now, TROUBLE), Decision::Finished(End::FailuresExhausted));
    }

    #[test]
    fn a_retry_after_is_honoured_within_the_deadline() {
        let asks = |after| Observation::Trouble { retry_after: Some(secs(after)) };
        assert_eq!(poller(3600).observe(secs(0), secs(0), asks(120)), Decision::LookAt(secs(120)));
        assert_eq!(poller(60).observe(secs(0), secs(0), asks(120)), Decision::LookAt(secs(60)));
        assert_eq!(poller(36_000).observe(secs(0), secs(0), asks(u64::MAX)), Decision::LookAt(secs(900)));
    }

    #[test]
    fn the_end_stays_the_end() {
        let mut poller = poller(60);
        let failed = Observation::Status { status: Status::Failed, age: None };
        assert_eq!(poller.observe(secs(0), secs(0), failed), Decision::Finished(End::Failed));
        assert_eq!(poller.observe(secs(1), secs(1), processing()), Decision::Finished(End::Failed));
    }

    #[test]
    fn without_a_deadline_nothing_overflows() {
        let mut poller = Poller::new(PollPolicy::default(), None, 1);
        let far = Duration::MAX;
        assert_eq!(poller.observe(far, far, processing()), Decision::LookAt(far));
    }
}
