//! How `akool contract check` prints what it found: [`response`] during the check, and [`end`] after it.

mod github;
mod junit;
mod markdown;

use akool::JobId;
use akool_contract::{Report as Findings, Verdict};
use serde_json::json;

use super::checked::Checked;
use crate::{
    args::{ContractCheck, Format},
    report::Report,
};

/// The findings about the response to one poll, in the formats that have a line for each.
pub(super) fn response(id: &JobId, findings: &Findings, report: &Report, options: &ContractCheck) {
    let verdict = findings.verdict();
    if report.is_json() {
        return report.object(&json!({
            "event": "contract", "id": id, "verdict": verdict, "operation": findings.operation,
            "violations": findings.violations, "drift": findings.drift,
        }));
    }
    let is_text = options.format == Format::Text && !options.fingerprint;
    if !is_text || (verdict == Verdict::Conforming && !report.is_verbose()) {
        return;
    }
    let operation = findings.operation.as_deref().unwrap_or("unknown operation");
    let mut text = format!("{id}  {operation}  {verdict}");
    if verdict != Verdict::Conforming {
        text += &format!("\n  {}", findings.to_string().replace('\n', "\n  "));
    }
    report.line(text);
}

/// The result of the whole check.
pub(super) fn end(checked: &Checked, report: &Report, options: &ContractCheck) {
    if report.is_json() {
        return report.object(&json!({
            "event": "contract_summary", "responses": checked.responses(),
            "verdict": checked.verdict().unwrap_or(Verdict::Conforming), "violations": checked.violations(),
            "drift": checked.drift(), "fingerprint": checked.fingerprint(), "not_received": checked.not_received,
        }));
    }
    if options.fingerprint {
        if let Some(fingerprint) = checked.fingerprint() {
            report.line(fingerprint);
        }
        return;
    }
    match options.format {
        Format::Text | Format::Json => text(checked, report),
        Format::Junit => match junit::document(checked) {
            Ok(document) => report.line(document.trim_end()),
            Err(error) => report.error(None, "file", format_args!("cannot write the report: {error}")),
        },
        Format::Github => report.line(github::lines(checked).join("\n")),
        Format::Markdown => report.line(markdown::document(checked).trim_end()),
    }
}

fn text(checked: &Checked, report: &Report) {
    if checked.responses() == 0 {
        return report.note(checked.summary());
    }
    report.line(checked.summary());
    if let Some(fingerprint) = checked.fingerprint() {
        report.line(format_args!("fingerprint: {fingerprint}"));
    }
    // For information only: few jobs have every field.
    let missing = &checked.not_received;
    if !missing.is_empty() && !report.is_verbose() {
        report.remark(format_args!(
            "{} documented fields and values were in none of these responses (-v lists them)",
            missing.len()
        ));
    } else if !missing.is_empty() {
        let places = missing.iter().map(|drift| format!("{} ({})", drift.pointer, drift.documented));
        report.note(format_args!(
            "documented, but in none of these responses:\n  {}",
            places.collect::<Vec<_>>().join("\n  ")
        ));
    }
}
