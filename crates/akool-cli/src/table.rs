//! Tables that fit the terminal: [`Table`].

use std::fmt;

use console::{Term, measure_text_width, truncate_str};

use crate::env;

/// The minimum width of the last column.
const MIN_WIDTH: usize = 8;

/// Rows under headings. On a terminal, they are cut to its width.
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    width: Option<usize>,
}

impl<const N: usize> Table<N> {
    /// The last column is cut if there is not enough room.
    pub(crate) fn new(headings: [&str; N]) -> Self {
        let terminal = Term::stdout();
        let columns = std::env::var(env::COLUMNS).ok().and_then(|columns| columns.parse().ok());
        // Nothing is cut in a pipe or a file, unless COLUMNS is set.
        let width = columns.or_else(|| terminal.is_term().then(|| usize::from(terminal.size().1)));
        Self { rows: vec![headings.map(str::to_owned)], width: width.filter(|width| *width > 0) }
    }

    /// Cells may be coloured. They must not contain control characters from the service.
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
            let last = N - 1;
            // First the last column is cut, then whole columns are left out, the last one first.
            let least = widths[last].min(MIN_WIDTH);
            let over = needed(&widths).saturating_sub(width);
            widths[last] = widths[last].saturating_sub(over).max(least);
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
    fn a_column_is_cut_and_then_columns_are_left_out_to_fit_the_width() {
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
        assert_eq!(table.to_string(), "ID\n64dd\n日本", "the first column is always shown");
    }
}
