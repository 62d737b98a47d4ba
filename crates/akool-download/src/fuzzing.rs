//! Access to private functions, for the fuzz targets in `fuzz/`.

use reqwest::{
    StatusCode,
    header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue},
};

use crate::{response::Answer, version::Version};

/// What a partial response is used as, and the length of the whole file, if it is known then.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// The whole file.
    Whole(Option<u64>),
    /// What follows the position.
    Rest(Option<u64>),
    /// Nothing.
    Unusable,
}

/// Reads a response with status 206 and these headers, after `position` bytes of the version `known_etag` have arrived.
pub fn partial(
    content_range: &str,
    etag: &str,
    position: u64,
    known_etag: &str,
    known_length: Option<u64>,
) -> Part {
    let headers = |pairs: &[(_, &str)]| -> HeaderMap {
        let valid =
            |(name, value): &(_, &str)| Some((Clone::clone(name), HeaderValue::from_str(value).ok()?));
        pairs.iter().filter_map(valid).collect()
    };
    let known = Version::of(&headers(&[(ETAG, known_etag)]), known_length);
    let received = headers(&[(CONTENT_RANGE, content_range), (ETAG, etag)]);
    match Answer::new(StatusCode::PARTIAL_CONTENT, &received, None, position, &known) {
        Answer::Whole(version) => Part::Whole(version.total),
        Answer::Rest(version) => Part::Rest(version.total),
        _ => Part::Unusable,
    }
}
