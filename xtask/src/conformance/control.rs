//! The row that tests the control API of `akool sandbox` against `openapi/sandbox.yaml`: Redocly CLI lints the document,
//! and schemathesis generates requests from it. Neither has an exception.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Paths, lint, process, tools};

pub(super) fn run(paths: &Paths) -> Result<String> {
    let document = paths.root.join("openapi/sandbox.yaml");
    lint::without_findings(paths, &document)?;
    let sandbox = process::sandbox(paths)?;
    let report = paths.work.join("schemathesis-control.json");
    let _ = fs::remove_file(&report);
    let arguments = [
        "--config-file",
        &paths.inputs.join("schemathesis.toml").display().to_string(),
        "--no-color",
        "run",
        &document.display().to_string(),
        "--url",
        &sandbox.url,
        "--checks",
        "all",
        "--report",
        "json",
        "--report-json-path",
        &report.display().to_string(),
    ];
    let command = tools::python(paths, "schemathesis", arguments);
    let (status, printed) = process::output(paths, "schemathesis-control", &command)?;
    let findings = printed.find("= FAILURES =").map_or(&*printed, |start| &printed[start..]);
    ensure!(
        status.success(),
        "schemathesis has findings; correct crates/akool-mock/src/control_api or openapi/sandbox.yaml:\n{}",
        process::tail(findings)
    );
    let report = fs::read(report).context("there is no report")?;
    let report: Value = serde_json::from_slice(&report).context("the report is not valid JSON")?;
    let operations = &report["operations"];
    ensure!(operations["tested"] == operations["total"], "not all operations were tested: {operations}");
    Ok(format!("{} operations, {} requests", operations["tested"], report["test_cases"]["generated"]))
}
