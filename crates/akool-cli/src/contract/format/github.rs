//! Annotations of GitHub Actions, as its documentation of workflow commands describes them.

use crate::contract::checked::Checked;

/// The workflow commands: an error for each violation, a warning for each drift, and a notice with the counts.
pub(super) fn lines(checked: &Checked) -> Vec<String> {
    let mut lines = Vec::new();
    for job in &checked.jobs {
        let mut title = format!("job {}", job.name());
        if let Some(operation) = job.operation() {
            title = format!("{operation}, {title}");
        }
        if let Some(findings) = &job.findings {
            let violations = findings.violations.iter().map(|finding| ("error", finding.to_string()));
            let drift = findings.drift.iter().map(|finding| ("warning", finding.to_string()));
            lines.extend(violations.chain(drift).map(|(level, text)| command(level, &title, &text)));
        }
        if let Some(error) = &job.error {
            let level = if job.is_unreachable { "warning" } else { "error" };
            lines.push(command(level, &title, error));
        }
    }
    let mut text = checked.summary();
    if let Some(fingerprint) = checked.fingerprint() {
        text += &format!("\nfingerprint: {fingerprint}");
    }
    lines.push(command("notice", "akool contract check", &text));
    lines
}

fn command(level: &str, title: &str, text: &str) -> String {
    format!("::{level} title={}::{}", property(title), data(text))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_title_or_a_text_ends_the_command() {
        // GitHub's own library, `@actions/core`, prints the same bytes.
        assert_eq!(
            command("error", "a: b, 100%\r\n::", "50%, c:\r\n::error::x"),
            "::error title=a%3A b%2C 100%25%0D%0A%3A%3A::50%25, c:%0D%0A::error::x"
        );
    }
}
