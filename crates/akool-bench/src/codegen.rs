//! The row `codegen`: `xtask codegen --check` against progenitor's own command.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    paths::{target, workspace},
    process::{alternate, each, run as sample},
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
        let mut install = Command::new("cargo");
        install.args(["install", "--quiet", "--locked", "cargo-progenitor", "--version", &version, "--root"]);
        install.arg(&root).env_remove("CARGO_TARGET_DIR");
        anyhow::ensure!(install.status()?.success(), "cannot install cargo-progenitor");
    }
    Ok(program)
}

/// Builds xtask, optimised like progenitor's command.
pub(crate) fn xtask() -> Result<PathBuf> {
    let built = Command::new("cargo")
        .current_dir(workspace())
        .args(["build", "--release", "--quiet", "-p", "xtask"])
        .status()?;
    anyhow::ensure!(built.success(), "cannot build xtask");
    Ok(target()?.join("release/xtask"))
}

/// The vendored description plus [`OPERATIONS`] operations, each with its own type.
fn large(text: &str) -> Result<String> {
    let (mut paths, mut schemas) = (String::new(), String::new());
    for number in 0..OPERATIONS {
        write!(
            paths,
            "  /api/bench/item{number}:\n    get:\n      operationId: get_item_{number}\n      summary: Gets item {number}\n\
             \x20     parameters:\n        - name: item_id\n          in: query\n          required: true\n          schema:\n            type: string\n\
             \x20       - name: page\n          in: query\n          required: false\n          schema:\n            type: integer\n\
             \x20     responses:\n        '200':\n          description: The item\n          content:\n            application/json:\n              schema:\n                $ref: '#/components/schemas/Item{number}'\n"
        )?;
        writeln!(
            schemas,
            "    Item{number}:\n      type: object\n      required:\n        - code\n      properties:"
        )?;
        writeln!(schemas, "        code:\n          type: integer\n        msg:\n          type: string")?;
        for field in 0..6 {
            writeln!(
                schemas,
                "        field_{field}:\n          type: string\n          description: Field {field}"
            )?;
        }
    }
    let at = text.find("\ncomponents:").context("the description has no components")?;
    let text = format!("{}\n{paths}{}", text[..at].trim_end(), &text[at + 1..]);
    let at = text.find("\n  schemas:\n").context("the description has no schemas")? + "\n  schemas:\n".len();
    Ok(format!("{}{schemas}{}", &text[..at], &text[at..]))
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
    let output =
        Command::new(xtask).args(["spec", "import"]).arg(&description).arg("--root").arg(root).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(xtask).args(["codegen", "--root"]).arg(root).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
        let a = row.add(case, "xtask", "wall time", "ms", &each(&ours, |usage| usage.seconds * 1e3));
        let b = row.add(case, "progenitor", "wall time", "ms", &each(&theirs, |usage| usage.seconds * 1e3));
        row.add(case, "xtask", "peak memory", "MiB", &each(&ours, |usage| usage.peak_mib));
        row.add(case, "progenitor", "peak memory", "MiB", &each(&theirs, |usage| usage.peak_mib));
        worst = worst.max(a / b);
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
