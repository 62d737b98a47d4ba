//! The row in which Redocly CLI lints the resolved description with its recommended rules.
//!
//! `tests/conformance/lint-allowed.toml` lists the findings that stay, each with its reason. A finding that is
//! not listed is an error, and so is an entry without a finding.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::{Paths, process, tools};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    allowed: Vec<Allowed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    rule: String,
    /// JSON Pointers in the format of the tool.
    at: Vec<String>,
    reason: String,
}

fn allowed(paths: &Paths) -> Result<Vec<Allowed>> {
    let path = paths.inputs.join("lint-allowed.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let list: List = toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))?;
    Ok(list.allowed)
}

/// The allowed findings as a list in Markdown.
pub(super) fn list(paths: &Paths) -> Result<String> {
    let entries = allowed(paths)?;
    let lines = entries.iter().map(|entry| {
        let (count, reason) = (entry.at.len(), entry.reason.trim());
        format!("- `{}`, {count} finding{}: {reason}\n", entry.rule, if count == 1 { "" } else { "s" })
    });
    Ok(lines.collect())
}

pub(super) fn run(paths: &Paths) -> Result<String> {
    let found = lint(paths, &paths.resolved)?;
    let differences = differences(&found, &allowed(paths)?);
    ensure!(
        differences.is_empty(),
        "Correct the description with an overlay, or add the finding to tests/conformance/lint-allowed.toml with \
         a reason:\n{}",
        differences.join("\n")
    );
    Ok(format!("{} findings, all of them allowed with a reason", found.len()))
}

/// Validates the examples of a description against their schemas.
pub(super) fn examples(paths: &Paths, file: &Path) -> Result<()> {
    let mut found = lint(paths, file)?;
    found.retain(|(rule, _), _| rule.contains("example"));
    let differences = differences(&found, &[]);
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// Lints a description that must not have any finding.
pub(super) fn without_findings(paths: &Paths, file: &Path) -> Result<()> {
    let differences = differences(&lint(paths, file)?, &[]);
    ensure!(differences.is_empty(), "{} has findings:\n{}", file.display(), differences.join("\n"));
    Ok(())
}

/// Message by rule and pointer.
type Findings = BTreeMap<(String, String), String>;

fn lint(paths: &Paths, file: &Path) -> Result<Findings> {
    let options = ["lint", "--extends", "recommended", "--format", "json", "--max-problems", "10000"];
    let file = file.display().to_string();
    // Redocly reads a configuration file from the current folder.
    let command = tools::node(paths, "redocly", options.into_iter().chain([file.as_str()])).dir(&paths.work);
    let (_, printed) = process::output(paths, "redocly", &command)?;
    findings(&printed).with_context(|| format!("Redocly CLI printed:\n{printed}"))
}

/// Parses the findings from the output, which has notices before and after the JSON.
fn findings(printed: &str) -> Result<Findings> {
    let start = printed.find("{\n").context("there is no report")?;
    let mut values = serde_json::Deserializer::from_str(&printed[start..]).into_iter::<Value>();
    let report = values.next().context("there is no report")?.context("the report is not valid JSON")?;
    let problems = report["problems"].as_array().context("the report has no `problems`")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(problems
        .iter()
        .map(|problem| {
            let place = text(&problem["location"][0]["pointer"]);
            ((text(&problem["ruleId"]), place), text(&problem["message"]))
        })
        .collect())
}

/// The findings that are not allowed, and the allowed ones that are not found.
fn differences(found: &Findings, list: &[Allowed]) -> Vec<String> {
    let listed: Vec<(String, String)> = list
        .iter()
        .flat_map(|entry| entry.at.iter().map(|place| (entry.rule.clone(), place.clone())))
        .collect();
    let unlisted = found
        .iter()
        .filter(|(key, _)| !listed.contains(key))
        .map(|((rule, place), message)| format!("- found: {rule} at {place}: {message}"));
    let stale = listed
        .iter()
        .filter(|key| !found.contains_key(key))
        .map(|(rule, place)| format!("- not found any more, remove it from the list: {rule} at {place}"));
    unlisted.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: &str, place: &str) -> Findings {
        BTreeMap::from([((rule.to_owned(), place.to_owned()), "m".to_owned())])
    }

    fn entry(rule: &str, place: &str) -> Allowed {
        Allowed { rule: rule.to_owned(), at: vec![place.to_owned()], reason: "r".to_owned() }
    }

    #[test]
    fn findings_must_be_listed_and_entries_must_be_found() {
        assert!(differences(&found("a", "#/x"), &[entry("a", "#/x")]).is_empty());
        assert_eq!(differences(&found("a", "#/x"), &[]), ["- found: a at #/x: m"]);
        let stale = differences(&BTreeMap::new(), &[entry("a", "#/x")]);
        assert_eq!(stale, ["- not found any more, remove it from the list: a at #/x"]);
        assert_eq!(differences(&found("a", "#/x"), &[entry("a", "#/y")]).len(), 2);
    }

    #[test]
    fn notices_around_the_report_are_skipped() {
        let printed = "Notice: {old}\nvalidating x...\n{\n \"problems\": [{\"ruleId\": \"r\", \"message\": \"m\", \
                       \"location\": [{\"pointer\": \"#/p\"}]}]}x: validated in 1ms\n{\n";
        assert_eq!(findings(printed).unwrap(), found("r", "#/p"));
        assert!(findings("it did not start").is_err());
    }
}
