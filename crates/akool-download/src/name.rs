//! Names of files on disk that say what a file is: [`NameTemplate`], [`FileNames`], [`source_name`].
//!
//! Every name that this module returns is safe on all systems: it has no path separator, no `..`, no control character
//! and no character that Windows forbids, is no device name, and leaves room for the names of temporary files.

use std::fmt;

use akool::{FileKind, JobId};
use percent_encoding::percent_decode_str;
use url::Url;

/// Most file systems allow names of 255 bytes. `.part.json` is added to the name of an incomplete file.
const MAX_BYTES: usize = 255 - ".part.json".len();
/// The maximum length of the fixed text of a template, so that there is room for the rest.
const MAX_FIXED_BYTES: usize = 80;
/// A longer language is cut off. Codes are short, but any text is accepted.
const MAX_LANGUAGE_BYTES: usize = 32;
/// What may stand between the parts of a name.
const SEPARATORS: [char; 4] = ['.', '-', '_', ' '];

/// How the files of a translation are named. The default is `talk.es.mp4`, `talk.es.srt`, `talk.es.original.srt` and
/// `talk.es.no-captions.mp4`.
///
/// ```
/// use akool_download::{FileNames, NameTemplate};
/// use akool::FileKind;
///
/// let mut names = FileNames::new("64dd".into());
/// names.source = Some("talk".to_owned());
/// names.language = Some("es".to_owned());
/// assert_eq!(NameTemplate::default().name(&names, FileKind::Video, false), "talk.es.mp4");
/// assert_eq!(NameTemplate::default().name(&names, FileKind::Video, true), "talk.es.64dd.mp4");
///
/// let template: NameTemplate = "{language} {source} ({kind}).{ext}".parse()?;
/// assert_eq!(template.name(&names, FileKind::Subtitles, false), "es talk (subtitles).srt");
/// # Ok::<(), akool_download::TemplateError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTemplate {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Source,
    Language,
    Id,
    Kind,
    Extension,
    /// What follows the language in the default name: empty, `.original` or `.no-captions`.
    Suffix,
}

/// Text is not a valid template for names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

/// What is known of a job whose files are named.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileNames {
    /// The id of the job.
    pub id: JobId,
    /// The name of the source video; see [`source_name`].
    pub source: Option<String>,
    /// The target language.
    pub language: Option<String>,
}

impl FileNames {
    /// Nothing but the id is known.
    pub fn new(id: JobId) -> Self {
        Self { id, source: None, language: None }
    }
}

impl Default for NameTemplate {
    fn default() -> Self {
        let dot = || Piece::Text(".".to_owned());
        let pieces = vec![Piece::Source, dot(), Piece::Language, Piece::Suffix, dot(), Piece::Extension];
        Self { pieces }
    }
}

impl std::str::FromStr for NameTemplate {
    type Err = TemplateError;

    /// Reads a template with the placeholders `{source}`, `{language}`, `{id}`, `{kind}` (`video`, `subtitles`,
    /// `original-subtitles` or `no-captions`) and `{ext}` (`mp4` or `srt`), each at most once.
    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let fail = |why: String| Err(TemplateError(why));
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some((name, after)) = from.strip_prefix('{').and_then(|from| from.split_once('}')) else {
                return fail(format!(
                    "a brace in \"{text}\" is not part of a placeholder such as {{source}}"
                ));
            };
            let piece = match name {
                "source" => Piece::Source,
                "language" => Piece::Language,
                "id" => Piece::Id,
                "kind" => Piece::Kind,
                "ext" => Piece::Extension,
                other => {
                    return fail(format!(
                        "{{{other}}} is not a placeholder; use {{source}}, {{language}}, {{id}}, {{kind}} and {{ext}}"
                    ));
                }
            };
            // Otherwise, a name could be too long for what tells the files of a job apart.
            if pieces.contains(&piece) {
                return fail(format!("{{{name}}} is there twice; use each placeholder once"));
            }
            pieces.push(piece);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let fixed = || {
            pieces.iter().filter_map(|piece| if let Piece::Text(text) = piece { Some(text) } else { None })
        };
        if let Some(letter) = fixed().flat_map(|text| text.chars()).find(|letter| is_unsafe(*letter)) {
            return fail(format!("{letter:?} is not allowed in the name of a file"));
        }
        if fixed().any(|text| text.contains("..")) {
            return fail("`..` is not allowed in the name of a file".to_owned());
        }
        if fixed().map(String::len).sum::<usize>() > MAX_FIXED_BYTES {
            return fail(format!("the text between the placeholders is longer than {MAX_FIXED_BYTES} bytes"));
        }
        if pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) {
            return fail("use at least one placeholder, such as {source}".to_owned());
        }
        Ok(Self { pieces })
    }
}

impl NameTemplate {
    /// The name of a file of a job. The job's id is added if the template needs a source or a language that is not
    /// known, or if `with_id` is true, unless the template has it.
    pub fn name(&self, job: &FileNames, kind: FileKind, with_id: bool) -> String {
        self.render(job, kind, extension(kind), with_id)
    }

    /// The name of the [WebVTT](crate::webvtt()) file that is made from subtitles of this kind.
    pub fn vtt_name(&self, job: &FileNames, kind: FileKind, with_id: bool) -> String {
        self.render(job, kind, "vtt", with_id)
    }

    /// Checks that the files of a job get different names: those of these kinds and, with `vtt`, the WebVTT files.
    ///
    /// # Errors
    /// If two files would get the same name.
    pub fn check(&self, kinds: &[FileKind], vtt: bool) -> Result<(), TemplateError> {
        let mut job = FileNames::new("id".into());
        (job.source, job.language) = (Some("source".to_owned()), Some("language".to_owned()));
        let subtitles = kinds.iter().filter(|kind| vtt && is_subtitles(**kind));
        let all = kinds.iter().map(|kind| (kind, self.name(&job, *kind, false)));
        let all = all.chain(subtitles.map(|kind| (kind, self.vtt_name(&job, *kind, false))));
        let mut named: Vec<(&FileKind, String)> = Vec::new();
        for (kind, name) in all {
            match named.iter().find(|(_, other)| *other == name) {
                Some((other, _)) if *other == kind => {
                    return Err(TemplateError(
                        "SRT and WebVTT would get the same name; add {ext}".to_owned(),
                    ));
                }
                Some((other, _)) => {
                    return Err(TemplateError(format!(
                        "the {other} and the {kind} would get the same name; add {{kind}}"
                    )));
                }
                None => named.push((kind, name)),
            }
        }
        Ok(())
    }

    fn render(&self, job: &FileNames, kind: FileKind, extension: &str, with_id: bool) -> String {
        let id = id_name(&job.id);
        let mut source = job.source.as_deref().map(safe_part).filter(|source| !source.is_empty());
        let mut language = job.language.as_deref().map(safe_part);
        if let Some(language) = &mut language {
            shorten(language, MAX_LANGUAGE_BYTES);
        }
        let language = language.filter(|language| !language.is_empty());
        loop {
            let parts =
                Parts { source: source.as_deref(), language: language.as_deref(), id: &id, kind, extension };
            let name = parts.join(&self.pieces, with_id);
            let excess = name.len().saturating_sub(MAX_BYTES);
            match &mut source {
                // The source is shortened first, because the other parts tell the files of a run apart.
                Some(source) if excess > 0 && source.len() > excess => {
                    shorten(source, source.len() - excess);
                }
                _ => return safe_name(&name),
            }
        }
    }
}

struct Parts<'a> {
    source: Option<&'a str>,
    language: Option<&'a str>,
    id: &'a str,
    kind: FileKind,
    extension: &'a str,
}

impl Parts<'_> {
    fn value<'a>(&'a self, piece: &'a Piece) -> Option<&'a str> {
        match piece {
            Piece::Text(text) => Some(text),
            Piece::Source => self.source,
            Piece::Language => self.language,
            Piece::Id => Some(self.id),
            Piece::Kind => Some(kind_name(self.kind)),
            Piece::Extension => Some(self.extension),
            Piece::Suffix => Some(match self.kind {
                FileKind::OriginalSubtitles => ".original",
                FileKind::NoCaptions => ".no-captions",
                _ => "",
            }),
        }
    }

    fn join(&self, pieces: &[Piece], with_id: bool) -> String {
        let describes = |piece: &Piece| matches!(piece, Piece::Source | Piece::Language);
        let unknown = pieces.iter().position(|piece| self.value(piece).is_none());
        let has_id = pieces.contains(&Piece::Id);
        // The id takes the place of what is not known, or follows what the file is.
        let id_at = match unknown {
            _ if has_id => None,
            None if !with_id => None,
            Some(at) => Some(at),
            None => Some(pieces.iter().rposition(describes).map_or(0, |at| at + 1)),
        };
        let mut name = String::new();
        for (at, piece) in pieces.iter().enumerate() {
            if id_at == Some(at) {
                if unknown.is_none() && at > 0 {
                    name.push('.');
                }
                name.push_str(self.id);
                if unknown.is_none() && at == 0 {
                    name.push('.');
                }
            }
            match self.value(piece) {
                Some(text) if name.is_empty() => name.push_str(text.trim_start_matches(SEPARATORS)),
                Some(text) => name.push_str(text),
                // What stood before it goes as well. An id in its place does not end with a separator.
                None => name.truncate(name.trim_end_matches(SEPARATORS).len()),
            }
        }
        if id_at == Some(pieces.len()) {
            name.push('.');
            name.push_str(self.id);
        }
        name
    }
}

/// The name of the video behind a URL: the last part of its path, decoded and without its extension. `None` if the path
/// has no last part.
///
/// ```
/// use akool_download::source_name;
///
/// assert_eq!(source_name("https://example.com/my%20talk.v2.mp4?a=1").as_deref(), Some("my talk.v2"));
/// assert_eq!(source_name("https://example.com/"), None);
/// ```
pub fn source_name(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let last = url.path_segments()?.rfind(|segment| !segment.is_empty())?.to_owned();
    let name = percent_decode_str(&last).decode_utf8_lossy().into_owned();
    let stem = match name.rsplit_once('.') {
        Some((stem, extension)) if is_extension(extension) => stem,
        _ => &name,
    };
    let stem = safe_part(stem);
    (!stem.is_empty()).then_some(stem)
}

fn is_extension(text: &str) -> bool {
    (1..=5).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// The name of a kind in templates and on the command line.
pub fn kind_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Video => "video",
        FileKind::Subtitles => "subtitles",
        FileKind::OriginalSubtitles => "original-subtitles",
        FileKind::NoCaptions => "no-captions",
        other => other.name(),
    }
}

/// Whether a kind is an SRT file.
pub(crate) fn is_subtitles(kind: FileKind) -> bool {
    extension(kind) == "srt"
}

fn extension(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Subtitles | FileKind::OriginalSubtitles => "srt",
        _ => "mp4",
    }
}

/// The id of a job as a part of a name, as in [`FileKind::file_name`].
fn id_name(id: &JobId) -> String {
    let name = FileKind::Video.file_name(id);
    name.strip_suffix(".mp4").unwrap_or(&name).to_owned()
}

/// Makes a name safe on every system. A name that is safe stays as it is.
pub(crate) fn safe_name(name: &str) -> String {
    let mut name = safe_part(name);
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    if name.is_empty() || is_device(stem) {
        name.insert(0, '_');
    }
    shorten(&mut name, MAX_BYTES);
    name
}

/// Replaces what is not safe in a part of a name.
fn safe_part(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '.' if safe.ends_with('.') => {}
            letter if is_unsafe(letter) => safe.push('_'),
            letter => safe.push(letter),
        }
    }
    let safe = safe.trim_start().trim_end_matches(is_end);
    match safe.strip_prefix(['.', '-', '~']) {
        // Hidden files, and names that look like options or home folders.
        Some(rest) if !rest.is_empty() => format!("_{rest}"),
        Some(_) => String::new(),
        None => safe.to_owned(),
    }
}

/// Windows removes dots and blanks from the end of a name.
fn is_end(letter: char) -> bool {
    letter == '.' || letter.is_whitespace()
}

fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
        // Line separators, and characters that change the direction of the text, so that a name looks like another one.
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether Windows takes a name with this text before its first dot for a device.
fn is_device(stem: &str) -> bool {
    let stem = stem.to_ascii_lowercase();
    let number = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul" | "conin$" | "conout$")
        || number.is_some_and(|number| {
            let mut letters = number.chars();
            matches!((letters.next(), letters.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
        })
}

/// Cuts a text at a boundary of characters, and what must not be at its end.
fn shorten(text: &mut String, max_bytes: usize) {
    if text.len() > max_bytes {
        let end = (0..=max_bytes).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.truncate(text.trim_end_matches(is_end).len());
    }
}

impl fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            f.write_str(match piece {
                Piece::Text(text) => text,
                Piece::Source => "{source}",
                Piece::Language => "{language}",
                Piece::Id => "{id}",
                Piece::Kind => "{kind}",
                Piece::Extension => "{ext}",
                // Only the default has it.
                Piece::Suffix => "",
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [FileKind; 4] =
        [FileKind::Video, FileKind::Subtitles, FileKind::OriginalSubtitles, FileKind::NoCaptions];

    fn job(source: Option<&str>, language: Option<&str>) -> FileNames {
        FileNames {
            id: "64dd".into(),
            source: source.map(str::to_owned),
            language: language.map(str::to_owned),
        }
    }

    fn template(text: &str) -> NameTemplate {
        text.parse().unwrap()
    }

    #[test]
    fn the_id_is_added_if_source_or_language_is_unknown_or_on_request() {
        let names = |source, language, with_id| {
            KINDS.map(|kind| NameTemplate::default().name(&job(source, language), kind, with_id))
        };
        assert_eq!(
            names(Some("talk"), Some("es"), false),
            ["talk.es.mp4", "talk.es.srt", "talk.es.original.srt", "talk.es.no-captions.mp4"]
        );
        assert_eq!(
            names(Some("talk"), Some("es"), true),
            [
                "talk.es.64dd.mp4",
                "talk.es.64dd.srt",
                "talk.es.64dd.original.srt",
                "talk.es.64dd.no-captions.mp4"
            ]
        );
        assert_eq!(names(None, Some("es"), false)[2], "64dd.es.original.srt");
        assert_eq!(names(Some("talk"), None, false)[2], "talk.64dd.original.srt");
        assert_eq!(
            names(None, None, true),
            ["64dd.mp4", "64dd.srt", "64dd.original.srt", "64dd.no-captions.mp4"]
        );
    }

    #[test]
    fn a_template_has_the_same_rules() {
        let (known, unknown) = (job(Some("talk"), Some("es")), job(None, None));
        for (text, plain, with_id, of_unknown) in [
            ("{language}-{source}.{ext}", "es-talk.mp4", "es-talk.64dd.mp4", "64dd.mp4"),
            ("{id}-{source}-{kind}.{ext}", "64dd-talk-video.mp4", "64dd-talk-video.mp4", "64dd-video.mp4"),
            ("{source}.{id}.{ext}", "talk.64dd.mp4", "talk.64dd.mp4", "64dd.mp4"),
            ("{kind}.{ext}", "video.mp4", "64dd.video.mp4", "video.mp4"),
            ("{kind} {source}", "video talk", "video talk.64dd", "video 64dd"),
            ("{source}-{kind}", "talk-video", "talk.64dd-video", "64dd-video"),
            ("{kind}-{language}-{source}", "video-es-talk", "video-es-talk.64dd", "video-64dd"),
        ] {
            let template = template(text);
            assert_eq!(template.name(&known, FileKind::Video, false), plain, "{text}");
            assert_eq!(template.name(&known, FileKind::Video, true), with_id, "{text}");
            assert_eq!(template.name(&unknown, FileKind::Video, false), of_unknown, "{text}");
            assert_eq!(template.to_string(), text);
        }
        assert_eq!(template("{source}.{ext}").vtt_name(&known, FileKind::Subtitles, false), "talk.vtt");
        let no_source = job(None, Some("es"));
        assert_eq!(template("{language}-{source}").name(&no_source, FileKind::Video, false), "es-64dd");
        assert!(format!("{}{{id}}", "x".repeat(80)).parse::<NameTemplate>().is_ok());
    }

    #[test]
    fn a_template_that_cannot_be_used_is_refused() {
        for (text, why) in [
            ("{title}", "{title} is not a placeholder"),
            ("{source", "brace"),
            ("a}{source}", "brace"),
            ("out/{source}", "'/'"),
            ("..{source}", "`..`"),
            ("talk.mp4", "at least one placeholder"),
            ("", "at least one placeholder"),
            (&format!("{}{{id}}", "x".repeat(81)), "longer than 80 bytes"),
            ("{id}-{source}-{id}", "{id} is there twice"),
        ] {
            let error = text.parse::<NameTemplate>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_files_of_a_job_must_get_different_names() {
        NameTemplate::default().check(&KINDS, true).unwrap();
        template("{source}-{kind}.{ext}").check(&KINDS, true).unwrap();
        template("{source}.{ext}").check(&KINDS[..2], true).unwrap();
        let error = |text, kinds: &[FileKind]| template(text).check(kinds, true).unwrap_err().to_string();
        assert!(error("{source}.{ext}", &KINDS).contains("add {kind}"));
        assert!(error("{source}-{kind}", &KINDS).contains("add {ext}"));
        assert!(error("{source}", &KINDS[1..2]).contains("add {ext}"));
        template("{source}").check(&KINDS[..1], true).unwrap();
    }

    #[test]
    fn the_source_is_the_decoded_name_without_its_extension() {
        for (url, name) in [
            ("https://example.com/talk.mp4", Some("talk")),
            ("https://example.com/a/talk.final.MP4?x=/y.mp4#z.mp4", Some("talk.final")),
            ("https://example.com/talk", Some("talk")),
            ("https://example.com/v1.2/", Some("v1.2")),
            ("https://example.com/%C3%BCber%20uns.mov", Some("über uns")),
            ("https://example.com/%ff%fe.mp4", Some("\u{fffd}\u{fffd}")),
            ("https://example.com/..%2f..%2fetc%2fpasswd", Some("__._etc_passwd")),
            ("https://example.com/%2e%2e%5cx.mp4", Some("__x")),
            ("https://example.com/.mp4", None),
            ("https://example.com/%20.mp4", None),
            ("https://example.com/-", None),
            ("https://example.com", None),
            ("talk.mp4", None),
        ] {
            assert_eq!(source_name(url).as_deref(), name, "{url}");
        }
    }

    #[test]
    fn names_that_systems_treat_specially_are_changed() {
        for (name, safe) in [
            ("con.es.mp4", "_con.es.mp4"),
            ("COM1", "_COM1"),
            ("lpt² .mp4", "_lpt² .mp4"),
            ("com10.mp4", "com10.mp4"),
            ("..", "_"),
            ("a..b", "a.b"),
            (".hidden", "_hidden"),
            ("-rf", "_rf"),
            ("end. . ", "end"),
            ("a\u{202e}4pm.b", "a_4pm.b"),
            ("", "_"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
    }

    #[test]
    fn a_long_source_is_shortened_and_the_rest_of_the_name_stays() {
        let name = NameTemplate::default().name(&job(Some(&"ü".repeat(500)), Some("es")), KINDS[3], true);
        assert!(name.ends_with("ü.es.64dd.no-captions.mp4"), "{name}");
        assert!((MAX_BYTES - 1..=MAX_BYTES).contains(&name.len()), "{}", name.len());
        let name = NameTemplate::default().name(&job(Some("talk"), Some(&"x".repeat(500))), KINDS[3], true);
        assert_eq!(name, format!("talk.{}.64dd.no-captions.mp4", "x".repeat(MAX_LANGUAGE_BYTES)));
    }

    #[test]
    fn a_source_is_not_shortened_to_nothing() {
        let template = template(&format!("{{source}}{}{{language}}{{id}}{{kind}}.{{ext}}", "x".repeat(79)));
        let long = "a".repeat(500);
        let job = FileNames { id: (&*long).into(), source: Some(long.clone()), language: Some(long) };
        let name = template.name(&job, FileKind::NoCaptions, false);
        assert!(name.starts_with("aaaaaaaa") && name.ends_with("no-captions.mp4"), "{name}");
        assert!(name.len() <= MAX_BYTES, "{name}");
        assert_eq!(MAX_BYTES + ".part.json".len(), 255);
    }

    proptest! {
        #[test]
        fn every_name_is_safe(source in ".{0,300}", language in ".{0,40}", id in ".{0,80}", with_id: bool, custom: bool) {
            let job = FileNames { id: id.as_str().into(), source: Some(source), language: Some(language) };
            let template = if custom { template("{source} {language}{kind}") } else { NameTemplate::default() };
            let mut names = Vec::new();
            for kind in KINDS {
                let name = template.name(&job, kind, with_id);
                prop_assert!(name.len() <= MAX_BYTES, "{name:?}");
                prop_assert!(!name.contains("..") && !name.chars().any(is_unsafe), "{name:?}");
                prop_assert!(!name.starts_with(['.', '-', '~', ' ']) && !name.ends_with(is_end), "{name:?}");
                prop_assert!(!is_device(name.split('.').next().unwrap().trim_end()), "{name:?}");
                prop_assert_eq!(&safe_name(&name), &name);
                prop_assert!(!names.contains(&name), "{name:?}");
                names.push(name);
            }
        }
    }
}
