//! Makes text from outside safe to show: links without what grants access, no control characters, a bounded length.
//!
//! The crate passes through this module whatever a server sent before it puts it into an error or a log. Programs
//! that print such text themselves, such as the reason why a job failed, can use the same functions.

use std::fmt::{self, Write as _};

use url::Url;

/// How many characters of a text are shown.
const MAX_CHARS: usize = 160;

/// A link without its query, fragment and user name, which may grant access.
///
/// ```
/// let url = "https://user:pw@cdn.example/a.mp4?Signature=secret".parse()?;
/// assert_eq!(akool::redact::link(&url), "https://cdn.example/a.mp4?[redacted]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn link(url: &Url) -> String {
    let mut shown = url.clone();
    let hidden = url.query().is_some() || url.fragment().is_some();
    shown.set_query(None);
    shown.set_fragment(None);
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    if hidden { format!("{shown}?[redacted]") } else { shown.into() }
}

/// The host of a link to a file, and the file's extension. The path of such a link alone gives access to the file.
///
/// ```
/// let url = "https://cdn.example/translations/a.mp4".parse()?;
/// assert_eq!(akool::redact::file_link(&url), "https://cdn.example/[redacted].mp4");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn file_link(url: &Url) -> String {
    let origin = url.origin().ascii_serialization();
    let name = url.path().rsplit('/').next().unwrap_or_default();
    match name.rsplit_once('.') {
        Some((_, extension)) if is_extension(extension) => format!("{origin}/[redacted].{extension}"),
        _ => format!("{origin}/[redacted]"),
    }
}

fn is_extension(text: &str) -> bool {
    (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The first 160 characters of a text, on one line, safe for a terminal and a log.
///
/// In a link, everything from the first `?` or `#` to the next blank, quotation mark or angle bracket is cut out, and
/// so is the user name. Elsewhere, what looks like a query (`?name=` or `#name=`) is cut out. Control characters, line separators, zero-width
/// characters and characters that change the direction of text become blanks.
///
/// ```
/// assert_eq!(akool::redact::excerpt("see https://x.example/?a=secret\nnext"), "see https://x.example/?[redacted] next");
/// ```
pub fn excerpt(text: &str) -> String {
    shorten(text, false)
}

/// The same for the body of a response: of links, only the host is shown, because they may lead to files.
pub(crate) fn body(text: &str) -> String {
    shorten(text, true)
}

fn shorten(text: &str, hides_paths: bool) -> String {
    let ends_word = |c: char| c.is_whitespace() || is_unsafe(c) || "\"<>".contains(c);
    let mut shown = String::new();
    let mut rest = text;
    let (mut in_link, mut in_host) = (false, false);
    for _ in 0..MAX_CHARS {
        let Some(c) = rest.chars().next() else {
            return shown;
        };
        let word = &rest[..rest.find(ends_word).unwrap_or(rest.len())];
        in_link = !word.is_empty() && (in_link || word.starts_with("://") || word.starts_with(r":\/\/"));
        in_host = in_link && (in_host || shown.ends_with("://") || shown.ends_with(r":\/\/"));
        if hides_paths && in_host && matches!(c, '/' | '\\') {
            shown.push_str("/[redacted]");
            rest = &rest[word.len()..];
        } else if in_link && word.len() > 1 && word.starts_with(['?', '#']) || is_query(word) {
            shown.push_str("?[redacted]");
            rest = &rest[word.len()..];
        } else if let Some(end) = end_of_user(word) {
            shown.push_str("//[redacted]@");
            in_host = true;
            rest = &rest[end..];
        } else {
            shown.push(if is_unsafe(c) || c.is_whitespace() { ' ' } else { c });
            rest = &rest[c.len_utf8()..];
        }
    }
    if !rest.is_empty() {
        shown.push('…');
    }
    shown
}

/// Writes a text, with an escape in place of each character that is not safe on a terminal.
pub(crate) fn fmt_escaped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !text.contains(is_unsafe) {
        return f.pad(text);
    }
    text.chars()
        .try_for_each(|c| if is_unsafe(c) { write!(f, "{}", c.escape_unicode()) } else { f.write_char(c) })
}

/// Whether a character can change what a terminal shows of the text around it.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a word starts with `?name=` or `#name=`.
fn is_query(word: &str) -> bool {
    let Some(query) = word.strip_prefix(['?', '#']) else {
        return false;
    };
    // `\u003d` is how some services write `=` in JSON.
    query.split_once('=').or_else(|| query.split_once(r"\u003d")).is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_.~%[]+&;:".contains(c))
    })
}

/// The end of the user name in a word that starts with `//user:password@`.
fn end_of_user(word: &str) -> Option<usize> {
    let authority = word.strip_prefix("//")?;
    let authority = &authority[..authority.find(['/', '\\']).unwrap_or(authority.len())];
    Some(2 + authority.rfind('@')? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_user_names_are_cut_out() {
        let url = Url::parse("https://user:pw@cdn.example/a.mp4?Signature=MARKER#MARKER").unwrap();
        assert_eq!(link(&url), "https://cdn.example/a.mp4?[redacted]");
        for (body, wanted) in [
            (
                r#"{"video":"https://cdn.example/a?Sig=MARKER","x":"why? = c"}"#,
                r#"{"video":"https://cdn.example/a?[redacted]","x":"why? = c"}"#,
            ),
            (
                r#""https:\/\/cdn.example\/a.mp4?Signature=MARKER&x=MARKER","#,
                r#""https:\/\/cdn.example\/a.mp4?[redacted]","#,
            ),
            (
                "https://cdn.example/it's.mp4?Signature=MARKER'`}MARKER end",
                "https://cdn.example/it's.mp4?[redacted] end",
            ),
            ("see https://x.example/#a=MARKER\nFAKE LINE", "see https://x.example/?[redacted] FAKE LINE"),
            ("https://user:MARKER@x.example:99999", "https://[redacted]@x.example:99999"),
            ("https://x.example?token=MARKER", "https://x.example?[redacted]"),
            ("https://x.example/a?dl&Signature=MARKER", "https://x.example/a?[redacted]"),
            (r"https:\/\/x.example\/a?a:b=MARKER", r"https:\/\/x.example\/a?[redacted]"),
            ("https://x.example/a#MARKER", "https://x.example/a?[redacted]"),
            (r"/a?Signature\u003dMARKER why?", "/a?[redacted] why?"),
            ("is it https://x.example/a? Yes", "is it https://x.example/a? Yes"),
        ] {
            assert_eq!(excerpt(body), wanted);
        }
    }

    #[test]
    fn of_links_to_files_only_host_and_extension_are_shown() {
        for (url, wanted) in [
            ("https://user:pw@cdn.example/a/MARKER.mp4?MARKER#MARKER", "https://cdn.example/[redacted].mp4"),
            ("http://127.0.0.1:80/files/MARKER/x.srt", "http://127.0.0.1/[redacted].srt"),
            ("http://[::1]:4010/MARKER.a-long-one", "http://[::1]:4010/[redacted]"),
            ("https://cdn.example/v1.MARKER", "https://cdn.example/[redacted]"),
            ("https://cdn.example", "https://cdn.example/[redacted]"),
        ] {
            assert_eq!(file_link(&Url::parse(url).unwrap()), wanted);
        }
        for (text, wanted) in [
            (
                r#"{"video":"https://cdn.example/MARKER.mp4","x":"a/b"}"#,
                r#"{"video":"https://cdn.example/[redacted]","x":"a/b"}"#,
            ),
            (r"https:\/\/cdn.example\/MARKER\/v.mp4 a/b", r"https:\/\/cdn.example/[redacted] a/b"),
            (
                "see https://u:MARKER@cdn.example/MARKER?MARKER",
                "see https://[redacted]@cdn.example/[redacted]",
            ),
            ("https://cdn.example?a=MARKER", "https://cdn.example?[redacted]"),
        ] {
            assert_eq!(body(text), wanted);
        }
    }

    #[test]
    fn an_excerpt_is_bounded_on_one_line_and_harmless_on_a_terminal() {
        let shown = excerpt(&format!("a\n\x1b[31m{}", "x".repeat(1000)));
        assert!(shown.starts_with("a  [31mxx") && shown.ends_with('…'));
        assert_eq!(shown.chars().count(), MAX_CHARS + 1);
        let tricks = "a\u{202e}b\u{200b}c\u{2028}d\u{feff}e\u{2066}f\u{9b}g\u{85}h\u{e0041}i";
        assert_eq!(excerpt(tricks), "a b c d e f g h i");
    }

    #[test]
    fn unsafe_characters_of_an_id_are_escaped() {
        assert_eq!(crate::JobId::from("a\u{202e}\x1bb").to_string(), "a\\u{202e}\\u{1b}b");
        assert_eq!(format!("{:>4}", crate::JobId::from("ab")), "  ab");
    }
}
