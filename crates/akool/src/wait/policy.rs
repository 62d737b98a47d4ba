//! How often to poll: [`PollPolicy`].

use std::{fmt, sync::Arc, time::Duration};

use crate::status::Status;

/// No interval is shorter: a wait never spins.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// The longest backoff, unless the service asks for a longer pause.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// How often to poll a job, and how many failed polls in a row to retry.
///
/// By default, the interval between two polls is a tenth of the job's age, at least 3 s and at most 60 s, with a
/// jitter of a tenth. So the end of a job of more than half a minute is noticed within a twentieth of its duration
/// on average, and a job of 15 minutes takes about 48 polls. After a failed poll, the pause starts at the shortest
/// interval and doubles with each further failure, up to a minute. After 20 failed polls in a row, about a quarter
/// of an hour, a wait gives up. A longer `Retry-After` of the service is honoured.
///
/// Cheap to clone.
///
/// ```
/// use std::time::Duration;
/// use akool::PollPolicy;
///
/// let policy = PollPolicy::default().with_max_interval(Duration::from_secs(20)).with_max_failures(30);
/// let every_five_seconds = PollPolicy::fixed(Duration::from_secs(5));
/// let own = PollPolicy::from_fn(|job| job.age / 4).with_jitter(0.2);
/// # let _ = (policy, every_five_seconds, own);
/// ```
#[derive(Clone)]
pub struct PollPolicy {
    interval: Interval,
    /// The shortest interval, with which the backoff starts.
    min_interval: Duration,
    max_interval: Duration,
    jitter: f64,
    min_trigger_gap: Duration,
    max_failures: u32,
}

#[derive(Clone)]
enum Interval {
    /// A fraction of the job's age.
    Growing(f64),
    Custom(Arc<dyn Fn(&PollContext) -> Duration + Send + Sync>),
}

/// The input of a custom policy; see [`PollPolicy::from_fn`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct PollContext {
    /// How old the job is: by the service's clock, and at least the time since the wait began.
    pub age: Duration,
    /// The job's status.
    pub status: Status,
    /// How much of the job is done, in percent, if known.
    pub progress: Option<u8>,
    /// How long the job's video is, if known.
    pub video_length: Option<Duration>,
    /// How many polls were made in this wait.
    pub attempts: u32,
}

impl PollContext {
    /// A job of this status and age, of which nothing else is known.
    pub fn new(status: Status, age: Duration) -> Self {
        Self { age, status, progress: None, video_length: None, attempts: 1 }
    }
}

impl Default for PollPolicy {
    fn default() -> Self {
        Self {
            interval: Interval::Growing(0.1),
            min_interval: Duration::from_secs(3),
            max_interval: Duration::from_secs(60),
            jitter: 0.1,
            min_trigger_gap: Duration::from_secs(3),
            max_failures: 20,
        }
    }
}

impl PollPolicy {
    /// The same interval throughout, without jitter. Intervals below 10 ms are treated as 10 ms.
    pub fn fixed(interval: Duration) -> Self {
        Self {
            interval: Interval::Growing(0.0),
            min_interval: interval,
            max_interval: interval,
            jitter: 0.0,
            ..Self::default()
        }
    }

    /// The interval that a function returns for each poll that returned a status, with the default jitter. It is
    /// not bounded by [`with_min_interval`](Self::with_min_interval) and
    /// [`with_max_interval`](Self::with_max_interval), but never below 10 ms.
    pub fn from_fn(interval: impl Fn(&PollContext) -> Duration + Send + Sync + 'static) -> Self {
        Self { interval: Interval::Custom(Arc::new(interval)), ..Self::default() }
    }

    /// For waits that are triggered by webhooks: polls in between are only a safety net for triggers that are lost.
    /// The interval is a quarter of the job's age, from 30 s to 5 minutes.
    ///
    /// A job of 15 minutes takes 15 polls instead of 48. Its end is noticed when the trigger arrives. If the trigger is
    /// lost, the end is noticed about two minutes late on average.
    pub fn safety_net() -> Self {
        Self {
            interval: Interval::Growing(0.25),
            min_interval: Duration::from_secs(30),
            max_interval: Duration::from_secs(5 * 60),
            ..Self::default()
        }
    }

    /// Sets the shortest interval (3 s by default, at least 10 ms).
    #[must_use]
    pub fn with_min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = interval;
        self
    }

    /// Sets the longest interval (60 s by default). A value below the shortest interval is treated as the
    /// shortest.
    #[must_use]
    pub fn with_max_interval(mut self, interval: Duration) -> Self {
        self.max_interval = interval;
        self
    }

    /// Sets the interval as a fraction of the job's age (0.1 by default). Values outside of 0 to 1, and NaN, are
    /// brought into that range.
    #[must_use]
    pub fn with_growth(mut self, fraction: f64) -> Self {
        self.interval = Interval::Growing(fraction);
        self
    }

    /// Sets how much an interval varies at random, as a fraction of itself (0.1 by default). Values outside of 0 to
    /// 1, and NaN, are brought into that range. The result stays within the shortest and the
    /// longest interval, so this has no effect on a [fixed](Self::fixed) one.
    #[must_use]
    pub fn with_jitter(mut self, fraction: f64) -> Self {
        self.jitter = fraction;
        self
    }

    /// Sets how soon after a poll a trigger may lead to the next one (3 s by default, at least 10 ms).
    #[must_use]
    pub fn with_min_trigger_gap(mut self, gap: Duration) -> Self {
        self.min_trigger_gap = gap;
        self
    }

    /// Sets how many failed polls in a row end a wait (20 by default). With 1, and with 0, the first failed poll ends
    /// it. A poll that succeeds starts the count again.
    #[must_use]
    pub fn with_max_failures(mut self, polls: u32) -> Self {
        self.max_failures = polls;
        self
    }

    /// How many failed polls in a row end a wait.
    pub fn max_failures(&self) -> u32 {
        self.max_failures.max(1)
    }

    /// The pause after a poll that returned a status. `random` is from 0 to 1, and chooses within the jitter: 0.5 is
    /// its middle. A policy of your own can start from the interval of another one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use akool::{PollContext, PollPolicy, Status};
    ///
    /// let job = PollContext::new(Status::Processing, Duration::from_secs(100));
    /// assert_eq!(PollPolicy::default().interval(&job, 0.5), Duration::from_secs(10));
    /// ```
    pub fn interval(&self, context: &PollContext, random: f64) -> Duration {
        match &self.interval {
            Interval::Growing(growth) => {
                let (floor, ceiling) = self.bounds();
                let interval = scaled(context.age, fraction(*growth)).clamp(floor, ceiling);
                self.jittered(interval, random, floor, ceiling)
            }
            Interval::Custom(interval) => {
                self.jittered(interval(context), random, MIN_INTERVAL, Duration::MAX).max(MIN_INTERVAL)
            }
        }
    }

    /// The pause after the given number of failed polls in a row.
    pub(crate) fn backoff(&self, failures: u32, random: f64) -> Duration {
        let (base, _) = self.bounds();
        let doubled = base.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let ceiling = MAX_BACKOFF.max(base);
        self.jittered(doubled.min(ceiling), random, base, ceiling)
    }

    /// How soon a triggered poll may follow the last poll, after this many triggered polls that showed nothing new.
    pub(crate) fn trigger_gap(&self, fruitless: u8) -> Duration {
        self.min_trigger_gap.max(MIN_INTERVAL).saturating_mul(1 << fruitless.min(16))
    }

    fn bounds(&self) -> (Duration, Duration) {
        let floor = self.min_interval.max(MIN_INTERVAL);
        (floor, self.max_interval.max(floor))
    }

    /// A pause near this one and within the bounds. At a bound, the jitter goes inward.
    fn jittered(&self, pause: Duration, random: f64, floor: Duration, ceiling: Duration) -> Duration {
        let jitter = fraction(self.jitter);
        let low = scaled(pause, 1.0 - jitter).max(floor);
        let high = scaled(pause, 1.0 + jitter).min(ceiling);
        low.saturating_add(scaled(high.saturating_sub(low), fraction(random)))
    }
}

impl fmt::Debug for PollPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let growth = match self.interval {
            Interval::Growing(growth) => Some(growth),
            Interval::Custom(_) => None,
        };
        f.debug_struct("PollPolicy")
            .field("growth", &growth)
            .field("min_interval", &self.min_interval)
            .field("max_interval", &self.max_interval)
            .field("jitter", &self.jitter)
            .field("max_failures", &self.max_failures())
            .finish_non_exhaustive()
    }
}

/// A duration times a factor that is not negative; the longest duration if that is too long.
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

    fn aged(age: Duration) -> PollContext {
        PollContext::new(Status::Processing, age)
    }

    #[test]
    fn the_interval_grows_with_age_between_its_bounds() {
        let policy = PollPolicy::default();
        assert_eq!(policy.interval(&aged(secs(0)), 0.0), secs(3));
        assert_eq!(policy.interval(&aged(secs(100)), 0.5), secs(10));
        assert_eq!(policy.interval(&aged(secs(100_000)), 1.0), secs(60));
        assert_eq!(policy.interval(&aged(Duration::MAX), 1.0), secs(60));
        assert!(policy.interval(&aged(secs(100)), 0.0) < secs(10));
        for random in [0.0, 0.3, 1.0] {
            for wild in [policy.clone(), policy.clone().with_jitter(1.0)] {
                for age in [secs(0), secs(100), secs(100_000)] {
                    let interval = wild.interval(&aged(age), random);
                    assert!((secs(3)..=secs(60)).contains(&interval), "{interval:?}");
                    assert!((secs(3)..=secs(60)).contains(&wild.backoff(1, random)));
                }
            }
        }
        // Waits at a bound do not poll all at once.
        let at_bound = aged(secs(100_000));
        assert_ne!(policy.interval(&at_bound, 0.1), policy.interval(&at_bound, 0.9));
    }

    #[test]
    fn a_fixed_interval_is_neither_bounded_nor_varied() {
        for interval in [secs(1), secs(600)] {
            let policy = PollPolicy::fixed(interval);
            for (age, random) in [(0, 0.0), (100, 0.5), (100_000, 1.0)] {
                assert_eq!(policy.interval(&aged(secs(age)), random), interval);
            }
        }
    }

    #[test]
    fn bounds_can_be_set() {
        let policy = PollPolicy::default().with_jitter(0.0).with_max_failures(7);
        let bounded = policy.with_min_interval(secs(20)).with_max_interval(secs(30));
        let at = |policy: &PollPolicy, age| policy.interval(&aged(secs(age)), 0.5);
        assert_eq!([0, 250, 1000].map(|age| at(&bounded, age)), [secs(20), secs(25), secs(30)]);
        assert_eq!(bounded.max_failures(), 7, "the other settings stay");
        let inverted = bounded.with_max_interval(secs(1));
        assert_eq!(at(&inverted, 1000), secs(20));
        let net = PollPolicy::safety_net().with_jitter(0.0);
        assert_eq!([0, 400, 10_000].map(|age| at(&net, age)), [secs(30), secs(100), secs(300)]);
        let shown = format!("{net:?}");
        assert!(shown.contains("growth: Some(0.25)") && shown.contains("max_failures: 20"), "{shown}");
    }

    #[test]
    fn the_backoff_doubles_up_to_a_minute() {
        let policy = PollPolicy::default().with_jitter(0.0);
        let pauses: Vec<_> = (1..=7).map(|n| policy.backoff(n, 0.5).as_secs()).collect();
        assert_eq!(pauses, [3, 6, 12, 24, 48, 60, 60]);
        assert_eq!(policy.backoff(u32::MAX, 0.5), secs(60));
    }

    #[test]
    fn a_function_decides_the_interval() {
        let policy = PollPolicy::from_fn(|context| context.age / 2).with_jitter(0.0);
        assert_eq!(policy.interval(&aged(secs(1000)), 0.5), secs(500));
        assert_eq!(policy.interval(&aged(secs(0)), 0.5), MIN_INTERVAL);
        let jittered = PollPolicy::from_fn(|_| secs(10)).with_jitter(0.5);
        assert_eq!(jittered.interval(&aged(secs(0)), 0.0), secs(5));
        assert_eq!(jittered.interval(&aged(secs(0)), 1.0), secs(15));
        let _ = PollPolicy::from_fn(|_| Duration::MAX).interval(&aged(secs(0)), 1.0);
    }

    #[test]
    fn values_out_of_range_are_brought_into_it() {
        let policy = PollPolicy::fixed(Duration::ZERO).with_growth(f64::NAN).with_jitter(-3.0);
        assert_eq!(policy.interval(&aged(Duration::MAX), 0.9), MIN_INTERVAL);
        assert_eq!(policy.clone().with_max_failures(0).max_failures(), 1);
        let policy = PollPolicy::fixed(Duration::MAX).with_jitter(f64::INFINITY).with_growth(1e300);
        let _ =
            (policy.interval(&aged(Duration::MAX), 0.0), policy.backoff(9, 0.0), policy.trigger_gap(u8::MAX));
    }
}
