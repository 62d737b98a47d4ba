//! What is to be created: [`Work`].

use std::fmt;

use akool::{
    Captions, Client, InvalidTranslation, Language, Translate, redact, types::CreateTranslationRequest,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The name of a credential, if a program uses only one.
pub const DEFAULT_CREDENTIAL: &str = "default";

/// Identifies a work in the fleet: the credential's name, and a hash of the [canonical work key](akool::WorkKey).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkId(String);

impl WorkId {
    /// An id that was printed before.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact::excerpt(&self.0))
    }
}

impl fmt::Debug for WorkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkId({self})")
    }
}

/// One video to be translated into one language, with all options: what is created, and paid for, once.
///
/// ```
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use akool::{Client, Credential};
/// use akool_restate::Work;
///
/// let client = Client::new(Credential::api_key("the key")?)?;
/// let request = client.translate("https://example.com/talk.mp4").to(["es", "fr"]);
/// let works = Work::of(&request)?;
/// assert_eq!(works.len(), 2);
/// assert_ne!(works[0].id(), works[1].id());
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct Work {
    id: WorkId,
    credential: String,
    request: CreateTranslationRequest,
}

impl Work {
    /// The works that a request asks for, one for each of its languages, for a fleet with one credential.
    ///
    /// # Errors
    /// If the request breaks a documented rule.
    pub fn of(request: &Translate) -> Result<Vec<Self>, InvalidTranslation> {
        Self::with_credential(request, DEFAULT_CREDENTIAL)
    }

    /// The works that a request asks for, to be created with the credential of this name. The workers have the credential
    /// itself; the client of the request sends nothing.
    ///
    /// # Errors
    /// If the request breaks a documented rule.
    pub fn with_credential(request: &Translate, credential: &str) -> Result<Vec<Self>, InvalidTranslation> {
        request.languages().iter().map(|language| Self::one(request, language, credential)).collect()
    }

    fn one(request: &Translate, language: &Language, credential: &str) -> Result<Self, InvalidTranslation> {
        let hash = Sha256::digest(request.work_key(language)?.as_str());
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let id = WorkId(format!("{credential}.{digits}"));
        let mut request = request.request()?;
        request.language = language.code().to_owned();
        Ok(Self { id, credential: credential.to_owned(), request })
    }

    /// The id.
    pub fn id(&self) -> &WorkId {
        &self.id
    }

    /// The name of the credential.
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// The target language.
    pub fn language(&self) -> Language {
        Language::from(self.request.language.as_str())
    }

    /// The URL of the video without what grants access to it.
    pub fn source(&self) -> String {
        redact::excerpt(&self.request.url)
    }

    /// The request again, for a worker's client.
    pub(crate) fn translate(&self, client: &Client) -> Translate {
        let CreateTranslationRequest { url, language, .. } = &self.request;
        let request = &self.request;
        let mut translate = client.translate(url.as_str()).to(language.as_str());
        if let Some(language) = &request.source_language {
            translate = translate.source_language(language.as_str());
        }
        if let Some(on) = request.lipsync {
            translate = translate.lipsync(on);
        }
        if let Some(count) = request.speaker_num {
            translate = translate.speakers(u32::try_from(count).unwrap_or(u32::MAX));
        }
        if let Some(on) = request.remove_bgm {
            translate = translate.remove_background_music(on);
        }
        if let Some(captions) = request.caption_type.and_then(captions) {
            translate = translate.captions(captions);
        }
        if let Some(url) = &request.caption_url {
            translate = translate.caption_file(url);
        }
        if let Some(on) = request.dynamic_duration {
            translate = translate.dynamic_duration(on);
        }
        if let Some(url) = &request.webhook_url {
            translate = translate.webhook(url);
        }
        let Some(voice) = &request.studio_voice else { return translate };
        translate = translate.keep_words(&voice.no_translate_words);
        for (word, translation) in &voice.fixed_words {
            translate = translate.translate_word(word, translation);
        }
        for (word, pronunciation) in &voice.pronounced_words {
            translate = translate.pronounce_word(word, pronunciation);
        }
        match voice.style {
            Some(style) => translate.style(style),
            None => translate,
        }
    }
}

/// Without the URL's query, which may grant access.
impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (source, language) = (self.source(), self.language());
        f.debug_struct("Work")
            .field("id", &self.id)
            .field("source", &source)
            .field("language", &language)
            .finish_non_exhaustive()
    }
}

/// The captions with this number.
fn captions(number: i64) -> Option<Captions> {
    Some(match number {
        0 => Captions::None,
        1 => Captions::Original,
        2 => Captions::Translated,
        3 => Captions::Replaced,
        4 => Captions::Added,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use akool::{Credential, VoiceStyle};

    use super::*;

    fn client() -> Client {
        Client::new(Credential::api_key("sandbox-key-000000000000").unwrap()).unwrap()
    }

    #[test]
    fn a_worker_sends_what_was_requested() {
        let talk = || client().translate("https://example.com/talk.mp4?token=x").to("es");
        let mut requests = vec![
            talk(),
            talk().source_language("en").lipsync(true).speakers(2).remove_background_music(false),
            talk().caption_file("https://example.com/talk.srt").dynamic_duration(true),
            talk().webhook("https://example.com/hook").style(VoiceStyle::Affectionate),
            talk().keep_words(["AKOOL"]).translate_word("a", "b").pronounce_word("c", "d"),
        ];
        for number in 0..=4 {
            requests.push(talk().captions(captions(number).unwrap()));
        }
        for request in requests {
            let [work] = Work::of(&request).unwrap().try_into().unwrap();
            let text = serde_json::to_string(&work).unwrap();
            let work: Work = serde_json::from_str(&text).unwrap();
            assert_eq!(work.translate(&client()).request().unwrap(), request.request().unwrap());
        }
    }

    #[test]
    fn the_same_work_has_the_same_id_and_no_link_is_shown() {
        let request = |url: &str| client().translate(url).to(["es", "fr"]);
        let ids = |url: &str| -> Vec<_> {
            Work::of(&request(url)).unwrap().iter().map(|work| work.id().clone()).collect()
        };
        let secret = "https://example.com/talk.mp4?token=sesame";
        assert_eq!(ids(secret), ids("https://EXAMPLE.com:443/talk.mp4?token=sesame"));
        assert_ne!(ids(secret), ids("https://example.com/talk.mp4"));
        let other = Work::with_credential(&request(secret), "other").unwrap();
        assert_ne!(other[0].id(), &ids(secret)[0], "another account pays for its own");
        let shown = format!("{other:?}");
        assert!(!shown.contains("sesame") && shown.contains("other."), "{shown}");
        // Ids are stable: what one version stored is found by later ones.
        let id = "default.32538f012c49b38f084ab82d425b0d2994f6b6995b1060ef9deaa87575ff7532";
        assert_eq!(ids("https://example.com/talk.mp4")[0].as_str(), id);
    }
}
