//! Maintains `openapi/` and the generated code.
//!
//! `cargo xtask codegen` generates the resolved description and the client from the vendored description
//! and its overlays. `--check` fails if a committed file is out of date. Users of the library do not need
//! this crate.

mod check;
mod codegen;
mod conformance;
mod generate;
mod import;
mod optional;
mod postprocess;
#[cfg(test)]
mod repository;
mod update;
mod watch;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use openapi_keeper::{description, diff, import::Options, overlay, semver};
use watch::fetch;

/// Maintain the OpenAPI description and the code generated from it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Cli {
    /// The root of the workspace [default: this workspace]
    #[arg(long, global = true, value_name = "FOLDER")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply the overlays and write the resolved description and the generated code
    Codegen {
        /// Write nothing; show the differences and fail if a committed file is out of date
        #[arg(long)]
        check: bool,
    },
    /// Test the description, the client and the mock server with independent tools
    Conformance {
        /// Run this row only
        #[arg(long, value_enum, value_name = "ROW")]
        only: Option<conformance::Row>,
        /// Update docs/conformance.md instead of failing if it is out of date
        #[arg(long)]
        write: bool,
    },
    /// Import, check and compare descriptions
    #[command(subcommand)]
    Spec(Spec),
    /// Apply overlays
    #[command(subcommand)]
    Overlay(OverlayCommand),
}

#[derive(Subcommand)]
enum Spec {
    /// Vendor documentation pages, OpenAPI documents, folders of these, or `-`, byte for byte
    ///
    /// A source replaces the vendored file with the same operations, origin or name; any other is added.
    Import {
        #[command(flatten)]
        sources: Sources,
        /// Print the description and write nothing
        #[arg(long)]
        print: bool,
    },
    /// Import, check, diff, codegen and cargo check in one step; restores all files if it fails or is interrupted
    Update {
        #[command(flatten)]
        sources: Sources,
        /// Show the result and restore all files
        #[arg(long)]
        dry_run: bool,
        /// Remove overlay actions that the sources replace or make redundant
        #[arg(long)]
        prune_overlays: bool,
    },
    /// Fetch the vendor's pages and, if they changed, commit the update to a new branch; never pushes
    ///
    /// It runs `spec update` in a git worktree below target/spec-watch, and leaves the text of a pull request in target/spec-watch/report.md. The working branch and its files stay as they are.
    ///
    /// Exit codes: 0 nothing new, 3 changes that break no one, 4 breaking changes or changes that need a person,
    /// 5 broken page (gone, HTML, too large, or no client can be generated from it), 6 unavailable for now, 1 another
    /// error, 2 wrong usage.
    Watch(watch::Options),
    /// Check whether code can be generated from a description; each problem has its place and line
    Check {
        /// The description [default: the vendored description with its overlays]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show the changes in meaning between two descriptions, and whether they break callers
    Diff {
        /// The description that callers were written for
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The description to judge
        #[arg(value_name = "NEW")]
        new: PathBuf,
        /// The format of the output
        #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
        format: Format,
        /// The findings that were reviewed and do not count [default: openapi/spec-accepted.toml, if it exists]
        #[arg(long, value_name = "FILE")]
        accepted: Option<PathBuf>,
        /// Do not generate and compare the Rust of both
        #[arg(long)]
        no_rust: bool,
        /// Fail on changes of this level or above
        #[arg(long, value_enum, value_name = "LEVEL")]
        fail_on: Option<FailOn>,
    },
}

#[derive(clap::Args)]
struct Sources {
    /// A page, a document, a folder of these, or `-`
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// The source that takes precedence if two define the same thing differently
    #[arg(long, value_name = "SOURCE")]
    prefer: Option<PathBuf>,
    /// Why it takes precedence, for openapi/sources.toml
    #[arg(long, value_name = "TEXT", requires = "prefer")]
    reason: Option<String>,
    /// Take this operation only, such as `GET /path`; repeat it for more [default: all, or those taken from the old version]
    #[arg(long = "only", value_name = "OPERATION")]
    only: Vec<String>,
    /// The vendor's URL, for openapi/sources.toml; repeat it for each source
    #[arg(long = "origin", value_name = "URL", value_parser = origin)]
    origins: Vec<String>,
}

/// Checks the URL of a source.
fn origin(text: &str) -> Result<String, String> {
    match url::Url::parse(text) {
        Ok(url) if url.scheme() == "https" && url.host_str().is_some() => Ok(text.to_owned()),
        Ok(url) => Err(format!("a {} URL; give the https:// URL of the vendor's page", url.scheme())),
        Err(error) => Err(format!("{error}; give the https:// URL of the vendor's page")),
    }
}

impl From<Sources> for Options {
    fn from(Sources { sources, prefer, reason, only, origins }: Sources) -> Self {
        Self { sources, origins, only, prefer, reason }
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    /// For a pull request
    Markdown,
    /// Commands for a GitHub workflow, which shows them as annotations
    Github,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FailOn {
    Breaking,
    Additive,
    Any,
}

#[derive(Subcommand)]
enum OverlayCommand {
    /// Print a description with overlays applied; actions that match nothing are warnings
    Apply {
        /// The description, or any other YAML or JSON
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The overlays, in the order in which they are applied
        #[arg(required = true, value_name = "OVERLAY")]
        overlays: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let root = cli.root.unwrap_or_else(workspace_root);
    let outcome = match cli.command {
        Command::Spec(Spec::Watch(options)) => match watch::run(&root, &options, fetch::Limits::default()) {
            Ok(outcome) => return outcome.exit_code(),
            Err(error) => Err(error),
        },
        Command::Codegen { check } => {
            codegen::run(&root, if check { codegen::Mode::Check } else { codegen::Mode::Write })
        }
        Command::Conformance { only, write } => conformance::run(&root, only, write),
        Command::Spec(Spec::Import { sources, print: true }) => import::print(&sources.into()),
        Command::Spec(Spec::Import { sources, print: false }) => import::run(&root, &sources.into()),
        Command::Spec(Spec::Update { sources, dry_run, prune_overlays }) => {
            let mode = update::Mode { dry_run, prune: prune_overlays, target: None };
            let updated = update::run(&root, &sources.into(), mode);
            updated.map(|updated| println!("\n# The vendor's description changed\n\n{}", updated.report))
        }
        Command::Spec(Spec::Check { file }) => check::run(&root, file.as_deref()),
        Command::Spec(Spec::Diff { old, new, format, accepted, no_rust, fail_on }) => {
            compare(&root, [&old, &new], accepted.as_deref(), (format, !no_rust), fail_on)
        }
        Command::Overlay(OverlayCommand::Apply { file, overlays }) => apply(&file, &overlays),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(
    root: &Path,
    [old, new]: [&Path; 2],
    accepted: Option<&Path>,
    (format, with_rust): (Format, bool),
    fail_on: Option<FailOn>,
) -> anyhow::Result<()> {
    let read = |path: &Path| {
        let document = description::read(path)?;
        let version = document.get("openapi").and_then(serde_json::Value::as_str).unwrap_or_default();
        anyhow::ensure!(
            version.starts_with("3."),
            "{} is not OpenAPI 3: it has no `openapi: 3.x`",
            path.display()
        );
        Ok(document)
    };
    let (old, new) = (read(old)?, read(new)?);
    let mut findings = diff::compare(&old, &new);
    for unused in reviewed(root, accepted)?.apply(&mut findings) {
        if accepted.is_some() {
            eprintln!("warning: the accepted finding {unused} was not found; delete the entry");
        }
    }
    let rust = with_rust.then(|| codegen::compare_rust(root, &old, &new));
    let text = rust.as_ref().map(semver::to_text).unwrap_or_default();
    let output = match format {
        Format::Text => diff::print(&findings, diff::Format::Text, &[])? + &text,
        Format::Json => {
            let rust = rust.as_ref().map(semver::to_json).transpose()?;
            let more: Vec<_> = rust.map(|rust| ("rust", rust)).into_iter().collect();
            diff::print(&findings, diff::Format::Json, &more)?
        }
        Format::Markdown if text.is_empty() => diff::print(&findings, diff::Format::Markdown, &[])?,
        Format::Markdown => {
            format!("{}\n```text\n{text}```\n", diff::print(&findings, diff::Format::Markdown, &[])?)
        }
        Format::Github => diff::print(&findings, diff::Format::Github, &[])? + &text,
    };
    print!("{output}");
    let level = match fail_on {
        None => return Ok(()),
        Some(FailOn::Breaking) => diff::Verdict::Breaking,
        Some(FailOn::Additive) => diff::Verdict::Additive,
        Some(FailOn::Any) => diff::Verdict::Docs,
    };
    let counts = |finding: &&diff::Finding| finding.verdict >= level && finding.accepted.is_none();
    let count = findings.iter().filter(counts).count();
    anyhow::ensure!(count == 0, "{count} changes of level {level} or above");
    Ok(())
}

/// The findings that were reviewed: those of a file, or of the workspace if it has some.
fn reviewed(root: &Path, file: Option<&Path>) -> anyhow::Result<diff::Accepted> {
    match (file, import::project(root)) {
        (Some(file), _) => diff::Accepted::read(file),
        (None, Ok(project)) => project.accepted(),
        // Two documents can be compared outside of any project.
        (None, Err(_)) => Ok(diff::Accepted::default()),
    }
}

fn apply(file: &Path, overlays: &[PathBuf]) -> anyhow::Result<()> {
    let mut document = description::read(file)?;
    for path in overlays {
        let shown = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
        for warning in overlay::apply_leniently(&mut document, &bytes, &shown)? {
            eprintln!("warning: {warning}");
        }
    }
    print!("{}", description::to_yaml(&document)?);
    Ok(())
}

/// The root of this workspace, independent of the current folder.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_descriptions_of_openapi_3_are_compared() {
        let root = workspace_root();
        let overlay = root.join("openapi/overlays/10-codegen.yaml");
        let error = compare(&root, [&overlay, &overlay], None, (Format::Text, false), None).unwrap_err();
        assert!(
            error.to_string().ends_with("10-codegen.yaml is not OpenAPI 3: it has no `openapi: 3.x`"),
            "{error}"
        );
    }
}
