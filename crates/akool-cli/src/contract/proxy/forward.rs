//! Passes one request on, and its response back: [`Proxy`].

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use akool::redact::excerpt;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRANSFER_ENCODING, UPGRADE,
    },
    uri::{Authority, PathAndQuery},
};
use http_body_util::{Either, Full};
use hyper::{
    body::{Bytes, Incoming},
    upgrade::OnUpgrade,
};
use hyper_util::client::legacy::Error;

use super::{
    body::Observed,
    exchange::{Exchange, Observer, Side},
    upstream::Upstream,
};

/// How long the head of a response may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) type Passed = Either<Observed, Full<Bytes>>;

pub(super) struct Proxy {
    pub(super) upstream: Upstream,
    pub(super) observer: Arc<Observer>,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Proxy {
    pub(super) async fn forward(&self, request: Request<Incoming>) -> Result<Response<Passed>, Infallible> {
        let (mut parts, body) = request.into_parts();
        let exchange = Arc::new(Exchange::new(&self.observer, &parts));
        let target = match self.target(&parts) {
            Ok(target) => target,
            Err((status, reason)) => return Ok(refusal(&exchange, status, reason)),
        };
        let (Some(uri), Some(host)) = (self.upstream.uri(&target), self.upstream.host()) else {
            return Ok(refusal(&exchange, StatusCode::BAD_REQUEST, "the target of the request is not valid"));
        };
        if has_other_coding(&parts.headers) {
            let reason = "the proxy can pass on no transfer coding but `chunked`";
            return Ok(refusal(&exchange, StatusCode::NOT_IMPLEMENTED, reason));
        }
        parts.uri = uri;
        parts.version = Version::HTTP_11;
        parts.extensions.remove::<OnUpgrade>();
        remove_hop_by_hop(&mut parts.headers);
        parts.headers.insert(HOST, host);
        let body = Observed::new(body, Side::Request, Arc::clone(&exchange));
        let sent = self.upstream.send(Request::from_parts(parts, body));
        let response = match tokio::time::timeout(RESPONSE_TIMEOUT, sent).await {
            Ok(Ok(response))
                if response.status() != StatusCode::SWITCHING_PROTOCOLS
                    && !has_other_coding(response.headers()) =>
            {
                response
            }
            Ok(Ok(response)) if has_other_coding(response.headers()) => {
                let reason = "its transfer coding is not `chunked`";
                return Ok(self.failure(&exchange, StatusCode::BAD_GATEWAY, reason));
            }
            Ok(Ok(_)) => {
                let reason = "the upstream changes the protocol, which was not requested";
                return Ok(self.failure(&exchange, StatusCode::BAD_GATEWAY, reason));
            }
            Ok(Err(error)) => {
                return Ok(match exchange.failure(Side::Request) {
                    Some(reason) => {
                        let reason = format!("the request did not arrive completely: {reason}");
                        answer(&exchange, StatusCode::REQUEST_TIMEOUT, &reason)
                    }
                    None => self.failure(&exchange, StatusCode::BAD_GATEWAY, &reason(&error)),
                });
            }
            Err(_) => {
                let reason = format!("no response within {} s", RESPONSE_TIMEOUT.as_secs());
                return Ok(self.failure(&exchange, StatusCode::GATEWAY_TIMEOUT, &reason));
            }
        };
        let (mut parts, body) = response.into_parts();
        parts.version = Version::HTTP_11;
        parts.extensions.remove::<OnUpgrade>();
        remove_hop_by_hop(&mut parts.headers);
        exchange.respond(&parts);
        let body = Observed::new(body, Side::Response, exchange);
        Ok(Response::from_parts(parts, Either::Left(body)))
    }

    /// The target, if the request is meant for this server. A web page can make a browser send requests to this machine
    /// under a name of its own (DNS rebinding), and `Host` is not passed on, so that the upstream could not tell.
    fn target(&self, request: &http::request::Parts) -> Result<PathAndQuery, (StatusCode, &'static str)> {
        let uri = &request.uri;
        let target = uri.path_and_query().filter(|_| uri.scheme().is_none() && uri.authority().is_none());
        let Some(target) = target.filter(|target| target.path().starts_with('/')) else {
            let reason =
                "the target of a request must be a path: use the address of the proxy as the base URL";
            return Err((StatusCode::BAD_REQUEST, reason));
        };
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let is_own = host.is_some_and(|host| {
            let name = host.host().trim_matches(['[', ']']);
            name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        });
        if self.address.ip().is_loopback() && !is_own {
            return Err((StatusCode::FORBIDDEN, "the header `Host` is not the address of the proxy"));
        }
        Ok(target.clone())
    }

    fn failure(&self, exchange: &Exchange, status: StatusCode, reason: &str) -> Response<Passed> {
        exchange.unreachable();
        answer(exchange, status, &format!("{}: {reason}", self.upstream.shown()))
    }
}

/// The answer to a request that is not passed on.
fn refusal(exchange: &Exchange, status: StatusCode, reason: &str) -> Response<Passed> {
    exchange.refuse();
    let mut response = answer(exchange, status, reason);
    // Its body is not read.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer of the proxy itself.
fn answer(exchange: &Exchange, status: StatusCode, reason: &str) -> Response<Passed> {
    exchange.answer(status, reason);
    let text = format!("akool contract proxy: {reason}\n");
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Whether a body is coded for the connection in another way than in chunks. Such a body cannot be passed on unchanged.
fn has_other_coding(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(TRANSFER_ENCODING).iter();
    codings
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// Removes the headers that concern only one connection.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse::<HeaderName>().ok())
        // They say how long the body is, and where it goes to.
        .filter(|name| *name != CONTENT_LENGTH && *name != HOST)
        .collect();
    let always = [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE];
    let is_chunked = headers.contains_key(TRANSFER_ENCODING);
    let concerns_connection = |name: &HeaderName| {
        always.contains(name)
            || named.contains(name)
            || ["keep-alive", "proxy-connection"].contains(&name.as_str())
            // Beside chunks, the length is wrong.
            || (is_chunked && name == CONTENT_LENGTH)
    };
    // `HeaderMap::remove` would change the order of those that are left.
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !concerns_connection(name)) {
        kept.append(name, value.clone());
    }
    *headers = kept;
}

/// Why there is no response.
fn reason(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let what = if error.is_connect() { "cannot connect" } else { "sent no valid response" };
    format!("{what}: {}", excerpt(&cause.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chunks_can_be_passed_on() {
        let with = |coding: &'static str| {
            has_other_coding(&HeaderMap::from_iter([(TRANSFER_ENCODING, HeaderValue::from_static(coding))]))
        };
        assert!(!has_other_coding(&HeaderMap::new()) && !with("chunked") && !with("Chunked "));
        assert!(with("gzip, chunked") && with("gzip") && with("identity, chunked"));
    }

    #[test]
    fn headers_of_one_connection_are_removed_with_those_that_it_names() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Hop"),
            ("connection", "content-length, authorization-x"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic x"),
            ("content-length", "5"),
            ("x-end", "1"),
            ("x-api-key", "key"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-length", "x-end", "x-api-key"]);
        headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        remove_hop_by_hop(&mut headers);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-end", "x-api-key"]);
    }
}
