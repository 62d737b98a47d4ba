//! The poller's guarantees, for random sequences of polls and for 100,000 jobs in virtual time, without a server.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use akool::{
    PollPolicy, Status,
    poller::{Decision, End, Observation, Poller},
};
use proptest::prelude::*;

const FLOOR: Duration = Duration::from_millis(10);

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => (0..7_200_000_u64).prop_map(Duration::from_millis),
        1 => any::<u64>().prop_map(Duration::from_secs),
        1 => Just(Duration::ZERO),
        1 => Just(Duration::MAX),
    ]
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let status = prop_oneof![8 => 0..3_i64, 1 => 3..5_i64, 1 => any::<i64>()].prop_map(Status::from);
    prop_oneof![
        6 => (status, proptest::option::of(any_duration()), proptest::option::of(any_duration()))
            .prop_map(|(status, age, video_length)| Observation::Status { status, age, video_length }),
        5 => proptest::option::of(any_duration()).prop_map(|retry_after| Observation::Trouble { retry_after }),
        1 => Just(Observation::Rejected),
    ]
}

fn any_policy() -> impl Strategy<Value = PollPolicy> {
    let fraction = prop_oneof![0.0..1.0_f64, Just(f64::NAN), Just(f64::INFINITY), any::<f64>()];
    (any_duration(), any_duration(), fraction.clone(), fraction, any::<u32>()).prop_map(
        |(min, max, growth, jitter, failures)| {
            PollPolicy::default()
                .with_min_interval(min)
                .with_max_interval(max)
                .with_growth(growth)
                .with_jitter(jitter)
                .with_max_failures(failures % 20)
        },
    )
}

proptest! {
    // The same cases on every run. The fuzz targets explore others.
    #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn the_poller_keeps_its_guarantees_for_every_sequence_of_polls(
        policy in any_policy(),
        timeout in proptest::option::of(any_duration()),
        seed in any::<u64>(),
        // How late each poll begins, how long it takes, and what it observes.
        polls in proptest::collection::vec((any_duration(), any_duration(), any_observation()), 1..60),
    ) {
        let mut poller = Poller::new(policy.clone(), timeout, seed);
        let mut due = Duration::ZERO;
        let mut end = None;
        let mut failures = 0;
        for (late, takes, seen) in polls {
            let began = due.saturating_add(late);
            let ended = began.saturating_add(takes);
            let decision = poller.observe(began, ended, seen);
            if let Some(end) = end {
                prop_assert_eq!(decision, Decision::Finished(end), "the end changed");
                continue;
            }
            failures = if matches!(seen, Observation::Trouble { .. }) { failures + 1 } else { 0 };
            match decision {
                Decision::PollAt(at) => {
                    prop_assert!(at >= ended, "the next poll is due before the last one ended");
                    let cut = timeout.is_some_and(|timeout| at == timeout.max(ended));
                    prop_assert!(cut || at.saturating_sub(ended) >= FLOOR || at == Duration::MAX, "the next poll is due too soon");
                    prop_assert!(timeout.is_none_or(|timeout| at <= timeout.max(ended)), "the next poll is due after the timeout");
                    if let Observation::Trouble { retry_after: Some(after) } = seen {
                        let honoured = at.saturating_sub(ended) >= after.min(Duration::from_secs(900));
                        prop_assert!(cut || honoured || at == Duration::MAX, "the next poll is due before the Retry-After");
                    }
                    prop_assert!(failures < policy.max_failures(), "the poller continues after too many failures");
                    due = at;
                }
                Decision::Finished(how) => {
                    match how {
                        End::Completed => {
                            let completed = matches!(seen, Observation::Status { status: Status::Completed, .. });
                            prop_assert!(completed, "completed, but the last status was another");
                        }
                        End::Failed => {
                            let failed = matches!(seen, Observation::Status { status: Status::Failed, .. });
                            prop_assert!(failed, "failed, but the last status was another");
                        }
                        End::Rejected => prop_assert_eq!(seen, Observation::Rejected),
                        End::RetriesExhausted => prop_assert_eq!(failures, policy.max_failures()),
                        End::Timeout => prop_assert!(timeout.is_some_and(|timeout| ended >= timeout)),
                        other => prop_assert!(false, "{:?}", other),
                    }
                    end = Some(how);
                }
            }
        }
    }

    #[test]
    fn a_poller_with_a_timeout_always_ends(
        policy in any_policy(),
        timeout in (0..600_000_u64).prop_map(Duration::from_millis),
        seed in any::<u64>(),
        failures in any::<u64>(),
    ) {
        let mut poller = Poller::new(policy.with_max_failures(u32::MAX), Some(timeout), seed);
        let mut now = Duration::ZERO;
        // Every pause is at least the floor, except the one that the timeout cuts short.
        let most = timeout.as_millis() / FLOOR.as_millis() + 3;
        for poll in 0..most {
            let seen = if failures >> (poll % 64) & 1 == 1 {
                Observation::Trouble { retry_after: None }
            } else {
                Observation::Status { status: Status::Processing, age: None, video_length: None }
            };
            match poller.observe(now, now, seen) {
                Decision::PollAt(at) => now = at,
                Decision::Finished(end) => {
                    prop_assert_eq!(end, End::Timeout);
                    prop_assert_eq!(now, timeout, "the last poll is made at the timeout");
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "no end after {} polls", most);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn a_trigger_only_ever_brings_the_next_poll_forward(
        policy in any_policy(),
        gap in any_duration(),
        timeout in proptest::option::of(any_duration()),
        seed in any::<u64>(),
        polls in proptest::collection::vec(
            (any_duration(), any_observation(), proptest::collection::vec(any_duration(), 0..9)),
            1..60,
        ),
    ) {
        let mut poller = Poller::new(policy.with_min_trigger_gap(gap), timeout, seed);
        let mut due = Duration::ZERO;
        for (takes, seen, triggers) in polls {
            let ended = due.saturating_add(takes);
            match poller.observe(due, ended, seen) {
                Decision::Finished(end) => {
                    prop_assert_eq!(poller.trigger(ended), Decision::Finished(end), "a trigger changed the end");
                    return Ok(());
                }
                Decision::PollAt(at) => due = at,
            }
            let failures = poller.failures();
            for trigger in triggers {
                let now = ended.saturating_add(trigger);
                let before = due;
                let Decision::PollAt(at) = poller.trigger(now) else {
                    return Err(TestCaseError::fail("a trigger ended the wait"));
                };
                prop_assert!(at <= before, "a trigger delayed the next poll");
                let gap = gap.max(FLOOR);
                prop_assert!(at == before || at >= now.max(ended.saturating_add(gap)), "too soon after a poll");
                let failed = matches!(seen, Observation::Trouble { .. });
                prop_assert!(at == before || !failed, "a trigger shortened the pause after a failed poll");
                due = at;
            }
            prop_assert_eq!(poller.failures(), failures);
        }
    }
}

/// Polls a job of this length with triggers at these times. Returns the number of polls, and how late its end was
/// noticed.
fn with_triggers(
    length: Duration,
    triggers: impl Fn(u32) -> Option<Duration>,
    policy: PollPolicy,
) -> (u32, Duration) {
    let mut poller = Poller::new(policy, None, 7);
    let (mut now, mut polls, mut next_trigger) = (Duration::ZERO, 0, 0);
    loop {
        polls += 1;
        let status = match now {
            now if now < Duration::from_secs(10) => Status::Queueing,
            now if now < length => Status::Processing,
            _ => Status::Completed,
        };
        let Decision::PollAt(mut due) =
            poller.observe(now, now, Observation::Status { status, age: None, video_length: None })
        else {
            return (polls, now - length);
        };
        while let Some(trigger) = triggers(next_trigger).filter(|trigger| *trigger < due) {
            next_trigger += 1;
            if let Decision::PollAt(at) = poller.trigger(trigger.max(now)) {
                due = at;
            }
        }
        now = due;
    }
}

#[test]
fn triggers_save_polls_and_lost_or_forged_ones_cost_few() {
    let length = Duration::from_secs(15 * 60);
    let second = Duration::from_secs(1);
    let honest = [second * 11, length + second];
    let honest = |number: u32| honest.get(number as usize).copied();
    let flood = |number: u32| Some(number * Duration::from_millis(200));

    let (without, late) = with_triggers(length, |_| None, PollPolicy::default());
    assert!(without >= 45 && late < second * 60, "{without} polls, {late:?} late");
    let (with, late) = with_triggers(length, honest, PollPolicy::safety_net());
    assert!(with <= 18 && late <= second, "{with} polls, {late:?} late");
    let (lost, late) = with_triggers(length, |_| None, PollPolicy::safety_net());
    assert!(lost <= 16 && late < second * 300, "{lost} polls, {late:?} late");
    let (flooded, late) = with_triggers(length, flood, PollPolicy::safety_net());
    assert!(flooded <= without + 10 && late < second * 300, "{flooded} polls, {late:?} late");
}

/// A fixed random generator, so that the simulation is the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

struct Job {
    poller: Poller,
    queued: Duration,
    ends: Duration,
    fails: bool,
    /// The start and end of an outage of the service for this job.
    outage: (Duration, Duration),
}

impl Job {
    fn status_at(&self, now: Duration) -> Status {
        match now {
            now if now < self.queued => Status::Queueing,
            now if now < self.ends => Status::Processing,
            _ if self.fails => Status::Failed,
            _ => Status::Completed,
        }
    }
}

#[test]
fn each_of_100_000_jobs_ends_exactly_once() {
    let _quiet = akool_tests::QUIET.blocking_lock();
    const JOBS: usize = 100_000;
    const TIMEOUT: Duration = Duration::from_secs(3600);
    let mut random = Random(7);
    let mut jobs: Vec<Job> = (0..JOBS)
        .map(|number| {
            let queued = Duration::from_secs(random.below(60));
            // Most jobs take minutes; one in twenty takes up to two hours.
            let range = if number % 20 == 0 { 7200 } else { 600 };
            let outage = Duration::from_secs(random.below(1200));
            Job {
                poller: Poller::new(PollPolicy::default(), Some(TIMEOUT), number as u64),
                queued,
                ends: queued + Duration::from_secs(1 + random.below(range)),
                fails: random.below(10) == 0,
                outage: (outage, outage + Duration::from_secs(random.below(1200))),
            }
        })
        .collect();

    let mut scheduler: BinaryHeap<_> = (0..JOBS).map(|number| Reverse((Duration::ZERO, number))).collect();
    let mut ends: BTreeMap<usize, (Duration, End)> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut polls = 0_u64;
    while let Some(Reverse((began, number))) = scheduler.pop() {
        polls += 1;
        let job = &mut jobs[number];
        let ended = began + Duration::from_millis(random.below(2000));
        let (from, until) = job.outage;
        let seen = if (from..until).contains(&began) || random.below(20) == 0 {
            let retry_after = (random.below(5) == 0).then(|| Duration::from_secs(random.below(120)));
            Observation::Trouble { retry_after }
        } else {
            let status = if random.below(50) == 0 { Status::Unknown(7) } else { job.status_at(began) };
            Observation::Status { status, age: None, video_length: None }
        };
        match job.poller.observe(began, ended, seen) {
            Decision::PollAt(at) => {
                assert!(at >= ended && at <= TIMEOUT.max(ended));
                scheduler.push(Reverse((at, number)));
            }
            Decision::Finished(end) => {
                assert_eq!(ends.insert(number, (began, end)), None, "job {number} was reported twice");
                *counts.entry(format!("{end:?}")).or_default() += 1;
            }
        }
    }

    assert_eq!(ends.len(), JOBS, "jobs were lost");
    for (number, (when, end)) in &ends {
        let job = &jobs[*number];
        match end {
            End::Completed => assert_eq!(job.status_at(*when), Status::Completed),
            End::Failed => assert_eq!(job.status_at(*when), Status::Failed),
            End::Timeout => assert!(*when >= TIMEOUT - Duration::from_secs(2)),
            // Only an outage of about 12 minutes or more exhausts the retries.
            End::RetriesExhausted => assert!(job.outage.1 - job.outage.0 > Duration::from_secs(700)),
            other => panic!("job {number}: {other:?}"),
        }
    }
    let completed = counts["Completed"] + counts["Failed"];
    assert!(completed > JOBS * 9 / 10, "{counts:?}");
    assert!(polls / (JOBS as u64) < 60, "{polls} polls");
}
