//! The result files of a job. Like a CDN, the mock server serves them to anyone who knows their link, without
//! credentials, and supports ranges.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE},
};

/// A result file.
pub(crate) struct File {
    pub(crate) name: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

pub(crate) const VIDEO: File = mp4("video.mp4", include_bytes!("../assets/video.mp4"));
pub(crate) const ORIGINAL: File = srt("original.srt", include_bytes!("../assets/original.srt"));
pub(crate) const TRANSLATED: File = srt("translated.srt", include_bytes!("../assets/translated.srt"));
pub(crate) const NO_CAPTIONS: File = mp4("no-captions.mp4", include_bytes!("../assets/no-captions.mp4"));
pub(crate) const ALL: [File; 4] = [VIDEO, ORIGINAL, TRANSLATED, NO_CAPTIONS];

const fn mp4(name: &'static str, bytes: &'static [u8]) -> File {
    File { name, media_type: "video/mp4", bytes }
}

const fn srt(name: &'static str, bytes: &'static [u8]) -> File {
    File { name, media_type: "application/x-subrip", bytes }
}

impl File {
    /// Answers a request with these headers. `contents` overrides the built-in contents.
    pub(crate) fn serve(&self, headers: &HeaderMap, contents: Option<&Bytes>) -> Response<Bytes> {
        let bytes = contents.cloned().unwrap_or(Bytes::from_static(self.bytes));
        let mut response = Response::new(bytes.clone());
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let etag = format!("\"{}\"", self.name);
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            fields.insert(ETAG, etag);
        }

        let unchanged = headers.get(IF_RANGE).is_none_or(|tag| tag == etag.as_str());
        let start = headers.get(RANGE).and_then(|range| {
            range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
        });
        if let Some(start) = start.filter(|_| unchanged) {
            let total = bytes.len();
            if start >= total {
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                *response.body_mut() = Bytes::new();
                return response;
            }
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            *response.body_mut() = bytes.slice(start..);
            let range = format!("bytes {start}-{}/{total}", total - 1);
            if let Ok(range) = HeaderValue::from_str(&range) {
                response.headers_mut().insert(CONTENT_RANGE, range);
            }
        }
        response
    }
}
