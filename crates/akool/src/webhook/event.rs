//! The inner layer of a message: [`WebhookEvent`].

use std::{fmt, time::SystemTime};

use serde_json::Value;
use url::Url;

use crate::{JobId, Status, decode::integer, redact, snapshot::link};

/// What a message says of a job. A trigger: see [what an event proves](super#what-an-event-proves).
///
/// As elsewhere, a field of another shape than described is left out, and a status that nobody
/// documented is kept.
#[derive(Clone, PartialEq)]
pub struct WebhookEvent {
    job: JobId,
    status: Status,
    product: Option<String>,
    url: Option<Url>,
    progress: Option<u8>,
    error_code: Option<i64>,
    error_reason: Option<String>,
    sent_at: SystemTime,
}

impl WebhookEvent {
    /// From what was decrypted; `None` where it has no id or no status.
    pub(crate) fn read(json: &[u8], sent_at: SystemTime) -> Option<Self> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(json) else {
            return None;
        };
        let text = |name: &str| fields.get(name)?.as_str().filter(|text| !text.is_empty());
        let number = |name: &str| integer(fields.get(name)?);
        let job = match fields.get("_id")? {
            Value::Number(number) => number.to_string(),
            _ => text("_id")?.to_owned(),
        };
        Some(Self {
            job: job.into(),
            status: number("status").or_else(|| number("video_status"))?.into(),
            product: text("type").map(Into::into),
            url: link(text("url")).or_else(|| link(text("video"))),
            progress: number("progress").map(|percent| percent.clamp(0, 100) as u8),
            error_code: number("error_code"),
            error_reason: text("error_reason").or_else(|| text("error_message")).map(Into::into),
            sent_at,
        })
    }

    /// The job that it is about: what to poll now.
    pub fn job(&self) -> &JobId {
        &self.job
    }

    /// Where the job stands, as the message says.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The product, `type` on the wire: `video translate` for translations. One webhook may be told
    /// of several.
    pub fn product(&self) -> Option<&str> {
        self.product.as_deref()
    }

    /// The link to the result, as the message says. Not for use: take it from a poll the job.
    pub fn url(&self) -> Option<&Url> {
        self.url.as_ref()
    }

    /// How much of the job is done, in percent, where the message says so.
    pub fn progress(&self) -> Option<u8> {
        self.progress
    }

    /// Why the job failed, as a number, where the message says so.
    pub fn error_code(&self) -> Option<i64> {
        self.error_code
    }

    /// Why the job failed, in words, where the message says so.
    pub fn error_reason(&self) -> Option<&str> {
        self.error_reason.as_deref()
    }

    /// When the message was sent, by its sender's clock.
    pub fn sent_at(&self) -> SystemTime {
        self.sent_at
    }
}

impl fmt::Debug for WebhookEvent {
    /// The link without its signed part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookEvent")
            .field("job", &self.job)
            .field("status", &self.status)
            .field("product", &self.product)
            .field("url", &self.url.as_ref().map(redact::link))
            .field("progress", &self.progress)
            .field("error_code", &self.error_code)
            .field("error_reason", &self.error_reason.as_deref().map(redact::excerpt))
            .field("sent_at", &self.sent_at)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<WebhookEvent> {
        WebhookEvent::read(json.as_bytes(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn what_the_vendors_demo_reads_is_read() {
        let event = read(
            r#"{"_id":"a","video_status":4,"video":"","progress":140,"error_code":"1015","error_message":"no speech"}"#,
        )
        .unwrap();
        assert_eq!((event.job().as_str(), event.status(), event.url()), ("a", Status::Failed, None));
        assert_eq!((event.progress(), event.error_code()), (Some(100), Some(1015)));
        assert_eq!(event.error_reason(), Some("no speech"));
    }

    #[test]
    fn shapes_that_nobody_described_do_not_hide_the_status() {
        let event =
            read(r#"{"_id":7,"status":"3","type":9,"url":[],"video":"https://x/v","progress":{},"new":1}"#);
        let event = event.unwrap();
        assert_eq!((event.job().as_str(), event.status()), ("7", Status::Completed));
        assert_eq!((event.product(), event.url().map(Url::as_str)), (None, Some("https://x/v")));
        assert_eq!(read(r#"{"_id":"a","status":9}"#).unwrap().status(), Status::Unknown(9));
        assert_eq!(read(r#"{"_id":"a","status":[],"video_status":2}"#).unwrap().status(), Status::Processing);
    }

    #[test]
    fn without_id_or_status_it_is_none() {
        for json in
            ["", "null", "[]", "3", "{}", r#"{"_id":"a"}"#, r#"{"status":3}"#, r#"{"_id":"","status":3}"#]
        {
            assert_eq!(read(json), None, "{json}");
        }
    }

    #[test]
    fn the_links_signature_shows_nowhere() {
        let event = read(r#"{"_id":"a","status":3,"url":"https://x/v?Signature=MARK"}"#).unwrap();
        assert!(!format!("{event:?}").contains("MARK"), "{event:?}");
        assert!(event.url().unwrap().as_str().contains("MARK"));
    }
}
