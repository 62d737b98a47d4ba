//! A request before it is sent, and whether two requests ask for the same work: [`Intent`].

use std::{fmt, time::SystemTime};

use akool::{Language, Translate, redact};
use serde_json::{Map, Value};
use url::Url;

use crate::error::{EnsureError, LedgerError};

/// A request that is about to be sent.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Intent {
    /// The base URL of the service.
    pub base_url: String,
    /// The target languages.
    pub languages: Vec<Language>,
    /// The members of the request as they will be sent. The URL of the video may be signed, so protect
    /// it.
    pub request: Map<String, Value>,
    /// The time of the request.
    pub at: SystemTime,
    /// Whether to send the request even if the ledger has the same work already.
    pub allow_duplicate: bool,
}

/// Without the queries of the links, which may grant access.
impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intent")
            .field("base_url", &self.base_url)
            .field("languages", &self.languages)
            .field("request", &shown(&self.request))
            .field("at", &self.at)
            .field("allow_duplicate", &self.allow_duplicate)
            .finish()
    }
}

/// Returns the start of a request as JSON, without the queries of its links.
pub(crate) fn shown(request: &Map<String, Value>) -> String {
    redact::excerpt(&serde_json::to_string(request).unwrap_or_default())
}

impl Intent {
    /// Creates an intent by hand, for tests of a ledger.
    pub fn new(base_url: impl Into<String>, languages: Vec<Language>, request: Map<String, Value>) -> Self {
        Self { base_url: base_url.into(), languages, request, at: SystemTime::now(), allow_duplicate: false }
    }

    pub(crate) fn of(translate: &Translate, allow_duplicate: bool) -> Result<Self, EnsureError> {
        let request = translate.request().map_err(|error| EnsureError::NotCreated(error.into()))?;
        let Value::Object(request) = serde_json::to_value(request).map_err(LedgerError::new)? else {
            return Err(LedgerError::new("the request is not a JSON object").into());
        };
        let base_url = translate.client().base_url();
        Ok(Self { allow_duplicate, ..Self::new(base_url, translate.languages().to_vec(), request) })
    }

    /// Returns whether an earlier request asked the same service for the same work in this language. The
    /// other languages and the webhook are not compared, and an option with its default value equals one
    /// that is not set.
    pub fn covers(&self, language: &Language, base_url: &str, request: &Map<String, Value>) -> bool {
        self.base_url == base_url && work(&self.request, language) == work(request, language)
    }
}

/// Returns what a request asks for in one language, in a normal form.
fn work(request: &Map<String, Value>, language: &Language) -> Map<String, Value> {
    /// The documented default values.
    const DEFAULTS: [(&str, Value); 5] = [
        ("lipsync", Value::Bool(false)),
        ("remove_bgm", Value::Bool(false)),
        ("dynamic_duration", Value::Bool(false)),
        ("caption_url", Value::Null),
        ("studio_voice", Value::Null),
    ];
    let mut work = request.clone();
    work.remove("language");
    work.remove("webhookUrl");
    // Requests of earlier versions could choose a voice for each language.
    if let Some(Value::Object(voices)) = work.remove("voices_map")
        && let Some((_, voice)) = voices.into_iter().find(|(name, _)| language.is(&name.as_str().into()))
    {
        work.insert("voice".to_owned(), voice);
    }
    if let Some(url) = work.get_mut("url")
        && let Some(Ok(mut link)) = url.as_str().map(Url::parse)
    {
        // The fragment of a URL is never sent to the server.
        link.set_fragment(None);
        *url = String::from(link).into();
    }
    if let Some(Value::Object(voice)) = work.get_mut("studio_voice") {
        if voice.get("style").is_some_and(|style| style == "professional") {
            voice.remove("style");
        }
        if let Some(Value::Array(words)) = voice.get_mut("no_translate_words") {
            words.sort_by_key(ToString::to_string);
        }
        if voice.is_empty() {
            work.remove("studio_voice");
        }
    }
    for (name, value) in DEFAULTS {
        if work.get(name) == Some(&value) {
            work.remove(name);
        }
    }
    for name in ["caption_type", "speaker_num"] {
        if work.get(name).and_then(Value::as_u64) == Some(0) {
            work.remove(name);
        }
    }
    if work.get("source_language").is_some_and(|language| language == "DEFAULT") {
        work.remove("source_language");
    }
    work
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_query_of_a_link() {
        let credential = akool::Credential::api_key("sandbox-key-000000000000").unwrap();
        let client = akool::Client::new(credential).unwrap();
        let translate = client
            .translate("https://example.com/talk.mp4?Signature=MARKER")
            .to(["es"])
            .webhook("https://example.com/hook?token=MARKER");
        let intent = Intent::of(&translate, false).unwrap();
        let text = format!("{translate:?} {intent:?}");
        assert!(text.contains("talk.mp4?[redacted]") && !text.contains("MARKER"), "{text}");
    }
}
