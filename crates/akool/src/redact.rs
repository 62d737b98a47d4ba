//! Text from the service or from a user, in a form that is safe to print: [`link`] and [`excerpt`].
//!
//! All errors and all `Debug` output of this crate use these two functions. Use them when you print
//! such text yourself: links of results may be signed, and a signature is a credential.

use url::Url;

/// The maximum length of an [`excerpt`], in characters.
const MAX_CHARS: usize = 160;

/// Returns the URL without its user name, password, query and fragment, which may be credentials.
///
/// ```
/// let url = url::Url::parse("https://cdn.example/talk.mp4?Signature=abc")?;
/// assert_eq!(akool::redact::link(&url), "https://cdn.example/talk.mp4?[redacted]");
/// # Ok::<(), url::ParseError>(())
/// ```
pub fn link(url: &Url) -> String {
    let mut shown = url.clone();
    let has_query = url.query().is_some() || url.fragment().is_some();
    shown.set_query(None);
    shown.set_fragment(None);
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    if has_query { format!("{shown}?[redacted]") } else { shown.into() }
}

/// Returns the first 160 characters of a text, on one line, without control characters and without the
/// parts of links that may be credentials.
///
/// It removes each query or fragment (from `?name=` or `#name=` to the next space, quotation mark or
/// angle bracket) and each user name before a host, even if the link around it is malformed. A longer
/// text ends with `…`.
///
/// ```
/// use akool::redact::excerpt;
///
/// assert_eq!(excerpt("see https://cdn.example/a?sig=abc\nbye"), "see https://cdn.example/a?[redacted] bye");
/// assert_eq!(excerpt("ftp://user:password@host"), "ftp://[redacted]@host");
/// ```
pub fn excerpt(text: &str) -> String {
    let ends = |letter: char| letter.is_whitespace() || letter.is_control() || "\"<>".contains(letter);
    let mut shown = String::new();
    let mut rest = text;
    for _ in 0..MAX_CHARS {
        let Some(letter) = rest.chars().next() else {
            return shown;
        };
        let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
        if is_query(word) {
            shown.push_str("?[redacted]");
            rest = &rest[word.len()..];
        } else if let Some(end) = user_end(word) {
            shown.push_str("//[redacted]@");
            rest = &rest[end..];
        } else {
            // A control character could change the terminal, and a line break could fake a log line.
            shown.push(if letter.is_control() || letter.is_whitespace() { ' ' } else { letter });
            rest = &rest[letter.len_utf8()..];
        }
    }
    if !rest.is_empty() {
        shown.push('…');
    }
    shown
}

/// Returns whether a word starts with `?name=` or `#name=`.
fn is_query(word: &str) -> bool {
    let Some(query) = word.strip_prefix(['?', '#']) else {
        return false;
    };
    query.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || "-_.~%[]+".contains(letter))
    })
}

/// Returns the length of `//user:password@` at the start of a word.
fn user_end(word: &str) -> Option<usize> {
    let authority = word.strip_prefix("//")?;
    let authority = &authority[..authority.find(['/', '\\']).unwrap_or(authority.len())];
    Some(2 + authority.rfind('@')? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_user_names_are_removed() {
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
        ] {
            assert_eq!(excerpt(body), wanted);
        }
    }

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        let shown = excerpt(&format!("a\n\x1b[31m{}", "x".repeat(1000)));
        assert!(shown.starts_with("a  [31mxx") && shown.ends_with('…'));
        assert_eq!(shown.chars().count(), MAX_CHARS + 1);
    }
}
