//! The row `start`: the program's start-up time and one poll, against curl piped to jq.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use duct::cmd;

use crate::{
    by_hand::KEY,
    paths::{target, workspace},
    process::{Usage, alternate, run_twice as sample},
    row::{Plot, Row},
    server::Server,
};

/// Builds the program as it is released for Linux: optimised as a whole, statically linked, and stripped.
pub(crate) fn program() -> Result<PathBuf> {
    let platform = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let cargo =
        cmd!("cargo", "build", "--quiet", "--profile", "dist", "--target", &platform, "-p", "akool-cli");
    let cargo = cargo.dir(workspace()).env(format!("CC_{}", platform.replace('-', "_")), "musl-gcc");
    cargo.run().with_context(|| {
        format!("cannot build for {platform}; install musl-tools, and that target with rustup")
    })?;
    Ok(target()?.join(platform).join("dist/akool"))
}

/// A call of the program with this server and its own home folder.
pub(crate) fn akool(program: &PathBuf, server: &Server, home: &std::path::Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("AKOOL_API_KEY", KEY)
        .env("AKOOL_API_HOST", &server.url)
        .env("HOME", home)
        .env_remove("XDG_DATA_HOME")
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_STATE_HOME")
        .env_remove("AKOOL_TOKEN");
    command
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let times = if quick { 5 } else { 41 };
    let mut row = Row::new(
        "start",
        "From the shell: `akool --version` against `curl --version`, and `akool status ID` against \
         `curl ... | jq .data.video_status`, both on the same server on loopback. The program is the one that is released for \
         Linux, statically linked.",
    );
    let program = program()?;
    let server = Server::start()?;
    let home = tempfile::tempdir()?;
    let version = || {
        let mut command = akool(&program, &server, home.path());
        sample(command.arg("--version"))
    };
    let curl_version = || sample(Command::new("curl").arg("--version"));
    let status = || {
        let mut command = akool(&program, &server, home.path());
        sample(command.args(["status", "64dd92c1f0b6684651e90e09"]))
    };
    let url = format!(
        "{}/api/open/v3/content/video/infobymodelid?video_model_id=64dd92c1f0b6684651e90e09",
        server.url
    );
    let piped = format!("curl -sS -H 'x-api-key: {KEY}' '{url}' | jq .data.video_status");
    let curl_status = || sample(Command::new("sh").args(["-c", &piped]));

    let [ours, theirs] = alternate(times, [&version, &curl_version])?;
    let [our_status, their_status] = alternate(times, [&status, &curl_status])?;
    let mut add = |case: &str, variant: &str, usages: &[Usage]| {
        (row.add_ms(case, variant, usages), row.add_memory(case, variant, usages))
    };
    let (a, am) = add("--version", "akool", &ours);
    let (b, bm) = add("--version", "curl", &theirs);
    let (c, cm) = add("status", "akool", &our_status);
    let (d, dm) = add("status", "curl", &their_status);
    row.at_most("--version: time / curl's", a / b, 0.25);
    row.at_most("--version: memory / curl's", am / bm, 1.2);
    row.at_most("status: time / that of curl and jq", c / d, 1.2);
    row.at_most("status: memory / the larger of curl and jq", cm / dm, 1.2);
    row.note("Memory is that of the largest process, and is measured in a run of its own.");
    row.plot = Some(Plot::Ratios("curl".to_owned()));
    Ok(row)
}
