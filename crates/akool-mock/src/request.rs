//! Reading requests: the paths of the operations, ids of jobs and JSON bodies.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Request, header::CONTENT_TYPE};
use serde_json::Value;

pub(crate) const GET_VIDEO_INFO: &str = "/api/open/v3/content/video/infobymodelid";
pub(crate) const CREATE_TRANSLATION: &str = "/api/open/v3/content/video/createbytranslate";
pub(crate) const LIST_LANGUAGES: &str = "/api/open/v3/language/list";
pub(crate) const GET_CREDITS: &str = "/api/open/v3/faceswap/quota/info";
pub(crate) const GET_TOKEN: &str = "/api/open/v3/getToken";
/// Result files are at `/files/ID/NAME`.
pub(crate) const FILES: &str = "/files/";
/// The path of the flags of languages.
pub(crate) const FLAGS: &str = "/files/flags/";

/// Returns every job id in the query of a poll.
pub(crate) fn job_ids(request: &Request<Bytes>) -> impl Iterator<Item = String> {
    url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
        .filter(|(name, _)| name == "video_model_id")
        .map(|(_, id)| id.into_owned())
}

/// Returns the first value of a parameter in the query.
pub(crate) fn query_value(request: &Request<Bytes>, name: &str) -> Option<String> {
    let mut query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    query.find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
}

/// Decodes a segment of a path, which is like a value in a query except for `+`.
pub(crate) fn segment(segment: &str) -> Option<String> {
    let query = format!("={}", segment.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes()).next().map(|(_, value)| value.into_owned())
}

/// Whether the body is JSON by its content type.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

/// A request to the API, as its operation receives it.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request<Bytes>,
    pub(crate) now: SystemTime,
    /// Why the service refuses it, by the description.
    pub(crate) refusal: Option<String>,
    /// Whether a poll counts in the timeline of the job.
    pub(crate) counts: bool,
    /// Whether a creation creates jobs.
    pub(crate) creates: bool,
}

impl Call<'_> {
    /// Returns the JSON body, unless the service refuses the request.
    pub(crate) fn body(&self) -> Result<Value, String> {
        match &self.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => serde_json::from_slice(self.request.body()).map_err(|error| error.to_string()),
        }
    }
}
