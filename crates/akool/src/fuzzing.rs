//! Access to private functions, for the fuzz targets in `fuzz/`.

use std::time::Duration;

use akool_client::{BodyEnd, Received, types::GetVideoInfoResponse};
use reqwest::{StatusCode, header::HeaderValue};

use crate::{
    error::Error,
    http::{date, pause},
    response::Reply,
    snapshot::Snapshot,
};

/// The result of a poll that was answered with this status, this value in every header, and this body.
///
/// # Errors
/// If the response is an error or cannot be decoded.
pub fn decode(status: u16, header: &str, body: &[u8]) -> Result<Snapshot, Error> {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let mut received = Received::new(status, body.to_vec(), BodyEnd::Complete);
    let header = HeaderValue::from_str(header).ok();
    received.content_encoding = header.clone();
    received.date = header.clone();
    received.retry_after = header;
    let response = Reply::<GetVideoInfoResponse>::lenient(&received).into_result()?;
    Snapshot::new("64dd".into(), response)
}

/// How long a response with these headers asks to pause.
pub fn retry_after(value: &str, at: Option<&str>) -> Option<Duration> {
    let header = |text: &str| HeaderValue::from_str(text).ok();
    pause(Some(&header(value)?), date(at.and_then(header).as_ref()))
}
