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

/// The start of a text, on one line, with the query of every link in it cut out.
pub(crate) fn excerpt(text: &str) -> String {
    let mut shown = String::new();
    let mut count = 0;
    let mut in_link = false;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        if count == SHOWN {
            shown.push('…');
            break;
        }
        if text[at..].starts_with("://") {
            in_link = true;
        } else if letter.is_whitespace() || matches!(letter, '"' | '\'' | '<' | '>' | '`' | '}') {
            in_link = false;
        }
        if in_link && matches!(letter, '?' | '#') {
            shown.push_str("?[redacted]");
            in_link = false;
            for (_, letter) in letters.by_ref() {
                if letter.is_whitespace() || matches!(letter, '"' | '\'' | '<' | '>' | '`') {
                    shown.push(letter);
                    break;
                }
            }
            count += 1;
            continue;
        }
        if letter.is_control() {
            // Escape sequences of a terminal among them.
            shown.push(' ');
        } else {
            shown.push(letter);
        }
        count += 1;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_cut_out() {
        let url = Url::parse("https://user:pw@cdn.example/a.mp4?Signature=MARKER#MARKER").unwrap();
        assert_eq!(link(&url), "https://cdn.example/a.mp4?[redacted]");
        let body = r#"{"video":"https://cdn.example/a?Sig=MARKER","x":"why?","y":"http://b#MARKER"#;
        let shown = excerpt(body);
        assert_eq!(
            shown,
            r#"{"video":"https://cdn.example/a?[redacted]","x":"why?","y":"http://b?[redacted]"#
        );
    }

    #[test]
    fn what_is_shown_is_bounded_and_on_one_line() {
        let shown = excerpt(&format!("a\n\x1b[31m{}", "x".repeat(1000)));
        assert!(shown.starts_with("a  [31mxx") && shown.ends_with('…'));
        assert_eq!(shown.chars().count(), SHOWN + 1);
    }
}
