//! Measures akool against its peers and against limits. README.md has the results.

mod allocator;
mod by_hand;
mod callgrind;
mod codegen;
mod cold_build;
mod contract;
mod diff;
mod download;
mod economy;
mod file_server;
mod ledger;
mod mock;
mod paths;
mod plot;
mod poll;
mod process;
mod regressions;
mod report;
mod row;
mod server;
mod set_cost;
mod start;
mod waits;
mod watch;
mod workload;

use anyhow::{Result, bail};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Measures akool against its peers and limits, and writes the results")]
struct Args {
    /// The row to measure; `all`; `prepare` to build in advance what the rows run; `table` to write README.md and the
    /// plots from the committed results; `check` to compare instruction counts with the committed ones; or `accept` to
    /// commit the present ones.
    name: String,
    /// Fewer samples and smaller sizes, to check that a row runs. Writes no results.
    #[arg(long)]
    quick: bool,
    /// Arguments of this program's own child processes.
    #[arg(hide = true)]
    rest: Vec<String>,
}

/// Builds the programs that the rows run, so that no row has to.
fn prepare() -> Result<()> {
    let tools =
        [start::program()?, codegen::xtask()?, codegen::progenitor()?, waits::peers()?, diff::packages()?];
    for program in tools {
        println!("{}", program.display());
    }
    Ok(())
}

fn main() -> Result<()> {
    let args = Args::parse();
    let rest: Vec<&str> = args.rest.iter().map(String::as_str).collect();
    match (args.name.as_str(), &rest[..]) {
        ("prepare", []) => return prepare(),
        ("table", []) => return report::write_all(),
        ("check", []) => return regressions::check(),
        ("accept", []) => return regressions::accept(),
        ("serve", []) => return server::serve(),
        ("probe-poll", [variant, url, polls]) => return poll::probe(variant, url, polls.parse()?),
        ("probe-waits", [variant, url, jobs]) => {
            return waits::probe(variant, url, jobs.parse()?, args.quick);
        }
        ("probe-set", [operation, waits, operations]) => {
            return set_cost::probe(operation, waits.parse()?, operations.parse()?);
        }
        ("probe-contract", [work, times]) => return contract::probe(work, times.parse()?),
        ("probe-ledger", [variant, file, url, name, creations]) => {
            return ledger::probe(variant, file.as_ref(), url, name, creations.parse()?);
        }
        ("probe-download", [url, certificate, version, folder, files]) => {
            return download::probe(url, certificate.as_ref(), version, folder.as_ref(), files.parse()?);
        }
        _ => {}
    }
    let names: Vec<&str> = match args.name.as_str() {
        "all" => report::NAMES.to_vec(),
        name if report::NAMES.contains(&name) => vec![name],
        name => {
            bail!(
                "unknown row {name:?}; the rows are {}, all, prepare, table, check and accept",
                report::NAMES.join(", ")
            )
        }
    };
    for name in names {
        println!("== {name}");
        let row = match name {
            "poll" => poll::run(args.quick)?,
            "waits" => waits::run(args.quick)?,
            "economy" => economy::run(args.quick)?,
            "build" => cold_build::run(args.quick)?,
            "start" => start::run(args.quick)?,
            "download" => download::run(args.quick)?,
            "ledger" => ledger::run(args.quick)?,
            "contract" => contract::run(args.quick)?,
            "diff" => diff::run(args.quick)?,
            "mock" => mock::run(args.quick)?,
            "codegen" => codegen::run(args.quick)?,
            other => unreachable!("{other} is not a row"),
        };
        if !args.quick {
            report::save(&row)?;
        }
    }
    Ok(())
}
