//! `akool webhook`: receives webhook messages, or verifies one from a file.

mod event;
mod listen;

use std::{
    io::{self, Read},
    path::Path,
    time::{Duration, SystemTime},
};

use akool_webhook::{Rejection, WebhookEvent, WebhookVerifier};

use crate::{
    args::{Global, Verify, Webhook},
    connect::UsageError,
    env, input,
    outcome::Outcome,
    report::Report,
};

/// The default of the library: a receiver rejects messages that are older.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(5 * 60);

pub(crate) async fn run(command: &Webhook, global: &Global, report: &Report) -> Outcome {
    let client_id = match command {
        Webhook::Listen(options) => options.client_id.as_deref(),
        Webhook::Verify(options) => options.client_id.as_deref(),
    };
    let verifier = match verifier(client_id, global) {
        Ok(verifier) => verifier,
        Err(error) => {
            report.error(None, "usage", error);
            return Outcome::Usage;
        }
    };
    match command {
        Webhook::Listen(options) => listen::run(options, verifier, report).await,
        Webhook::Verify(options) => verify(options, verifier, report),
    }
}

/// Uses the client id and secret of the options and the environment, or of the sandbox.
fn verifier(client_id: Option<&str>, global: &Global) -> Result<WebhookVerifier, UsageError> {
    #[cfg(feature = "sandbox")]
    if global.sandbox {
        return WebhookVerifier::new(akool_mock::CLIENT_ID, akool_mock::DEFAULT_API_KEY)
            .map_err(|error| error.to_string());
    }
    if global.api_key_file.is_some() {
        return Err("--api-key-file is not used for webhooks; set AKOOL_CLIENT_SECRET".to_owned());
    }
    let client_id = match client_id {
        Some(id) => id.to_owned(),
        None => env::get(env::CLIENT_ID)?
            .ok_or("no client id: set AKOOL_CLIENT_ID or use --client-id".to_owned())?,
    };
    let secret = match env::get(env::CLIENT_SECRET)? {
        Some(secret) => Some(secret),
        None => env::get(env::API_KEY)?,
    };
    let secret = secret
        .ok_or("no client secret: set AKOOL_CLIENT_SECRET or AKOOL_API_KEY (they have the same value)")?;
    WebhookVerifier::new(client_id, secret).map_err(|error| error.to_string())
}

fn verify(options: &Verify, verifier: WebhookVerifier, report: &Report) -> Outcome {
    let body = match read(&options.file, verifier.max_body_bytes()) {
        Ok(body) => body,
        Err(error) => {
            report.error(None, "usage", format_args!("cannot read {}: {error}", options.file.display()));
            return Outcome::Usage;
        }
    };
    let now = SystemTime::now();
    let verifier = verifier.max_age(options.max_age.unwrap_or(Duration::MAX));
    match verifier.verify(&body, now) {
        Ok(event) => {
            event::print(&event, report);
            if let Some(age) = unusual_age(&event, now) {
                report.note(format_args!(
                    "note: {age}; `webhook listen` rejects such messages, by default after 5 minutes"
                ));
            }
            Outcome::Done
        }
        Err(rejected) => {
            let advice = match rejected.reason() {
                Rejection::Malformed { .. } => "; pass only the body of the request, unchanged",
                _ => "",
            };
            report.error(None, "rejected_message", format_args!("{}{advice}", rejected.reason()));
            Outcome::Unexpected
        }
    }
}

/// Reads at most one byte more than the limit, so that the verifier can reject a message that is too large.
fn read(file: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let limit = limit as u64 + 1;
    if file == Path::new("-") {
        io::stdin().take(limit).read_to_end(&mut body)?;
    } else {
        input::open(file)?.take(limit).read_to_end(&mut body)?;
    }
    Ok(body)
}

/// How old the message is, or how far in the future, if a receiver would reject it by default.
fn unusual_age(event: &WebhookEvent, now: SystemTime) -> Option<String> {
    let (distance, words) = match now.duration_since(event.sent_at()) {
        Ok(age) => (age, "old"),
        Err(ahead) => (ahead.duration(), "in the future"),
    };
    let whole = Duration::from_secs(distance.as_secs());
    (distance > DEFAULT_MAX_AGE).then(|| format!("it is {} {words}", humantime::format_duration(whole)))
}
