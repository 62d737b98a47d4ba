use std::collections::{BTreeMap, VecDeque};

use akool_client::types::VideoInfoResult;
use proptest::prelude::*;

use super::*;
use crate::{ErrorKind, Status};

const MILLI: Duration = Duration::from_millis(1);

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn snapshot(job: &JobId, status: Status) -> Snapshot {
    let details = VideoInfoResult::builder().video("https://cdn.example/v.mp4".to_owned());
    Snapshot::new(job.clone(), status, VideoInfoResult::try_from(details).unwrap(), vec![])
}

fn scheduler(jobs: &[&str], now: Duration) -> Scheduler {
    let mut scheduler = Scheduler::default();
    let policy = Arc::new(PollPolicy::fixed(secs(10)));
    for job in jobs {
        assert!(scheduler.insert((*job).into(), policy.clone(), Some(secs(3600)), now));
    }
    scheduler
}

fn poll(scheduler: &mut Scheduler, now: Duration) -> PendingPoll {
    match scheduler.turn(now, Duration::ZERO) {
        NextPoll::Poll(poll) => poll,
        other => panic!("{other:?}"),
    }
}

/// The ids at whose turn it is now, each seen processing at once.
fn round(scheduler: &mut Scheduler, now: Duration) -> Vec<String> {
    let mut jobs = Vec::new();
    while let NextPoll::Poll(poll) = scheduler.turn(now, Duration::ZERO) {
        jobs.push(poll.job.to_string());
        let seen = Ok(snapshot(&poll.job.clone(), Status::Processing));
        scheduler.observe(poll, &Throttle::default(), now, seen);
    }
    jobs
}

#[test]
fn a_wait_is_small() {
    // With its id, its place and the slack of the collections: less than 512 bytes.
    let (entry, id) = (size_of::<Entry>(), size_of::<JobId>());
    assert!(entry <= 256 && id == 16, "{entry} bytes, {id} bytes");
}

#[test]
fn the_longest_overdue_is_looked_at_first() {
    let mut scheduler = scheduler(&["c"], secs(0));
    let policy = Arc::new(PollPolicy::fixed(secs(10)));
    scheduler.insert("b".into(), policy.clone(), None, secs(1));
    scheduler.insert("a".into(), policy, None, secs(2));
    assert_eq!(round(&mut scheduler, secs(5)), ["c", "b", "a"]);
}

#[test]
fn a_job_is_waited_for_once() {
    let mut scheduler = scheduler(&["a"], secs(0));
    assert!(!scheduler.insert("a".into(), Arc::default(), None, secs(1)));
    assert_eq!((scheduler.len(), round(&mut scheduler, secs(1)).len()), (1, 1));
}

#[test]
fn what_a_poll_at_a_removed_job_sees_is_dropped_also_when_it_is_back() {
    let mut scheduler = scheduler(&["a"], secs(0));
    let old = poll(&mut scheduler, secs(0));
    assert!(scheduler.remove(&"a".into()) && !scheduler.remove(&"a".into()));
    assert!(matches!(scheduler.turn(secs(0), Duration::ZERO), NextPoll::Nobody));
    scheduler.insert("a".into(), Arc::default(), None, secs(1));
    let seen = Ok(snapshot(&"a".into(), Status::Completed));
    assert!(scheduler.observe(old.clone(), &Throttle::default(), secs(1), seen.clone()).is_none());
    scheduler.put_back(old);
    let new = poll(&mut scheduler, secs(1));
    let (_, end) = scheduler.observe(new, &Throttle::default(), secs(1), seen).unwrap();
    assert!(matches!(end, Some(Event::Ended(Ok(_)))) && scheduler.len() == 0 && scheduler.later.is_empty());
}

#[test]
fn a_pause_holds_all_but_a_last_poll_and_keeps_their_order() {
    let mut scheduler = scheduler(&["b"], secs(0));
    scheduler.insert("a".into(), Arc::default(), None, secs(1));
    scheduler.insert("last".into(), Arc::default(), Some(secs(20)), secs(1));
    let NextPoll::NotBefore(at) = scheduler.turn(secs(5), secs(30)) else { panic!() };
    assert_eq!(at, secs(21));
    let NextPoll::Poll(last) = scheduler.turn(secs(21), secs(30)) else { panic!() };
    assert_eq!(last.job.as_str(), "last");
    assert!(matches!(scheduler.turn(secs(29), secs(30)), NextPoll::NotBefore(at) if at == secs(30)));
    assert_eq!(round(&mut scheduler, secs(30)), ["b", "a"]);
}

#[test]
fn a_hint_and_the_end_of_a_suspension_make_polls_due() {
    let mut scheduler = scheduler(&["a", "b"], secs(0));
    round(&mut scheduler, secs(0));
    assert!(round(&mut scheduler, secs(5)).is_empty());
    assert!(scheduler.trigger(&"b".into(), secs(5)) && !scheduler.trigger(&"nobody".into(), secs(5)));
    assert_eq!(round(&mut scheduler, secs(5)), ["b"]);
    // "a" is due at 10, "b" after the trigger in vain at 8.
    scheduler.hurry_all(secs(6), secs(9));
    assert_eq!(round(&mut scheduler, secs(6)), ["b"]);
}

#[test]
fn a_hint_during_a_poll_is_taken_after_it() {
    let mut scheduler = scheduler(&["a"], secs(0));
    let under_way = poll(&mut scheduler, secs(0));
    assert!(scheduler.trigger(&"a".into(), secs(1)));
    let seen = Ok(snapshot(&"a".into(), Status::Processing));
    scheduler.observe(under_way, &Throttle::default(), secs(2), seen);
    // Not at 12, but as soon after a poll as triggers may.
    assert!(matches!(scheduler.turn(secs(2), Duration::ZERO), NextPoll::NotBefore(at) if at == secs(5)));
}

#[test]
fn polls_are_spaced_by_the_rate_and_a_late_timer_is_caught_up() {
    let names: Vec<_> = (0..1000).map(|number| format!("{number:04}")).collect();
    let mut scheduler = scheduler(&names.iter().map(String::as_str).collect::<Vec<_>>(), secs(0));
    scheduler.set_spacing(Some(Duration::from_micros(500)));
    let mut polls = 0;
    for tick in 0..100 {
        // A timer that rings each millisecond, and now and then is late.
        if tick % 10 != 3 {
            polls += round(&mut scheduler, tick * MILLI).len();
        }
    }
    assert!((198..=240).contains(&polls), "{polls}");
}

/// A job as the service has it.
#[derive(Clone, Debug)]
struct Truth {
    inserted: Duration,
    ends: Duration,
    fails: bool,
    timeout: Duration,
    /// Of ten polls, how many fail.
    trouble: u8,
}

fn any_truth() -> impl Strategy<Value = Truth> {
    (0..600_u64, 0..900_u64, any::<bool>(), 0..1200_u64, 0..6_u8).prop_map(
        |(inserted, takes, fails, timeout, trouble)| Truth {
            inserted: secs(inserted),
            ends: secs(inserted + takes),
            fails,
            timeout: secs(timeout),
            trouble,
        },
    )
}

proptest! {
    // The same cases on every run.
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(7), cases: 48, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// Jobs are added while it runs, some are removed, the service asks for pauses, polls take time
    /// and are bounded: none is lost, none ends twice, the longest overdue is always the next.
    #[test]
    fn no_job_is_lost_doubled_or_starved(
        truths in proptest::collection::vec(any_truth(), 1..60),
        removals in proptest::collection::vec((0..60_usize, 0..900_u64), 0..10),
        pauses in proptest::collection::vec((0..1000_u64, 1..60_u64), 0..4),
        per_second in 1..20_u32,
        at_once in 1..8_usize,
        takes in 1..3000_u32,
    ) {
        let spacing = secs(1) / per_second;
        let mut scheduler = Scheduler::default();
        scheduler.set_spacing(Some(spacing));
        let policy = Arc::new(PollPolicy::default());
        let id = |number: usize| JobId::from(format!("job{number}"));
        let mut ends: BTreeMap<JobId, u32> = BTreeMap::new();
        let mut removed: Vec<JobId> = Vec::new();
        let mut under_way: VecDeque<(Duration, PendingPoll)> = VecDeque::new();
        let mut polls: Vec<Duration> = Vec::new();
        let mut now = Duration::ZERO;
        let mut inserted = vec![false; truths.len()];
        let mut turn = 0_u8;
        while inserted.contains(&false) || scheduler.len() > 0 {
            prop_assert!(now < secs(20_000), "no end in sight: {} jobs", scheduler.len());
            for (number, truth) in truths.iter().enumerate() {
                if truth.inserted <= now && !inserted[number] {
                    inserted[number] = true;
                    prop_assert!(scheduler.insert(id(number), policy.clone(), Some(truth.timeout), now));
                    prop_assert!(!scheduler.insert(id(number), policy.clone(), None, now));
                }
            }
            for (number, when) in &removals {
                if secs(*when) <= now && scheduler.remove(&id(*number)) {
                    removed.push(id(*number));
                }
            }
            while under_way.front().is_some_and(|(ends, _)| *ends <= now) {
                let (_, poll) = under_way.pop_front().unwrap();
                let number: usize = poll.job.as_str()[3..].parse().unwrap();
                let truth = &truths[number];
                turn = (turn + 1) % 10;
                let seen = if turn < truth.trouble {
                    Err(Error::new(ErrorKind::Unavailable, "x"))
                } else if poll.began() < truth.ends {
                    Ok(snapshot(&poll.job, Status::Processing))
                } else {
                    Ok(snapshot(&poll.job, if truth.fails { Status::Failed } else { Status::Completed }))
                };
                let job = poll.job.clone();
                match scheduler.observe(poll, &Throttle::default(), now, seen) {
                    None => prop_assert!(removed.contains(&job)),
                    Some((_, None)) => prop_assert!(!ends.contains_key(&job), "an event after the end"),
                    Some((_, Some(_))) => *ends.entry(job).or_default() += 1,
                }
            }
            let closed = pauses.iter().map(|(from, span)| (secs(*from), secs(from + span)));
            let closed = closed.filter(|(from, _)| *from <= now).map(|(_, until)| until).max().unwrap_or_default();
            while under_way.len() < at_once {
                let due = scheduler.jobs.values().filter_map(|entry| Some(entry.place?.due));
                let longest = due.min();
                match scheduler.turn(now, closed) {
                    NextPoll::Poll(poll) => {
                        let truth = &truths[poll.job.as_str()[3..].parse::<usize>().unwrap()];
                        let last = now >= truth.inserted + truth.timeout;
                        prop_assert!(now >= closed || last, "a poll in the pause");
                        prop_assert!(now < closed || Some(poll.due) <= longest, "one was overtaken");
                        prop_assert!(under_way.iter().all(|(_, other)| other.ticket != poll.ticket));
                        polls.push(now);
                        under_way.push_back((now + takes * MILLI, poll));
                    }
                    NextPoll::NotBefore(at) => {
                        prop_assert!(at > now, "it spins");
                        break;
                    }
                    NextPoll::Nobody => break,
                }
            }
            now += 100 * MILLI;
        }
        for number in 0..truths.len() {
            let (ended, gone) = (ends.get(&id(number)), removed.contains(&id(number)));
            prop_assert_eq!(ended, (!gone).then_some(&1), "job {}", number);
        }
        prop_assert!(scheduler.later.is_empty() && scheduler.due.is_empty());
        for window in [secs(1), secs(10)] {
            for (first, began) in polls.iter().enumerate() {
                let within = polls[first..].iter().take_while(|poll| **poll < *began + window).count();
                let most = (window + Rate::TOLERANCE).div_duration_f64(spacing).ceil() + 1.0;
                prop_assert!(within as f64 <= most, "{} polls in {:?}", within, window);
            }
        }
    }
}
