//! The operations of an account: the list of languages, credits, and bearer tokens.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::{
    answer::Outcome,
    request::{Call, FLAGS},
    service_state::{CLIENT_ID, ServiceState},
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
    /// Lists the supported languages.
    pub(crate) fn list_languages(&self, request: &Request<Bytes>) -> Outcome {
        if let Err((code, message)) = self.authorize(request.headers()) {
            return Outcome::rejected(code, message);
        }
        let languages: Vec<_> = LANGUAGES
            .iter()
            .map(|(code, name)| {
                let flag = format!("{}{FLAGS}{code}.png", self.base_url);
                json!({ "lang_code": code, "lang_name": name, "url": flag })
            })
            .collect();
        let answer = json!({ "code": 1000, "msg": "OK", "data": { "lang_list": languages } });
        Outcome::json(&answer, format!("{} languages", LANGUAGES.len()))
    }

    /// Returns the credits that the account has left.
    pub(crate) fn get_credits(&self, request: &Request<Bytes>) -> Outcome {
        if let Err((code, message)) = self.authorize(request.headers()) {
            return Outcome::rejected(code, message);
        }
        let answer = json!({ "code": 1000, "msg": "OK", "data": { "credit": self.credits } });
        Outcome::json(&answer, format!("{} credits", self.credits))
    }

    /// Issues a token. The credential is in the body, so the headers are not checked.
    pub(crate) fn get_token(&self, call: &Call<'_>) -> Outcome {
        let body = match call.body() {
            Ok(body) => body,
            Err(refusal) => return Outcome::rejected(1003, &refusal),
        };
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("clientId").is_empty() || text("clientSecret").is_empty() {
            return Outcome::rejected(1003, "clientId or clientSecret is empty");
        }
        if text("clientId") != CLIENT_ID || text("clientSecret") != self.api_key {
            return Outcome::rejected(1101, "The client id or its secret is wrong");
        }
        Outcome::json(&json!({ "code": 1000, "token": self.token }), "token issued")
    }
}
