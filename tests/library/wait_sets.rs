//! Wait sets over real sockets. `crates/akool/src/scheduler/tests.rs` tests the order of the polls without sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use akool::{Credential, ErrorKind, JobId, PollPolicy, Status, Update, WaitError, WaitSet};
use akool_mock::{Fault, MockServer, Polls, RetryAfter, Timeline, Times};
use akool_tests::{ID, client_of, client_with_key, eager, listen, unreachable_client};
use futures_util::{StreamExt, stream::FuturesUnordered};

fn id(number: u32) -> String {
    format!("job{number:04}")
}

/// Runs the set until every job has ended, and returns how. Panics if a job has an update after its end.
async fn ends(waits: &mut WaitSet) -> BTreeMap<JobId, Result<(), WaitError>> {
    let mut ends = BTreeMap::new();
    while let Some((id, update)) = waits.next().await {
        assert!(!ends.contains_key(&id), "{update:?} of {id} after its end");
        if let Update::Finished(end) = update {
            ends.insert(id, end.map(drop));
        }
    }
    ends
}

#[tokio::test]
async fn every_job_of_a_set_ends_exactly_once() {
    let server = MockServer::start().await;
    let mut waits = client_of(&server).wait_set().policy(eager());
    for number in 0..200 {
        let timeline = Timeline::new().processing(Polls(number % 4));
        server
            .job(id(number), if number % 3 == 0 { timeline.failed(1015, "x") } else { timeline.completed() });
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
async fn jobs_can_be_inserted_while_a_set_runs_and_after_it_was_empty() {
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
                Some((id, update)) = waits.next() => {
                    if matches!(update, Update::Finished(Ok(_))) {
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
    assert!(matches!(waits.next().await, Some((_, Update::Finished(Ok(_))))));
}

#[tokio::test]
async fn dropping_next_at_any_time_loses_no_update() {
    let server = MockServer::start().await;
    let mut waits = client_of(&server).wait_set().policy(eager());
    for number in 0..30 {
        server.job(id(number), Timeline::new().processing(Polls(2)).completed());
        waits.insert(id(number));
    }
    let mut updates: BTreeMap<JobId, u32> = BTreeMap::new();
    while !waits.is_empty() {
        tokio::select! {
            biased;
            Some((id, _)) = waits.next() => *updates.entry(id).or_default() += 1,
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(updates.len(), 30);
    assert!(updates.values().all(|updates| *updates == 3), "{updates:?}");
    assert!((0..30).all(|number| server.polls_of(&id(number)).len() == 3));
}

#[tokio::test]
async fn a_job_inserted_twice_is_polled_once_and_a_removed_job_is_not_polled() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(1)).completed());
    server.job("stuck", Timeline::new().stuck(2));
    let mut waits = client_of(&server).wait_set().policy(eager());
    assert!(waits.insert(ID) && !waits.insert(ID) && waits.insert("stuck"));
    assert_eq!(waits.len(), 2);
    while let Some((id, update)) = waits.next().await {
        if matches!(update, Update::Finished(_)) {
            assert_eq!(id.as_str(), ID);
            let stuck: JobId = "stuck".into();
            assert!(waits.contains(&stuck) && waits.remove(&stuck) && !waits.remove(&stuck));
        }
    }
    assert_eq!(server.polls_of(ID).len(), 2);
}

#[tokio::test]
async fn the_error_of_a_job_in_a_set_has_its_last_known_status_and_error() {
    let _quiet = akool_tests::QUIET.lock().await;
    let server = MockServer::start().await;
    server.job("stuck", Timeline::new().stuck(2));
    let client = client_of(&server);
    let mut waits = client.wait_set().policy(eager()).timeout(Duration::from_millis(100));
    waits.extend(["stuck", "nobody"]);
    let mut ends = ends(&mut waits).await;
    let Err(WaitError::Timeout { last, .. }) = &ends[&"stuck".into()] else { panic!("{ends:?}") };
    assert_eq!(last.status, Some(Status::Processing));
    assert_eq!(last.attempts as usize, server.polls_of("stuck").len());
    let text = ends[&"stuck".into()].as_ref().unwrap_err().to_string();
    assert!(text.contains("last known status: processing"), "{text}");
    let Some(Err(WaitError::Rejected { source, .. })) = ends.remove(&"nobody".into()) else {
        panic!("{ends:?}")
    };
    assert_eq!(source.kind(), ErrorKind::UnknownJob);

    // The kind of an error that is over is kept.
    server.inject(Fault::RateLimited { retry_after: RetryAfter::Seconds(1) }, Times::Once);
    let mut waits = client.wait_set().policy(eager()).timeout(Duration::from_millis(1200));
    waits.insert("stuck");
    assert!(matches!(waits.next().await, Some((_, Update::Retrying { .. }))));
    let (_, state) = waits.jobs().next().unwrap();
    assert_eq!((state.status(), state.last_error()), (None, Some(ErrorKind::RateLimited)));
    let last = last_known_of_one(waits).await;
    assert_eq!(last.last_error, Some(ErrorKind::RateLimited));
    assert_eq!((last.failures, last.status), (0, Some(Status::Processing)));
}

/// Runs a set with one job until its timeout or its last retry.
async fn last_known_of_one(mut waits: WaitSet) -> akool::LastKnown {
    match ends(&mut waits).await.pop_first().unwrap().1 {
        Err(error) => error.last_known().unwrap().clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_maximum_number_of_failures_in_a_row_ends_a_wait_of_a_set() {
    let client = unreachable_client();
    let mut waits = client.wait_set().policy(eager().with_max_failures(3));
    waits.insert(ID);
    let end = last_known_of_one(waits).await;
    assert_eq!((end.attempts, end.failures, end.status), (3, 3, None));
    assert_eq!(end.last_error, Some(ErrorKind::Connect));
}

#[tokio::test]
async fn a_retry_after_pauses_the_whole_set() {
    let _quiet = akool_tests::QUIET.lock().await;
    let server = MockServer::start().await;
    server.inject(Fault::RateLimited { retry_after: RetryAfter::Seconds(1) }, Times::Once);
    let mut waits = client_of(&server).wait_set().policy(eager()).max_concurrent_polls(1);
    for number in 0..10 {
        server.job(id(number), Timeline::new().completed());
        waits.insert(id(number));
    }
    assert!(matches!(waits.next().await, Some((_, Update::Retrying { .. }))));
    let paused = Instant::now();
    assert_eq!(ends(&mut waits).await.len(), 10);
    assert!(paused.elapsed() >= Duration::from_millis(900), "polled during the Retry-After");
    assert_eq!(server.exchanges().len(), 11);
}

#[tokio::test]
async fn max_polls_per_second_limits_all_jobs_of_a_set_together() {
    let _quiet = akool_tests::QUIET.lock().await;
    let server = MockServer::start().await;
    let mut waits = client_of(&server).wait_set().policy(eager()).max_polls_per_second(100.0);
    for number in 0..10 {
        server.job(id(number), Timeline::new().processing(Polls(4)).completed());
        waits.insert(id(number));
    }
    let began = Instant::now();
    assert_eq!(ends(&mut waits).await.len(), 10);
    // 50 polls: the first starts at once, and one more is within the tolerance.
    assert!(began.elapsed() >= Duration::from_millis(480), "{:?}", began.elapsed());
    // No job was preferred: each had its nth poll before any had its (n+2)th.
    let mut polls: Vec<_> = (0..10).flat_map(|n| server.polls_of(&id(n)).into_iter().enumerate()).collect();
    polls.sort_by_key(|(_, when)| *when);
    let mut max = 0;
    for (nth, _) in polls {
        assert!(nth + 1 >= max, "a job was skipped");
        max = max.max(nth);
    }
}

#[tokio::test]
async fn a_triggered_job_of_a_set_is_polled_at_once() {
    let server = MockServer::start().await;
    for id in [ID, "other", "untriggered"] {
        server.job(id, Timeline::new().processing(Polls(1)).completed());
    }
    let hourly = PollPolicy::fixed(Duration::from_secs(3600)).with_min_trigger_gap(Duration::from_millis(10));
    let mut waits = client_of(&server).wait_set().policy(hourly);
    waits.extend([ID, "other", "untriggered"]);
    for _ in 0..3 {
        assert!(matches!(waits.next().await, Some((_, Update::Polled { .. }))));
    }
    for id in [ID, "other"] {
        assert!(waits.poll_now(&id.into()) && !waits.poll_now(&"nobody".into()));
        let update = waits.next().await;
        assert!(matches!(&update, Some((of, Update::Finished(Ok(_)))) if of.as_str() == id), "{update:?}");
    }
    assert_eq!(server.polls_of("untriggered").len(), 1);
}

#[tokio::test]
async fn a_trigger_during_a_poll_leads_to_another_poll() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(1)).completed());
    let hourly = PollPolicy::fixed(Duration::from_secs(3600)).with_min_trigger_gap(Duration::from_millis(10));
    let mut waits = client_of(&server).wait_set().policy(hourly);
    waits.insert(ID);
    // The poll begins.
    tokio::select! {
        biased;
        update = waits.next() => panic!("{update:?}"),
        () = std::future::ready(()) => {}
    }
    assert!(waits.poll_now(&ID.into()));
    assert!(matches!(waits.next().await, Some((_, Update::Polled { .. }))));
    assert!(matches!(waits.next().await, Some((_, Update::Finished(Ok(_))))));
}

#[tokio::test]
async fn waits_whose_last_poll_cannot_begin_end_with_those_that_hang() {
    let _quiet = akool_tests::QUIET.lock().await;
    let server = MockServer::start().await;
    server.inject(Fault::NeverAnswers, Times::Always);
    let client = client_with_key(server.url_for(Fault::NeverAnswers), &server.api_key());
    let mut waits = client.wait_set().max_concurrent_polls(1).timeout(Duration::from_millis(100));
    waits.extend((0..10).map(id));
    let began = Instant::now();
    let ends = ends(&mut waits).await;
    assert!(ends.values().all(|end| matches!(end, Err(WaitError::Timeout { .. }))), "{ends:?}");
    assert_eq!(ends.len(), 10);
    assert!(began.elapsed() < Duration::from_millis(6500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_poll_that_times_out_because_the_set_was_not_driven_is_not_a_failure() {
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
    // The polls begin, and then the set is not driven for longer than the request timeout.
    tokio::select! {
        biased;
        update = waits.next() => panic!("{update:?}"),
        () = std::future::ready(()) => {}
    }
    std::thread::sleep(Duration::from_millis(3100));
    while let Some((id, update)) = waits.next().await {
        assert!(matches!(update, Update::Finished(Ok(_))), "{id}: {update:?}");
    }
}

/// Sends the same response to every poll on a connection, and keeps the connection open.
async fn respond_to_all(mut connection: tokio::net::TcpStream) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let body = r#"{"code":1000,"msg":"OK","data":{"video_status":2}}"#;
    let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut request = Vec::new();
    while connection.read_buf(&mut request).await.is_ok_and(|bytes| bytes > 0) {
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            connection.write_all(response.as_bytes()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_set_opens_at_most_max_concurrent_polls_connections() {
    let (listener, url) = listen().await;
    let client = client_with_key(url, "key");
    let mut waits = client.wait_set().policy(eager()).max_concurrent_polls(3);
    waits.extend((0..50).map(id));
    let mut connections = 0;
    let mut serving = FuturesUnordered::new();
    let mut polls = 0;
    while polls < 500 {
        tokio::select! {
            Some((id, update)) = waits.next() => {
                assert!(matches!(update, Update::Polled { .. }), "{id}: {update:?}");
                polls += 1;
            }
            accepted = listener.accept() => {
                connections += 1;
                serving.push(respond_to_all(accepted.unwrap().0));
            }
            Some(()) = serving.next() => {}
        }
    }
    assert!(connections <= 3, "{connections} connections");
}

#[tokio::test]
async fn a_dropped_set_polls_no_more() {
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
fn a_set_is_send_and_a_stream() {
    fn assert_send<T: Send + 'static>(value: T) -> T {
        value
    }
    let client = unreachable_client();
    let set = assert_send(client.wait_set());
    drop(assert_send(async move { StreamExt::next(&mut { set }).await.is_none() }));
}
