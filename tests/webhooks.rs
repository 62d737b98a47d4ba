//! Webhooks: messages made by other implementations, and events as hints to waits.

use std::{
    future::IntoFuture,
    sync::Arc,
    time::{Duration, SystemTime},
};

use akool::{
    Event, Hints, PollPolicy, Status,
    webhook::{MemoryNonces, Rejection, WebhookError, WebhookEvent, WebhookVerifier},
};
use akool_mock::{Fault, Looks, MockServer, Timeline, Times};
use akool_tests::{ID, client_of};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::Value;

/// One of `webhook-vectors/vectors.json`, which OpenSSL and PyCryptodome made.
#[derive(Deserialize)]
struct Vector {
    name: String,
    client_id: String,
    client_secret: String,
    now: u64,
    max_body: usize,
    body: Option<String>,
    body_base64: Option<String>,
    event: Option<Value>,
    rejected: Option<String>,
}

impl Vector {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("webhook-vectors/vectors.json")).unwrap()
    }

    fn of(name: &str) -> Self {
        Self::all().into_iter().find(|vector| vector.name == name).unwrap()
    }

    fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(bytes)) => STANDARD.decode(bytes).unwrap(),
            _ => panic!("{}: one body", self.name),
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

fn word(rejection: &Rejection) -> &'static str {
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
fn messages_of_other_implementations_open_or_are_refused_as_told() {
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
            (Err(error), None, Some(wanted)) => assert_eq!(word(error.reason()), wanted, "{name}"),
            (seen, ..) => panic!("{name}: {seen:?}"),
        }
    }
}

#[test]
fn every_rejection_looks_the_same_from_outside_and_holds_no_secret() {
    let mut seen = std::collections::BTreeSet::new();
    for vector in Vector::all() {
        let Err(error) = vector.verify() else { continue };
        seen.insert(word(error.reason()));
        assert_eq!((error.to_string().as_str(), error.http_status()), ("the message was not taken", 400));
        let all = format!("{error:?} {} {:?}", error.reason(), vector.verifier());
        for secret in [&vector.client_secret, &vector.client_id] {
            assert!(!all.contains(secret.as_str()), "{}: {all}", vector.name);
        }
        assert!(!all.contains("Signature=abc") && all.len() < 1000, "{}: {all}", vector.name);
    }
    assert_eq!(seen.len(), 7, "{seen:?}");
}

#[test]
fn a_message_that_came_before_is_refused_and_its_sender_told_to_stop() {
    let vector = Vector::of("AES-192, long client id, status 3");
    let verifier = vector.verifier().nonces(MemoryNonces::new(10));
    assert!(verifier.verify(&vector.body(), vector.now()).is_ok());
    for later in [0, 1, 200] {
        let now = vector.now() + Duration::from_secs(later);
        let error = verifier.clone().verify(&vector.body(), now).unwrap_err();
        assert_eq!((error.reason(), error.http_status()), (&Rejection::Repeated, 200));
    }
    // Another message with the same nonce is another message.
    assert!(verifier.verify(&Vector::of("AES-192, long client id, status 2").body(), vector.now()).is_ok());
    // It is forgotten when it would be refused for its age.
    let error = verifier.verify(&vector.body(), vector.now() + Duration::from_secs(400)).unwrap_err();
    assert!(matches!(error.reason(), Rejection::Stale { .. }));
}

#[test]
fn a_message_that_was_refused_does_not_take_the_place_of_a_good_one() {
    let good = Vector::of("AES-192, long client id, status 3");
    let nonces = Arc::new(MemoryNonces::new(10));
    // The right signature, but decrypted with another secret.
    let other = WebhookVerifier::new(good.client_id.as_str(), "another-secret-24-bytes!").unwrap();
    let error = other.nonces(Arc::clone(&nonces)).verify(&good.body(), good.now()).unwrap_err();
    assert_eq!(error.reason(), &Rejection::Undecryptable);
    assert!(good.verifier().nonces(nonces).verify(&good.body(), good.now()).is_ok());
}

#[test]
fn a_message_of_any_time_opens_where_that_is_asked_for() {
    for name in ["stale", "future", "a time of 1970"] {
        let vector = Vector::of(name);
        let verifier = vector.verifier().max_age(Duration::MAX).nonces(MemoryNonces::new(1));
        assert!(verifier.verify(&vector.body(), vector.now()).is_ok(), "{name}");
        let error = verifier.verify(&vector.body(), vector.now()).unwrap_err();
        assert_eq!(error.reason(), &Rejection::Repeated, "{name}");
    }
}

#[test]
fn a_key_that_is_none_is_refused_at_once_and_not_shown() {
    for secret in ["", "short", "MARKER-25-characters-long", "MARKER-MARKER-MARKER-MARKER-MARKER"] {
        let error = WebhookVerifier::new("id", secret).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("MARKER"), "{error}");
    }
    assert!(WebhookVerifier::new("", "sandbox-secret-24-bytes!").is_err());
    // Bytes count, not characters.
    assert!(WebhookVerifier::new("id", "ключ-ключ-клю").is_ok());
}

/// Looks only when told to, within the test's time.
fn told() -> PollPolicy {
    PollPolicy::fixed(Duration::from_secs(3600)).with_hint_gap(Duration::from_millis(10))
}

#[tokio::test]
async fn a_hint_leads_to_a_look_at_once() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().processing(Looks(2)).completed());
    let hints = Hints::new();
    let mut events = client_of(&server).job(ID).wait().hints(&hints).policy(told()).events();
    for _ in 0..2 {
        assert!(matches!(events.next().await, Some(Event::Looked { .. })));
        assert!(hints.look_now(ID));
    }
    assert!(matches!(events.next().await, Some(Event::Ended(Ok(_)))));
    assert_eq!(server.looks_at(ID).len(), 3);
    drop(events);
    assert!(!hints.look_now(ID), "nobody waits any more");
}

#[tokio::test]
async fn a_forged_hint_is_followed_by_what_the_look_tells() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    let hints = Hints::new();
    let mut events = client_of(&server).job(ID).wait().hints(&hints).policy(told()).events();
    for _ in 0..3 {
        let Some(Event::Looked { snapshot, .. }) = events.next().await else { panic!() };
        assert_eq!(snapshot.status(), Status::Processing);
        hints.look_now(ID);
    }
}

#[tokio::test]
async fn a_hint_that_came_before_a_look_is_served_by_it() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    let hints = Hints::new();
    let mut events = client_of(&server).job(ID).wait().hints(&hints).policy(told()).events();
    hints.look_now(ID);
    events.next().await;
    let more = tokio::time::timeout(Duration::from_millis(200), events.next()).await;
    assert!(more.is_err() && server.looks_at(ID).len() == 1);
}

#[tokio::test]
async fn a_flood_of_hints_makes_no_flood_of_looks() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().stuck(2));
    let hints = Hints::new();
    let wait = client_of(&server).job(ID).wait().hints(&hints).policy(told());
    let wait = wait.deadline(Duration::from_millis(500)).into_future();
    let flood = async {
        loop {
            hints.look_now(ID);
            hints.look_now("nobody's");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        end = wait => drop(end.unwrap_err()),
        () = flood => {}
    }
    // Hints in vain and the looks after them at doubling pauses: 10, 20, 40 ms and so on.
    let looks = server.looks_at(ID).len();
    assert!((2..=16).contains(&looks), "{looks} looks");
}

#[tokio::test]
async fn a_hint_does_not_look_before_the_service_allows_it() {
    let server = MockServer::start().await;
    server.job(ID, Timeline::new().completed());
    server.inject(Fault::RetryAfterSeconds, Times::Once);
    let hints = Hints::new();
    let mut wait = client_of(&server).job(ID).wait().hints(&hints).policy(told()).into_future();
    while server.looks_at(ID).is_empty() {
        let _ = tokio::time::timeout(Duration::from_millis(10), &mut wait).await;
    }
    for _ in 0..20 {
        hints.look_now(ID);
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut wait).await.is_err());
    }
    assert_eq!(server.looks_at(ID).len(), 1);
}
