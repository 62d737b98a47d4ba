//! Creating translations: [`Translate`], made by [`Client::translate`].
//!
//! A creation costs money and has no idempotency key. So it is checked first and sent once. `read.rs` decodes
//! the response, and `error.rs` decides whether a request that failed may have created jobs.

mod created;
mod error;
mod key;
mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use akool_client::types::{CreateTranslationRequest, StudioVoice, VoiceStyle};
use tracing::{Instrument, debug_span, field::Empty};
use url::Url;

pub use self::{
    created::{Created, CreatedJob, Rejection},
    error::{CreateError, InvalidTranslation, NotCreated},
    key::{SourceId, WorkKey},
};
use crate::{
    account::{IntoLanguages, Language},
    client::{Client, call_span},
    meter, redact,
};

/// Captions in the picture; `caption_type` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Captions {
    /// 0: none. This is the default.
    None,
    /// 1: in the original language.
    Original,
    /// 2: in the target language.
    Translated,
    /// 3: the original ones are replaced by translated ones.
    Replaced,
    /// 4: translated ones are added to the original ones.
    Added,
}

impl Captions {
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

/// A request to translate a video, made by [`Client::translate`]. A setting that is not set is not sent, and the
/// service's default applies.
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
#[derive(Clone)]
#[must_use = "nothing is created until it is sent"]
pub struct Translate {
    client: Client,
    url: String,
    languages: Vec<Language>,
    source_language: Option<Language>,
    lipsync: Option<bool>,
    speakers: Option<u32>,
    remove_background_music: Option<bool>,
    captions: Option<Captions>,
    caption_file: Option<String>,
    source: Option<SourceId>,
    caption_source: Option<SourceId>,
    kept_words: Vec<String>,
    fixed_words: BTreeMap<String, String>,
    pronounced_words: BTreeMap<String, String>,
    style: Option<VoiceStyle>,
    dynamic_duration: Option<bool>,
    webhook: Option<String>,
}

/// Without the queries of its links, which may grant access.
impl fmt::Debug for Translate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translate")
            .field("url", &redact::excerpt(&self.url))
            .field("languages", &self.languages)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Starts a request to translate the video at this URL. The service downloads the video itself. Nothing is sent
    /// before [`Translate::send`].
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
            source: None,
            caption_source: None,
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
    /// Adds target languages: one, or a list of them. The service creates one job for each.
    ///
    /// ```
    /// # fn example(client: akool::Client) {
    /// let request = client.translate("https://example.com/talk.mp4").to("es").to(["fr", "ja"]);
    /// # let _ = request;
    /// # }
    /// ```
    pub fn to<M>(mut self, languages: impl IntoLanguages<M>) -> Self {
        self.languages.extend(languages.into_languages());
        self
    }

    /// Sets the language that is spoken in the video. By default the service detects it.
    pub fn source_language(mut self, language: impl Into<Language>) -> Self {
        self.source_language = Some(language.into());
        self
    }

    /// Sets whether lips move to the new voice (by default they do not).
    pub fn lipsync(mut self, on: bool) -> Self {
        self.lipsync = Some(on);
        self
    }

    /// Sets how many people speak. With 0, the default, the service detects it. No maximum is documented.
    pub fn speakers(mut self, count: u32) -> Self {
        self.speakers = Some(count);
        self
    }

    /// Sets whether background music is removed (by default it is not).
    pub fn remove_background_music(mut self, on: bool) -> Self {
        self.remove_background_music = Some(on);
        self
    }

    /// Sets the captions in the picture (none by default).
    pub fn captions(mut self, captions: Captions) -> Self {
        self.captions = Some(captions);
        self
    }

    /// Sets the URL of an SRT or ASS file with captions, which the service downloads itself.
    pub fn caption_file(mut self, url: impl Into<String>) -> Self {
        self.caption_file = Some(url.into());
        self
    }

    /// Sets the URL of the video again: for a link that has expired.
    pub fn with_url(mut self, url: impl Into<String>) -> Self {
        self.url = url.into();
        self
    }

    /// Sets what identifies the video in place of its URL: for a link that expires, such as one to a file that was
    /// uploaded. It decides what is the [same work](WorkKey), and is not sent.
    pub fn identified_by(mut self, source: SourceId) -> Self {
        self.source = Some(source);
        self
    }

    /// Sets the same for the [caption file](Self::caption_file).
    pub fn caption_file_identified_by(mut self, source: SourceId) -> Self {
        self.caption_source = Some(source);
        self
    }

    /// Adds words that are not translated.
    pub fn keep_words<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.kept_words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Sets how a word is translated.
    pub fn translate_word(mut self, word: impl Into<String>, translation: impl Into<String>) -> Self {
        self.fixed_words.insert(word.into(), translation.into());
        self
    }

    /// Sets how a word is pronounced.
    pub fn pronounce_word(mut self, word: impl Into<String>, pronunciation: impl Into<String>) -> Self {
        self.pronounced_words.insert(word.into(), pronunciation.into());
        self
    }

    /// Sets how the new voice speaks (professionally by default).
    pub fn style(mut self, style: VoiceStyle) -> Self {
        self.style = Some(style);
        self
    }

    /// Sets whether the length of the video may change to fit the speech (by default it may not).
    pub fn dynamic_duration(mut self, on: bool) -> Self {
        self.dynamic_duration = Some(on);
        self
    }

    /// Sets a URL that the service calls when the job changes.
    pub fn webhook(mut self, url: impl Into<String>) -> Self {
        self.webhook = Some(url.into());
        self
    }

    /// Removes the target languages for which this returns `false`: for a program that knows that their jobs exist
    /// already.
    pub fn retain_languages(mut self, keep: impl FnMut(&Language) -> bool) -> Self {
        self.languages.retain(keep);
        self
    }

    /// The client that will send the request.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The target languages.
    pub fn languages(&self) -> &[Language] {
        &self.languages
    }

    /// Makes exactly one request, which creates the jobs. (A request that is refused for its credential has no effect. If
    /// the client has a source of new credentials, it is sent once more with a new one.)
    ///
    /// If the future is dropped while it runs, the outcome is unknown, as after a crash.
    ///
    /// # Errors
    /// [`CreateError`] says whether jobs may exist nevertheless. It is not an error if some languages are rejected, as
    /// long as a job was created for another one: see [`Created::rejected`].
    pub async fn send(self) -> Result<Created, CreateError> {
        let request = self.request()?;
        let languages: Vec<_> = self.languages.iter().map(ToString::to_string).collect();
        let span =
            debug_span!("akool.create", languages = languages.join(","), jobs = Empty, outcome = Empty);
        let client = self.client.for_creation();
        let create = || client.api.create_translation().body(request.clone()).send();
        let reply = client.call(call_span("create_translation"), create).instrument(span.clone()).await;
        let result = read::read(&self.languages, reply);
        let (jobs, rejected, outcome) = match &result {
            Ok(created) => (&created.jobs[..], created.rejected.len(), "created"),
            Err(CreateError::OutcomeUnknown(_)) => (&[][..], 0, "unknown"),
            Err(_) => (&[][..], self.languages.len(), "not_created"),
        };
        meter::requested(
            jobs.iter().map(|job| job.credits_held),
            self.languages.len().saturating_sub(jobs.len() + rejected),
        );
        span.record("jobs", jobs.len() as i64).record("outcome", outcome);
        span.in_scope(|| match &result {
            Ok(_) => tracing::debug!(jobs = jobs.len(), rejected, "created"),
            Err(error) => tracing::debug!(%error, "not created, or not known"),
        });
        result
    }

    /// The request as it will be sent. All documented rules are checked.
    ///
    /// # Errors
    /// If it breaks a rule, with the rule and what to do.
    pub fn request(&self) -> Result<CreateTranslationRequest, InvalidTranslation> {
        check_url("video", &self.url)?;
        if self.languages.is_empty() {
            return Err(InvalidTranslation::new("there is no target language; add at least one"));
        }
        let mut targets = BTreeSet::new();
        for language in &self.languages {
            check_code("target language", language)?;
            if language.code() == "DEFAULT" {
                return Err(InvalidTranslation::new("DEFAULT is not a target language; name one"));
            }
            if !targets.insert(language.code().to_ascii_lowercase()) {
                return Err(InvalidTranslation::new(format!(
                    "the target language {language} is listed twice and would be paid for twice; remove one"
                )));
            }
        }
        if let Some(language) = &self.source_language {
            check_code("source language", language)?;
        }
        for (name, url) in [("caption file", &self.caption_file), ("webhook", &self.webhook)] {
            if let Some(url) = url {
                check_url(name, url)?;
            }
        }
        let mut words =
            self.kept_words.iter().chain(self.fixed_words.keys()).chain(self.pronounced_words.keys());
        if words.any(|word| word.trim().is_empty()) {
            return Err(InvalidTranslation::new("a word is empty; remove it"));
        }
        self.build().map_err(|error| InvalidTranslation::new(error.to_string()))
    }

    fn build(&self) -> Result<CreateTranslationRequest, akool_client::types::error::ConversionError> {
        let languages: Vec<_> = self.languages.iter().map(Language::code).collect();
        let has_words =
            !(self.kept_words.is_empty() && self.fixed_words.is_empty() && self.pronounced_words.is_empty());
        let studio_voice: Option<StudioVoice> = (has_words || self.style.is_some())
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
            .speaker_num(self.speakers.map(u64::from))
            .remove_bgm(self.remove_background_music)
            .caption_type(self.captions.map(Captions::number))
            .caption_url(self.caption_file.clone())
            .studio_voice(studio_voice)
            .dynamic_duration(self.dynamic_duration)
            .webhook_url(self.webhook.clone())
            .try_into()
    }
}

/// A URL that the service can reach.
fn check_url(name: &str, text: &str) -> Result<(), InvalidTranslation> {
    let shown = redact::excerpt(text);
    let downloads = |problem: &str| {
        let help = match name {
            "video" => {
                "AKOOL downloads the video itself: upload it somewhere public and pass its https:// URL"
            }
            "caption file" => {
                "AKOOL downloads the file itself: upload it somewhere public and pass its https:// URL"
            }
            _ => "AKOOL calls it from outside: pass an https:// URL that it can reach",
        };
        Err(InvalidTranslation::new(format!("\"{shown}\" {problem}. {help}")))
    };
    match Url::parse(text) {
        // A parser would remove them, so that something else is checked than is sent.
        _ if text.chars().any(|c| c.is_control() || c.is_whitespace()) => {
            downloads("contains a blank or a control character")
        }
        Ok(_) if !text.contains("://") => downloads("is a URL without a host"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            downloads("is neither an https nor an http URL")
        }
        Ok(_) => Ok(()),
        Err(_) => downloads("is not a URL"),
    }
}

/// A code that can stand in a list with commas.
fn check_code(name: &str, language: &Language) -> Result<(), InvalidTranslation> {
    let code = language.code();
    if code.is_empty() || code.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control()) {
        return Err(InvalidTranslation::new(format!(
            "the {name} \"{language}\" is not a language code such as es or zh-CN-shandong"
        )));
    }
    Ok(())
}
