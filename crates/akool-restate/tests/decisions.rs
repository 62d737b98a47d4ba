//! A job that a fleet polls and one that a `WaitSet` polls: the same decisions for the same observations.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use akool::{Client, Credential, JobId, PollPolicy, Update};
use akool_mock::{Fault, MockServer, Polls, RetryAfter, Timeline, Times};
use akool_restate::{
    Target, WaitEnd, WaitOptions,
    step::{JobState, Origin, Step},
};

const INTERVAL: Duration = Duration::from_millis(40);

/// What a wait decides after a poll.
#[derive(Debug, PartialEq)]
enum Decided {
    /// Poll again after this many milliseconds.
    Next(u128),
    /// The wait ended like this, after this many polls.
    End(WaitEnd, Option<String>),
}

/// A script: the job, and faults of its polls.
struct Script {
    timeline: Timeline,
    faults: Vec<(Fault, Times)>,
    timeout: Duration,
    max_failures: u32,
}

fn script(timeline: Timeline) -> Script {
    Script { timeline, faults: Vec::new(), timeout: Duration::from_secs(60), max_failures: 3 }
}

fn scripts() -> Vec<Script> {
    let completed = || Timeline::new().queueing(Polls(1)).processing(Polls(2)).completed();
    let rate_limited = Fault::RateLimited { retry_after: RetryAfter::Seconds(1) };
    vec![
        script(completed()),
        script(Timeline::new().processing(Polls(1)).failed(7, "no voice")),
        Script { faults: vec![(Fault::Http(503), Times::N(2))], ..script(completed()) },
        Script { faults: vec![(Fault::Http(503), Times::Always)], ..script(completed()) },
        Script {
            faults: vec![(Fault::Html, Times::Once), (Fault::Code(1014), Times::Once)],
            ..script(completed())
        },
        Script { faults: vec![(rate_limited, Times::Once)], ..script(completed()) },
        Script { timeout: Duration::from_millis(100), ..script(Timeline::new().stuck(2)) },
        Script {
            faults: vec![(rate_limited, Times::Once)],
            timeout: Duration::from_millis(500),
            ..script(completed())
        },
    ]
}

fn client(server: &MockServer) -> Client {
    let key = Credential::api_key(server.api_key()).unwrap();
    Client::builder().credential(key).base_url(server.url()).build().unwrap()
}

async fn serve(script: &Script) -> MockServer {
    let server = MockServer::start().await;
    server.job("job", script.timeline.clone());
    for (fault, times) in &script.faults {
        server.inject(*fault, *times);
    }
    server
}

async fn by_wait_set(script: &Script) -> Vec<Decided> {
    let server = serve(script).await;
    let policy = PollPolicy::from_fn(|_| INTERVAL).with_min_interval(INTERVAL);
    let policy = policy.with_max_failures(script.max_failures);
    let mut set = client(&server).wait_set().policy(policy).timeout(script.timeout);
    set.insert("job");
    let mut decided = Vec::new();
    while let Some((_, update)) = set.next().await {
        decided.push(match update {
            Update::Finished(Ok(_)) => Decided::End(WaitEnd::Completed, None),
            Update::Finished(Err(error)) => {
                let end = match &error {
                    akool::WaitError::JobFailed(_) => WaitEnd::Failed,
                    akool::WaitError::Timeout { .. } => WaitEnd::Timeout,
                    akool::WaitError::RetriesExhausted { .. } => WaitEnd::RetriesExhausted,
                    _ => WaitEnd::Rejected,
                };
                Decided::End(end, Some(error.help().to_owned()))
            }
            update => Decided::Next(update.next_poll_in().unwrap().as_millis()),
        });
    }
    decided
}

async fn by_fleet(script: &Script) -> Vec<Decided> {
    let server = serve(script).await;
    let client = client(&server);
    let job = JobId::from("job");
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
    let options = WaitOptions::default()
        .interval(INTERVAL)
        .max_failures(script.max_failures)
        .timeout(Some(script.timeout));
    let mut state = JobState::new(now(), 7, options, Origin::default());
    let mut decided = Vec::new();
    loop {
        // Another worker takes over after each poll, and knows only what is stored.
        state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        let generation = state.generation;
        let step = if state.is_expired() {
            state.expire(&job, now())
        } else {
            let began = now();
            let result = client.job(&job).get().await;
            state.observe(&job, began, now(), result)
        };
        let Step { state: next, next_in_ms } = step;
        match next_in_ms {
            Some(pause) => {
                assert_eq!(next.generation, generation + 1, "an older timer is void");
                decided.push(Decided::Next(pause.into()));
                tokio::time::sleep(Duration::from_millis(pause)).await;
                state = next;
            }
            None => {
                let outcome = next.outcome.unwrap();
                assert_eq!(outcome.translation().is_some(), outcome.end == WaitEnd::Completed);
                decided.push(Decided::End(outcome.end, outcome.help));
                return decided;
            }
        }
    }
}

/// Whether both decided the same, but for the jitter of their intervals.
fn alike(set: &[Decided], fleet: &[Decided]) -> bool {
    let same = |pair: (&Decided, &Decided)| match pair {
        (Decided::Next(one), Decided::Next(other)) => one.abs_diff(*other) * 4 <= *one.max(other),
        (one, other) => one == other,
    };
    set.len() == fleet.len() && set.iter().zip(fleet).all(same)
}

#[tokio::test]
async fn a_fleet_and_a_wait_set_decide_alike() {
    let mut ends = Vec::new();
    for (number, script) in scripts().iter().enumerate() {
        let (set, fleet) = tokio::join!(by_wait_set(script), by_fleet(script));
        // How many polls fit into a short wait depends on how long each takes.
        let is_short = script.timeout < Duration::from_secs(1);
        let compared =
            |mut decided: Vec<Decided>| if is_short { decided.split_off(decided.len() - 1) } else { decided };
        let (set, fleet) = (compared(set), compared(fleet));
        assert!(alike(&set, &fleet), "script {number}: {set:?} and {fleet:?}");
        ends.extend(fleet.into_iter().last());
    }
    let ended = |end: WaitEnd| ends.iter().any(|one| matches!(one, Decided::End(other, _) if *other == end));
    for end in
        [WaitEnd::Completed, WaitEnd::Failed, WaitEnd::Timeout, WaitEnd::RetriesExhausted, WaitEnd::Rejected]
    {
        assert!(ended(end), "no script ends with {end:?}");
    }
}

#[test]
fn the_state_that_a_release_stored_is_read_by_the_next_and_the_one_before() {
    // As the first release stores it.
    let stored = r#"{"began_ms":1700000000000,"generation":4,"poll":{"seed":7,"attempts":3,"failures":1,
        "next_poll":{"secs":9,"nanos":0},"last_poll_ended":{"secs":6,"nanos":500000000},"status":2,"progress":40,
        "last_error":"unavailable","fruitless_triggers":0,"triggered":false},"due_ms":1700000009000,
        "ends_next":false,"options":{"timeout_ms":7200000,"interval_ms":null,"max_failures":20,"deliver":null,
        "save":false},"origin":{"credential":"default","work":"default.ab","language":"es",
        "source":"https://example.com/talk.mp4","credits_held":10.0},"outcome":null,"saved":[]}"#;
    let state: JobState = serde_json::from_str(stored).unwrap();
    assert_eq!((state.poll.attempts(), state.generation), (3, 4));
    let again: JobState = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    assert_eq!(again, state);
    // A later release adds members, and kinds of errors; the poller goes on as before.
    let later = stored
        .replace("\"unavailable\"", "\"overloaded\"")
        .replace("\"generation\"", "\"priority\":3,\"generation\"")
        .replace("\"save\":false", "\"save\":false,\"notify\":[1]");
    let later: JobState = serde_json::from_str(&later).unwrap();
    assert_eq!((later.poll.attempts(), later.poll.last_error()), (3, None));
    // An earlier one had fewer.
    let earlier = r#"{"began_ms":1,"poll":{"seed":7,"attempts":0,"failures":0,"next_poll":{"secs":0,"nanos":0},
        "last_poll_ended":{"secs":0,"nanos":0},"status":null,"progress":null,"last_error":null,
        "fruitless_triggers":0,"triggered":false}}"#;
    let earlier: JobState = serde_json::from_str(earlier).unwrap();
    assert_eq!(earlier.options, WaitOptions::default());
    let end: WaitEnd = serde_json::from_str("\"cancelled\"").unwrap();
    assert_eq!(end, WaitEnd::Other);
}

#[tokio::test]
async fn waits_with_the_same_interval_are_not_polled_at_the_same_times() {
    let server = MockServer::start().await;
    server.job("job", Timeline::new().processing(Polls(100)));
    let (client, job) = (client(&server), JobId::from("job"));
    let mut pauses = Vec::new();
    for seed in 0..20 {
        let options = WaitOptions::default().interval(Duration::from_secs(10));
        let state = JobState::new(1_000, seed, options, Origin::default());
        let result = client.job(&job).get().await;
        pauses.extend(state.observe(&job, 1_000, 1_000, result).next_in_ms);
    }
    assert!(pauses.len() == 20 && pauses.iter().all(|pause| (9_000..=11_000).contains(pause)), "{pauses:?}");
    assert!(pauses.iter().max() > pauses.iter().min().map(|least| least + 500).as_ref(), "{pauses:?}");
}

#[test]
fn a_pause_defers_a_poll_and_a_timeout_in_it_ends_the_wait_without_one() {
    let options = WaitOptions::default().timeout(Some(Duration::from_secs(60)));
    let state = JobState::new(1_000_000, 7, options, Origin::default());
    let step = state.clone().defer(1_010_000, 1_040_000);
    assert_eq!((step.next_in_ms, step.state.due_ms), (Some(30_000), 1_040_000));
    assert!(!step.state.is_expired() && step.state.poll.attempts() == 0);
    let step = state.defer(1_010_000, 1_100_000);
    assert_eq!((step.next_in_ms, step.state.is_expired()), (Some(50_000), true));
    let job = JobId::from("job");
    let ended = step.state.expire(&job, 1_060_000);
    let outcome = ended.state.outcome.unwrap();
    assert_eq!((outcome.end, outcome.attempts, outcome.waited_ms), (WaitEnd::Timeout, 0, 60_000));
    assert!(outcome.message.unwrap().contains("not completed after 1 min"));
}

#[test]
fn a_trigger_brings_the_next_poll_forward_once() {
    let options = WaitOptions::default().interval(Duration::from_secs(300));
    let state = JobState::new(0, 7, options, Origin::default());
    assert!(state.clone().trigger(1).is_none(), "the first poll is due anyway");
    let error = serde_json::from_str::<JobState>(
        &serde_json::to_string(&state)
            .unwrap()
            .replace("\"attempts\":0", "\"attempts\":1")
            .replace("\"next_poll\":{\"secs\":0", "\"next_poll\":{\"secs\":300"),
    );
    let polled = error.unwrap();
    let step = polled.trigger(10_000).unwrap();
    assert_eq!((step.next_in_ms, step.state.generation), (Some(0), 1));
    assert!(step.state.trigger(10_001).is_none(), "a doubled trigger has no effect");
}

#[test]
fn a_wait_that_someone_else_began_learns_from_the_creation_once() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let target = Target::Url("https://example.com/done".parse().unwrap());
    let watched = JobState::new(1, 7, WaitOptions::default(), Origin::default());
    let origin = Origin {
        work: Some(akool_restate::WorkId::from_text("default.ab")),
        language: Some("es".to_owned()),
        source: "https://example.com/talk.mp4".to_owned(),
        ..Origin::default()
    };
    let asked = WaitOptions::default().deliver(target.clone()).save(true).traceparent(trace);
    let mut state = watched.clone();
    let added = state.learn(&asked, &origin).unwrap();
    assert_eq!(
        (&added.deliver, added.save, added.traceparent.as_deref()),
        (&Some(target), true, Some(trace))
    );
    assert_eq!((&state.origin, &state.options), (&origin, &asked));
    // The creation says it only once, and another caller knows nothing.
    let learned = state.clone();
    assert_eq!(state.learn(&asked, &origin), None);
    assert_eq!(state.learn(&asked, &Origin::default()), None);
    assert_eq!(state, learned);
    // What the first caller asked for stays, and is not done twice.
    let mut state = JobState::new(1, 7, asked.clone(), Origin::default());
    let added = state.learn(&asked, &origin).unwrap();
    assert_eq!((added.deliver, added.save), (None, false));
    assert_eq!(state.options, asked);
}

#[test]
fn another_interval_brings_the_next_poll_forward_but_not_after_a_failed_poll() {
    let options = WaitOptions::default().interval(Duration::from_secs(300));
    let mut state = JobState::new(0, 7, options, Origin::default());
    state.due_ms = 300_000;
    assert_eq!(state.clone().set_interval(None, 1_000), None);
    assert_eq!(state.clone().set_interval(Some(300_000), 1_000), None);
    let step = state.clone().set_interval(Some(2_000), 1_000).unwrap();
    assert_eq!((step.next_in_ms, step.state.generation), (Some(2_000), 1));
    assert_eq!(step.state.options.interval_ms, Some(2_000));
    let longer = state.clone().set_interval(Some(900_000), 1_000).unwrap();
    assert_eq!(longer.state.due_ms, 300_000, "the poll that is due stays");
    let text = serde_json::to_string(&state).unwrap().replace("\"failures\":0", "\"failures\":1");
    let failing: JobState = serde_json::from_str(&text).unwrap();
    assert_eq!(failing.set_interval(Some(2_000), 1_000).unwrap().state.due_ms, 300_000);
}

#[test]
fn a_timer_that_may_be_lost_is_noticed_and_none_is_beyond_what_an_engine_can_count() {
    let options = WaitOptions::default().timeout(None).interval(Duration::MAX);
    let mut state = JobState::new(0, 7, options, Origin::default());
    state.due_ms = 10_000;
    assert!(!state.is_late(0) && !state.is_late(70_000) && state.is_late(70_001));
    let step = state.defer(0, u64::MAX);
    assert_eq!(step.next_in_ms, Some(7 * 24 * 60 * 60 * 1_000));
    assert!(!step.state.is_late(u64::MAX - 1));
}
