#![no_main]

use std::time::{Duration, SystemTime};

use akool::{
    fuzzing::{webhook_event, webhook_signature},
    webhook::{Rejection, WebhookEvent, WebhookVerifier},
};
use libfuzzer_sys::{arbitrary, fuzz_target};
use serde_json::json;

const ID: &str = "client-7";

#[derive(arbitrary::Arbitrary, Debug)]
enum Input<'a> {
    /// A body as it comes.
    Body(&'a [u8]),
    /// One that is signed: time, nonce and content.
    Signed(i64, &'a str, &'a str, bool),
    /// What was decrypted.
    Event(&'a [u8]),
}

fn harmless(event: &WebhookEvent) {
    let shown = format!("{event:?} {}", event.job());
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
    assert!(!shown.contains("?Signature=MARK"), "{shown}");
}

fuzz_target!(|input: Input| {
    let verifier = WebhookVerifier::new(ID, "MARKER-secret-24-bytes!!").unwrap();
    let (body, signed) = match input {
        Input::Body(body) => (body.to_vec(), false),
        Input::Signed(timestamp, nonce, data, number) => {
            // A nonce that is a number is signed as it stands in the message.
            let number = number
                .then(|| serde_json::from_str::<Box<serde_json::value::RawValue>>(nonce).ok())
                .flatten();
            let number = number
                .filter(|raw| raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit()));
            let text = number.as_ref().map_or(nonce, |raw| raw.get());
            let signature = webhook_signature(ID, &timestamp.to_string(), text, data);
            let nonce = number.as_ref().map_or_else(|| json!(nonce).to_string(), |raw| raw.get().to_owned());
            let body = format!(
                r#"{{"nonce":{nonce},"timestamp":{timestamp},"dataEncrypt":{},"signature":"{signature}"}}"#,
                json!(data)
            );
            (body.into_bytes(), true)
        }
        Input::Event(json) => {
            if let Some(event) = webhook_event(json) {
                harmless(&event);
            }
            return;
        }
    };
    for age in [Duration::MAX, Duration::from_secs(300)] {
        match verifier.clone().max_age(age).verify(&body, SystemTime::UNIX_EPOCH) {
            Ok(event) => harmless(&event),
            Err(error) => {
                assert!(!signed || *error.reason() != Rejection::WrongSignature, "{body:?}");
                assert_eq!(
                    (error.to_string().as_str(), error.http_status()),
                    ("the message was not taken", 400)
                );
                let reason = format!("{} {error:?}", error.reason());
                assert!(!reason.contains("MARKER"), "{reason}");
                assert!(!error.reason().to_string().chars().any(char::is_control), "{reason:?}");
            }
        }
    }
});
