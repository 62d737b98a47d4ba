//! `akool mcp`: a server of the Model Context Protocol on standard input and output, so that agents can translate videos.
//!
//! Each file uses only files of a lower line:
//!
//! - this file: starts the server, and drives the calls
//! - `handler`: takes the calls from the protocol, and passes them on
//! - `create`, `poll`, `download`, `account`: the tools
//! - `limit`: what may still be spent
//! - `call`: a call, and what all tools share
//! - `tools`: the list of the tools
//! - `input`, `output`: the types that their JSON Schemas are made from; `transport`: bounds what clients can send
//!
//! The protocol's own tasks only pass calls on. The tools run in [`run`], so that a client that cancels a call, or gives up,
//! does not stop a request that creates jobs. Requests that have not begun then are not sent.

mod account;
mod call;
mod create;
mod download;
mod handler;
mod input;
mod limit;
mod output;
mod poll;
mod tools;
mod transport;

use std::{
    fs,
    path::{Path, PathBuf},
    pin::pin,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rmcp::{
    ServiceExt,
    model::CallToolResult,
    service::{QuitReason, ServerInitializeError},
    transport::async_rw::AsyncRwTransport,
};
use tokio::sync::{mpsc, watch};

use crate::{
    args::{Files, Mcp},
    connect::Connection,
    fetch::Fetch,
    interrupt::interruption,
    ledger,
    outcome::Outcome,
    report::Report,
    text,
};

use self::{
    call::{Call, MAX_CALLS, Server},
    handler::Handler,
    input::{Query, Request},
    transport::Bounded,
};

/// Longer messages are dropped.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

pub(crate) async fn run(options: &Mcp, connection: &Connection, report: &Report) -> Outcome {
    let usage = |kind: &str, error: String| {
        report.error(None, kind, error);
        Outcome::Usage
    };
    let folder = match options.output.as_deref().map(canonical).transpose() {
        Ok(folder) => folder,
        Err(error) => return usage("usage", error),
    };
    let ledger = match ledger::open_to_write(connection).await {
        Ok(ledger) => ledger,
        Err(error) => return usage("ledger", error),
    };
    let files = Files::all();
    let fetch = folder.as_deref().map(|folder| Fetch::prepare(folder, &files, None, report)).transpose();
    let mut fetch = match fetch {
        Ok(fetch) => fetch,
        Err(error) => return usage("usage", error),
    };
    if let Some(fetch) = &mut fetch {
        fetch.set_ledger(Some(ledger.clone()));
    }
    let server = Server::new(options, connection, ledger, folder.as_deref().zip(fetch.as_ref()));
    let (sender, calls) = mpsc::channel(MAX_CALLS);
    let handler = Handler::new(options, folder.as_deref(), sender);
    serve(&server, handler, calls, report).await
}

/// The folder, which is created if it does not exist. If a link replaces it or what is above it later, nothing is saved.
fn canonical(folder: &Path) -> Result<PathBuf, String> {
    if folder.to_str().is_some_and(text::is_url) {
        return Err(format!("{} is not a folder; agents save files to a folder only", folder.display()));
    }
    let made = fs::create_dir_all(folder).and_then(|()| folder.canonicalize());
    made.map_err(|error| {
        format!("cannot write to {}: {error}; choose another folder with --output", folder.display())
    })
}

impl Server<'_> {
    async fn answer(&self, call: Call) {
        let Call { request, progress, mut reply, slot } = call;
        let result = match request {
            Request::Translate(row) => self.translate(&row, &mut reply).await,
            Request::Download(ids, kinds) => return self.download(ids, &kinds, &progress, reply, slot).await,
            Request::Query(query) => tokio::select! {
                result = self.query(query, &progress) => Some(result),
                () = reply.closed() => None,
            },
        };
        drop(slot);
        if let Some(result) = result {
            let _ = reply.send(result);
        }
    }

    async fn query(&self, query: Query, progress: &watch::Sender<String>) -> CallToolResult {
        match query {
            Query::Plan(row) => self.plan(&row).await,
            Query::Status(ids) => self.status(&ids).await,
            Query::Wait(ids) => self.wait(&ids, progress).await,
            Query::Credits => self.credits().await,
            Query::Languages(filter) => self.languages(filter.as_deref()).await,
        }
    }
}

/// Serves until the client closes standard input.
async fn serve(
    server: &Server<'_>,
    handler: Handler,
    mut calls: mpsc::Receiver<Call>,
    report: &Report,
) -> Outcome {
    let transport = AsyncRwTransport::new_server(tokio::io::stdin(), tokio::io::stdout());
    let transport = Bounded::new(transport.with_max_line_length(MAX_MESSAGE_BYTES));
    let mut ended = pin!(async {
        let error = match handler.serve(transport).await {
            Ok(running) => match running.waiting().await {
                Ok(QuitReason::JoinError(error)) | Err(error) => error.to_string(),
                Ok(_) => return Outcome::Done,
            },
            Err(ServerInitializeError::ConnectionClosed(_)) => return Outcome::Done,
            Err(ServerInitializeError::ExpectedInitializeRequest(_)) => {
                "the first message of the client was not a request".to_owned()
            }
            Err(error) => text::with_causes(&error),
        };
        report.error(None, "start", error);
        Outcome::Unexpected
    });
    let mut interrupted = pin!(interruption());
    let mut running = FuturesUnordered::new();
    let outcome = loop {
        tokio::select! {
            Some(call) = calls.recv() => running.push(server.answer(call)),
            Some(()) = running.next() => {}
            outcome = &mut ended => break outcome,
            () = &mut interrupted => break Outcome::Interrupted,
        }
    };
    // The ids of jobs that are being created must reach the ledger.
    server.end();
    let created = async { while server.is_creating() && running.next().await.is_some() {} };
    tokio::select! {
        () = created => outcome,
        () = interruption() => Outcome::Interrupted,
    }
}
