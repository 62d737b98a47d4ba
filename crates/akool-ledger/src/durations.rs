//! How long jobs took so far, and a poll policy that is learned from that: [`Durations`].

use std::{fmt, time::Duration};

use akool::{PollContext, PollPolicy, Status};
use serde::{Deserialize, Serialize};

/// How long jobs took so far. [`poll_policy`](Self::poll_policy) polls most often at the ages at which most jobs end,
/// and so needs fewer polls than [`PollPolicy::default`] for the same delay.
///
/// This keeps two histograms: one of durations, and one of durations relative to the length of the video, for jobs
/// whose video length is known. The policy uses the one that spreads less. About the last 500 jobs count, because older
/// ones lose weight with each new job. The size is fixed, about 3 KiB.
///
/// Store it with serde. Values that are out of range are brought into range when it is loaded, so wrong data costs
/// polls or, at worst, the longest interval of the policy in delay.
///
/// ```no_run
/// # async fn example(client: akool::Client) {
/// use std::collections::HashMap;
/// use akool::Update;
/// use akool_ledger::Durations;
///
/// let mut durations = Durations::default(); // or loaded
/// let mut set = client.wait_set().policy(durations.poll_policy());
/// set.extend(["64dd92c1f0b6684651e90e09", "64dd92c1f0b6684651e90e0a"]);
/// let mut last_age = HashMap::new();
/// while let Some((id, update)) = set.next().await {
///     match update {
///         Update::Polled { snapshot, .. } => drop(last_age.insert(id, snapshot.age())),
///         Update::Finished(Ok(translation)) => {
///             let completed = translation.snapshot();
///             if let (Some(Some(after)), Some(by)) = (last_age.remove(&id), completed.age()) {
///                 durations.record(after, by, completed.video_length());
///                 // For the jobs that are inserted from now on.
///                 set.set_policy(durations.poll_policy());
///             }
///         }
///         _ => {}
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Durations {
    /// How many jobs were ever recorded.
    count: u64,
    /// Durations in seconds.
    absolute: Histogram,
    /// Durations as multiples of the length of the video.
    relative: Histogram,
}

/// A histogram of fewer jobs is not used.
const MIN_JOBS: f64 = 20.0;
/// The share of its weight that each recorded job loses when one more is recorded.
const DECAY: f64 = 1.0 / 500.0;
/// The longest learned interval, as a multiple of the longest interval of the default policy.
const MAX_INTERVAL_FACTOR: u32 = 5;
/// How much a learned interval varies at random, as a fraction of itself. That is less than by default, because learned
/// intervals are longer, and because the longest one must leave room for it.
const JITTER: f64 = 0.05;

impl Durations {
    /// Records a job that completed or failed: its age at the last poll before its end, its age at the poll that
    /// noticed the end, and the length of its video, if known.
    pub fn record(&mut self, after: Duration, by: Duration, video_length: Option<Duration>) {
        let (after, by) = (after.min(by).as_secs_f64(), by.as_secs_f64());
        self.count = self.count.saturating_add(1);
        self.absolute.add(after, by);
        if let Some(length) = plausible_seconds(video_length) {
            self.relative.add(after / length, by / length);
        }
    }

    /// How many jobs were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// A policy that polls most often at the ages at which jobs are likely to end. On average, it notices an end as
    /// soon as [`PollPolicy::default`] does. After 200 jobs it needs between a fifth and little more than half of the
    /// polls.
    ///
    /// With fewer than 20 jobs, this is the default policy. The policy contains what is known at the time of the call.
    /// To use what is recorded later, call this again.
    ///
    /// No interval is shorter than the shortest of the default policy (3 s), or longer than five times its longest
    /// (5 minutes). So an end is noticed at most 5 minutes late if jobs take a different time than those recorded.
    ///
    /// ```
    /// use std::time::Duration;
    /// use akool_ledger::Durations;
    ///
    /// let mut durations = Durations::default();
    /// durations.record(Duration::from_secs(170), Duration::from_secs(190), None);
    /// let policy = durations.poll_policy().with_max_failures(30);
    /// # let _ = policy;
    /// ```
    pub fn poll_policy(&self) -> PollPolicy {
        let default = PollPolicy::default();
        let at_age = |age, random| default.interval(&PollContext::new(Status::Processing, age), random);
        let schedule = Schedule::new(self, |age| at_age(seconds(age), 0.5).as_secs_f64());
        if schedule == Schedule::default() {
            return default;
        }
        // The jitter comes on top of what the function returns, and must not exceed the bounds either.
        let shortest = at_age(Duration::ZERO, 0.0).div_f64(1.0 - JITTER);
        let longest = (at_age(Duration::MAX, 1.0) * MAX_INTERVAL_FACTOR).div_f64(1.0 + JITTER);
        PollPolicy::from_fn(move |context| {
            let learned = schedule.interval(context.age, context.video_length);
            learned.map_or_else(|| default.interval(context, 0.5), seconds).clamp(shortest, longest)
        })
        .with_jitter(JITTER)
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// The length of a video in seconds, if durations can be divided by it.
fn plausible_seconds(length: Option<Duration>) -> Option<f64> {
    length.map(|length| length.as_secs_f64()).filter(|length| (0.1..1e6).contains(length))
}

/// Weights by the logarithm of a time.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<f32>", into = "Vec<f32>")]
struct Histogram(Box<[f32; BINS]>);

const BINS: usize = 184;
const BINS_PER_OCTAVE: f64 = 8.0;
/// The binary logarithm of the time at which the bins begin. They range from 1/64 to 2^17, which is a day and a half
/// in seconds.
const LOWEST: f64 = -6.0;

/// The time at which a bin begins. The first bin begins at zero.
fn edge(bin: usize) -> f64 {
    if bin == 0 { 0.0 } else { (LOWEST + bin as f64 / BINS_PER_OCTAVE).exp2() }
}

fn middle(bin: usize) -> f64 {
    (edge(bin) + edge(bin + 1)) / 2.0
}

/// The bin of a time. The outermost bins contain the times beyond them too.
fn bin(time: f64) -> usize {
    // `as` saturates, and converts NaN to 0.
    (((time.log2() - LOWEST) * BINS_PER_OCTAVE) as usize).min(BINS - 1)
}

impl fmt::Debug for Histogram {
    /// Leaves out the weights.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Histogram({:.0} jobs)", self.total())
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self(Box::new([0.0; BINS]))
    }
}

impl From<Vec<f32>> for Histogram {
    fn from(weights: Vec<f32>) -> Self {
        let mut histogram = Self::default();
        for (kept, weight) in histogram.0.iter_mut().zip(weights) {
            *kept = if weight.is_finite() { weight.clamp(0.0, 1e6) } else { 0.0 };
        }
        histogram
    }
}

impl From<Histogram> for Vec<f32> {
    fn from(histogram: Histogram) -> Self {
        histogram.0.to_vec()
    }
}

impl Histogram {
    /// Adds one job that ended between these times. Its weight is spread over the bins in between.
    fn add(&mut self, after: f64, by: f64) {
        for weight in self.0.iter_mut() {
            *weight *= (1.0 - DECAY) as f32;
        }
        let (first, last) = (bin(after), bin(by));
        if first == last || by <= after {
            self.0[last] += 1.0;
            return;
        }
        // In proportion to the weights of the earlier jobs: this job probably ended when they did.
        let part = |bin: usize| {
            let from = if bin == first { after } else { edge(bin) };
            let until = if bin == last { by } else { edge(bin + 1) };
            let overlap = (until - from).max(0.0) / (edge(bin + 1) - edge(bin)).max(1e-9);
            overlap * (f64::from(self.0[bin]) + 0.5)
        };
        let parts: Vec<f64> = (first..=last).map(part).collect();
        let sum: f64 = parts.iter().sum();
        for (weight, part) in self.0[first..=last].iter_mut().zip(parts) {
            *weight += (part / sum) as f32;
        }
    }

    /// How many jobs the weights stand for.
    fn total(&self) -> f64 {
        self.0.iter().copied().map(f64::from).sum()
    }

    fn has_enough_jobs(&self) -> bool {
        self.total() >= MIN_JOBS
    }

    /// The variance of the logarithms, in bins.
    fn variance(&self) -> f64 {
        let total = self.total();
        let mean_of = |quantity: &dyn Fn(f64) -> f64| {
            let weighted =
                self.0.iter().enumerate().map(|(bin, weight)| quantity(bin as f64) * f64::from(*weight));
            weighted.sum::<f64>() / total
        };
        let mean = mean_of(&|bin| bin);
        mean_of(&|bin| (bin - mean).powi(2))
    }

    /// The share of the jobs in each bin. The shares sum to one. They are smoothed over neighbours, because few jobs
    /// say little about a single bin, and none is zero, because a job may end at an age that was never observed.
    fn shares(&self) -> [f64; BINS] {
        const KERNEL: [f64; 3] = [0.25, 0.5, 0.25];
        /// The weight that is spread evenly over all bins, in jobs.
        const BACKGROUND: f64 = 1.0;
        let mut shares = [BACKGROUND / BINS as f64; BINS];
        for (bin, weight) in self.0.iter().enumerate() {
            for (offset, part) in KERNEL.iter().enumerate() {
                let target = (bin + offset).saturating_sub(1).min(BINS - 1);
                shares[target] += f64::from(*weight) * part;
            }
        }
        let total: f64 = shares.iter().sum();
        shares.map(|share| share / total)
    }
}

/// How densely to poll at each age.
///
/// For a given number of polls, the mean delay is smallest if the density of the polls is the square root of the hazard
/// divided by twice the cost of a poll. The hazard is the share of the running jobs that end per second. (J. B. Keller,
/// Optimum checking schedules for systems subject to random failure, 1974.) The cost is chosen so that the mean delay
/// is that of the default policy.
#[derive(Clone, Debug, Default, PartialEq)]
struct Schedule {
    /// By age. `None` if too few jobs are known.
    absolute: Option<Densities>,
    /// By age relative to the length of the job's video. `None` unless it predicts better.
    relative: Option<Densities>,
}

impl Schedule {
    /// `interval` is the interval of the default policy at an age. Both are in seconds.
    fn new(durations: &Durations, interval: impl Fn(f64) -> f64) -> Self {
        let Durations { absolute, relative, .. } = durations;
        let mean = |shares: &[f64; BINS], quantity: &dyn Fn(f64) -> f64| -> f64 {
            shares.iter().enumerate().map(|(bin, share)| share * quantity(middle(bin))).sum()
        };
        let (shares, relative_shares) = (absolute.shares(), relative.shares());
        let delay = mean(&shares, &|age| interval(age) / 2.0);
        // The default policy has no interval for a relative age, so its delay is converted by the mean length.
        let mean_length = mean(&shares, &|age| age) / mean(&relative_shares, &|age| age);
        let relative_is_better = relative.has_enough_jobs() && relative.variance() < absolute.variance();
        Self {
            absolute: absolute.has_enough_jobs().then(|| Densities::new(&shares, delay)),
            relative: relative_is_better.then(|| Densities::new(&relative_shares, delay / mean_length)),
        }
    }

    /// The interval at an age, in seconds. Infinite if no job is expected to end after it. `None` if too little is
    /// known.
    fn interval(&self, age: Duration, video_length: Option<Duration>) -> Option<f64> {
        let age = age.as_secs_f64();
        match (&self.relative, plausible_seconds(video_length)) {
            (Some(relative), Some(length)) => Some(relative.interval(age / length) * length),
            _ => self.absolute.as_ref().map(|absolute| absolute.interval(age)),
        }
    }
}

/// Polls per unit of time, in each bin.
#[derive(Clone, PartialEq)]
struct Densities(Box<[f32; BINS]>);

impl fmt::Debug for Densities {
    /// Leaves out the numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Densities")
    }
}

impl Densities {
    /// The densities with which the mean delay is `delay`, if these shares of the jobs end in each bin.
    fn new(shares: &[f64; BINS], delay: f64) -> Self {
        let mut running = 1.0;
        let mut densities = [0.0; BINS];
        let mut unscaled_delay = 0.0;
        for (bin, share) in shares.iter().enumerate() {
            let width = edge(bin + 1) - edge(bin);
            let alive = (running - share / 2.0_f64).max(1e-9);
            let ending = share / width;
            densities[bin] = (ending / alive).sqrt();
            unscaled_delay += (ending * alive).sqrt() * width / 2.0;
            running -= share;
        }
        Self(Box::new(densities.map(|density| (density * unscaled_delay / delay) as f32)))
    }

    /// The time from this age until the densities sum to one poll.
    fn interval(&self, age: f64) -> f64 {
        let mut at = age;
        let mut polls = 1.0;
        for bin in bin(age)..BINS {
            let density = f64::from(self.0[bin]);
            let span = (edge(bin + 1) - at).max(0.0);
            if density * span >= polls {
                return at + polls / density - age;
            }
            polls -= density * span;
            at += span;
        }
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn interval(policy: &PollPolicy, age: Duration, video_length: Option<Duration>, random: f64) -> Duration {
        let mut context = PollContext::new(Status::Processing, age);
        context.video_length = video_length;
        policy.interval(&context, random)
    }

    /// Jobs that take from two and a quarter to three and three quarter minutes.
    fn three_minutes(video_length: Option<Duration>) -> Durations {
        let mut durations = Durations::default();
        for job in 0..200_u64 {
            let took = secs(135 + job * 90 / 200);
            durations.record(took - secs(1), took + secs(1), video_length);
        }
        durations
    }

    /// How many polls a job takes that ends at this age, and how late its end is noticed.
    fn poll_until(policy: &PollPolicy, end: Duration, video_length: Option<Duration>) -> (u32, Duration) {
        let (mut now, mut polls) = (Duration::ZERO, 1);
        while now < end {
            now += interval(policy, now, video_length, 0.5);
            polls += 1;
        }
        (polls, now - end)
    }

    #[test]
    fn most_polls_are_at_the_ages_at_which_jobs_end() {
        let (default, learned) = (PollPolicy::default(), three_minutes(None).poll_policy());
        let first = interval(&learned, secs(0), None, 0.5);
        assert!((secs(60)..secs(150)).contains(&first), "{first:?}");
        for end in [140, 180, 220] {
            let ((few, late), (many, _)) =
                (poll_until(&learned, secs(end), None), poll_until(&default, secs(end), None));
            assert!(few * 2 < many && late < secs(20), "{few} of {many} polls, {late:?} late");
        }
    }

    #[test]
    fn with_too_few_jobs_it_is_the_default_policy() {
        let default = PollPolicy::default();
        let mut durations = Durations::default();
        for _ in 0..10 {
            durations.record(secs(100), secs(110), None);
        }
        let learned = durations.poll_policy();
        for age in [0, 10, 100, 1000] {
            assert_eq!(
                interval(&learned, secs(age), None, 0.3),
                interval(&default, secs(age), None, 0.3),
                "at {age} s"
            );
        }
    }

    #[test]
    fn with_enough_jobs_of_known_length_only_others_are_polled_by_default() {
        let relative = Histogram::from(vec![1.0; BINS]);
        let learned = Durations { count: 0, absolute: Histogram::default(), relative }.poll_policy();
        let default = PollPolicy::default();
        assert_eq!(interval(&learned, secs(200), None, 0.5), interval(&default, secs(200), None, 0.5));
    }

    #[test]
    fn wrong_data_delays_no_job_by_more_than_the_longest_interval() {
        // The recorded jobs took a day, and now jobs take a minute.
        let mut durations = Durations::default();
        for _ in 0..500 {
            durations.record(secs(86_000), secs(86_400), None);
        }
        let (_, late) = poll_until(&durations.poll_policy(), secs(60), None);
        assert!(late <= secs(300), "{late:?}");
        // The policy adapts.
        for _ in 0..300 {
            durations.record(secs(0), secs(300), None);
        }
        let (_, late) = poll_until(&durations.poll_policy(), secs(60), None);
        assert!(late <= secs(60), "{late:?}");
    }

    #[test]
    fn the_length_of_the_video_is_used_if_it_predicts_better() {
        let mut durations = Durations::default();
        for job in 0..200_u64 {
            // Ten times the length, which varies much.
            let length = secs(10 + job * job % 97);
            durations.record(length * 10, length * 10 + secs(1), Some(length));
        }
        let learned = durations.poll_policy();
        let short = poll_until(&learned, secs(205), Some(secs(20)));
        let long = poll_until(&learned, secs(1005), Some(secs(100)));
        assert!(short.0 <= 6 && long.0 <= 10, "{short:?} {long:?}");
        // An implausible length is treated as unknown.
        let unknown = interval(&learned, secs(100), None, 0.5);
        for implausible in [Duration::ZERO, Duration::MAX] {
            assert_eq!(interval(&learned, secs(100), Some(implausible), 0.5), unknown);
        }
    }

    #[test]
    fn it_can_be_stored_and_loaded_values_are_brought_into_range() {
        let durations = three_minutes(Some(secs(8)));
        let stored = serde_json::to_string(&durations).unwrap();
        assert_eq!(serde_json::from_str::<Durations>(&stored).unwrap(), durations);
        for other in ["{}", r#"{"absolute":[],"relative":[1e38,-5,0.0]}"#, r#"{"count":3,"new":1}"#] {
            let loaded: Durations = serde_json::from_str(other).unwrap();
            let _ = interval(&loaded.poll_policy(), secs(100), Some(secs(1)), 0.5);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: proptest::test_runner::RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn every_interval_is_within_its_bounds(
            weights in proptest::collection::vec(any::<f32>(), 0..400),
            jobs in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<Option<u64>>()), 0..50),
            age in any::<u64>(),
            length in any::<Option<u64>>(),
            random in 0.0..=1.0_f64,
        ) {
            let mut durations = Durations {
                count: u64::MAX, absolute: weights.clone().into(), relative: weights.into(),
            };
            for (after, by, length) in jobs {
                let length = length.map(Duration::from_nanos);
                durations.record(Duration::from_millis(after), Duration::from_micros(by), length);
            }
            let policy = durations.poll_policy();
            let age = Duration::from_millis(age);
            let interval = interval(&policy, age, length.map(Duration::from_millis), random);
            prop_assert!((secs(3)..=secs(300)).contains(&interval), "{:?}", interval);
        }
    }
}
