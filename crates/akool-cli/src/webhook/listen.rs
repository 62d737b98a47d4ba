//! `akool webhook listen`: a small server that prints events.

use std::{
    convert::Infallible,
    future::pending,
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

use crate::{args::Listen, outcome::Outcome, report::Report};

/// How many connections are served at the same time; more wait until one of them is done.
const CONNECTIONS: usize = 64;
/// How long a connection lasts at most. Each carries one request.
const CONNECTION_TIME: Duration = Duration::from_secs(20);
/// How many messages are remembered, to be printed once.
const REMEMBERED: usize = 10_000;

/// What every request needs.
struct Server<'a> {
    verifier: WebhookVerifier,
    report: &'a Report,
    json: bool,
}

pub(super) async fn run(options: &Listen, verifier: WebhookVerifier, report: &Report, json: bool) -> Outcome {
    let bound = TcpListener::bind(options.listen).await;
    let (listener, address) = match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
        Ok((address, listener)) => (listener, address),
        Err(error) => {
            let address = options.listen;
            report.error(
                None,
                "wrong_use",
                format_args!("cannot listen on {address}: {error}; choose another with --listen"),
            );
            return Outcome::WrongUse;
        }
    };
    let url = format!("http://{address}/");
    if json {
        report.object(&json!({ "event": "listening", "url": url }));
    }
    report.line(format_args!("Listening for webhooks on {url}; Ctrl-C ends it."));
    let verifier = verifier.max_age(options.max_age).nonces(MemoryNonces::new(REMEMBERED));
    let server = Server { verifier, report, json };
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            pending::<()>().await;
        }
    };
    tokio::select! {
        () = server.serve(listener) => Outcome::Unexpected,
        () = interrupted => Outcome::Done,
    }
}

impl Server<'_> {
    async fn serve(&self, listener: TcpListener) {
        let mut connections = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, peer)) => connections.push(self.connection(stream, peer)),
                    Err(error) => {
                        // Out of file handles, for example: what is open may free some.
                        self.report.note(format_args!("cannot accept a connection: {error}"));
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(()) = connections.next(), if !connections.is_empty() => {}
            }
        }
    }

    /// One connection with one request. Trouble with it is its peer's.
    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        let service = service_fn(move |request| self.answer(request, peer));
        let connection =
            http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
        let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
    }

    /// Says nothing to the sender but the status, which is the same whatever was wrong.
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
                Err(error) => self.refuse(peer, error, 400),
            }
        } else {
            StatusCode::METHOD_NOT_ALLOWED
        };
        Ok(response)
    }

    fn receive(&self, body: &[u8], peer: SocketAddr) -> StatusCode {
        match self.verifier.verify(body, SystemTime::now()) {
            Ok(event) => {
                super::print(&event, self.report, self.json);
                StatusCode::OK
            }
            Err(rejected) => self.refuse(peer, rejected.reason(), rejected.http_status()),
        }
    }

    fn refuse(&self, peer: SocketAddr, why: impl std::fmt::Display, status: u16) -> StatusCode {
        if self.json {
            let (peer, why) = (peer.to_string(), why.to_string());
            self.report.object(&json!({ "event": "webhook_rejected", "peer": peer, "message": why }));
        } else {
            self.report.note(format_args!("refused a message from {peer}: {why}"));
        }
        StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)
    }
}
