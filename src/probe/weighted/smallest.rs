//! What goes of the outputs when the smallest weights go: each pattern's units in the order in which magnitudes choose them, and
//! what each holds of Σ w_ij²·E\[x_j²\].

use crate::model::{Layer, Matrix};
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use crate::treat::Pattern;
use crate::treat::pattern::CYCLE;
use serde::{Deserialize, Serialize};

/// Steps of a curve at most.
const STEPS: usize = 400;
/// Bits of a magnitude that do not tell bins apart: 2048 bins for each power of two.
const BELOW: u32 = 12;
/// Matrices up to this many entries have every row sorted; of larger ones [`SAMPLE`] rows stand for all.
const WHOLE: usize = 1 << 20;
/// Rows of a sample, evenly spaced.
const SAMPLE: usize = 256;

/// The curve of one pattern.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Smallest {
    /// Which.
    pub pattern: Pattern,
    /// What goes with evenly spaced shares of the units, from none to all.
    energy: Vec<f64>,
}

impl Smallest {
    /// What goes with a share of the units, on the straight line between two places of the curve.
    pub fn lost(&self, layer: &Layer, remove: f64) -> f64 {
        let units = self.pattern.units(layer).max(1) as f64;
        let share = self.pattern.removed(remove, layer) as f64 / units;
        let at = share.clamp(0.0, 1.0) * self.energy.len().saturating_sub(1) as f64;
        let place = |at: f64| self.energy.get(at as usize).copied().unwrap_or(0.0);
        place(at.floor()) + (place(at.ceil()) - place(at.floor())) * at.fract()
    }
}

/// Peak bytes of [`all`].
pub fn workspace(rows: usize, cols: usize) -> u64 {
    let bins = 16 * (u64::from(f32::INFINITY.to_bits() >> BELOW) + 1);
    bins.max(40 * cols as u64 + 40 * rows as u64 + rows as u64 * cols as u64 / 8)
}

/// The curves of all patterns that a key goes through, and of 2:4's half. `moments` are E\[x_j²\].
pub fn all(
    layer: &Layer,
    matrix: &Matrix,
    moments: &[f32],
    keep_going: KeepGoing<'_>,
) -> Result<Vec<Smallest>, Stopped> {
    let patterns = CYCLE.into_iter().chain([Pattern::Groups(2)]);
    patterns
        .map(|pattern| {
            let energy = match pattern {
                Pattern::Unstructured => entries(matrix, moments, keep_going)?,
                Pattern::PerRow => groups(matrix, moments, matrix.cols, keep_going)?,
                Pattern::Groups(m) => groups(matrix, moments, m, keep_going)?,
                Pattern::Rows => units(matrix, moments, [1, matrix.cols], keep_going)?,
                Pattern::Columns => units(matrix, moments, [matrix.rows, layer.input_columns()], keep_going)?,
                Pattern::Blocks(height, width) => units(matrix, moments, [height, width], keep_going)?,
            };
            Ok(Smallest { pattern, energy })
        })
        .collect()
}

/// Single entries. Magnitudes that agree in their first 11 bits after the leading one count as equal.
fn entries(matrix: &Matrix, moments: &[f32], keep_going: KeepGoing<'_>) -> Result<Vec<f64>, Stopped> {
    let mut bins = vec![(0u64, 0f64); (f32::INFINITY.to_bits() >> BELOW) as usize + 1];
    for (i, row) in matrix.row_iter().enumerate() {
        if i % SAMPLE == 0 {
            check(keep_going)?;
        }
        for (w, g) in row.iter().zip(moments) {
            if let Some(bin) = bins.get_mut((w.abs().to_bits() >> BELOW) as usize) {
                *bin = (bin.0 + 1, bin.1 + held(*w, *g));
            }
        }
    }
    let all = matrix.data.len() as u64;
    let mut out = Vec::with_capacity(STEPS + 1);
    let (mut gone, mut energy, mut bin) = (0, 0.0, 0);
    for step in 0..=STEPS as u64 {
        let removed = all * step / STEPS as u64;
        while let Some((count, more)) = bins.get(bin).filter(|b| gone + b.0 <= removed) {
            (gone, energy, bin) = (gone + count, energy + more, bin + 1);
        }
        let part = bins.get(bin).map_or(0.0, |(n, more)| more * (removed - gone) as f64 / (*n).max(1) as f64);
        out.push(energy + part);
    }
    Ok(out)
}

/// The same number of every `size` entries of a row; what fills no group stays.
fn groups(matrix: &Matrix, moments: &[f32], size: usize, keep_going: KeepGoing<'_>) -> Result<Vec<f64>, Stopped> {
    let (rows, size) = (matrix.rows, size.max(1));
    let count = if matrix.data.len() <= WHOLE { rows } else { rows.min(SAMPLE) };
    let mut taken = vec![0.0; size];
    let mut group: Vec<(f32, f64)> = Vec::with_capacity(size);
    for k in 0..count {
        check(keep_going)?;
        let row = &matrix.data[k * rows / count.max(1) * matrix.cols..][..matrix.cols];
        for (weights, moments) in row.chunks_exact(size).zip(moments.chunks_exact(size)) {
            group.clear();
            group.extend(weights.iter().zip(moments).map(|(w, g)| (w.abs(), held(*w, *g))));
            group.sort_by(|a, b| a.0.total_cmp(&b.0));
            taken.iter_mut().zip(&group).for_each(|(sum, (_, energy))| *sum += energy);
        }
    }
    let scale = rows as f64 / count.max(1) as f64;
    Ok(curve(taken.into_iter().map(|e| e * scale)))
}

/// Tiles of a shape, those of least energy an entry first.
fn units(
    matrix: &Matrix,
    moments: &[f32],
    [height, width]: [usize; 2],
    keep_going: KeepGoing<'_>,
) -> Result<Vec<f64>, Stopped> {
    let (height, width) = (height.max(1), width.max(1));
    let across = matrix.cols.div_ceil(width);
    // Energy and entries of each tile, and what the outputs hold of it.
    let mut tiles = vec![(0f64, 0usize, 0f64); matrix.rows.div_ceil(height) * across];
    for (i, row) in matrix.row_iter().enumerate() {
        check(keep_going)?;
        let tiles = &mut tiles[i / height * across..][..across];
        for (tile, (weights, moments)) in tiles.iter_mut().zip(row.chunks(width).zip(moments.chunks(width))) {
            tile.0 += weights.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>();
            tile.1 += weights.len();
            tile.2 += weights.iter().zip(moments).map(|(w, g)| held(*w, *g)).sum::<f64>();
        }
    }
    tiles.sort_by(|a, b| (a.0 / a.1 as f64).total_cmp(&(b.0 / b.1 as f64)));
    Ok(curve(tiles.into_iter().map(|t| t.2)))
}

/// What an entry holds of its output's energy.
fn held(w: f32, moment: f32) -> f64 {
    f64::from(w) * f64::from(w) * f64::from(moment)
}

/// Sums from nothing to all, at no more places than a curve has.
fn curve(parts: impl ExactSizeIterator<Item = f64>) -> Vec<f64> {
    let count = parts.len();
    let mut sum = 0.0;
    let sums: Vec<f64> = std::iter::once(0.0)
        .chain(parts.map(|part| {
            sum += part;
            sum
        }))
        .collect();
    // Few units keep a place each, so that what is told of them is what goes.
    if count <= 4 * STEPS {
        return sums;
    }
    (0..=STEPS).map(|k| sums[(k * count + STEPS / 2) / STEPS]).collect()
}
