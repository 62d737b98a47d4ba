//! What is shown of a message's values: bounded, on one line, without credentials and signatures.

use serde_json::Value;

/// How much of a text is shown, in characters.
const SHOWN: usize = 80;
/// How many names are listed.
const LISTED: usize = 12;

/// A value in a few words. Of a `secret` one, only its kind.
pub(crate) fn value(value: &Value, secret: bool) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(_) | Value::Number(_) if secret => format!("{} [redacted]", kind(value)),
        Value::String(text) => format!("the string \"{}\"", excerpt(text)),
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(object) if object.is_empty() => "an object without fields".to_owned(),
        Value::Object(object) => format!("an object with {}", names(object.keys())),
        Value::Number(_) | Value::Bool(_) => format!("{} {value}", kind(value)),
    }
}

/// Names in backticks, not all of very many.
pub(crate) fn names<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let more = names.len().saturating_sub(LISTED);
    let mut shown: Vec<_> = names.take(LISTED).map(|name| format!("`{}`", excerpt(name))).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "the boolean",
        Value::Number(number) if number.is_f64() => "the number",
        Value::Number(_) => "the integer",
        Value::String(_) => "the string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Whether a field or parameter of this name is likely to hold what nobody should read.
pub(crate) fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 7] = ["secret", "token", "password", "api-key", "api_key", "apikey", "authorization"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) || matches!(name.as_str(), "signature" | "key" | "cookie")
}

/// The start of a text on one line. What follows `?` or `#` in a link is cut out: it may be a
/// signature; so is a user name before `@`.
pub(crate) fn excerpt(text: &str) -> String {
    // More than can be shown is not looked at; a word that is cut there is cut out as a whole one.
    let end = text.char_indices().nth(SHOWN * 8).map_or(text.len(), |(at, _)| at);
    let mut shown = String::new();
    let mut in_query = false;
    for (at, letter) in text[..end].char_indices() {
        let ends_word = letter.is_whitespace() || letter.is_control() || matches!(letter, '"' | '<' | '>');
        if ends_word {
            in_query = false;
        }
        if in_query {
            continue;
        }
        if matches!(letter, '?' | '#') {
            // A link may be written with its slashes escaped: what looks like a query is one.
            let word = text[at..end].split(char::is_whitespace).next().unwrap_or_default();
            if shown.contains("://") || word.contains('=') {
                in_query = true;
                shown.push_str("?[redacted]");
                continue;
            }
        }
        if letter == '@'
            && let Some(start) = shown.rfind('/')
            && !shown[start..].contains([' ', '"'])
        {
            shown.truncate(start + 1);
            shown.push_str("[redacted]");
        }
        shown.push(if ends_word && letter != '"' && letter != '<' && letter != '>' { ' ' } else { letter });
    }
    match shown.char_indices().nth(SHOWN) {
        Some((at, _)) => {
            shown.truncate(at);
            shown.push('…');
        }
        None if end < text.len() => shown.push('…'),
        None => {}
    }
    shown
}

/// A pointer or a name that came, as long as it is one that a person could have made.
pub(crate) fn bounded(text: &str) -> String {
    const LONGEST: usize = 400;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn signatures_and_credentials_are_not_shown() {
        for (text, wanted) in [
            ("https://cdn.example/a.mp4?Signature=MARKER", "https://cdn.example/a.mp4?[redacted]"),
            ("see https://a.example/#x=MARKER now", "see https://a.example/?[redacted] now"),
            ("https://user:MARKER@a.example/b", "https://[redacted]@a.example/b"),
            (r"https:\/\/cdn.example\/a?Signature=MARKER", r"https:\/\/cdn.example\/a?[redacted]"),
            (r"https:\/\/user:MARKER@a.example", r"https:\/\/[redacted]@a.example"),
            ("why? = c", "why? = c"),
            ("a\n\u{1b}[31mb", "a  [31mb"),
        ] {
            assert_eq!(excerpt(text), wanted);
        }
        assert_eq!(value(&json!("MARKER"), true), "the string [redacted]");
        assert!(["clientSecret", "token", "x-api-key", "Authorization"].into_iter().all(is_secret));
        assert!(!is_secret("video_model_id"));
    }

    #[test]
    fn what_is_shown_is_bounded() {
        assert_eq!(excerpt(&"ü".repeat(100_000)).chars().count(), SHOWN + 1);
        let many: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
        assert!(names(many.iter()).ends_with("`11`, 988 more"));
        assert_eq!(value(&json!(vec![0; 1000]), false), "a list of 1000");
        let link = format!("https://a.example/{}?Signature=MARKER", "x".repeat(1000));
        assert!(!excerpt(&link).contains("MARKER"));
    }
}
