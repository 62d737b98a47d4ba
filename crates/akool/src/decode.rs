//! From an answer to a snapshot: strictly by the generated types where they take it, leniently
//! from its bytes where they refuse.

use std::time::{Duration, SystemTime};

use akool_client::{
    Ending, Exchange,
    types::{GetVideoInfoResponse, VideoInfoResult},
};
use reqwest::{
    StatusCode,
    header::{CONTENT_ENCODING, DATE, HeaderMap, RETRY_AFTER},
};
use serde_json::{Map, Value};

use crate::{BusinessCode, Error, ErrorKind, JobId, Snapshot, Status, redact};

/// What an answer tells of a job.
pub(crate) fn snapshot(job: &JobId, exchange: &Exchange) -> Result<Snapshot, Error> {
    if exchange.status == StatusCode::OK
        && exchange.ending == Ending::Complete
        && let Ok(answer) = serde_json::from_slice(&exchange.body)
    {
        return strict(job, answer, &exchange.headers);
    }
    lenient(job, exchange)
}

/// An answer that the generated types took, and the headers that came with it.
fn strict(job: &JobId, answer: GetVideoInfoResponse, headers: &HeaderMap) -> Result<Snapshot, Error> {
    let http = |error: Error| error.with_http(StatusCode::OK.as_u16(), retry_after(headers));
    let code = BusinessCode(answer.code);
    if code != BusinessCode::SUCCESS {
        return Err(http(Error::business(code, &answer.msg)));
    }
    let details = answer.data.ok_or_else(|| http(undecodable("the answer has no `data`")))?;
    let status = details.video_status.ok_or_else(|| http(no_status()))?;
    Ok(Snapshot::new(job.clone(), status.into(), details, Vec::new()).seen_at(date(headers, DATE)))
}

/// An answer that the generated types refused: read from its bytes, field by field.
pub(crate) fn lenient(job: &JobId, exchange: &Exchange) -> Result<Snapshot, Error> {
    let status = exchange.status.as_u16();
    let now = date(&exchange.headers, DATE);
    read(job, exchange)
        .map(|snapshot| snapshot.seen_at(now))
        .map_err(|error| error.with_http(status, retry_after(&exchange.headers)))
}

fn read(job: &JobId, exchange: &Exchange) -> Result<Snapshot, Error> {
    match envelope(exchange)?.remove("data") {
        Some(Value::Object(data)) => job_data(job, data),
        None => Err(undecodable("the answer has no `data`")),
        Some(other) => Err(undecodable(&format!("`data` is {}", kind(&other)))),
    }
}

/// The members of an answer whose code is success.
pub(crate) fn opened(exchange: &Exchange) -> Result<Map<String, Value>, Error> {
    envelope(exchange)
        .map_err(|error| error.with_http(exchange.status.as_u16(), retry_after(&exchange.headers)))
}

fn envelope(exchange: &Exchange) -> Result<Map<String, Value>, Error> {
    if let Ending::TooLarge { limit } = exchange.ending
        && exchange.status.is_success()
    {
        return Err(Error::new(ErrorKind::TooLarge, format!("the answer is larger than {limit} bytes")));
    }
    let start = || String::from_utf8_lossy(&exchange.body[..exchange.body.len().min(1024)]);
    let envelope = parse(&exchange.body);
    let code = envelope.as_ref().ok().and_then(|value| integer(value.get("code")?));
    match (code, envelope) {
        (Some(code), Ok(envelope)) if code != BusinessCode::SUCCESS.0 => {
            let message = envelope.get("msg").and_then(Value::as_str).unwrap_or_default();
            Err(Error::business(BusinessCode(code), message))
        }
        _ if !exchange.status.is_success() => Err(Error::http(exchange.status.as_u16(), &start())),
        (Some(_), Ok(Value::Object(members))) => Ok(members),
        (_, Ok(_)) => Err(undecodable(&format!(
            "the answer has no readable `code`; it starts with {}",
            quoted(&start())
        ))),
        (_, Err(_)) if exchange.body.is_empty() => Err(undecodable("the answer is empty")),
        (_, Err(error)) => Err(undecodable(&match coding(&exchange.headers) {
            Some(coding) => format!("the answer is compressed ({coding}), which was not asked for"),
            None => format!("the answer is no JSON ({error}); it starts with {}", quoted(&start())),
        })),
    }
}

/// How the body is encoded, where it is.
fn coding(headers: &HeaderMap) -> Option<String> {
    let coding = headers.get(CONTENT_ENCODING)?.to_str().ok()?;
    (coding != "identity").then(|| redact::excerpt(coding))
}

/// JSON, also behind a byte-order mark, and with bytes that are no UTF-8 in its texts.
pub(crate) fn parse(body: &[u8]) -> serde_json::Result<Value> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    serde_json::from_slice(body)
        .or_else(|error| serde_json::from_str(&String::from_utf8_lossy(body)).map_err(|_| error))
}

/// The job's fields, each on its own: one of the wrong shape is left out, and named.
fn job_data(job: &JobId, data: Map<String, Value>) -> Result<Snapshot, Error> {
    let status = data.get("video_status");
    let status = integer(status.unwrap_or(&Value::Null)).ok_or_else(|| match status {
        None | Some(Value::Null) => no_status(),
        Some(other) => undecodable(&format!("`video_status` is {}", kind(other))),
    })?;
    let mut kept = Map::new();
    let mut dropped = Vec::new();
    for (name, value) in data {
        match value {
            // One level down, each member is tried on its own within an otherwise empty object.
            Value::Object(members) if fits(&name, Value::Object(Map::new())) => {
                let mut inner = Map::new();
                for (member, value) in members {
                    let wrap = |value| Value::Object(Map::from_iter([(member.clone(), value)]));
                    match fitting(&name, value, &wrap) {
                        Some(value) => drop(inner.insert(member, value)),
                        None => dropped.push(format!("/{name}/{member}")),
                    }
                }
                kept.insert(name, Value::Object(inner));
            }
            value => match fitting(&name, value, &|value| value) {
                Some(value) => drop(kept.insert(name, value)),
                None => dropped.push(format!("/{name}")),
            },
        }
    }
    kept.insert("video_status".to_owned(), status.into());
    let details = serde_json::from_value(Value::Object(kept))
        .map_err(|error| undecodable(&format!("`data` cannot be read: {error}")))?;
    dropped.retain(|pointer| pointer != "/video_status");
    dropped.sort();
    Ok(Snapshot::new(job.clone(), Status::from(status), details, dropped))
}

/// The value itself, or the same number or text in the shape that the field takes.
fn fitting(field: &str, value: Value, wrap: &dyn Fn(Value) -> Value) -> Option<Value> {
    let whole = integer(&value).map(Value::from);
    let number = value.as_str().and_then(|text| text.trim().parse::<f64>().ok()).map(Value::from);
    let text = value.as_number().map(|number| Value::from(number.to_string()));
    [Some(value), whole, number, text].into_iter().flatten().find(|value| fits(field, wrap(value.clone())))
}

fn fits(field: &str, value: Value) -> bool {
    let alone = Value::Object(Map::from_iter([(field.to_owned(), value)]));
    serde_json::from_value::<VideoInfoResult>(alone).is_ok()
}

/// A whole number, also as `3.0` or `"3"`.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    /// Up to here an `f64` holds every whole number.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64()?;
            (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "a boolean".to_owned(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {}", quoted(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("`{}`", redact::excerpt(text.trim()))
}

pub(crate) fn undecodable(what: &str) -> Error {
    Error::new(ErrorKind::Undecodable, what)
}

fn no_status() -> Error {
    undecodable("the answer has no `video_status`")
}

fn date(headers: &HeaderMap, name: reqwest::header::HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// `Retry-After` as seconds or as a date; a date counts from the answer's own `Date`, so that
/// two clocks need not agree. What is negative, past or unreadable is none.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long time; the policy bounds it.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = date(headers, RETRY_AFTER)?;
    let now = date(headers, DATE).unwrap_or_else(SystemTime::now);
    until.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn whole_numbers_are_read_in_every_shape() {
        for (json, wanted) in [
            ("3", Some(3)),
            ("3.0", Some(3)),
            ("\"3\"", Some(3)),
            ("\" 3 \"", Some(3)),
            ("-1", Some(-1)),
            ("3.5", None),
            ("1e30", None),
            ("null", None),
            ("\"\"", None),
            ("[3]", None),
            ("true", None),
            ("1e15", Some(1_000_000_000_000_000)),
        ] {
            assert_eq!(integer(&serde_json::from_str(json).unwrap()), wanted, "{json}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_date() {
        let read = |value: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
            if let Some(date) = date {
                headers.insert(DATE, HeaderValue::from_str(date).unwrap());
            }
            retry_after(&headers)
        };
        let date = Some("Sun, 22 Nov 2026 10:00:00 GMT");
        assert_eq!(read("120", None), Some(Duration::from_secs(120)));
        assert_eq!(read("Sun, 22 Nov 2026 10:01:00 GMT", date), Some(Duration::from_secs(60)));
        assert_eq!(read("Sun, 22 Nov 2026 09:00:00 GMT", date), None);
        assert_eq!(read("99999999999999999999999", None), Some(Duration::from_secs(u64::MAX)));
        for nonsense in ["", "-5", "soon", "1.5", "+3"] {
            assert_eq!(read(nonsense, date), None, "{nonsense}");
        }
    }
}
