//! Measures akool against its peers and against limits. README.md has the results.

mod allocator;
mod by_hand;
mod codegen;
mod cold_build;
mod download;
mod economy;
mod mock;
mod paths;
mod plot;
mod poll;
mod process;
mod report;
mod row;
mod server;
mod start;
mod waits;
mod watch;
mod workload;

use anyhow::{Result, bail};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Measures akool against its peers and limits, and writes the results")]
struct Args {
    /// The row to measure; `all`; `prepare` to build in advance what the rows run; or `table` to write README.md and
    /// the plots from the committed results.
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
    for program in [start::program()?, codegen::xtask()?, codegen::progenitor()?, waits::peers()?] {
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
        ("serve", []) => return server::serve(),
        ("probe-poll", [variant, url, polls]) => return poll::probe(variant, url, polls.parse()?),
        ("probe-waits", [variant, url, jobs]) => {
            return waits::probe(variant, url, jobs.parse()?, args.quick);
        }
        ("probe-download", [url, folder, files, bytes]) => {
            return download::probe(url, folder, files.parse()?, bytes.parse()?);
        }
        _ => {}
    }
    let names: Vec<&str> = match args.name.as_str() {
        "all" => report::NAMES.to_vec(),
        name if report::NAMES.contains(&name) => vec![name],
        name => {
            bail!("unknown row {name:?}; the rows are {}, all, prepare and table", report::NAMES.join(", "))
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
