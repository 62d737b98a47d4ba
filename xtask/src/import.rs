//! `cargo xtask spec import`: vendors sources of the description.

use std::{io::Write, path::Path};

use anyhow::{Context, Error, Result, anyhow};
use openapi_keeper::{
    import::{Options, Plan},
    merge::Conflicts,
    project::Project,
};

/// The project of a workspace.
pub(crate) fn project(root: &Path) -> Result<Project> {
    Project::open(&root.join("openapi/keeper.toml"))
}

/// What to do about sources that contradict each other.
pub(crate) const PREFER: &str = "Choose the preferred source with --prefer SOURCE --reason TEXT.";

/// Adds the advice to an error of a plan.
fn advise(error: Error) -> Error {
    if error.is::<Conflicts>() { anyhow!("{error}{PREFER}") } else { error }
}

/// Imports sources.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let project = project(root)?;
    write(root, &project, &project.plan(options).map_err(advise)?, "written")
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
    let plan = Plan::without_project(options).map_err(advise)?;
    for note in plan.notes() {
        eprintln!("note: {note}");
    }
    std::io::stdout().write_all(&plan.text()?).context("cannot write to standard output")
}
