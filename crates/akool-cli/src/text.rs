//! Things as people read them: states, links, durations, sizes.

use std::time::{Duration, SystemTime};

use akool::{Snapshot, Status, Translation};
use console::{StyledObject, style};

/// Green, red or yellow to stdout, where it shows colours.
pub(crate) fn good<T>(text: T) -> StyledObject<T> {
    style(text).green()
}

pub(crate) fn bad<T>(text: T) -> StyledObject<T> {
    style(text).red()
}

pub(crate) fn doubtful<T>(text: T) -> StyledObject<T> {
    style(text).yellow()
}

/// A status in the colour of what it means.
pub(crate) fn coloured(status: Status) -> StyledObject<Status> {
    match status {
        Status::Completed => good(status),
        Status::Failed => bad(status),
        Status::Unknown(_) => doubtful(status),
        _ => style(status),
    }
}

/// `error:` to stderr.
pub(crate) fn error() -> StyledObject<&'static str> {
    style("error:").red().bold().for_stderr()
}

pub(crate) fn describe(snapshot: &Snapshot) -> String {
    match (snapshot.status(), snapshot.progress()) {
        (Status::Processing, Some(percent)) => format!("processing, {percent} %"),
        (status, _) => coloured(status).to_string(),
    }
}

pub(crate) fn reason(snapshot: &Snapshot) -> String {
    let reason = snapshot.error_reason().map(on_one_line);
    match (reason, snapshot.error_code()) {
        (Some(reason), Some(code)) => format!("{reason} (error code {code})"),
        (Some(reason), None) => reason,
        (None, Some(code)) => format!("error code {code}"),
        (None, None) => "the service gives no reason".to_owned(),
    }
}

/// The files of a completed job, one a line.
pub(crate) fn links(snapshot: &Snapshot) -> String {
    let files = Translation::from_snapshot(snapshot.clone()).map(|translation| translation.files());
    let lines = files.into_iter().flatten();
    lines.map(|file| format!("\n  {:<24}{}", file.kind.to_string(), file.url)).collect()
}

/// A duration for people: `0.5s`, `12s`, `3m 5s`, `1h 2m`.
pub(crate) fn short(duration: Duration) -> String {
    let secs = duration.as_secs();
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, _) if duration < Duration::from_secs(10) => format!("{:.1}s", duration.as_secs_f64()),
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

pub(crate) fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

/// How long ago something was: `12s ago`, `3m ago`, `5h ago`, `2d ago`.
pub(crate) fn ago(time: SystemTime) -> String {
    let secs = time.elapsed().unwrap_or_default().as_secs();
    match secs {
        0..60 => format!("{secs}s ago"),
        60..3600 => format!("{}m ago", secs / 60),
        3600..172_800 => format!("{}h ago", secs / 3600),
        _ => format!("{}d ago", secs / 86_400),
    }
}

/// A text from elsewhere: no control character of it reaches the terminal.
pub(crate) fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
