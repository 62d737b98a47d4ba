//! Answers: JSON bodies in the documented shape, and what the log records about an answer.

use std::{sync::LazyLock, time::SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::{files, timeline::State};

/// The example of the description. Code generation writes it.
static EXAMPLE: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("example.json")).unwrap_or_else(|_| json!({"data": {}}))
});

/// Builds the answer to a poll. The links to the files start with `base_url`.
pub(crate) fn job(id: &str, state: &State, base_url: &str) -> Value {
    let mut answer = EXAMPLE.clone();
    let data = &mut answer["data"];
    data["_id"] = id.into();
    data["video_status"] = state.status.into();
    data["progress"] = state.progress.into();
    data["create_time"] = millis(state.created).into();
    data["deduction_lock_duration"] = state.credits.into();
    let link = |name| format!("{base_url}/files/{}/{name}", encode(id));
    if state.status == 3 {
        data["deduction_duration"] = state.credits.into();
        data["video"] = link(files::VIDEO.name).into();
        data["audio_splits"] = json!({
            "original_srt_url": link(files::ORIGINAL.name),
            "translated_srt_url": link(files::TRANSLATED.name),
            "no_caption_video_url": link(files::NO_CAPTIONS.name),
        });
    } else {
        data["video"] = "".into();
        data["audio_splits"] = json!({});
    }
    if let Some((code, reason)) = &state.error {
        data["error_code"] = (*code).into();
        data["error_reason"] = reason.as_str().into();
    }
    answer
}

/// The length of every video, in seconds: that of the example.
pub(crate) fn video_length() -> &'static Value {
    &EXAMPLE["data"]["video_lock_duration"]
}

/// Builds an envelope with a business code.
pub(crate) fn error(code: i64, message: &str) -> Value {
    json!({ "code": code, "msg": message })
}

/// Encodes an id as one path segment of a link.
fn encode(id: &str) -> String {
    url::form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>().replace('+', "%20")
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// An answer, and what the log records about it.
pub(crate) struct Outcome {
    pub(crate) response: Response<Bytes>,
    pub(crate) job: Option<String>,
    pub(crate) summary: String,
    /// A violation that fails the test.
    pub(crate) violation: Option<String>,
}

impl Outcome {
    /// Answers with JSON and HTTP 200.
    pub(crate) fn json(value: &Value, summary: impl Into<String>) -> Self {
        let mut response = Response::new(Bytes::from(value.to_string()));
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, json);
        Self { response, job: None, summary: summary.into(), violation: None }
    }

    /// Answers with a business code.
    pub(crate) fn rejected(code: i64, message: &str) -> Self {
        Self::json(&error(code, message), format!("code {code}, {message}"))
    }

    /// Answers with plain text.
    pub(crate) fn plain(status: StatusCode, text: &str) -> Self {
        let mut response = Response::new(Bytes::from(format!("akool-mock: {text}\n")));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Self { response, job: None, summary: text.to_owned(), violation: None }
    }

    pub(crate) fn of_job(self, id: impl Into<String>) -> Self {
        Self { job: Some(id.into()), ..self }
    }
}
