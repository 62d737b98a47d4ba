//! `cargo xtask spec watch`: finds out whether the vendor's pages changed, and prepares the update on a
//! branch of its own.
//!
//! The working branch and its files stay as they are, and nothing is pushed. What a run leaves is below
//! `target/spec-watch`: the pages, the report, and the validators of pages that had nothing new.

pub(crate) mod fetch;
mod worktree;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use openapi_keeper::{
    description, diff,
    import::Options as Import,
    merge::Conflicts,
    project::{Project, sha256},
};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::{import, update};
use fetch::{Fetched, Limits, Validators};
use worktree::Worktree;

/// What to watch.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The URL of a page or document [default: the origins in openapi/sources.toml]
    #[arg(long = "url", value_name = "URL")]
    urls: Vec<Url>,
    /// A page or document that was fetched by other means
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What a run found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    NothingNew,
    /// Changes that break no one.
    Additive,
    /// Changes that break callers, or that cannot be applied without a person.
    Breaking,
    /// A page cannot be used.
    Broken,
    /// A server does not answer for now.
    Unavailable,
}

impl Outcome {
    /// The exit code, which `cargo xtask spec watch --help` documents.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::NothingNew => 0,
            Self::Additive => 3,
            Self::Breaking => 4,
            Self::Broken => 5,
            Self::Unavailable => 6,
        })
    }

    fn title(self) -> &'static str {
        match self {
            Self::NothingNew => "The vendor's pages have nothing new",
            Self::Additive => "The vendor's pages changed, and nothing breaks",
            Self::Breaking => "The vendor's pages changed, and something breaks",
            Self::Broken => "A page of the vendor is broken",
            Self::Unavailable => "A page of the vendor is unavailable for now",
        }
    }
}

/// Fetches the pages, compares them with the vendored bytes, and updates a branch if they differ.
pub(crate) fn run(root: &Path, options: &Options, limits: Limits) -> Result<Outcome> {
    let folder = root.join("target/spec-watch");
    let _lock = update::lock(root)?;
    let project = import::project(root)?;
    let mut urls = options.urls.clone();
    if urls.is_empty() && options.files.is_empty() {
        let origins = project.sources()?.sources.into_iter().filter_map(|source| source.origin.parse().ok());
        urls = origins.collect();
        ensure!(!urls.is_empty(), "openapi/sources.toml has no URL as an origin; give --url or --file");
    }
    let mut watch = Watch {
        root,
        project: &project,
        folder: &folder,
        notes: Vec::new(),
        known: Known::read(root, &folder),
    };
    let (outcome, fingerprint, text) = watch.run(&urls, &options.files, limits)?;
    let notes: String = watch.notes.iter().map(|note| format!("- {note}\n")).collect();
    let parts = [format!("# {}\n", outcome.title()), notes, text];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let report = format!("<!-- fingerprint: {fingerprint} -->\n\n{}", parts.join("\n"));
    description::write(&folder.join("report.md"), report.as_bytes()).context("cannot write the report")?;
    println!("{report}");
    Ok(outcome)
}

/// One run.
struct Watch<'a> {
    root: &'a Path,
    project: &'a Project,
    folder: &'a Path,
    notes: Vec<String>,
    known: Known,
}

/// An outcome, the fingerprint of what was found, and the text about it.
type Found = (Outcome, String, String);

impl Watch<'_> {
    fn run(&mut self, urls: &[Url], files: &[PathBuf], limits: Limits) -> Result<Found> {
        let pages = self.folder.join("pages");
        if pages.exists() {
            fs::remove_dir_all(&pages).context("cannot delete the pages of the last run")?;
        }
        fs::create_dir_all(&pages).context("cannot make the folder of the pages")?;
        let mut given = Vec::new();
        let mut origins = Vec::new();
        let mut problems: Vec<(Outcome, String)> = Vec::new();
        let recorded = self.project.sources()?.sources;
        if !recorded.is_empty() {
            // A mistake of the user, and not of the vendor.
            self.project.vendored()?;
        }
        let mut moved = false;
        for (index, url) in urls.iter().enumerate() {
            match fetch::fetch(url, &self.known.validators(url), limits)? {
                Fetched::Unchanged => {
                    self.notes.push(format!("{}: unchanged (HTTP 304)", diff::code(url.as_str())))
                }
                Fetched::Broken(reason) => problems.push((Outcome::Broken, format!("{url}: {reason}"))),
                Fetched::Unavailable(reason) => {
                    problems.push((Outcome::Unavailable, format!("{url}: {reason}")))
                }
                Fetched::Page { bytes, validators, moved_to } => {
                    if let Some(to) = &moved_to {
                        self.notes.push(diff::code(&format!("{url}: moved to {to}")));
                        moved |= recorded.iter().any(|source| source.origin == url.as_str());
                    }
                    self.known.pages.insert(url.to_string(), validators);
                    let path = pages.join(index.to_string()).join(file_name(url));
                    fs::create_dir_all(path.parent().unwrap_or(&pages)).context("cannot make a folder")?;
                    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
                    given.push(path);
                    origins.push(moved_to.as_ref().unwrap_or(url).to_string());
                }
            }
        }
        for file in files {
            given.push(file.canonicalize().with_context(|| format!("cannot find {}", file.display()))?);
            origins.push(file.display().to_string());
        }
        // A page that cannot be used hides nothing else: the others are not updated without it.
        if let Some(outcome) =
            problems.iter().map(|(outcome, _)| *outcome).min_by_key(|outcome| *outcome as u8)
        {
            let text: String =
                problems.iter().map(|(_, problem)| format!("- {}\n", diff::code(problem))).collect();
            return Ok((outcome, sha256(text.as_bytes()), text));
        }
        let nothing = (Outcome::NothingNew, "none".to_owned(), String::new());
        if given.is_empty() {
            return Ok(nothing);
        }
        let options = Import { sources: given, origins, ..Import::default() };
        match self.project.plan(&options) {
            Ok(plan) if plan.changed().next().is_none() && !moved => {
                self.known.write(self.folder)?;
                Ok(nothing)
            }
            Ok(_) => self.update(&options),
            Err(error) => {
                let conflict = error.is::<Conflicts>();
                let text = format!("{error:#}{}", if conflict { import::PREFER } else { "" });
                let outcome = if conflict { Outcome::Breaking } else { Outcome::Broken };
                Ok((outcome, sha256(text.as_bytes()), fenced(&text)))
            }
        }
    }

    /// Runs the update in a worktree and keeps its result on a branch.
    fn update(&mut self, options: &Import) -> Result<Found> {
        let mut pages = Vec::new();
        for page in &options.sources {
            pages.extend(fs::read(page).with_context(|| format!("cannot read {}", page.display()))?);
        }
        pages.extend(options.origins.concat().bytes());
        let fingerprint = sha256(&pages);
        println!("in the worktree target/spec-watch/worktree:");
        let worktree = Worktree::create(self.root, &self.folder.join("worktree"))?;
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        let mode = update::Mode { target: Some(&target), ..update::Mode::default() };
        let updated = match update::run(worktree.path(), options, mode) {
            Ok(updated) => updated,
            Err(error) => {
                let failed = error.downcast_ref::<update::Failed>();
                let step = failed.with_context(|| format!("cannot update the worktree: {error:#}"))?.step;
                let broken = matches!(step, "import" | "check");
                let outcome = if broken { Outcome::Broken } else { Outcome::Breaking };
                self.notes.push(
                    "no branch was made; continue with `cargo xtask spec update` and the pages in \
                     target/spec-watch/pages"
                        .to_owned(),
                );
                return Ok((outcome, fingerprint, fenced(&format!("{error:#}"))));
            }
        };
        let outcome = if updated.breaking { Outcome::Breaking } else { Outcome::Additive };
        let branch = format!("spec-watch/{}", &fingerprint[..12]);
        self.notes.push(if worktree.commit(&branch, outcome.title(), &updated.report)? {
            format!("branch `{branch}` has the update; it was not pushed")
        } else {
            format!("branch `{branch}` had the update before and was left as it is")
        });
        Ok((outcome, fingerprint, updated.report))
    }
}

/// Text that may have a fence itself.
fn fenced(text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}\n")
}

/// A name for the page of a URL, with the extension of a page or document.
fn file_name(url: &Url) -> String {
    let last = url.path_segments().and_then(Iterator::last).unwrap_or_default();
    let name: String =
        last.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter)).collect();
    let name = name.trim_start_matches('.');
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("md" | "mdx" | "markdown" | "yaml" | "yml" | "json") => name.to_owned(),
        _ => format!("{}.md", if name.is_empty() { "page" } else { name }),
    }
}

/// The validators of pages that had nothing new, for conditional requests. They belong to one state of the
/// vendored files: with another one, every page is fetched again, so that a change that is not merged yet is
/// reported again.
#[derive(Default, Deserialize, Serialize)]
struct Known {
    /// The SHA-256 of `openapi/sources.toml`, which has those of the vendored files.
    sources: String,
    #[serde(default)]
    pages: BTreeMap<String, Validators>,
}

const KNOWN: &str = "validators.toml";

impl Known {
    /// Reads what is left of an earlier run. A file that cannot be read costs a fetch.
    fn read(root: &Path, folder: &Path) -> Self {
        let sources = sha256(&fs::read(root.join("openapi/sources.toml")).unwrap_or_default());
        let text = fs::read_to_string(folder.join(KNOWN)).unwrap_or_default();
        let known: Self = toml::from_str(&text).unwrap_or_default();
        if known.sources == sources { known } else { Self { sources, pages: BTreeMap::new() } }
    }

    fn validators(&self, url: &Url) -> Validators {
        self.pages.get(url.as_str()).cloned().unwrap_or_default()
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let text = toml::to_string(self).context("cannot write TOML")?;
        description::write(&folder.join(KNOWN), text.as_bytes()).context("cannot write the validators")
    }
}

#[cfg(test)]
mod tests;
