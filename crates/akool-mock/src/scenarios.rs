//! Jobs and faults from a TOML file: [`Scenarios`].

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::Deserialize;
use toml::Spanned;

use crate::{
    config::{self, Failure, Injection, Often, On, Status, Step},
    files,
    record::short,
    server::MockServer,
    timeline::Timeline,
    times::Times,
};

/// Jobs, faults and renamed fields from a TOML file.
///
/// ```
/// use akool_mock::{MockServer, scenarios::Scenarios};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let scenarios = Scenarios::read("examples/scenarios.toml")?;
/// let server = MockServer::start().await;
/// server.load(&scenarios);
/// assert_eq!(server.api_key(), "my-key");
/// # Ok(())
/// # }
/// ```
///
/// That file contains every key:
///
#[doc = concat!("```toml\n", include_str!("../examples/scenarios.toml"), "```")]
#[derive(Clone, Debug)]
pub struct Scenarios {
    api_key: Option<String>,
    token: Option<String>,
    jobs: Vec<Job>,
    faults: Vec<(Injection, Times, bool)>,
    renames: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
struct Job {
    id: String,
    what: String,
    timeline: Timeline,
    files: Vec<(String, Bytes)>,
}

/// An invalid scenarios file. The message names the line, the key, the reason and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidScenarios(String);

impl Scenarios {
    /// Reads a file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// If the file cannot be read or is not valid.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, InvalidScenarios> {
        let path = path.as_ref();
        let shown = path.display();
        let text =
            read_text(path).map_err(|error| InvalidScenarios(format!("cannot read {shown}: {error}")))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::from_toml(&text, folder).map_err(|error| InvalidScenarios(format!("{shown}: {error}")))
    }

    /// Parses the text of a file. Relative paths in it are relative to `folder`.
    ///
    /// # Errors
    /// If the text is not valid, or a file that it names cannot be read.
    pub fn from_toml(text: &str, folder: &Path) -> Result<Self, InvalidScenarios> {
        let file: File = toml::from_str(text).map_err(|error| syntax_error(text, &error))?;
        let at = |span: std::ops::Range<usize>, why: String| {
            let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
            InvalidScenarios(format!("line {line}: {why}"))
        };

        let mut jobs: Vec<Job> = Vec::new();
        for job in file.job {
            let (span, id) = (job.id.span(), job.id.into_inner());
            if id.is_empty() {
                return Err(at(span, "`id` is empty".to_owned()));
            }
            if jobs.iter().any(|own| own.id == id) {
                return Err(at(span, format!("`id`: there is already a job {id:?}")));
            }
            let error_span = job.error.as_ref().map_or(0..0, Spanned::span);
            let timeline =
                config::timeline(&job.steps, job.end.as_ref(), job.error.as_ref().map(Spanned::get_ref))
                    .map_err(|why| at(error_span, why.to_owned()))?;
            let mut own = Vec::new();
            for (name, path) in job.files {
                if !files::ALL.iter().any(|file| file.name == name.get_ref().as_str()) {
                    let known = files::ALL.map(|file| file.name).join(", ");
                    let why =
                        format!("`files`: a job has no file {:?}; its files are {known}", name.get_ref());
                    return Err(at(name.span(), why));
                }
                let whole = folder.join(path.get_ref());
                let bytes = fs::read(&whole).map_err(|error: io::Error| {
                    at(path.span(), format!("`files`: cannot read {}: {error}", whole.display()))
                })?;
                own.push((name.into_inner(), bytes.into()));
            }
            jobs.push(Job { id, what: job.what, timeline, files: own });
        }

        let mut faults = Vec::new();
        for fault in file.fault {
            let injection = Injection::parse(fault.on, fault.what.get_ref())
                .map_err(|why| at(fault.what.span(), format!("`what`: {why}")))?;
            let percent_span = fault.percent.as_ref().map_or(0..0, Spanned::span);
            let percent = fault.percent.map(Spanned::into_inner);
            let times = config::times(fault.times, percent, fault.seed)
                .map_err(|why| at(percent_span, why.to_owned()))?;
            faults.push((injection, times, fault.advances_timeline));
        }
        let mut renames = Vec::new();
        for rename in file.rename {
            if !rename.field.get_ref().starts_with('/') {
                let why = "`field` is not a JSON Pointer; write it like \"/data/video_status\"";
                return Err(at(rename.field.span(), why.to_owned()));
            }
            renames.push((rename.field.into_inner(), rename.to));
        }
        Ok(Self { api_key: file.api_key, token: file.token, jobs, faults, renames })
    }

    /// Returns the id and the description of each job.
    pub fn jobs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.jobs.iter().map(|job| (job.id.as_str(), job.what.as_str()))
    }
}

impl MockServer {
    /// Adds the jobs, faults and renamed fields of a file, and sets its credentials.
    pub fn load(&self, scenarios: &Scenarios) {
        if let Some(key) = &scenarios.api_key {
            key.clone_into(&mut self.state().api_key);
        }
        if let Some(token) = &scenarios.token {
            token.clone_into(&mut self.state().token);
        }
        for job in &scenarios.jobs {
            self.job(&job.id, job.timeline.clone());
            if !job.what.is_empty() {
                self.state().notes.insert(job.id.clone(), job.what.clone());
            }
            for (name, contents) in &job.files {
                self.file_of(&job.id, name, contents.clone());
            }
        }
        for (injection, times, advances) in &scenarios.faults {
            self.state().inject(*injection, *times, *advances);
        }
        for (field, name) in &scenarios.renames {
            self.rename_field(field, name);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    api_key: Option<String>,
    token: Option<String>,
    #[serde(default)]
    job: Vec<FileJob>,
    #[serde(default)]
    fault: Vec<FileFault>,
    #[serde(default)]
    rename: Vec<FileRename>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileJob {
    id: Spanned<String>,
    #[serde(default)]
    what: String,
    #[serde(default)]
    steps: Vec<Step>,
    end: Option<Status>,
    error: Option<Spanned<Failure>>,
    #[serde(default)]
    files: std::collections::BTreeMap<Spanned<String>, Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFault {
    on: On,
    what: Spanned<String>,
    times: Option<Often>,
    percent: Option<Spanned<u8>>,
    seed: Option<u64>,
    #[serde(default)]
    advances_timeline: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRename {
    field: Spanned<String>,
    to: String,
}

/// Reads a text file that is not endless.
fn read_text(path: &Path) -> io::Result<String> {
    const MAX_BYTES: u64 = 4 * 1024 * 1024;
    let found = fs::metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if found.len() > MAX_BYTES {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    fs::read_to_string(path)
}

/// Names the line. A line with a credential is not quoted.
fn syntax_error(text: &str, error: &toml::de::Error) -> InvalidScenarios {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let (before, after) = text.split_at_checked(start).unwrap_or((text, ""));
    let number = before.matches('\n').count() + 1;
    let line = [before.rsplit('\n').next(), after.split('\n').next()].map(Option::unwrap_or_default).concat();
    if ["api_key", "token"].iter().any(|name| line.contains(name)) {
        return InvalidScenarios(format!(
            "line {number}: it is not valid TOML, or not text in quotation marks"
        ));
    }
    let message = error.message();
    InvalidScenarios(format!("line {number}: {message}\n  {}", short(line.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fault;

    fn error(text: &str) -> String {
        Scenarios::from_toml(text, Path::new("/nonexistent")).unwrap_err().to_string()
    }

    #[test]
    fn each_mistake_is_reported_with_its_line_and_key() {
        let job = "[[job]]\nid = \"a\"\n";
        for (text, line, expected) in [
            ("x = 1", 1, "unknown field `x`"),
            ("[[job]]\nid = 5", 2, "invalid type: integer `5`, expected a string"),
            ("[[job]]\nwhat = \"w\"", 1, "missing field `id`"),
            ("[[job]]\nid = \"\"", 2, "`id` is empty"),
            ("[[job]]\nid = \"a\"\n\n[[job]]\nid = \"a\"", 5, "there is already a job \"a\""),
            (&format!("{job}step = []"), 3, "unknown field `step`"),
            (&format!("{job}steps = [{{ status = \"done\", for = \"1s\" }}]"), 3, "\"done\" is not a status"),
            (&format!("{job}steps = [{{ status = 1, for = \"soon\" }}]"), 3, "\"soon\" is not a duration"),
            (&format!("{job}steps = [{{ status = 1 }}]"), 3, "missing field `for`"),
            (
                &format!("{job}end = \"completed\"\nerror = {{ code = 1, reason = \"r\" }}"),
                4,
                "`error` is only valid with",
            ),
            (
                &format!("{job}files = {{ \"a.mp4\" = \"b\" }}"),
                3,
                "has no file \"a.mp4\"; its files are video.mp4",
            ),
            (&format!("{job}files = {{ \"video.mp4\" = \"b\" }}"), 3, "cannot read /nonexistent/b"),
            ("[[fault]]\non = \"jobs\"\nwhat = \"html\"", 2, "unknown variant `jobs`"),
            ("[[fault]]\non = \"polls\"\nwhat = \"htlm\"", 3, "\"htlm\" is not a fault"),
            ("[[fault]]\non = \"polls\"\nwhat = \"refused\"", 3, "before there is a request"),
            ("[[fault]]\non = \"polls\"\nwhat = \"html\"\ntimes = 0", 4, "`times` must be a number from 1"),
            ("[[fault]]\non = \"polls\"\nwhat = \"html\"\npercent = 101", 4, "more than 100"),
            ("[[fault]]\non = \"polls\"\nwhat = \"html\"\ntimes = 1\npercent = 1", 5, "exclude each other"),
            ("[[rename]]\nfield = \"a\"\nto = \"b\"", 2, "not a JSON Pointer"),
            ("[[job]\n", 1, "line 1"),
        ] {
            let error = error(text);
            assert!(error.contains(expected) && error.contains(&format!("line {line}")), "{text}\n{error}");
        }
        let error = Scenarios::read("/nonexistent/x.toml").unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nonexistent/x.toml: "), "{error}");
    }

    #[test]
    fn a_credential_is_not_quoted() {
        for text in [
            "api_key = MARKER",
            "a = 1\napi_key = [\"MARKER\"]",
            "token = \"MARKER",
            "api_key = \"MARKER\" x",
        ] {
            let error = Scenarios::from_toml(text, Path::new("/nonexistent")).unwrap_err().to_string();
            assert!(error.contains("line") && !error.contains("MARKER"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_a_regular_file_is_refused() {
        let error = Scenarios::read("/dev/zero").unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }

    #[test]
    fn every_fault_can_be_parsed_from_its_name() {
        for fault in Fault::all() {
            assert_eq!(fault.name().parse(), Ok(fault), "{}", fault.name());
        }
        assert_eq!("http-599".parse(), Ok(Fault::Http(599)));
        assert_eq!("status-number--1".parse(), Ok(Fault::StatusNumber(-1)));
        assert_eq!(Fault::ResetInBody.name(), "reset-in-body");
        for wrong in ["", "http", "http-", "http-99999", "http-4x", "Html", "code-1-2"] {
            assert!(wrong.parse::<Fault>().unwrap_err().contains("is not a fault"), "{wrong}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_scenarios_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("own.srt"), "own").unwrap();
        let path = folder.path().join("s.toml");
        fs::write(&path, "[[job]]\nid = \"a\"\nfiles = { \"translated.srt\" = \"own.srt\" }\n").unwrap();
        let scenarios = Scenarios::read(&path).unwrap();
        assert_eq!(scenarios.jobs().collect::<Vec<_>>(), [("a", "")]);
    }
}
