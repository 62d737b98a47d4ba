//! A wait for one job: how it ends, what it reports, and when it polls.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use akool::{Credential, ErrorKind, Status, Update, Wait, WaitError};
use akool_mock::{Fault, MockServer, Polls, RetryAfter, Timeline, Times};
use akool_tests::{
    ID, chain, client_of, client_with_key, eager, listen, respond, respond_times, unreachable_client,
};
use futures_util::StreamExt;
use wiremock::ResponseTemplate;

/// The statuses that the wait's updates report.
async fn statuses(wait: Wait) -> Vec<Status> {
    let updates: Vec<_> = wait.policy(eager()).updates().collect().await;
    let status = |update: &Update| match update {
        Update::Polled { snapshot, changed: true, .. } => Some(snapshot.status()),
        Update::Finished(Ok(translation)) => Some(translation.snapshot().status()),
        Update::Finished(Err(WaitError::JobFailed(failed))) => Some(failed.snapshot.status()),
        Update::Finished(Err(error)) => panic!("{error}"),
        _ => None,
    };
    updates.iter().filter_map(status).collect()
}

#[tokio::test]
async fn a_completed_job_ends_the_wait_with_its_files() {
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
async fn a_failed_job_is_an_error_with_its_reason() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(1)).failed(1015, "no speech found"));
    let error = client_of(&server).job(ID).wait().policy(eager()).await.unwrap_err();
    let WaitError::JobFailed(job) = &error else { panic!("{error}") };
    assert_eq!((job.error_code(), job.error_reason()), (Some(1015), Some("no speech found")));
    assert_eq!(job.snapshot.status(), Status::Failed);
    assert_eq!(error.to_string(), format!("job {ID} failed: no speech found (error code 1015)"));
}

#[tokio::test]
async fn a_single_poll_of_a_failed_job_returns_a_snapshot() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().failed(1015, "no speech found"));
    let snapshot = client_of(&server).job(ID).get().await.unwrap();
    assert_eq!(snapshot.status(), Status::Failed);
}

#[tokio::test]
async fn a_timeout_reports_the_last_known_status_and_that_the_job_continues() {
    let _quiet = akool_tests::QUIET.lock().await;
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    let wait = client_of(&server).job(ID).wait().policy(eager()).timeout(Duration::from_millis(100));
    let error = wait.await.unwrap_err();
    let WaitError::Timeout { last, source: None, .. } = &error else { panic!("{error}") };
    assert_eq!((last.status, last.failures), (Some(Status::Processing), 0));
    assert_eq!(server.polls_of(ID).len(), last.attempts as usize);
    let text = error.to_string();
    assert!(text.starts_with(&format!("job {ID}: not completed after 0.")), "{text}");
    assert!(text.ends_with("last known status: processing"), "{text}");
    assert!(error.help().contains("the job continues"), "{}", error.help());
}

#[tokio::test]
async fn a_timeout_without_a_response_reports_that_the_status_is_unknown() {
    let _quiet = akool_tests::QUIET.lock().await;
    let client = unreachable_client();
    let wait =
        client.job(ID).wait().policy(eager().with_max_failures(1000)).timeout(Duration::from_millis(50));
    let error = wait.await.unwrap_err();
    let WaitError::Timeout { last, source: Some(source), .. } = &error else { panic!("{error}") };
    assert!(last.status.is_none() && last.attempts > 0);
    assert_eq!(source.kind(), ErrorKind::Connect);
    assert!(error.to_string().ends_with("its status is not known"), "{error}");
}

#[tokio::test]
async fn a_timeout_of_zero_still_polls_once() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    client_of(&server).job(ID).wait().timeout(Duration::ZERO).await.unwrap();
    server.job(ID, Timeline::new().stuck(1));
    let error = client_of(&server).job(ID).wait().timeout(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, WaitError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn the_maximum_number_of_failures_in_a_row_ends_the_wait() {
    let client = unreachable_client();
    let error = client.job(ID).wait().policy(eager().with_max_failures(3)).await.unwrap_err();
    let WaitError::RetriesExhausted { last, source, .. } = &error else { panic!("{error}") };
    assert_eq!((last.attempts, last.failures, last.status), (3, 3, None));
    assert_eq!(source.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains("gave up after 3 failed polls in a row"), "{error}");
    assert_eq!(chain(&error).matches("refused").count(), 1, "{}", chain(&error));
}

#[tokio::test]
async fn refused_credentials_and_unknown_jobs_end_the_wait_at_once() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::default());
    let wrong = client_with_key(server.url(), "wrong");
    for (job, kind, code) in [
        (wrong.job(ID), ErrorKind::CredentialsRefused, 1101),
        (client_of(&server).job("nobody"), ErrorKind::UnknownJob, 1008),
    ] {
        let error = job.wait().await.unwrap_err();
        let WaitError::Rejected { last, source, .. } = &error else { panic!("{error}") };
        assert_eq!((last.attempts, source.kind(), source.code().map(|code| code.0)), (1, kind, Some(code)));
        assert_eq!(source.job(), Some(&last.job));
        assert_eq!((error.to_string(), error.help()), (source.to_string(), kind.help()));
    }
}

#[tokio::test]
async fn an_unknown_status_does_not_end_a_wait() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().status(7, Polls(1)).status(0, Polls(1)).status(-1, Polls(1)).completed());
    let statuses = statuses(client_of(&server).job(ID).wait()).await;
    assert_eq!(statuses, [Status::Unknown(7), Status::Unknown(0), Status::Unknown(-1), Status::Completed]);
}

#[tokio::test]
async fn updates_report_the_first_poll_and_every_change_of_status() {
    let server = MockServer::start().await;
    server
        .job(ID, Timeline::new().queueing(Polls(3)).processing(Polls(1)).status(7, Polls(3)).failed(1, "r"));
    let statuses = statuses(client_of(&server).job(ID).wait()).await;
    assert_eq!(statuses, [Status::Queueing, Status::Processing, Status::Unknown(7), Status::Failed]);
    assert_eq!(server.polls_of(ID).len(), 8);
}

#[tokio::test]
async fn a_timeout_is_the_last_item_of_the_updates() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(1));
    let wait = client_of(&server).job(ID).wait().policy(eager()).timeout(Duration::ZERO);
    let updates: Vec<_> = wait.updates().collect().await;
    assert!(matches!(&updates[..], [Update::Finished(Err(WaitError::Timeout { .. }))]), "{updates:?}");
}

#[tokio::test]
async fn the_end_is_reported_exactly_once() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::default());
    let mut updates = client_of(&server).job(ID).wait().policy(eager()).updates();
    let mut ends = 0;
    while let Some(update) = updates.next().await {
        ends += u32::from(matches!(update, Update::Finished(_)));
    }
    assert_eq!(ends, 1);
    assert!(updates.next().await.is_none());
}

#[tokio::test]
async fn a_completed_job_without_a_video_link_is_polled_again() {
    let server = wiremock::MockServer::start().await;
    let response = |video: &str| {
        let data = serde_json::json!({"video_status": 3, "video": video});
        ResponseTemplate::new(200).set_body_json(serde_json::json!({"code": 1000, "msg": "OK", "data": data}))
    };
    respond_times(&server, 2, response("")).await;
    respond(&server, response("https://cdn.example/v.mp4")).await;
    let client = client_with_key(server.uri(), "key");
    let translation = client.job(ID).wait().policy(eager()).await.unwrap();
    assert_eq!(translation.video().as_str(), "https://cdn.example/v.mp4");

    server.reset().await;
    respond(&server, response("")).await;
    let error = client.job(ID).wait().policy(eager().with_max_failures(3)).await.unwrap_err();
    let WaitError::RetriesExhausted { last, source, .. } = &error else { panic!("{error}") };
    assert_eq!((source.kind(), last.status), (ErrorKind::MissingVideo, Some(Status::Completed)));
    assert!(!error.help().contains("continues"), "a completed job does not continue: {}", error.help());
}

#[tokio::test]
async fn the_next_poll_is_due_exactly_after_the_retry_after() {
    let server = wiremock::MockServer::start().await;
    let too_many = ResponseTemplate::new(429).insert_header("retry-after", "1");
    respond_times(&server, 1, too_many).await;
    let done = serde_json::json!({"code": 1000, "msg": "OK", "data": {"video_status": 4}});
    respond(&server, ResponseTemplate::new(200).set_body_json(done)).await;
    let client = client_with_key(server.uri(), "key");
    let mut updates = client.job(ID).wait().policy(eager()).updates();
    let began = Instant::now();
    let Some(Update::Retrying { error, next_poll_in, .. }) = updates.next().await else { panic!() };
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(next_poll_in, Duration::from_secs(1));
    assert!(matches!(updates.next().await, Some(Update::Finished(Err(WaitError::JobFailed(_))))));
    assert!(began.elapsed() >= Duration::from_secs(1), "polled before the Retry-After");
}

#[tokio::test]
async fn a_dropped_wait_polls_no_more() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    server.job("other", Timeline::new().queueing(Polls(20)).completed());
    let client = client_of(&server);
    let mut updates = client.job(ID).wait().policy(eager()).updates();
    assert!(matches!(updates.next().await, Some(Update::Polled { .. })));
    drop(updates);
    let polls = server.polls_of(ID).len();
    // Another wait polls twenty times meanwhile.
    client.job("other").wait().policy(eager()).await.unwrap();
    assert_eq!(server.polls_of(ID).len(), polls);
}

#[tokio::test]
async fn a_wait_that_is_dropped_during_a_poll_closes_its_connection() {
    use tokio::io::AsyncReadExt;

    let (listener, url) = listen().await;
    let client = client_with_key(url, "key");
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
    // The server sees the end of the connection without a timeout.
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test]
async fn many_waits_share_one_client() {
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
fn waits_are_send() {
    fn assert_send<T: Send + 'static>(_: T) {}
    let client = unreachable_client();
    let job = client.job(ID);
    assert_send(job.wait());
    assert_send(job.wait().into_future());
    assert_send(job.wait().updates());
    let get = job.clone();
    assert_send(async move { get.get().await });
}

#[tokio::test]
async fn a_retry_after_pauses_all_waits_of_a_client() {
    let server = MockServer::start().await;
    let client = client_of(&server);
    server.job(ID, Timeline::new().completed());
    server.job("other", Timeline::new().completed());
    server.inject(Fault::RateLimited { retry_after: RetryAfter::Seconds(1) }, Times::Once);
    let mut updates = client.job(ID).wait().policy(eager()).updates();
    assert!(matches!(updates.next().await, Some(Update::Retrying { .. })));
    let paused = Instant::now();
    client.job("other").wait().policy(eager()).await.unwrap();
    assert!(paused.elapsed() >= Duration::from_millis(900), "polled during the Retry-After");
    assert_eq!(server.polls_of("other").len(), 1);
}

/// Returns one credential after the other, and counts the renewals.
struct Source {
    credentials: std::sync::Mutex<Vec<Credential>>,
    renewals: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

impl akool::CredentialSource for Source {
    fn renew(&self) -> akool::Renewal<'_> {
        self.renewals.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let next = self.credentials.lock().unwrap().pop();
        Box::pin(async { next.ok_or_else(|| "the vault is empty".into()) })
    }
}

#[tokio::test]
async fn a_refused_credential_is_renewed_once_for_all_waits() {
    let server = MockServer::start().await;
    let renewals = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let client = |good: bool| {
        let credential =
            if good { Credential::bearer(server.token()) } else { Credential::bearer("wrong too") };
        akool::Client::builder()
            .credential(Credential::bearer("wrong").unwrap())
            .credential_source(Source {
                credentials: vec![credential.unwrap()].into(),
                renewals: renewals.clone(),
            })
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
    assert_eq!(renewals.load(std::sync::atomic::Ordering::SeqCst), 1);

    // If the new credential is refused too, or there is none, the wait ends.
    server.job(ID, Timeline::default());
    let bad = client(false);
    for says in ["1101", "the vault is empty"] {
        let error = bad.job(ID).wait().policy(eager()).await.unwrap_err();
        let WaitError::Rejected { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.kind(), ErrorKind::CredentialsRefused);
        assert!(chain(&error).contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_wait_on_a_blocked_runtime_does_not_catch_up_on_polls() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    let mut updates = client_of(&server).job(ID).wait().policy(eager()).updates();
    updates.next().await;
    let before = server.polls_of(ID).len();
    // The runtime does not run for twenty poll intervals.
    std::thread::sleep(Duration::from_millis(200));
    let update = updates.next().await;
    assert_eq!(server.polls_of(ID).len(), before + 1);
    // The next poll is not overdue already.
    let Some(Update::Polled { next_poll_in, .. }) = update else { panic!("{update:?}") };
    assert!(next_poll_in >= Duration::from_millis(5), "{next_poll_in:?}");
}

#[tokio::test]
async fn a_key_that_the_server_echoes_is_redacted() {
    let server = wiremock::MockServer::start().await;
    let response = ResponseTemplate::new(418).set_body_string("you sent x-api-key: MARKER");
    respond(&server, response).await;
    let client = client_with_key(server.uri(), "MARKER");
    let error = client.job(ID).get().await.unwrap_err();
    assert!(error.to_string().contains("x-api-key: [credential]"), "{error}");
    assert!(!format!("{error:?} {client:?}").contains("MARKER"));
}

/// How long a wait takes against a server with this fault.
async fn elapsed(fault: Fault, timeout: Duration) -> (Duration, WaitError) {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    server.inject(fault, Times::Always);
    // The requests themselves would take longer.
    let client = akool::Client::builder()
        .credential(Credential::api_key(server.api_key()).unwrap())
        .base_url(server.url_for(fault))
        .request_timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    let began = Instant::now();
    let error = client.job(ID).wait().policy(eager()).timeout(timeout).await.unwrap_err();
    (began.elapsed(), error)
}

#[tokio::test]
async fn the_last_poll_is_cut_off_five_seconds_after_the_timeout_whatever_the_server_does() {
    let _quiet = akool_tests::QUIET.lock().await;
    let faults =
        [Fault::NeverAnswers, Fault::DrippingHeaders, Fault::DrippingBody, Fault::EndlessInformational];
    let waits = faults.iter().flat_map(|fault| {
        [Duration::ZERO, Duration::from_secs(1)].map(|timeout| async move {
            let (elapsed, error) = elapsed(*fault, timeout).await;
            let WaitError::Timeout { source: Some(source), .. } = &error else {
                panic!("{fault:?}: {error}")
            };
            assert_eq!(source.kind(), ErrorKind::Timeout, "{fault:?}");
            let over = elapsed.saturating_sub(timeout).as_millis();
            assert!((4900..6500).contains(&over), "{fault:?}: {over} ms over a timeout of {timeout:?}");
        })
    });
    futures_util::future::join_all(waits).await;
}

#[tokio::test]
async fn the_renewal_of_a_credential_is_cut_off_with_the_last_poll() {
    struct Hanging;

    impl akool::CredentialSource for Hanging {
        fn renew(&self) -> akool::Renewal<'_> {
            Box::pin(std::future::pending())
        }
    }

    let _quiet = akool_tests::QUIET.lock().await;
    let client = akool::Client::builder().credential_source(Hanging).base_url("http://127.0.0.1:1").build();
    let began = Instant::now();
    let error = client.unwrap().job(ID).wait().timeout(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, WaitError::Timeout { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_millis(6500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_timeout_during_a_retry_after_ends_the_wait_without_a_last_poll() {
    let _quiet = akool_tests::QUIET.lock().await;
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    server.inject(Fault::RateLimited { retry_after: RetryAfter::Seconds(9_999_999_999) }, Times::Once);
    let client = client_of(&server);
    let began = Instant::now();
    let wait = |millis| client.job(ID).wait().policy(eager()).timeout(Duration::from_millis(millis));
    // The first receives the Retry-After, the second begins during the pause.
    for millis in [300, 200] {
        let error = wait(millis).await.unwrap_err();
        assert!(matches!(error, WaitError::Timeout { .. }), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(server.polls_of(ID).len(), 1);
}

#[tokio::test]
async fn a_single_call_during_a_retry_after_sends_nothing_and_returns_the_remaining_time() {
    let server = MockServer::start().await;
    server.inject(Fault::RateLimited { retry_after: RetryAfter::Seconds(9_999_999_999) }, Times::Once);
    let client = client_of(&server);
    let error = client.clone().job(ID).get().await.unwrap_err();
    assert!(error.retry_after().unwrap() > akool::MAX_RETRY_AFTER, "{error}");
    let requests = server.exchanges().len();
    let assert_paused = |error: &akool::Error| {
        let remaining = error.retry_after().unwrap();
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert!(remaining <= akool::MAX_RETRY_AFTER && remaining.as_secs() > 890, "{remaining:?}");
    };
    assert_paused(&client.job(ID).get().await.unwrap_err());
    assert_paused(&client.languages().await.unwrap_err());
    let error = client.translate("https://example.com/talk.mp4").to(["es"]).send().await.unwrap_err();
    let akool::CreateError::NotCreated(not_created) = &error else { panic!("{error}") };
    assert_paused(&not_created.error);
    assert_eq!(server.exchanges().len(), requests, "a request was sent during the pause");
}

#[tokio::test]
async fn each_response_is_reported_once_also_if_it_cannot_be_decoded() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(1)).completed());
    server.inject(Fault::TruncatedJson, Times::Once);
    let responses = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = responses.clone();
    let client = akool::Client::builder()
        .credential(Credential::api_key(server.api_key()).unwrap())
        .base_url(server.url())
        .on_response(move |response| {
            let shown = format!("{} {} {}", response.operation, response.target, response.status.as_u16());
            seen.lock().unwrap().push((shown, response.body.to_vec()));
        })
        .build()
        .unwrap();
    client.job(ID).wait().policy(eager()).await.unwrap();
    client.languages().await.unwrap();
    let responses = responses.lock().unwrap();
    let shown: Vec<_> = responses.iter().map(|(shown, _)| shown.as_str()).collect();
    let poll = format!("get_video_info /api/open/v3/content/video/infobymodelid?video_model_id={ID} 200");
    assert_eq!(shown, [&*poll, &poll, &poll, "list_languages /api/open/v3/language/list 200"]);
    assert!(serde_json::from_slice::<serde_json::Value>(&responses[0].1).is_err(), "the first is truncated");
}
