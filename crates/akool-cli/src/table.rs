//! Tables that fit the terminal: [`Table`].

use std::fmt;

use console::{Term, measure_text_width, truncate_str};

/// The narrowest that the column that gives way becomes.
const NARROWEST: usize = 8;

/// Rows under headings, as wide as they need, and on a terminal no wider than it.
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    /// The column that gives way where there is no room.
    cut: usize,
    width: Option<usize>,
}

impl<const N: usize> Table<N> {
    /// The last column gives way.
    pub(crate) fn new(headings: [&str; N]) -> Self {
        let terminal = Term::stdout();
        let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        // Into a pipe or a file, nothing is cut unless that is asked for.
        let width = said.or_else(|| terminal.is_term().then(|| usize::from(terminal.size().1)));
        Self { rows: vec![headings.map(str::to_owned)], cut: N - 1, width: width.filter(|width| *width > 0) }
    }

    /// Another column gives way.
    pub(crate) fn that_cuts(mut self, column: usize) -> Self {
        self.cut = column;
        self
    }

    /// Cells may be coloured: what comes from elsewhere must be on one line already.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |column: usize| {
            self.rows.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or_default()
        };
        let mut widths: [usize; N] = std::array::from_fn(widest);
        let mut shown = N;
        if let Some(width) = self.width {
            let needed = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
            // First the one column gives way, then whole columns, the last first.
            let least = widths[self.cut].min(NARROWEST);
            let over = needed(&widths).saturating_sub(width);
            widths[self.cut] = widths[self.cut].saturating_sub(over).max(least);
            while shown > 1 && needed(&widths[..shown]) > width {
                shown -= 1;
            }
        }
        for (number, row) in self.rows.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths).take(shown) {
                let cell = truncate_str(cell, width, "…");
                line += &cell;
                line += &" ".repeat(width - measure_text_width(&cell) + 2);
            }
            f.write_str(line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_that_gives_way_is_cut_to_fit() {
        let mut table = Table::new(["ID", "SOURCE"]);
        table.row(["64dd".into(), "https://example.com/a long/link.mp4".into()]);
        table.row(["日本".into(), "x".into()]);
        table.width = None;
        let whole = table.to_string();
        assert_eq!(whole, "ID    SOURCE\n64dd  https://example.com/a long/link.mp4\n日本  x");
        table.width = Some(20);
        assert_eq!(table.to_string(), "ID    SOURCE\n64dd  https://examp…\n日本  x");
        table.width = Some(14);
        assert_eq!(table.to_string(), "ID    SOURCE\n64dd  https:/…\n日本  x");
        table.width = Some(13);
        assert_eq!(table.to_string(), "ID\n64dd\n日本", "whole columns go, the first stays");
    }
}
