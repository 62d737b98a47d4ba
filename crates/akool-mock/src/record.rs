//! The log of requests and answers: [`Exchange`]. It is bounded in number and size.

use std::{
    collections::{VecDeque, vec_deque},
    fmt,
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};

use crate::request::GET_VIDEO_INFO;

/// How many exchanges, violations, webhook calls and created jobs are kept.
pub(crate) const MAX_KEPT: usize = 10_000;

/// How many bytes of a request's body are kept.
const MAX_BODY: usize = 64 * 1024;
/// How many bytes of all exchanges are kept.
const MAX_SIZE: usize = 32 * 1024 * 1024;

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
            headers: request.headers().clone(),
            // A copy: a slice would keep the whole body in memory.
            body: Bytes::copy_from_slice(&body[..body.len().min(MAX_BODY)]),
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
    /// Shows one line without headers and body, because they may contain credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}, {}", self.method, shown(&self.target), self.status.as_u16(), self.summary)
    }
}

/// The latest exchanges.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    exchanges: VecDeque<Exchange>,
    size: usize,
    /// How many were added since the start.
    count: u64,
}

impl Log {
    pub(crate) fn push(&mut self, exchange: Exchange) {
        self.size += exchange.size();
        self.count += 1;
        self.exchanges.push_back(exchange);
        while self.exchanges.len() > MAX_KEPT || self.size > MAX_SIZE {
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

/// Shortens a text to one line without control characters.
pub(crate) fn short(target: &str) -> String {
    const MAX_CHARS: usize = 200;
    let mut shown: String =
        target.chars().take(MAX_CHARS).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if shown.len() < target.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_in_bytes() {
        let mut log = Log::default();
        let request = Request::post("/a").body(Bytes::from(vec![b'x'; 1024 * 1024])).unwrap();
        for _ in 0..1000 {
            log.push(Exchange::new(&request, SystemTime::UNIX_EPOCH, StatusCode::OK));
        }
        assert_eq!(log.iter().next().unwrap().body.len(), MAX_BODY);
        assert!(log.size <= MAX_SIZE && log.iter().len() > 400, "{}", log.iter().len());
        assert_eq!(log.count(), 1000);
    }

    #[test]
    fn debug_shows_no_credential() {
        let request = Request::get("/a?b").header("x-api-key", "MARKER").body(Bytes::from("MARKER")).unwrap();
        let exchange = Exchange::new(&request, SystemTime::UNIX_EPOCH, StatusCode::OK);
        assert_eq!(format!("{exchange:?}"), "GET /a?b -> 200, ");
    }
}
