//! Measures of akool against its peers and limits; README.md has the table.

mod by_hand;
mod economy;
mod look;
mod plot;
mod row;
mod server;
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
    /// Which row, or `all`.
    name: String,
    /// Fewer samples and smaller sizes, to see that it runs.
    #[arg(long)]
    quick: bool,
    /// For this program's own processes.
    #[arg(hide = true)]
    rest: Vec<String>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let rest: Vec<&str> = args.rest.iter().map(String::as_str).collect();
    match (args.name.as_str(), &rest[..]) {
        ("serve", []) => return server::serve(),
        ("probe-look", [who, url, looks]) => return look::probe(who, url, looks.parse()?),
        _ => {}
    }
    let names: Vec<&str> = match args.name.as_str() {
        "all" => row::NAMES.to_vec(),
        name => vec![name],
    };
    for name in names {
        println!("== {name}");
        let row = match name {
            "look" => look::run(args.quick)?,
            "economy" => economy::run(args.quick)?,
            _ => bail!("there is no row {name:?}: name one of {:?}, or all", row::NAMES),
        };
        row.save()?;
    }
    Ok(())
}
