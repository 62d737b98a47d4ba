//! What an account can ask for beside its jobs: languages, and a bearer token.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::{
    ServiceState,
    create::json_body,
    service_state::{Outcome, json as json_response, refused},
};

/// The languages of the mock server: fewer than the service's, and of every kind of code.
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

/// Whether the list of languages has it, in letters of any case.
pub(crate) fn lists(language: &str) -> bool {
    LANGUAGES.iter().any(|(code, _)| code.eq_ignore_ascii_case(language))
}

impl ServiceState {
    /// Makes every token that was given out so far worthless: the next request with one meets code
    /// 1101, and the next request for a token gets a new one.
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

    /// Takes no other credential than the one in the body.
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
            return refused(1101, "The client id or its secret is not known");
        }
        Outcome {
            response: json_response(&json!({ "code": 1000, "token": self.token })),
            job: None,
            summary: "a token".to_owned(),
            violation: None,
        }
    }
}
