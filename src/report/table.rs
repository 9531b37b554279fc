//! Text in columns.

use crate::text::shown;
use crate::widgets::width;

/// Cells wider than this do not widen their column: one name of 100,000 characters would blow up every line.
const WIDEST: usize = 200;

/// A table whose columns are as wide as their longest cell.
#[derive(Debug, Default)]
pub struct Table {
    heads: Vec<String>,
    right: Vec<bool>,
    /// The width of each column so far.
    widths: Vec<usize>,
    /// The text of all cells, row after row, and where each ends: a model may have a hundred thousand rows, and a
    /// string for each of their cells would take three times as much.
    text: String,
    ends: Vec<usize>,
}

impl Table {
    /// A table with these heads; those that begin with `>` are aligned to the right.
    pub fn new(heads: &[&str]) -> Self {
        let right = heads.iter().map(|h| h.starts_with('>')).collect();
        let heads: Vec<String> = heads.iter().map(|h| h.trim_start_matches('>').to_owned()).collect();
        let widths = heads.iter().map(|h| width(h)).collect();
        Self { heads, right, widths, text: String::new(), ends: Vec::new() }
    }
    /// Adds a row, one cell for each head (missing ones are empty); hidden characters of its cells are escaped.
    pub fn row(&mut self, cells: Vec<String>) {
        for c in 0..self.heads.len() {
            let cell = shown(cells.get(c).map_or("", String::as_str));
            let wide = width(&cell);
            if wide <= WIDEST {
                self.widths[c] = self.widths[c].max(wide);
            }
            self.text.push_str(&cell);
            self.ends.push(self.text.len());
        }
    }
    /// The lines, heads first, made one by one.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let columns = self.heads.len();
        let rows = self.ends.chunks(columns.max(1)).enumerate().map(move |(r, ends)| {
            let mut start = r.checked_mul(columns).and_then(|n| n.checked_sub(1)).map_or(0, |last| self.ends[last]);
            let cells = ends.iter().map(|&end| &self.text[std::mem::replace(&mut start, end)..end]);
            self.line(cells)
        });
        std::iter::once(self.line(self.heads.iter().map(String::as_str))).chain(rows)
    }
    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>) -> String {
        let mut line = String::new();
        for (c, cell) in cells.enumerate() {
            let pad = " ".repeat(self.widths[c].saturating_sub(width(cell)));
            let parts = if self.right[c] { [pad.as_str(), cell, "  "] } else { [cell, pad.as_str(), "  "] };
            line.extend(parts);
        }
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["layer", ">σ₁"]);
        table.row(vec!["fc1".into(), "=3.90".into()]);
        table.row(vec!["longer".into(), "=10.1".into()]);
        table.row(vec!["x".into(), "…".into()]);
        table.row(vec!["short".into()]);
        assert_eq!(
            table.lines().collect::<Vec<_>>(),
            ["layer      σ₁", "fc1     =3.90", "longer  =10.1", "x           …", "short"]
        );
    }
}
