//! Prints the event of a webhook message.

use std::time::SystemTime;

use akool::{JobId, redact::excerpt};
use akool_webhook::WebhookEvent;
use serde::Serialize;

use crate::{report::Report, text::status};

/// The JSON line of a message. It has no URLs: only a poll returns ones that can be trusted.
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

/// Prints a message that was verified.
pub(super) fn print(event: &WebhookEvent, report: &Report) {
    if report.is_json() { report.object(&object(event)) } else { report.line(text(event)) }
}

/// The line of a message that was verified.
pub(super) fn line(event: &WebhookEvent, json: bool) -> String {
    if json { crate::text::json(&object(event)).unwrap_or_default() } else { text(event) }
}

fn object(event: &WebhookEvent) -> Object<'_> {
    let sent = event.sent_at().duration_since(SystemTime::UNIX_EPOCH).ok();
    Object {
        event: "webhook",
        id: event.job(),
        status: event.status().name(),
        status_code: event.status().into(),
        product: event.product(),
        progress: event.progress(),
        error_code: event.error_code(),
        error_reason: event.error_reason(),
        sent_at_ms: sent.and_then(|sent| sent.as_millis().try_into().ok()),
    }
}

fn text(event: &WebhookEvent) -> String {
    let mut text = format!("{}  reported as {}", event.job(), status(event.status()));
    if let Some(percent) = event.progress() {
        text += &format!(", {percent} %");
    }
    if let Some(reason) = event.error_reason() {
        text += &format!(": {}", excerpt(reason));
    }
    if let Some(code) = event.error_code() {
        text += &format!(" (error code {code})");
    }
    if let Some(product) = event.product().filter(|product| *product != "video translate") {
        text += &format!(" [{}]", excerpt(product));
    }
    text
}
