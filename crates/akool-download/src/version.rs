//! The version of a file on the server: [`Version`].

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use headers::{AcceptRanges, Date, ETag, HeaderMapExt, LastModified};
use reqwest::header::{self, HeaderMap};
use serde::{Deserialize, Serialize};

/// A version of a file, as the headers of a response describe it. A download is resumed only if the server confirms
/// that the file still has this version.
///
/// With serde's traits, a [`Sink`](crate::Sink) can store it beside the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Version {
    /// The strong `ETag`, in quotation marks.
    pub etag: Option<String>,
    /// `Last-Modified`, if there is no strong `ETag` and the date identifies the version.
    pub last_modified: Option<String>,
    /// The length of the whole file in bytes.
    pub total: Option<u64>,
    /// The SHA-256 of the whole file in base64.
    pub sha256: Option<String>,
}

impl Version {
    pub(crate) fn of(headers: &HeaderMap, total: Option<u64>) -> Self {
        let text = |name| headers.get(name)?.to_str().ok().map(str::to_owned);
        let mut version = Self { total, sha256: sha256(headers), ..Self::default() };
        if headers.typed_get::<AcceptRanges>().is_some_and(|ranges| ranges.is_none()) {
            // The server does not support ranges.
        } else if headers.typed_get::<ETag>().is_some_and(|tag| !tag.is_weak()) {
            version.etag = text(header::ETAG);
        } else if is_strong_date(headers) {
            version.last_modified = text(header::LAST_MODIFIED);
        }
        version
    }

    /// Returns whether a download of this version can be resumed.
    pub fn is_resumable(&self) -> bool {
        self.validator().is_some()
    }

    /// Returns whether the server sent a checksum of the whole file.
    pub fn has_checksum(&self) -> bool {
        self.sha256.is_some()
    }

    /// Returns whether the server sent no checksum, or this one.
    pub(crate) fn matches(&self, sha256: [u8; 32]) -> bool {
        self.sha256.as_ref().is_none_or(|expected| *expected == BASE64_STANDARD.encode(sha256))
    }

    /// Returns the value for `If-Range`.
    pub(crate) fn validator(&self) -> Option<&str> {
        self.etag.as_deref().or(self.last_modified.as_deref())
    }

    /// Returns whether a response with these headers may belong to this version.
    pub(crate) fn may_match(&self, headers: &HeaderMap) -> bool {
        let name = if self.etag.is_some() { header::ETAG } else { header::LAST_MODIFIED };
        headers.get(name).is_none_or(|value| Some(value.as_bytes()) == self.validator().map(str::as_bytes))
    }
}

/// Returns whether `Last-Modified` identifies one version: RFC 9110, section 8.8.2.2, requires that the response is
/// at least a second younger, because a file can change twice within a second.
fn is_strong_date(headers: &HeaderMap) -> bool {
    let now = headers.typed_get::<Date>().map_or_else(SystemTime::now, SystemTime::from);
    headers.typed_get::<LastModified>().is_some_and(|modified| {
        now.duration_since(modified.into()).is_ok_and(|age| age >= Duration::from_secs(1))
    })
}

/// Returns the SHA-256 of the whole file in base64, from `Repr-Digest`, its predecessor `Digest`, or Amazon's own
/// header.
fn sha256(headers: &HeaderMap) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_checksums_of_the_whole_file_are_read() {
        let read = |name, value| Version::of(&headers(&[(name, value)]), None).sha256;
        assert_eq!(read("repr-digest", "sha-512=:x:, sha-256=:YWJj:").as_deref(), Some("YWJj"));
        assert_eq!(read("digest", "SHA-256=YWI=").as_deref(), Some("YWI="));
        assert_eq!(read("x-amz-checksum-sha256", "YWJj").as_deref(), Some("YWJj"));
        assert_eq!(read("x-amz-checksum-sha256", "YWJj-3"), None);
        assert_eq!(read("repr-digest", "nonsense"), None);
    }

    #[test]
    fn a_checksum_that_was_not_sent_matches_everything() {
        let none = Version::default();
        assert!(!none.has_checksum() && none.matches([7; 32]));
        let sent = BASE64_STANDARD.encode([7; 32]);
        let one = Version { sha256: Some(sent), ..Version::default() };
        assert!(one.has_checksum() && one.matches([7; 32]) && !one.matches([8; 32]));
    }

    #[test]
    fn the_validator_is_a_strong_tag_or_a_date_that_is_a_second_old() {
        const EARLIER: (&str, &str) = ("last-modified", "Sun, 22 Nov 2026 09:59:59 GMT");
        const NOW: (&str, &str) = ("date", "Sun, 22 Nov 2026 10:00:00 GMT");
        let read = |list: &[_]| Version::of(&headers(list), None).validator().map(str::to_owned);
        assert_eq!(read(&[("etag", "\"a\""), EARLIER, NOW]).as_deref(), Some("\"a\""));
        assert_eq!(read(&[("etag", "W/\"a\""), EARLIER, NOW]).as_deref(), Some(EARLIER.1));
        assert_eq!(read(&[("last-modified", NOW.1), NOW]), None);
        assert_eq!(read(&[("last-modified", "yesterday"), NOW]), None);
        for tag in ["W/\"a\"", "a", "\"a"] {
            assert_eq!(read(&[("etag", tag)]), None, "{tag}");
        }
        assert_eq!(read(&[("etag", "\"a\""), ("accept-ranges", "none")]), None);
    }
}
