//! `start`: how long the program takes to begin and to poll once, against curl piped to jq.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{
    by_hand::KEY,
    plot::Plot,
    row::{Row, target, workspace},
    sample::{Taken, each, in_turn, run as sample},
    server::Server,
};

/// The program, as a release has it: optimised and stripped. Built, where it is not.
pub(crate) fn program() -> Result<PathBuf> {
    let built = Command::new("cargo")
        .current_dir(workspace())
        .args(["build", "--release", "--quiet", "-p", "akool-cli"])
        .status()?;
    anyhow::ensure!(built.success(), "akool cannot be built");
    let tools = target()?.join("akool-bench-tools");
    std::fs::create_dir_all(&tools)?;
    let program = tools.join("akool");
    let stripped =
        Command::new("strip").arg("-o").arg(&program).arg(target()?.join("release/akool")).status();
    anyhow::ensure!(
        stripped.context("cannot run strip; install binutils")?.success(),
        "akool cannot be stripped"
    );
    Ok(program)
}

/// A call of the program, on a server, with a folder of its own.
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
        "From the shell: `akool --version` against `curl --version`, and `akool status ID` on a server on loopback \
         against `curl ... | jq .data.video_status` on the same.",
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

    let [ours, theirs] = in_turn(times, [&version, &curl_version])?;
    let [our_status, their_status] = in_turn(times, [&status, &curl_status])?;
    let mut add = |case: &str, who: &str, taken: &[Taken]| {
        let memory = row.add(case, who, "peak memory", "MiB", &each(taken, |taken| taken.peak_mib));
        (row.add(case, who, "wall time", "ms", &each(taken, |taken| taken.seconds * 1e3)), memory)
    };
    let (a, am) = add("--version", "akool", &ours);
    let (b, bm) = add("--version", "curl", &theirs);
    let (c, cm) = add("status", "akool", &our_status);
    let (d, dm) = add("status", "curl", &their_status);
    row.at_most("--version: time over curl's", a / b, 1.2);
    row.at_most("--version: memory over curl's", am / bm, 1.2);
    row.at_most("status: time over curl's and jq's", c / d, 1.2);
    row.at_most("status: memory over the larger of curl and jq", cm / dm, 1.2);
    row.note("Times include GNU time's own start, for both. Memory is that of the largest process.");
    row.plot = Some(Plot::Ratios("curl".to_owned()));
    Ok(row)
}
