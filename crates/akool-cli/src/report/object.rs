//! The JSON line of an event that concerns a job: [`Object`].

use std::fmt::Display;

use akool::{JobId, Language, Snapshot};
use serde::Serialize;

/// Documented in docs/json.md.
#[derive(Default, Serialize)]
pub(super) struct Object<'a> {
    pub(super) event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) language: Option<Language>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) video: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subtitles: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) original_subtitles: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) no_captions: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) help: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kept: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) changed: Option<bool>,
}

impl<'a> Object<'a> {
    pub(super) fn of(event: &'static str, snapshot: &'a Snapshot) -> Self {
        Self {
            event,
            id: Some(snapshot.id()),
            status: Some(snapshot.status().name()),
            status_code: Some(snapshot.status().into()),
            progress: snapshot.progress(),
            video: snapshot.video().map(Into::into),
            subtitles: snapshot.subtitles().map(Into::into),
            original_subtitles: snapshot.original_subtitles().map(Into::into),
            no_captions: snapshot.no_captions().map(Into::into),
            error_code: snapshot.error_code(),
            error_reason: snapshot.error_reason(),
            ..Self::default()
        }
    }

    pub(super) fn message(mut self, message: impl Display) -> Self {
        self.message = Some(message.to_string());
        self
    }
}
