//! `akool webhook listen`: a small server that prints the messages that it receives.

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use akool_webhook::{MemoryNonces, WebhookVerifier};
use futures_util::{StreamExt, stream::FuturesUnordered};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Method, Request, Response, StatusCode, body::Bytes, body::Incoming, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::event;
use crate::{args::Listen, interrupt::interruption, outcome::Outcome, report::Report};

/// Further connections wait until one of these is closed.
const MAX_CONNECTIONS: usize = 64;
/// The longest time that a connection, which has one request, may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// How many messages are remembered, so that a repeated one is rejected.
const MAX_NONCES: usize = 10_000;

struct Server<'a> {
    verifier: WebhookVerifier,
    report: &'a Report,
}

pub(super) async fn run(options: &Listen, verifier: WebhookVerifier, report: &Report) -> Outcome {
    let bound = TcpListener::bind(options.listen).await;
    let (listener, address) = match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
        Ok((address, listener)) => (listener, address),
        Err(error) => {
            let address = options.listen;
            report.error(
                None,
                "usage",
                format_args!("cannot listen on {address}: {error}; choose another with --listen"),
            );
            return Outcome::Usage;
        }
    };
    let url = format!("http://{address}/");
    if report.is_json() {
        report.object(&json!({ "event": "listening", "url": url }));
    }
    report.line(format_args!("Listening for webhook messages on {url}; stop with Ctrl-C."));
    let verifier = verifier.max_age(options.max_age).nonces(MemoryNonces::new(MAX_NONCES));
    let server = Server { verifier, report };
    tokio::select! {
        () = server.serve(listener) => Outcome::Unexpected,
        () = interruption() => Outcome::Done,
    }
}

impl Server<'_> {
    async fn serve(&self, listener: TcpListener) {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, peer)) => connections.push(self.connection(stream, peer)),
                    Err(error) => {
                        // For example, no file handle is free until a connection is closed.
                        self.report.note(format_args!("cannot accept a connection: {error}"));
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(()) = connections.next(), if !connections.is_empty() => {}
            }
        }
    }

    /// Serves one request. Errors are not reported, because they concern only the peer.
    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        let service = service_fn(move |request| self.answer(request, peer));
        let connection =
            http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
        let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
    }

    /// The response has no body, and its status does not depend on what was wrong, so that it reveals nothing.
    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Empty<Bytes>>, Infallible> {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = if request.method() == Method::POST {
            let body = Limited::new(request.into_body(), self.verifier.max_body_bytes()).collect().await;
            match body {
                Ok(body) => self.receive(&body.to_bytes(), peer),
                Err(error) => self.reject(peer, error, 400),
            }
        } else {
            StatusCode::METHOD_NOT_ALLOWED
        };
        Ok(response)
    }

    fn receive(&self, body: &[u8], peer: SocketAddr) -> StatusCode {
        match self.verifier.verify(body, SystemTime::now()) {
            Ok(event) => {
                event::print(&event, self.report);
                StatusCode::OK
            }
            Err(rejected) => self.reject(peer, rejected.reason(), rejected.http_status()),
        }
    }

    fn reject(&self, peer: SocketAddr, why: impl std::fmt::Display, status: u16) -> StatusCode {
        if self.report.is_json() {
            let (peer, why) = (peer.to_string(), why.to_string());
            self.report.object(&json!({ "event": "webhook_rejected", "peer": peer, "message": why }));
        } else {
            self.report.note(format_args!("rejected a message from {peer}: {why}"));
        }
        StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)
    }
}
