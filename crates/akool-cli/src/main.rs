//! The program `akool`: options, messages and exit codes around the library of the same name.

mod args;
mod auth;
mod connect;
mod contract;
mod download;
mod follow;
mod jobs;
mod languages;
mod ledger;
mod outcome;
mod report;
mod resume;
#[cfg(feature = "sandbox")]
mod sandbox;
mod shell;
mod status;
mod table;
mod text;
mod translate;
mod wait;
mod webhook;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Cli, Command},
    outcome::Outcome,
    report::Report,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error),
    };
    if set("NO_COLOR") {
        console::set_colors_enabled(false);
        console::set_colors_enabled_stderr(false);
    }
    log(cli.global.verbose);
    let ids_only = matches!(&cli.command, Command::Translate(options) if options.no_wait);
    let moving = matches!(cli.command, Command::Wait(_) | Command::Translate(_) | Command::Download(_));
    let report =
        Report::new(&cli.global, moving && !ids_only, resume::Resume::new(&cli)).with_ids_only(ids_only);
    let mut outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(&cli, &report));
            // Whatever still reads from a terminal or resolves a name is not waited for.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => {
            report.error(None, "start", format_args!("cannot start: {error}"));
            Outcome::Unexpected
        }
    };
    if let Some(kind) = report.broken() {
        report.note(format_args!("{} cannot write to stdout: {kind}", text::error()));
        outcome = outcome.max(Outcome::Unexpected);
    }
    ExitCode::from(outcome.exit_code())
}

async fn run(cli: &Cli, report: &Report) -> Outcome {
    // What needs no service.
    match &cli.command {
        #[cfg(feature = "sandbox")]
        Command::Sandbox(options) => return sandbox::run(options, report, cli.global.json).await,
        Command::Webhook(command) => return webhook::run(command, &cli.global, report).await,
        Command::Completions(options) => return shell::completions(options, report),
        Command::Man(options) => return shell::man(options, report),
        _ => {}
    }
    let connection = match &cli.command {
        Command::Jobs(options) if !options.refresh => connect::without_credential(&cli.global).await,
        _ => connect::connect(&cli.global).await,
    };
    let connection = match connection {
        Ok(connection) => connection,
        Err(wrong) => {
            report.error(None, "wrong_use", wrong);
            return Outcome::WrongUse;
        }
    };
    let outcome = match &cli.command {
        Command::Translate(options) => translate::run(options, &connection, report).await,
        Command::Wait(options) => wait::run(options, &connection, report).await,
        Command::Status(options) => status::run(options, &connection, report).await,
        Command::Download(options) => download::run(options, &connection, report).await,
        Command::Jobs(options) => jobs::run(options, &connection, report).await,
        Command::Languages(options) => languages::run(options, &connection, report).await,
        Command::Contract(options) => contract::run(options, &connection, report).await,
        Command::Auth => auth::run(&connection, report).await,
        // Done above.
        #[cfg(feature = "sandbox")]
        Command::Sandbox(_) => Outcome::WrongUse,
        Command::Webhook(_) | Command::Completions(_) | Command::Man(_) => Outcome::WrongUse,
    };
    #[cfg(feature = "sandbox")]
    if connection.is_sandbox()
        && outcome == Outcome::Unexpected
        && matches!(
            cli.command,
            Command::Wait(_) | Command::Status(_) | Command::Download(_) | Command::Contract(_)
        )
    {
        sandbox::list_jobs(report);
    }
    outcome
}

/// Wrong use that the parser found, or help. Programs get an object too.
fn not_understood(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        let message = error.render().to_string();
        // Without the usage, which is for people.
        let lines = message.lines().take_while(|line| !line.starts_with("Usage:"));
        let message = lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        let object = serde_json::json!({ "event": "error", "kind": "wrong_use", "message": message });
        // What a reader that is gone misses, nobody else does.
        let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{object}\n"));
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Outcome::WrongUse.exit_code() } else { 0 })
}

/// Colours on a terminal that can show them, unless `NO_COLOR` says otherwise.
fn coloured() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::IsTerminal::is_terminal(&std::io::stderr()) && !set("NO_COLOR") && !dumb
}

/// Whether a variable of the environment is set, and not empty.
fn set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// To stderr: nothing unless asked for (what matters is reported), polls with `-v`, everything with `-vv`, or what `RUST_LOG` says.
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
