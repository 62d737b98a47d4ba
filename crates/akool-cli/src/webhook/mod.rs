//! `akool webhook`: what the service sends, received (`listen.rs`) or checked from a file.

mod listen;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, SystemTime},
};

use akool::JobId;
use akool_webhook::{Rejection, WebhookEvent, WebhookVerifier};
use serde::Serialize;

use crate::{
    args::{Global, Verify, Webhook},
    connect::WrongUse,
    outcome::Outcome,
    report::Report,
};

/// A message that is older is refused by a receiver with the library's own setting.
const USUAL_AGE: Duration = Duration::from_secs(5 * 60);

pub(crate) async fn run(command: &Webhook, global: &Global, report: &Report) -> Outcome {
    let client_id = match command {
        Webhook::Listen(options) => options.client_id.as_deref(),
        Webhook::Verify(options) => options.client_id.as_deref(),
    };
    let verifier = match verifier(client_id, global) {
        Ok(verifier) => verifier,
        Err(wrong) => {
            report.error(None, "wrong_use", wrong);
            return Outcome::WrongUse;
        }
    };
    match command {
        Webhook::Listen(options) => listen::run(options, verifier, report, global.json).await,
        Webhook::Verify(options) => verify(options, verifier, report, global.json),
    }
}

/// With the client id and secret of the options and the environment, or of the mock server.
fn verifier(client_id: Option<&str>, global: &Global) -> Result<WebhookVerifier, WrongUse> {
    #[cfg(feature = "sandbox")]
    if global.sandbox {
        let machine = akool_mock::ServiceState::new("");
        return WebhookVerifier::new(machine.client_id(), machine.api_key())
            .map_err(|error| error.to_string());
    }
    if global.api_key_file.is_some() {
        return Err("--api-key-file is not read for webhooks; set AKOOL_CLIENT_SECRET".to_owned());
    }
    let client_id = match client_id {
        Some(id) => id.to_owned(),
        None => variable("AKOOL_CLIENT_ID")?
            .ok_or("no client id: set AKOOL_CLIENT_ID, or give --client-id".to_owned())?,
    };
    let secret = match variable("AKOOL_CLIENT_SECRET")? {
        Some(secret) => Some(secret),
        None => variable("AKOOL_API_KEY")?,
    };
    let secret =
        secret.ok_or("no client secret: set AKOOL_CLIENT_SECRET, or AKOOL_API_KEY, which is the same")?;
    WebhookVerifier::new(client_id, secret).map_err(|error| error.to_string())
}

fn variable(name: &str) -> Result<Option<String>, WrongUse> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(format!("the environment variable {name} is not valid Unicode; set it anew"))
        }
    }
}

fn verify(options: &Verify, verifier: WebhookVerifier, report: &Report, json: bool) -> Outcome {
    let body = match read(&options.file, verifier.max_body_bytes()) {
        Ok(body) => body,
        Err(error) => {
            report.error(None, "wrong_use", format_args!("cannot read {}: {error}", options.file.display()));
            return Outcome::WrongUse;
        }
    };
    let now = SystemTime::now();
    let verifier = verifier.max_age(options.max_age.unwrap_or(Duration::MAX));
    match verifier.verify(&body, now) {
        Ok(event) => {
            print(&event, report, json);
            if let Some(age) = odd_age(&event, now) {
                report.note(format_args!(
                    "note: {age}; a receiver refuses it by its time, five minutes unless set"
                ));
            }
            Outcome::Done
        }
        Err(rejected) => {
            let advice = match rejected.reason() {
                Rejection::Malformed { .. } => "; give the request's body alone, as it came",
                _ => "",
            };
            report.error(None, "rejected_message", format_args!("{}{advice}", rejected.reason()));
            Outcome::Unexpected
        }
    }
}

/// At most a little more than a message may have.
fn read(file: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let limit = limit as u64 + 1;
    if file == Path::new("-") {
        io::stdin().take(limit).read_to_end(&mut body)?;
    } else {
        File::open(file)?.take(limit).read_to_end(&mut body)?;
    }
    Ok(body)
}

/// How old the message is, or how far ahead, where that is more than usual.
fn odd_age(event: &WebhookEvent, now: SystemTime) -> Option<String> {
    let (distance, words) = match now.duration_since(event.sent_at()) {
        Ok(age) => (age, "old"),
        Err(ahead) => (ahead.duration(), "ahead of this clock"),
    };
    let whole = Duration::from_secs(distance.as_secs());
    (distance > USUAL_AGE).then(|| format!("it is {} {words}", humantime::format_duration(whole)))
}

/// One line of `--json`. Without the link, which is for nobody to fetch: a poll tells it.
#[derive(Serialize)]
struct Object<'a> {
    event: &'static str,
    id: &'a JobId,
    status: &'static str,
    status_code: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at_ms: Option<u64>,
}

fn print(event: &WebhookEvent, report: &Report, json: bool) {
    if json {
        let sent = event.sent_at().duration_since(SystemTime::UNIX_EPOCH).ok();
        return report.object(&Object {
            event: "webhook",
            id: event.job(),
            status: event.status().name(),
            status_code: event.status().into(),
            product: event.product(),
            progress: event.progress(),
            error_code: event.error_code(),
            error_reason: event.error_reason(),
            sent_at_ms: sent.and_then(|sent| sent.as_millis().try_into().ok()),
        });
    }
    let mut text = format!("{}  is said to be {}", event.job(), event.status());
    if let Some(percent) = event.progress() {
        text += &format!(", {percent} %");
    }
    if let Some(reason) = event.error_reason() {
        // Foreign text: no control character of it reaches the terminal.
        text += &format!(": {}", reason.replace(char::is_control, " "));
    }
    if let Some(code) = event.error_code() {
        text += &format!(" (error code {code})");
    }
    if let Some(product) = event.product().filter(|product| *product != "video translate") {
        text += &format!(" [{}]", product.replace(char::is_control, " "));
    }
    report.line(text);
}
