//! The poller's guarantees, for random sequences of polls and for 100,000 jobs in virtual time, without a server.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use akool::{Decision, End, ErrorKind, MAX_RETRY_AFTER, Observation, PollPolicy, PollState, Poller, Status};
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

fn any_running() -> impl Strategy<Value = Observation> {
    let status = prop_oneof![8 => 0..3_i64, 1 => any::<i64>()].prop_map(Status::from);
    (status, proptest::option::of(any_duration()), proptest::option::of(0..=100_u8)).prop_map(
        |(status, age, progress)| match Observation::running(status) {
            Observation::Running { status, video_length, .. } => {
                Observation::Running { status, age, progress, video_length }
            }
            other => other,
        },
    )
}

fn any_observation() -> impl Strategy<Value = Observation> {
    prop_oneof![
        12 => any_running(),
        10 => proptest::option::of(any_duration()).prop_map(failed),
        1 => Just(Observation::Rejected { kind: ErrorKind::UnknownJob }),
        1 => Just(Observation::Completed),
        1 => Just(Observation::Failed),
    ]
}

fn failed(retry_after: Option<Duration>) -> Observation {
    Observation::TransientError { kind: ErrorKind::Unavailable, retry_after }
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

fn config() -> ProptestConfig {
    // The same cases on every run. The fuzz targets explore others.
    ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_poller_keeps_its_guarantees_for_every_sequence_of_polls(
        policy in any_policy(),
        timeout in proptest::option::of(any_duration()),
        seed in any::<u64>(),
        // How late each poll begins, how long it takes, and what it observes.
        polls in proptest::collection::vec((any_duration(), any_duration(), any_observation()), 1..60),
    ) {
        let poller = Poller::new(policy.clone(), timeout);
        let mut state = PollState::new(seed);
        let mut failures = 0;
        for (late, takes, seen) in polls {
            let began = state.next_poll().saturating_add(late);
            let ended = began.saturating_add(takes);
            let pause = match seen {
                Observation::TransientError { retry_after: Some(after), .. } => after.min(MAX_RETRY_AFTER),
                _ => Duration::ZERO,
            };
            let timed_out = timeout.is_some_and(|timeout| ended >= timeout);
            failures = if matches!(seen, Observation::TransientError { .. }) { failures + 1 } else { 0 };
            match poller.observe(&mut state, began, ended, seen) {
                Decision::PollAt(at) => {
                    prop_assert_eq!(at, state.next_poll());
                    prop_assert!(!timed_out, "a poll after the one during which the timeout passed");
                    prop_assert!(at >= ended, "the next poll is due before the last one ended");
                    prop_assert!(at >= ended.saturating_add(pause), "the next poll is due before the Retry-After");
                    prop_assert!(timeout.is_none_or(|timeout| at <= timeout), "the next poll is due after the timeout");
                    let soon = at.saturating_sub(ended) < FLOOR && at != Duration::MAX;
                    prop_assert!(!soon || timeout == Some(at), "the next poll is due too soon");
                    prop_assert!(failures < policy.max_failures(), "the poller continues after too many failures");
                }
                Decision::TimeoutAt(at) => {
                    prop_assert_eq!(Some(at), timeout);
                    prop_assert!(ended.saturating_add(pause) > at, "no last poll, although no pause forbids it");
                    return Ok(());
                }
                Decision::Finished(end) => {
                    match end {
                        End::Completed => prop_assert_eq!(seen, Observation::Completed),
                        End::Failed => prop_assert_eq!(seen, Observation::Failed),
                        End::Rejected => prop_assert_eq!(seen, Observation::Rejected { kind: ErrorKind::UnknownJob }),
                        End::RetriesExhausted => prop_assert_eq!(failures, policy.max_failures()),
                        End::Timeout => prop_assert!(timed_out),
                        other => prop_assert!(false, "{:?}", other),
                    }
                    return Ok(());
                }
            }
            prop_assert_eq!(state.failures(), failures);
        }
    }

    #[test]
    fn a_poller_with_a_timeout_always_ends(
        policy in any_policy(),
        timeout in (0..600_000_u64).prop_map(Duration::from_millis),
        seed in any::<u64>(),
        failures in any::<u64>(),
    ) {
        let poller = Poller::new(policy.with_max_failures(u32::MAX), Some(timeout));
        let mut state = PollState::new(seed);
        let mut now = Duration::ZERO;
        // Every pause is at least the floor, except the one that the timeout cuts short.
        let most = timeout.as_millis() / FLOOR.as_millis() + 3;
        for poll in 0..most {
            let fails = failures >> (poll % 64) & 1 == 1;
            let seen = if fails { failed(None) } else { Observation::running(Status::Processing) };
            match poller.observe(&mut state, now, now, seen) {
                Decision::PollAt(at) => now = at,
                decision => {
                    prop_assert_eq!(decision, Decision::Finished(End::Timeout));
                    prop_assert_eq!(now, timeout, "the last poll is made at the timeout");
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "no end after {} polls", most);
    }

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
        let poller = Poller::new(policy.with_min_trigger_gap(gap), timeout);
        let mut state = PollState::new(seed);
        for (takes, seen, triggers) in polls {
            let began = state.next_poll();
            let ended = began.saturating_add(takes);
            if !matches!(poller.observe(&mut state, began, ended, seen), Decision::PollAt(_)) {
                return Ok(());
            }
            for trigger in triggers {
                let (now, before) = (ended.saturating_add(trigger), state.next_poll());
                let at = poller.poll_now(&mut state, now);
                prop_assert_eq!(at, state.next_poll());
                prop_assert!(at <= before, "a trigger delayed the next poll");
                let gap = gap.max(FLOOR);
                prop_assert!(at == before || at >= now.max(ended.saturating_add(gap)), "too soon after a poll");
                let failed = matches!(seen, Observation::TransientError { .. });
                prop_assert!(at == before || !failed, "a trigger shortened the pause after a failed poll");
            }
        }
    }

    #[test]
    fn a_state_that_was_stored_makes_the_same_decisions(
        policy in any_policy(),
        timeout in proptest::option::of(any_duration()),
        seed in any::<u64>(),
        polls in proptest::collection::vec((any_duration(), any_observation(), any::<bool>()), 1..60),
    ) {
        let poller = Poller::new(policy, timeout);
        let mut kept = PollState::new(seed);
        let mut stored = kept.clone();
        for (takes, seen, trigger) in polls {
            stored = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
            prop_assert_eq!(&stored, &kept);
            let began = kept.next_poll();
            let ended = began.saturating_add(takes);
            let decision = poller.observe(&mut kept, began, ended, seen);
            prop_assert_eq!(poller.observe(&mut stored, began, ended, seen), decision);
            if trigger {
                prop_assert_eq!(poller.poll_now(&mut stored, ended), poller.poll_now(&mut kept, ended));
            }
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
    let (poller, mut state) = (Poller::new(policy, None), PollState::new(7));
    let (mut now, mut polls, mut next_trigger) = (Duration::ZERO, 0, 0);
    loop {
        polls += 1;
        let seen = match now {
            now if now < Duration::from_secs(10) => Observation::running(Status::Queueing),
            now if now < length => Observation::running(Status::Processing),
            _ => Observation::Completed,
        };
        let Decision::PollAt(mut due) = poller.observe(&mut state, now, now, seen) else {
            return (polls, now - length);
        };
        while let Some(trigger) = triggers(next_trigger).filter(|trigger| *trigger < due) {
            next_trigger += 1;
            due = poller.poll_now(&mut state, trigger.max(now));
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
    state: PollState,
    queued: Duration,
    ends: Duration,
    fails: bool,
    /// The start and end of an outage of the service for this job.
    outage: (Duration, Duration),
}

impl Job {
    fn at(&self, now: Duration) -> Observation {
        match now {
            now if now < self.queued => Observation::running(Status::Queueing),
            now if now < self.ends => Observation::running(Status::Processing),
            _ if self.fails => Observation::Failed,
            _ => Observation::Completed,
        }
    }
}

#[test]
fn each_of_100_000_jobs_ends_exactly_once() {
    let _quiet = akool_tests::QUIET.blocking_lock();
    const JOBS: usize = 100_000;
    const TIMEOUT: Duration = Duration::from_secs(3600);
    let poller = Poller::new(PollPolicy::default(), Some(TIMEOUT));
    let mut random = Random(7);
    let mut jobs: Vec<Job> = (0..JOBS)
        .map(|number| {
            let queued = Duration::from_secs(random.below(60));
            // Most jobs take minutes; one in twenty takes up to two hours.
            let range = if number % 20 == 0 { 7200 } else { 600 };
            let outage = Duration::from_secs(random.below(1200));
            Job {
                state: PollState::new(number as u64),
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
            failed(retry_after)
        } else if random.below(50) == 0 {
            Observation::running(Status::Unknown(7))
        } else {
            job.at(began)
        };
        let (when, end) = match poller.observe(&mut job.state, began, ended, seen) {
            Decision::PollAt(at) => {
                assert!(at >= ended && at <= TIMEOUT);
                scheduler.push(Reverse((at, number)));
                continue;
            }
            Decision::TimeoutAt(at) => (at, End::Timeout),
            Decision::Finished(end) => (began, end),
        };
        assert_eq!(ends.insert(number, (when, end)), None, "job {number} was reported twice");
        *counts.entry(format!("{end:?}")).or_default() += 1;
    }

    assert_eq!(ends.len(), JOBS, "jobs were lost");
    for (number, (when, end)) in &ends {
        let job = &jobs[*number];
        match end {
            End::Completed => assert_eq!(job.at(*when), Observation::Completed),
            End::Failed => assert_eq!(job.at(*when), Observation::Failed),
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
