//! The row in which schemathesis generates requests from the description and judges the responses of
//! `akool sandbox`.
//!
//! It runs twice, because the service reports errors in `code` with HTTP status 200. The first run judges
//! the responses without the two checks that this convention contradicts. The second run translates each
//! `code` into an HTTP status (`tests/conformance/envelope.py`), so that these two checks apply as well.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Paths, process, tools};

struct Run {
    name: &'static str,
    log: &'static str,
    /// Whether each `code` is translated into an HTTP status.
    translated: bool,
    /// Checks and the reason why they are excluded.
    excluded: &'static [(&'static str, &'static str)],
}

const RUNS: [Run; 2] = [
    Run {
        name: "original",
        log: "schemathesis",
        translated: false,
        excluded: &[
            (
                "negative_data_rejection",
                "expects an HTTP status of 4xx; the service reports invalid requests with `code` 1003 and status 200",
            ),
            (
                "ignored_auth",
                "expects HTTP status 401; the service reports missing credentials with `code` 1101 or 1102 and status 200",
            ),
        ],
    },
    Run {
        name: "translated",
        log: "schemathesis-translated",
        translated: true,
        excluded: &[(
            "status_code_conformance",
            "expects a documented status; translated ones are not, and the first run checks the real ones",
        )],
    },
];

/// The excluded checks as a list in Markdown.
pub(super) fn excluded() -> String {
    let mut list = String::new();
    for run in &RUNS {
        for (check, reason) in run.excluded {
            list += &format!("- {} run: `{check}` {reason}.\n", run.name);
        }
    }
    list
}

pub(super) fn run(paths: &Paths) -> Result<String> {
    let mut requests = 0;
    for run in &RUNS {
        requests += one(paths, run).with_context(|| {
            format!(
                "schemathesis has findings in the {} run. Each finding has a `curl` command to reproduce it with \
                 `akool sandbox`. Correct the mock server (crates/akool-mock), or the description with an overlay",
                run.name
            )
        })?;
    }
    Ok(format!("{requests} requests in {} runs", RUNS.len()))
}

/// Returns the number of requests.
fn one(paths: &Paths, run: &Run) -> Result<u64> {
    let sandbox = process::sandbox(paths)?;
    let report = paths.work.join(format!("{}.json", run.log));
    let _ = fs::remove_file(&report);
    let description = match run.translated {
        true => paths.derived("narrow.yaml", "narrow.yaml")?,
        false => paths.resolved.clone(),
    };
    let excluded: Vec<_> = run.excluded.iter().map(|(check, _)| *check).collect();
    let arguments = [
        "--config-file",
        &paths.inputs.join("schemathesis.toml").display().to_string(),
        "--no-color",
        "run",
        &description.display().to_string(),
        "--url",
        &sandbox.url,
        "--header",
        "x-api-key: sandbox-key-000000000000",
        "--checks",
        "all",
        "--exclude-checks",
        &excluded.join(","),
        "--report",
        "json",
        "--report-json-path",
        &report.display().to_string(),
    ];
    let mut command = tools::python(paths, "schemathesis", arguments);
    if run.translated {
        command = command.env("PYTHONPATH", &paths.inputs).env("SCHEMATHESIS_HOOKS", "envelope");
    }
    let (status, printed) = process::output(paths, run.log, &command)?;
    // Without the progress.
    let findings = printed.find("= FAILURES =").map_or(&*printed, |start| &printed[start..]);
    ensure!(status.success(), "{}", process::tail(findings));

    let report = fs::read(report).context("there is no report")?;
    let report: Value = serde_json::from_slice(&report).context("the report is not valid JSON")?;
    // An incomplete run is not a success.
    let operations = &report["operations"];
    ensure!(operations["tested"] == operations["total"], "not all operations were tested: {operations}");
    for phase in ["examples", "coverage", "fuzzing", "stateful"] {
        ensure!(report["phases"][phase]["status"] == "success", "{phase}: {}", report["phases"][phase]);
    }
    report["test_cases"]["generated"].as_u64().context("the report has no number of requests")
}
