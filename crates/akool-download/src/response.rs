//! What the headers of a response say about the file.

use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER,
};

/// Returns a value for `If-Range`: a strong `ETag`, or else `Last-Modified`. Returns `None` if the
/// server does not support ranges.
pub(crate) fn validator(headers: &HeaderMap) -> Option<String> {
    if headers.get(ACCEPT_RANGES).is_some_and(|ranges| ranges == "none") {
        return None;
    }
    let text = |name| headers.get(name)?.to_str().ok().map(str::to_owned);
    text(ETAG).filter(|tag| tag.starts_with('"')).or_else(|| text(LAST_MODIFIED))
}

/// Returns whether the response is a web page.
pub(crate) fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.to_ascii_lowercase().starts_with("text/html")
}

/// Returns the SHA-256 checksum of the whole file in base64, from `Repr-Digest`, its predecessor
/// `Digest`, or Amazon's own header.
pub(crate) fn sha256(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name)?.to_str().ok();
    if let Some(digest) = text("repr-digest").and_then(|value| member(value, "sha-256")) {
        return Some(digest.trim_matches(':').to_owned());
    }
    if let Some(digest) = text("digest").and_then(|value| member(value, "sha-256")) {
        return Some(digest.to_owned());
    }
    // The value for a file that was uploaded in parts contains a `-`. It is not a checksum of the file.
    text("x-amz-checksum-sha256").filter(|value| !value.contains('-')).map(str::to_owned)
}

/// Returns one member of a list such as `a=1, b=2`.
fn member<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(',').find_map(|entry| {
        let (key, value) = entry.trim().split_once('=')?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Returns the start and the total length of a range such as `Content-Range: bytes 10-19/20`.
pub(crate) fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.parse().ok()?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start, total))
}

/// Returns the pause that `Retry-After` requests, in seconds or as a date. A date counts from the
/// response's own `Date`, so that the two clocks need not agree.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = |name: HeaderName| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok();
    date(RETRY_AFTER)?.duration_since(date(DATE).unwrap_or_else(SystemTime::now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_checksums_of_the_whole_file_are_read() {
        let read = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            sha256(&headers)
        };
        assert_eq!(read("repr-digest", "sha-512=:x:, sha-256=:YWJj:").as_deref(), Some("YWJj"));
        assert_eq!(read("digest", "SHA-256=YWI=").as_deref(), Some("YWI="));
        assert_eq!(read("x-amz-checksum-sha256", "YWJj").as_deref(), Some("YWJj"));
        assert_eq!(read("x-amz-checksum-sha256", "YWJj-3"), None);
        assert_eq!(read("repr-digest", "nonsense"), None);
    }

    #[test]
    fn content_range_gives_start_and_total() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, value.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(read("bytes 10-19/20"), Some((10, Some(20))));
        assert_eq!(read("bytes 10-19/*"), Some((10, None)));
        for nonsense in ["bytes */20", "10-19/20", "bytes 10/20", "bytes -1/20", "bytes 1-2/x"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_date() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            headers.insert(DATE, "Sun, 22 Nov 2026 10:00:00 GMT".parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Sun, 22 Nov 2026 10:01:00 GMT"), Some(Duration::from_secs(60)));
        for none in ["Sun, 22 Nov 2026 09:00:00 GMT", "", "-5", "soon", "1.5"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
