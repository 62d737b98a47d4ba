//! What a response means for a download, from its status and headers alone: [`Answer`].

use std::time::Duration;

use akool::http::retry_after;
use headers::{ContentRange, HeaderMapExt};
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderValue, IF_RANGE},
};

use crate::version::Version;

/// What a response means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The body is the whole file.
    Whole(Version),
    /// The body is the requested rest of the file, or the start of that rest.
    Rest(Version),
    /// The body is of no use, and neither is what has arrived before it.
    Unusable(&'static str),
    /// The link is no longer valid.
    Expired,
    /// Another attempt may succeed.
    Failed { retry_after: Option<Duration> },
    /// No other attempt will succeed.
    Refused,
}

/// Returns the headers of a request for what follows `position`, if the server can confirm the version.
pub(crate) fn range(position: u64, version: &Version) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(validator) = version.validator().filter(|_| position > 0)
        && let Ok(validator) = HeaderValue::from_str(validator)
        && let Ok(range) = headers::Range::bytes(position..)
    {
        headers.typed_insert(range);
        headers.insert(IF_RANGE, validator);
    }
    headers
}

impl Answer {
    /// `position` and `version`: what has arrived before.
    pub(crate) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        content_length: Option<u64>,
        position: u64,
        version: &Version,
    ) -> Self {
        match status {
            // If a range was requested, the file has changed or the server does not support ranges.
            StatusCode::OK => Self::Whole(Version::of(headers, content_length)),
            StatusCode::PARTIAL_CONTENT => Self::partial(headers, position, version),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                Self::Unusable("the server no longer has the requested range")
            }
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => Self::Expired,
            _ if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) => {
                Self::Failed { retry_after: retry_after(headers) }
            }
            _ => Self::Refused,
        }
    }

    fn partial(headers: &HeaderMap, position: u64, version: &Version) -> Self {
        let range = headers.typed_get::<ContentRange>();
        let total = range.as_ref().and_then(ContentRange::bytes_len);
        let Some((first, last)) = range.and_then(|range| range.bytes_range()) else {
            return Self::Unusable("the server sent a part of the file without its position");
        };
        let is_requested = position > 0 && version.is_resumable();
        match total {
            Some(total) if first == 0 && last.checked_add(1) == Some(total) => {
                Self::Whole(Version::of(headers, Some(total)))
            }
            _ if !is_requested => Self::Unusable("the server sent a part of the file that was not requested"),
            _ if first != position => Self::Unusable("the server sent another range than the requested one"),
            _ if !version.may_match(headers) || total.is_some_and(|total| total <= last) => {
                Self::Unusable("the file has changed on the server")
            }
            _ => match (version.total, total) {
                (Some(before), Some(now)) if before != now => {
                    Self::Unusable("the file has changed on the server: it has another length")
                }
                (None, None) => Self::Unusable("the length of the file is not known"),
                (before, now) => {
                    let Version { sha256, .. } = Version::of(headers, None);
                    let mut rest = version.clone();
                    rest.total = before.or(now);
                    rest.sha256 = sha256.or(rest.sha256);
                    Self::Rest(rest)
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::RANGE;

    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// The answer to a request for the rest after 10 of 20 bytes.
    fn rest(content_range: &str, etag: &str) -> Answer {
        let version = Version { etag: Some("\"a\"".to_owned()), total: Some(20), ..Version::default() };
        let headers = headers(&[("content-range", content_range), ("etag", etag)]);
        Answer::new(StatusCode::PARTIAL_CONTENT, &headers, None, 10, &version)
    }

    #[test]
    fn a_requested_range_is_the_rest_only_if_everything_matches() {
        for accepted in ["bytes 10-19/20", "bytes 10-15/20", "bytes 10-19/*"] {
            assert!(
                matches!(rest(accepted, "\"a\""), Answer::Rest(Version { total: Some(20), .. })),
                "{accepted}"
            );
        }
        assert!(matches!(rest("bytes 0-19/20", "\"b\""), Answer::Whole(_)));
        for unusable in [
            "bytes 9-19/20",
            "bytes 0-19/*",
            "bytes 10-20/21",
            "bytes 10-20/20",
            "bytes */20",
            "10-19/20",
            "bytes 10-19",
            "bytes 10-x/20",
        ] {
            assert!(matches!(rest(unusable, "\"a\""), Answer::Unusable(_)), "{unusable}");
        }
        assert!(matches!(rest("bytes 10-19/20", "\"b\""), Answer::Unusable(_)));
        assert!(matches!(rest("bytes 10-19/20", "W/\"a\""), Answer::Unusable(_)));
    }

    #[test]
    fn a_range_that_was_not_requested_counts_only_if_it_is_complete() {
        let answer = |content_range| {
            let headers = headers(&[("content-range", content_range)]);
            Answer::new(StatusCode::PARTIAL_CONTENT, &headers, Some(100), 0, &Version::default())
        };
        assert!(matches!(answer("bytes 0-99/100"), Answer::Whole(Version { total: Some(100), .. })));
        for partial in ["bytes 0-99/*", "bytes 0-99/200", "bytes 1-99/100", "bytes */100", ""] {
            assert!(matches!(answer(partial), Answer::Unusable(_)), "{partial}");
        }
        // Neither from the start nor without a validator is a range requested.
        let tagged = Version { etag: Some("\"a\"".to_owned()), total: Some(20), ..Version::default() };
        for (position, version, range) in
            [(0, &tagged, "bytes 0-9/20"), (10, &Version::default(), "bytes 10-19/20")]
        {
            let headers = headers(&[("content-range", range), ("etag", "\"a\"")]);
            let answer = Answer::new(StatusCode::PARTIAL_CONTENT, &headers, None, position, version);
            assert!(matches!(answer, Answer::Unusable(why) if why.contains("not requested")), "{range}");
        }
    }

    #[test]
    fn a_range_is_requested_only_with_a_validator() {
        let mut version = Version::default();
        assert!(range(10, &version).is_empty());
        version.last_modified = Some("Sun, 22 Nov 2026 10:00:00 GMT".to_owned());
        assert!(range(0, &version).is_empty());
        let headers = range(10, &version);
        assert_eq!(headers[RANGE], "bytes=10-");
        assert_eq!(headers[IF_RANGE], "Sun, 22 Nov 2026 10:00:00 GMT");
    }
}
