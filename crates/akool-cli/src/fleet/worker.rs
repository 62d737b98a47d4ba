//! `akool fleet worker`: a worker of a fleet.

use std::{net::SocketAddr, path::Path};

use akool_download::Downloader;
use akool_restate::{Worker, WorkerBuilder, WorkerError};
use serde_json::json;

use super::{Failure, metrics};
use crate::{
    args::{self, Global, fleet::Account},
    connect::{self, Connection},
    fetch::check_folder,
    interrupt::interruption,
    report::Report,
    staging::StoreTarget,
    text::with_causes,
};

pub(super) async fn run(
    options: &args::fleet::Worker,
    global: &Global,
    report: &Report,
) -> Result<(), Failure> {
    let stop = interruption();
    // A sandbox ends with this process.
    let connection = connect(global, report).await?;
    let mut builder = Worker::builder()
        .ingress(options.ingress.iter().cloned())
        .admin(options.admin.clone())
        .listen(options.listen.listen);
    if let Some(url) = &options.advertise {
        builder = builder.advertised(url.clone());
    }
    for key in &options.identity_key {
        builder = builder.identity_key(key);
    }
    let worker = bind(builder, &connection, &options.account)?;
    let _metrics = metrics::serve(options.listen.metrics, options.admin.clone(), report).await?;
    announce(worker.address(), report);
    worker.serve(stop).await.map_err(failed)
}

/// A client for the API, or for a sandbox.
pub(super) async fn connect(global: &Global, report: &Report) -> Result<Connection, Failure> {
    connect::connect(global, None, report).await.map_err(Failure::Usage)
}

/// A worker with the credential of this connection.
pub(super) fn bind(
    builder: WorkerBuilder,
    connection: &Connection,
    account: &Account,
) -> Result<Worker, Failure> {
    let mut builder = builder.credential(&account.credential, connection.client.clone());
    if let Some(output) = &account.output {
        builder = match StoreTarget::of(output).map_err(Failure::Usage)? {
            Some(store) => store.of_worker(builder, downloader()?),
            None => {
                check_folder(output).map_err(Failure::Usage)?;
                builder.downloads(downloader()?, absolute(output)?)
            }
        };
    }
    builder.bind().map_err(failed)
}

fn downloader() -> Result<Downloader, Failure> {
    Downloader::new().map_err(|error| Failure::Usage(with_causes(&error)))
}

/// Paths are shown to callers elsewhere.
fn absolute(folder: &Path) -> Result<std::path::PathBuf, Failure> {
    let problem = |error| Failure::Usage(format!("the folder {} cannot be used: {error}", folder.display()));
    std::path::absolute(folder).map_err(problem)
}

pub(super) fn announce(address: SocketAddr, report: &Report) {
    if report.is_json() {
        report.object(&json!({ "event": "listening", "url": format!("http://{address}") }));
    }
    report.line(format_args!("The worker listens on http://{address}; stop it with Ctrl-C or SIGTERM."));
}

pub(super) fn failed(error: WorkerError) -> Failure {
    match error {
        WorkerError::Registration(_) => Failure::Unreachable(
            with_causes(&error),
            "check that the Restate server runs, its --admin address, and that it reaches this worker",
        ),
        WorkerError::Listen { .. } => {
            Failure::Usage(format!("{}; choose another with --listen", with_causes(&error)))
        }
        error => Failure::Usage(with_causes(&error)),
    }
}
