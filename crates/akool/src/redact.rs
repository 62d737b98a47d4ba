//! What is shown of foreign text: links without their signed part, no control characters, bounded.

use url::Url;

/// How much of a foreign text is shown, in characters.
const SHOWN: usize = 160;

/// A link without its query and fragment, which may be a signature.
pub(crate) fn link(url: &Url) -> String {
    let mut shown = url.clone();
    let hidden = url.query().is_some() || url.fragment().is_some();
    shown.set_query(None);
    shown.set_fragment(None);
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    if hidden { format!("{shown}?[redacted]") } else { shown.into() }
}

/// The start of a text, on one line: every query (`?name=` or `#name=` up to the next blank,
/// quotation mark or angle bracket) and every user name in a link is cut out, whatever the link
/// around it looks like.
pub(crate) fn excerpt(text: &str) -> String {
    let ends = |letter: char| letter.is_whitespace() || letter.is_control() || "\"<>".contains(letter);
    let mut shown = String::new();
    let mut rest = text;
    for _ in 0..SHOWN {
        let Some(letter) = rest.chars().next() else {
            return shown;
        };
        let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
        if is_query(word) {
            shown.push_str("?[redacted]");
            rest = &rest[word.len()..];
        } else if let Some(user) = user(word) {
            shown.push_str("//[redacted]@");
            rest = &rest[user..];
        } else {
            // No control character reaches a terminal, and no line break a log.
            shown.push(if letter.is_control() || letter.is_whitespace() { ' ' } else { letter });
            rest = &rest[letter.len_utf8()..];
        }
    }
    if !rest.is_empty() {
        shown.push('…');
    }
    shown
}

/// Whether a word starts with `?name=` or `#name=`.
fn is_query(word: &str) -> bool {
    let Some(query) = word.strip_prefix(['?', '#']) else {
        return false;
    };
    query.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || "-_.~%[]+".contains(letter))
    })
}

/// Where the user name of a word that starts with `//user:password@` ends.
fn user(word: &str) -> Option<usize> {
    let authority = word.strip_prefix("//")?;
    let authority = &authority[..authority.find(['/', '\\']).unwrap_or(authority.len())];
    Some(2 + authority.rfind('@')? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_cut_out() {
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
    fn what_is_shown_is_bounded_and_on_one_line() {
        let shown = excerpt(&format!("a\n\x1b[31m{}", "x".repeat(1000)));
        assert!(shown.starts_with("a  [31mxx") && shown.ends_with('…'));
        assert_eq!(shown.chars().count(), SHOWN + 1);
    }
}
