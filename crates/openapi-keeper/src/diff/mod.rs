//! The difference in meaning between two descriptions, with a verdict for callers.
//!
//! Each keyword is judged by direction: what callers send may be accepted more widely, and what they
//! receive may be restricted. Order, references, `allOf` and other spellings make no difference
//! (`flat.rs`). All verdicts come from one table (`rules.rs`).

mod accepted;
mod alternatives;
mod choice;
mod differ;
mod document;
mod flat;
mod message;
mod object;
mod output;
mod parameter;
mod rules;
mod schema;
mod security;
mod value;

use serde::Serialize;
use serde_json::Value;

pub use accepted::Accepted;
pub use output::{Format, code, page, print};
pub use rules::{Rule, Scope, Verdict, rules};

use differ::Differ;

/// One change, and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The name of the rule, such as `request-max-length-decreased`.
    pub rule: String,
    /// What follows for callers.
    pub verdict: Verdict,
    /// The first place, as a JSON Pointer. References are followed, `allOf` is merged, and parameters are
    /// keyed by location and name.
    pub pointer: String,
    /// The pointer of the change within the component that contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The number of parameters, bodies, responses and operations with this change.
    pub places: usize,
    /// What changed.
    pub what: &'static str,
    /// Why the verdict follows.
    pub why: &'static str,
    /// The old value, if it tells more than the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The new value, if it tells more than the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// The reason why the finding was accepted in a review.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
}

/// All changes between two descriptions, sorted by pointer.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use openapi_keeper::{description, diff::{self, Verdict}};
///
/// let old = description::parse(b"paths: {/talks: {get: {responses: {}}}}", "old.yaml")?;
/// let new = description::parse(b"paths: {}", "new.yaml")?;
/// let findings = diff::compare(&old, &new);
/// assert_eq!((findings[0].rule.as_str(), findings[0].verdict), ("operation-removed", Verdict::Breaking));
/// # Ok(())
/// # }
/// ```
pub fn compare(old: &Value, new: &Value) -> Vec<Finding> {
    let mut findings = Differ::new(old, new).document();
    findings.sort_by(|a, b| (&a.pointer, &a.rule).cmp(&(&b.pointer, &b.rule)));
    findings
}

/// The strictest verdict, not counting accepted findings; `None` without changes.
pub fn worst(findings: &[Finding]) -> Option<Verdict> {
    findings.iter().filter(|finding| finding.accepted.is_none()).map(|finding| finding.verdict).max()
}
