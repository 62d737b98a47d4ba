//! The commands of `akool fleet`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Subcommand};
use url::Url;

use super::{help, value};

/// Runs a part of a fleet.
#[derive(Debug, Subcommand)]
pub(crate) enum Fleet {
    /// Start a local Restate server and one worker, for trying it out
    #[command(after_help = help::FLEET_UP)]
    Up(Up),

    /// Run a worker, which creates and polls jobs for the fleet, until SIGTERM or Ctrl-C
    #[command(after_help = help::FLEET_WORKER)]
    Worker(Worker),

    /// Show or set the rate limit and the pause of a credential
    #[command(after_help = help::FLEET_LIMITS)]
    Limits(Limits),
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// The program restate-server [default: the one on the PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) restate_server: Option<PathBuf>,

    /// Address of the ingress, on this machine
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080", value_parser = value::listen)]
    pub(crate) ingress: SocketAddr,

    /// Address of the admin API, on this machine
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9070", value_parser = value::listen)]
    pub(crate) admin: SocketAddr,

    #[command(flatten)]
    pub(crate) listen: ListenWorker,

    #[command(flatten)]
    pub(crate) account: Account,
}

#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// Ingress addresses of the cluster, separated by commas
    #[arg(long, value_name = "URL[,URL]", default_value = "http://127.0.0.1:8080", value_delimiter = ',')]
    pub(crate) ingress: Vec<Url>,

    /// Admin address of the cluster, at which the worker registers itself
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9070")]
    pub(crate) admin: Url,

    #[command(flatten)]
    pub(crate) listen: ListenWorker,

    /// URL at which the cluster reaches the worker [default: the address that it listens on]
    #[arg(long, value_name = "URL")]
    pub(crate) advertise: Option<Url>,

    /// Public key of the cluster; the worker accepts only requests that it signed
    #[arg(long, value_name = "KEY")]
    pub(crate) identity_key: Vec<String>,

    #[command(flatten)]
    pub(crate) account: Account,
}

/// Where a worker listens.
#[derive(Debug, Args)]
pub(crate) struct ListenWorker {
    /// Address for requests of the cluster; without --identity-key, of this machine. Workers may share one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9080", value_parser = value::listen)]
    pub(crate) listen: SocketAddr,

    /// Serve metrics for Prometheus at this address, to anyone who reaches it [default: not at all]
    #[arg(long, value_name = "ADDR:PORT", value_parser = value::listen)]
    pub(crate) metrics: Option<SocketAddr>,
}

/// What a worker uses.
#[derive(Debug, Args)]
pub(crate) struct Account {
    /// Name of the credential in the fleet
    #[arg(long, value_name = "NAME", default_value = akool_restate::DEFAULT_CREDENTIAL)]
    pub(crate) credential: String,

    /// Save the files of completed jobs to this folder or store, such as s3://bucket/prefix, if their creation asks for it
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("pausing").args(["pause", "resume"])))]
pub(crate) struct Limits {
    /// Name of the credential
    #[arg(long, value_name = "NAME", default_value = akool_restate::DEFAULT_CREDENTIAL)]
    pub(crate) credential: String,

    /// Call the service at most this often per second, over all workers; `none` removes the limit
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = rate)]
    pub(crate) rate: Option<Rate>,

    /// Call the service not at all for this long
    #[arg(long, value_name = "DURATION", value_parser = value::duration)]
    pub(crate) pause: Option<Duration>,

    /// End a pause, for jobs that have not met it yet
    #[arg(long)]
    pub(crate) resume: bool,
}

/// A rate, or none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate(pub(crate) Option<f64>);

fn rate(text: &str) -> Result<Rate, String> {
    if text == "none" {
        return Ok(Rate(None));
    }
    value::rate(text).map(|rate| Rate(Some(rate))).map_err(|error| format!("{error}, or `none`"))
}
