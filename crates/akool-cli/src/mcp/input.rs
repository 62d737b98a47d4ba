//! The arguments of the tools. Their JSON Schemas are made from these types.

use std::collections::BTreeMap;

use akool::{FileKind, JobId, VoiceStyle};
use rmcp::{
    model::JsonObject,
    schemars::{self, JsonSchema, Schema, SchemaGenerator},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::args::{self, Captions, KINDS, RequestRow};

const MAX_LANGUAGES: usize = 100;
const MAX_IDS: usize = 50;
const MAX_WORDS: usize = 200;
/// Of a text, in bytes.
const MAX_TEXT: usize = 4096;

/// What a call asks for, checked.
pub(super) enum Request {
    Translate(Box<RequestRow>),
    Download(Vec<JobId>, Vec<FileKind>),
    Query(Query),
}

/// What changes nothing, so that it stops if nobody waits for the result.
pub(super) enum Query {
    Plan(Box<RequestRow>),
    Status(Vec<JobId>),
    Wait(Vec<JobId>),
    Credits,
    Languages(Option<String>),
}

/// A video, and how to translate it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Video {
    /// Public http or https URL of the video. AKOOL downloads it.
    #[schemars(length(min = 1, max = "MAX_TEXT"))]
    url: String,
    /// Codes of the target languages, such as "es". The tool `languages` lists them. Each language is a job.
    #[schemars(length(min = 1, max = "MAX_LANGUAGES"))]
    to: Vec<String>,
    /// Language that is spoken in the video. If it is not set, AKOOL detects it.
    source_language: Option<String>,
    /// Adapt lip movements to the new voice.
    lipsync: Option<bool>,
    /// Number of speakers. 0, or not set: AKOOL detects it.
    speakers: Option<u32>,
    /// Remove background music.
    remove_background_music: Option<bool>,
    /// Burned-in subtitles: original, translated, replaced (original ones by translated ones) or added (translated ones to
    /// the original ones). If it is not set, there are none.
    captions: Option<Captions>,
    /// Public URL of an SRT or ASS file with subtitles, which AKOOL downloads.
    #[schemars(length(max = "MAX_TEXT"))]
    caption_file: Option<String>,
    /// Words that are not translated.
    #[serde(default)]
    #[schemars(length(max = "MAX_WORDS"))]
    keep_words: Vec<String>,
    /// Words, and how to translate them.
    #[serde(default)]
    translate_words: BTreeMap<String, String>,
    /// Words, and how to pronounce them.
    #[serde(default)]
    pronounce_words: BTreeMap<String, String>,
    /// Style of the new voice. If it is not set, it is professional.
    #[serde(default)]
    #[schemars(schema_with = "style")]
    style: Option<String>,
    /// Let the length of the video change to fit the speech.
    dynamic_duration: Option<bool>,
}

/// Jobs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Jobs {
    /// Ids of jobs, as `translate` returns them.
    #[schemars(length(min = 1, max = "MAX_IDS"))]
    ids: Vec<String>,
}

/// Jobs, and which of their files to save.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Download {
    /// Ids of completed jobs, as `translate` returns them.
    #[schemars(length(min = 1, max = "MAX_IDS"))]
    ids: Vec<String>,
    /// Kinds of files to save. If it is not set, all are saved.
    #[serde(default)]
    #[schemars(schema_with = "kinds")]
    files: Vec<String>,
}

/// Which languages to list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Languages {
    /// List only languages with this text in their code or name.
    #[schemars(length(max = "MAX_TEXT"))]
    filter: Option<String>,
}

/// No arguments.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "rmcp::schemars")]
pub(super) struct Nothing {}

fn style(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<_> = VoiceStyle::ALL.iter().map(ToString::to_string).collect();
    schemars::json_schema!({ "type": "string", "enum": names })
}

fn kinds(_: &mut SchemaGenerator) -> Schema {
    let names = KINDS.map(FileKind::name);
    schemars::json_schema!({ "type": "array", "items": { "type": "string", "enum": names }, "maxItems": KINDS.len() })
}

/// The arguments as a type.
///
/// # Errors
/// What in them is wrong.
pub(super) fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments)).map_err(|error| error.to_string())
}

impl Video {
    pub(super) fn check(self) -> Result<Box<RequestRow>, String> {
        count("to", self.to.len(), 1, MAX_LANGUAGES)?;
        let words = self.keep_words.len() + self.translate_words.len() + self.pronounce_words.len();
        count("keep_words, translate_words and pronounce_words together", words, 0, MAX_WORDS)?;
        let pairs = self.translate_words.iter().chain(&self.pronounce_words);
        let texts = [&self.url].into_iter().chain(&self.to).chain(&self.source_language);
        let texts = texts.chain(&self.caption_file).chain(&self.keep_words);
        for text in texts.chain(pairs.flat_map(|(word, meaning)| [word, meaning])) {
            check_text(text)?;
        }
        let style = match self.style {
            Some(name) => Some(
                name.parse().map_err(|_| "this style does not exist; the schema lists them".to_owned())?,
            ),
            None => None,
        };
        Ok(Box::new(RequestRow {
            url: self.url,
            request: args::Request {
                to: self.to.iter().map(|code| code.trim().to_owned()).collect(),
                source_language: self.source_language,
                lipsync: self.lipsync,
                speakers: self.speakers,
                remove_background_music: self.remove_background_music,
                captions: self.captions,
                caption_file: self.caption_file,
                keep_word: self.keep_words,
                translate_word: self.translate_words.into_iter().collect(),
                pronounce_word: self.pronounce_words.into_iter().collect(),
                style,
                dynamic_duration: self.dynamic_duration,
                webhook: None,
            },
        }))
    }
}

impl Jobs {
    pub(super) fn check(self) -> Result<Vec<JobId>, String> {
        ids(self.ids)
    }
}

impl Download {
    pub(super) fn check(self) -> Result<(Vec<JobId>, Vec<FileKind>), String> {
        let kind = |name: &String| {
            let known = KINDS.into_iter().find(|kind| kind.name() == name);
            known.ok_or_else(|| "this kind of file does not exist; the schema lists them".to_owned())
        };
        count("files", self.files.len(), 0, KINDS.len())?;
        let kinds = self.files.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
        let kinds = if kinds.is_empty() { KINDS.to_vec() } else { kinds };
        Ok((ids(self.ids)?, kinds))
    }
}

impl Languages {
    pub(super) fn check(self) -> Result<Option<String>, String> {
        self.filter.as_deref().map_or(Ok(()), check_text)?;
        Ok(self.filter)
    }
}

/// Each id once, in order.
fn ids(ids: Vec<String>) -> Result<Vec<JobId>, String> {
    count("ids", ids.len(), 1, MAX_IDS)?;
    let mut checked: Vec<JobId> = Vec::new();
    for id in ids {
        let id = id.trim();
        if id.is_empty() {
            return Err("an id is empty".to_owned());
        }
        check_text(id)?;
        let id = JobId::from(id);
        if !checked.contains(&id) {
            checked.push(id);
        }
    }
    Ok(checked)
}

fn count(name: &str, count: usize, min: usize, max: usize) -> Result<(), String> {
    if (min..=max).contains(&count) {
        return Ok(());
    }
    Err(format!("{name}: {count} values; write {min} to {max}, and use several calls for more"))
}

fn check_text(text: &str) -> Result<(), String> {
    if text.len() <= MAX_TEXT {
        return Ok(());
    }
    Err(format!("a text has {} bytes; the maximum is {MAX_TEXT}", text.len()))
}
