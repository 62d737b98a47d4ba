//! The row in which schemathesis makes requests from the description, and judges what `akool sandbox`
//! answers.
//!
//! Twice, for the service tells errors by `code` under HTTP status 200. Once as the bytes are, without the
//! two checks that this convention contradicts. And once with each `code` translated into the HTTP status
//! that says the same (`tests/conformance/envelope.py`), so that those two checks have their say as well.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::{Paths, process, tools};

/// A run of its own.
struct Run {
    name: &'static str,
    translated: bool,
    left_out: &'static [(&'static str, &'static str)],
}

/// Both, with the checks that they leave out and why.
const RUNS: [Run; 2] = [
    Run {
        name: "as the bytes are",
        translated: false,
        left_out: &[
            (
                "negative_data_rejection",
                "asks for an HTTP status of 4xx; the service tells what is wrong by `code` 1003, with status 200",
            ),
            (
                "ignored_auth",
                "asks for HTTP status 401; the service tells it by `code` 1101 or 1102, with status 200",
            ),
        ],
    },
    Run {
        name: "with `code` translated to HTTP statuses",
        translated: true,
        left_out: &[(
            "status_code_conformance",
            "the translated statuses are not in the description; the first run checks the real ones",
        )],
    },
];

/// The checks that are left out, for people.
pub(super) fn left_out() -> Vec<String> {
    let one = |run: &Run, check: &str, reason: &str| format!("- in the run {}: `{check}` {reason}", run.name);
    let checks = RUNS.iter().flat_map(|run| run.left_out.iter().map(move |left_out| (run, left_out)));
    checks.map(|(run, (check, reason))| one(run, check, reason)).collect()
}

pub(super) fn run(paths: &Paths) -> Result<String> {
    let narrow = paths.derived("narrow.yaml", "narrow.yaml")?;
    let mut requests = 0;
    for run in &RUNS {
        requests += one(paths, run, &narrow)?;
    }
    let left_out: usize = RUNS.iter().map(|run| run.left_out.len()).sum();
    Ok(format!("{requests} requests in {} runs, {left_out} checks left out with reasons", RUNS.len()))
}

/// Gives how many requests it made.
fn one(paths: &Paths, run: &Run, narrow: &Path) -> Result<u64> {
    let name = if run.translated { "schemathesis-translated" } else { "schemathesis" };
    let report = paths.work.join(format!("{name}.json"));
    let _ = fs::remove_file(&report);
    let sandbox = process::sandbox(paths)?;
    let left_out: Vec<_> = run.left_out.iter().map(|(check, _)| *check).collect();
    let mut command = tools::python_program(paths, "schemathesis");
    command.arg("--config-file").arg(paths.ours.join("schemathesis.toml"));
    command.arg("--no-color").arg("run");
    command.arg(if run.translated { narrow } else { &paths.resolved });
    command.args(["--url", &sandbox.url, "--header", "x-api-key: sandbox-key-000000000000"]);
    command.args(["--checks", "all", "--exclude-checks", &left_out.join(",")]);
    command.args(["--report", "json", "--report-json-path"]).arg(&report);
    if run.translated {
        command.env("PYTHONPATH", &paths.ours).env("SCHEMATHESIS_HOOKS", "envelope");
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    judge(paths, name, &command, &report).with_context(|| {
        format!(
            "{} found something in the run {}. Each finding has a `curl` that shows it again, at the address of an \
             `akool sandbox` of your own. Mend the mock server (crates/akool-mock), or the description by an overlay",
            tools::SCHEMATHESIS.name, run.name
        )
    })
}

fn judge(paths: &Paths, name: &str, command: &Command, report: &Path) -> Result<u64> {
    let (status, printed) = process::output(paths, name, command)?;
    // What it found, without how far it got.
    let found = printed.find("= FAILURES =").map_or(&*printed, |start| &printed[start..]);
    ensure!(status.success(), "{}", process::tail(found));
    let report = fs::read(report).context("it wrote no report")?;
    let report: Value = serde_json::from_slice(&report).context("its report is no JSON")?;
    // A run that did less than it should is no success.
    let operations = &report["operations"];
    ensure!(operations["tested"] == operations["total"], "not all operations were tested: {operations}");
    for phase in ["examples", "coverage", "fuzzing", "stateful"] {
        ensure!(report["phases"][phase]["status"] == "success", "{phase}: {}", report["phases"][phase]);
    }
    report["test_cases"]["generated"].as_u64().ok_or_else(|| anyhow!("its report does not count requests"))
}
