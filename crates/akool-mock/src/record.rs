//! What the mock server remembers of what came: [`Exchange`], within bounds.

use std::{
    collections::{VecDeque, vec_deque},
    fmt,
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};

use crate::service_state::{GET_VIDEO_INFO, REMEMBERED};

/// How much of a request's body is remembered, and how much of everything.
const BODY: usize = 64 * 1024;
const ALL: usize = 32 * 1024 * 1024;

/// One request and what was answered, as the mock server remembers it.
#[derive(Clone)]
#[non_exhaustive]
pub struct Exchange {
    /// When it came.
    pub at: SystemTime,
    /// The request's method.
    pub method: Method,
    /// The request's path and query, as they came.
    pub target: String,
    /// The request's headers, credentials included.
    pub headers: HeaderMap,
    /// The request's body, its first 64 KiB.
    pub body: Bytes,
    /// The answer's HTTP status.
    pub status: StatusCode,
    /// The job that it was about.
    pub job: Option<String>,
    /// The answer in a few words, for a log.
    pub summary: String,
    /// What should not have come, where it was that; see [`ServiceState::violations`](crate::ServiceState::violations).
    pub violation: Option<String>,
}

impl Exchange {
    /// Whether it was a poll a job.
    pub fn is_poll(&self) -> bool {
        self.method == Method::GET && self.target.split('?').next() == Some(GET_VIDEO_INFO)
    }

    /// Path and query for a log: of the query, only ids have values.
    pub fn shown_target(&self) -> String {
        shown(&self.target)
    }

    /// The request, as far as it is remembered, with what came of it.
    pub(crate) fn new(request: &Request<Bytes>, at: SystemTime, status: StatusCode) -> Self {
        let body = request.body();
        Self {
            at,
            method: request.method().clone(),
            target: request.uri().path_and_query().map_or_else(String::new, ToString::to_string),
            headers: request.headers().clone(),
            // A copy, so that a large body is not kept for its beginning.
            body: Bytes::copy_from_slice(&body[..body.len().min(BODY)]),
            status,
            job: None,
            summary: String::new(),
            violation: None,
        }
    }

    fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let violation = self.violation.as_ref().map_or(0, String::len);
        self.target.len() + self.body.len() + self.summary.len() + violation + headers
    }
}

impl fmt::Debug for Exchange {
    /// On one line, without headers and body: they may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}, {}", self.method, shown(&self.target), self.status.as_u16(), self.summary)
    }
}

/// The latest exchanges: 10,000, and no more than 32 MiB of what came with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    exchanges: VecDeque<Exchange>,
    size: usize,
    /// How many came in all.
    count: u64,
}

impl Log {
    pub(crate) fn push(&mut self, exchange: Exchange) {
        self.size += exchange.size();
        self.count += 1;
        self.exchanges.push_back(exchange);
        while self.exchanges.len() > REMEMBERED || self.size > ALL {
            let Some(oldest) = self.exchanges.pop_front() else { break };
            self.size -= oldest.size();
        }
    }

    pub(crate) fn iter(&self) -> vec_deque::Iter<'_, Exchange> {
        self.exchanges.iter()
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// A path and query for people. Of the query, only ids have values: others may be a signature, or a key
/// that was put there by mistake.
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

/// A text for one line: bounded, without control characters.
pub(crate) fn short(target: &str) -> String {
    const SHOWN: usize = 200;
    let mut shown: String =
        target.chars().take(SHOWN).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if shown.len() < target.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_in_bytes_too() {
        let mut log = Log::default();
        let request = Request::post("/a").body(Bytes::from(vec![b'x'; 1024 * 1024])).unwrap();
        for _ in 0..1000 {
            log.push(Exchange::new(&request, SystemTime::UNIX_EPOCH, StatusCode::OK));
        }
        assert_eq!(log.iter().next().unwrap().body.len(), BODY);
        assert!(log.size <= ALL && log.iter().len() > 400, "{}", log.iter().len());
        assert_eq!(log.count(), 1000);
    }

    #[test]
    fn no_credential_shows_in_debug() {
        let request = Request::get("/a?b").header("x-api-key", "MARKER").body(Bytes::from("MARKER")).unwrap();
        let exchange = Exchange::new(&request, SystemTime::UNIX_EPOCH, StatusCode::OK);
        assert_eq!(format!("{exchange:?}"), "GET /a?b -> 200, ");
    }
}
