//! What may stay in a recorded message, and what takes the place of the rest: only what the description itself contains
//! stays, because any other text may hold a secret or a name.

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::Value;

use crate::contract::Contract;

/// The replacement for a text.
pub(crate) const REDACTED: &str = "[redacted]";

/// Fields whose value is the code of a language.
const LANGUAGES: [&str; 3] = ["language", "lang_code", "source_language"];
/// The media types that stay.
const MEDIA_TYPES: [&str; 8] = [
    "application/json",
    "application/xml",
    "application/octet-stream",
    "text/html",
    "text/plain",
    "text/xml",
    "video/mp4",
    "*/*",
];
/// The compressions that stay.
const ENCODINGS: [&str; 5] = ["gzip", "br", "deflate", "zstd", "identity"];
/// The file extensions that stay.
const EXTENSIONS: [&str; 7] = ["mp4", "mov", "webm", "srt", "vtt", "json", "html"];

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let compiled = &Contract::resolved().compiled;
    let mut words = Words::default();
    words.paths.extend(compiled.operations.iter().map(|operation| operation.path.clone()));
    for operation in compiled.operations.iter().chain(&compiled.callbacks) {
        words.names.extend(operation.parameters.iter().map(|parameter| parameter.name.clone()));
    }
    compiled.documents().for_each(|schemas| words.collect(schemas));
    words
});

/// What the description contains.
#[derive(Default)]
struct Words {
    paths: BTreeSet<String>,
    /// Of properties and parameters.
    names: BTreeSet<String>,
    /// The values of enumerations.
    values: BTreeSet<String>,
}

impl Words {
    fn collect(&mut self, value: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(properties) = object.get("properties").and_then(Value::as_object) {
                    self.names.extend(properties.keys().cloned());
                }
                let values = object.get("enum").and_then(Value::as_array);
                self.values.extend(values.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
                object.values().for_each(|member| self.collect(member));
            }
            Value::Array(list) => list.iter().for_each(|element| self.collect(element)),
            _ => {}
        }
    }
}

/// Whether it is the name of a documented field or parameter.
pub(crate) fn is_documented(name: &str) -> bool {
    WORDS.names.contains(name)
}

pub(crate) fn path(path: &str) -> &str {
    if WORDS.paths.contains(path) { path } else { "/undocumented" }
}

/// What takes the place of a text in the field of this documented name.
pub(crate) fn text(text: &str, name: &str) -> String {
    let is_code = LANGUAGES.contains(&name)
        && text.len() <= 12
        && text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-' || byte == b',');
    if text.is_empty() || is_code || WORDS.values.contains(text) || (name == "msg" && text == "OK") {
        return text.to_owned();
    }
    if text.contains("://") { link(text, name) } else { REDACTED.to_owned() }
}

/// A link to nothing. It keeps the extension of the file.
fn link(text: &str, name: &str) -> String {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let extension =
        path.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map(|(_, extension)| extension);
    match extension.filter(|extension| EXTENSIONS.contains(extension)) {
        Some(extension) => format!("https://redacted.example/{name}.{extension}"),
        None => format!("https://redacted.example/{name}"),
    }
}

/// What takes the place of a header's value. `None` if the header is left out.
pub(crate) fn header(name: &str, value: &str) -> Option<String> {
    let value = value.trim();
    let known = |list: &[&str], value: &str| {
        let known = list.iter().find(|known| known.eq_ignore_ascii_case(value.trim()));
        known.map_or(REDACTED, |known| *known).to_owned()
    };
    Some(match name {
        "authorization" => format!("Bearer {REDACTED}"),
        "x-api-key" => REDACTED.to_owned(),
        "content-type" | "accept" => {
            let (media_type, parameters) = value.split_once(';').unwrap_or((value, ""));
            let is_utf_8 = parameters.trim().eq_ignore_ascii_case("charset=utf-8");
            known(&MEDIA_TYPES, media_type) + if is_utf_8 { "; charset=utf-8" } else { "" }
        }
        "content-encoding" => known(&ENCODINGS, value),
        "retry-after" if value.len() <= 12 && value.parse::<i64>().is_ok() => value.to_owned(),
        "retry-after" if is_date(value) => value.to_owned(),
        "retry-after" => REDACTED.to_owned(),
        "location" => link(value, name),
        _ => return None,
    })
}

/// `Sun, 22 Nov 2026 10:00:00 GMT`
fn is_date(value: &str) -> bool {
    const FORM: &[u8] = b"Aaa, 00 Aaa 0000 00:00:00 GMT";
    value.len() == FORM.len()
        && value.bytes().zip(FORM).all(|(byte, form)| match form {
            b'A' => byte.is_ascii_uppercase(),
            b'a' => byte.is_ascii_lowercase(),
            b'0' => byte.is_ascii_digit(),
            form => byte == *form,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_description_contains_stays() {
        for (name, value, wanted) in [
            ("msg", "OK", "OK"),
            ("msg", "no voice in MARKER", REDACTED),
            ("language", "es,zh-CN", "es,zh-CN"),
            ("language", "MARKER-MARKER", REDACTED),
            ("style", "professional", "professional"),
            ("error_reason", "call +1 555 0100", REDACTED),
            ("video", "", ""),
            (
                "video",
                "https://cdn.example/MARKER/a.mp4?Signature=MARKER#MARKER",
                "https://redacted.example/video.mp4",
            ),
            ("video", "see https://cdn.example/a.MARKER", "https://redacted.example/video"),
            ("url", "MARKER@example.com", REDACTED),
        ] {
            assert_eq!(text(value, name), wanted, "{name}: {value}");
        }
        assert!(is_documented("video_status") && is_documented("video_model_id") && !is_documented("MARKER"));
        assert_eq!(
            path("/api/open/v3/content/video/infobymodelid"),
            "/api/open/v3/content/video/infobymodelid"
        );
        assert_eq!(path("/MARKER"), "/undocumented");
    }

    #[test]
    fn a_header_stays_only_as_a_media_type_an_integer_or_a_date() {
        for (name, value, wanted) in [
            ("content-type", "application/json; charset=UTF-8", Some("application/json; charset=utf-8")),
            ("content-type", "application/MARKER", Some(REDACTED)),
            ("content-type", "text/html; MARKER", Some("text/html")),
            ("content-encoding", "GZIP", Some("gzip")),
            ("retry-after", "120", Some("120")),
            ("retry-after", "-5", Some("-5")),
            ("retry-after", "Sun, 22 Nov 2026 10:00:00 GMT", Some("Sun, 22 Nov 2026 10:00:00 GMT")),
            ("retry-after", "MARKER", Some(REDACTED)),
            ("retry-after", "12345678901234567890", Some(REDACTED)),
            ("location", "https://a.example/MARKER", Some("https://redacted.example/location")),
            ("x-api-key", "MARKER", Some(REDACTED)),
            ("set-cookie", "MARKER", None),
        ] {
            assert_eq!(header(name, value).as_deref(), wanted, "{name}: {value}");
        }
    }
}
