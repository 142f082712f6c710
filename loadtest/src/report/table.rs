//! Columns of numbers, right-aligned under their headings.

use std::fmt;

/// A label and as many cells as there are headings.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    headings: [&'static str; N],
    rows: Vec<(String, [String; N])>,
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(headings: [&'static str; N]) -> Self {
        Self { headings, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, label: impl Into<String>, cells: [String; N]) {
        self.rows.push((label.into(), cells));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().map(|(_, cells)| cells[column].chars().count());
            cells.chain([self.headings[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        write!(f, "  {:first$}", "")?;
        for (heading, width) in self.headings.iter().zip(widths) {
            write!(f, "  {heading:>width$}")?;
        }
        writeln!(f)?;
        for (label, cells) in &self.rows {
            write!(f, "  {label:first$}")?;
            for (cell, width) in cells.iter().zip(widths) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Milliseconds as they are printed: three decimals where they mean something.
pub(crate) fn ms(value: f64) -> String {
    match value {
        small if small < 100.0 => format!("{small:.3}"),
        large => format!("{large:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["p50", "n"]);
        table.row("warm", [ms(1.5), "1000".to_owned()]);
        table.row("cold start", [ms(1234.5), "7".to_owned()]);
        let expected = "                 p50     n\n  warm         1.500  1000\n  cold start  1234.5     7\n";
        assert_eq!(table.to_string(), expected);
    }
}
