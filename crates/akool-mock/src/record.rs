//! The log of requests and answers: [`Exchange`].

use std::{fmt, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use crate::request::GET_VIDEO_INFO;

/// How many bytes of a request's body are kept.
const MAX_BODY: usize = 64 * 1024;

/// One request and its answer, as the mock server logged it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Exchange {
    /// When the request arrived.
    pub at: SystemTime,
    /// The request's method.
    pub method: Method,
    /// The request's path and query, unchanged.
    pub target: String,
    /// The request's headers, credentials included.
    pub headers: HeaderMap,
    /// The first 64 KiB of the request's body.
    pub body: Bytes,
    /// The answer's HTTP status.
    pub status: StatusCode,
    /// The id of the job, if the request concerns one.
    pub job: Option<String>,
    /// The answer in a few words, for a log.
    pub summary: String,
    /// The violation, if there is one; see [`MockServer::violations`](crate::MockServer::violations).
    pub violation: Option<String>,
}

impl Exchange {
    /// Returns whether this is a poll of a job.
    pub fn is_poll(&self) -> bool {
        self.method == Method::GET && self.target.split('?').next() == Some(GET_VIDEO_INFO)
    }

    /// Returns path and query for a log. Only ids keep their values in the query.
    pub fn shown_target(&self) -> String {
        shown(&self.target)
    }

    /// Starts the log entry of a request.
    pub(crate) fn new(request: &Request<Bytes>, at: SystemTime, status: StatusCode) -> Self {
        let body = request.body();
        Self {
            at,
            method: request.method().clone(),
            target: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
            // Copies: a slice would keep the whole body, or the buffer of the connection, in memory.
            headers: request.headers().iter().map(|(name, value)| (name.clone(), copy(value))).collect(),
            body: Bytes::copy_from_slice(&body[..body.len().min(MAX_BODY)]),
            status,
            job: None,
            summary: String::new(),
            violation: None,
        }
    }

    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let violation = self.violation.as_ref().map_or(0, String::len);
        let method = self.method.as_str().len();
        method + self.target.len() + self.body.len() + self.summary.len() + violation + headers
    }
}

impl fmt::Debug for Exchange {
    /// Shows one line without headers and body, because they may contain credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}, {}", self.method, shown(&self.target), self.status.as_u16(), self.summary)
    }
}

fn copy(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone())
}

/// Formats a path and query for people. Only ids keep their values in the query: others may be a signature, or a
/// key that was put there by mistake.
pub(crate) fn shown(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return short(target);
    };
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, _)) if name != "video_model_id" => format!("{name}=…"),
        _ => part.to_owned(),
    });
    short(&format!("{path}?{}", parts.collect::<Vec<_>>().join("&")))
}

/// Replaces what a terminal or a page acts on: control characters, invisible ones and changes of direction.
pub(crate) fn plain(text: &str) -> String {
    let acts = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    text.chars().map(|letter| if acts(letter) { ' ' } else { letter }).collect()
}

/// Shortens a text to one plain line.
pub(crate) fn short(target: &str) -> String {
    const MAX_CHARS: usize = 200;
    let mut shown: String = plain(&target.chars().take(MAX_CHARS).collect::<String>());
    if target.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_body_is_kept() {
        let request = Request::post("/a").body(Bytes::from(vec![b'x'; 1024 * 1024])).unwrap();
        let exchange = Exchange::new(&request, SystemTime::UNIX_EPOCH, StatusCode::OK);
        assert_eq!(exchange.body.len(), MAX_BODY);
        assert!((MAX_BODY..MAX_BODY + 100).contains(&exchange.size()));
    }

    #[test]
    fn shown_text_is_short_and_plain() {
        assert_eq!(short("/a\u{1b}[31m\u{202e}b\u{9b}c\u{2028}d"), "/a [31m b c d");
        assert_eq!(short(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(short(&"é".repeat(201)), "é".repeat(200) + "…");
    }

    #[test]
    fn debug_shows_no_credential() {
        let request = Request::get("/a?b").header("x-api-key", "MARKER").body(Bytes::from("MARKER")).unwrap();
        let exchange = Exchange::new(&request, SystemTime::UNIX_EPOCH, StatusCode::OK);
        assert_eq!(format!("{exchange:?}"), "GET /a?b -> 200, ");
    }
}
