//! How long jobs took so far, and when it pays to poll the next one: [`Durations`].

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Snapshot;

/// How long jobs took, to be learned from: [`PollPolicy::with_durations`] polls most often when most
/// jobs end, and saves the polls before.
///
/// It keeps two histograms, of durations and of durations relative to the length of the video, where
/// the answers tell it; what spreads less is used. Old jobs are forgotten slowly (the last 500
/// count), and its size is fixed: about 3 KiB. It can be saved and loaded with serde; what is loaded
/// is brought into range, so that wrong data cost polls or, at worst, the bound of
/// [`PollPolicy::with_durations`] in delay.
///
/// ```no_run
/// # async fn example(client: akool::Client) {
/// use akool::{Durations, Event, PollPolicy, WaitError};
///
/// let mut durations = Durations::default(); // or loaded
/// let mut waits = client.wait_set();
/// waits.extend(["64dd92c1f0b6684651e90e09", "64dd92c1f0b6684651e90e0a"]);
/// while let Some((_, event)) = waits.next().await {
///     let told_something = match &event {
///         Event::Ended(Ok(translation)) => durations.record(translation.snapshot()),
///         Event::Ended(Err(WaitError::JobFailed(job))) => durations.record(&job.snapshot),
///         _ => false,
///     };
///     if told_something && durations.count() % 20 == 0 {
///         // For the jobs that are inserted from now on.
///         waits.set_policy(PollPolicy::default().with_durations(&durations));
///     }
/// }
/// # }
/// ```
///
/// [`PollPolicy::with_durations`]: crate::PollPolicy::with_durations
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Durations {
    /// How many were ever recorded.
    count: u64,
    /// In seconds.
    absolute: Histogram,
    /// In lengths of the video.
    relative: Histogram,
}

/// Fewer jobs than this say nothing.
const MIN_SAMPLES: f64 = 20.0;
/// How much of the past one more job makes forgotten.
const FORGOTTEN: f64 = 1.0 / 500.0;

impl Durations {
    /// Takes in a job that has ended, completed or failed. `false`, and nothing changes, where its
    /// end is not known to lie between two polls: see [`Snapshot::ended_between`].
    pub fn record(&mut self, ended: &Snapshot) -> bool {
        let Some((after, by)) = ended.ended_between() else {
            return false;
        };
        self.record_between(after, by, ended.video_length());
        true
    }

    /// Takes in a job that ended between these ages, whose video is this long, where that is known.
    pub fn record_between(&mut self, after: Duration, by: Duration, video_length: Option<Duration>) {
        let (after, by) = (after.min(by).as_secs_f64(), by.as_secs_f64());
        self.count = self.count.saturating_add(1);
        self.absolute.add(after, by);
        if let Some(length) = usable(video_length) {
            self.relative.add(after / length, by / length);
        }
    }

    /// How many jobs were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// The length of a video in seconds, where it is one that durations can be held against.
fn usable(length: Option<Duration>) -> Option<f64> {
    length.map(|length| length.as_secs_f64()).filter(|length| (0.1..1e6).contains(length))
}

/// Weights by the logarithm of a time: 8 bins an octave.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<f32>", into = "Vec<f32>")]
struct Histogram(Box<[f32; BINS]>);

const BINS: usize = 184;
const PER_OCTAVE: f64 = 8.0;
/// The binary logarithm of where the bins begin: from 1/64 to 2^17, which is a day and a half in seconds.
const LOWEST: f64 = -6.0;

/// Where a bin begins. The first reaches down to zero.
fn edge(bin: usize) -> f64 {
    if bin == 0 { 0.0 } else { (LOWEST + bin as f64 / PER_OCTAVE).exp2() }
}

/// The bin of a time; the outermost take what is beyond them.
fn bin(time: f64) -> usize {
    // `as` saturates, and makes 0 of what is no number.
    (((time.log2() - LOWEST) * PER_OCTAVE) as usize).min(BINS - 1)
}

impl fmt::Debug for Histogram {
    /// Without the numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Histogram(of {:.0})", self.total())
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
    /// Adds one job, spread over the time in which it may have ended.
    fn add(&mut self, after: f64, by: f64) {
        for weight in self.0.iter_mut() {
            *weight *= (1.0 - FORGOTTEN) as f32;
        }
        let (first, last) = (bin(after), bin(by));
        if first == last || by <= after {
            self.0[last] += 1.0;
            return;
        }
        // Within that, as those before it were spread, as far as it is known.
        let part = |bin: usize| {
            let from = if bin == first { after } else { edge(bin) };
            let until = if bin == last { by } else { edge(bin + 1) };
            let share = (until - from).max(0.0) / (edge(bin + 1) - edge(bin)).max(1e-9);
            share * (f64::from(self.0[bin]) + 0.5)
        };
        let parts: Vec<f64> = (first..=last).map(part).collect();
        let sum: f64 = parts.iter().sum();
        for (weight, part) in self.0[first..=last].iter_mut().zip(parts) {
            *weight += (part / sum) as f32;
        }
    }

    fn total(&self) -> f64 {
        self.0.iter().copied().map(f64::from).sum()
    }

    /// The variance of the logarithms, in bins.
    fn spread(&self) -> f64 {
        let total = self.total();
        let mean_of = |of: &dyn Fn(f64) -> f64| {
            let sum: f64 =
                self.0.iter().enumerate().map(|(bin, weight)| of(bin as f64) * f64::from(*weight)).sum();
            sum / total
        };
        let mean = mean_of(&|bin| bin);
        mean_of(&|bin| (bin - mean).powi(2))
    }

    /// Shares that sum up to one: smoothed over neighbours, since few jobs say little of one bin, and
    /// with a little everywhere, since what was never seen may still come.
    fn shares(&self) -> [f64; BINS] {
        const KERNEL: [f64; 3] = [0.25, 0.5, 0.25];
        /// As much as one job.
        const EVERYWHERE: f64 = 1.0;
        let mut shares = [EVERYWHERE / BINS as f64; BINS];
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

/// How densely to poll which age: the way of [`Durations`] into a policy.
///
/// The polls that notice an end soonest for their number are as dense as the square root of the
/// hazard, which is the share of the jobs still running that end per second, over twice the
/// cost of a poll (Keller 1974). The cost is set so that the delay is on average what it would be
/// with the policy's own intervals.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outlook {
    absolute: Option<Densities>,
    /// Used where the length of the job's video is known.
    relative: Option<Densities>,
}

/// Polls per unit of time, in each bin.
#[derive(Clone, PartialEq)]
struct Densities(Box<[f32; BINS]>);

impl fmt::Debug for Densities {
    /// Without the numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Densities")
    }
}

impl Outlook {
    /// `interval` says how long the policy would pause at an age, in seconds.
    pub(crate) fn new(durations: &Durations, interval: impl Fn(f64) -> f64) -> Self {
        let Durations { absolute, relative, .. } = durations;
        let enough = |histogram: &Histogram| histogram.total() >= MIN_SAMPLES;
        // Relative times have no interval of their own: theirs is as long, on average.
        let mean = |shares: &[f64; BINS], of: &dyn Fn(f64) -> f64| -> f64 {
            shares.iter().enumerate().map(|(bin, share)| share * of(middle(bin))).sum()
        };
        let shares = absolute.shares();
        let delay = mean(&shares, &|age| interval(age) / 2.0);
        let lengths = mean(&shares, &|age| age) / mean(&relative.shares(), &|age| age);
        let better = enough(relative) && relative.spread() < absolute.spread();
        Self {
            absolute: enough(absolute).then(|| Densities::new(&shares, delay)),
            relative: better.then(|| Densities::new(&relative.shares(), delay / lengths)),
        }
    }

    /// How long to pause at an age, in seconds, so that `polls` polls fall into the pause (one, give or take
    /// some jitter); infinity where no job is expected to end any more. `None` where nothing is known.
    pub(crate) fn pause(&self, age: Duration, video_length: Option<Duration>, polls: f64) -> Option<f64> {
        let age = age.as_secs_f64();
        match (&self.relative, usable(video_length), &self.absolute) {
            (Some(relative), Some(length), _) => Some(relative.pause(age / length, polls) * length),
            (_, _, absolute) => absolute.as_ref().map(|absolute| absolute.pause(age, polls)),
        }
    }
}

fn middle(bin: usize) -> f64 {
    (edge(bin) + edge(bin + 1)) / 2.0
}

impl Densities {
    /// The densities with which ends that are distributed like this are noticed after `delay` on average.
    fn new(shares: &[f64; BINS], delay: f64) -> Self {
        let mut running = 1.0;
        let mut densities = [0.0; BINS];
        let mut delay_at_one = 0.0;
        for (bin, share) in shares.iter().enumerate() {
            let width = edge(bin + 1) - edge(bin);
            let alive = (running - share / 2.0_f64).max(1e-9);
            let ending = share / width;
            densities[bin] = (ending / alive).sqrt();
            delay_at_one += (ending * alive).sqrt() * width / 2.0;
            running -= share;
        }
        Self(Box::new(densities.map(|density| (density * delay_at_one / delay) as f32)))
    }

    fn pause(&self, age: f64, mut polls: f64) -> f64 {
        let mut at = age;
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
    use crate::PollPolicy;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// Jobs that take three minutes, give or take a quarter.
    fn three_minutes(video_length: Option<Duration>) -> Durations {
        let mut durations = Durations::default();
        for job in 0..200_u64 {
            let took = secs(135 + job * 90 / 200);
            durations.record_between(took - secs(1), took + secs(1), video_length);
        }
        durations
    }

    /// How many polls a job that ends at this age, and how much later that is noticed.
    fn watch(policy: &PollPolicy, ends: Duration, video_length: Option<Duration>) -> (u32, Duration) {
        let (mut now, mut polls) = (Duration::ZERO, 1);
        while now < ends {
            now += policy.interval(now, video_length, 0.5);
            polls += 1;
        }
        (polls, now - ends)
    }

    #[test]
    fn polls_gather_where_jobs_end() {
        let plain = PollPolicy::default();
        let learned = plain.clone().with_durations(&three_minutes(None));
        let first = learned.interval(secs(0), None, 0.5);
        assert!((secs(60)..secs(150)).contains(&first), "{first:?}");
        for ends in [140, 180, 220] {
            let ((few, late), (many, _)) =
                (watch(&learned, secs(ends), None), watch(&plain, secs(ends), None));
            assert!(few * 2 < many && late < secs(20), "{few} of {many} polls, {late:?} late");
        }
    }

    #[test]
    fn without_enough_data_nothing_changes() {
        let plain = PollPolicy::default();
        let mut durations = Durations::default();
        for _ in 0..10 {
            durations.record_between(secs(100), secs(110), None);
        }
        let learned = plain.clone().with_durations(&durations);
        for age in [0, 10, 100, 1000] {
            assert_eq!(learned.interval(secs(age), None, 0.3), plain.interval(secs(age), None, 0.3));
        }
    }

    #[test]
    fn wrong_data_cost_no_more_than_the_bound() {
        // Learned from jobs of a day, and now they take a minute.
        let mut durations = Durations::default();
        for _ in 0..500 {
            durations.record_between(secs(86_000), secs(86_400), None);
        }
        let learned = PollPolicy::default().with_durations(&durations);
        let (_, late) = watch(&learned, secs(60), None);
        assert!(late <= secs(300), "{late:?}");
        // It comes round.
        for _ in 0..300 {
            durations.record_between(secs(0), secs(300), None);
        }
        let (_, late) = watch(&PollPolicy::default().with_durations(&durations), secs(60), None);
        assert!(late <= secs(60), "{late:?}");
    }

    #[test]
    fn the_length_of_the_video_is_used_where_it_tells_more() {
        let mut durations = Durations::default();
        for job in 0..200_u64 {
            // Ten times its length, which varies much.
            let length = secs(10 + job * job % 97);
            durations.record_between(length * 10, length * 10 + secs(1), Some(length));
        }
        let learned = PollPolicy::default().with_durations(&durations);
        let short = watch(&learned, secs(205), Some(secs(20)));
        let long = watch(&learned, secs(1005), Some(secs(100)));
        assert!(short.0 <= 6 && long.0 <= 10, "{short:?} {long:?}");
        // Nonsense in place of a length is none.
        let unknown = learned.interval(secs(100), None, 0.5);
        for nonsense in [Duration::ZERO, Duration::MAX] {
            assert_eq!(learned.interval(secs(100), Some(nonsense), 0.5), unknown);
        }
    }

    #[test]
    fn it_survives_saving_and_what_is_loaded_is_brought_into_range() {
        let durations = three_minutes(Some(secs(8)));
        let saved = serde_json::to_string(&durations).unwrap();
        assert_eq!(serde_json::from_str::<Durations>(&saved).unwrap(), durations);
        for other in ["{}", r#"{"absolute":[],"relative":[1e38,-5,0.0]}"#, r#"{"count":3,"new":1}"#] {
            let loaded: Durations = serde_json::from_str(other).unwrap();
            let _ = PollPolicy::default().with_durations(&loaded).interval(secs(100), Some(secs(1)), 0.5);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: proptest::test_runner::RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn whatever_was_learned_a_pause_keeps_its_bounds(
            weights in proptest::collection::vec(any::<f32>(), 0..400),
            jobs in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<Option<u64>>()), 0..50),
            age in any::<u64>(),
            length in any::<Option<u64>>(),
            random in 0.0..1.0_f64,
        ) {
            let mut durations = Durations {
                count: u64::MAX, absolute: weights.clone().into(), relative: weights.into(),
            };
            for (after, by, length) in jobs {
                let length = length.map(Duration::from_nanos);
                durations.record_between(Duration::from_millis(after), Duration::from_micros(by), length);
            }
            let policy = PollPolicy::default().with_durations(&durations);
            let pause = policy.interval(Duration::from_millis(age), length.map(Duration::from_millis), random);
            prop_assert!((secs(3)..=secs(300)).contains(&pause), "{:?}", pause);
        }
    }
}
