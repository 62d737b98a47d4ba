//! `cargo xtask conformance`: tests the description, the client and the mock server with independent tools.
//!
//! Each row starts the servers that it needs, on free ports, and fails on any finding. The results are in
//! `docs/conformance.md`. This command writes the sections between `<!-- NAME -->` and `<!-- end -->`, and
//! fails if they are out of date.

mod control;
mod lint;
mod mutation;
mod operations;
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
use clap::ValueEnum;
use similar::TextDiff;

use crate::{description, overlay};
use tools::Tool;

const DOCUMENT: &str = "docs/conformance.md";

/// A test with one or more tools. The help text says what it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Row {
    /// The description follows the recommended rules
    Lint,
    /// The sandbox answers generated requests with documented responses, and rejects invalid requests
    Schemathesis,
    /// The control API of the sandbox follows its own description
    Control,
    /// The client works with a server that is made from the description alone
    Prism,
    /// Client and sandbox exchange only documented requests and responses
    Proxy,
    /// The tools detect a mock server that is broken on purpose
    Mutation,
    /// `akool contract proxy` and Prism's proxy detect broken requests and responses of every operation
    Operations,
}

impl Row {
    fn tools(self) -> &'static [Tool] {
        match self {
            Self::Lint => &[Tool::Redocly],
            Self::Schemathesis => &[Tool::Schemathesis],
            Self::Control => &[Tool::Redocly, Tool::Schemathesis],
            Self::Prism => &[Tool::Prism, Tool::Redocly],
            Self::Proxy => &[Tool::Prism],
            Self::Mutation | Self::Operations => &[Tool::Prism, Tool::Schemathesis],
        }
    }

    /// Its name, its tools with their versions, and what it shows.
    fn shown(self, paths: &Paths) -> Result<[String; 3]> {
        let value = self.to_possible_value().context("every row has a name")?;
        let tools = self.tools().iter().map(|tool| tool.shown(paths)).collect::<Result<Vec<_>>>()?;
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        Ok([value.get_name().to_owned(), tools.join(", "), help])
    }
}

struct Paths {
    root: PathBuf,
    /// The committed inputs of this command.
    inputs: PathBuf,
    /// The folder for tools, logs and intermediate files.
    work: PathBuf,
    resolved: PathBuf,
}

impl Paths {
    /// Writes the resolved description with another overlay to a file of this name.
    fn derived(&self, overlay: &str, name: &str) -> Result<PathBuf> {
        let shown = format!("tests/conformance/{overlay}");
        let bytes = fs::read(self.inputs.join(overlay)).with_context(|| format!("cannot read {shown}"))?;
        let mut document = description::read(&self.resolved)?;
        overlay::apply(&mut document, &bytes, &shown)?;
        let path = self.work.join(name);
        description::write(&path, description::to_yaml(&document)?.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Runs one row or all of them. `write`: update `docs/conformance.md`.
pub(crate) fn run(root: &Path, only: Option<Row>, write: bool) -> Result<()> {
    let paths = Paths {
        root: root.to_path_buf(),
        inputs: root.join("tests/conformance"),
        work: root.join("target/conformance"),
        resolved: root.join("openapi/akool.resolved.yaml"),
    };
    fs::create_dir_all(paths.work.join("logs")).context("cannot create a folder in target/")?;
    let rows = only.map_or(Row::value_variants().to_vec(), |row| vec![row]);
    ensure!(
        !write || rows.contains(&Row::Mutation) || rows.contains(&Row::Operations),
        "--write needs the result of the row `mutation` or `operations`; omit --only, or use one of these"
    );
    tools::install(&paths, &rows.iter().flat_map(|row| row.tools()).copied().collect::<Vec<_>>())?;

    let (mut lines, mut findings, mut mutants, mut operations) = (Vec::new(), Vec::new(), None, None);
    for row in rows {
        let [name, tools, shows] = row.shown(&paths)?;
        eprintln!("{name}: {shows} ...");
        let start = Instant::now();
        let outcome = match row {
            Row::Lint => lint::run(&paths),
            Row::Schemathesis => schemathesis::run(&paths),
            Row::Control => control::run(&paths),
            Row::Prism => prism::mock(&paths),
            Row::Proxy => prism::between(&paths),
            Row::Mutation => mutation::run(&paths).map(|found| mutation::summary(mutants.insert(found))),
            Row::Operations => {
                operations::run(&paths).map(|found| operations::summary(operations.insert(found)))
            }
        };
        let seconds = start.elapsed().as_secs();
        let result = outcome.map_or_else(
            |error| {
                findings.push(format!("{name}: {error:#}"));
                "FAILED".to_owned()
            },
            |summary| format!("passed: {summary}"),
        );
        lines.push(format!("{name:<13} {tools:<42} {seconds:>3} s  {result}"));
    }
    println!("\n{:<13} {:<42} {:>5}  result\n{}\n", "row", "tool", "time", lines.join("\n"));
    ensure!(findings.is_empty(), "{} of the rows have findings\n\n{}", findings.len(), findings.join("\n\n"));
    if mutants.is_none() && operations.is_none() {
        return Ok(());
    }
    let tables = [
        ("mutants", mutants.as_deref().map(mutation::table)),
        ("operations", operations.as_deref().map(operations::table)),
    ];
    update_document(&paths, tables, write)
}

/// Updates `docs/conformance.md`, or fails if it is out of date. `tables`: the sections of the rows that ran.
fn update_document(paths: &Paths, tables: [(&str, Option<String>); 2], write: bool) -> Result<()> {
    let mut rows = "| row | tool | what it shows |\n|---|---|---|\n".to_owned();
    for row in Row::value_variants() {
        let [name, tools, shows] = row.shown(paths)?;
        rows += &format!("| `{name}` | {tools} | {shows} |\n");
    }
    let path = paths.root.join(DOCUMENT);
    let before = fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let mut after = before.clone();
    let lists = [
        ("rows", rows),
        ("excluded checks", schemathesis::excluded()),
        ("allowed findings", lint::list(paths)?),
    ];
    let tables = tables.into_iter().filter_map(|(section, table)| Some((section, table?)));
    for (section, text) in lists.into_iter().chain(tables) {
        after = replaced(&after, section, &text)
            .with_context(|| format!("{DOCUMENT} has no <!-- {section} -->"))?;
    }
    if write {
        return description::write(&path, after.as_bytes())
            .with_context(|| format!("cannot write {DOCUMENT}"));
    }
    ensure!(
        before == after,
        "{DOCUMENT} is out of date; `cargo xtask conformance --write` updates it. The differences:\n{}",
        TextDiff::from_lines(&before, &after).unified_diff().context_radius(1)
    );
    Ok(())
}

/// Replaces the text between `<!-- SECTION -->` and the next `<!-- end -->`.
fn replaced(document: &str, section: &str, text: &str) -> Option<String> {
    let (head, rest) = document.split_once(&format!("<!-- {section} -->\n"))?;
    let (_, tail) = rest.split_once("<!-- end -->\n")?;
    Some(format!("{head}<!-- {section} -->\n\n{text}\n<!-- end -->\n{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_section_of_the_document_is_replaced() {
        let document = "a\n<!-- x -->\nold\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\n";
        let after = replaced(document, "x", "new\n").unwrap();
        assert_eq!(after, "a\n<!-- x -->\n\nnew\n\n<!-- end -->\nb\n<!-- y -->\n<!-- end -->\n");
        assert_eq!(replaced(&after, "x", "new\n").unwrap(), after);
        assert_eq!(replaced(document, "z", "new\n"), None);
    }
}
