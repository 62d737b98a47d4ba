//! The operations of an account: the list of languages, and bearer tokens.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::{
    ServiceState,
    create::json_body,
    service_state::{Outcome, json as json_response, refused},
};

/// The supported languages: fewer than the real service has, but with every form of language code.
const LANGUAGES: [(&str, &str); 16] = [
    ("ar", "Arabic"),
    ("de", "German"),
    ("en", "English"),
    ("es", "Spanish"),
    ("fr", "French"),
    ("hi", "Hindi"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("ko", "Korean"),
    ("nl", "Dutch"),
    ("pl", "Polish"),
    ("pt", "Portuguese"),
    ("tr", "Turkish"),
    ("uk", "Ukrainian"),
    ("zh", "Chinese (Mandarin, Simplified)"),
    ("zh-CN-shandong", "Chinese (Jilu Mandarin, Simplified)"),
];

/// Whether a language is supported. Case is ignored.
pub(crate) fn lists(language: &str) -> bool {
    LANGUAGES.iter().any(|(code, _)| code.eq_ignore_ascii_case(language))
}

impl ServiceState {
    /// Invalidates every token that was issued. A request with one gets code 1101, and the next token request gets
    /// a new token.
    pub fn expire_token(&mut self) {
        let (name, number) = match self.token.rsplit_once("-renewed-") {
            Some((name, number)) => (name, number.parse().unwrap_or(0)),
            None => (self.token.as_str(), 0_u32),
        };
        self.token = format!("{name}-renewed-{}", number + 1);
    }

    pub(crate) fn list_languages(&self, request: &Request<Bytes>) -> Outcome {
        if let Err((code, message)) = self.authorize(request.headers()) {
            return refused(code, message);
        }
        let languages: Vec<_> = LANGUAGES
            .iter()
            .map(|(code, name)| {
                let flag = format!("{}/flags/{code}.png", self.base_url);
                json!({ "lang_code": code, "lang_name": name, "url": flag })
            })
            .collect();
        Outcome {
            response: json_response(
                &json!({ "code": 1000, "msg": "OK", "data": { "lang_list": languages } }),
            ),
            job: None,
            summary: format!("{} languages", LANGUAGES.len()),
            violation: None,
        }
    }

    /// Issues a token. The credential is in the body, so the headers are not checked.
    pub(crate) fn get_token(&self, request: &Request<Bytes>) -> Outcome {
        let body = match json_body(request) {
            Ok(body) => body,
            Err(message) => return refused(1003, message),
        };
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("clientId").is_empty() || text("clientSecret").is_empty() {
            return refused(1003, "clientId or clientSecret is missing or empty");
        }
        if text("clientId") != self.client_id || text("clientSecret") != self.api_key {
            return refused(1101, "The client id or its secret is wrong");
        }
        Outcome {
            response: json_response(&json!({ "code": 1000, "token": self.token })),
            job: None,
            summary: "token issued".to_owned(),
            violation: None,
        }
    }
}
