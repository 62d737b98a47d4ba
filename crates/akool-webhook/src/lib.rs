//! Opens the messages that AKOOL sends to a webhook: [`WebhookVerifier`] checks and decrypts a message
//! and returns a [`WebhookEvent`].
//!
//! ```
//! use std::time::SystemTime;
//! use akool_webhook::{MemoryNonces, WebhookVerifier};
//!
//! # fn example(body: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = WebhookVerifier::new("client-id", "sandbox-secret-24-bytes!")?
//!     .nonces(MemoryNonces::new(10_000));
//!
//! // In the request handler, with the unchanged bytes of the body:
//! let http_status = match verifier.verify(body, SystemTime::now()) {
//!     Ok(event) => {
//!         println!("{} is {}", event.job(), event.status());
//!         200
//!     }
//!     // Log the reason, but do not send it back.
//!     Err(error) => {
//!         eprintln!("{}", error.reason());
//!         error.http_status()
//!     }
//! };
//! # assert_eq!(http_status, 200);
//! # Ok(())
//! # }
//! # // A message as the service sends it.
//! # let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
//! # let event = r#"{"_id": "64dd92c1f0b6684651e90e09", "status": 3, "type": "video translate", "url": ""}"#;
//! # let body = akool_mock::seal("client-id", "sandbox-secret-24-bytes!", now as u64, &1529.into(), event);
//! # example(body.unwrap().as_bytes()).unwrap();
//! ```
//!
//! # What an event proves
//! Very little. Use an event only as a trigger to poll the job:
//! - The signature is a SHA-1 hash of the client id and three values of the message. It contains no
//!   secret: anyone who knows the client id can sign a message. They can also send the content of a
//!   message that they have seen again, with another time and nonce, as a new message.
//! - The content is encrypted with the client secret, by AES-CBC without a MAC. Nobody can write an
//!   event from scratch without the secret. But they can repeat an event that they have seen, and with
//!   some luck change bits of it.
//! - The service may send an event late, twice or never.
//!
//! [`WaitSet::poll_now`](akool::WaitSet::poll_now) does that: an event causes a poll of the job soon, and the
//! response to that poll decides. Do not fetch [`WebhookEvent::url`], and do not treat a job as failed
//! because an event says so.

mod error;
mod event;
mod message;
mod nonce;

use std::{fmt, sync::Arc, time::Duration, time::SystemTime};

use akool::Secret;

pub use error::{InvalidWebhookKey, Rejection, WebhookError};
pub use event::WebhookEvent;
use message::Message;
pub use nonce::{MemoryNonces, NonceStore};

/// Private functions for the fuzz target in `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    /// The signature of a message.
    pub fn signature(client_id: &str, timestamp: &str, nonce: &str, data_encrypt: &str) -> String {
        crate::message::signature(client_id, timestamp, nonce, data_encrypt)
    }

    /// Reads the decrypted content of a message.
    pub fn event(json: &[u8]) -> Option<crate::WebhookEvent> {
        crate::WebhookEvent::parse(json, std::time::SystemTime::UNIX_EPOCH)
    }
}

/// The example of the README, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The default of [`WebhookVerifier::max_age`].
const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// The default of [`WebhookVerifier::max_body`]. Real messages have a few hundred bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// The end of the year 9999, from 1970: the expiry of a nonce that never expires.
const NEVER: Duration = Duration::from_secs(253_402_300_799);

/// Verifies and decrypts webhook messages. Cheap to clone.
///
/// `Debug` does not show the secret, and the verifier wipes its copy of the secret when it is dropped.
#[derive(Clone)]
#[must_use]
pub struct WebhookVerifier {
    client_id: Arc<str>,
    secret: Arc<Secret>,
    max_age: Duration,
    max_body: usize,
    nonces: Option<Arc<dyn NonceStore>>,
}

impl WebhookVerifier {
    /// Creates a verifier for the messages of one account.
    ///
    /// # Errors
    /// If the client id is empty, or the secret is not an AES key (16, 24 or 32 bytes).
    pub fn new(
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> Result<Self, InvalidWebhookKey> {
        let (client_id, secret) = (client_id.into(), client_secret.into());
        if client_id.is_empty() {
            return Err(InvalidWebhookKey::NoClientId);
        }
        if !matches!(secret.expose().len(), 16 | 24 | 32) {
            return Err(InvalidWebhookKey::SecretLength);
        }
        Ok(Self {
            client_id: client_id.into(),
            secret: Arc::new(secret),
            max_age: MAX_AGE,
            max_body: MAX_BODY_BYTES,
            nonces: None,
        })
    }

    /// Sets how far the time of a message may be from this machine's clock, in the past or in the
    /// future. The default is 5 minutes. `Duration::MAX` accepts any time.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets the maximum size of a message, in bytes. The default is 64 KiB. Your server should not read
    /// more than [`max_body_bytes`](Self::max_body_bytes) of a request either.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sets the store of the messages that were already received. Without a store, a message is accepted
    /// each time it arrives within [`max_age`](Self::max_age); for a trigger that does no harm.
    pub fn nonces(mut self, store: impl NonceStore + 'static) -> Self {
        self.nonces = Some(Arc::new(store));
        self
    }

    /// Returns the maximum size of a message, in bytes.
    pub fn max_body_bytes(&self) -> usize {
        self.max_body
    }

    /// Verifies and decrypts a message. `body` is the unchanged body of the request, `now` the time at
    /// which it arrived.
    ///
    /// The checks run in this order: size, format, signature, time, decryption, content, and whether the
    /// message was already received. Only a message that passes all other checks is stored as received.
    /// So a broken message can never take the place of a valid one.
    ///
    /// # Errors
    /// If any check fails. The error itself does not reveal which one;
    /// [`reason`](WebhookError::reason) does, for your own log.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use akool_webhook::WebhookVerifier;
    ///
    /// let verifier = WebhookVerifier::new("client-id", "sandbox-secret-24-bytes!")?;
    /// let error = verifier.verify(b"{}", SystemTime::now()).unwrap_err();
    /// eprintln!("{}", error.reason());
    /// // The sender learns only that the message was rejected.
    /// assert_eq!((error.http_status(), error.to_string()), (400, "the message was rejected".to_owned()));
    /// # Ok::<(), akool_webhook::InvalidWebhookKey>(())
    /// ```
    pub fn verify(&self, body: &[u8], now: SystemTime) -> Result<WebhookEvent, WebhookError> {
        self.open(body, now).map_err(WebhookError)
    }

    fn open(&self, body: &[u8], now: SystemTime) -> Result<WebhookEvent, Rejection> {
        if body.len() > self.max_body {
            return Err(Rejection::TooLarge { limit: self.max_body });
        }
        let message = Message::parse(body)?;
        let signature = message.verified(&self.client_id).ok_or(Rejection::WrongSignature)?;
        let sent_at = message.sent_at().ok_or_else(|| Rejection::malformed("`timestamp` is not a time"))?;
        match now.duration_since(sent_at) {
            Ok(age) if age > self.max_age => return Err(Rejection::Stale { age }),
            Err(ahead) if ahead.duration() > self.max_age => {
                return Err(Rejection::FromTheFuture { ahead: ahead.duration() });
            }
            _ => {}
        }
        let event = message.decrypted(&self.client_id, self.secret.expose(), sent_at)?;
        if let Some(nonces) = &self.nonces {
            // `sent_at` has whole milliseconds, so keep the message to the end of its last one.
            let until = sent_at.checked_add(self.max_age.saturating_add(Duration::from_millis(1)));
            if !nonces.remember(&signature, now, until.unwrap_or(SystemTime::UNIX_EPOCH + NEVER)) {
                return Err(Rejection::Repeated);
            }
        }
        Ok(event)
    }
}

impl fmt::Debug for WebhookVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookVerifier")
            .field("max_age", &self.max_age)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}
