//! Cuts the credentials of a request out of everything that is printed about it: [`Mask`].

use http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION},
};
use serde_json::Value;

/// Shorter texts are too common to be cut out. A longer one is also cut out if only its start is shown.
const MIN_LENGTH: usize = 8;
/// How many credentials of a body are cut out. Those that are left are hidden by the names of their fields.
const MAX_SECRETS: usize = 100;

/// The credentials of one exchange.
#[derive(Default)]
pub(super) struct Mask(Vec<String>);

impl Mask {
    pub(super) fn add_headers(&mut self, headers: &HeaderMap) {
        for (name, value) in headers {
            let is_credential = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name)
                || is_secret(name.as_str())
                || value.is_sensitive();
            if is_credential {
                let value = String::from_utf8_lossy(value.as_bytes());
                self.0.extend(value.split([' ', ';', '=']).map(str::to_owned));
            }
        }
    }

    /// Adds the values of query parameters and form fields whose names say that they are secret.
    pub(super) fn add_query(&mut self, query: &str) {
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if is_secret(&name) {
                self.0.push(value.into_owned());
            }
        }
    }

    /// Adds the fields of a body whose names say that they are secret.
    pub(super) fn add_body(&mut self, body: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
        self.add_value(&value);
    }

    fn add_value(&mut self, value: &Value) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    match value {
                        Value::String(text) if is_secret(name) && self.0.len() < MAX_SECRETS => {
                            self.0.push(text.clone());
                        }
                        _ => self.add_value(value),
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| self.add_value(value)),
            _ => {}
        }
    }

    /// The text with `[redacted]` in place of each credential and of each start of one.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            // Several credentials may start alike.
            let shown = self.0.iter().map(|secret| common(rest, secret)).max_by_key(|shown| shown.len());
            match shown.filter(|shown| shown.chars().nth(MIN_LENGTH - 1).is_some()) {
                Some(shown) => {
                    masked.push_str("[redacted]");
                    rest = &rest[shown.len()..];
                }
                None => {
                    masked.push(letter);
                    rest = &rest[letter.len_utf8()..];
                }
            }
        }
        masked
    }

    /// Applies it to every text in a value. The names of its members are ours.
    pub(super) fn apply_to(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.apply(text),
            Value::Array(list) => list.iter_mut().for_each(|value| self.apply_to(value)),
            Value::Object(object) => object.values_mut().for_each(|value| self.apply_to(value)),
            _ => {}
        }
    }
}

/// The start of a text that is also the start of a secret.
fn common<'a>(text: &'a str, secret: &str) -> &'a str {
    let same = text.chars().zip(secret.chars()).take_while(|(a, b)| a == b);
    &text[..same.map(|(letter, _)| letter.len_utf8()).sum()]
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["secret", "token", "password", "key", "auth"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_cut_out_wherever_they_are_shown() {
        let mut mask = Mask::default();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer MARKER-one-1".parse().unwrap());
        headers.insert("x-api-key", "MARKER-two-2".parse().unwrap());
        headers.insert("cookie", "a=MARKER-three".parse().unwrap());
        mask.add_headers(&headers);
        mask.add_query("page=1&api_key=MARKER-four%2B");
        mask.add_body(br#"{"a": [{"clientSecret": "MARKER-five-5", "page": "something else"}]}"#);
        let text =
            "MARKER-one-1 Bearer (MARKER-two-2, MARKER-three, MARKER-four+) MARKER-fiv… page something else";
        assert_eq!(
            mask.apply(text),
            "[redacted] Bearer ([redacted], [redacted], [redacted]) [redacted]… page something else"
        );
        let mut itself = Mask::default();
        itself.add_query("key=[redacted]");
        assert_eq!(itself.apply("a [redacted] [redacted]"), "a [redacted] [redacted]");
        let mut value = serde_json::json!({ "list": [{ "actual": "the string \"MARKER-two-2\"" }] });
        mask.apply_to(&mut value);
        assert_eq!(value.to_string(), r#"{"list":[{"actual":"the string \"[redacted]\""}]}"#);
    }
}
