//! Measures of akool against its peers and limits; README.md has the table.

mod by_hand;
mod codegen;
mod download;
mod economy;
mod fleet;
mod plot;
mod poll;
mod row;
mod sample;
mod server;
mod start;
mod watch;
mod weight;
mod workload;

use anyhow::{Result, bail};
use clap::Parser;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts what is allocated.
#[global_allocator]
static GLOBAL: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

#[derive(Parser)]
#[command(about = "Measures akool against its peers and limits, and writes the table")]
struct Args {
    /// Which row, `all`, `prepare` to build beforehand what they run, or `table` to write README.md and the plots anew.
    name: String,
    /// Fewer samples and smaller sizes, to see that it runs; writes no results.
    #[arg(long)]
    quick: bool,
    /// For this program's own processes.
    #[arg(hide = true)]
    rest: Vec<String>,
}

/// Builds the programs that are measured, so that no row has to.
fn prepare() -> Result<()> {
    for program in [start::program()?, codegen::xtask()?, codegen::progenitor()?, fleet::peers()?] {
        println!("{}", program.display());
    }
    Ok(())
}

fn main() -> Result<()> {
    let args = Args::parse();
    let rest: Vec<&str> = args.rest.iter().map(String::as_str).collect();
    match (args.name.as_str(), &rest[..]) {
        ("prepare", []) => return prepare(),
        ("table", []) => return row::write_table(),
        ("serve", []) => return server::serve(),
        ("probe-poll", [who, url, polls]) => return poll::probe(who, url, polls.parse()?),
        ("probe-fleet", [who, url, jobs]) => return fleet::probe(who, url, jobs.parse()?, args.quick),
        ("probe-download", [url, folder, files, bytes]) => {
            return download::probe(url, folder, files.parse()?, bytes.parse()?);
        }
        _ => {}
    }
    let names: Vec<&str> = match args.name.as_str() {
        "all" => row::NAMES.to_vec(),
        name if row::NAMES.contains(&name) => vec![name],
        name => {
            bail!("there is no row {name:?}: name one of {}, all, prepare or table", row::NAMES.join(", "))
        }
    };
    for name in names {
        println!("== {name}");
        let row = match name {
            "poll" => poll::run(args.quick)?,
            "fleet" => fleet::run(args.quick)?,
            "economy" => economy::run(args.quick)?,
            "build" => weight::run(args.quick)?,
            "start" => start::run(args.quick)?,
            "download" => download::run(args.quick)?,
            "codegen" => codegen::run(args.quick)?,
            other => unreachable!("{other} is no row"),
        };
        if !args.quick {
            row.save()?;
        }
    }
    Ok(())
}
