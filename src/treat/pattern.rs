//! What must go together when entries are removed.

use super::Criterion;
use crate::model::Layer;
use serde::{Deserialize, Serialize};

/// Which entries are removed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Pattern {
    /// Each entry by itself.
    #[default]
    Unstructured,
    /// Each entry by itself, the same number of every row: a threshold a row.
    PerRow,
    /// The same number of every so many consecutive input columns of a row (N:M with this M). Columns that fill no
    /// group stay.
    Groups(usize),
    /// Rows: output features, filters of a convolution.
    Rows,
    /// Columns: input features; of a convolution all columns of an input channel.
    Columns,
    /// Tiles of so many rows and columns; those at the edges may be smaller.
    Blocks(usize, usize),
}

/// Patterns in the order in which a key goes through them.
pub const CYCLE: [Pattern; 8] = [
    Pattern::Unstructured,
    Pattern::PerRow,
    Pattern::Groups(4),
    Pattern::Groups(8),
    Pattern::Groups(16),
    Pattern::Rows,
    Pattern::Columns,
    Pattern::Blocks(16, 16),
];

/// Largest M of an N:M pattern.
pub const LARGEST_GROUP: usize = 64;

impl Pattern {
    /// Number of units of a matrix among which the choice is made; of a group pattern, places in a group; per row, entries
    /// of a row.
    pub fn units(self, layer: &Layer) -> u64 {
        let (rows, cols) = (layer.rows(), layer.cols());
        match self {
            Self::Unstructured => rows as u64 * cols as u64,
            Self::PerRow => cols as u64,
            Self::Groups(m) => m as u64,
            Self::Rows => rows as u64,
            Self::Columns => (cols / layer.input_columns().max(1)) as u64,
            Self::Blocks(r, c) => (rows.div_ceil(r.max(1)) * cols.div_ceil(c.max(1))) as u64,
        }
    }

    /// Units removed at a share: the nearest number; per row the next lower one, as others count. A group keeps at least
    /// one place.
    pub fn removed(self, share: f64, layer: &Layer) -> u64 {
        let units = self.units(layer);
        if self == Self::PerRow {
            // 0.29 · 100 is 28.999…
            return ((share * units as f64 + 1e-9).floor().max(0.0) as u64).min(units);
        }
        let most = if matches!(self, Self::Groups(_)) { units.saturating_sub(1) } else { units };
        ((share * units as f64).round().max(0.0) as u64).min(most)
    }

    /// The share at which a whole number of places of a group goes: others are brought there.
    pub fn on_grid(self, share: f64) -> f64 {
        match self {
            Self::Groups(m) => ((share * m as f64).round().clamp(0.0, m as f64 - 1.0)) / m as f64,
            _ => share,
        }
    }

    /// The share after so many steps of 1 %, at least one place of a group.
    pub fn step(self, share: f64, steps: i32) -> f64 {
        match self {
            Self::Groups(m) => {
                let places = (f64::from(steps.abs()) / 100.0 * m as f64).round().max(1.0);
                self.on_grid(share + places.copysign(f64::from(steps)) / m as f64)
            }
            // Typed values lie between the steps: a step from there ends on the grid.
            _ => (((share * 100.0).round() + f64::from(steps)) / 100.0).clamp(0.0, 1.0),
        }
    }

    /// Whether zeros of the result are stored nowhere: whole rows, columns or tiles are left out, and what stays is
    /// stored densely.
    pub fn is_structured(self) -> bool {
        matches!(self, Self::Rows | Self::Columns | Self::Blocks(..))
    }

    /// Its name in plan files and on the command line, at a share removed: `2:4` for half of every four.
    pub fn name(self, share: f64) -> String {
        match self {
            Self::Unstructured => "unstructured".to_owned(),
            Self::PerRow => "per-row".to_owned(),
            Self::Groups(m) => format!("{}:{m}", m - (self.on_grid(share) * m as f64).round() as usize),
            Self::Rows => "row".to_owned(),
            Self::Columns => "column".to_owned(),
            Self::Blocks(r, c) => format!("block:{r}x{c}"),
        }
    }

    /// Reads a name; of N:M also the share that it removes.
    pub fn parse(name: &str) -> Option<(Self, Option<f64>)> {
        let pair = |text: &str, by: char| {
            let (a, b) = text.split_once(by)?;
            Some((a.parse::<usize>().ok()?, b.parse::<usize>().ok()?))
        };
        Some(match name {
            "unstructured" => (Self::Unstructured, None),
            "per-row" => (Self::PerRow, None),
            "row" => (Self::Rows, None),
            "column" => (Self::Columns, None),
            _ => {
                if let Some(size) = name.strip_prefix("block:") {
                    let (r, c) = pair(size, 'x').filter(|(r, c)| *r > 0 && *c > 0)?;
                    (Self::Blocks(r, c), None)
                } else {
                    let (n, m) = pair(name, ':').filter(|&(n, m)| n > 0 && n < m && m <= LARGEST_GROUP)?;
                    (Self::Groups(m), Some(1.0 - n as f64 / m as f64))
                }
            }
        })
    }

    /// In a few letters, for a list.
    pub fn short(self, share: f64) -> String {
        match self {
            Self::Unstructured => "p".to_owned(),
            Self::PerRow => "pr".to_owned(),
            Self::Groups(_) => self.name(share),
            Self::Rows => "row".to_owned(),
            Self::Columns => "col".to_owned(),
            Self::Blocks(r, _) => format!("b{r}"),
        }
    }

    /// What goes, in words.
    pub fn words(self) -> String {
        match self {
            Self::Unstructured => "smallest |w|".to_owned(),
            Self::PerRow => "smallest |w| of each row".to_owned(),
            Self::Groups(m) => format!("of every {m} inputs"),
            Self::Rows => "of the rows".to_owned(),
            Self::Columns => "of the inputs".to_owned(),
            Self::Blocks(r, c) => format!("of the {r}×{c} blocks"),
        }
    }

    /// Said when it is chosen.
    pub fn describe(self) -> String {
        match self {
            Self::Unstructured => "single entries, smallest |w| of the layer first".to_owned(),
            Self::PerRow => "single entries, the same share of each row, smallest |w| first".to_owned(),
            Self::Groups(m) => format!("N:{m}, the largest N of every {m} inputs stay"),
            Self::Rows => "rows: output features, those of least energy first".to_owned(),
            Self::Columns => "columns: input features, those of least energy first".to_owned(),
            Self::Blocks(r, c) => format!("blocks of {r}×{c}, those of least energy first"),
        }
    }
}

/// What pruning does to a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Prune {
    /// Share of the entries (or of the units of the pattern) removed, those of least energy first.
    pub remove: f64,
    /// What goes together.
    pub pattern: Pattern,
    /// By what it is chosen.
    pub criterion: Criterion,
}

impl Prune {
    /// A share in a pattern, by magnitude.
    pub fn of(remove: f64, pattern: Pattern) -> Self {
        Self { remove, pattern, criterion: Criterion::Magnitude }
    }
    /// Single entries, smallest magnitudes first.
    pub fn unstructured(remove: f64) -> Self {
        Self::of(remove, Pattern::Unstructured)
    }
    /// In words for a title: `40%`, `2:4`, `rows 40%`.
    pub fn short(self) -> String {
        match self.pattern {
            Pattern::Unstructured => percent(self.remove),
            Pattern::PerRow => format!("{} a row", percent(self.remove)),
            Pattern::Groups(_) => self.pattern.name(self.remove),
            Pattern::Rows => format!("rows {}", percent(self.remove)),
            Pattern::Columns => format!("inputs {}", percent(self.remove)),
            Pattern::Blocks(r, c) => format!("{r}×{c} blocks {}", percent(self.remove)),
        }
    }
}

/// A share in percent, with a digit where it is not whole.
fn percent(share: f64) -> String {
    let p = share * 100.0;
    if (p - p.round()).abs() < 0.05 { format!("{p:.0}%") } else { format!("{p:.1}%") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (pattern, share) in [
            (Pattern::Unstructured, 0.3),
            (Pattern::PerRow, 0.3),
            (Pattern::Groups(4), 0.5),
            (Pattern::Groups(16), 0.9375),
            (Pattern::Rows, 0.2),
            (Pattern::Columns, 0.0),
            (Pattern::Blocks(16, 8), 0.5),
        ] {
            let (read, removed) = Pattern::parse(&pattern.name(share)).unwrap();
            assert_eq!(read, pattern);
            assert!(removed.is_none_or(|r| r == share));
        }
        assert_eq!(Pattern::parse("1:8"), Some((Pattern::Groups(8), Some(0.875))));
        for wrong in ["", "4:4", "0:4", "5:4", "2:", ":", "block:", "block:0x4", "block:4", "rows", "1:65"] {
            assert_eq!(Pattern::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn steps_of_a_group_are_whole_places() {
        let four = Pattern::Groups(4);
        assert_eq!(four.step(0.0, 1), 0.25);
        assert_eq!(four.step(0.25, 10), 0.5);
        assert_eq!(four.step(0.75, 1), 0.75, "one place stays");
        assert_eq!(four.step(0.25, -1), 0.0);
        assert_eq!(Pattern::Groups(16).step(0.5, 10), 0.625);
        assert_eq!(Pattern::Unstructured.step(0.504, 1), 0.51);
        assert_eq!(four.on_grid(0.4), 0.5);
    }
}
