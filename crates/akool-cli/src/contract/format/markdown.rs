//! A report in Markdown, for an issue or a comment. Received text is only in code, where it is neither a link nor a mention.

use akool_contract::{Drift, Violation};

use crate::contract::checked::{Checked, Job};

/// A heading, the counts, and a section for each job with a finding or an error. A comment holds the fingerprint.
pub(super) fn document(checked: &Checked) -> String {
    let verdict = checked.verdict().map_or("no response".to_owned(), |verdict| verdict.to_string());
    let mut text = format!("# Contract check: {verdict}\n\n");
    if let Some(fingerprint) = checked.fingerprint() {
        text += &format!("<!-- akool-contract-fingerprint: {fingerprint} -->\n\n");
    }
    text += &format!("{}.\n", capitalized(&checked.summary()));
    for job in &checked.jobs {
        text += &section(job);
    }
    if let Some(fingerprint) = checked.fingerprint() {
        text += &format!("\nFingerprint of the findings: `{fingerprint}`\n");
    }
    text
}

fn section(job: &Job) -> String {
    let mut items: Vec<_> = job.error.iter().map(|error| format!("- **Error:** {}\n", code(error))).collect();
    if let Some(findings) = &job.findings {
        items.extend(findings.violations.iter().map(violation));
        items.extend(findings.drift.iter().map(drift));
    }
    if items.is_empty() {
        return String::new();
    }
    let operation = job.operation().map(|operation| format!("{}, ", code(operation))).unwrap_or_default();
    format!("\n## {operation}job {}\n\n{}", code(&job.name()), items.concat())
}

fn violation(finding: &Violation) -> String {
    let Violation { pointer, rule, expected, actual, spec_pointer, .. } = finding;
    format!(
        "- **Violation** at {}\n  - expected: {}\n  - received: {}\n  - rule: {} at {}\n",
        code(pointer),
        code(expected),
        code(actual),
        code(rule),
        code(spec_pointer)
    )
}

fn drift(finding: &Drift) -> String {
    let Drift { pointer, actual, documented, spec_pointer, .. } = finding;
    format!(
        "- **Undocumented** at {}\n  - received: {}\n  - documented: {}\n  - see: {}\n",
        code(pointer),
        code(actual),
        code(documented),
        code(spec_pointer)
    )
}

/// A code span. Its fence is longer than any run of backticks in it.
fn code(text: &str) -> String {
    let text: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    // A blank separates the fence from backticks, and is not shown.
    let blank = if text.starts_with('`') || text.ends_with('`') || text.is_empty() { " " } else { "" };
    format!("{fence}{blank}{text}{blank}{fence}")
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_shows_any_text_on_one_line() {
        for (text, shown) in [
            ("a", "`a`"),
            ("the field `a`", "`` the field `a` ``"),
            ("``x` @someone #1 <b>", "``` ``x` @someone #1 <b> ```"),
            ("a\r\n## b", "`a  ## b`"),
            ("", "`  `"),
        ] {
            assert_eq!(code(text), shown);
        }
    }
}
