//! Timelines and faults in text, for scenario files and the control API.

use std::time::Duration;

use serde::Deserialize;

use crate::{
    fault::{Fault, Place},
    service_state::ServiceState,
    timeline::{FAILURE_CODE, Polls, Span, Timeline},
    times::{Injected, Times},
    webhook_queue::WebhookFault,
};

/// The requests that a fault affects.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum On {
    Polls,
    Files,
    Creations,
    Webhooks,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub(crate) status: Status,
    #[serde(rename = "for")]
    pub(crate) span: For,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    pub(crate) code: i64,
    pub(crate) reason: String,
}

/// A string or a number, before it is parsed.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a string or an integer")]
pub(crate) enum Raw {
    Number(i64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(try_from = "Raw")]
pub(crate) struct Status(pub(crate) i64);

impl TryFrom<Raw> for Status {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        Ok(Self(match raw {
            Raw::Number(number) => number,
            Raw::Text(text) => match text.as_str() {
                "queueing" => 1,
                "processing" => 2,
                "completed" => 3,
                "failed" => 4,
                _ => {
                    return Err(format!(
                        "{text:?} is not a status; use queueing, processing, completed, failed or a number"
                    ));
                }
            },
        }))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct For(pub(crate) Span);

impl TryFrom<String> for For {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a duration; write it like \"2 polls\", \"300ms\", \"5s\" or \"2m\"");
        let text = text.trim();
        let split = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = text[..split].parse().map_err(|_| wrong())?;
        let span = match text[split..].trim() {
            "poll" | "polls" => Polls(number).into(),
            "ms" => Duration::from_millis(number.into()).into(),
            "s" => Duration::from_secs(number.into()).into(),
            "m" | "min" => Duration::from_secs(u64::from(number) * 60).into(),
            "h" => Duration::from_secs(u64::from(number) * 3600).into(),
            _ => return Err(wrong()),
        };
        Ok(Self(span))
    }
}

#[derive(Deserialize)]
#[serde(try_from = "Raw")]
pub(crate) struct Often(pub(crate) Times);

impl TryFrom<Raw> for Often {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        match raw {
            Raw::Number(number @ 1..=0xffff_ffff) => Ok(Self(Times::N(number as u32))),
            Raw::Text(text) if text == "once" => Ok(Self(Times::Once)),
            Raw::Text(text) if text == "always" => Ok(Self(Times::Always)),
            _ => Err("`times` must be a number from 1, \"once\" or \"always\"".to_owned()),
        }
    }
}

/// A fault, and the requests that it affects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Injection {
    Polls(Fault),
    Files(Fault),
    Creations(Fault),
    Webhooks(WebhookFault),
}

impl Injection {
    /// Parses the name of a fault.
    pub(crate) fn parse(on: On, name: &str) -> Result<Self, String> {
        if matches!(on, On::Webhooks) {
            return name.parse().map(Self::Webhooks);
        }
        let fault: Fault = name.parse()?;
        if fault.place() == Place::Connection {
            return Err(format!(
                "{name} happens before there is a request; only a test in Rust can use it (MockServer::url_for)"
            ));
        }
        Ok(match on {
            On::Files => Self::Files(fault),
            On::Creations => Self::Creations(fault),
            On::Polls | On::Webhooks => Self::Polls(fault),
        })
    }
}

impl ServiceState {
    /// Adds a fault to its queue.
    pub(crate) fn inject(&mut self, injection: Injection, times: Times, advances: bool) {
        match injection {
            Injection::Polls(fault) => self.poll_faults.add(Injected { fault, times, advances }),
            Injection::Files(fault) => self.file_faults.push(fault, times),
            Injection::Creations(fault) => self.creation_faults.push(fault, times),
            Injection::Webhooks(fault) => self.webhooks.faults.push(fault, times),
        }
    }
}

/// Combines the ways to say how often a fault happens.
pub(crate) fn times(
    times: Option<Often>,
    percent: Option<u8>,
    seed: Option<u64>,
) -> Result<Times, &'static str> {
    match (times, percent) {
        (Some(_), Some(_)) => Err("`percent` and `times` exclude each other; remove one"),
        (_, Some(101..)) => Err("`percent` is more than 100"),
        (None, Some(percent)) => Ok(Times::WithProbability { percent, seed: seed.unwrap_or(0) }),
        (Some(times), None) => Ok(times.0),
        (None, None) => Ok(Times::Once),
    }
}

/// Builds a timeline. Without an end, it is completed.
pub(crate) fn timeline(
    steps: &[Step],
    end: Option<&Status>,
    error: Option<&Failure>,
) -> Result<Timeline, &'static str> {
    let mut timeline = Timeline::new();
    for step in steps {
        timeline = timeline.status(step.status.0, step.span.0);
    }
    Ok(match (end, error) {
        (Some(Status(4)), Some(error)) => timeline.failed(error.code, &*error.reason),
        (_, Some(_)) => return Err("`error` is only valid with `end = \"failed\"`"),
        (Some(Status(4)), None) => timeline.failed(FAILURE_CODE, "the job failed"),
        (None | Some(Status(3)), None) => timeline.completed(),
        (Some(Status(status)), None) => timeline.stuck(*status),
    })
}
