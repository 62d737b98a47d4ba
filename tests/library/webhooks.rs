//! Webhooks: opening messages that other implementations made, and events that trigger polls.

use std::{
    collections::HashMap,
    future::IntoFuture,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, SystemTime},
};

use akool::{JobId, PollPolicy, Status, Update, Wait};
use akool_mock::{Fault, MockServer, Polls, RetryAfter, Timeline, Times, WebhookCall, WebhookFault};
use akool_tests::{ID, QUIET, client_of};
use akool_webhook::{MemoryNonces, Rejection, WebhookError, WebhookEvent, WebhookVerifier};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A vector of `webhook-vectors/vectors.json`, which OpenSSL and PyCryptodome made.
#[derive(Deserialize)]
struct Vector {
    name: String,
    client_id: String,
    client_secret: String,
    plain: Option<String>,
    now: u64,
    max_body: usize,
    body: Option<String>,
    body_base64: Option<String>,
    event: Option<Value>,
    rejected: Option<String>,
}

impl Vector {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../webhook-vectors/vectors.json")).unwrap()
    }

    fn of(name: &str) -> Self {
        Self::all().into_iter().find(|vector| vector.name == name).unwrap()
    }

    fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(bytes)) => STANDARD.decode(bytes).unwrap(),
            _ => panic!("{}: needs exactly one body", self.name),
        }
    }

    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.now)
    }

    fn verifier(&self) -> WebhookVerifier {
        let verifier = WebhookVerifier::new(self.client_id.as_str(), self.client_secret.as_str()).unwrap();
        verifier.max_body(self.max_body)
    }

    fn verify(&self) -> Result<WebhookEvent, WebhookError> {
        self.verifier().verify(&self.body(), self.now())
    }
}

/// The name of a rejection in the vectors.
fn name_of(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::TooLarge { .. } => "too-large",
        Rejection::Malformed { .. } => "malformed",
        Rejection::WrongSignature => "wrong-signature",
        Rejection::Stale { .. } => "stale",
        Rejection::FromTheFuture { .. } => "from-the-future",
        Rejection::Repeated => "repeated",
        Rejection::Undecryptable => "undecryptable",
        Rejection::NotAnEvent => "not-an-event",
        other => panic!("{other}"),
    }
}

#[test]
fn messages_of_other_implementations_open_or_are_rejected() {
    let vectors = Vector::all();
    assert!(vectors.len() > 150);
    for vector in &vectors {
        let name = &vector.name;
        match (vector.verify(), &vector.event, &vector.rejected) {
            (Ok(event), Some(wanted), None) => {
                assert_eq!(event.job().as_str(), wanted["job"], "{name}");
                assert_eq!(i64::from(event.status()), wanted["status"], "{name}");
                for (field, value) in [
                    ("product", event.product().map(Value::from)),
                    ("url", event.url().map(|url| url.as_str().into())),
                    ("progress", event.progress().map(Value::from)),
                    ("error_code", event.error_code().map(Value::from)),
                    ("error_reason", event.error_reason().map(Value::from)),
                ] {
                    if let Some(wanted) = wanted.get(field) {
                        assert_eq!(value.as_ref(), Some(wanted), "{name}: {field}");
                    }
                }
            }
            (Err(error), None, Some(wanted)) => assert_eq!(name_of(error.reason()), wanted, "{name}"),
            (seen, ..) => panic!("{name}: {seen:?}"),
        }
    }
}

/// The mock server has its own implementation, so that a mistake in one of the two shows.
#[test]
fn the_mock_server_seals_messages_like_other_implementations() {
    let mut compared = 0;
    for vector in Vector::all() {
        let (Some(plain), Some(body)) = (&vector.plain, &vector.body) else { continue };
        let body: Value = serde_json::from_str(body).unwrap();
        let (nonce, timestamp) = (&body["nonce"], body["timestamp"].as_u64());
        let (Some(timestamp), false) = (timestamp, nonce.is_f64()) else { continue };
        let sealed = akool_mock::seal(&vector.client_id, &vector.client_secret, timestamp, nonce, plain);
        let sealed: Value = serde_json::from_str(&sealed.unwrap()).unwrap();
        for field in ["signature", "dataEncrypt", "timestamp", "nonce"] {
            assert_eq!(sealed[field], body[field], "{}: {field}", vector.name);
        }
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
    assert_eq!(akool_mock::seal("id", "no key", 0, &0.into(), "{}"), None);
}

#[test]
fn every_rejection_is_alike_for_the_sender_and_contains_no_secret() {
    let mut seen = std::collections::BTreeSet::new();
    for vector in Vector::all() {
        let Err(error) = vector.verify() else { continue };
        seen.insert(name_of(error.reason()));
        assert_eq!((error.to_string().as_str(), error.http_status()), ("the message was rejected", 400));
        let all = format!("{error:?} {} {:?}", error.reason(), vector.verifier());
        for secret in [&vector.client_secret, &vector.client_id] {
            assert!(!all.contains(secret.as_str()), "{}: {all}", vector.name);
        }
        assert!(!all.contains("Signature=abc") && all.len() < 1000, "{}: {all}", vector.name);
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
}

#[test]
fn a_repeated_message_is_rejected_with_200_so_that_its_sender_stops() {
    let vector = Vector::of("AES-192, long client id, status 3");
    let verifier = vector.verifier().nonces(MemoryNonces::new(10));
    assert!(verifier.verify(&vector.body(), vector.now()).is_ok());
    for later in [0, 1, 200] {
        let now = vector.now() + Duration::from_secs(later);
        let error = verifier.clone().verify(&vector.body(), now).unwrap_err();
        assert_eq!((error.reason(), error.http_status()), (&Rejection::Repeated, 200));
    }
    // A different message with the same nonce is not a repetition.
    assert!(verifier.verify(&Vector::of("AES-192, long client id, status 2").body(), vector.now()).is_ok());
    // The nonce is forgotten once the message would be rejected for its age.
    let error = verifier.verify(&vector.body(), vector.now() + Duration::from_secs(400)).unwrap_err();
    assert!(matches!(error.reason(), Rejection::Stale { .. }));
}

#[test]
fn a_rejected_message_does_not_use_up_the_nonce_of_a_valid_one() {
    let good = Vector::of("AES-192, long client id, status 3");
    let nonces = Arc::new(MemoryNonces::new(10));
    // The signature is right, but the secret is not.
    let other = WebhookVerifier::new(good.client_id.as_str(), "another-secret-24-bytes!").unwrap();
    let error = other.nonces(Arc::clone(&nonces)).verify(&good.body(), good.now()).unwrap_err();
    assert_eq!(error.reason(), &Rejection::Undecryptable);
    assert!(good.verifier().nonces(nonces).verify(&good.body(), good.now()).is_ok());
}

#[test]
fn a_message_of_any_age_opens_without_a_maximum_age() {
    for name in ["stale", "from the future", "a timestamp in 1970"] {
        let vector = Vector::of(name);
        let verifier = vector.verifier().max_age(Duration::MAX).nonces(MemoryNonces::new(1));
        assert!(verifier.verify(&vector.body(), vector.now()).is_ok(), "{name}");
        let error = verifier.verify(&vector.body(), vector.now()).unwrap_err();
        assert_eq!(error.reason(), &Rejection::Repeated, "{name}");
    }
}

#[test]
fn a_secret_of_the_wrong_length_is_an_error_that_does_not_show_it() {
    for secret in ["", "short", "MARKER-25-characters-long", "MARKER-MARKER-MARKER-MARKER-MARKER"] {
        let error = WebhookVerifier::new("id", secret).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("MARKER"), "{error}");
    }
    assert!(WebhookVerifier::new("", "sandbox-secret-24-bytes!").is_err());
    // The length counts bytes, not characters.
    assert!(WebhookVerifier::new("id", "ключ-ключ-клю").is_ok());
}

/// A timeout that only a failing test reaches.
const LONG: Duration = Duration::from_secs(20);

/// A policy that polls only when triggered, within the time of a test.
fn only_triggered() -> PollPolicy {
    PollPolicy::fixed(Duration::from_secs(3600)).with_min_trigger_gap(Duration::from_millis(10))
}

/// Triggers by job id, as a user's webhook handler would send them to waits.
#[derive(Clone, Default)]
struct Triggers(Arc<Mutex<HashMap<JobId, UnboundedSender<()>>>>);

impl Triggers {
    /// The triggers for a job, from now on.
    fn of(&self, job: impl Into<JobId>) -> BoxStream<'static, ()> {
        let (sender, mut receiver) = unbounded_channel();
        self.0.lock().unwrap().insert(job.into(), sender);
        stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed()
    }

    /// Returns whether a wait receives it.
    fn send(&self, job: impl Into<JobId>) -> bool {
        self.0.lock().unwrap().get(&job.into()).is_some_and(|sender| sender.send(()).is_ok())
    }
}

/// A wait for the job that polls only when triggered.
fn triggered_wait(server: &MockServer, triggers: &Triggers) -> Wait {
    client_of(server).job(ID).wait().poll_on(triggers.of(ID)).policy(only_triggered()).timeout(LONG)
}

#[tokio::test]
async fn a_trigger_leads_to_a_poll_at_once() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Polls(2)).completed());
    let triggers = Triggers::default();
    let mut updates = triggered_wait(&server, &triggers).updates();
    for _ in 0..2 {
        assert!(matches!(updates.next().await, Some(Update::Polled { .. })));
        assert!(triggers.send(ID));
    }
    assert!(matches!(updates.next().await, Some(Update::Finished(Ok(_)))));
    assert_eq!(server.polls_of(ID).len(), 3);
    drop(updates);
    assert!(!triggers.send(ID), "the wait is over");
}

#[tokio::test]
async fn after_a_forged_event_the_wait_reports_the_polled_status() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    let triggers = Triggers::default();
    let mut updates = triggered_wait(&server, &triggers).updates();
    for _ in 0..3 {
        let Some(Update::Polled { snapshot, .. }) = updates.next().await else { panic!() };
        assert_eq!(snapshot.status(), Status::Processing);
        triggers.send(ID);
    }
}

#[tokio::test]
async fn a_trigger_before_the_first_poll_causes_no_second_one() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    let triggers = Triggers::default();
    let mut updates = triggered_wait(&server, &triggers).updates();
    triggers.send(ID);
    updates.next().await;
    let more = tokio::time::timeout(Duration::from_millis(200), updates.next()).await;
    assert!(more.is_err() && server.polls_of(ID).len() == 1);
}

#[tokio::test]
async fn a_flood_of_triggers_causes_few_polls() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    let triggers = Triggers::default();
    let wait = triggered_wait(&server, &triggers).timeout(Duration::from_millis(500)).into_future();
    let flood = async {
        loop {
            triggers.send(ID);
            triggers.send("unknown");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        end = wait => drop(end.unwrap_err()),
        () = flood => {}
    }
    // Triggers that reveal nothing new are followed by doubling pauses: 10, 20, 40 ms and so on.
    let polls = server.polls_of(ID).len();
    assert!((2..=16).contains(&polls), "{polls} polls");
}

#[tokio::test]
async fn a_trigger_does_not_shorten_a_retry_after() {
    let _quiet = QUIET.lock().await;
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    server.inject(Fault::RateLimited { retry_after: RetryAfter::Seconds(1) }, Times::Once);
    let triggers = Triggers::default();
    let mut wait = triggered_wait(&server, &triggers).into_future();
    while server.polls_of(ID).is_empty() {
        let _ = tokio::time::timeout(Duration::from_millis(10), &mut wait).await;
    }
    for _ in 0..20 {
        triggers.send(ID);
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut wait).await.is_err());
    }
    assert_eq!(server.polls_of(ID).len(), 1);
}

/// A webhook receiver like that of a user.
struct Receiver {
    server: wiremock::MockServer,
    events: mpsc::Receiver<Result<WebhookEvent, WebhookError>>,
}

impl Receiver {
    /// Starts a receiver that triggers a poll for each event. It responds 503 to the first `busy` calls.
    async fn start(mock_server: &MockServer, triggers: &Triggers, busy: usize) -> Self {
        let verifier = WebhookVerifier::new(mock_server.client_id(), mock_server.api_key()).unwrap();
        let verifier = verifier.nonces(MemoryNonces::new(100));
        let (sender, events) = mpsc::channel();
        let triggers = triggers.clone();
        let busy = std::sync::atomic::AtomicUsize::new(busy);
        let server = wiremock::MockServer::start().await;
        let respond = move |request: &wiremock::Request| {
            use std::sync::atomic::Ordering::Relaxed;
            if busy.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                return wiremock::ResponseTemplate::new(503);
            }
            let seen = verifier.verify(&request.body, SystemTime::now());
            let status = match &seen {
                Ok(event) => {
                    triggers.send(event.job());
                    200
                }
                Err(error) => error.http_status(),
            };
            let _ = sender.send(seen);
            wiremock::ResponseTemplate::new(status)
        };
        wiremock::Mock::given(wiremock::matchers::method("POST")).respond_with(respond).mount(&server).await;
        Self { server, events }
    }

    fn url(&self) -> String {
        format!("{}/akool?x=1", self.server.uri())
    }

    fn seen(&self) -> Vec<Result<WebhookEvent, WebhookError>> {
        self.events.try_iter().collect()
    }
}

/// A mock server, and the webhook calls that it makes.
async fn server_with_calls() -> (MockServer, mpsc::Receiver<WebhookCall>) {
    let (sender, calls) = mpsc::channel();
    let builder = MockServer::builder().on_webhook_call(move |call| drop(sender.send(call.clone())));
    (builder.start().await, calls)
}

async fn next_call(calls: mpsc::Receiver<WebhookCall>) -> WebhookCall {
    tokio::task::spawn_blocking(move || calls.recv_timeout(LONG).unwrap()).await.unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test]
async fn events_trigger_the_polls_of_jobs_that_were_created_with_a_webhook() {
    let server = MockServer::start().await;
    server.on_create(Timeline::new().queueing(millis(100)).processing(millis(100)).completed());
    let triggers = Triggers::default();
    let receiver = Receiver::start(&server, &triggers, 0).await;
    let client = client_of(&server);
    let creation = client.translate("https://example.com/talk.mp4").to(["es", "fr"]).webhook(receiver.url());
    for created in creation.send().await.unwrap().jobs {
        let wait = client
            .job(&created.id)
            .wait()
            .poll_on(triggers.of(&created.id))
            .policy(only_triggered())
            .timeout(LONG);
        let translation = wait.await.unwrap();
        assert_eq!(translation.id(), &created.id);
    }
    let events = receiver.seen();
    let mut opened: Vec<_> = events.iter().map(|event| event.as_ref().unwrap()).collect();
    assert!(opened.iter().all(|event| event.product() == Some("video translate")));
    opened.retain(|event| event.status() == Status::Completed);
    assert!(opened.iter().all(|event| event.url().is_some()), "{opened:?}");
}

#[tokio::test]
async fn a_wait_ends_with_the_polled_status_under_every_webhook_fault() {
    for fault in [
        WebhookFault::Lost,
        WebhookFault::Doubled,
        WebhookFault::Delayed(millis(150)),
        WebhookFault::Stale,
        WebhookFault::WrongSignature,
        WebhookFault::WrongKey,
        WebhookFault::Untrue,
    ] {
        let server = MockServer::start().await;
        server.inject_into_webhooks(fault, Times::Always);
        let triggers = Triggers::default();
        let receiver = Receiver::start(&server, &triggers, 0).await;
        server.job(ID, Timeline::new().queueing(millis(50)).processing(millis(100)).completed());
        server.webhook(ID, receiver.url());
        let policy = PollPolicy::fixed(millis(60)).with_min_trigger_gap(millis(10));
        let translation = client_of(&server).job(ID).wait().poll_on(triggers.of(ID)).policy(policy).await;
        let translation = translation.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(translation.video().path().ends_with("/video.mp4"), "{fault:?}");
        let polls = server.polls_of(ID).len();
        assert!(polls <= 12, "{fault:?}: {polls} polls");
    }
}

#[tokio::test]
async fn the_receiver_sees_the_reason_of_a_rejection_and_the_sender_only_a_400() {
    for (fault, wanted) in [
        (WebhookFault::Stale, &["stale"][..]),
        (WebhookFault::WrongSignature, &["wrong-signature"]),
        (WebhookFault::WrongKey, &["undecryptable", "not-an-event"]),
    ] {
        let (server, calls) = server_with_calls().await;
        server.inject_into_webhooks(fault, Times::Always);
        let receiver = Receiver::start(&server, &Triggers::default(), 0).await;
        server.job(ID, Timeline::new().processing(Polls(9)).completed());
        server.webhook(ID, receiver.url());
        client_of(&server).job(ID).get().await.unwrap();
        let call = next_call(calls).await;
        assert_eq!((call.status, call.answer.map(|status| status.as_u16())), (2, Some(400)), "{fault:?}");
        let seen = receiver.seen().remove(0).unwrap_err();
        assert!(wanted.contains(&name_of(seen.reason())), "{fault:?}: {seen:?}");
    }
}

#[tokio::test]
async fn a_call_is_repeated_until_it_succeeds_and_its_event_opens_once() {
    let (server, calls) = server_with_calls().await;
    server.inject_into_webhooks(WebhookFault::Doubled, Times::Once);
    let receiver = Receiver::start(&server, &Triggers::default(), 3).await;
    server.job(ID, Timeline::new().failed(1015, "no speech"));
    server.webhook(ID, receiver.url());
    client_of(&server).job(ID).get().await.unwrap();
    let calls = tokio::task::spawn_blocking(move || {
        let mut answers = Vec::new();
        while answers.iter().filter(|answer| **answer == 200).count() < 2 {
            answers.push(calls.recv_timeout(LONG).unwrap().answer.unwrap().as_u16());
        }
        answers
    });
    let mut answers = calls.await.unwrap();
    answers.sort_unstable();
    assert_eq!(answers, [200, 200, 503, 503, 503]);
    let (good, repeated): (Vec<_>, Vec<_>) = receiver.seen().into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), repeated.len()), (1, 1));
    let event = good[0].as_ref().unwrap();
    assert_eq!((event.status(), event.error_code()), (Status::Failed, Some(1015)));
}

#[tokio::test]
async fn the_mock_server_calls_only_loopback_webhooks() {
    for url in ["http://hooks.example.com/", "https://127.0.0.1:1/", "http://10.0.0.1/", "no url"] {
        let (server, calls) = server_with_calls().await;
        server.job(ID, Timeline::new());
        server.webhook(ID, url);
        client_of(&server).job(ID).get().await.unwrap();
        let call = next_call(calls).await;
        assert!(call.answer.is_none() && call.failure.is_some(), "{call:?}");
    }
}
