//! Statuses, URLs, durations and sizes as text for people.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use akool::{CreateError, ShortDuration, Snapshot, Status, Translation, redact::excerpt};
use akool_ledger::LedgerError;
use console::{StyledObject, style};

/// Green, red or yellow, if stdout shows colours.
pub(crate) fn good<T>(text: T) -> StyledObject<T> {
    style(text).green()
}

pub(crate) fn bad<T>(text: T) -> StyledObject<T> {
    style(text).red()
}

pub(crate) fn uncertain<T>(text: T) -> StyledObject<T> {
    style(text).yellow()
}

/// Whether this is a URL, and not a path. A single letter before the colon is a drive.
pub(crate) fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| scheme.len() > 1 && !scheme.contains(['/', '\\']))
}

/// A status in the colour of its meaning.
pub(crate) fn status(status: Status) -> StyledObject<String> {
    match status {
        Status::Queueing => style("queued".to_owned()),
        Status::Completed => good(status.to_string()),
        Status::Failed => bad(status.to_string()),
        Status::Unknown(_) => uncertain(status.to_string()),
        _ => style(status.to_string()),
    }
}

/// `error:` to stderr.
pub(crate) fn error() -> StyledObject<&'static str> {
    style("error:").red().bold().for_stderr()
}

pub(crate) fn describe(snapshot: &Snapshot) -> String {
    describe_status(snapshot.status(), snapshot.progress())
}

pub(crate) fn describe_status(last: Status, progress: Option<u8>) -> String {
    match (last, progress) {
        (Status::Processing, Some(percent)) => format!("processing, {percent} %"),
        (other, _) => status(other).to_string(),
    }
}

pub(crate) fn reason(snapshot: &Snapshot) -> String {
    let reason = snapshot.error_reason().map(excerpt);
    match (reason, snapshot.error_code()) {
        (Some(reason), Some(code)) => format!("{reason} (error code {code})"),
        (Some(reason), None) => reason,
        (None, Some(code)) => format!("error code {code}"),
        (None, None) => "AKOOL gave no reason".to_owned(),
    }
}

/// The URLs of the files of a completed job, each on its own line.
pub(crate) fn links(snapshot: &Snapshot) -> String {
    let files = Translation::from_snapshot(snapshot.clone()).map(|translation| translation.files());
    let lines = files.into_iter().flatten();
    lines.map(|file| format!("\n  {:<24}{}", file.kind.to_string(), file.url)).collect()
}

/// A URL without the parts that may be secret.
pub(crate) fn source(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| excerpt(url), |url| akool::redact::link(&url))
}

/// A line of JSON. Characters that a terminal acts on, which JSON allows in strings, are escaped.
///
/// # Errors
/// If the value cannot be written as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(value)?;
    let acts = |letter: char| {
        matches!(letter, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    if !text.contains(acts) {
        return Ok(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if acts(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                escaped += &format!("\\u{unit:04x}");
            }
        } else {
            escaped.push(letter);
        }
    }
    Ok(escaped)
}

/// A number of credits, with at most two decimals.
pub(crate) fn credits(credits: f64) -> String {
    // Without the minus sign of a negative number that rounds to 0.
    ((credits * 100.0).round() / 100.0 + 0.0).to_string()
}

/// `0.5 s`, `12 s`, `3 min 5 s`, `1 h 2 min`.
pub(crate) fn short(duration: Duration) -> String {
    ShortDuration(duration).to_string()
}

pub(crate) fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

/// `12 s ago`, `3 min ago`, `5 h ago`, `2 days ago`.
pub(crate) fn ago(time: SystemTime) -> String {
    let secs = time.elapsed().unwrap_or_default().as_secs();
    match secs {
        0..60 => format!("{secs} s ago"),
        60..3600 => format!("{} min ago", secs / 60),
        3600..172_800 => format!("{} h ago", secs / 3600),
        _ => format!("{} days ago", secs / 86_400),
    }
}

/// The text of an error and of its causes. Of the causes inside the HTTP client, only the last says something
/// that the error does not: "Connection refused".
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    causes(error.to_string(), error)
}

/// The same of a failed call, without its job, which the line names.
pub(crate) fn why(error: &akool::Error) -> String {
    causes(error.message().to_owned(), error)
}

fn causes(mut text: String, error: &(dyn Error + 'static)) -> String {
    let mut next = error.source();
    while let Some(cause) = next {
        next = cause.source();
        let ours = cause.is::<akool::Error>() || cause.is::<CreateError>() || cause.is::<LedgerError>();
        if ours {
            text += &format!(": {cause}");
        } else if next.is_none() {
            text += &format!(": {}", excerpt(&cause.to_string()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_no_character_that_a_terminal_acts_on() {
        let text = "a\u{9b}31m\u{202e}\u{2028}\u{feff}\u{1b}\u{7f}ü€\u{200d}\u{61c}\u{e0041}";
        let line = json(&text).unwrap();
        assert_eq!(line, r#""a\u009b31m\u202e\u2028\ufeff\u001b\u007fü€\u200d\u061c\udb40\udc41""#);
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }

    #[test]
    fn a_url_is_told_from_a_path() {
        assert!(["s3://b", "gs3://b/c", "https://x"].into_iter().all(is_url));
        assert!(!["out", "C://out", "C:\\out", "./a://b", "://", "a/b://c"].into_iter().any(is_url));
    }

    #[test]
    fn credits_have_at_most_two_decimals() {
        for (number, shown) in [(4.0, "4"), (0.1 + 0.2, "0.3"), (10.005, "10.01"), (-0.001, "0")] {
            assert_eq!(credits(number), shown);
        }
    }
}
