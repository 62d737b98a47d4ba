//! Prints findings, and the document with all rules.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Finding,
    rules::{Verdict, rules},
};

/// A format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// For programs.
    Json,
    /// For a pull request.
    Markdown,
    /// Commands for a GitHub workflow, which shows them as annotations.
    Github,
}

/// The strictest first.
const ORDER: [Verdict; 3] = [Verdict::Breaking, Verdict::Additive, Verdict::Docs];

/// The findings in a format. `more` are further members of the JSON object.
///
/// # Errors
/// If JSON cannot be written.
pub fn print(findings: &[Finding], format: Format, more: &[(&str, Value)]) -> Result<String> {
    Ok(match format {
        Format::Text => text(findings),
        Format::Json => {
            let mut whole = json!({ "changes": findings });
            for (key, value) in more {
                whole[*key] = value.clone();
            }
            serde_json::to_string_pretty(&whole)? + "\n"
        }
        Format::Markdown => markdown(findings),
        Format::Github => github(findings),
    })
}

fn sorted(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    ORDER.into_iter().flat_map(|verdict| findings.iter().filter(move |finding| finding.verdict == verdict))
}

/// The totals of findings that were not accepted, and the number of the others.
fn totals(findings: &[Finding]) -> String {
    let count = |verdict| {
        findings.iter().filter(|finding| finding.verdict == verdict && finding.accepted.is_none()).count()
    };
    let accepted = findings.iter().filter(|finding| finding.accepted.is_some()).count();
    let mut text = format!(
        "{} breaking, {} additive, {} docs",
        count(Verdict::Breaking),
        count(Verdict::Additive),
        count(Verdict::Docs)
    );
    if accepted > 0 {
        let _ = write!(text, ", {accepted} accepted");
    }
    text
}

/// What changed, and why the verdict follows. `value` writes a value of the description.
fn sentence(finding: &Finding, value: fn(&str) -> String) -> String {
    let mut text = finding.what.to_owned();
    let values: Vec<_> =
        [&finding.before, &finding.after].into_iter().flatten().map(|one| value(&short(one))).collect();
    if !values.is_empty() {
        let _ = write!(text, ": {}", values.join(" -> "));
    }
    let _ = write!(text, "; {}", finding.why);
    if finding.places > 1 {
        let _ = write!(text, " ({} places)", finding.places);
    }
    if let Some(reason) = &finding.accepted {
        let _ = write!(text, " (accepted: {reason})");
    }
    text
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in sorted(findings) {
        let _ = writeln!(text, "{:<9} {}", finding.verdict, line(&finding.pointer));
        if let Some(component) = &finding.component {
            let _ = writeln!(text, "          in {}", line(component));
        }
        let _ = writeln!(text, "          {}: {}", finding.rule, sentence(finding, line));
    }
    text + &totals(findings) + "\n"
}

/// Text on one line, without control characters.
fn line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Text of a description in Markdown: in code, it is neither a link nor a mention, and ends no line.
pub fn code(text: &str) -> String {
    format!("`{}`", line(text).replace('`', "'"))
}

fn markdown(findings: &[Finding]) -> String {
    let mut text = String::new();
    for verdict in ORDER {
        let group: Vec<_> = findings.iter().filter(|finding| finding.verdict == verdict).collect();
        if group.is_empty() {
            continue;
        }
        let _ = writeln!(text, "**{verdict}**\n\n| where | rule | change |\n|---|---|---|");
        for finding in group {
            let place = finding.component.as_ref().unwrap_or(&finding.pointer);
            let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
            let _ = writeln!(
                text,
                "| {} | `{}` | {} |",
                cell(&code(place)),
                finding.rule,
                cell(&sentence(finding, code))
            );
        }
        text.push('\n');
    }
    text + &totals(findings) + "\n"
}

fn github(findings: &[Finding]) -> String {
    // GitHub's escapes for data and for properties of a command.
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut text = String::new();
    for finding in sorted(findings) {
        let level = match finding.verdict {
            Verdict::Breaking if finding.accepted.is_none() => "error",
            Verdict::Breaking | Verdict::Additive => "notice",
            Verdict::Docs => "debug",
        };
        let body = data(&format!("{}: {}", finding.pointer, sentence(finding, line)));
        match level {
            "debug" => {
                let _ = writeln!(text, "::debug::{}: {body}", finding.rule);
            }
            level => {
                let _ = writeln!(text, "::{level} title={}::{body}", property(&finding.rule));
            }
        }
    }
    text + &totals(findings) + "\n"
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The document with all rules.
pub fn page() -> String {
    let mut text = String::from(
        "# Rules of `cargo xtask spec diff`\n\n\
         <!-- Printed from crates/openapi-keeper/src/diff/rules.rs; run the tests of that crate with UPDATE_DOCS=1 to \
         accept a change. -->\n\n\
         Each change between two descriptions is judged by its effect on a caller that was written for the old one:\n\n\
         - **breaking**: the caller may send invalid requests, or receive what it does not expect;\n\
         - **additive**: the caller is not affected;\n\
         - **docs**: only the documentation changes.\n\n\
         `request-` is the part of messages that callers send, and `response-` the part that they receive. In callbacks,\n\
         callers receive requests and send responses, so the directions are swapped. What callers send may be accepted more\n\
         widely, and what they receive may be restricted.\n\n\
         Order, references, `allOf` instead of one flat schema, and other spellings with the same meaning make no\n\
         difference. `openapi/spec-accepted.toml` lists findings that were reviewed, by rule and pointer.\n\n\
         | rule | verdict | what changed | why |\n\
         |---|---|---|---|\n",
    );
    for rule in rules() {
        let verdict = match rule.verdict {
            Verdict::Breaking => "**breaking**".to_owned(),
            other => other.to_string(),
        };
        let _ = writeln!(text, "| `{}` | {verdict} | {} | {} |", rule.name, rule.what, rule.why);
    }
    text
}
