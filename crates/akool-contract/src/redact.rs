//! How values of a message are shown: bounded, on one line, without credentials and without the paths of links.

use serde_json::Value;

/// How much of a text is shown, in characters.
const MAX_EXCERPT: usize = 80;
/// How many names are listed.
const MAX_NAMES: usize = 12;
/// How much of a pointer is shown, in characters.
const MAX_POINTER: usize = 400;

/// A value in a few words. For a `secret` value, only its type.
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

/// The first names in backticks and the number of the others, or "none".
pub(crate) fn names<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    if names.len() == 0 {
        return "none".to_owned();
    }
    let more = names.len().saturating_sub(MAX_NAMES);
    let mut shown: Vec<_> = names.take(MAX_NAMES).map(|name| format!("`{}`", excerpt(name))).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

/// Values from the description, which need no redaction.
pub(crate) fn list(values: &[Value]) -> String {
    values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
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

/// Whether a field or parameter of this name is likely to hold a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 7] = ["secret", "token", "password", "api-key", "api_key", "apikey", "authorization"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) || matches!(name.as_str(), "signature" | "key" | "cookie")
}

/// The start of a text on one line. Of a link, only the host is shown, because the path may give access to a file.
pub(crate) fn excerpt(text: &str) -> String {
    // Links shrink when they are redacted, so read more than is shown.
    let end = text.char_indices().nth(MAX_EXCERPT * 8).map_or(text.len(), |(at, _)| at);
    let mut shown = String::new();
    let (mut in_host, mut in_query) = (false, false);
    for (at, letter) in text[..end].char_indices() {
        let is_blank = letter.is_whitespace() || is_unsafe(letter);
        let ends_word = is_blank || matches!(letter, '"' | '<' | '>');
        if ends_word {
            (in_host, in_query) = (false, false);
        }
        if in_query {
            continue;
        }
        in_host |= shown.ends_with("://") || shown.ends_with(r":\/\/");
        if in_host && matches!(letter, '/' | '\\') {
            (in_host, in_query) = (false, true);
            shown.push_str("/[redacted]");
            continue;
        }
        if matches!(letter, '?' | '#') {
            // Slashes may be escaped in a link, so anything that looks like a query counts as one.
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
        shown.push(if is_blank { ' ' } else { letter });
    }
    match shown.char_indices().nth(MAX_EXCERPT) {
        Some((at, _)) => {
            shown.truncate(at);
            shown.push('…');
        }
        None if end < text.len() => shown.push('…'),
        None => {}
    }
    shown
}

/// The start of a pointer on one line. The sender of a message chooses its steps.
pub(crate) fn pointer(text: &str) -> String {
    let plain = |letter| if is_unsafe(letter) { ' ' } else { letter };
    let mut shown: String = text.chars().take(MAX_POINTER).map(plain).collect();
    if text.chars().nth(MAX_POINTER).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a terminal or a log acts on a character: controls, line separators, invisible ones and changes of direction.
fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn excerpts_contain_no_paths_of_links_and_no_credentials() {
        for (text, wanted) in [
            ("https://cdn.example/MARKER.mp4?Signature=MARKER", "https://cdn.example/[redacted]"),
            ("see https://a.example/#x=MARKER now/then", "see https://a.example/[redacted] now/then"),
            ("https://a.example?x=MARKER", "https://a.example?[redacted]"),
            ("https://user:MARKER@a.example/MARKER", "https://[redacted]@a.example/[redacted]"),
            (r"https:\/\/cdn.example\/MARKER?Signature=MARKER", r"https:\/\/cdn.example/[redacted]"),
            (r"https:\/\/user:MARKER@a.example", r"https:\/\/[redacted]@a.example"),
            ("why? = c", "why? = c"),
            ("a\n\u{1b}[31mb\u{202e}c\u{200b}d", "a  [31mb c d"),
        ] {
            assert_eq!(excerpt(text), wanted);
        }
        assert_eq!(value(&json!("MARKER"), true), "the string [redacted]");
        assert!(["clientSecret", "token", "x-api-key", "Authorization"].into_iter().all(is_secret));
        assert!(!is_secret("video_model_id"));
    }

    #[test]
    fn a_pointer_is_one_bounded_line_of_plain_text() {
        assert_eq!(pointer("/body/a\r\n::error::\u{1b}[31m\u{9b}b\u{202e}c"), "/body/a  ::error:: [31m b c");
        assert_eq!(pointer(&"ü".repeat(MAX_POINTER)).chars().count(), MAX_POINTER);
        assert_eq!(pointer(&"ü".repeat(MAX_POINTER + 1)).chars().count(), MAX_POINTER + 1);
        assert!(pointer(&"ü".repeat(MAX_POINTER + 1)).ends_with('…'));
    }

    #[test]
    fn excerpts_of_huge_values_are_short() {
        assert_eq!(excerpt(&"ü".repeat(100_000)).chars().count(), MAX_EXCERPT + 1);
        let many: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
        assert!(names(many.iter()).ends_with("`11`, 988 more"));
        assert_eq!(value(&json!(vec![0; 1000]), false), "a list of 1000");
        let link = format!("https://a.example/{}?Signature=MARKER", "x".repeat(1000));
        assert!(!excerpt(&link).contains("MARKER"));
    }
}
