//! The row `codegen`: `xtask codegen --check` against progenitor's own command.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use duct::cmd;

use crate::{
    paths::{target, workspace},
    process::{alternate, build, each, run as sample},
    row::{Plot, Row},
};

const OPERATIONS: usize = 500;

/// The version of progenitor in the workspace's lock file.
fn version() -> Result<String> {
    let lock = fs::read_to_string(workspace().join("Cargo.lock"))?;
    let after =
        lock.split("name = \"progenitor\"\nversion = \"").nth(1).context("no progenitor in Cargo.lock")?;
    Ok(after.split('"').next().unwrap_or_default().to_owned())
}

/// progenitor's command in the same version; installs it below the target folder if necessary.
pub(crate) fn progenitor() -> Result<PathBuf> {
    let version = version()?;
    let root = target()?.join("akool-bench-tools").join(format!("progenitor-{version}"));
    let program = root.join("bin/cargo-progenitor");
    if !program.exists() {
        println!("  installing cargo-progenitor {version}, once");
        cmd!(
            "cargo",
            "install",
            "--quiet",
            "--locked",
            "cargo-progenitor",
            "--version",
            &version,
            "--root",
            &root
        )
        .env_remove("CARGO_TARGET_DIR")
        .run()?;
    }
    Ok(program)
}

/// Builds xtask, optimised like progenitor's command.
pub(crate) fn xtask() -> Result<PathBuf> {
    build("release", "xtask", "xtask")
}

/// The vendored description plus [`OPERATIONS`] operations, each with its own type.
fn large(text: &str) -> Result<String> {
    let all = |template: &str| -> String {
        (0..OPERATIONS).map(|number| template.replace("NUMBER", &number.to_string())).collect()
    };
    let (paths, schemas) = (all(include_str!("large/path.yaml")), all(include_str!("large/schema.yaml")));
    let (before, components) = text.split_once("\ncomponents:").context("no components")?;
    let (between, own) = components.split_once("\n  schemas:\n").context("no schemas")?;
    Ok(format!("{}\n{paths}components:{between}\n  schemas:\n{schemas}{own}", before.trim_end()))
}

/// Lays out a workspace with the large description, and generates everything from it.
fn large_workspace(xtask: &Path, root: &Path) -> Result<()> {
    let openapi = root.join("openapi");
    fs::create_dir_all(openapi.join("overlays"))?;
    for folder in ["akool-client/src", "akool-mock/src", "akool-contract/src"] {
        fs::create_dir_all(root.join("crates").join(folder))?;
    }
    let ours = workspace().join("openapi");
    for file in fs::read_dir(ours.join("overlays"))? {
        let file = file?;
        fs::copy(file.path(), openapi.join("overlays").join(file.file_name()))?;
    }
    fs::copy(ours.join("keeper.toml"), openapi.join("keeper.toml"))?;
    let description = root.join("akool.yaml");
    fs::write(&description, large(&fs::read_to_string(ours.join("akool.yaml"))?)?)?;
    cmd!(xtask, "spec", "import", description, "--root", root).read()?;
    cmd!(xtask, "codegen", "--root", root).read()?;
    Ok(())
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let times = if quick { 2 } else { 9 };
    let mut row = Row::new(
        "codegen",
        "`xtask codegen --check` (overlays, resolved description, generated code, comparison) against \
         `cargo progenitor` on the resolved description: this description, and one with 500 more operations.",
    );
    let xtask = xtask()?;
    let progenitor = progenitor()?;
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("workspace");
    large_workspace(&xtask, &root)?;

    let out = folder.path().join("generated");
    let mut worst = 0.0_f64;
    for (case, root) in [("this description", workspace()), ("500 operations", root)] {
        let ours = || sample(Command::new(&xtask).args(["codegen", "--check", "--root"]).arg(&root));
        let theirs = || {
            let mut command = Command::new(&progenitor);
            command.args(["progenitor", "-n", "generated", "-v", "0.1.0", "--interface", "builder", "-i"]);
            sample(command.arg(root.join("openapi/akool.resolved.yaml")).arg("-o").arg(&out))
        };
        let [ours, theirs] = alternate(times, [&ours, &theirs])?;
        worst = worst.max(row.add_ms(case, "xtask", &ours) / row.add_ms(case, "progenitor", &theirs));
        row.add_memory(case, "xtask", &ours);
        row.add_memory(case, "progenitor", &theirs);
    }
    let as_typed = || {
        let mut command = Command::new("cargo");
        sample(command.current_dir(workspace()).args(["xtask", "codegen", "--check"]))
    };
    let [as_typed] = alternate(times, [&as_typed])?;
    let whole = each(&as_typed, |usage| usage.seconds);
    let seconds = row.add("this description", "cargo xtask, unoptimised", "wall time", "s", &whole);
    row.at_most("time / progenitor's, worse of the two", worst, 1.1);
    row.at_most("`cargo xtask codegen --check` on this description, in s", seconds, 1.0);
    row.note("Both programs are release builds; the last figure is the command as typed, with an unoptimised xtask.");
    row.plot = Some(Plot::Ratios("progenitor".to_owned()));
    Ok(row)
}
