//! `akool fleet`: runs workers, a server for trying them out, and sets limits.

mod limits;
mod server;
mod up;
mod worker;

use crate::{
    args::{Fleet, Global},
    outcome::Outcome,
    report::Report,
};

pub(crate) async fn run(command: &Fleet, global: &Global, report: &Report) -> Outcome {
    let done = match command {
        Fleet::Up(options) => up::run(options, global, report).await,
        Fleet::Worker(options) => worker::run(options, global, report).await,
        Fleet::Limits(options) => limits::run(options, report).await,
    };
    match done {
        Ok(()) => Outcome::Done,
        Err(Failure::Usage(error)) => {
            report.error(None, "usage", error);
            Outcome::Usage
        }
        Err(Failure::Unreachable(error, help)) => {
            report.failure(None, "connect", error, Some(help));
            Outcome::Unreachable
        }
    }
}

/// Why a command failed.
enum Failure {
    Usage(String),
    /// The message, and what to do next.
    Unreachable(String, &'static str),
}
