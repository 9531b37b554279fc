//! Pruning of a matrix, exactly: which entries go, and what that costs.

#![allow(clippy::inline_always, reason = "see `isa`")]

mod kernels;
pub mod stored;

use super::criterion::{Act, Criterion, Scores};
use super::pattern::{Pattern, Prune};
use crate::model::{Layer, Matrix};
use crate::numerics::isa::{Isa, Kernel};
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use crate::probe::ProbeError;
use kernels::Plain;

/// What pruning did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pruned {
    /// Largest magnitude removed, of single entries; 0 where units of more entries go.
    pub threshold: f32,
    /// Σ w² of the entries removed; ‖W − Ŵ‖_F² where entries that stay change.
    pub energy: f64,
    /// Entries left that are not zero.
    pub nonzeros: u64,
    /// Entries that are stored: nonzeros, or all entries of the units that stay.
    pub stored: u64,
    /// Entries left that are not zero, in each row.
    pub rows: Vec<u32>,
    /// The same in each column.
    pub cols: Vec<u32>,
}

/// What removing entries did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Removed {
    /// Largest magnitude removed, of single entries; 0 where units of more entries go.
    pub threshold: f32,
    /// Σ w² of the entries removed; ‖W − Ŵ‖_F² where entries that stay change.
    pub energy: f64,
    /// All entries of the units that stay, where units go.
    pub kept: Option<u64>,
}

/// Sets what the pattern chooses to zero, as [`remove`] does, and counts what is left.
pub fn prune(matrix: &mut Matrix, layer: &Layer, how: Prune, keep_going: KeepGoing<'_>) -> Result<Pruned, ProbeError> {
    let Removed { threshold, energy, kept } = remove(matrix, layer, how, keep_going)?;
    let (rows, cols) = counts(matrix, keep_going)?;
    let nonzeros = rows.iter().map(|&n| u64::from(n)).sum();
    Ok(Pruned { threshold, energy, nonzeros, stored: kept.unwrap_or(nonzeros), rows, cols })
}

/// Sets what the pattern chooses to zero, what the criterion holds for least first; of equals those that come first in the
/// matrix. Where the criterion cannot choose nothing goes: who makes a plan asks it before.
pub fn remove(
    matrix: &mut Matrix,
    layer: &Layer,
    how: Prune,
    keep_going: KeepGoing<'_>,
) -> Result<Removed, ProbeError> {
    let removed = how.pattern.removed(how.remove, layer);
    let single = |energy| Removed { energy, ..Removed::default() };
    let cols = matrix.cols;
    match how.pattern {
        _ if how.criterion != Criterion::Magnitude => by_scores(matrix, layer, how, removed, keep_going),
        Pattern::Unstructured => {
            let cleared = kernels::entries::<Plain>(&mut matrix.data, None, removed, keep_going)?;
            Ok(Removed { threshold: cleared.largest, ..single(cleared.lost) })
        }
        Pattern::PerRow => Ok(single(groups(matrix, None, [cols, removed as usize], keep_going)?)),
        Pattern::Groups(m) => Ok(single(groups(matrix, None, [m, removed as usize], keep_going)?)),
        Pattern::Rows => Ok(units(matrix, [1, cols], removed, keep_going)?),
        Pattern::Columns => Ok(units(matrix, [matrix.rows, layer.input_columns()], removed, keep_going)?),
        Pattern::Blocks(r, c) => Ok(units(matrix, [r, c], removed, keep_going)?),
    }
}

/// Removes the least of every few entries; their energy.
fn groups(
    matrix: &mut Matrix,
    scores: Option<&[f32]>,
    least: [usize; 2],
    keep_going: KeepGoing<'_>,
) -> Result<f64, Stopped> {
    Ok(kernels::groups::<Plain>(&mut matrix.data, scores, matrix.cols, least, keep_going)?.lost)
}

/// Entries left that are not zero, in each row and in each column.
fn counts(matrix: &Matrix, keep_going: KeepGoing<'_>) -> Result<(Vec<u32>, Vec<u32>), Stopped> {
    let (mut rows, mut cols) = (vec![0u32; matrix.rows], vec![0u32; matrix.cols]);
    let together = (1 << 20) / matrix.cols.max(1) + 1;
    let data = matrix.data.chunks(matrix.cols.max(1) * together);
    for (data, rows) in data.zip(rows.chunks_mut(together)) {
        check(keep_going)?;
        Isa::Best.run(Counts { data, rows, cols: &mut cols });
    }
    Ok((rows, cols))
}

struct Counts<'a> {
    data: &'a [f32],
    rows: &'a mut [u32],
    cols: &'a mut [u32],
}

impl Kernel for Counts<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for (row, count) in self.data.chunks_exact(self.cols.len().max(1)).zip(self.rows) {
            for (w, column) in row.iter().zip(&mut *self.cols) {
                let held = u32::from(*w != 0.0);
                *count += held;
                *column += held;
            }
        }
    }
}

/// Prunes by the scores of a criterion.
fn by_scores(
    matrix: &mut Matrix,
    layer: &Layer,
    how: Prune,
    removed: u64,
    keep_going: KeepGoing<'_>,
) -> Result<Removed, ProbeError> {
    let way = how.criterion.way();
    if let Err(why) = (way.applies)(layer, how.pattern) {
        // Activations are missing where a plan is used without them; all else was asked when it was made.
        return if way.weighs { Err(ProbeError::Inputs(why)) } else { Ok(Removed::default()) };
    }
    let single = |energy| Removed { energy, ..Removed::default() };
    let cols = matrix.cols;
    let scores = match way.act {
        Act::Scores(scores) => scores(layer, matrix, keep_going)?,
        Act::Rewrite(rewrite) => {
            let before = matrix.data.clone();
            rewrite(layer, matrix, how, keep_going)?;
            let lost = |(w, v): (&f32, &f32)| (f64::from(*w) - f64::from(*v)).powi(2);
            return Ok(single(before.iter().zip(&matrix.data).map(lost).sum()));
        }
    };
    match (scores, how.pattern) {
        (Scores::Entries(scores), Pattern::Unstructured) => {
            let cleared = kernels::entries::<Plain>(&mut matrix.data, Some(&scores), removed, keep_going)?;
            Ok(Removed { threshold: cleared.largest, ..single(cleared.lost) })
        }
        (Scores::Entries(scores), Pattern::PerRow) => {
            Ok(single(groups(matrix, Some(&scores), [cols, removed as usize], keep_going)?))
        }
        (Scores::Entries(scores), Pattern::Groups(m)) => {
            Ok(single(groups(matrix, Some(&scores), [m, removed as usize], keep_going)?))
        }
        (Scores::Rows(scores), Pattern::Rows) => {
            let mut order: Vec<usize> = (0..scores.len().min(matrix.rows)).collect();
            order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
            let mut energy = 0.0;
            order.truncate(removed as usize);
            for &row in &order {
                let row = &mut matrix.data[row * cols..][..cols];
                energy += row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>();
                row.fill(0.0);
            }
            Ok(Removed { kept: Some((matrix.data.len() - order.len() * cols) as u64), ..single(energy) })
        }
        _ => Ok(Removed::default()),
    }
}

/// Removes tiles of a shape, those of least energy an entry first.
fn units(
    matrix: &mut Matrix,
    [height, width]: [usize; 2],
    removed: u64,
    keep_going: KeepGoing<'_>,
) -> Result<Removed, Stopped> {
    let (rows, cols) = (matrix.rows, matrix.cols);
    let (height, width) = (height.max(1), width.max(1));
    let (down, across) = (rows.div_ceil(height), cols.div_ceil(width));
    let mut energies = vec![0f64; down * across];
    for (r, row) in matrix.data.chunks_exact(cols.max(1)).enumerate() {
        check(keep_going)?;
        let sums = &mut energies[r / height * across..][..across];
        for (sum, part) in sums.iter_mut().zip(row.chunks(width)) {
            *sum += part.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>();
        }
    }
    let size = |unit: usize| {
        let (i, j) = (unit / across * height, unit % across * width);
        (height.min(rows - i) * width.min(cols - j)) as u64
    };
    let mut order: Vec<usize> = (0..energies.len()).collect();
    let mean = |unit: usize| energies[unit] / size(unit) as f64;
    order.sort_by(|&a, &b| mean(a).total_cmp(&mean(b)).then(a.cmp(&b)));
    let (mut energy, mut gone) = (0.0, 0);
    for &unit in order.iter().take(removed as usize) {
        energy += energies[unit];
        gone += size(unit);
        let (i, j) = (unit / across * height, unit % across * width);
        for r in i..(i + height).min(rows) {
            matrix.data[r * cols + j..r * cols + (j + width).min(cols)].fill(0.0);
        }
    }
    Ok(Removed { threshold: 0.0, energy, kept: Some((rows * cols) as u64 - gone) })
}

#[cfg(test)]
mod tests;
