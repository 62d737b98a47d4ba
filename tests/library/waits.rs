//! Waits over timelines, for each ending.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use akool::{Credential, ErrorKind, Event, Status, WaitError};
use akool_mock::{MockServer, Polls, Timeline};
use akool_tests::{ID, client_at, client_of, eager};
use futures_util::{StreamExt, TryStreamExt};

#[tokio::test]
async fn a_wait_ends_with_the_video_and_its_files() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().queueing(Polls(2)).processing(Polls(3)).completed());
    let translation = client_of(&server).job(ID).wait().policy(eager()).await.unwrap();
    assert_eq!(server.polls_of(ID).len(), 6);
    assert!(translation.video().path().ends_with("/video.mp4"));
    let names: Vec<_> = translation.files().iter().map(|file| file.file_name()).collect();
    assert_eq!(
        names,
        [
            format!("{ID}.mp4"),
            format!("{ID}.original.srt"),
            format!("{ID}.translated.srt"),
            format!("{ID}.no-captions.mp4")
        ]
    );
}

#[tokio::test]
async fn a_failed_job_is_an_error_value_with_its_reason() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(1)).failed(1015, "no speech found"));
    let error = client_of(&server).job(ID).wait().policy(eager()).await.unwrap_err();
    let WaitError::JobFailed(job) = &error else { panic!("{error}") };
    assert_eq!((job.error_code(), job.error_reason()), (Some(1015), Some("no speech found")));
    assert_eq!(job.snapshot.status(), Status::Failed);
    assert_eq!(error.to_string(), format!("job {ID} failed: no speech found (error code 1015)"));
}

#[tokio::test]
async fn a_poll_at_a_failed_job_is_a_snapshot() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().failed(1015, "no speech found"));
    let snapshot = client_of(&server).job(ID).get().await.unwrap();
    assert_eq!(snapshot.status(), Status::Failed);
}

#[tokio::test]
async fn a_timeout_says_what_was_last_seen_and_that_the_job_goes_on() {
    let _quiet = akool_tests::QUIET.lock().await;
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    let wait = client_of(&server).job(ID).wait().policy(eager()).timeout(Duration::from_millis(100));
    let error = wait.await.unwrap_err();
    let WaitError::Timeout(end) = &error else { panic!("{error}") };
    assert_eq!(end.last_snapshot.as_ref().unwrap().status(), Status::Processing);
    assert_eq!(end.polls, end.answers);
    assert_eq!(server.polls_of(ID).len(), end.polls as usize);
    let text = error.to_string();
    assert!(text.contains("still processing when last seen") && text.contains("the job goes on"), "{text}");
}

#[tokio::test]
async fn a_timeout_without_any_answer_says_that_nothing_is_known() {
    let _quiet = akool_tests::QUIET.lock().await;
    let client = client_at("http://127.0.0.1:1", Credential::api_key("key").unwrap()).unwrap();
    let wait =
        client.job(ID).wait().policy(eager().with_max_failures(1000)).timeout(Duration::from_millis(50));
    let error = wait.await.unwrap_err();
    let WaitError::Timeout(end) = &error else { panic!("{error}") };
    assert!(end.last_snapshot.is_none() && end.answers == 0 && end.polls > 0);
    assert!(error.to_string().contains("its state was never established"), "{error}");
}

#[tokio::test]
async fn a_timeout_of_zero_still_polls_once() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    client_of(&server).job(ID).wait().timeout(Duration::ZERO).await.unwrap();
    server.job(ID, Timeline::new().stuck(1));
    let error = client_of(&server).job(ID).wait().timeout(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, WaitError::Timeout(_)), "{error}");
}

#[tokio::test]
async fn too_many_failures_in_a_row_end_the_wait() {
    let client = client_at("http://127.0.0.1:1", Credential::api_key("key").unwrap()).unwrap();
    let error = client.job(ID).wait().policy(eager().with_max_failures(3)).await.unwrap_err();
    let WaitError::RetriesExhausted(end) = &error else { panic!("{error}") };
    assert_eq!((end.polls, end.answers, end.failures), (3, 0, 3));
    assert_eq!(end.last_error.as_ref().unwrap().kind(), ErrorKind::Connect);
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn refused_credentials_and_unknown_jobs_end_the_wait_at_once() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::default());
    let wrong = client_at(server.url(), Credential::api_key("wrong").unwrap()).unwrap();
    for (job, kind, code) in [
        (wrong.job(ID), ErrorKind::CredentialsRefused, 1101),
        (client_of(&server).job("nobody"), ErrorKind::UnknownJob, 1008),
    ] {
        let error = job.wait().await.unwrap_err();
        let WaitError::Rejected(end) = &error else { panic!("{error}") };
        let last = end.last_error.as_ref().unwrap();
        assert_eq!((end.polls, last.kind(), last.code().map(|code| code.0)), (1, kind, Some(code)));
        assert_eq!(last.job(), Some(&end.job));
        assert!(error.to_string().contains(kind.advice()), "{error}");
    }
}

#[tokio::test]
async fn a_status_of_tomorrow_does_not_end_a_wait() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().status(7, Polls(1)).status(0, Polls(1)).status(-1, Polls(1)).completed());
    let updates: Vec<_> =
        client_of(&server).job(ID).wait().policy(eager()).updates().try_collect().await.unwrap();
    let statuses: Vec<_> = updates.iter().map(|snapshot| snapshot.status()).collect();
    assert_eq!(statuses, [Status::Unknown(7), Status::Unknown(0), Status::Unknown(-1), Status::Completed]);
}

#[tokio::test]
async fn updates_are_the_first_poll_and_every_change() {
    let server = MockServer::start().await;
    server
        .job(ID, Timeline::new().queueing(Polls(3)).processing(Polls(1)).status(7, Polls(3)).failed(1, "r"));
    let updates: Vec<_> =
        client_of(&server).job(ID).wait().policy(eager()).updates().try_collect().await.unwrap();
    let statuses: Vec<_> = updates.iter().map(|snapshot| snapshot.status()).collect();
    assert_eq!(statuses, [Status::Queueing, Status::Processing, Status::Unknown(7), Status::Failed]);
    assert_eq!(server.polls_of(ID).len(), 8);
}

#[tokio::test]
async fn an_early_end_is_the_last_item_of_the_updates() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(1));
    let wait = client_of(&server).job(ID).wait().policy(eager()).timeout(Duration::ZERO);
    let items: Vec<_> = wait.updates().collect().await;
    assert!(matches!(&items[..], [Ok(_), Err(WaitError::Timeout(_))]), "{items:?}");
}

#[tokio::test]
async fn the_end_is_told_exactly_once() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::default());
    let mut events = client_of(&server).job(ID).wait().policy(eager()).events();
    let mut ends = 0;
    while let Some(event) = events.next().await {
        ends += u32::from(matches!(event, Event::Ended(_)));
    }
    assert_eq!(ends, 1);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_completed_job_without_a_link_is_looked_at_again() {
    use wiremock::{Mock, ResponseTemplate, matchers::any};

    let server = wiremock::MockServer::start().await;
    let answer = |video: &str| {
        let data = serde_json::json!({"video_status": 3, "video": video});
        ResponseTemplate::new(200).set_body_json(serde_json::json!({"code": 1000, "msg": "OK", "data": data}))
    };
    Mock::given(any()).respond_with(answer("")).up_to_n_times(2).mount(&server).await;
    Mock::given(any()).respond_with(answer("https://cdn.example/v.mp4")).mount(&server).await;
    let client = client_at(server.uri(), Credential::api_key("key").unwrap()).unwrap();
    let translation = client.job(ID).wait().policy(eager()).await.unwrap();
    assert_eq!(translation.video().as_str(), "https://cdn.example/v.mp4");

    server.reset().await;
    Mock::given(any()).respond_with(answer("")).mount(&server).await;
    let error = client.job(ID).wait().policy(eager().with_max_failures(3)).await.unwrap_err();
    let WaitError::RetriesExhausted(end) = &error else { panic!("{error}") };
    assert_eq!(end.last_error.as_ref().unwrap().kind(), ErrorKind::MissingVideo);
    assert_eq!(end.answers, 3, "the service did answer");
    assert_eq!(end.last_snapshot.as_ref().unwrap().status(), Status::Completed);
    assert!(!error.to_string().contains("goes on"), "a completed job does not go on: {error}");
}

#[tokio::test]
async fn a_retry_after_is_waited_for_and_no_longer() {
    use wiremock::{Mock, ResponseTemplate, matchers::any};

    let server = wiremock::MockServer::start().await;
    let pause_for = ResponseTemplate::new(429).insert_header("retry-after", "1");
    Mock::given(any()).respond_with(pause_for).up_to_n_times(1).mount(&server).await;
    let done = serde_json::json!({"code": 1000, "msg": "OK", "data": {"video_status": 4}});
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(done)).mount(&server).await;
    let client = client_at(server.uri(), Credential::api_key("key").unwrap()).unwrap();
    let mut events = client.job(ID).wait().policy(eager()).events();
    let asked = Instant::now();
    let Some(Event::Trouble { error, next_poll_in, .. }) = events.next().await else { panic!() };
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(next_poll_in, Duration::from_secs(1));
    assert!(matches!(events.next().await, Some(Event::Ended(Err(WaitError::JobFailed(_))))));
    assert!(asked.elapsed() >= Duration::from_secs(1), "polled before it was allowed");
}

#[tokio::test]
async fn dropping_a_wait_leaves_nothing_running() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    server.job("other", Timeline::new().queueing(Polls(20)).completed());
    let client = client_of(&server);
    let mut events = client.job(ID).wait().policy(eager()).events();
    assert!(matches!(events.next().await, Some(Event::Polled { .. })));
    drop(events);
    let polls = server.polls_of(ID).len();
    // Twenty polls of another wait later, there was none at this one.
    client.job("other").wait().policy(eager()).await.unwrap();
    assert_eq!(server.polls_of(ID).len(), polls);
}

#[tokio::test]
async fn dropping_a_wait_in_the_middle_of_a_poll_closes_the_connection() {
    use tokio::io::AsyncReadExt;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = client_at(url, Credential::api_key("key").unwrap()).unwrap();
    let mut wait = client.job(ID).wait().into_future();
    let mut stream = tokio::select! {
        end = &mut wait => panic!("{end:?}"),
        accepted = listener.accept() => accepted.unwrap().0,
    };
    let mut request = [0; 16];
    tokio::select! {
        end = &mut wait => panic!("{end:?}"),
        read = stream.read_exact(&mut request) => drop(read.unwrap()),
    }
    drop(wait);
    // The other side sees the end, without waiting for any timeout.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn many_waits_share_a_client() {
    let server = MockServer::start().await;
    let client = client_of(&server);
    let waits = (0..50).map(|number| {
        let id = format!("job{number}");
        server.job(&id, Timeline::default());
        client.job(id).wait().policy(eager()).into_future()
    });
    let ends = futures_util::future::join_all(waits).await;
    assert!(ends.iter().all(Result::is_ok));
}

#[test]
fn waits_can_be_sent_between_threads() {
    fn sendable<T: Send + 'static>(_: T) {}
    let client = client_at("http://127.0.0.1:1", Credential::api_key("key").unwrap()).unwrap();
    let job = client.job(ID);
    sendable(job.wait());
    sendable(job.wait().into_future());
    sendable(job.updates());
    sendable(job.wait().events());
    let get = job.clone();
    sendable(async move { get.get().await });
}

#[tokio::test]
async fn told_to_slow_down_all_waits_of_a_client_do() {
    let server = MockServer::start().await;
    let client = client_of(&server);
    server.job("told", Timeline::new().completed());
    server.job("other", Timeline::new().completed());
    server.inject(akool_mock::Fault::RetryAfterSeconds, akool_mock::Times::Once);
    let mut told = client.job("told").wait().policy(eager()).events();
    assert!(matches!(told.next().await, Some(Event::Trouble { .. })));
    let when = Instant::now();
    // Another wait of the same client, which nobody told anything.
    client.job("other").wait().policy(eager()).await.unwrap();
    assert!(when.elapsed() >= Duration::from_millis(900), "polled while the service asked for a pause");
    assert_eq!(server.polls_of("other").len(), 1);
}

/// Hands out one credential after the other, and counts.
struct Source {
    credentials: std::sync::Mutex<Vec<Credential>>,
    asked: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

impl akool::CredentialSource for Source {
    fn renew(&self) -> std::pin::Pin<Box<dyn Future<Output = akool::Renewed> + Send + '_>> {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let next = self.credentials.lock().unwrap().pop();
        Box::pin(async { next.ok_or_else(|| "the vault is empty".into()) })
    }
}

#[tokio::test]
async fn a_refused_credential_is_renewed_once_for_all() {
    let server = MockServer::start().await;
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let client = |good: bool| {
        let credential =
            if good { Credential::bearer(server.token()) } else { Credential::bearer("wrong too") };
        akool::Client::builder()
            .credential(Credential::bearer("wrong").unwrap())
            .credential_source(Source { credentials: vec![credential.unwrap()].into(), asked: asked.clone() })
            .base_url(server.url())
            .build()
            .unwrap()
    };
    // Many waits at once, one renewal.
    let good = client(true);
    let waits = (0..10).map(|number| {
        server.job(format!("job{number}"), Timeline::default());
        good.job(format!("job{number}")).wait().policy(eager()).into_future()
    });
    let ends = futures_util::future::join_all(waits).await;
    assert!(ends.iter().all(Result::is_ok), "{ends:?}");
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);

    // A new one that is refused too ends the wait, as does none.
    server.job(ID, Timeline::default());
    let bad = client(false);
    for says in ["1101", "the vault is empty"] {
        let error = bad.job(ID).wait().policy(eager()).await.unwrap_err();
        let WaitError::Rejected(end) = &error else { panic!("{error}") };
        assert_eq!(end.last_error.as_ref().unwrap().kind(), ErrorKind::CredentialsRefused);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_runtime_that_was_blocked_polls_once_and_not_in_a_burst() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    let mut events = client_of(&server).job(ID).wait().policy(eager()).events();
    events.next().await;
    let before = server.polls_of(ID).len();
    // Twenty intervals long, nothing runs.
    std::thread::sleep(Duration::from_millis(200));
    events.next().await;
    assert_eq!(server.polls_of(ID).len(), before + 1);
}

#[tokio::test]
async fn what_a_server_sends_back_of_the_key_is_not_shown() {
    use wiremock::{Mock, ResponseTemplate, matchers::any};

    let server = wiremock::MockServer::start().await;
    let answer = ResponseTemplate::new(418).set_body_string("you sent x-api-key: MARKER");
    Mock::given(any()).respond_with(answer).mount(&server).await;
    let client = client_at(server.uri(), Credential::api_key("MARKER").unwrap()).unwrap();
    let error = client.job(ID).get().await.unwrap_err();
    assert!(error.to_string().contains("x-api-key: [credential]"), "{error}");
    assert!(!format!("{error:?} {client:?}").contains("MARKER"));
}
