//! The program `akool`: options, messages and exit codes around the library `akool`.
//!
//! Each command has a module with a function `run`. A module imports only modules of a lower line:
//!
//! - `main`
//! - the commands: `translate`, `wait`, `status`, `download`, `jobs`, `languages`, `credits`, `auth`,
//!   `contract`, `webhook`, `sandbox`, `fleet`, `mcp`, `shell`
//! - `create`, `dry_run`: the parts of `translate`; `costs`: a part of `jobs`; `config`: the defaults of the user
//! - `targets`, `spending`
//! - `plan`
//! - `follow`, which several commands share; `rows`
//! - `place`
//! - `fetch`, `ledger`, `on_complete`
//! - `staging`
//! - `names`
//! - `connect`
//! - `key_store`
//! - `report`
//! - `budget`, `row_report`
//! - `args`, `table`, `api_key`
//! - `reported`
//! - `outcome`, `env`, `text`, `resume`, `interrupt`, `printer`, `input`

#![allow(clippy::doc_markdown, reason = "doc comments of arguments are help, which is not Markdown")]

mod api_key;
mod args;
mod auth;
mod budget;
mod config;
mod connect;
mod contract;
mod costs;
mod create;
mod credits;
mod download;
mod dry_run;
mod env;
mod fetch;
#[cfg(feature = "fleet")]
mod fleet;
mod fleet_options;
mod follow;
mod input;
mod interrupt;
mod jobs;
mod key_store;
mod languages;
mod ledger;
#[cfg(feature = "mcp")]
mod mcp;
mod names;
mod on_complete;
mod outcome;
mod place;
mod plan;
mod printer;
mod report;
mod reported;
mod resume;
mod row_report;
mod rows;
#[cfg(feature = "sandbox")]
mod sandbox;
mod shell;
mod spending;
#[cfg(feature = "stage")]
mod staging;
#[cfg(not(feature = "stage"))]
#[path = "no_staging.rs"]
mod staging;
mod status;
mod table;
mod targets;
mod text;
mod translate;
mod wait;
mod webhook;

use std::{io::Write as _, path::Path, process::ExitCode};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Auth, Cli, Command, Contract, Format},
    outcome::Outcome,
    report::{Report, Settings},
};

fn main() -> ExitCode {
    // Scripts ask for the version often, and building the parser would double the time that it takes.
    let mut arguments = std::env::args_os().skip(1);
    if let (Some(only), None) = (arguments.next(), arguments.next())
        && (only == "--version" || only == "-V")
    {
        let _ = writeln!(std::io::stdout(), "akool {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return parse_error(&error),
    };
    let configured = config::apply(&mut cli);
    if env::is_set(env::NO_COLOR) {
        console::set_colors_enabled(false);
        console::set_colors_enabled_stderr(false);
    }
    log(cli.global.verbose);
    let ids_only = matches!(&cli.command, Command::Translate(options) if options.no_wait);
    let waits = matches!(cli.command, Command::Wait(_) | Command::Translate(_) | Command::Download(_));
    let is_json =
        matches!(&cli.command, Command::Contract(Contract::Check(options)) if options.format == Format::Json);
    // Standard output belongs to the protocol.
    #[cfg(feature = "mcp")]
    let is_server = matches!(cli.command, Command::Mcp(_));
    #[cfg(not(feature = "mcp"))]
    let is_server = false;
    let report = Report::new(Settings {
        json: (cli.global.json || is_json) && !is_server,
        quiet: cli.global.quiet,
        verbose: cli.global.verbose > 0,
        progress: waits && !ids_only,
        ids_only,
        globals: cli.globals(),
        resume: cli.resume(),
    });
    if let Err(error) = configured {
        report.error(None, "usage", error);
        return ExitCode::from(Outcome::Usage.exit_code());
    }
    if let Err(error) = input::check_file_handles() {
        report.error(None, "start", error);
        return ExitCode::from(Outcome::Unexpected.exit_code());
    }
    let mut outcome = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(run(&cli, &report));
            // Does not wait for threads that still read from a terminal or resolve a name.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => {
            report.error(None, "start", format_args!("cannot start the async runtime: {error}"));
            Outcome::Unexpected
        }
    };
    if let Some(kind) = report.write_error() {
        report.note(format_args!("{} cannot write to stdout: {kind}", text::error()));
        outcome = outcome.max(Outcome::Unexpected);
    }
    ExitCode::from(outcome.exit_code())
}

async fn run(cli: &Cli, report: &Report) -> Outcome {
    // These need no connection to the service.
    match &cli.command {
        #[cfg(feature = "sandbox")]
        Command::Sandbox(options) => return sandbox::run(options, report).await,
        #[cfg(feature = "fleet")]
        Command::Fleet(command) => return fleet::run(command, &cli.global, report).await,
        #[cfg(not(feature = "fleet"))]
        Command::Fleet { .. } => {
            report.error(None, "usage", fleet_options::REBUILD);
            return Outcome::Usage;
        }
        Command::Webhook(command) => return webhook::run(command, &cli.global, report).await,
        Command::Contract(Contract::Proxy(options)) => {
            return contract::run_proxy(options, &cli.global, report).await;
        }
        Command::Contract(Contract::Check(options))
            if cli.global.json && !matches!(options.format, Format::Text | Format::Json) =>
        {
            report.error(None, "usage", "--json is the same as --format json; use only one of them");
            return Outcome::Usage;
        }
        Command::Completions(options) => return shell::completions(options, report),
        Command::Man(options) => return shell::man(options, report),
        Command::Auth(Auth { command: Some(command) }) => {
            return auth::change(command, &cli.global, report).await;
        }
        _ => {}
    }
    let stdin = Some(Path::new("-"));
    if let Command::Translate(options) = &cli.command
        && options.from_file.as_deref() == stdin
        && cli.global.api_key_file.as_deref() == stdin
    {
        report.error(None, "usage", "--api-key-file and --from-file cannot both read standard input");
        return Outcome::Usage;
    }
    let responses = connect::Responses::default();
    let fleet = match fleet_options::addresses(cli) {
        Ok(fleet) => fleet,
        Err(error) => {
            report.error(None, "usage", error);
            return Outcome::Usage;
        }
    };
    let connection = match &cli.command {
        _ if !fleet.is_empty() => connect::to_fleet(&cli.global, fleet),
        Command::Jobs(options) if !options.refresh => connect::without_credential(&cli.global).await,
        Command::Contract(_) => connect::connect(&cli.global, Some(&responses), report).await,
        _ => connect::connect(&cli.global, None, report).await,
    };
    let connection = match connection {
        Ok(connection) => connection,
        Err(error) => {
            report.error(None, "usage", error);
            return Outcome::Usage;
        }
    };
    let outcome = match &cli.command {
        Command::Translate(options) => translate::run(options, &connection, report).await,
        Command::Wait(options) => wait::run(options, &connection, report).await,
        Command::Status(options) => status::run(options, &connection, report).await,
        Command::Download(options) => download::run(options, &connection, report).await,
        Command::Jobs(options) => jobs::run(options, &connection, report).await,
        Command::Languages(options) => languages::run(options, &connection, report).await,
        Command::Contract(options) => contract::run(options, &connection, &responses, report).await,
        #[cfg(feature = "mcp")]
        Command::Mcp(options) => mcp::run(options, &connection, report).await,
        Command::Credits => credits::run(&connection, report).await,
        Command::Auth(_) => auth::run(&connection, report).await,
        // These have returned above.
        #[cfg(feature = "sandbox")]
        Command::Sandbox(_) => Outcome::Usage,
        Command::Fleet { .. } => Outcome::Usage,
        Command::Webhook(_) | Command::Completions(_) | Command::Man(_) => Outcome::Usage,
    };
    #[cfg(feature = "sandbox")]
    if connection.is_sandbox() {
        if report.has_unknown_job() {
            sandbox::list_demo_jobs(report);
        }
        if report.has_links() {
            report.note(
                "The sandbox of this command has ended, and its links with it; save files with --output.",
            );
        }
    }
    outcome
}

/// Prints what the parser returned: an error, with `--json` also as an object, or the help text.
fn parse_error(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        let message = error.render().to_string();
        let lines = message.lines().take_while(|line| !line.starts_with("Usage:"));
        let message = lines.map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        Report::new(Settings { json: true, ..Settings::default() })
            .object(&serde_json::json!({ "event": "error", "kind": "usage", "message": message }));
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { Outcome::Usage.exit_code() } else { 0 })
}

/// Logs to stderr: nothing by default, because errors are reported; polls with `-v`; everything with `-vv`. `RUST_LOG`
/// takes precedence.
fn log(verbose: u8) {
    let default = match verbose {
        0 => "off",
        1 => "akool=debug",
        // At more than this, rmcp and the SDK of Restate log whole messages, and these have links.
        _ => "debug,rmcp=info,restate_sdk_shared_core=info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr())
        && !env::is_set(env::NO_COLOR)
        && !env::is_dumb_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
}
