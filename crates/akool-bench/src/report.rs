//! Writes the rows to `results/`, and README.md and the plots from them.

use std::{fmt::Write as _, fs};

use anyhow::{Context, Result};

use crate::{
    ROWS,
    paths::{home, results},
    plot,
    row::{Figure, Row, number},
};

/// Writes a row to `results/`, then README.md and the plots.
pub(crate) fn save(row: &Row) -> Result<()> {
    let path = results()?.join(format!("{}.json", row.name));
    let text = serde_json::to_string_pretty(row)? + "\n";
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    write_all()
}

/// Writes README.md and the plots from all committed results.
pub(crate) fn write_all() -> Result<()> {
    for row in rows()? {
        plot::draw(&row)?;
    }
    let path = home().join("README.md");
    fs::write(&path, readme()?).with_context(|| format!("cannot write {}", path.display()))
}

fn rows() -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, _) in ROWS {
        let path = results()?.join(format!("{name}.json"));
        if path.exists() {
            let row = serde_json::from_str(&fs::read_to_string(&path)?);
            rows.push(row.with_context(|| format!("cannot read {}", path.display()))?);
        }
    }
    Ok(rows)
}

fn readme() -> Result<String> {
    let mut text = String::from(include_str!("readme.md"));
    text.push_str("\n| row | target | reached | met |\n|---|---|---|---|\n");
    let mut details = String::new();
    let rows = rows()?;
    for (name, _) in ROWS {
        let Some(row) = rows.iter().find(|row| row.name == name) else {
            let _ = writeln!(text, "| `{name}` | | not run yet | |");
            continue;
        };
        for (index, verdict) in row.verdicts.iter().enumerate() {
            let name = if index == 0 { format!("[`{name}`](#{name})") } else { String::new() };
            let met = if verdict.met { "yes" } else { "**no**" };
            let _ = writeln!(text, "| {name} | {} | {} | {met} |", verdict.target, verdict.reached);
        }
        let _ = writeln!(details, "\n## {name}\n\n{}\n\n![{name}](results/{name}.svg)\n", row.description);
        write_figures(&mut details, &row.figures);
        details.push('\n');
        for note in &row.notes {
            let _ = writeln!(details, "- {note}");
        }
        let _ = writeln!(details, "- Ran on {}.", row.machine);
    }
    Ok(text + &details)
}

/// Writes a table with a line for each variant in each case, and a column for each quantity.
fn write_figures(text: &mut String, figures: &[Figure]) {
    let mut columns: Vec<&Figure> = Vec::new();
    let mut lines: Vec<&Figure> = Vec::new();
    for figure in figures {
        if !columns.iter().any(|column| column.quantity == figure.quantity) {
            columns.push(figure);
        }
        if !lines.iter().any(|line| (&line.case, &line.variant) == (&figure.case, &figure.variant)) {
            lines.push(figure);
        }
    }
    *text += "| case | variant |";
    for column in &columns {
        let unit = if column.unit.is_empty() { String::new() } else { format!(", {}", column.unit) };
        let samples =
            if column.samples > 1 { format!(" (median of {})", column.samples) } else { String::new() };
        let _ = write!(text, " {}{unit}{samples} |", column.quantity);
    }
    let _ = writeln!(text, "\n|---|---|{}", "--:|".repeat(columns.len()));
    for line in lines {
        let _ = write!(text, "| {} | {} |", line.case, line.variant);
        for column in &columns {
            let same = |figure: &&Figure| {
                (&figure.case, &figure.variant, &figure.quantity)
                    == (&line.case, &line.variant, &column.quantity)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::workspace;

    #[test]
    fn the_readme_matches_the_committed_results() {
        let committed = fs::read_to_string(home().join("README.md")).unwrap();
        assert!(
            committed == readme().unwrap(),
            "README.md is out of date; run: cargo run --release -p akool-bench -- table"
        );
    }

    #[test]
    fn the_projects_readme_quotes_the_committed_figures() {
        let text = fs::read_to_string(workspace().join("README.md")).unwrap();
        for (name, verdicts) in [("poll", &[0, 1][..]), ("waits", &[0]), ("economy", &[0, 1]), ("mock", &[2])]
        {
            let figure = text
                .split("\n- ")
                // A command may be wrapped.
                .map(|item| item.split_whitespace().collect::<Vec<_>>().join(" "))
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
