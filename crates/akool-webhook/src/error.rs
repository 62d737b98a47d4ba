//! Why a verifier could not be made, or a message was rejected: [`WebhookError`], [`Rejection`].

use std::{fmt, time::Duration};

/// Why [`WebhookVerifier::new`](crate::WebhookVerifier::new) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidWebhookKey {
    /// The client id is empty.
    #[error("the client id is empty; copy it from the service's console")]
    NoClientId,
    /// The client secret is not an AES key.
    #[error(
        "the client secret must have 16, 24 or 32 bytes; copy the whole secret from the service's console, \
         without spaces around it"
    )]
    SecretLength,
}

/// The message was rejected. The text is the same for every reason, so it can be sent back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message was rejected")]
pub struct WebhookError(pub(crate) Rejection);

impl WebhookError {
    /// Returns the reason, for your own log. Do not send it back: a sender that can distinguish a wrong
    /// padding from a wrong signature can decrypt messages.
    pub fn reason(&self) -> &Rejection {
        &self.0
    }

    /// Returns the HTTP status to respond with: 200 for a message that was already received, because
    /// the service would send it again otherwise; 400 for every other reason.
    pub fn http_status(&self) -> u16 {
        if self.0 == Rejection::Repeated { 200 } else { 400 }
    }
}

/// Why a message was rejected. For logs: it contains no secret and no decrypted text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The body is larger than [`WebhookVerifier::max_body`](crate::WebhookVerifier::max_body).
    #[error("the body is larger than {limit} bytes; the service's messages have a few hundred")]
    TooLarge {
        /// The maximum size, in bytes.
        limit: usize,
    },
    /// The body is not a JSON object with the four fields of a message.
    #[error("the body is not a webhook message: {why}")]
    Malformed {
        /// What is wrong with it.
        why: String,
    },
    /// The signature does not match the client id and the values of the message.
    #[error("the signature does not match; is the client id that of the account that created the job?")]
    WrongSignature,
    /// The message is older than [`WebhookVerifier::max_age`](crate::WebhookVerifier::max_age).
    #[error("the message is {} s old; it may be late or repeated, or a clock is wrong", age.as_secs())]
    Stale {
        /// Its age.
        age: Duration,
    },
    /// The time of the message is in the future by more than [`WebhookVerifier::max_age`](crate::WebhookVerifier::max_age).
    #[error("the time of the message is {} s ahead of this clock; is the clock correct?", ahead.as_secs())]
    FromTheFuture {
        /// How far it is in the future.
        ahead: Duration,
    },
    /// The same message was already received.
    #[error("the same message was already received")]
    Repeated,
    /// The signature matches, but the content cannot be decrypted.
    #[error("`dataEncrypt` cannot be decrypted; is the client secret that of the same account?")]
    Undecryptable,
    /// The decrypted content is not a JSON object with an id and a status.
    #[error("`dataEncrypt` does not contain an event with `_id` and `status`; was it changed on the way?")]
    NotAnEvent,
}

impl Rejection {
    pub(crate) fn malformed(why: impl fmt::Display) -> Self {
        Self::Malformed { why: akool::redact::excerpt(&why.to_string()) }
    }
}
