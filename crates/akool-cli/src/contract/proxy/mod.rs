//! `akool contract proxy`: passes the requests of any client on, and validates them and the responses.
//!
//! Bodies are passed on while they arrive. A bounded copy of each is validated when the exchange has ended. A module
//! imports only modules of a lower line:
//!
//! - `forward`: one request and its response
//! - `upstream`: the client of the upstream
//! - `body`: a body that is copied while it is passed on
//! - `exchange`: the copies of an exchange, and what validation finds
//! - `decode`, `mask`, `totals`

mod body;
mod decode;
mod exchange;
mod forward;
mod mask;
mod totals;
mod upstream;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use akool_contract::Contract;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};
use tokio_io_timeout::TimeoutStream;

use self::{exchange::Observer, forward::Proxy, upstream::Upstream};
use crate::{
    args::{ContractProxy, Global},
    connect,
    interrupt::interruption,
    outcome::Outcome,
    printer::Printer,
    report::Report,
};

/// Further connections wait until one of these is closed.
const MAX_CONNECTIONS: usize = 256;
/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long a client may read nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long exchanges may take to end after the signal to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long those that are then aborted may take.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) async fn run(options: &ContractProxy, global: &Global, report: &Report) -> Outcome {
    let usage = |error: String| {
        report.error(None, "usage", error);
        Outcome::Usage
    };
    // The sandbox of `--sandbox` is the upstream, and runs until the end.
    let connection = match connect::upstream(global, options.upstream.as_deref()).await {
        Ok(connection) => connection,
        Err(error) => return usage(error),
    };
    let bound = TcpListener::bind(options.listen).await;
    let (listener, address) = match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
        Ok((address, listener)) => (listener, address),
        Err(error) => {
            let address = options.listen;
            return usage(format!("cannot listen on {address}: {error}; choose another with --listen"));
        }
    };
    let upstream = match Upstream::new(connection.client.base_url()) {
        Ok(upstream) => upstream,
        Err(error) => return usage(error),
    };
    if upstream.is_at(address) {
        return usage(format!(
            "--upstream is the address of the proxy itself, {address}; choose another port"
        ));
    }
    let (printer, printing) = match Printer::start() {
        Ok(started) => started,
        Err(error) => {
            report.error(None, "start", format_args!("cannot start a thread: {error}"));
            return Outcome::Unexpected;
        }
    };
    let stop = std::pin::pin!(interruption());
    listening(address, &upstream, report);
    let contract = if options.vendored { Contract::vendored() } else { Contract::resolved() };
    let observer = Arc::new(Observer::new(contract, printer.clone(), report.is_json(), report.is_verbose()));
    let proxy = Arc::new(Proxy { upstream, observer: Arc::clone(&observer), address });
    serve(listener, proxy, &printer, stop).await;
    drop(printer);
    // What is left of aborted exchanges is counted, too.
    let give_up = Instant::now() + ABORT_TIMEOUT;
    while Arc::strong_count(&observer) > 1 && Instant::now() < give_up {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let totals = observer.totals();
    drop(observer);
    printing.finish();
    totals.print(report);
    totals.outcome()
}

fn listening(mut address: SocketAddr, upstream: &Upstream, report: &Report) {
    let others = !address.ip().is_loopback();
    // A server that listens on all addresses is shown with the one that works on this machine.
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let url = format!("http://{address}");
    if report.is_json() {
        report.object(&json!({ "event": "listening", "url": url }));
    }
    report.line(format_args!(
        "Validating what passes between {url} and {}; stop with Ctrl-C.",
        upstream.shown()
    ));
    if others {
        report
            .note("Other machines can use this proxy, and send their credentials to it without encryption.");
    }
}

/// Serves until the signal to stop, and then until the exchanges that are left have ended.
async fn serve(
    listener: TcpListener,
    proxy: Arc<Proxy>,
    printer: &Printer,
    mut stop: impl Future<Output = ()> + Unpin,
) {
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = graceful.watch(connection(stream, Arc::clone(&proxy)));
                connections.spawn(async move {
                    // Errors concern only the peer.
                    let _ = connection.await;
                });
            }
            Err(error) => {
                // For example, no file handle is free until a connection is closed.
                printer.stderr(format!("cannot accept a connection: {error}")).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await;
    connections.shutdown().await;
}

fn connection(
    stream: TcpStream,
    proxy: Arc<Proxy>,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let service = service_fn(move |request| {
        let proxy = Arc::clone(&proxy);
        async move { proxy.forward(request).await }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    http.preserve_header_case(true).auto_date_header(false);
    http.serve_connection(TokioIo::new(Box::pin(stream)), service)
}
