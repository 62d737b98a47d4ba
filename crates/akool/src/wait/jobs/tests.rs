use std::collections::BTreeMap;

use akool_client::{BodyEnd, Received, types::GetVideoInfoResponse};
use proptest::prelude::*;

use super::*;
use crate::{kind::ErrorKind, response::Reply, wait::policy::PollPolicy};

const MILLI: Duration = Duration::from_millis(1);

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The result of a poll with this status.
fn polled(job: &JobId, status: i64) -> Result<Snapshot, Error> {
    let body = format!(
        r#"{{"code": 1000, "data": {{"video_status": {status}, "video": "https://cdn.example/v"}}}}"#
    );
    let received = Received::new(reqwest::StatusCode::OK, body, BodyEnd::Complete);
    let response = Reply::<GetVideoInfoResponse>::lenient(&received).into_result()?;
    Snapshot::new(job.clone(), response)
}

fn failed(kind: ErrorKind) -> Result<Snapshot, Error> {
    Err(Error::new(kind, "x"))
}

/// Polls every 10 s.
fn poller(timeout: Option<Duration>) -> Arc<Poller> {
    Arc::new(Poller::new(PollPolicy::fixed(secs(10)), timeout))
}

fn jobs(names: &[&str], now: Duration) -> Jobs {
    let mut jobs = Jobs::default();
    for name in names {
        assert!(jobs.insert((*name).into(), poller(Some(secs(3600))), 0, now));
    }
    jobs
}

fn begin(jobs: &mut Jobs, now: Duration) -> Attempt {
    match jobs.next(now, Pause::NONE, true) {
        Action::Poll(attempt) => attempt,
        Action::Sleep(at) => panic!("sleeps until {at:?}"),
        Action::Report(job, update) => panic!("{job}: {update:?}"),
    }
}

fn sleeps_until(action: Action) -> Duration {
    match action {
        Action::Sleep(at) => at,
        Action::Poll(attempt) => panic!("{attempt:?}"),
        Action::Report(job, update) => panic!("{job}: {update:?}"),
    }
}

/// The jobs that are due now, each polled at once and found processing.
fn round(jobs: &mut Jobs, now: Duration) -> Vec<String> {
    let mut due = Vec::new();
    while let Action::Poll(attempt) = jobs.next(now, Pause::NONE, true) {
        due.push(attempt.job.to_string());
        let result = polled(&attempt.job, 2);
        jobs.observe(attempt, now, Duration::ZERO, result);
    }
    due
}

#[test]
fn a_job_is_small() {
    assert!(size_of::<Option<Entry>>() <= 160, "{} bytes", size_of::<Option<Entry>>());
}

#[test]
fn the_job_that_is_overdue_the_longest_is_polled_first() {
    let mut jobs = jobs(&["c"], secs(0));
    jobs.insert("b".into(), poller(None), 0, secs(1));
    jobs.insert("a".into(), poller(None), 0, secs(2));
    assert_eq!(round(&mut jobs, secs(5)), ["c", "b", "a"]);
    assert_eq!(sleeps_until(jobs.next(secs(5), Pause::NONE, true)), secs(15));
}

#[test]
fn a_job_is_waited_for_once() {
    let mut jobs = jobs(&["a"], secs(0));
    assert!(!jobs.insert("a".into(), poller(None), 0, secs(1)));
    assert!(jobs.contains(&"a".into()) && !jobs.contains(&"b".into()));
    assert_eq!((jobs.len(), jobs.states().count(), round(&mut jobs, secs(1)).len()), (1, 1, 1));
}

#[test]
fn the_result_of_a_poll_of_a_removed_job_is_ignored_also_when_the_job_is_back() {
    let mut jobs = jobs(&["a"], secs(0));
    let old = begin(&mut jobs, secs(0));
    assert!(jobs.remove(&"a".into()) && !jobs.remove(&"a".into()));
    assert_eq!(sleeps_until(jobs.next(secs(0), Pause::NONE, true)), Duration::MAX);
    jobs.insert("a".into(), poller(None), 0, secs(1));
    assert!(jobs.observe(old, secs(1), Duration::ZERO, polled(&"a".into(), 3)).is_none());
    let new = begin(&mut jobs, secs(1));
    assert_eq!(new.number, 1);
    let (_, update) = jobs.observe(new, secs(1), Duration::ZERO, polled(&"a".into(), 3)).unwrap();
    assert!(matches!(update, Update::Finished(Ok(_))) && jobs.len() == 0);
    assert_eq!(sleeps_until(jobs.next(secs(9), Pause::NONE, true)), Duration::MAX);
}

#[test]
fn a_job_is_not_polled_twice_at_a_time() {
    let mut jobs = jobs(&["a"], secs(0));
    let attempt = begin(&mut jobs, secs(0));
    assert!(matches!(jobs.next(secs(100), Pause::NONE, true), Action::Sleep(_)));
    jobs.observe(attempt, secs(100), Duration::ZERO, polled(&"a".into(), 2));
    assert_eq!(begin(&mut jobs, secs(110)).number, 2);
}

#[test]
fn updates_say_what_changed_and_when_the_next_poll_comes() {
    let mut jobs = jobs(&["a"], secs(0));
    for (now, status, wanted) in [(0, 1, true), (10, 1, false), (20, 2, true)] {
        let attempt = begin(&mut jobs, secs(now));
        let (_, update) =
            jobs.observe(attempt, secs(now), Duration::ZERO, polled(&"a".into(), status)).unwrap();
        let Update::Polled { changed, next_poll_in, .. } = update else { panic!("{update:?}") };
        assert_eq!((changed, next_poll_in), (wanted, secs(10)), "at {now} s");
    }
    for (now, wanted) in [(30, 1), (40, 2)] {
        let attempt = begin(&mut jobs, secs(now));
        let failure = failed(ErrorKind::Unavailable);
        let (_, update) = jobs.observe(attempt, secs(now), Duration::ZERO, failure).unwrap();
        let Update::Retrying { attempt, .. } = update else { panic!("{update:?}") };
        assert_eq!(attempt, wanted);
    }
}

#[test]
fn a_completed_job_without_a_link_is_retried() {
    let mut jobs = jobs(&["a"], secs(0));
    let attempt = begin(&mut jobs, secs(0));
    let body = r#"{"code": 1000, "data": {"video_status": 3, "video": ""}}"#;
    let received = Received::new(reqwest::StatusCode::OK, body, BodyEnd::Complete);
    let response = Reply::<GetVideoInfoResponse>::lenient(&received).into_result().unwrap();
    let snapshot = Snapshot::new("a".into(), response);
    let (_, update) = jobs.observe(attempt, secs(1), Duration::ZERO, snapshot).unwrap();
    let Update::Retrying { error, attempt, .. } = update else { panic!("{update:?}") };
    assert_eq!((error.kind(), attempt), (ErrorKind::MissingVideo, 1));
}

#[test]
fn a_trigger_brings_a_poll_forward_and_one_during_a_poll_counts_after_it() {
    let mut jobs = jobs(&["a", "b"], secs(0));
    round(&mut jobs, secs(0));
    assert!(round(&mut jobs, secs(5)).is_empty());
    assert!(jobs.poll_now(&"b".into(), secs(5)) && !jobs.poll_now(&"nobody".into(), secs(5)));
    let under_way = begin(&mut jobs, secs(5));
    assert_eq!(under_way.job.as_str(), "b");
    assert!(jobs.poll_now(&"b".into(), secs(6)));
    let (_, update) = jobs.observe(under_way, secs(7), Duration::ZERO, polled(&"b".into(), 1)).unwrap();
    assert_eq!(update.next_poll_in(), Some(secs(3)));
    // Not at 17 s, but as soon after the poll as triggers may.
    assert_eq!(round(&mut jobs, secs(10)), ["a", "b"]);
}

#[test]
fn a_poll_that_timed_out_while_nobody_polled_the_set_is_repeated() {
    for (kind, left_alone_until, repeated) in [
        (ErrorKind::Timeout, secs(5), true),
        (ErrorKind::Connect, secs(5), false),
        (ErrorKind::Unavailable, secs(5), false),
        (ErrorKind::Timeout, secs(0), false),
    ] {
        let mut jobs = jobs(&["a"], secs(0));
        let attempt = begin(&mut jobs, secs(0));
        let update = jobs.observe(attempt, secs(6), left_alone_until, failed(kind));
        assert_eq!(update.is_none(), repeated, "{kind:?}");
        if repeated {
            assert_eq!(begin(&mut jobs, secs(6)).number, 1, "it does not count");
        }
    }
}

#[test]
fn the_last_poll_is_not_repeated_even_if_nobody_polled_the_set() {
    for (timeout, repeated) in [(7, true), (6, false)] {
        let mut jobs = Jobs::default();
        jobs.insert("a".into(), poller(Some(secs(timeout))), 0, secs(0));
        let attempt = begin(&mut jobs, secs(0));
        let update = jobs.observe(attempt, secs(6), secs(5), failed(ErrorKind::Timeout));
        assert_eq!(update.is_none(), repeated, "{timeout}");
    }
}

#[test]
fn a_poll_is_cut_off_five_seconds_after_the_timeout() {
    let mut jobs = Jobs::default();
    jobs.insert("a".into(), poller(Some(secs(20))), 0, secs(100));
    assert_eq!(begin(&mut jobs, secs(100)).limit, Some(secs(125)));
    jobs.insert("b".into(), poller(None), 0, secs(100));
    assert_eq!(begin(&mut jobs, secs(100)).limit, None);
}

#[test]
fn a_wait_whose_last_poll_cannot_begin_ends_five_seconds_after_its_timeout() {
    let mut jobs = Jobs::default();
    jobs.insert("a".into(), poller(Some(secs(20))), 0, secs(0));
    // There is no room for a poll.
    assert_eq!(sleeps_until(jobs.next(secs(24), Pause::NONE, false)), secs(25));
    let Action::Report(job, Update::Finished(Err(error))) = jobs.next(secs(25), Pause::NONE, false) else {
        panic!()
    };
    assert!(matches!(error, WaitError::Timeout { source: None, .. }), "{error}");
    assert_eq!((job.as_str(), jobs.len(), error.last_known().unwrap().waited), ("a", 0, secs(25)));
}

#[test]
fn a_poll_that_is_under_way_at_its_limit_ends_the_wait_with_its_own_result() {
    let mut jobs = Jobs::default();
    jobs.insert("a".into(), poller(Some(secs(20))), 0, secs(0));
    let attempt = begin(&mut jobs, secs(19));
    assert_eq!(sleeps_until(jobs.next(secs(25), Pause::NONE, true)), Duration::MAX);
    let (_, update) = jobs.observe(attempt, secs(25), Duration::ZERO, failed(ErrorKind::Timeout)).unwrap();
    assert!(
        matches!(update, Update::Finished(Err(WaitError::Timeout { source: Some(_), .. }))),
        "{update:?}"
    );
}

const PAUSE: Pause = Pause { until: secs(30), continue_at: secs(33) };

#[test]
fn during_a_pause_nothing_is_polled_and_a_timeout_ends_the_wait() {
    let mut jobs = jobs(&["b"], secs(0));
    jobs.insert("short".into(), poller(Some(secs(20))), 0, secs(1));
    assert_eq!(sleeps_until(jobs.next(secs(5), PAUSE, true)), secs(21));
    let Action::Report(job, Update::Finished(Err(error))) = jobs.next(secs(21), PAUSE, true) else {
        panic!()
    };
    assert_eq!((job.as_str(), error.last_known().unwrap().attempts), ("short", 0));
    assert_eq!(sleeps_until(jobs.next(secs(29), PAUSE, true)), secs(33));
    assert_eq!(begin(&mut jobs, secs(33)).job.as_str(), "b");
}

/// A job as the service has it.
#[derive(Clone, Debug)]
struct Truth {
    inserted: Duration,
    ends: Duration,
    fails: bool,
    timeout: Duration,
    /// How many of ten polls fail.
    errors: u8,
}

fn any_truth() -> impl Strategy<Value = Truth> {
    (0..600_u64, 0..900_u64, any::<bool>(), 0..1200_u64, 0..6_u8).prop_map(
        |(inserted, takes, fails, timeout, errors)| Truth {
            inserted: secs(inserted),
            ends: secs(inserted + takes),
            fails,
            timeout: secs(timeout),
            errors,
        },
    )
}

proptest! {
    // The same cases on every run.
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(7), cases: 48, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// Jobs are inserted while others are polled, some are removed, the service asks for pauses, polls take time and
    /// are bounded.
    #[test]
    fn no_job_is_lost_or_reported_twice_and_the_bounds_hold(
        truths in proptest::collection::vec(any_truth(), 1..60),
        removals in proptest::collection::vec((0..60_usize, 0..900_u64), 0..10),
        pauses in proptest::collection::vec((0..1000_u64, 1..60_u64), 0..4),
        per_second in 1..20_u32,
        max_concurrent in 1..8_usize,
        takes in 1..3000_u32,
    ) {
        let spacing = secs(1) / per_second;
        let mut jobs = Jobs::default();
        jobs.set_spacing(Some(spacing));
        let id = |number: usize| JobId::from(format!("job{number}"));
        let number = |job: &JobId| job.as_str()[3..].parse::<usize>().unwrap();
        let mut ends: BTreeMap<JobId, u32> = BTreeMap::new();
        let mut removed: Vec<JobId> = Vec::new();
        let mut under_way: Vec<(Duration, Attempt)> = Vec::new();
        let mut polls: Vec<Duration> = Vec::new();
        let mut inserted = vec![false; truths.len()];
        let mut turn = 0_u8;
        let mut now = Duration::ZERO;
        while inserted.contains(&false) || jobs.len() > 0 {
            prop_assert!(now < secs(20_000), "no end in sight: {} jobs", jobs.len());
            for (number, truth) in truths.iter().enumerate() {
                if truth.inserted <= now && !inserted[number] {
                    inserted[number] = true;
                    let poller = Arc::new(Poller::new(PollPolicy::default(), Some(truth.timeout)));
                    prop_assert!(jobs.insert(id(number), poller.clone(), number as u64, now));
                    prop_assert!(!jobs.insert(id(number), poller, 0, now));
                }
            }
            for (number, when) in &removals {
                if secs(*when) <= now && jobs.remove(&id(*number)) {
                    removed.push(id(*number));
                }
            }
            let (ended, rest) = under_way.into_iter().partition(|(ends, _)| *ends <= now);
            under_way = rest;
            for (_, attempt) in ended {
                let job = attempt.job.clone();
                let truth = &truths[number(&job)];
                turn = (turn + 1) % 10;
                let result = if turn < truth.errors {
                    failed(ErrorKind::Unavailable)
                } else if attempt.began < truth.ends {
                    polled(&job, 2)
                } else {
                    polled(&job, if truth.fails { 4 } else { 3 })
                };
                match jobs.observe(attempt, now, Duration::ZERO, result) {
                    None => prop_assert!(removed.contains(&job)),
                    Some((_, Update::Finished(_))) => *ends.entry(job).or_default() += 1,
                    Some(_) => prop_assert!(!ends.contains_key(&job), "an update after the end"),
                }
            }
            let paused = pauses.iter().map(|(from, span)| (secs(*from), secs(from + span)));
            let paused_until =
                paused.filter(|(from, _)| *from <= now).map(|(_, until)| until).max().unwrap_or_default();
            let pause = Pause { until: paused_until, continue_at: paused_until.saturating_add(secs(1)) };
            loop {
                match jobs.next(now, pause, under_way.len() < max_concurrent) {
                    Action::Poll(attempt) => {
                        prop_assert!(now >= paused_until, "a poll during the pause");
                        prop_assert!(under_way.len() < max_concurrent, "too many polls at a time");
                        prop_assert!(under_way.iter().all(|(_, other)| other.job != attempt.job || other.wait != attempt.wait));
                        polls.push(now);
                        // The caller cuts a poll off at its limit.
                        let ends = (now + takes * MILLI).min(attempt.limit.unwrap_or(Duration::MAX));
                        under_way.push((ends, attempt));
                    }
                    Action::Report(job, update) => {
                        let timeout = truths[number(&job)].inserted + truths[number(&job)].timeout;
                        prop_assert!(now >= timeout, "{:?}", update);
                        *ends.entry(job).or_default() += 1;
                    }
                    Action::Sleep(at) => {
                        prop_assert!(at > now, "a busy loop");
                        break;
                    }
                }
            }
            // Nothing outlives its timeout by more than the limit of the last poll and a tick.
            for (job, _) in jobs.states() {
                let truth = &truths[number(job)];
                prop_assert!(now <= truth.inserted + truth.timeout + LAST_POLL_LIMIT + 200 * MILLI, "{} goes on", job);
            }
            now += 100 * MILLI;
        }
        for number in 0..truths.len() {
            let (ended, gone) = (ends.get(&id(number)), removed.contains(&id(number)));
            prop_assert_eq!(ended, (!gone).then_some(&1), "job {}", number);
        }
        for window in [secs(1), secs(10)] {
            for (first, began) in polls.iter().enumerate() {
                let within = polls[first..].iter().take_while(|poll| **poll < *began + window).count();
                let most = (window + 10 * MILLI).div_duration_f64(spacing).ceil() + 1.0;
                prop_assert!(within as f64 <= most, "{} polls in {:?}", within, window);
            }
        }
    }
}
