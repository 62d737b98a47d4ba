//! Parsers of the arguments' values.

use std::{str::FromStr, time::Duration};

use akool::{FileKind, VoiceStyle};
use akool_download::kind_name;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// `--timeout`: a duration, or explicitly none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Option<Duration>);

pub(super) fn timeout(text: &str) -> Result<Timeout, String> {
    if text == "none" {
        return Ok(Timeout(None));
    }
    duration(text).map(|duration| Timeout(Some(duration)))
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_millis(10) {
        return Err("the shortest interval is 10ms".to_owned());
    }
    Ok(interval)
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "not a valid duration; write it as 90s, 30m or 2h".to_owned())
}

/// The time of a call, which a client must not give up.
#[cfg(feature = "mcp")]
pub(super) fn step(text: &str) -> Result<Duration, String> {
    let step = duration(text)?;
    if step > Duration::from_secs(55) {
        return Err("clients give up after 60s, so the longest time is 55s".to_owned());
    }
    Ok(step)
}

/// How long a link is valid.
#[cfg(feature = "stage")]
pub(super) fn link_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = duration(text)?;
    if lifetime < Duration::from_secs(1) || lifetime > akool_stage::MAX_LIFETIME {
        return Err("a link is valid for 1s to 7d".to_owned());
    }
    Ok(lifetime)
}

/// How many jobs are active at a time.
pub(super) fn count(text: &str) -> Result<usize, String> {
    number(text, |count| *count > 0, "a whole number, 1 or more")
}

/// How many polls may fail in a row.
pub(super) fn failures(text: &str) -> Result<u32, String> {
    number(text, |failures| *failures > 0, "a whole number, 1 or more")
}

pub(super) fn speakers(text: &str) -> Result<u32, String> {
    number(text, |_| true, "a whole number, 0 or more")
}

pub(super) fn credits(text: &str) -> Result<f64, String> {
    number(text, |credits: &f64| credits.is_finite() && *credits >= 0.0, "a number, 0 or more")
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    number(text, |rate: &f64| rate.is_finite() && *rate > 0.0, "a number above 0")
}

fn number<N: FromStr>(text: &str, is_valid: impl FnOnce(&N) -> bool, expected: &str) -> Result<N, String> {
    text.parse().ok().filter(is_valid).ok_or_else(|| format!("must be {expected}"))
}

/// A program and its arguments, and the text that they were split from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) text: String,
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
}

/// Splits a command as a shell does.
pub(super) fn words(text: &str) -> Result<Words, String> {
    let words = shlex::split(text).ok_or("a quotation mark or a backslash is left open")?;
    let mut words = words.into_iter();
    let program = words.next().filter(|program| !program.is_empty()).ok_or("name a program")?;
    Ok(Words { text: text.to_owned(), program, args: words.collect() })
}

/// `A=B`, neither of them empty.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((left, right)) if !left.trim().is_empty() && !right.trim().is_empty() => {
            Ok((left.trim().to_owned(), right.trim().to_owned()))
        }
        _ => Err("write it as LEFT=RIGHT".to_owned()),
    }
}

pub(super) fn adoption(text: &str) -> Result<(String, String), String> {
    pair(text).map_err(|_| "write it as ENTRY=ID or ENTRY:LANGUAGE=ID".to_owned())
}

/// One of the documented styles. The error lists them.
pub(super) fn style() -> impl TypedValueParser<Value = VoiceStyle> {
    let names = akool::VoiceStyle::ALL.iter().map(|style| PossibleValue::new(style.to_string()));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<VoiceStyle>())
}

/// One of the kinds of files. The error lists them.
pub(super) fn kind() -> impl TypedValueParser<Value = FileKind> {
    let kinds = super::KINDS;
    let names = kinds.iter().map(|kind| PossibleValue::new(kind_name(*kind)));
    PossibleValuesParser::new(names).try_map(move |name| {
        kinds.into_iter().find(|kind| kind_name(*kind) == name).ok_or("not a kind of file")
    })
}

pub(super) fn id(text: &str) -> Result<String, String> {
    let id = text.trim();
    if id.is_empty() {
        return Err("the id is empty".to_owned());
    }
    Ok(id.to_owned())
}

/// A socket address whose host may be a name.
pub(super) fn listen(text: &str) -> Result<std::net::SocketAddr, String> {
    use std::net::ToSocketAddrs;

    let wrong = |error: std::io::Error| format!("{error}; write it as 127.0.0.1:4010 or localhost:4010");
    let addresses: Vec<_> = text.to_socket_addrs().map_err(wrong)?.collect();
    // `localhost` has an IPv4 and an IPv6 address; most clients try IPv4.
    let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    address.copied().ok_or_else(|| format!("{text} has no address"))
}
