//! `cargo xtask conformance`: the description, the client and the mock server, as tools see them that were not
//! written here.
//!
//! Each row starts what it needs, on ports that the system chooses, and fails on any finding. What the rows
//! show is written down in `docs/conformance.md`, which the command itself writes and holds current.

mod document;
mod lint;
mod mutation;
mod prism;
mod process;
mod schemathesis;
mod tools;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use crate::description;

/// One tool in one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Row {
    /// schemathesis sends what it generates to `akool sandbox`
    Schemathesis,
    /// Prism serves the description to the client
    Prism,
    /// Prism stands between the client and `akool sandbox`, and validates both
    Proxy,
    /// Redocly CLI lints the description
    Lint,
    /// the mock server is broken on purpose, and the tools must see it
    Mutation,
}

const ALL: [Row; 5] = [Row::Lint, Row::Schemathesis, Row::Prism, Row::Proxy, Row::Mutation];

impl Row {
    fn name(self) -> &'static str {
        match self {
            Self::Schemathesis => "schemathesis",
            Self::Prism => "prism",
            Self::Proxy => "proxy",
            Self::Lint => "lint",
            Self::Mutation => "mutation",
        }
    }

    /// The outside tools that it asks.
    fn tools(self) -> &'static [&'static tools::Tool] {
        match self {
            Self::Schemathesis => &[&tools::SCHEMATHESIS],
            Self::Prism => &[&tools::PRISM, &tools::REDOCLY],
            Self::Proxy => &[&tools::PRISM],
            Self::Lint => &[&tools::REDOCLY],
            Self::Mutation => &[&tools::PRISM, &tools::SCHEMATHESIS],
        }
    }

    /// What it shows, in a sentence.
    fn shows(self) -> &'static str {
        match self {
            Self::Schemathesis => {
                "the sandbox answers generated requests as described, and refuses what it must"
            }
            Self::Prism => "the client understands a server made from the description alone",
            Self::Proxy => "between client and sandbox, neither side breaks the description",
            Self::Lint => "the description is sound by its recommended rules",
            Self::Mutation => "a mock server that is broken on purpose is seen to be broken",
        }
    }

    /// Its tools, as a table has them.
    fn tools_shown(self) -> String {
        let shown: Vec<_> =
            self.tools().iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
        shown.join(", ")
    }
}

/// Where things are.
struct Paths {
    root: PathBuf,
    /// Files of this command that are committed.
    ours: PathBuf,
    /// Everything that it makes and installs.
    work: PathBuf,
    resolved: PathBuf,
}

impl Paths {
    /// The resolved description with an overlay of this command's own, in a file of this name.
    fn derived(&self, overlay: &str, name: &str) -> Result<PathBuf> {
        let shown = format!("tests/conformance/{overlay}");
        let bytes = fs::read(self.ours.join(overlay)).with_context(|| format!("cannot read {shown}"))?;
        let mut document = description::read(&self.resolved)?;
        crate::overlay::apply(&mut document, &bytes, &shown)?;
        let path = self.work.join(name);
        description::write(&path, description::to_yaml(&document)?.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Runs one row or all, prints a line for each, and fails when one of them has a finding. With
/// `write`, `docs/conformance.md` is written and not compared.
pub(crate) fn run(root: &Path, only: Option<Row>, write: bool) -> Result<()> {
    let paths = Paths {
        root: root.to_path_buf(),
        ours: root.join("tests/conformance"),
        work: root.join("target/conformance"),
        resolved: root.join("openapi/akool.resolved.yaml"),
    };
    fs::create_dir_all(paths.work.join("logs")).context("cannot make a folder below target/")?;
    let rows: Vec<Row> = only.map_or_else(|| ALL.to_vec(), |row| vec![row]);
    ensure!(
        !write || rows.contains(&Row::Mutation),
        "--write needs what the row `mutation` shows; leave --only out, or name that row"
    );
    tools::install(&paths, rows.iter().flat_map(|row| row.tools()))?;

    let mut lines = Vec::new();
    let mut findings = Vec::new();
    let mut table = None;
    for row in rows {
        eprintln!("{}: {} ...", row.name(), row.shows());
        let began = Instant::now();
        let outcome = match row {
            Row::Schemathesis => schemathesis::run(&paths),
            Row::Prism => prism::serves(&paths),
            Row::Proxy => prism::stands_between(&paths),
            Row::Lint => lint::run(&paths),
            Row::Mutation => mutation::run(&paths).map(|seen| {
                let summary = seen.summary();
                table = Some(seen);
                summary
            }),
        };
        let seconds = began.elapsed().as_secs();
        let told = match outcome {
            Ok(summary) => format!("passed: {summary}"),
            Err(error) => {
                findings.push(format!("{}: {error:#}", row.name()));
                "FAILED".to_owned()
            }
        };
        lines.push((row.name(), row.tools_shown(), format!("{seconds:>3} s"), told));
    }

    println!("\n{:<13} {:<42} {:>5}  result", "row", "tool", "time");
    for (name, tools, time, told) in lines {
        println!("{name:<13} {tools:<42} {time}  {told}");
    }
    println!();
    if only.is_none_or(|row| row == Row::Schemathesis) {
        println!("checks of schemathesis that are left out:\n{}\n", schemathesis::left_out().join("\n"));
    }
    if findings.is_empty()
        && let Some(table) = &table
    {
        document::record(&paths, table, write)?;
    }
    ensure!(findings.is_empty(), "{} of the rows have findings\n\n{}", findings.len(), findings.join("\n\n"));
    Ok(())
}
