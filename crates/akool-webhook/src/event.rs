//! The decrypted content of a message: [`WebhookEvent`].

use std::{fmt, time::SystemTime};

use akool::{JobId, Status, http, lenient, redact, types};
use url::Url;

/// What a message says about a job. Use it as a trigger: see
/// [what an event proves](crate#what-an-event-proves).
///
/// A field of an undocumented type is left out, and an undocumented status is kept as
/// [`Status::Unknown`].
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
    /// Reads the decrypted content. Returns `None` if it has no id or no status.
    pub(crate) fn parse(json: &[u8], sent_at: SystemTime) -> Option<Self> {
        // A message that was decrypted with the wrong key is not text.
        std::str::from_utf8(json).ok()?;
        let event = lenient::<types::WebhookEvent>(json).ok()?.value;
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        Some(Self {
            job: text(event.id)?.into(),
            status: event.status.or(event.video_status)?.into(),
            product: text(event.type_),
            url: [event.url, event.video].into_iter().flatten().find_map(|text| http::link(&text)),
            progress: event.progress.map(|percent| percent.clamp(0, 100) as u8),
            error_code: event.error_code,
            error_reason: text(event.error_reason).or_else(|| text(event.error_message)),
            sent_at,
        })
    }

    /// Returns the job: poll it now.
    pub fn job(&self) -> &JobId {
        &self.job
    }

    /// Returns the status of the job according to the message.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns the product, which is `video translate` for translations (`type` on the wire). One
    /// webhook may receive messages about several products.
    pub fn product(&self) -> Option<&str> {
        self.product.as_deref()
    }

    /// Returns the link to the result according to the message. Do not fetch it: take the link from a
    /// poll of the job.
    pub fn url(&self) -> Option<&Url> {
        self.url.as_ref()
    }

    /// Returns the progress of the job in percent, from 0 to 100, if the message has it.
    pub fn progress(&self) -> Option<u8> {
        self.progress
    }

    /// Returns the code of the reason why the job failed, if the message has it.
    pub fn error_code(&self) -> Option<i64> {
        self.error_code
    }

    /// Returns why the job failed, in the service's words, if the message has it.
    pub fn error_reason(&self) -> Option<&str> {
        self.error_reason.as_deref()
    }

    /// Returns when the message was sent, by the sender's clock.
    pub fn sent_at(&self) -> SystemTime {
        self.sent_at
    }
}

impl fmt::Debug for WebhookEvent {
    /// Shows only host and extension of the link, which gives access by itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookEvent")
            .field("job", &self.job)
            .field("status", &self.status)
            .field("product", &self.product)
            .field("url", &self.url.as_ref().map(redact::file_link))
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

    fn parse(json: &str) -> Option<WebhookEvent> {
        WebhookEvent::parse(json.as_bytes(), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn the_fields_of_the_vendors_demo_are_read() {
        let event = parse(
            r#"{"_id":"a","video_status":4,"video":"","progress":140,"error_code":"1015","error_message":"no speech"}"#,
        )
        .unwrap();
        assert_eq!((event.job().as_str(), event.status(), event.url()), ("a", Status::Failed, None));
        assert_eq!((event.progress(), event.error_code()), (Some(100), Some(1015)));
        assert_eq!(event.error_reason(), Some("no speech"));
    }

    #[test]
    fn fields_of_undocumented_types_do_not_hide_the_status() {
        let event =
            parse(r#"{"_id":7,"status":"3","type":9,"url":[],"video":"https://x/v","progress":{},"new":1}"#);
        let event = event.unwrap();
        assert_eq!((event.job().as_str(), event.status()), ("7", Status::Completed));
        assert_eq!((event.product(), event.url().map(Url::as_str)), (Some("9"), Some("https://x/v")));
        assert_eq!(parse(r#"{"_id":"a","status":9}"#).unwrap().status(), Status::Unknown(9));
        assert_eq!(
            parse(r#"{"_id":"a","status":[],"video_status":2}"#).unwrap().status(),
            Status::Processing
        );
    }

    #[test]
    fn content_without_an_id_or_status_is_not_an_event() {
        for json in
            ["", "null", "[]", "3", "{}", r#"{"_id":"a"}"#, r#"{"status":3}"#, r#"{"_id":"","status":3}"#]
        {
            assert_eq!(parse(json), None, "{json}");
        }
    }

    #[test]
    fn debug_omits_the_signature_of_the_link() {
        let event = parse(r#"{"_id":"a","status":3,"url":"https://x/v?Signature=MARK"}"#).unwrap();
        assert!(!format!("{event:?}").contains("MARK"), "{event:?}");
        assert!(event.url().unwrap().as_str().contains("MARK"));
    }
}
