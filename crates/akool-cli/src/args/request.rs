//! What to translate, and how: the options of `akool translate` that a row of a file can set too.

use akool::{Client, VoiceStyle};
use clap::{Args, FromArgMatches, Parser, ValueEnum};

use super::value;

#[derive(Clone, Debug, Args)]
pub(crate) struct Request {
    /// Target languages, separated by commas; `akool languages` lists them
    #[arg(short = 't', long, value_name = "LANGUAGES", value_delimiter = ',')]
    pub(crate) to: Vec<String>,

    /// Language that is spoken in the video [default: detected]
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) source_language: Option<String>,

    /// Adapt lip movements to the new voice
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) lipsync: Option<bool>,

    /// Number of speakers; 0 detects it [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = value::speakers)]
    pub(crate) speakers: Option<u32>,

    /// Remove background music
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) remove_background_music: Option<bool>,

    /// Burned-in subtitles: none, original, translated, replaced (original ones by translated ones) or
    /// added (translated ones to the original ones) [default: none]
    #[arg(long, value_name = "KIND", hide_possible_values = true)]
    pub(crate) captions: Option<Captions>,

    /// Public URL of an SRT or ASS file with subtitles, which AKOOL downloads, or with --stage a file of this machine
    #[arg(long, value_name = "URL")]
    pub(crate) caption_file: Option<String>,

    /// Do not translate this word (can be repeated)
    #[arg(long, value_name = "WORD")]
    pub(crate) keep_word: Vec<String>,

    /// Translate a word in this way (can be repeated)
    #[arg(long, value_name = "WORD=TRANSLATION", value_parser = value::pair)]
    pub(crate) translate_word: Vec<(String, String)>,

    /// Pronounce a word in this way (can be repeated)
    #[arg(long, value_name = "WORD=SOUND", value_parser = value::pair)]
    pub(crate) pronounce_word: Vec<(String, String)>,

    /// Style of the new voice [default: professional]
    #[arg(long, value_name = "STYLE", value_parser = value::style())]
    pub(crate) style: Option<VoiceStyle>,

    /// Let the length of the video change to fit the speech
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) dynamic_duration: Option<bool>,

    /// URL that AKOOL calls when the jobs change
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
}

/// `--captions`.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[cfg_attr(feature = "mcp", derive(serde::Deserialize, rmcp::schemars::JsonSchema))]
#[cfg_attr(feature = "mcp", serde(rename_all = "snake_case"), schemars(crate = "rmcp::schemars"))]
pub(crate) enum Captions {
    None,
    Original,
    Translated,
    Replaced,
    Added,
}

/// One video to translate: a URL of the command line, or a row of a file, which is parsed like a command line.
#[derive(Clone, Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
pub(crate) struct RequestRow {
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) request: Request,
}

/// What a text of the command line names.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) urls: Vec<String>,
    /// Why other files of a folder are left out.
    pub(crate) left_out: Vec<String>,
}

impl RequestRow {
    /// The row of a URL on the command line.
    pub(crate) fn new(url: &str, request: &Request) -> Self {
        Self { url: url.to_owned(), request: request.clone() }
    }

    /// The names of the options that a row can set.
    pub(crate) fn names() -> Vec<String> {
        let command = <Self as clap::CommandFactory>::command();
        command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect()
    }

    /// The row with these arguments. What they do not set is as in `defaults`.
    ///
    /// # Errors
    /// Which argument is not valid, and why.
    pub(crate) fn parse(defaults: &Request, args: &[String]) -> Result<Self, String> {
        let mut row = Self::new("", defaults);
        let command = <Self as clap::CommandFactory>::command_for_update();
        let explain = |error: clap::Error| {
            let text = error.render().to_string();
            let lines = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.is_empty());
            let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
            text.strip_prefix("error: ").unwrap_or(&text).to_owned()
        };
        let mut matches = command.try_get_matches_from(args).map_err(explain)?;
        row.update_from_arg_matches_mut(&mut matches).map_err(explain)?;
        Ok(row)
    }

    /// The request to create jobs in these languages.
    pub(crate) fn translate(&self, client: &Client, languages: &[String]) -> akool::Translate {
        let options = &self.request;
        let mut request = client.translate(self.url.as_str()).to(languages.iter().map(|code| code.trim()));
        if let Some(language) = &options.source_language {
            request = request.source_language(language.as_str());
        }
        if let Some(on) = options.lipsync {
            request = request.lipsync(on);
        }
        if let Some(count) = options.speakers {
            request = request.speakers(count);
        }
        if let Some(on) = options.remove_background_music {
            request = request.remove_background_music(on);
        }
        if let Some(captions) = options.captions {
            request = request.captions(match captions {
                Captions::None => akool::Captions::None,
                Captions::Original => akool::Captions::Original,
                Captions::Translated => akool::Captions::Translated,
                Captions::Replaced => akool::Captions::Replaced,
                Captions::Added => akool::Captions::Added,
            });
        }
        if let Some(url) = &options.caption_file {
            request = request.caption_file(url);
        }
        request = request.keep_words(&options.keep_word);
        for (word, translation) in &options.translate_word {
            request = request.translate_word(word, translation);
        }
        for (word, sound) in &options.pronounce_word {
            request = request.pronounce_word(word, sound);
        }
        if let Some(style) = options.style {
            request = request.style(style);
        }
        if let Some(on) = options.dynamic_duration {
            request = request.dynamic_duration(on);
        }
        if let Some(url) = &options.webhook {
            request = request.webhook(url);
        }
        request
    }
}
