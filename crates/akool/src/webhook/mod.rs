//! Receiving what the service sends to a webhook: [`WebhookVerifier`] opens a message and gives a
//! [`WebhookEvent`].
//!
//! ```
//! use std::time::SystemTime;
//! use akool::webhook::{MemoryNonces, WebhookVerifier};
//!
//! # fn example(body: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! let verifier = WebhookVerifier::new("client-id", "sandbox-secret-24-bytes!")?
//!     .nonces(MemoryNonces::new(10_000));
//!
//! // In the handler of the request, with its body as it came:
//! let http_status = match verifier.verify(body, SystemTime::now()) {
//!     Ok(event) => {
//!         println!("{} is {}", event.job(), event.status());
//!         200
//!     }
//!     // The sender reads nothing of why; your own log may.
//!     Err(rejected) => {
//!         eprintln!("{}", rejected.reason());
//!         rejected.http_status()
//!     }
//! };
//! # Ok(())
//! # }
//! # example(b"").unwrap();
//! ```
//!
//! # What an event proves
//! Little, and so it is only ever a trigger to poll the job:
//! - The signature is a SHA-1 over the client id and three values that are in the message. It holds
//!   no secret: whoever knows the client id can sign. That includes time and nonce, so whoever has
//!   seen one message can send its content again under another time, as a new message.
//! - The content is encrypted with the client secret, by AES-CBC without a MAC. Without the secret
//!   no event can be written from nothing; but one that was seen can be repeated, and bits of it
//!   changed with some luck.
//! - The service may send an event late, twice or never.
//!
//! [`PollTriggers`](crate::PollTriggers) are made for that: an event leads to a poll the job at once, and what
//! counts is what the poll tells. Do not fetch [`WebhookEvent::url`], and do not take a job for
//! failed because an event says so.

mod event;
mod message;
mod nonce;

use std::{fmt, sync::Arc, time::Duration, time::SystemTime};

use akool_client::Secret;

pub use event::WebhookEvent;
use message::Message;
#[cfg(fuzzing)]
pub(crate) use message::signature;
pub use nonce::{MemoryNonces, NonceStore};

/// How old a message may be unless told otherwise.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// How large a message may be unless told otherwise. They have some hundred bytes.
const MAX_BODY: usize = 64 * 1024;
/// The year 9999, for what never expires.
const FAR: Duration = Duration::from_secs(253_402_300_799);

/// Opens the messages that the service sends to a webhook. Cheap to clone.
///
/// The secret shows in no `Debug`, and the copy held here is wiped when it is dropped.
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
    /// A verifier for the messages of this account.
    ///
    /// # Errors
    /// Where the id is empty, or the secret is no key: it has 16, 24 or 32 bytes.
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
            max_body: MAX_BODY,
            nonces: None,
        })
    }

    /// Sets how old a message may be, and how far ahead of this machine's clock (5 minutes unless
    /// set). `Duration::MAX` takes messages of any time.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets how many bytes a message may have (64 KiB unless set). Bound what your server reads of a
    /// request likewise; see [`max_body_bytes`](Self::max_body_bytes).
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sets what remembers the messages that came. Without it, a message counts again as often as it
    /// comes within its time, which for a trigger does no harm.
    pub fn nonces(mut self, store: impl NonceStore + 'static) -> Self {
        self.nonces = Some(Arc::new(store));
        self
    }

    /// How many bytes a message may have.
    pub fn max_body_bytes(&self) -> usize {
        self.max_body
    }

    /// Opens a message: the request's body as it came, and the time at which it came.
    ///
    /// In this order: its size, its form, its signature, its time, whether it came before; only then
    /// is it decrypted. It is remembered once all is well, so that a broken message never takes the
    /// place of a good one.
    ///
    /// # Errors
    /// Where any of these fails. The error says nothing of which; its
    /// [`reason`](WebhookError::reason) does, for your own log.
    pub fn verify(&self, body: &[u8], now: SystemTime) -> Result<WebhookEvent, WebhookError> {
        self.open(body, now).map_err(WebhookError)
    }

    fn open(&self, body: &[u8], now: SystemTime) -> Result<WebhookEvent, Rejection> {
        if body.len() > self.max_body {
            return Err(Rejection::TooLarge { limit: self.max_body });
        }
        let message = Message::read(body)?;
        let signature = message.verified(&self.client_id).ok_or(Rejection::WrongSignature)?;
        let sent_at = message.sent_at().ok_or_else(|| Rejection::malformed("`timestamp` is no time"))?;
        match now.duration_since(sent_at) {
            Ok(age) if age > self.max_age => return Err(Rejection::Stale { age }),
            Err(ahead) if ahead.duration() > self.max_age => {
                return Err(Rejection::FromTheFuture { ahead: ahead.duration() });
            }
            _ => {}
        }
        let event = message.decrypted(&self.client_id, self.secret.expose(), sent_at)?;
        if let Some(nonces) = &self.nonces {
            // To the end of the last millisecond in which it would be taken.
            let until = sent_at.checked_add(self.max_age.saturating_add(Duration::from_millis(1)));
            if !nonces.remember(&signature, now, until.unwrap_or(SystemTime::UNIX_EPOCH + FAR)) {
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

/// Why a [`WebhookVerifier`] cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidWebhookKey {
    /// The client id is empty.
    #[error("the client id is empty; copy it from the service's console")]
    NoClientId,
    /// The client secret is no AES key.
    #[error(
        "the client secret has not 16, 24 or 32 bytes, so it is no AES key; copy it whole from the service's \
         console, without blanks around it"
    )]
    SecretLength,
}

/// A message was not taken. Its text is the same whatever was wrong, so that it can be sent back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message was not taken")]
pub struct WebhookError(Rejection);

impl WebhookError {
    /// What was wrong, for your own log. Do not send it back: who can tell a wrong padding from a
    /// wrong signature can read encrypted messages.
    pub fn reason(&self) -> &Rejection {
        &self.0
    }

    /// What to answer: 200 for a message that came before, since its sender would go on sending it;
    /// 400 for everything else.
    pub fn http_status(&self) -> u16 {
        if self.0 == Rejection::Repeated { 200 } else { 400 }
    }
}

/// What was wrong with a message. For logs: it holds no secret, and nothing that was decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The body is larger than allowed.
    #[error("the body is larger than {limit} bytes; the service's messages have some hundred")]
    TooLarge {
        /// How many bytes are allowed.
        limit: usize,
    },
    /// The body is no message of the service: no JSON object with the four fields.
    #[error("the body is no webhook message: {why}")]
    Malformed {
        /// What is wrong with it.
        why: String,
    },
    /// The signature is not that of the client id and the values.
    #[error("the signature does not match; is the client id that of the account that created the job?")]
    WrongSignature,
    /// It was sent longer ago than is allowed.
    #[error("the message is {} s old; does it come late, again, or is a clock wrong?", age.as_secs())]
    Stale {
        /// How long ago.
        age: Duration,
    },
    /// Its time is later than this machine's.
    #[error("the message is {} s ahead of this clock; is it wrong?", ahead.as_secs())]
    FromTheFuture {
        /// By how much.
        ahead: Duration,
    },
    /// The same message came before.
    #[error("the same message came before")]
    Repeated,
    /// The signature matches, but what it holds cannot be decrypted.
    #[error("`dataEncrypt` cannot be decrypted; is the client secret that of the same account?")]
    Undecryptable,
    /// What was decrypted is no event: no JSON object with an id and a status.
    #[error("`dataEncrypt` holds no event with `_id` and `status`; was it changed on the way?")]
    NotAnEvent,
}

impl Rejection {
    fn malformed(why: impl fmt::Display) -> Self {
        Self::Malformed { why: crate::redact::excerpt(&why.to_string()) }
    }
}
