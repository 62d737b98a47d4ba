//! The program `akool`: options, messages and exit codes around the library of the same name.

mod args;
mod connect;
mod outcome;
mod report;
mod resume;
#[cfg(feature = "sandbox")]
mod sandbox;
mod status;
mod wait;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Cli, Command},
    outcome::Outcome,
    report::Report,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(cli.global.verbose);
    let moving = matches!(cli.command, Command::Wait(_));
    let report = Report::new(cli.global.json, moving, resume::Resume::new(&cli));
    let mut outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(&cli, &report));
            // Whatever still reads from a terminal or resolves a name is not waited for.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => {
            report.error(None, format_args!("cannot start: {error}"));
            Outcome::Unexpected
        }
    };
    if let Some(kind) = report.broken() {
        report.note(format_args!("error: cannot write to stdout: {kind}"));
        outcome = outcome.max(Outcome::Unexpected);
    }
    ExitCode::from(outcome.exit_code())
}

async fn run(cli: &Cli, report: &Report) -> Outcome {
    #[cfg(feature = "sandbox")]
    if let Command::Sandbox(options) = &cli.command {
        return sandbox::run(options, report, cli.global.json).await;
    }
    let connection = match connect::connect(&cli.global).await {
        Ok(connection) => connection,
        Err(wrong) => {
            report.error(None, wrong);
            return Outcome::WrongUse;
        }
    };
    let outcome = match &cli.command {
        Command::Status(options) => status::run(options, &connection, report).await,
        Command::Wait(options) => wait::run(options, &connection, report).await,
        #[cfg(feature = "sandbox")]
        Command::Sandbox(_) => Outcome::WrongUse,
    };
    #[cfg(feature = "sandbox")]
    if connection.is_sandbox() && outcome == Outcome::Unexpected {
        sandbox::list_jobs(report);
    }
    outcome
}

/// Colours on a terminal that can show them, unless `NO_COLOR` says otherwise.
fn coloured() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::IsTerminal::is_terminal(&std::io::stderr()) && !set("NO_COLOR") && !dumb
}

/// To stderr: nothing unless asked for (what matters is reported), looks with `-v`, everything with `-vv`, or what `RUST_LOG` says.
fn log(verbose: u8) {
    let default = match verbose {
        0 => "off",
        1 => "akool=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(coloured())
        .init();
}
