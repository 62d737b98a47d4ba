//! The row in which Redocly CLI lints the resolved description, by its recommended rules.
//!
//! What stays as it is stands in `tests/conformance/lint-allowed.toml` with the reason. The list is held
//! both ways: a finding that is not on it fails, and so does an entry without a finding.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::{Paths, process, tools};

const LIST: &str = "lint-allowed.toml";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    allowed: Vec<Allowed>,
}

/// A rule, where its findings stay, and why.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allowed {
    pub(super) rule: String,
    /// JSON pointers, as the tool prints them.
    pub(super) at: Vec<String>,
    pub(super) why: String,
}

pub(super) fn allowed(paths: &Paths) -> Result<Vec<Allowed>> {
    let path = paths.ours.join(LIST);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let list: List =
        toml::from_str(&text).with_context(|| format!("{} is not as it should be", path.display()))?;
    Ok(list.allowed)
}

pub(super) fn run(paths: &Paths) -> Result<String> {
    let found = lint(paths, &paths.resolved)?;
    let list = allowed(paths)?;
    let wrong = differences(&found, &list);
    ensure!(
        wrong.is_empty(),
        "Correct the description by an overlay (openapi/overlays), or say in tests/conformance/{LIST} why it \
         stays:\n{}",
        wrong.join("\n")
    );
    Ok(format!("{} findings, each allowed with a reason", found.len()))
}

/// Holds the examples of another description against their schemas.
pub(super) fn examples(paths: &Paths, file: &Path) -> Result<()> {
    let found = lint(paths, file)?;
    let wrong: Vec<_> = found
        .iter()
        .filter(|((rule, _), _)| rule.contains("example"))
        .map(|((rule, place), message)| format!("- {rule} at {place}: {message}"))
        .collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

type Findings = BTreeMap<(String, String), String>;

fn lint(paths: &Paths, file: &Path) -> Result<Findings> {
    let mut command = tools::node_program(paths, &tools::REDOCLY, "redocly");
    // Not in the workspace's root, so that no settings are picked up by accident.
    command.current_dir(&paths.work);
    command.args(["lint", "--extends", "recommended", "--format", "json", "--max-problems", "10000"]);
    command.arg(file);
    let (_, printed) = process::output(paths, "redocly", &command)?;
    findings(&printed).with_context(|| format!("{} says:\n{printed}", tools::REDOCLY.name))
}

/// The findings in what the tool prints, which has notices around its JSON: rule and pointer, with the
/// message.
fn findings(printed: &str) -> Result<Findings> {
    let json = printed.find("{\n").map(|start| &printed[start..]).ok_or_else(|| anyhow!("no report"))?;
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    let report = values.next().ok_or_else(|| anyhow!("no report"))?.context("its report is no JSON")?;
    let problems = report["problems"].as_array().ok_or_else(|| anyhow!("its report has no `problems`"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(problems
        .iter()
        .map(|problem| {
            let place = text(&problem["location"][0]["pointer"]);
            ((text(&problem["ruleId"]), place), text(&problem["message"]))
        })
        .collect())
}

/// Findings that are not on the list, and entries of the list that are not found.
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
        .map(|(rule, place)| format!("- no longer found, so take it off the list: {rule} at {place}"));
    unlisted.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: &str, place: &str) -> Findings {
        BTreeMap::from([((rule.to_owned(), place.to_owned()), "m".to_owned())])
    }

    fn entry(rule: &str, place: &str) -> Allowed {
        Allowed { rule: rule.to_owned(), at: vec![place.to_owned()], why: "w".to_owned() }
    }

    #[test]
    fn the_list_is_held_both_ways() {
        assert!(differences(&found("a", "#/x"), &[entry("a", "#/x")]).is_empty());
        assert_eq!(differences(&found("a", "#/x"), &[]), ["- found: a at #/x: m"]);
        let stale = differences(&BTreeMap::new(), &[entry("a", "#/x")]);
        assert_eq!(stale, ["- no longer found, so take it off the list: a at #/x"]);
        assert_eq!(differences(&found("a", "#/x"), &[entry("a", "#/y")]).len(), 2);
    }

    #[test]
    fn notices_around_the_report_are_passed_over() {
        let printed = "Notice: {old}\nvalidating x...\n{\n \"problems\": [{\"ruleId\": \"r\", \"message\": \"m\", \
                       \"location\": [{\"pointer\": \"#/p\"}]}]}x: validated in 1ms\n{\n";
        assert_eq!(findings(printed).unwrap(), found("r", "#/p"));
        assert!(findings("it did not start").is_err());
    }
}
