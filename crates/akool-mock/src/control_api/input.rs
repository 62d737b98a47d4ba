//! The JSON that the control API receives.

use serde::{Deserialize, Deserializer};

use crate::{
    config::{self, Failure, Often, On, Status, Step},
    timeline::Timeline,
};

/// The most steps of a timeline, and the longest texts in characters.
const MAX_STEPS: usize = 1_000;
const MAX_TEXT: usize = 2_000;

/// A job's timeline, as in a scenario file. The server makes the id of a new job that has none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobInput {
    #[serde(default, deserialize_with = "present")]
    pub(super) id: Option<String>,
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default, deserialize_with = "present")]
    end: Option<Status>,
    #[serde(default, deserialize_with = "present")]
    error: Option<Failure>,
    #[serde(default, deserialize_with = "present")]
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) webhook_url: Option<String>,
}

impl JobInput {
    /// Takes the timeline.
    pub(super) fn timeline(&self) -> Result<Timeline, String> {
        if self.steps.len() > MAX_STEPS {
            return Err(format!("`steps` has more than {MAX_STEPS} steps"));
        }
        let texts = [
            ("error.reason", self.error.as_ref().map(|error| &error.reason)),
            ("description", self.description.as_ref()),
            ("webhook_url", self.webhook_url.as_ref()),
        ];
        let is_long = |text: Option<&String>| text.is_some_and(|text| text.chars().count() > MAX_TEXT);
        if let Some((name, _)) = texts.into_iter().find(|(_, text)| is_long(*text)) {
            return Err(format!("`{name}` is longer than {MAX_TEXT} characters"));
        }
        config::timeline(&self.steps, self.end.as_ref(), self.error.as_ref()).map_err(str::to_owned)
    }
}

/// A fault to inject.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultInput {
    pub(super) on: On,
    pub(super) fault: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) times: Option<Often>,
    #[serde(default, deserialize_with = "present")]
    pub(super) percent: Option<u8>,
    #[serde(default, deserialize_with = "present")]
    pub(super) seed: Option<u64>,
    #[serde(default)]
    pub(super) advances_timeline: bool,
}

/// A change of the clock. It is stopped or started first, then set forward.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClockInput {
    #[serde(default, deserialize_with = "present")]
    pub(super) stopped: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    pub(super) advance_seconds: Option<f64>,
}

/// A change of the account.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountInput {
    #[serde(default, deserialize_with = "present")]
    pub(super) credits: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    pub(super) credits_per_job: Option<u32>,
}

/// Reads a field that is there. Without this, null counts as a missing field.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
