//! The data of webhooks: which jobs have one, and which calls are due or were made.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::StatusCode;

use crate::{
    recent::{MAX_KEPT, Recent},
    times::FaultQueue,
};

/// How often a call is attempted until it gets HTTP 200.
pub(crate) const MAX_ATTEMPTS: u32 = 6;
/// The pause before the second attempt. It doubles with each further attempt.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// A webhook call, due or made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebhookCall {
    /// The id of the job.
    pub job: String,
    /// The status in the message.
    pub status: i64,
    /// The URL of the webhook.
    pub url: String,
    /// The signed and encrypted message.
    pub body: Bytes,
    /// The attempt number, from 1.
    pub attempt: u32,
    /// When the call is due, or was made.
    pub at: SystemTime,
    /// The HTTP status of the answer. `None` while the call is due, and if there was no answer.
    pub answer: Option<StatusCode>,
    /// Why there was no answer.
    pub failure: Option<String>,
}

impl WebhookCall {
    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let failure = self.failure.as_ref().map_or(0, String::len);
        size_of::<Self>() + self.job.len() + self.url.len() + self.body.len() + failure
    }
}

/// An error in webhook calls, for
/// [`MockServer::inject_into_webhooks`](crate::MockServer::inject_into_webhooks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WebhookFault {
    /// The call is never made.
    Lost,
    /// The call is made twice with the same message.
    Doubled,
    /// The call is made this much later, with the original timestamp.
    Delayed(Duration),
    /// The timestamp is one hour old. The signature is correct.
    Stale,
    /// The signature belongs to another client id.
    WrongSignature,
    /// The signature is correct, but the event is encrypted with another secret.
    WrongKey,
    /// Signature and encryption are correct, but the event is false: it says that the job is completed, with a link
    /// to nothing. An attacker who knows an earlier message can make a similar one.
    Untrue,
}

impl fmt::Display for WebhookFault {
    /// Writes the name that can be parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Delayed(by) => return write!(f, "delayed-{}", by.as_secs()),
            Self::Stale => "stale",
            Self::WrongSignature => "wrong-signature",
            Self::WrongKey => "wrong-key",
            Self::Untrue => "untrue",
        })
    }
}

impl FromStr for WebhookFault {
    type Err = String;

    /// Parses `lost`, `doubled`, `delayed-SECONDS`, `stale`, `wrong-signature`, `wrong-key` or `untrue`.
    fn from_str(text: &str) -> Result<Self, String> {
        let delayed = |text: &str| text.strip_prefix("delayed-")?.parse().ok().map(Duration::from_secs);
        Ok(match text {
            "lost" => Self::Lost,
            "doubled" => Self::Doubled,
            "stale" => Self::Stale,
            "wrong-signature" => Self::WrongSignature,
            "wrong-key" => Self::WrongKey,
            "untrue" => Self::Untrue,
            _ => Self::Delayed(delayed(text).ok_or_else(|| {
                format!(
                    "{text:?} is not a fault of webhooks; use lost, doubled, delayed-SECONDS, stale, wrong-signature, \
                     wrong-key or untrue"
                )
            })?),
        })
    }
}

/// The webhooks of jobs, and their calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Webhooks {
    /// By job. A webhook is removed when its job has ended.
    pub(crate) hooks: BTreeMap<String, Hook>,
    pub(crate) queue: Vec<WebhookCall>,
    /// About how many bytes the queue takes.
    pub(crate) queue_bytes: usize,
    pub(crate) made: Recent<WebhookCall>,
    pub(crate) faults: FaultQueue<WebhookFault>,
    /// The number of messages.
    pub(crate) serial: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Hook {
    pub(crate) url: String,
    /// The last status that was announced, or does not need to be.
    pub(crate) announced: i64,
}

impl Webhooks {
    pub(crate) fn subscribe(&mut self, job: impl Into<String>, url: impl Into<String>) {
        self.hooks.insert(job.into(), Hook { url: url.into(), announced: 1 });
    }

    /// Records the result of a call. Schedules the next attempt unless the call got HTTP 200 or this was the last
    /// attempt.
    pub(crate) fn call_ended(
        &mut self,
        mut call: WebhookCall,
        answer: Result<StatusCode, String>,
        now: SystemTime,
    ) {
        call.at = now;
        match answer {
            Ok(status) => call.answer = Some(status),
            Err(why) => call.failure = Some(why),
        }
        if call.answer != Some(StatusCode::OK) && call.attempt < MAX_ATTEMPTS {
            let pause = RETRY_PAUSE * 2_u32.pow(call.attempt - 1);
            let retry = WebhookCall {
                attempt: call.attempt + 1,
                at: now + pause,
                answer: None,
                failure: None,
                ..call.clone()
            };
            self.add(retry);
        }
        let size = call.size();
        self.made.push(call, size);
    }

    /// About how many bytes of calls are remembered, due and made.
    pub(crate) fn bytes(&self) -> usize {
        self.queue_bytes + self.made.bytes()
    }

    /// Adds a call to the queue. If there are too many, because the receivers are slow, it is lost.
    pub(crate) fn add(&mut self, call: WebhookCall) {
        if self.queue.len() < MAX_KEPT {
            self.queue_bytes += call.size();
            self.queue.push(call);
        }
    }
}
