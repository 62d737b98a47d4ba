#![no_main]

use std::time::{Duration, SystemTime};

use akool_webhook::{
    Rejection, WebhookEvent, WebhookVerifier,
    fuzzing::{event, signature},
};
use libfuzzer_sys::fuzz_target;
use serde_json::{json, value::RawValue};

const ID: &str = "client-7";

fn harmless(event: &WebhookEvent) {
    let shown = format!("{event:?} {}", event.job());
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    assert!(!shown.contains("?Signature=MARK"), "{shown}");
}

/// Reads a JSON number, keeping its text.
fn number(text: &str) -> Option<Box<RawValue>> {
    let raw = serde_json::from_str::<Box<RawValue>>(text).ok()?;
    raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()).then_some(raw)
}

// An arbitrary body; or a correctly signed message; or decrypted content.
fuzz_target!(|input: (u8, &[u8], i64, &str, &str)| {
    let (kind, bytes, timestamp, nonce, data) = input;
    if kind % 3 == 0 {
        if let Some(event) = event(bytes) {
            harmless(&event);
        }
        return;
    }
    let signed = kind % 3 == 1;
    let body = if signed {
        // The signature covers the text of a number exactly as it is in the message.
        let number = number(nonce);
        let nonce_text = number.as_ref().map_or(nonce, |raw| raw.get());
        let signature = signature(ID, &timestamp.to_string(), nonce_text, data);
        let nonce = number.as_ref().map_or_else(|| json!(nonce).to_string(), |raw| raw.get().to_owned());
        let data = json!(data);
        format!(
            r#"{{"nonce":{nonce},"timestamp":{timestamp},"dataEncrypt":{data},"signature":"{signature}"}}"#
        )
        .into_bytes()
    } else {
        bytes.to_vec()
    };
    let verifier = WebhookVerifier::new(ID, "MARKER-secret-24-bytes!!").unwrap();
    for age in [Duration::MAX, Duration::from_secs(300)] {
        match verifier.clone().max_age(age).verify(&body, SystemTime::UNIX_EPOCH) {
            Ok(event) => harmless(&event),
            Err(error) => {
                assert!(!signed || *error.reason() != Rejection::WrongSignature, "{body:?}");
                assert_eq!(
                    (error.to_string().as_str(), error.http_status()),
                    ("the message was rejected", 400)
                );
                let reason = format!("{} {error:?}", error.reason());
                assert!(!reason.contains("MARKER"), "{reason}");
                assert!(!error.reason().to_string().chars().any(char::is_control), "{reason:?}");
            }
        }
    }
});
