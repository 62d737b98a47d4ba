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
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::event;
use crate::{
    args::Listen, interrupt::interruption, outcome::Outcome, printer::Printer, report::Report, text,
};

/// Further connections wait until one of these is closed.
const MAX_CONNECTIONS: usize = 64;
/// How long the head and the body of a request may take. A connection has one request.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest time that a connection may take, with the time to print what it brought.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// How many messages are remembered, so that a repeated one is rejected.
const MAX_NONCES: usize = 10_000;

struct Server<'a> {
    verifier: WebhookVerifier,
    report: &'a Report,
    printer: Printer,
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
    let stop = interruption();
    let url = format!("http://{address}/");
    if report.is_json() {
        report.object(&json!({ "event": "listening", "url": url }));
    }
    report.line(format_args!("Listening for webhook messages on {url}; stop with Ctrl-C."));
    let verifier = verifier.max_age(options.max_age).nonces(MemoryNonces::new(MAX_NONCES));
    let (printer, printing) = match Printer::start() {
        Ok(started) => started,
        Err(error) => {
            report.error(None, "start", format_args!("cannot start a thread: {error}"));
            return Outcome::Unexpected;
        }
    };
    let server = Server { verifier, report, printer };
    let outcome = tokio::select! {
        () = server.serve(listener) => Outcome::Unexpected,
        () = stop => Outcome::Done,
    };
    drop(server);
    printing.finish();
    outcome
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
                        self.printer.stderr(format!("cannot accept a connection: {error}")).await;
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
        let mut http = http1::Builder::new();
        http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
        let connection = http.serve_connection(TokioIo::new(stream), service);
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
            let body = Limited::new(request.into_body(), self.verifier.max_body_bytes()).collect();
            match tokio::time::timeout(READ_TIMEOUT, body).await {
                Ok(Ok(body)) => self.receive(&body.to_bytes(), peer).await,
                Ok(Err(error)) => self.reject(peer, error, 400).await,
                Err(_) => self.reject(peer, "the body did not arrive", 408).await,
            }
        } else {
            StatusCode::METHOD_NOT_ALLOWED
        };
        Ok(response)
    }

    /// A message is accepted once its line is printed, or waits to be.
    async fn receive(&self, body: &[u8], peer: SocketAddr) -> StatusCode {
        match self.verifier.verify(body, SystemTime::now()) {
            Ok(event) => {
                self.printer.stdout(event::line(&event, self.report.is_json())).await;
                StatusCode::OK
            }
            Err(rejected) => self.reject(peer, rejected.reason(), rejected.http_status()).await,
        }
    }

    async fn reject(&self, peer: SocketAddr, why: impl std::fmt::Display, status: u16) -> StatusCode {
        let why = why.to_string();
        if self.report.is_json() {
            let object = json!({ "event": "webhook_rejected", "peer": peer.to_string(), "message": why });
            self.printer.stdout(text::json(&object).unwrap_or_default()).await;
        } else {
            self.printer.stderr(format!("rejected a message from {peer}: {why}")).await;
        }
        StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)
    }
}
