//! Webhooks: messages made by other implementations, and events as hints to waits.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use akool::webhook::{MemoryNonces, Rejection, WebhookError, WebhookEvent, WebhookVerifier};
use base64::{Engine, engine::general_purpose::STANDARD};
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
