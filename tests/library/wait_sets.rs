//! Many waits at once, over real sockets. Whose turn it is has its own tests, without any, in
//! `crates/akool/src/scheduler`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use akool::{Credential, ErrorKind, Event, JobId, PollPolicy, PollTriggers, Status, WaitError, WaitSet};
use akool_mock::{Fault, MockServer, Polls, Timeline, Times};
use akool_tests::{ID, client_at, client_of, eager};
use futures_util::{StreamExt, stream::FuturesUnordered};

fn id(number: u32) -> String {
    format!("job{number:04}")
}

/// How each job ended, to the end of all; fails on a second end.
async fn ends(waits: &mut WaitSet) -> BTreeMap<JobId, Result<(), WaitError>> {
    let mut ends = BTreeMap::new();
    while let Some((id, event)) = waits.next().await {
        assert!(!ends.contains_key(&id), "{event:?} of {id} after its end");
        if let Event::Ended(end) = event {
            ends.insert(id, end.map(drop));
        }
    }
    ends
}

#[tokio::test]
async fn every_job_of_a_set_comes_to_its_end_exactly_once() {
    let server = MockServer::start().await;
    let mut waits = client_of(&server).wait_set().policy(eager());
    for number in 0..200 {
        let job_timeline = Timeline::new().processing(Polls(number % 4));
        server.job(
            id(number),
            if number % 3 == 0 { job_timeline.failed(1015, "x") } else { job_timeline.completed() },
        );
        assert!(waits.insert(id(number)));
    }
    let ends = ends(&mut waits).await;
    assert_eq!(ends.len(), 200);
    for number in 0..200 {
        let failed = matches!(ends[&id(number).into()], Err(WaitError::JobFailed(_)));
        assert_eq!(failed, number % 3 == 0, "{number}");
        assert_eq!(server.polls_of(&id(number)).len() as u32, number % 4 + 1);
    }
}

#[tokio::test]
async fn a_set_grows_while_it_runs_and_after_it_was_empty() {
    let server = MockServer::start().await;
    let (sender, mut new_ids) = tokio::sync::mpsc::channel(1);
    for number in 0..20 {
        server.job(id(number), Timeline::new().processing(Polls(1)).completed());
    }
    let mut waits = client_of(&server).wait_set().policy(eager());
    assert!(waits.next().await.is_none() && waits.is_empty());
    let feeding = async {
        for number in 0..20 {
            sender.send(id(number)).await.unwrap();
        }
        drop(sender);
    };
    let taking = async {
        let mut ended = BTreeSet::new();
        loop {
            tokio::select! {
                Some((id, event)) = waits.next() => {
                    if matches!(event, Event::Ended(Ok(_))) {
                        assert!(ended.insert(id));
                    }
                }
                Some(id) = new_ids.recv() => assert!(waits.insert(id)),
                else => return ended.len(),
            }
        }
    };
    assert_eq!(tokio::join!(feeding, taking).1, 20);
    assert!(waits.next().await.is_none());
    waits.insert(id(0));
    assert_eq!(waits.len(), 1);
    assert!(matches!(waits.next().await, Some((_, Event::Ended(Ok(_))))));
}

#[tokio::test]
async fn dropping_next_at_any_time_loses_nothing() {
    let server = MockServer::start().await;
    let mut waits = client_of(&server).wait_set().policy(eager());
    for number in 0..30 {
        server.job(id(number), Timeline::new().processing(Polls(2)).completed());
        waits.insert(id(number));
    }
    let mut events: BTreeMap<JobId, u32> = BTreeMap::new();
    while !waits.is_empty() {
        tokio::select! {
            biased;
            Some((id, _)) = waits.next() => *events.entry(id).or_default() += 1,
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(events.len(), 30);
    assert!(events.values().all(|events| *events == 3), "{events:?}");
    assert!((0..30).all(|number| server.polls_of(&id(number)).len() == 3));
}

#[tokio::test]
async fn a_job_inserted_twice_is_waited_for_once_and_a_removed_one_not_at_all() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(1)).completed());
    server.job("stuck", Timeline::new().stuck(2));
    let mut waits = client_of(&server).wait_set().policy(eager());
    assert!(waits.insert(ID) && !waits.insert(ID) && waits.insert("stuck"));
    assert_eq!(waits.len(), 2);
    while let Some((id, event)) = waits.next().await {
        if matches!(event, Event::Ended(_)) {
            assert_eq!(id.as_str(), ID);
            let stuck: JobId = "stuck".into();
            assert!(waits.contains(&stuck) && waits.remove(&stuck) && !waits.remove(&stuck));
        }
    }
    assert_eq!(server.polls_of(ID).len(), 2);
}

#[tokio::test]
async fn a_wait_of_a_set_that_ends_early_says_what_is_known() {
    let _quiet = akool_tests::QUIET.lock().await;
    let server = MockServer::start().await;
    server.job("stuck", Timeline::new().stuck(2));
    let client = client_of(&server);
    let mut waits = client.wait_set().policy(eager()).timeout(Duration::from_millis(100));
    waits.extend(["stuck", "nobody"]);
    let mut ends = ends(&mut waits).await;
    let Err(WaitError::Timeout(end)) = &ends[&"stuck".into()] else { panic!("{ends:?}") };
    assert_eq!(end.last_status, Some(Status::Processing));
    assert_eq!((end.polls as usize, end.polls), (server.polls_of("stuck").len(), end.answers));
    let text = ends[&"stuck".into()].as_ref().unwrap_err().to_string();
    assert!(text.contains("still processing when last seen"), "{text}");
    let Some(Err(WaitError::Rejected(end))) = ends.remove(&"nobody".into()) else { panic!("{ends:?}") };
    assert_eq!(end.last_error.unwrap().kind(), ErrorKind::UnknownJob);

    // Trouble that is over is known by its kind.
    server.inject(Fault::RetryAfterSeconds, Times::Once);
    let mut waits = client.wait_set().policy(eager()).timeout(Duration::from_millis(1200));
    waits.insert("stuck");
    assert!(matches!(waits.next().await, Some((_, Event::Trouble { .. }))));
    let known = waits.jobs().next().unwrap();
    assert_eq!((known.status, known.last_error_kind), (None, Some(ErrorKind::RateLimited)));
    let end = ends_of_one(waits).await;
    assert_eq!(end.last_error.unwrap().kind(), ErrorKind::RateLimited);
    assert_eq!((end.failures, end.last_status), (0, Some(Status::Processing)));
}

async fn ends_of_one(mut waits: WaitSet) -> akool::LastKnown {
    match ends(&mut waits).await.pop_first().unwrap().1 {
        Err(WaitError::Timeout(end) | WaitError::RetriesExhausted(end)) => *end,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_set_gives_up_after_too_many_failures_in_a_row() {
    let client = client_at("http://127.0.0.1:1", Credential::api_key("key").unwrap()).unwrap();
    let mut waits = client.wait_set().policy(eager().with_max_failures(3));
    waits.insert(ID);
    let end = ends_of_one(waits).await;
    assert_eq!((end.polls, end.failures, end.last_status), (3, 3, None));
    assert_eq!(end.last_error.unwrap().kind(), ErrorKind::Connect);
}

#[tokio::test]
async fn told_to_slow_down_the_whole_set_does() {
    let _quiet = akool_tests::QUIET.lock().await;
    let server = MockServer::start().await;
    server.inject(Fault::RetryAfterSeconds, Times::Once);
    let mut waits = client_of(&server).wait_set().policy(eager()).max_concurrent_polls(1);
    for number in 0..10 {
        server.job(id(number), Timeline::new().completed());
        waits.insert(id(number));
    }
    assert!(matches!(waits.next().await, Some((_, Event::Trouble { .. }))));
    let told = Instant::now();
    assert_eq!(ends(&mut waits).await.len(), 10);
    assert!(told.elapsed() >= Duration::from_millis(900), "polled while the service asked for a pause");
    assert_eq!(server.exchanges().len(), 11);
}

#[tokio::test]
async fn the_rate_of_a_set_holds_over_all_its_jobs() {
    let _quiet = akool_tests::QUIET.lock().await;
    let server = MockServer::start().await;
    let mut waits = client_of(&server).wait_set().policy(eager()).max_polls_per_second(100.0);
    for number in 0..10 {
        server.job(id(number), Timeline::new().processing(Polls(4)).completed());
        waits.insert(id(number));
    }
    let began = Instant::now();
    assert_eq!(ends(&mut waits).await.len(), 10);
    // 50 polls, the first at once, one more within the tolerance.
    assert!(began.elapsed() >= Duration::from_millis(480), "{:?}", began.elapsed());
    // Nobody was favoured: each job had its nth poll before any had its (n+2)th.
    let mut polls: Vec<_> = (0..10).flat_map(|n| server.polls_of(&id(n)).into_iter().enumerate()).collect();
    polls.sort_by_key(|(_, when)| *when);
    let mut most = 0;
    for (nth, _) in polls {
        assert!(nth + 1 >= most, "one was passed over");
        most = most.max(nth);
    }
}

#[tokio::test]
async fn a_poll_that_is_hinted_at_is_made_at_once() {
    let server = MockServer::start().await;
    for id in [ID, "other", "untriggered"] {
        server.job(id, Timeline::new().processing(Polls(1)).completed());
    }
    let hourly = PollPolicy::fixed(Duration::from_secs(3600)).with_min_trigger_gap(Duration::from_millis(10));
    let triggers = PollTriggers::new();
    let mut waits = client_of(&server).wait_set().policy(hourly);
    waits.insert(ID);
    waits = waits.triggers(&triggers);
    waits.extend(["other", "untriggered"]);
    for _ in 0..3 {
        assert!(matches!(waits.next().await, Some((_, Event::Polled { .. }))));
    }
    assert!(waits.poll_now(&ID.into()) && !waits.poll_now(&"nobody".into()));
    assert!(matches!(waits.next().await, Some((id, Event::Ended(Ok(_)))) if id.as_str() == ID));
    // From elsewhere, while the set waits.
    let triggering = async { assert!(triggers.poll_now("other") && !triggers.poll_now(ID)) };
    let (event, ()) = tokio::join!(waits.next(), triggering);
    assert!(matches!(event, Some((id, Event::Ended(Ok(_)))) if id.as_str() == "other"));
    assert_eq!((server.polls_of("untriggered").len(), triggers.waiting()), (1, 1));
    drop(waits);
    assert_eq!(triggers.waiting(), 0);
}

#[tokio::test]
async fn polls_that_time_out_because_nobody_polls_are_no_trouble() {
    let server = MockServer::start().await;
    let client = akool::Client::builder()
        .credential(Credential::api_key(server.api_key()).unwrap())
        .base_url(server.url())
        .request_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    for number in 0..4 {
        server.job(id(number), Timeline::new().completed());
    }
    let mut waits = client.wait_set().policy(eager());
    waits.extend((0..4).map(id));
    // The polls begin, and then nobody polls for longer than a poll may take.
    tokio::select! {
        biased;
        event = waits.next() => panic!("{event:?}"),
        () = std::future::ready(()) => {}
    }
    std::thread::sleep(Duration::from_millis(3100));
    while let Some((id, event)) = waits.next().await {
        assert!(matches!(event, Event::Ended(Ok(_))), "{id}: {event:?}");
    }
}

/// Answers every poll on a connection with the same job, and keeps it open.
async fn answer_all(mut connection: tokio::net::TcpStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let body = r#"{"code":1000,"msg":"OK","data":{"video_status":2}}"#;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut request = Vec::new();
    while connection.read_buf(&mut request).await.is_ok_and(|bytes| bytes > 0) {
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_set_makes_no_more_connections_than_polls_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = client_at(url, Credential::api_key("key").unwrap()).unwrap();
    let mut waits = client.wait_set().policy(eager()).max_concurrent_polls(3);
    waits.extend((0..50).map(id));
    let mut connections = 0;
    let mut serving = FuturesUnordered::new();
    let mut polls = 0;
    while polls < 500 {
        tokio::select! {
            Some((id, event)) = waits.next() => {
                assert!(matches!(event, Event::Polled { .. }), "{id}: {event:?}");
                polls += 1;
            }
            accepted = listener.accept() => {
                connections += 1;
                serving.push(answer_all(accepted.unwrap().0));
            }
            Some(()) = serving.next() => {}
        }
    }
    assert!(connections <= 3, "{connections} connections");
}

#[tokio::test]
async fn dropping_a_set_leaves_nothing_running() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    server.job("other", Timeline::new().queueing(Polls(20)).completed());
    let client = client_of(&server);
    let mut waits = client.wait_set().policy(eager());
    waits.insert(ID);
    assert!(waits.next().await.is_some());
    drop(waits);
    let polls = server.polls_of(ID).len();
    client.job("other").wait().policy(eager()).await.unwrap();
    assert!(server.polls_of(ID).len() <= polls + 1);
}

#[test]
fn a_set_can_be_sent_between_threads_and_is_a_stream() {
    fn sendable<T: Send + 'static>(value: T) -> T {
        value
    }
    let client = client_at("http://127.0.0.1:1", Credential::api_key("key").unwrap()).unwrap();
    let set = sendable(client.wait_set());
    drop(sendable(async move { StreamExt::next(&mut { set }).await.is_none() }));
}
