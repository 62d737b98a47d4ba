//! Access to private functions, for the fuzz targets in `fuzz/`.

use std::time::Duration;

use akool_client::{BodyEnd, Received, types::GetVideoInfoResponse};
use reqwest::{
    StatusCode,
    header::{CONTENT_ENCODING, DATE, HeaderMap, HeaderValue, RETRY_AFTER},
};

use crate::{error::Error, http, response::Reply, snapshot::Snapshot};

/// The result of a poll that was answered with this status, this value in every header, and this body.
///
/// # Errors
/// If the response is an error or cannot be decoded.
pub fn decode(status: u16, header: &str, body: &[u8]) -> Result<Snapshot, Error> {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let mut received = Received::new(status, body.to_vec(), BodyEnd::Complete);
    if let Ok(value) = HeaderValue::from_str(header) {
        received.headers.extend([CONTENT_ENCODING, DATE, RETRY_AFTER].map(|name| (name, value.clone())));
    }
    let response = Reply::<GetVideoInfoResponse>::lenient(&received).into_result()?;
    Snapshot::new("64dd".into(), response)
}

/// How long a response with these headers asks to pause.
pub fn retry_after(value: &str, at: Option<&str>) -> Option<Duration> {
    let header = |text: &str| HeaderValue::from_str(text).ok();
    let mut headers = HeaderMap::from_iter([(RETRY_AFTER, header(value)?)]);
    headers.extend(at.and_then(header).map(|at| (DATE, at)));
    http::retry_after(&headers)
}
