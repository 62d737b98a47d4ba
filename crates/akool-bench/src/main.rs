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
mod fleet;
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

use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;

use crate::row::Row;

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

/// Measures a row; fewer and smaller samples if `true`.
type Run = fn(bool) -> Result<Row>;

/// The rows, in the order of README.md.
pub(crate) const ROWS: [(&str, Run); 12] = [
    ("poll", poll::run),
    ("waits", waits::run),
    ("economy", economy::run),
    ("ledger", ledger::run),
    ("fleet", fleet::run),
    ("contract", contract::run),
    ("mock", mock::run),
    ("download", download::run),
    ("build", cold_build::run),
    ("start", start::run),
    ("codegen", codegen::run),
    ("diff", diff::run),
];

/// Builds the programs that the rows run, so that no row has to.
fn prepare() -> Result<()> {
    let tools = [
        start::program()?,
        mock::program()?,
        codegen::xtask()?,
        codegen::progenitor()?,
        waits::peers()?,
        mock::packages()?,
        diff::packages()?,
    ];
    for program in tools {
        println!("{}", program.display());
    }
    fleet::prepare()
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
        ("probe-waits", [variant, url, jobs, quick]) => {
            return waits::probe(variant, url, jobs.parse()?, quick.parse()?);
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
    let rows: Vec<_> = ROWS.iter().filter(|(name, _)| args.name == "all" || args.name == *name).collect();
    if rows.is_empty() {
        let names = ROWS.map(|(name, _)| name).join(", ");
        bail!("unknown row {:?}; the rows are {names}, all, prepare, table, check and accept", args.name);
    }
    let began = Instant::now();
    for (name, run) in rows {
        println!("== {name}");
        let of_row = Instant::now();
        let row = run(args.quick)?;
        if !args.quick {
            report::save(&row)?;
        }
        println!(
            "== {name}: {:.0} s of {:.0} s",
            of_row.elapsed().as_secs_f64(),
            began.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
