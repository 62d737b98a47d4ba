//! What can be said on the command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0    all jobs completed (`status`: all were read)
  1    anything unexpected, such as an id that the service does not know
  2    wrong use or configuration
  3    a job failed
  4    the deadline passed; the job goes on
  5    the credentials were refused
  6    the service could not be reached, or kept failing
  130  interrupted; the jobs go on
Of several endings, the first of 130, 2, 5, 6, 1, 3, 4 counts.

Environment:
  AKOOL_API_KEY    the API key
  AKOOL_TOKEN      a bearer token, instead of the key
  AKOOL_API_HOST   the service's address, instead of https://openapi.akool.com
  RUST_LOG         what to log to stderr, such as akool=debug
  NO_COLOR         no colours";

/// Wait for AKOOL video translations and fetch their files.
#[derive(Debug, Parser)]
#[command(name = "akool", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Use an embedded stand-in: no key, no network, credentials of the environment ignored
    #[cfg(feature = "sandbox")]
    #[arg(long, global = true, conflicts_with_all = ["base_url", "api_key_file"])]
    pub(crate) sandbox: bool,

    /// The service's address [default: $AKOOL_API_HOST, or https://openapi.akool.com]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) base_url: Option<String>,

    /// Read the API key from this file (`-`: from standard input)
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,

    /// Print one JSON object a line to stdout, and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Log each look to stderr; twice: with everything that the program does
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look at jobs once and say where they stand
    #[command(after_help = "Example:\n  akool status 64dd92c1f0b6684651e90e09 --json")]
    Status(Ids),

    /// Wait until jobs are completed, and fetch their files
    #[command(after_help = "\
Examples:
  akool wait 64dd92c1f0b6684651e90e09 --download out
  akool wait ID1 ID2 --timeout 30m
  akool --sandbox wait 64dd92c1f0b6684651e90e09

An early end does not end the jobs: run the same command again to pick them up.")]
    Wait(Wait),

    /// Run the stand-in as a server, for programs of your own
    #[cfg(feature = "sandbox")]
    #[command(after_help = "Example:\n  akool sandbox --listen 127.0.0.1:4010")]
    Sandbox(Sandbox),
}

#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// The jobs: the `_id` that their creation answered
    #[arg(required = true, value_name = "ID", value_parser = id)]
    pub(crate) ids: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    #[command(flatten)]
    pub(crate) jobs: Ids,

    /// How long to wait for the jobs, downloads not counted, such as 90s, 30m or 2h; `none`: as long
    /// as it takes
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = timeout)]
    pub(crate) timeout: Timeout,

    /// Look at this interval [default: a tenth of the job's age, from 3s to 60s]
    #[arg(long, value_name = "DURATION", value_parser = interval)]
    pub(crate) interval: Option<Duration>,

    /// Give up after this many failed looks in a row
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_failures: u32,

    /// Save the video, its subtitles and the video without captions into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) download: Option<PathBuf>,
}

#[cfg(feature = "sandbox")]
#[derive(Debug, Args)]
pub(crate) struct Sandbox {
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4010")]
    pub(crate) listen: std::net::SocketAddr,
}

/// `--timeout`: a duration, or explicitly none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Option<Duration>);

fn timeout(text: &str) -> Result<Timeout, String> {
    if text == "none" {
        return Ok(Timeout(None));
    }
    duration(text).map(|duration| Timeout(Some(duration)))
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_millis(10) {
        return Err("the shortest interval is 10ms".to_owned());
    }
    Ok(interval)
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 90s, 30m or 2h"))
}

fn id(text: &str) -> Result<String, String> {
    let id = text.trim();
    if id.is_empty() {
        return Err("an id is not empty".to_owned());
    }
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_default_timeout_is_the_librarys() {
        let cli = Cli::parse_from(["akool", "wait", "x"]);
        let Command::Wait(wait) = cli.command else { panic!() };
        assert_eq!(wait.timeout, Timeout(Some(akool::DEFAULT_DEADLINE)));
        assert_eq!(wait.max_failures, akool::PollPolicy::default().failure_budget());
    }
}
