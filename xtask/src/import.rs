//! `cargo xtask spec import`: vendors sources of the description.

use std::{io::Write, path::Path};

use anyhow::{Context, Result};
use openapi_keeper::{
    import::{Options, Plan},
    project::Project,
};

/// The project of a workspace.
pub(crate) fn project(root: &Path) -> Result<Project> {
    Project::open(&root.join("openapi/keeper.toml"))
}

/// Writes the vendored files and `sources.toml`, or nothing. Messages say `written` about a file.
pub(crate) fn write(root: &Path, project: &Project, plan: &Plan, written: &str) -> Result<()> {
    for note in plan.notes() {
        println!("note: {note}");
    }
    project.write(plan)?;
    let files = project.written(plan);
    if files.is_empty() {
        println!("{:<11} openapi/sources.toml", "unchanged");
    }
    for file in files {
        println!("{written:<11} {}", file.strip_prefix(root).unwrap_or(&file).display());
    }
    Ok(())
}

/// Prints the description that the sources give, and writes nothing.
pub(crate) fn print(options: &Options) -> Result<()> {
    let plan = Plan::without_project(options)?;
    for note in plan.notes() {
        eprintln!("note: {note}");
    }
    std::io::stdout().write_all(&plan.text()?).context("cannot write to standard output")
}
