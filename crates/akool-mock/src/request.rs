//! Reading requests: the paths of the operations, ids of jobs and JSON bodies.

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

/// Parses the JSON body of a request.
pub(crate) fn json_body(request: &Request<Bytes>) -> Result<Value, &'static str> {
    if !is_json(request.headers()) {
        return Err("The content type is not application/json");
    }
    serde_json::from_slice(request.body()).map_err(|_| "The body is not valid JSON")
}
