//! Measures of akool against its peers and limits; README.md has the table.

mod economy;
mod plot;
mod row;
mod workload;

use anyhow::{Result, bail};
use clap::Parser;

#[derive(Parser)]
#[command(about = "Measures akool against its peers and limits, and writes the table")]
struct Args {
    /// Which row, or `all`.
    name: String,
    /// Fewer samples and smaller sizes, to see that it runs.
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let names: Vec<&str> = match args.name.as_str() {
        "all" => row::NAMES.to_vec(),
        name => vec![name],
    };
    for name in names {
        println!("== {name}");
        let row = match name {
            "economy" => economy::run(args.quick)?,
            _ => bail!("there is no row {name:?}: name one of {:?}, or all", row::NAMES),
        };
        row.save()?;
    }
    Ok(())
}
