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

fn agenda(jobs: &[&str], now: Duration) -> Agenda {
    let mut agenda = Agenda::default();
    let policy = Arc::new(PollPolicy::fixed(secs(10)));
    for job in jobs {
        assert!(agenda.insert((*job).into(), policy.clone(), Some(secs(3600)), now));
    }
    agenda
}

fn look(agenda: &mut Agenda, now: Duration) -> Look {
    match agenda.turn(now, Duration::ZERO) {
        Turn::Look(look) => look,
        other => panic!("{other:?}"),
    }
}

/// The ids at whose turn it is now, each seen processing at once.
fn round(agenda: &mut Agenda, now: Duration) -> Vec<String> {
    let mut jobs = Vec::new();
    while let Turn::Look(look) = agenda.turn(now, Duration::ZERO) {
        jobs.push(look.job.to_string());
        let seen = Ok(snapshot(&look.job.clone(), Status::Processing));
        agenda.observe(look, &Pace::default(), now, seen);
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
    let mut agenda = agenda(&["c"], secs(0));
    let policy = Arc::new(PollPolicy::fixed(secs(10)));
    agenda.insert("b".into(), policy.clone(), None, secs(1));
    agenda.insert("a".into(), policy, None, secs(2));
    assert_eq!(round(&mut agenda, secs(5)), ["c", "b", "a"]);
}

#[test]
fn a_job_is_waited_for_once() {
    let mut agenda = agenda(&["a"], secs(0));
    assert!(!agenda.insert("a".into(), Arc::default(), None, secs(1)));
    assert_eq!((agenda.len(), round(&mut agenda, secs(1)).len()), (1, 1));
}

#[test]
fn what_a_look_at_a_removed_job_sees_is_dropped_also_when_it_is_back() {
    let mut agenda = agenda(&["a"], secs(0));
    let old = look(&mut agenda, secs(0));
    assert!(agenda.remove(&"a".into()) && !agenda.remove(&"a".into()));
    assert!(matches!(agenda.turn(secs(0), Duration::ZERO), Turn::Nobody));
    agenda.insert("a".into(), Arc::default(), None, secs(1));
    let seen = Ok(snapshot(&"a".into(), Status::Completed));
    assert!(agenda.observe(old.clone(), &Pace::default(), secs(1), seen.clone()).is_none());
    agenda.put_back(old);
    let new = look(&mut agenda, secs(1));
    let (_, end) = agenda.observe(new, &Pace::default(), secs(1), seen).unwrap();
    assert!(matches!(end, Some(Event::Ended(Ok(_)))) && agenda.len() == 0 && agenda.later.is_empty());
}

#[test]
fn a_pause_holds_all_but_a_last_look_and_keeps_their_order() {
    let mut agenda = agenda(&["b"], secs(0));
    agenda.insert("a".into(), Arc::default(), None, secs(1));
    agenda.insert("last".into(), Arc::default(), Some(secs(20)), secs(1));
    let Turn::NotBefore(at) = agenda.turn(secs(5), secs(30)) else { panic!() };
    assert_eq!(at, secs(21));
    let Turn::Look(last) = agenda.turn(secs(21), secs(30)) else { panic!() };
    assert_eq!(last.job.as_str(), "last");
    assert!(matches!(agenda.turn(secs(29), secs(30)), Turn::NotBefore(at) if at == secs(30)));
    assert_eq!(round(&mut agenda, secs(30)), ["b", "a"]);
}

#[test]
fn a_hint_and_the_end_of_a_suspension_make_looks_due() {
    let mut agenda = agenda(&["a", "b"], secs(0));
    round(&mut agenda, secs(0));
    assert!(round(&mut agenda, secs(5)).is_empty());
    assert!(agenda.hint(&"b".into(), secs(5)) && !agenda.hint(&"nobody".into(), secs(5)));
    assert_eq!(round(&mut agenda, secs(5)), ["b"]);
    // "a" is due at 10, "b" after the hint in vain at 8.
    agenda.hurry_all(secs(6), secs(9));
    assert_eq!(round(&mut agenda, secs(6)), ["b"]);
}

#[test]
fn a_hint_during_a_look_is_taken_after_it() {
    let mut agenda = agenda(&["a"], secs(0));
    let under_way = look(&mut agenda, secs(0));
    assert!(agenda.hint(&"a".into(), secs(1)));
    let seen = Ok(snapshot(&"a".into(), Status::Processing));
    agenda.observe(under_way, &Pace::default(), secs(2), seen);
    // Not at 12, but as soon after a look as hints may.
    assert!(matches!(agenda.turn(secs(2), Duration::ZERO), Turn::NotBefore(at) if at == secs(5)));
}

#[test]
fn looks_are_spaced_by_the_rate_and_a_late_timer_is_caught_up() {
    let names: Vec<_> = (0..1000).map(|number| format!("{number:04}")).collect();
    let mut agenda = agenda(&names.iter().map(String::as_str).collect::<Vec<_>>(), secs(0));
    agenda.set_spacing(Some(Duration::from_micros(500)));
    let mut looks = 0;
    for tick in 0..100 {
        // A timer that rings each millisecond, and now and then is late.
        if tick % 10 != 3 {
            looks += round(&mut agenda, tick * MILLI).len();
        }
    }
    assert!((198..=240).contains(&looks), "{looks}");
}

/// A job as the service has it.
#[derive(Clone, Debug)]
struct Truth {
    inserted: Duration,
    ends: Duration,
    fails: bool,
    deadline: Duration,
    /// Of ten looks, how many fail.
    trouble: u8,
}

fn any_truth() -> impl Strategy<Value = Truth> {
    (0..600_u64, 0..900_u64, any::<bool>(), 0..1200_u64, 0..6_u8).prop_map(
        |(inserted, takes, fails, deadline, trouble)| Truth {
            inserted: secs(inserted),
            ends: secs(inserted + takes),
            fails,
            deadline: secs(deadline),
            trouble,
        },
    )
}

proptest! {
    // The same cases on every run.
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(7), cases: 48, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// Jobs are added while it runs, some are removed, the service asks for pauses, looks take time
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
        let mut agenda = Agenda::default();
        agenda.set_spacing(Some(spacing));
        let policy = Arc::new(PollPolicy::default());
        let id = |number: usize| JobId::from(format!("job{number}"));
        let mut ends: BTreeMap<JobId, u32> = BTreeMap::new();
        let mut removed: Vec<JobId> = Vec::new();
        let mut under_way: VecDeque<(Duration, Look)> = VecDeque::new();
        let mut looks: Vec<Duration> = Vec::new();
        let mut now = Duration::ZERO;
        let mut inserted = vec![false; truths.len()];
        let mut turn = 0_u8;
        while inserted.contains(&false) || agenda.len() > 0 {
            prop_assert!(now < secs(20_000), "no end in sight: {} jobs", agenda.len());
            for (number, truth) in truths.iter().enumerate() {
                if truth.inserted <= now && !inserted[number] {
                    inserted[number] = true;
                    prop_assert!(agenda.insert(id(number), policy.clone(), Some(truth.deadline), now));
                    prop_assert!(!agenda.insert(id(number), policy.clone(), None, now));
                }
            }
            for (number, when) in &removals {
                if secs(*when) <= now && agenda.remove(&id(*number)) {
                    removed.push(id(*number));
                }
            }
            while under_way.front().is_some_and(|(ends, _)| *ends <= now) {
                let (_, look) = under_way.pop_front().unwrap();
                let number: usize = look.job.as_str()[3..].parse().unwrap();
                let truth = &truths[number];
                turn = (turn + 1) % 10;
                let seen = if turn < truth.trouble {
                    Err(Error::new(ErrorKind::Unavailable, "x"))
                } else if look.began() < truth.ends {
                    Ok(snapshot(&look.job, Status::Processing))
                } else {
                    Ok(snapshot(&look.job, if truth.fails { Status::Failed } else { Status::Completed }))
                };
                let job = look.job.clone();
                match agenda.observe(look, &Pace::default(), now, seen) {
                    None => prop_assert!(removed.contains(&job)),
                    Some((_, None)) => prop_assert!(!ends.contains_key(&job), "an event after the end"),
                    Some((_, Some(_))) => *ends.entry(job).or_default() += 1,
                }
            }
            let closed = pauses.iter().map(|(from, span)| (secs(*from), secs(from + span)));
            let closed = closed.filter(|(from, _)| *from <= now).map(|(_, until)| until).max().unwrap_or_default();
            while under_way.len() < at_once {
                let due = agenda.jobs.values().filter_map(|entry| Some(entry.place?.due));
                let longest = due.min();
                match agenda.turn(now, closed) {
                    Turn::Look(look) => {
                        let truth = &truths[look.job.as_str()[3..].parse::<usize>().unwrap()];
                        let last = now >= truth.inserted + truth.deadline;
                        prop_assert!(now >= closed || last, "a look in the pause");
                        prop_assert!(now < closed || Some(look.due) <= longest, "one was overtaken");
                        prop_assert!(under_way.iter().all(|(_, other)| other.ticket != look.ticket));
                        looks.push(now);
                        under_way.push_back((now + takes * MILLI, look));
                    }
                    Turn::NotBefore(at) => {
                        prop_assert!(at > now, "it spins");
                        break;
                    }
                    Turn::Nobody => break,
                }
            }
            now += 100 * MILLI;
        }
        for number in 0..truths.len() {
            let (ended, gone) = (ends.get(&id(number)), removed.contains(&id(number)));
            prop_assert_eq!(ended, (!gone).then_some(&1), "job {}", number);
        }
        prop_assert!(agenda.later.is_empty() && agenda.due.is_empty());
        for window in [secs(1), secs(10)] {
            for (first, began) in looks.iter().enumerate() {
                let within = looks[first..].iter().take_while(|look| **look < *began + window).count();
                let most = (window + Rate::TOLERANCE).div_duration_f64(spacing).ceil() + 1.0;
                prop_assert!(within as f64 <= most, "{} looks in {:?}", within, window);
            }
        }
    }
}
