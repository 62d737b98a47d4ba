//! The page of the sandbox: jobs, requests and violations in a browser, kept current by server-sent events.

mod events;
mod html;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use tokio::sync::Semaphore;

pub(crate) use events::{Events, Live};

use crate::{answer::Outcome, service::Service};

/// How many pages are kept current at a time. Each holds a connection, and the page is rendered for each.
const MAX_STREAMS: usize = 32;

/// Scripts and styles come from this server only, and no other page can embed this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers the requests of a browser for the page and its parts.
pub(crate) struct Page {
    streams: Arc<Semaphore>,
}

impl Page {
    pub(crate) fn new() -> Self {
        Self { streams: Arc::new(Semaphore::new(MAX_STREAMS)) }
    }

    /// Answers a request for the page or one of its parts, or for the icon that browsers request with it. Returns `None`
    /// for other requests.
    pub(crate) fn respond(&self, service: &Service, request: &Request<Bytes>) -> Option<Response<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let mut response = match request.uri().path() {
            "/" => {
                let state = service.state();
                text("text/html; charset=utf-8", html::page(&state, state.clock.now()))
            }
            "/page.css" => text("text/css; charset=utf-8", include_str!("../../assets/page.css")),
            "/page.js" => text("text/javascript; charset=utf-8", include_str!("../../assets/page.js")),
            "/events" => self.events(service),
            "/favicon.ico" => {
                let mut none = Response::new(Bytes::new());
                *none.status_mut() = StatusCode::NO_CONTENT;
                none
            }
            _ => return None,
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Some(response)
    }

    /// Starts a stream. The connection takes its body from the extension [`Live`].
    fn events(&self, service: &Service) -> Response<Bytes> {
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else {
            let why = "too many pages of this sandbox are open; close one";
            return Outcome::plain(StatusCode::SERVICE_UNAVAILABLE, why).response;
        };
        let service = service.clone();
        let render = move || {
            let state = service.state();
            html::sections(&state, state.clock.now())
        };
        let mut response = text("text/event-stream", "");
        response.extensions_mut().insert(Live::new(render, permit));
        response
    }
}

fn text(content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use reqwest::{Client, Response, StatusCode};

    use super::*;
    use crate::{MockServer, Timeline};

    async fn get(server: &MockServer, path: &str) -> Response {
        Client::new().get(format!("{}{path}", server.url())).send().await.unwrap()
    }

    async fn text_of(events: &mut Response, wanted: &str) {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains(wanted) {
            text.extend(events.chunk().await.unwrap().expect("the stream goes on"));
        }
    }

    #[tokio::test]
    async fn the_page_and_its_parts_are_served_and_are_no_requests_to_the_api() {
        let server = MockServer::builder().page().start().await;
        for (path, content_type, text) in [
            ("/", "text/html; charset=utf-8", "<script src=\"/page.js\""),
            ("/page.js", "text/javascript; charset=utf-8", "EventSource"),
            ("/page.css", "text/css; charset=utf-8", "color-scheme: light dark"),
            ("/favicon.ico", "", ""),
        ] {
            let answer = get(&server, path).await;
            let headers = answer.headers().clone();
            assert!(answer.status().is_success(), "{path}");
            assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
            assert_eq!(headers[CONTENT_SECURITY_POLICY], POLICY, "{path}");
            let own = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap());
            assert_eq!(own, content_type, "{path}");
            assert!(answer.text().await.unwrap().contains(text), "{path}");
        }
        let mut events = get(&server, "/events").await;
        assert_eq!(events.headers()[CONTENT_TYPE], "text/event-stream");
        text_of(&mut events, "No requests yet").await;
        server.job("64dd", Timeline::new());
        text_of(&mut events, "64dd").await;
        assert_eq!(server.state().log.count(), 0);
        // The stream ends with the server.
        drop(server);
        assert!(!matches!(events.chunk().await, Ok(Some(_))));
    }

    #[tokio::test]
    async fn streams_are_bounded_and_end_with_their_clients() {
        let server = MockServer::builder().page().start().await;
        let mut streams = Vec::new();
        for _ in 0..MAX_STREAMS {
            streams.push(get(&server, "/events").await);
        }
        assert!(streams.iter().all(|stream| stream.status() == StatusCode::OK));
        let refused = get(&server, "/events").await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.text().await.unwrap().contains("too many pages"));
        assert_eq!(get(&server, "/").await.status(), StatusCode::OK);
        streams.pop();
        while get(&server, "/events").await.status() != StatusCode::OK {}
    }
}
