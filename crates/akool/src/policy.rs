//! How often to poll: [`PollPolicy`].

use std::{sync::Arc, time::Duration};

use crate::durations::{Durations, Outlook};

/// How often to poll a job, and how much trouble in a row to forgive.
///
/// The interval between two polls is a tenth of the job's age, at least 3 seconds and at most 60,
/// give or take a tenth at random. So the end of a job of more than half a minute is noticed within
/// a twentieth of its duration on average, and a job of 15 minutes takes about 45 polls. After a failed poll
/// the pause starts at the shortest interval and doubles with each further failure, up to
/// a minute, which rides out a quarter of an hour before the failure budget of 20 polls in a row is
/// spent; a `Retry-After` of the service is honoured where it asks for more.
///
/// ```
/// use std::time::Duration;
/// use akool::PollPolicy;
///
/// let policy = PollPolicy::default()
///     .with_max_interval(Duration::from_secs(20))
///     .with_max_failures(30);
/// let every_five_seconds = PollPolicy::fixed(Duration::from_secs(5));
/// # let _ = (policy, every_five_seconds);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PollPolicy {
    min_interval: Duration,
    max_interval: Duration,
    growth: f64,
    jitter: f64,
    min_trigger_gap: Duration,
    max_failures: u32,
    outlook: Option<Arc<Outlook>>,
}

/// Shorter intervals are lengthened to this: a wait never spins.
const SHORTEST: Duration = Duration::from_millis(10);
/// The longest pause after failures, where the service asks for none.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// Learned intervals are at most this often the policy's longest.
const LEARNED_BOUND: u32 = 5;
/// The longest `Retry-After` that is believed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(15 * 60);

impl Default for PollPolicy {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_secs(3),
            max_interval: Duration::from_secs(60),
            growth: 0.1,
            jitter: 0.1,
            min_trigger_gap: Duration::from_secs(3),
            max_failures: 20,
            outlook: None,
        }
    }
}

impl PollPolicy {
    /// The same interval throughout, without jitter. Shorter than 10 ms counts as 10 ms.
    pub fn fixed(interval: Duration) -> Self {
        Self { min_interval: interval, max_interval: interval, growth: 0.0, jitter: 0.0, ..Self::default() }
    }

    /// For waits that are told when to poll, by [`PollTriggers`](crate::PollTriggers): the polls in between are
    /// only a safety net, for triggers that are lost. The interval is a quarter of the job's age, from
    /// 30 seconds to 5 minutes.
    ///
    /// A job of 15 minutes takes 15 polls so, and not 49. Its end is noticed when its trigger comes; if that
    /// is lost, up to three minutes late on average.
    pub fn safety_net() -> Self {
        Self {
            min_interval: Duration::from_secs(30),
            max_interval: Duration::from_secs(5 * 60),
            growth: 0.25,
            ..Self::default()
        }
    }

    /// Sets the shortest interval (3 s unless set; at least 10 ms).
    #[must_use]
    pub fn with_min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = interval;
        self
    }

    /// Sets the longest interval (60 s unless set). Where it is shorter than the shortest, it
    /// counts as that.
    #[must_use]
    pub fn with_max_interval(mut self, interval: Duration) -> Self {
        self.max_interval = interval;
        self
    }

    /// Sets the interval as a fraction of the job's age (0.1 unless set). What is no fraction
    /// from 0 to 1 is brought into that range.
    #[must_use]
    pub fn with_growth(mut self, fraction: f64) -> Self {
        self.growth = fraction;
        self
    }

    /// Sets how far an interval varies at random, as a fraction of itself (0.1 unless set). What
    /// is no fraction from 0 to 1 is brought into that range.
    #[must_use]
    pub fn with_jitter(mut self, fraction: f64) -> Self {
        self.jitter = fraction;
        self
    }

    /// Sets how soon after the end of a poll a trigger may lead to the next one (3 s unless set; at least
    /// 10 ms). Where the interval is shorter, triggers change nothing.
    #[must_use]
    pub fn with_min_trigger_gap(mut self, gap: Duration) -> Self {
        self.min_trigger_gap = gap;
        self
    }

    /// Sets how many polls in a row may fail before the wait ends (20 unless set; at least 1, and
    /// with 1 the first failure ends it). A poll that succeeds starts the count anew.
    #[must_use]
    pub fn with_max_failures(mut self, polls: u32) -> Self {
        self.max_failures = polls;
        self
    }

    /// Polls where the ends of jobs are to be expected, as these durations tell, so that they are noticed
    /// as soon as with this policy's own intervals on average, with fewer polls. After 200 jobs that is
    /// a fifth to little more than a half of the polls. Takes what is known at the time of the call, of the other settings
    /// too; what is recorded later needs another call. With fewer than 20 jobs it changes nothing.
    ///
    /// An interval is then at most five times the policy's longest, so 5 minutes unless set:
    /// that is how late an end is noticed at worst when jobs take another time than was learned.
    ///
    /// ```
    /// use std::time::Duration;
    /// use akool::{Durations, PollPolicy};
    ///
    /// let mut durations = Durations::default();
    /// durations.record_between(Duration::from_secs(170), Duration::from_secs(190), None);
    /// let policy = PollPolicy::default().with_durations(&durations);
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn with_durations(mut self, durations: &Durations) -> Self {
        let interval = |age| self.own_interval(Duration::try_from_secs_f64(age).unwrap_or_default(), 0.5);
        self.outlook = Some(Arc::new(Outlook::new(durations, |age| interval(age).as_secs_f64())));
        self
    }

    /// How many polls in a row may fail before the wait ends.
    pub fn max_failures(&self) -> u32 {
        self.max_failures.max(1)
    }

    /// How soon after a poll a trigger may lead to the next one.
    pub(crate) fn min_trigger_gap(&self) -> Duration {
        self.min_trigger_gap.max(SHORTEST)
    }

    /// The pause after a poll that told the status of a job of this age, whose video is this long, where
    /// that is known. `random` is from 0 to 1.
    pub(crate) fn interval(&self, age: Duration, video_length: Option<Duration>, random: f64) -> Duration {
        let polls = 1.0 + fraction(self.jitter) * (2.0 * fraction(random) - 1.0);
        match self.outlook.as_ref().and_then(|outlook| outlook.pause(age, video_length, polls)) {
            None => self.own_interval(age, random),
            Some(pause) => {
                let (floor, ceiling) = self.bounds();
                let pause = Duration::try_from_secs_f64(pause).unwrap_or(Duration::MAX);
                pause.clamp(floor, ceiling.saturating_mul(LEARNED_BOUND))
            }
        }
    }

    fn own_interval(&self, age: Duration, random: f64) -> Duration {
        let (floor, ceiling) = self.bounds();
        let interval = scaled(age, fraction(self.growth)).clamp(floor, ceiling);
        self.jittered(interval, random, floor, ceiling)
    }

    fn bounds(&self) -> (Duration, Duration) {
        let floor = self.min_interval.max(SHORTEST);
        (floor, self.max_interval.max(floor))
    }

    /// The pause after the `failures`th failed poll in a row (from 1).
    pub(crate) fn backoff(&self, failures: u32, retry_after: Option<Duration>, random: f64) -> Duration {
        let base = self.min_interval.max(SHORTEST);
        let doubled = base.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let ceiling = MAX_BACKOFF.max(base);
        let pause = self.jittered(doubled.min(ceiling), random, base, ceiling);
        pause.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
    }

    /// A pause near this one, within the bounds: at a bound, the spread goes inward.
    fn jittered(&self, pause: Duration, random: f64, floor: Duration, ceiling: Duration) -> Duration {
        let spread = fraction(self.jitter);
        let low = scaled(pause, 1.0 - spread).max(floor);
        let high = scaled(pause, 1.0 + spread).min(ceiling);
        low + scaled(high.saturating_sub(low), fraction(random))
    }
}

/// A duration times a factor that is not negative; the longest duration where that is too long.
fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

fn fraction(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_interval_grows_with_age_between_its_bounds() {
        let policy = PollPolicy::default();
        assert_eq!(policy.interval(secs(0), None, 0.0), secs(3));
        assert_eq!(policy.interval(secs(100), None, 0.5), secs(10));
        assert_eq!(policy.interval(secs(100_000), None, 1.0), secs(60));
        assert_eq!(policy.interval(Duration::MAX, None, 1.0), secs(60));
        assert!(policy.interval(secs(100), None, 0.0) < secs(10));
        for random in [0.0, 0.3, 1.0] {
            for wild in [policy.clone(), policy.clone().with_jitter(1.0)] {
                for age in [secs(0), secs(100), secs(100_000)] {
                    let interval = wild.interval(age, None, random);
                    assert!((secs(3)..=secs(60)).contains(&interval), "{interval:?}");
                    assert!((secs(3)..=secs(60)).contains(&wild.backoff(1, None, random)));
                }
            }
        }
        // Waiters at a bound do not poll all at once.
        assert_ne!(policy.interval(secs(100_000), None, 0.1), policy.interval(secs(100_000), None, 0.9));
    }

    #[test]
    fn failures_double_the_pause_and_the_service_may_ask_for_more() {
        let policy = PollPolicy::default().with_jitter(0.0);
        let pauses: Vec<_> = (1..=7).map(|n| policy.backoff(n, None, 0.5).as_secs()).collect();
        assert_eq!(pauses, [3, 6, 12, 24, 48, 60, 60]);
        assert_eq!(policy.backoff(1, Some(secs(100)), 0.5), secs(100));
        assert_eq!(policy.backoff(u32::MAX, Some(Duration::MAX), 0.5), MAX_RETRY_AFTER);
    }

    #[test]
    fn nonsense_is_brought_into_range() {
        let policy = PollPolicy::fixed(Duration::ZERO).with_growth(f64::NAN).with_jitter(-3.0);
        assert_eq!(policy.interval(Duration::MAX, None, 0.9), SHORTEST);
        assert_eq!(policy.clone().with_max_failures(0).max_failures(), 1);
        let policy = PollPolicy::fixed(Duration::MAX).with_jitter(f64::INFINITY).with_growth(1e300);
        let _ = (policy.interval(Duration::MAX, None, 0.0), policy.backoff(9, None, 0.0));
    }
}
