//! Everything that touches `openapi/` or generated code.
//!
//! `cargo xtask codegen` turns the vendored description and its overlays into the resolved
//! description and the generated client; `--check` proves that what is committed is current.
//! Nobody who only uses the library needs this crate.

mod codegen;
mod description;
mod generate;
mod overlay;
mod sources;
mod supported;
mod tighten;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

/// Maintenance of the AKOOL description and of the code generated from it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply the overlays and write the resolved description and the generated code
    Codegen {
        /// Write nothing; show what differs and fail when anything committed is out of date
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Codegen { check } => codegen::run(&workspace_root(), check),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder that holds the workspace's `Cargo.toml`, wherever the command is called from.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}
