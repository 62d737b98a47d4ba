//! Creating translations: [`Translate`], made by [`Client::translate`].
//!
//! A creation costs money and has no idempotency key, so the request is validated first and then sent
//! only once. `created.rs` reads the response, and `error.rs` decides whether a failed request may have
//! created jobs.

mod created;
mod error;

use std::collections::{BTreeMap, BTreeSet};

use akool_client::types::{CreateTranslationRequest, StudioVoice, VoiceStyle, error::ConversionError};
use tracing::{Instrument, debug_span};
use url::Url;

pub use self::{
    created::{Created, CreatedJob, Rejection},
    error::{CreateError, InvalidTranslation},
};
use crate::{Client, Language, call::answered, redact};

/// The maximum number of speakers.
const MAX_SPEAKERS: u8 = 10;

/// The subtitles in the picture (`caption_type` on the wire).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Captions {
    /// 0: none. This is the service's default.
    None,
    /// 1: in the original language.
    Original,
    /// 2: in the target language.
    Translated,
    /// 3: translated subtitles replace the original ones.
    Replaced,
    /// 4: translated subtitles in addition to the original ones.
    Added,
}

impl Captions {
    /// All choices, in the order of their numbers.
    pub const ALL: &'static [Self] =
        &[Self::None, Self::Original, Self::Translated, Self::Replaced, Self::Added];

    fn number(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Original => 1,
            Self::Translated => 2,
            Self::Replaced => 3,
            Self::Added => 4,
        }
    }
}

/// A request to translate a video, made by [`Client::translate`]. Options that are not set are not sent,
/// so the service's defaults apply.
///
/// ```no_run
/// # async fn example(client: akool::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use akool::Captions;
///
/// let created = client
///     .translate("https://example.com/talk.mp4")
///     .to(["es", "fr"])
///     .lipsync(true)
///     .captions(Captions::Translated)
///     .send()
///     .await?;
/// for job in &created.jobs {
///     println!("{:?}: {}", job.language, job.id);
/// }
/// for rejection in &created.rejected {
///     eprintln!("{rejection}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is created until it is sent"]
pub struct Translate {
    client: Client,
    url: String,
    languages: Vec<Language>,
    source_language: Option<Language>,
    lipsync: Option<bool>,
    speakers: Option<u8>,
    remove_background_music: Option<bool>,
    captions: Option<Captions>,
    caption_file: Option<String>,
    kept_words: Vec<String>,
    fixed_words: BTreeMap<String, String>,
    pronounced_words: BTreeMap<String, String>,
    style: Option<VoiceStyle>,
    dynamic_duration: Option<bool>,
    webhook: Option<String>,
}

impl Client {
    /// Starts a request to translate the video at this URL, which the service downloads itself. Nothing
    /// is sent before [`Translate::send`].
    pub fn translate(&self, url: impl Into<String>) -> Translate {
        Translate {
            client: self.clone(),
            url: url.into(),
            languages: Vec::new(),
            source_language: None,
            lipsync: None,
            speakers: None,
            remove_background_music: None,
            captions: None,
            caption_file: None,
            kept_words: Vec::new(),
            fixed_words: BTreeMap::new(),
            pronounced_words: BTreeMap::new(),
            style: None,
            dynamic_duration: None,
            webhook: None,
        }
    }
}

impl Translate {
    /// All documented styles.
    pub const STYLES: &'static [VoiceStyle] = &[
        VoiceStyle::Affectionate,
        VoiceStyle::Angry,
        VoiceStyle::Calm,
        VoiceStyle::Cheerful,
        VoiceStyle::Depressed,
        VoiceStyle::Disgruntled,
        VoiceStyle::Embarrassed,
        VoiceStyle::Empathetic,
        VoiceStyle::Excited,
        VoiceStyle::Fearful,
        VoiceStyle::Friendly,
        VoiceStyle::Unfriendly,
        VoiceStyle::Sad,
        VoiceStyle::Serious,
        VoiceStyle::Relaxed,
        VoiceStyle::Professional,
    ];

    /// Adds target languages. The service creates one job for each.
    pub fn to<L: Into<Language>>(mut self, languages: impl IntoIterator<Item = L>) -> Self {
        self.languages.extend(languages.into_iter().map(Into::into));
        self
    }

    /// Sets the spoken language of the video. If it is not set, the service detects it.
    pub fn source_language(mut self, language: impl Into<Language>) -> Self {
        self.source_language = Some(language.into());
        self
    }

    /// Sets whether the lips are synchronized with the new voice. The service's default is `false`.
    pub fn lipsync(mut self, on: bool) -> Self {
        self.lipsync = Some(on);
        self
    }

    /// Sets the number of speakers, at most 10. The service's default is 0, which detects it.
    pub fn speakers(mut self, count: u8) -> Self {
        self.speakers = Some(count);
        self
    }

    /// Sets whether to remove background music. The service's default is `false`.
    pub fn remove_background_music(mut self, on: bool) -> Self {
        self.remove_background_music = Some(on);
        self
    }

    /// Sets the subtitles in the picture. The service's default is none.
    pub fn captions(mut self, captions: Captions) -> Self {
        self.captions = Some(captions);
        self
    }

    /// Sets the URL of an SRT or ASS file with subtitles, which the service downloads itself.
    pub fn caption_file(mut self, url: impl Into<String>) -> Self {
        self.caption_file = Some(url.into());
        self
    }

    /// Adds words that are not translated.
    pub fn keep_words<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.kept_words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Sets the translation of a word.
    pub fn translate_word(mut self, word: impl Into<String>, translation: impl Into<String>) -> Self {
        self.fixed_words.insert(word.into(), translation.into());
        self
    }

    /// Sets the pronunciation of a word.
    pub fn pronounce_word(mut self, word: impl Into<String>, pronunciation: impl Into<String>) -> Self {
        self.pronounced_words.insert(word.into(), pronunciation.into());
        self
    }

    /// Sets how the new voice speaks. The service's default is professional.
    pub fn style(mut self, style: VoiceStyle) -> Self {
        self.style = Some(style);
        self
    }

    /// Sets whether the length of the video may change to fit the speech. The service's default is
    /// `false`.
    pub fn dynamic_duration(mut self, on: bool) -> Self {
        self.dynamic_duration = Some(on);
        self
    }

    /// Sets a URL that the service calls when a job changes.
    pub fn webhook(mut self, url: impl Into<String>) -> Self {
        self.webhook = Some(url.into());
        self
    }

    /// Returns the client that will send the request.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the target languages, in the order in which they were added.
    pub fn languages(&self) -> &[Language] {
        &self.languages
    }

    /// Keeps only the target languages for which `keep` returns `true`: to omit languages for which there
    /// is a job already.
    ///
    /// ```
    /// # fn example(client: akool::Client) {
    /// use akool::Language;
    ///
    /// let done = Language::from("es");
    /// let translate = client
    ///     .translate("https://example.com/talk.mp4")
    ///     .to(["es", "fr"])
    ///     .retain_languages(|language| !language.is(&done));
    /// assert_eq!(translate.languages(), [Language::from("fr")]);
    /// # }
    /// ```
    pub fn retain_languages(mut self, keep: impl FnMut(&Language) -> bool) -> Self {
        self.languages.retain(keep);
        self
    }

    /// Creates the jobs. Makes exactly one request, with one exception: if the service rejects the
    /// credential, so that nothing was created, and the client can renew it, the request is sent once
    /// more.
    ///
    /// If the process ends, or the future is dropped, while the request is being made, it is unknown
    /// whether jobs were created. The crate `akool-ledger` remembers such requests.
    ///
    /// # Errors
    /// [`CreateError`] says whether jobs may have been created. If some languages were rejected but
    /// there is a job for another one, this is not an error: see [`Created::rejected`].
    pub async fn send(self) -> Result<Created, CreateError> {
        let request = self.request()?;
        let languages: Vec<_> = self.languages.iter().map(ToString::to_string).collect();
        let span = debug_span!("akool.create", languages = %languages.join(","));
        self.send_once(&request).instrument(span).await
    }

    /// Validates the request against the documented rules, and returns it as it will be sent.
    ///
    /// # Errors
    /// If the request breaks a documented rule. The error names it.
    pub fn request(&self) -> Result<CreateTranslationRequest, InvalidTranslation> {
        link("the video's URL", &self.url)?;
        if self.languages.is_empty() {
            return Err(InvalidTranslation::new("no target language is set; set at least one"));
        }
        let mut targets = BTreeSet::new();
        for language in &self.languages {
            code("the target language", language)?;
            if language.code() == "DEFAULT" {
                return Err(InvalidTranslation::new("DEFAULT is not a target language; set a language code"));
            }
            if !targets.insert(language.code().to_ascii_lowercase()) {
                return Err(InvalidTranslation::new(format!(
                    "the target language {language} is set twice, and would be paid for twice; remove one"
                )));
            }
        }
        if let Some(language) = &self.source_language {
            code("the source language", language)?;
        }
        if self.speakers.is_some_and(|count| count > MAX_SPEAKERS) {
            return Err(InvalidTranslation::new(format!(
                "the service distinguishes at most {MAX_SPEAKERS} speakers; set fewer, or 0 to detect them"
            )));
        }
        for (name, url) in [("the subtitles' URL", &self.caption_file), ("the webhook's URL", &self.webhook)]
        {
            if let Some(url) = url {
                link(name, url)?;
            }
        }
        let mut words =
            self.kept_words.iter().chain(self.fixed_words.keys()).chain(self.pronounced_words.keys());
        if words.any(|word| word.trim().is_empty()) {
            return Err(InvalidTranslation::new("a word is empty; remove it"));
        }
        self.built().map_err(|error| InvalidTranslation::new(error.to_string()))
    }

    fn built(&self) -> Result<CreateTranslationRequest, ConversionError> {
        let languages: Vec<_> = self.languages.iter().map(Language::code).collect();
        let voice_is_set = self.style.is_some()
            || !(self.kept_words.is_empty()
                && self.fixed_words.is_empty()
                && self.pronounced_words.is_empty());
        let studio_voice = voice_is_set
            .then(|| {
                StudioVoice::builder()
                    .no_translate_words(self.kept_words.clone())
                    .fixed_words(self.fixed_words.clone())
                    .pronounced_words(self.pronounced_words.clone())
                    .style(self.style)
                    .try_into()
            })
            .transpose()?;
        CreateTranslationRequest::builder()
            .url(self.url.as_str())
            .language(languages.join(","))
            .source_language(self.source_language.as_ref().map(|language| language.code().to_owned()))
            .lipsync(self.lipsync)
            .speaker_num(self.speakers.map(i64::from))
            .remove_bgm(self.remove_background_music)
            .caption_type(self.captions.map(Captions::number))
            .caption_url(self.caption_file.clone())
            .studio_voice(studio_voice.map(|voice: StudioVoice| voice))
            .dynamic_duration(self.dynamic_duration)
            .webhook_url(self.webhook.clone())
            .try_into()
    }

    async fn send_once(&self, request: &CreateTranslationRequest) -> Result<Created, CreateError> {
        let create = async || {
            let (client, recording) = self.client.api.timeout(self.client.create_timeout).recording();
            let sent = client.create_translation().body(request.clone()).send().await;
            let received = recording.peek();
            match answered(sent, &recording) {
                Ok(exchange) => created::read(&self.languages, &exchange),
                // The ids may have arrived before the connection broke.
                Err(error) => {
                    received.and_then(|received| created::salvage(&self.languages, &received)).ok_or(error)
                }
            }
        };
        match self.client.call(create).await {
            Ok(created) => {
                tracing::debug!(jobs = created.jobs.len(), rejected = created.rejected.len(), "created");
                created.or_rejected()
            }
            Err(error) => {
                let error = error.scrubbed(&self.client.transport);
                tracing::debug!(kind = ?error.kind(), %error, "creation failed");
                Err(CreateError::of(error))
            }
        }
    }
}

/// Checks a URL that the service will download.
fn link(name: &str, text: &str) -> Result<(), InvalidTranslation> {
    let invalid = |why: &str| {
        Err(InvalidTranslation::new(format!(
            "{name} \"{}\" {why}. AKOOL downloads it itself: pass a public https:// URL",
            redact::excerpt(text)
        )))
    };
    match Url::parse(text) {
        // The parser would remove these characters, but the request sends the original text.
        _ if text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) => {
            invalid("contains a space or a control character")
        }
        Ok(_) if !text.contains("://") => invalid("has no host"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => invalid("is neither https nor http"),
        Ok(_) => Ok(()),
        Err(_) if text.is_empty() => invalid("is empty"),
        Err(_) => invalid("is not a URL"),
    }
}

/// Checks a language code, because the codes are sent as a list with commas.
fn code(name: &str, language: &Language) -> Result<(), InvalidTranslation> {
    let code = language.code();
    if code.is_empty()
        || code.contains(|letter: char| letter == ',' || letter.is_whitespace() || letter.is_control())
    {
        return Err(InvalidTranslation::new(format!(
            "{name} \"{language}\" is not a language code such as es or zh-CN-shandong"
        )));
    }
    Ok(())
}
