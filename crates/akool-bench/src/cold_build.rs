//! The row `build`: what the library adds to a cold build of a user's crate.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::Result;
use duct::cmd;

use crate::{
    paths::{target, workspace},
    process::{alternate_cold, each, run as sample},
    row::{Plot, Row},
    start,
};

const TOKIO: &str = "tokio = { version = \"1\", features = [\"macros\", \"rt\", \"time\"] }\n";

/// Writes a user's crate that is locked to the workspace's versions.
fn write(folder: &Path, name: &str, dependencies: &str, main: &str) -> Result<()> {
    fs::create_dir_all(folder.join("src"))?;
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{dependencies}"
    );
    fs::write(folder.join("Cargo.toml"), manifest)?;
    fs::write(folder.join("src/main.rs"), main)?;
    fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    Ok(())
}

fn cargo(folder: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(folder).env("CARGO_TARGET_DIR", folder.join("target"));
    // Cargo compiles path dependencies incrementally, and dependencies from a registry not.
    command.env("CARGO_INCREMENTAL", "0");
    command.env_remove("RUSTFLAGS").env_remove("CARGO_BUILD_RUSTC_WRAPPER");
    command
}

/// The packages that cargo compiles for the crate, without the crate itself.
fn packages(folder: &Path) -> Result<BTreeSet<String>> {
    let output = cargo(folder).args(["tree", "-e", "normal,build", "--prefix", "none"]).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let names = text.lines().skip(1).map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    Ok(names.filter(|name| !name.is_empty()).collect())
}

/// The size of a folder's files.
fn bytes(folder: &Path) -> Result<u64> {
    Ok(cmd!("du", "-sb", folder).read()?.split_whitespace().next().unwrap_or("0").parse()?)
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let times = if quick { 1 } else { 2 };
    let mut row = Row::new(
        "build",
        "A cold debug build of a crate that polls a job with `akool` (default features), against one that does it by \
         hand with just reqwest, serde, serde_json and tokio.",
    );
    let folder = tempfile::Builder::new().prefix("akool-bench-build").tempdir_in(target()?)?;
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    let path = workspace().canonicalize()?.join("crates/akool");
    let library = format!("akool = {{ path = {:?} }}\n{TOKIO}", path.display().to_string());
    write(&ours, "with-akool", &library, include_str!("user/with_akool.rs.txt"))?;
    let by_hand = format!(
        "reqwest = {{ version = \"0.13\", features = [\"json\", \"query\"] }}\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\nserde_json = \"1\"\n{TOKIO}"
    );
    write(&theirs, "by-hand", &by_hand, include_str!("user/by_hand.rs.txt"))?;
    for crate_folder in [&ours, &theirs] {
        let fetched = cargo(crate_folder).args(["fetch", "--quiet"]).status()?;
        anyhow::ensure!(fetched.success(), "cannot fetch the crates");
    }
    let build = |folder: &Path| {
        let built = folder.join("target");
        if built.exists() {
            fs::remove_dir_all(&built)?;
        }
        sample(cargo(folder).args(["build", "--quiet"]))
    };
    let [our_builds, their_builds] = alternate_cold(times, [&|| build(&ours), &|| build(&theirs)])?;
    let a = row.add("", "akool", "cold build", "s", &each(&our_builds, |usage| usage.seconds));
    let b = row.add("", "by hand", "cold build", "s", &each(&their_builds, |usage| usage.seconds));
    row.add_cpu("", "akool", &our_builds);
    row.add_cpu("", "by hand", &their_builds);
    let (our_packages, their_packages) = (packages(&ours)?, packages(&theirs)?);
    row.add("", "akool", "crates", "", &[our_packages.len() as f64]);
    row.add("", "by hand", "crates", "", &[their_packages.len() as f64]);
    for (variant, folder) in [("akool", &ours), ("by hand", &theirs)] {
        let size = bytes(&folder.join("target"))? as f64 / f64::from(1 << 20);
        row.add("", variant, "size of target folder", "MiB", &[size]);
    }
    let program = fs::metadata(start::program()?)?.len() as f64 / f64::from(1 << 20);
    row.add("", "the program akool", "stripped size", "MiB", &[program]);
    row.at_most("time of a cold build / by hand", a / b, 1.10);
    row.at_most(
        "crates added to those of by hand",
        our_packages.len() as f64 - their_packages.len() as f64,
        15.0,
    );
    let more: Vec<&str> = our_packages.difference(&their_packages).map(String::as_str).collect();
    row.note(format!("Crates only with akool: {}.", more.join(", ")));
    let less: Vec<&str> = their_packages.difference(&our_packages).map(String::as_str).collect();
    row.note(format!(
        "Crates only by hand: {}.",
        if less.is_empty() { "none".to_owned() } else { less.join(", ") }
    ));
    row.plot = Some(Plot::Ratios("by hand".to_owned()));
    Ok(row)
}
