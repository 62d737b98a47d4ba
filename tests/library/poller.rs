//! The poller's promises, against any sequence of looks and times, and for a hundred thousand jobs
//! in virtual time. No server, no sleep.

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
        |(min, max, growth, jitter, budget)| {
            PollPolicy::default()
                .with_min_interval(min)
                .with_max_interval(max)
                .with_growth(growth)
                .with_jitter(jitter)
                .with_failure_budget(budget % 20)
        },
    )
}

proptest! {
    // The same cases on every run: what explores is the fuzz targets.
    #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn it_keeps_its_promises_against_anything(
        policy in any_policy(),
        deadline in proptest::option::of(any_duration()),
        seed in any::<u64>(),
        // How long each look takes, how late it begins, and what it sees.
        looks in proptest::collection::vec((any_duration(), any_duration(), any_observation()), 1..60),
    ) {
        let mut poller = Poller::new(policy.clone(), deadline, seed);
        let mut due = Duration::ZERO;
        let mut end = None;
        let mut failures = 0;
        for (late, takes, seen) in looks {
            let began = due.saturating_add(late);
            let ended = began.saturating_add(takes);
            let decision = poller.observe(began, ended, seen);
            if let Some(end) = end {
                prop_assert_eq!(decision, Decision::Finished(end), "it ended twice, or differently");
                continue;
            }
            failures = if matches!(seen, Observation::Trouble { .. }) { failures + 1 } else { 0 };
            match decision {
                Decision::LookAt(at) => {
                    prop_assert!(at >= ended, "a look before the last one ended");
                    let cut = deadline.is_some_and(|deadline| at == deadline.max(ended));
                    prop_assert!(cut || at.saturating_sub(ended) >= FLOOR || at == Duration::MAX, "it spins");
                    prop_assert!(deadline.is_none_or(|deadline| at <= deadline.max(ended)), "past the deadline");
                    if let Observation::Trouble { retry_after: Some(after) } = seen {
                        let honoured = at.saturating_sub(ended) >= after.min(Duration::from_secs(900));
                        prop_assert!(cut || honoured || at == Duration::MAX, "sooner than it was asked for");
                    }
                    prop_assert!(failures < policy.failure_budget(), "the budget is spent");
                    due = at;
                }
                Decision::Finished(how) => {
                    match how {
                        End::Completed => {
                            let completed = matches!(seen, Observation::Status { status: Status::Completed, .. });
                            prop_assert!(completed, "completed without having been seen so");
                        }
                        End::Failed => {
                            let failed = matches!(seen, Observation::Status { status: Status::Failed, .. });
                            prop_assert!(failed, "failed without having been seen so");
                        }
                        End::Rejected => prop_assert_eq!(seen, Observation::Rejected),
                        End::FailuresExhausted => prop_assert_eq!(failures, policy.failure_budget()),
                        End::DeadlinePassed => prop_assert!(deadline.is_some_and(|deadline| ended >= deadline)),
                        other => prop_assert!(false, "{:?}", other),
                    }
                    end = Some(how);
                }
            }
        }
    }

    #[test]
    fn with_a_deadline_it_always_ends(
        policy in any_policy(),
        deadline in (0..600_000_u64).prop_map(Duration::from_millis),
        seed in any::<u64>(),
        troubles in any::<u64>(),
    ) {
        let mut poller = Poller::new(policy.with_failure_budget(u32::MAX), Some(deadline), seed);
        let mut now = Duration::ZERO;
        // No pause is shorter than the floor, but for the one that the deadline cuts short.
        let most = deadline.as_millis() / FLOOR.as_millis() + 3;
        for look in 0..most {
            let seen = if troubles >> (look % 64) & 1 == 1 {
                Observation::Trouble { retry_after: None }
            } else {
                Observation::Status { status: Status::Processing, age: None, video_length: None }
            };
            match poller.observe(now, now, seen) {
                Decision::LookAt(at) => now = at,
                Decision::Finished(end) => {
                    prop_assert_eq!(end, End::DeadlinePassed);
                    prop_assert_eq!(now, deadline, "the last look is made at the deadline");
                    return Ok(());
                }
            }
        }
        prop_assert!(false, "no end after {} looks", most);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn hints_bring_looks_forward_and_do_nothing_else(
        policy in any_policy(),
        gap in any_duration(),
        deadline in proptest::option::of(any_duration()),
        seed in any::<u64>(),
        looks in proptest::collection::vec(
            (any_duration(), any_observation(), proptest::collection::vec(any_duration(), 0..9)),
            1..60,
        ),
    ) {
        let mut poller = Poller::new(policy.with_hint_gap(gap), deadline, seed);
        let mut due = Duration::ZERO;
        for (takes, seen, hints) in looks {
            let ended = due.saturating_add(takes);
            match poller.observe(due, ended, seen) {
                Decision::Finished(end) => {
                    prop_assert_eq!(poller.hint(ended), Decision::Finished(end), "it went on after its end");
                    return Ok(());
                }
                Decision::LookAt(at) => due = at,
            }
            let failures = poller.failures();
            for hint in hints {
                let now = ended.saturating_add(hint);
                let before = due;
                let Decision::LookAt(at) = poller.hint(now) else {
                    return Err(TestCaseError::fail("a hint ended it"));
                };
                prop_assert!(at <= before, "a hint put a look off");
                let gap = gap.max(FLOOR);
                prop_assert!(at == before || at >= now.max(ended.saturating_add(gap)), "too soon after a look");
                let trouble = matches!(seen, Observation::Trouble { .. });
                prop_assert!(at == before || !trouble, "a pause after trouble was cut short");
                due = at;
            }
            prop_assert_eq!(poller.failures(), failures);
        }
    }
}

/// A job of this length under a safety net: how many looks it took, and how late its end was noticed.
fn with_hints(
    length: Duration,
    hints: impl Fn(u32) -> Option<Duration>,
    policy: PollPolicy,
) -> (u32, Duration) {
    let mut poller = Poller::new(policy, None, 7);
    let (mut now, mut looks, mut next_hint) = (Duration::ZERO, 0, 0);
    loop {
        looks += 1;
        let status = match now {
            now if now < Duration::from_secs(10) => Status::Queueing,
            now if now < length => Status::Processing,
            _ => Status::Completed,
        };
        let Decision::LookAt(mut due) =
            poller.observe(now, now, Observation::Status { status, age: None, video_length: None })
        else {
            return (looks, now - length);
        };
        while let Some(hint) = hints(next_hint).filter(|hint| *hint < due) {
            next_hint += 1;
            if let Decision::LookAt(at) = poller.hint(hint.max(now)) {
                due = at;
            }
        }
        now = due;
    }
}

#[test]
fn hints_save_looks_and_lost_or_forged_ones_cost_little() {
    let length = Duration::from_secs(15 * 60);
    let second = Duration::from_secs(1);
    let honest = [second * 11, length + second];
    let honest = |number: u32| honest.get(number as usize).copied();
    let flood = |number: u32| Some(number * Duration::from_millis(200));

    let (without, late) = with_hints(length, |_| None, PollPolicy::default());
    assert!(without >= 45 && late < second * 60, "{without} looks, {late:?} late");
    let (with, late) = with_hints(length, honest, PollPolicy::safety_net());
    assert!(with <= 18 && late <= second, "{with} looks, {late:?} late");
    let (lost, late) = with_hints(length, |_| None, PollPolicy::safety_net());
    assert!(lost <= 16 && late < second * 300, "{lost} looks, {late:?} late");
    let (flooded, late) = with_hints(length, flood, PollPolicy::safety_net());
    assert!(flooded <= without + 10 && late < second * 300, "{flooded} looks, {late:?} late");
}

/// A generator of our own, so that the simulation is the same on every machine.
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
    /// When the service is out for this job, from and until.
    outage: (Duration, Duration),
}

impl Job {
    fn truth(&self, now: Duration) -> Status {
        match now {
            now if now < self.queued => Status::Queueing,
            now if now < self.ends => Status::Processing,
            _ if self.fails => Status::Failed,
            _ => Status::Completed,
        }
    }
}

#[test]
fn of_a_hundred_thousand_jobs_none_is_lost_and_none_reported_twice() {
    let _quiet = akool_tests::QUIET.blocking_lock();
    const JOBS: usize = 100_000;
    const DEADLINE: Duration = Duration::from_secs(3600);
    let mut random = Random(7);
    let mut jobs: Vec<Job> = (0..JOBS)
        .map(|number| {
            let queued = Duration::from_secs(random.below(60));
            // Most take minutes; one in twenty hangs for up to two hours.
            let range = if number % 20 == 0 { 7200 } else { 600 };
            let outage = Duration::from_secs(random.below(1200));
            Job {
                poller: Poller::new(PollPolicy::default(), Some(DEADLINE), number as u64),
                queued,
                ends: queued + Duration::from_secs(1 + random.below(range)),
                fails: random.below(10) == 0,
                outage: (outage, outage + Duration::from_secs(random.below(1200))),
            }
        })
        .collect();

    let mut agenda: BinaryHeap<_> = (0..JOBS).map(|number| Reverse((Duration::ZERO, number))).collect();
    let mut ends: BTreeMap<usize, (Duration, End)> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut looks = 0_u64;
    while let Some(Reverse((began, number))) = agenda.pop() {
        looks += 1;
        let job = &mut jobs[number];
        let ended = began + Duration::from_millis(random.below(2000));
        let (from, until) = job.outage;
        let seen = if (from..until).contains(&began) || random.below(20) == 0 {
            let retry_after = (random.below(5) == 0).then(|| Duration::from_secs(random.below(120)));
            Observation::Trouble { retry_after }
        } else {
            let status = if random.below(50) == 0 { Status::Unknown(7) } else { job.truth(began) };
            Observation::Status { status, age: None, video_length: None }
        };
        match job.poller.observe(began, ended, seen) {
            Decision::LookAt(at) => {
                assert!(at >= ended && at <= DEADLINE.max(ended));
                agenda.push(Reverse((at, number)));
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
            End::Completed => assert_eq!(job.truth(*when), Status::Completed),
            End::Failed => assert_eq!(job.truth(*when), Status::Failed),
            End::DeadlinePassed => assert!(*when >= DEADLINE - Duration::from_secs(2)),
            // Only an outage of about a quarter of an hour ends a wait.
            End::FailuresExhausted => assert!(job.outage.1 - job.outage.0 > Duration::from_secs(700)),
            other => panic!("job {number}: {other:?}"),
        }
    }
    let completed = counts["Completed"] + counts["Failed"];
    assert!(completed > JOBS * 9 / 10, "{counts:?}");
    assert!(looks / (JOBS as u64) < 60, "{looks} looks");
}
