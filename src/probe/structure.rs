//! What removing entries in patterns costs: N of every M, rows, columns, blocks.

use super::groups::{Counter, Places};
use super::row_curve::{self, RowCurve};
use super::steps::Steps;
use super::{Ask, Fact, Probe, ProbeError, ProbeId, stripes};
use crate::known::Known;
use crate::model::{Layer, Orientation, Stored};
use crate::numerics::isa::Isa;
use crate::treat::{Pattern, Prune};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Patterns whose error every layer tells in reports: keep N of M.
pub const PATTERNS: [(usize, usize); 7] = [(1, 2), (2, 4), (4, 8), (1, 4), (1, 8), (2, 16), (1, 16)];

/// Tiles whose energies are measured.
pub const BLOCKS: [(usize, usize); 2] = [(16, 16), (32, 32)];

/// Energies of what goes together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Structure {
    /// Σ w² of all entries.
    pub sum_squares: f64,
    /// Nonzeros of all entries.
    pub nonzeros: u64,
    /// Sorted groups, for each M.
    pub groups: Vec<Places>,
    /// The same number of every row.
    pub per_row: RowCurve,
    /// Rows.
    pub rows: Steps,
    /// Columns; of a convolution, input channels.
    pub columns: Steps,
    /// Tiles of [`BLOCKS`].
    pub blocks: Vec<Steps>,
}

/// What a pattern removes and leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Removal {
    /// Σ w² of what is removed.
    pub energy: Known,
    /// Entries that stay stored.
    pub stored: u64,
}

impl Structure {
    /// What pruning in a pattern comes to; `None` for a pattern that was not measured, and for single entries.
    pub fn prune(&self, layer: &Layer, how: Prune) -> Option<Removal> {
        let removed = how.pattern.removed(how.remove, layer);
        let entries = layer.rows() as u64 * layer.cols() as u64;
        let steps = match how.pattern {
            Pattern::Unstructured => return None,
            Pattern::Groups(m) => {
                let (energy, nonzeros) = self.groups.iter().find(|g| g.m == m)?.lowest(removed as usize);
                return Some(Removal { energy: Known::exact(energy), stored: self.nonzeros - nonzeros });
            }
            Pattern::PerRow => {
                let (energy, gone) = self.per_row.lowest(removed);
                // Without zeros the number is certain, whatever the rows sorted say.
                let all = removed * layer.rows() as u64;
                let gone = if self.nonzeros == entries { all } else { gone.round() as u64 };
                return Some(Removal { energy, stored: self.nonzeros.saturating_sub(gone) });
            }
            Pattern::Rows => &self.rows,
            Pattern::Columns => &self.columns,
            Pattern::Blocks(r, c) => self.blocks.get(BLOCKS.iter().position(|b| *b == (r, c))?)?,
        };
        let (energy, gone) = steps.lowest(removed);
        Some(Removal { energy, stored: entries - gone })
    }

    /// Relative error ‖W−Ŵ‖_F/‖W‖_F of keeping `n` of every `m`; `None` where that M was not measured.
    pub fn group_error(&self, n: usize, m: usize) -> Option<f64> {
        let (energy, _) = self.groups.iter().find(|g| g.m == m)?.lowest(m.saturating_sub(n));
        Some(if self.sum_squares > 0.0 { (energy / self.sum_squares).sqrt() } else { 0.0 })
    }
}

/// Measures [`Structure`].
pub struct StructureProbe;

impl Probe for StructureProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Structure
    }
    fn title(&self) -> &'static str {
        "patterns"
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        2.6 * layer.rows() as f64 * layer.cols() as f64 + RowCurve::cost(layer.rows(), layer.cols())
    }
    fn decodes(&self, layer: &Layer) -> bool {
        layer.orientation == Orientation::InOut
    }
    fn workspace(&self, layer: &Layer, threads: usize) -> u64 {
        // Sums over columns and sorted rows of each thread.
        let each = (layer.cols() * 8 * (2 + 8 + 16)) as u64;
        let tiles: usize = BLOCKS.iter().map(|(r, c)| layer.rows().div_ceil(*r) * layer.cols().div_ceil(*c)).sum();
        (1 << 20) + threads.max(1) as u64 * each + tiles as u64 * 16 + (layer.rows() + layer.cols()) as u64 * 16
    }
    fn measure(&self, layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        Ok(vec![Fact::Structure(Arc::new(structure(layer, entries, ask)?))])
    }
}

/// Sums of squares of tiles of one size.
struct Tiles {
    shape: (usize, usize),
    across: usize,
    energy: Vec<f64>,
}

impl Tiles {
    fn new(shape: (usize, usize), [rows, cols]: [usize; 2]) -> Self {
        let across = cols.div_ceil(shape.1);
        Self { shape, across, energy: vec![0.0; rows.div_ceil(shape.0) * across] }
    }
    fn add(&mut self, row: usize, squares: &[f64]) {
        let sums = &mut self.energy[row / self.shape.0 * self.across..][..self.across];
        // `squares` are of stretches of the narrowest tile.
        let each = self.shape.1 / BLOCKS[0].1;
        for (sum, part) in sums.iter_mut().zip(squares.chunks(each)) {
            *sum += part.iter().sum::<f64>();
        }
    }
    fn finish(self, [rows, cols]: [usize; 2]) -> Steps {
        let (height, width) = self.shape;
        let size = |i: usize| {
            let (r, c) = (i / self.across * height, i % self.across * width);
            (height.min(rows - r) * width.min(cols - c)) as u32
        };
        Steps::new(self.energy.iter().enumerate().map(|(i, e)| (*e, size(i))).collect())
    }
}

/// What a stripe of rows gave so far.
struct State {
    first: usize,
    groups: Counter,
    tiles: [Tiles; BLOCKS.len()],
    by_row: Vec<f64>,
    by_column: Vec<f64>,
    per_row: row_curve::Counter,
    nonzeros: u64,
    squares: Vec<f64>,
}

impl State {
    /// For some rows of a matrix of this shape.
    fn new(stripe: Range<usize>, [rows, cols]: [usize; 2]) -> Self {
        Self {
            first: stripe.start,
            groups: Counter::default(),
            tiles: BLOCKS.map(|b| Tiles::new(b, [stripe.len(), cols])),
            by_row: Vec::with_capacity(stripe.len()),
            by_column: vec![0.0; cols],
            per_row: row_curve::Counter::new(rows, cols),
            nonzeros: 0,
            squares: vec![0.0; cols.div_ceil(BLOCKS[0].1)],
        }
    }

    fn take(&mut self, from: usize, block: &[f32], cols: usize) {
        let mut held = 0;
        for (r, row) in block.chunks_exact(cols.max(1)).enumerate() {
            held += Isa::Best.run(Row { entries: row, squares: &mut self.squares, columns: &mut self.by_column });
            self.by_row.push(self.squares.iter().sum());
            self.tiles.iter_mut().for_each(|t| t.add(from - self.first + r, &self.squares));
            self.per_row.add(from + r, row);
        }
        self.nonzeros += held;
        self.groups.add(block, cols, held == block.len() as u64, Isa::Best);
    }

    /// Takes in the rows that follow.
    fn append(mut self, later: Self) -> Self {
        self.groups.append(&later.groups);
        self.tiles.iter_mut().zip(later.tiles).for_each(|(a, b)| a.energy.extend(b.energy));
        self.by_row.extend(later.by_row);
        self.by_column.iter_mut().zip(later.by_column).for_each(|(a, b)| *a += b);
        self.per_row.append(later.per_row);
        self.nonzeros += later.nonzeros;
        self
    }
}

/// Measures a matrix in one pass.
pub fn structure(layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Structure, ProbeError> {
    entries.fit()?;
    let shape @ [rows, cols] = entries.shape();
    let states = stripes::pass(
        entries,
        ask,
        |stripe| State::new(stripe, shape),
        |state, from, block| state.take(from, block, cols),
    )?;
    let State { groups, tiles, by_row, by_column, per_row, nonzeros, .. } =
        states.into_iter().reduce(State::append).ok_or(ProbeError::Stopped)?;
    let sum_squares: f64 = by_row.iter().sum();
    let width = layer.input_columns();
    let inputs = by_column.chunks(width).map(|c| (c.iter().sum(), (rows * c.len()) as u32));
    Ok(Structure {
        per_row: per_row.finish(sum_squares, nonzeros),
        sum_squares,
        nonzeros,
        groups: groups.finish(),
        columns: Steps::new(inputs.collect()),
        rows: Steps::new(by_row.iter().map(|e| (*e, cols as u32)).collect()),
        blocks: tiles.map(|t| t.finish(shape)).into(),
    })
}

/// A row: its squares added to those of the columns, and summed over stretches; its nonzeros.
struct Row<'a> {
    entries: &'a [f32],
    squares: &'a mut [f64],
    columns: &'a mut [f64],
}

impl crate::numerics::isa::Kernel for Row<'_> {
    type Output = u64;
    #[allow(clippy::inline_always, reason = "see `numerics::isa`")]
    #[inline(always)]
    fn run<const FMA: bool>(self) -> u64 {
        const WIDE: usize = BLOCKS[0].1;
        let mut held = 0u32;
        let (parts, rest) = self.entries.as_chunks::<WIDE>();
        let (columns, rest_columns) = self.columns.as_chunks_mut::<WIDE>();
        for ((part, column), sum) in parts.iter().zip(columns).zip(&mut *self.squares) {
            let mut total = 0f64;
            for k in 0..WIDE {
                let square = f64::from(part[k]) * f64::from(part[k]);
                total += square;
                column[k] += square;
                held += u32::from(part[k] != 0.0);
            }
            *sum = total;
        }
        if !rest.is_empty() {
            let mut total = 0f64;
            for (w, column) in rest.iter().zip(rest_columns) {
                let square = f64::from(*w) * f64::from(*w);
                total += square;
                *column += square;
                held += u32::from(*w != 0.0);
            }
            if let Some(last) = self.squares.last_mut() {
                *last = total;
            }
        }
        u64::from(held)
    }
}

#[cfg(test)]
mod tests;
