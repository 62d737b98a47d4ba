//! The list of findings that were reviewed and accepted.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::Finding;

/// Findings that were reviewed. They are shown, and do not count.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use openapi_keeper::{description, diff::{self, Accepted}};
///
/// let old = description::parse(b"paths: {/talks: {get: {responses: {}}}}", "old.yaml")?;
/// let new = description::parse(b"paths: {}", "new.yaml")?;
/// let mut findings = diff::compare(&old, &new);
/// let accepted = Accepted::parse(r#"
///     [[accepted]]
///     rule = "operation-removed"
///     pointer = "/paths/~1talks/get"
///     reason = "Nobody calls it."
/// "#)?;
/// assert!(accepted.apply(&mut findings).is_empty());
/// assert_eq!(diff::worst(&findings), None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    #[serde(default)]
    accepted: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The name of the rule.
    rule: String,
    /// The pointer of the finding, or of its component.
    pointer: String,
    /// Why it is accepted.
    reason: String,
}

impl Accepted {
    /// Reads the list.
    ///
    /// # Errors
    /// If the file cannot be read, is not valid, names a rule that does not exist, or lacks a reason.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        Self::parse(&text).with_context(|| format!("{shown} is not valid"))
    }

    /// Reads the list from TOML.
    ///
    /// # Errors
    /// If the text is not valid, names a rule that does not exist, or lacks a reason.
    pub fn parse(text: &str) -> Result<Self> {
        let list: Self = toml::from_str(text)?;
        let rules = super::rules();
        for entry in &list.accepted {
            ensure!(
                rules.iter().any(|rule| rule.name == entry.rule),
                "`{}` is not a rule; docs/spec-diff.md lists all rules",
                entry.rule
            );
            ensure!(
                !entry.reason.trim().is_empty(),
                "the entry for `{}` at {} has no reason; say why the change is accepted",
                entry.rule,
                entry.pointer
            );
        }
        Ok(list)
    }

    /// Marks the findings that are in the list. Returns the entries that match none.
    pub fn apply(&self, findings: &mut [Finding]) -> Vec<String> {
        let mut unused = Vec::new();
        for entry in &self.accepted {
            let mut matched = false;
            for finding in findings.iter_mut().filter(|finding| finding.rule == entry.rule) {
                if finding.pointer == entry.pointer || finding.component.as_ref() == Some(&entry.pointer) {
                    finding.accepted = Some(entry.reason.clone());
                    matched = true;
                }
            }
            if !matched {
                unused.push(format!("`{}` at {}", entry.rule, entry.pointer));
            }
        }
        unused
    }
}
