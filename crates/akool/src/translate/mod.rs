//! Creating translations: [`Translate`], made by [`Client::translate`].
//!
//! Creation costs money and has no idempotency key, so the order is: check, write down the intent
//! (where there is a [`Ledger`]), send once, write down what became of it. What became of it is
//! read in `creation.rs`; whether anything may have come of an error is decided in `error.rs`.

mod creation;
mod error;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use akool_client::types::{CreateTranslationRequest, StudioVoice, VoiceStyle};
use serde_json::Value;
use tracing::{Instrument, debug_span};
use url::Url;

pub use self::{
    creation::{CreatedJob, Creation, Refusal},
    error::{CreateError, InvalidTranslation, OutcomeUnknown},
};
use crate::{
    Client, JobId, Language,
    call::answered,
    ledger::{Begin, CreationOutcome, EntryId, Intent, KnownWork, Ledger, LedgerError},
    redact,
};

/// The most speakers that can be named.
const MOST_SPEAKERS: u8 = 10;

/// Subtitles in the picture; `caption_type` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Captions {
    /// 0: none, as when nothing is said.
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
    /// Every choice, in the order of its numbers.
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

/// A request to translate a video, made by [`Client::translate`]. What is not set is not sent, and
/// the service's own default holds.
///
/// ```no_run
/// # async fn example(client: akool::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use akool::Captions;
///
/// let creation = client
///     .translate("https://example.com/talk.mp4")
///     .to(["es", "fr"])
///     .lipsync(true)
///     .captions(Captions::Translated)
///     .send()
///     .await?;
/// for created in creation.jobs() {
///     println!("{:?}: {}", created.language, created.id);
/// }
/// for refusal in creation.refused() {
///     eprintln!("{refusal}");
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
    ledger: Option<Arc<dyn Ledger>>,
    again: bool,
}

impl Client {
    /// Starts a request to translate the video at this link, which the service fetches itself.
    /// Nothing is sent before [`Translate::send`].
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
            ledger: None,
            again: false,
        }
    }
}

impl Translate {
    /// Every style of the description.
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

    /// Adds target languages: one job comes of each.
    pub fn to<L: Into<Language>>(mut self, languages: impl IntoIterator<Item = L>) -> Self {
        self.languages.extend(languages.into_iter().map(Into::into));
        self
    }

    /// Sets the language that is spoken in the video. Unless set, the service detects it.
    pub fn source_language(mut self, language: impl Into<Language>) -> Self {
        self.source_language = Some(language.into());
        self
    }

    /// Sets whether lips move to the new voice (the service's default: no).
    pub fn lipsync(mut self, on: bool) -> Self {
        self.lipsync = Some(on);
        self
    }

    /// Sets how many people speak, up to 10. 0, the service's default, detects it.
    pub fn speakers(mut self, count: u8) -> Self {
        self.speakers = Some(count);
        self
    }

    /// Sets whether background music goes (the service's default: no).
    pub fn remove_background_music(mut self, on: bool) -> Self {
        self.remove_background_music = Some(on);
        self
    }

    /// Sets the subtitles in the picture (the service's default: none).
    pub fn captions(mut self, captions: Captions) -> Self {
        self.captions = Some(captions);
        self
    }

    /// Sets a link to an SRT or ASS file with subtitles, which the service fetches itself.
    pub fn caption_file(mut self, url: impl Into<String>) -> Self {
        self.caption_file = Some(url.into());
        self
    }

    /// Adds words that stay as they are.
    pub fn keep_words<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.kept_words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Sets how a word is to be translated.
    pub fn translate_word(mut self, word: impl Into<String>, translation: impl Into<String>) -> Self {
        self.fixed_words.insert(word.into(), translation.into());
        self
    }

    /// Sets how a word is to be pronounced.
    pub fn pronounce_word(mut self, word: impl Into<String>, pronunciation: impl Into<String>) -> Self {
        self.pronounced_words.insert(word.into(), pronunciation.into());
        self
    }

    /// Sets how the new voice speaks (the service's default: professional).
    pub fn style(mut self, style: VoiceStyle) -> Self {
        self.style = Some(style);
        self
    }

    /// Sets whether the video's length may change to fit the speech (the service's default: no).
    pub fn dynamic_duration(mut self, on: bool) -> Self {
        self.dynamic_duration = Some(on);
        self
    }

    /// Sets a link that the service calls when the job changes.
    pub fn webhook(mut self, url: impl Into<String>) -> Self {
        self.webhook = Some(url.into());
        self
    }

    /// Sets where the intent is written down before the request, and the ids after it. With a ledger,
    /// work that is in it already is not asked for again; see [`again`](Self::again).
    pub fn ledger(mut self, ledger: Arc<dyn Ledger>) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// Asks for the work also where the ledger has it already: it is paid for once more.
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Creates the jobs. Sent once: only a refused credential, of which nothing comes, is renewed and
    /// the request sent once more, where the client has a source of new ones.
    ///
    /// Dropping the future once it runs leaves open whether jobs were created, as does a crash; with a
    /// [`ledger`](Self::ledger) the intent is in it.
    ///
    /// # Errors
    /// [`CreateError`] says whether jobs may have been created all the same. That some languages were
    /// refused is no error while a job was created for another one: see [`Creation::refused`].
    pub async fn send(self) -> Result<Creation, CreateError> {
        let request = self.request()?;
        let entry = match &self.ledger {
            None => None,
            Some(ledger) => {
                let intent = self.intent(&request)?;
                match ledger.begin(&intent).await? {
                    Begin::Written(entry) => Some((ledger, entry)),
                    Begin::AlreadyThere(work) => return Err(CreateError::AlreadyThere(work)),
                }
            }
        };
        let span = debug_span!("akool.create", languages = %self.shown_languages());
        let mut guard = Guard { asking: entry.as_ref().map(|(ledger, entry)| (ledger.as_ref(), entry)) };
        let sent = self.request_once(&request).instrument(span).await;
        guard.asking = None;
        drop(guard);
        let Some((ledger, entry)) = entry else {
            return sent;
        };
        let recorded = ledger.record(&entry, &CreationOutcome::of(&sent)).await;
        match (sent, recorded) {
            (Ok(creation), Err(error)) => Err(CreateError::Unrecorded { creation, error }),
            (Err(CreateError::OutcomeUnknown(maybe)), _) => {
                Err(CreateError::OutcomeUnknown(maybe.in_ledger_as(entry)))
            }
            (sent, _) => sent,
        }
    }

    /// Sees to it that there is a job for each language: takes what the [`ledger`](Self::ledger) has
    /// already, and creates the rest. The same call after a crash goes on where it was, and pays once.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use akool::{Client, CreateError, ledger::Ledger};
    /// # async fn example(client: Client, ledger: Arc<dyn Ledger>) -> Result<(), CreateError> {
    /// let request = client.translate("https://example.com/talk.mp4").to(["es", "fr"]);
    /// for id in request.ledger(ledger).ensure().await.into_jobs()? {
    ///     println!("{id}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ensure(mut self) -> Ensured {
        let mut known = Vec::new();
        loop {
            match self.clone().send().await {
                Err(CreateError::AlreadyThere(work)) => {
                    let is_there = |language: &Language| work.iter().any(|work| work.language == *language);
                    let before = self.languages.len();
                    self.languages.retain(|language| !is_there(language));
                    // A ledger that names other languages than it was asked for is not asked for ever.
                    let stuck = self.languages.len() == before;
                    known.extend(work);
                    if self.languages.is_empty() || stuck {
                        return Ensured { known, sent: None };
                    }
                }
                sent => return Ensured { known, sent: Some(sent) },
            }
        }
    }

    /// The request, after every check for which the documents give a rule.
    fn request(&self) -> Result<CreateTranslationRequest, InvalidTranslation> {
        link("the video's link", &self.url)?;
        if self.languages.is_empty() {
            return Err(InvalidTranslation::new("no target language is set; name at least one"));
        }
        let mut targets = BTreeSet::new();
        for language in &self.languages {
            code("the target language", language)?;
            if language.code() == "DEFAULT" {
                return Err(InvalidTranslation::new("DEFAULT is no target language; name one"));
            }
            if !targets.insert(language.code().to_ascii_lowercase()) {
                return Err(InvalidTranslation::new(format!(
                    "the target language {language} is set twice, and would be paid for twice; leave one out"
                )));
            }
        }
        if let Some(language) = &self.source_language {
            code("the source language", language)?;
        }
        if self.speakers.is_some_and(|count| count > MOST_SPEAKERS) {
            return Err(InvalidTranslation::new(format!(
                "the service tells at most {MOST_SPEAKERS} speakers apart; set fewer, or 0 to detect them"
            )));
        }
        for (name, url) in
            [("the subtitles' link", &self.caption_file), ("the webhook's link", &self.webhook)]
        {
            if let Some(url) = url {
                link(name, url)?;
            }
        }
        let mut words =
            self.kept_words.iter().chain(self.fixed_words.keys()).chain(self.pronounced_words.keys());
        if words.any(|word| word.trim().is_empty()) {
            return Err(InvalidTranslation::new("a word is empty; leave it out"));
        }
        self.built().map_err(|error| InvalidTranslation::new(error.to_string()))
    }

    fn built(&self) -> Result<CreateTranslationRequest, akool_client::types::error::ConversionError> {
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

    fn intent(&self, request: &CreateTranslationRequest) -> Result<Intent, LedgerError> {
        let request = serde_json::to_value(request).map_err(LedgerError::new)?;
        let Value::Object(request) = request else {
            return Err(LedgerError::new("the request is no JSON object"));
        };
        Ok(Intent {
            base_url: self.client.base_url().to_owned(),
            languages: self.languages.clone(),
            request,
            at: SystemTime::now(),
            again: self.again,
        })
    }

    async fn request_once(&self, request: &CreateTranslationRequest) -> Result<Creation, CreateError> {
        let create = async || {
            let (client, recording) = self.client.api.timeout(self.client.create_timeout).recording();
            let sent = client.create_translation().body(request.clone()).send().await;
            let came = recording.peek();
            match answered(sent, &recording) {
                Ok(exchange) => creation::read(&self.languages, &exchange),
                // The ids may have come before the connection broke.
                Err(error) => came.and_then(|came| creation::salvage(&self.languages, &came)).ok_or(error),
            }
        };
        let created = self.client.call(create).await;
        match created {
            Ok(creation) => {
                tracing::debug!(jobs = creation.jobs().len(), refused = creation.refused().len(), "created");
                creation.or_rejected()
            }
            Err(error) => {
                let error = error.scrubbed(&self.client.transport);
                tracing::debug!(kind = ?error.kind(), %error, "not created, or not known");
                Err(CreateError::of(error))
            }
        }
    }

    fn shown_languages(&self) -> String {
        let languages: Vec<_> = self.languages.iter().map(ToString::to_string).collect();
        languages.join(",")
    }
}

/// Tells the ledger when the future that asks is dropped.
struct Guard<'a> {
    asking: Option<(&'a dyn Ledger, &'a EntryId)>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some((ledger, entry)) = self.asking {
            ledger.abandon(entry);
        }
    }
}

/// What [`Translate::ensure`] found and made.
#[derive(Debug)]
#[non_exhaustive]
pub struct Ensured {
    /// The work that the ledger had already: jobs, or outcomes that are unknown.
    pub known: Vec<KnownWork>,
    /// What became of the request for the rest; `None` where nothing was left to ask for.
    pub sent: Option<Result<Creation, CreateError>>,
}

impl Ensured {
    /// The ids of all jobs, those that were there first.
    ///
    /// # Errors
    /// When there is not a job for every language: the rest was not created, or refused in part, or an
    /// outcome is unknown. Jobs that are there stay in the ledger.
    pub fn into_jobs(self) -> Result<Vec<JobId>, CreateError> {
        let created = self.sent.transpose()?;
        if let Some(creation) = created.as_ref().filter(|creation| !creation.is_complete()) {
            return Err(CreateError::Partly(creation.clone()));
        }
        if self.known.iter().any(|work| work.job.is_none()) {
            return Err(CreateError::AlreadyThere(self.known));
        }
        let created = created.iter().flat_map(Creation::jobs).map(|job| job.id.clone());
        Ok(self.known.into_iter().filter_map(|work| work.job).chain(created).collect())
    }
}

/// A link that the service can fetch.
fn link(name: &str, text: &str) -> Result<(), InvalidTranslation> {
    let invalid = |why: &str| {
        Err(InvalidTranslation::new(format!(
            "{name} \"{}\" {why}; the service fetches it itself, so give the https link of a place that it can \
             reach",
            redact::excerpt(text)
        )))
    };
    match Url::parse(text) {
        // Of these a parser makes something else than what is sent.
        _ if text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) => {
            invalid("has a blank or a control character")
        }
        Ok(_) if !text.contains("://") => invalid("has no host"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => invalid("is neither https nor http"),
        Ok(_) => Ok(()),
        Err(_) if text.is_empty() => invalid("is empty"),
        Err(_) => invalid("is no link"),
    }
}

/// A code that can stand in a list with commas.
fn code(name: &str, language: &Language) -> Result<(), InvalidTranslation> {
    let code = language.code();
    if code.is_empty()
        || code.contains(|letter: char| letter == ',' || letter.is_whitespace() || letter.is_control())
    {
        return Err(InvalidTranslation::new(format!(
            "{name} \"{language}\" is no language code, such as es or zh-CN-shandong"
        )));
    }
    Ok(())
}
