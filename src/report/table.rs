//! Text in columns.

use crate::text::shown;
use crate::widgets::width;
use std::borrow::Cow;

/// Cells wider than this do not widen their column: one name of 100,000 characters would blow up every line.
const WIDEST: usize = 200;

/// A table whose columns are as wide as their longest cell.
#[derive(Debug, Default)]
pub struct Table {
    heads: Vec<Box<str>>,
    right: Vec<bool>,
    rows: Vec<Vec<Box<str>>>,
}

impl Table {
    /// A table with these heads; those that begin with `>` are aligned to the right.
    pub fn new(heads: &[&str]) -> Self {
        let right = heads.iter().map(|h| h.starts_with('>')).collect();
        Self { heads: heads.iter().map(|h| h.trim_start_matches('>').into()).collect(), right, rows: Vec::new() }
    }
    /// Adds a row; hidden characters of its cells are escaped.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(
            cells.into_iter().map(|c| if let Cow::Owned(safe) = shown(&c) { safe.into() } else { c.into() }).collect(),
        );
    }
    /// The lines, heads first, made one by one: a model may have a hundred thousand rows.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let all = || std::iter::once(&self.heads).chain(&self.rows);
        let wide =
            |c: usize| all().filter_map(|r| r.get(c)).map(|s| width(s)).filter(|w| *w <= WIDEST).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.heads.len()).map(wide).collect();
        all().map(move |row| {
            let mut line = String::new();
            for (c, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths.get(c).copied().unwrap_or(0).saturating_sub(width(cell)));
                let right = self.right.get(c).copied().unwrap_or(false);
                line.push_str(&if right { format!("{pad}{cell}  ") } else { format!("{cell}{pad}  ") });
            }
            line.trim_end().to_owned()
        })
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
        assert_eq!(
            table.lines().collect::<Vec<_>>(),
            ["layer      σ₁", "fc1     =3.90", "longer  =10.1", "x           …"]
        );
    }
}
