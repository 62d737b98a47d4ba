//! What a row of the table is: its figures, its targets, and how both are written down.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::plot::{self, Plot};

/// The rows, in the order of the table.
pub(crate) const NAMES: [&str; 7] = ["poll", "fleet", "economy", "build", "start", "download", "codegen"];

/// One row of the table: what was measured, what came out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// What is measured, against what.
    pub(crate) what: String,
    /// Where it ran.
    pub(crate) machine: String,
    pub(crate) figures: Vec<Figure>,
    pub(crate) verdicts: Vec<Verdict>,
    /// What a reader has to know to judge the figures.
    pub(crate) notes: Vec<String>,
    pub(crate) plot: Option<Plot>,
}

/// One quantity of one of those that are compared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Where, such as one of several sizes; empty where there is one.
    pub(crate) case: String,
    pub(crate) who: String,
    pub(crate) quantity: String,
    pub(crate) unit: String,
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) samples: usize,
}

/// A target, and whether it was reached.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) target: String,
    pub(crate) reached: String,
    pub(crate) met: bool,
}

impl Row {
    pub(crate) fn new(name: &str, what: &str) -> Self {
        Self {
            name: name.to_owned(),
            what: what.to_owned(),
            machine: machine(),
            figures: Vec::new(),
            verdicts: Vec::new(),
            notes: Vec::new(),
            plot: None,
        }
    }

    /// Adds a quantity with its samples, and gives its median back.
    pub(crate) fn add(&mut self, case: &str, who: &str, quantity: &str, unit: &str, samples: &[f64]) -> f64 {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        let figure = Figure {
            case: case.to_owned(),
            who: who.to_owned(),
            quantity: quantity.to_owned(),
            unit: unit.to_owned(),
            median,
            low: at(0),
            high: at(last),
            samples: sorted.len(),
        };
        println!("{}", figure.line());
        self.figures.push(figure);
        median
    }

    /// Adds a target of a ratio or another number that is not to be exceeded.
    pub(crate) fn at_most(&mut self, what: &str, reached: f64, limit: f64) {
        self.judge(format!("{what} ≤ {}", number(limit)), number(reached), reached <= limit);
    }

    /// Adds a target of a ratio or another number that is to be reached.
    pub(crate) fn at_least(&mut self, what: &str, reached: f64, limit: f64) {
        self.judge(format!("{what} ≥ {}", number(limit)), number(reached), reached >= limit);
    }

    pub(crate) fn judge(&mut self, target: String, reached: String, met: bool) {
        println!("  target: {target}; reached: {reached}; {}", if met { "met" } else { "NOT met" });
        self.verdicts.push(Verdict { target, reached, met });
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Writes the row to `results/`, and the plots and the table anew.
    pub(crate) fn save(&self) -> Result<()> {
        let path = results()?.join(format!("{}.json", self.name));
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        write_table()
    }
}

impl Figure {
    fn line(&self) -> String {
        let case = if self.case.is_empty() { String::new() } else { format!("{}: ", self.case) };
        let spread = if self.samples > 1 {
            format!(" ({} to {}, {} samples)", number(self.low), number(self.high), self.samples)
        } else {
            String::new()
        };
        format!("  {case}{}: {} {} {}{spread}", self.who, self.quantity, number(self.median), self.unit)
    }
}

/// A number for people: three or four digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "?".to_owned(),
        size if size >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index) % 3 == 0 && digit.is_ascii_digit() {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// The folder of this crate's sources.
pub(crate) fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of the workspace.
pub(crate) fn workspace() -> PathBuf {
    home().join("../..")
}

/// The folder that cargo builds into.
pub(crate) fn target() -> Result<PathBuf> {
    // This program is in it, below `release` or `debug`.
    let me = std::env::current_exe()?;
    Ok(me.ancestors().nth(2).context("this program is not in a target folder")?.to_owned())
}

pub(crate) fn results() -> Result<PathBuf> {
    let folder = home().join("results");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": an unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, {}", model.trim_start_matches([' ', '\t', ':']))
}

/// A table of figures: a line for each who in each case, a column for each quantity.
fn figures(text: &mut String, figures: &[Figure]) {
    let mut columns: Vec<&Figure> = Vec::new();
    let mut lines: Vec<&Figure> = Vec::new();
    for figure in figures {
        if !columns.iter().any(|column| column.quantity == figure.quantity) {
            columns.push(figure);
        }
        if !lines.iter().any(|line| (&line.case, &line.who) == (&figure.case, &figure.who)) {
            lines.push(figure);
        }
    }
    *text += "| case | who |";
    for column in &columns {
        let unit = if column.unit.is_empty() { String::new() } else { format!(", {}", column.unit) };
        let samples =
            if column.samples > 1 { format!(" (median of {})", column.samples) } else { String::new() };
        let _ = write!(text, " {}{unit}{samples} |", column.quantity);
    }
    let _ = writeln!(text, "\n|---|---|{}", "--:|".repeat(columns.len()));
    for line in lines {
        let _ = write!(text, "| {} | {} |", line.case, line.who);
        for column in &columns {
            let same = |figure: &&Figure| {
                (&figure.case, &figure.who, &figure.quantity) == (&line.case, &line.who, &column.quantity)
            };
            let cell = figures.iter().find(same).map_or(String::new(), |figure| {
                let (low, high) = (number(figure.low), number(figure.high));
                let spread = if figure.samples > 1 { format!(" ({low} to {high})") } else { String::new() };
                number(figure.median) + &spread
            });
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
}

/// Writes README.md and the plots anew, from all results that there are.
pub(crate) fn write_table() -> Result<()> {
    for row in rows()? {
        plot::draw(&row)?;
    }
    let path = home().join("README.md");
    fs::write(&path, readme()?).with_context(|| format!("cannot write {}", path.display()))
}

/// All results that there are.
fn rows() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for name in NAMES {
        let path = results()?.join(format!("{name}.json"));
        if path.exists() {
            let row = serde_json::from_str(&fs::read_to_string(&path)?);
            rows.push(row.with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(rows)
}

/// README.md, from all results that there are.
fn readme() -> Result<String> {
    let mut text = String::from(include_str!("readme.md"));
    let mut details = String::new();
    let rows = rows()?;
    for name in NAMES {
        let Some(row) = rows.iter().find(|row| row.name == name) else {
            let _ = writeln!(text, "| `{name}` | | not run yet | |");
            continue;
        };
        for (index, verdict) in row.verdicts.iter().enumerate() {
            let name = if index == 0 { format!("[`{name}`](#{name})") } else { String::new() };
            let met = if verdict.met { "yes" } else { "**no**" };
            let _ = writeln!(text, "| {name} | {} | {} | {met} |", verdict.target, verdict.reached);
        }
        let _ = writeln!(details, "\n## {name}\n\n{}\n\n![{name}](results/{name}.svg)\n", row.what);
        figures(&mut details, &row.figures);
        details.push('\n');
        for note in &row.notes {
            let _ = writeln!(details, "- {note}");
        }
        let _ = writeln!(details, "- Ran on {}.", row.machine);
    }
    Ok(text + &details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_results() {
        let there = fs::read_to_string(home().join("README.md")).unwrap();
        assert!(
            there == readme().unwrap(),
            "write README.md anew: cargo run --release -p akool-bench -- table"
        );
    }

    #[test]
    fn the_projects_readme_tells_what_was_measured() {
        let text = fs::read_to_string(workspace().join("README.md")).unwrap();
        for (name, verdicts) in [("poll", &[0, 1][..]), ("fleet", &[0]), ("economy", &[0, 1])] {
            let figure = text
                .split("\n- ")
                .find(|item| item.contains(&format!("cargo run --release -p akool-bench -- {name}`")))
                .unwrap_or_else(|| panic!("README.md has no figure of {name}"));
            let json = fs::read_to_string(results().unwrap().join(format!("{name}.json"))).unwrap();
            let row: Row = serde_json::from_str(&json).unwrap();
            for verdict in verdicts {
                let reached = &row.verdicts[*verdict].reached;
                assert!(figure.contains(reached), "{name}: not {reached}: {figure}");
            }
        }
    }
}
