//! Pruning of a matrix, exactly: which entries go, and what that costs.

use super::criterion::{Criterion, Scores};
use super::pattern::{Pattern, Prune};
use crate::model::{Layer, Matrix};
use crate::numerics::{KeepGoing, Stopped, interrupt::check};

/// What pruning did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pruned {
    /// Largest magnitude removed, of single entries; 0 where units of more entries go.
    pub threshold: f32,
    /// Σ w² of the entries removed.
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

/// Sets what the pattern chooses to zero, what the criterion holds for least first; of equals those that come first in the
/// matrix. Where the criterion cannot choose nothing goes: who makes a plan asks it before.
pub fn prune(matrix: &mut Matrix, layer: &Layer, how: Prune, keep_going: KeepGoing<'_>) -> Result<Pruned, Stopped> {
    let removed = how.pattern.removed(how.remove, layer);
    let mut out = Pruned::default();
    let mut kept = None;
    let scored = how.criterion != Criterion::Magnitude;
    match how.pattern {
        _ if scored => (out.threshold, out.energy, kept) = by_scores(matrix, layer, how, removed, keep_going)?,
        Pattern::Unstructured => (out.threshold, out.energy) = entries(matrix, removed, keep_going)?,
        Pattern::PerRow => out.energy = groups(matrix, None, matrix.cols, removed as usize, keep_going)?,
        Pattern::Groups(m) => out.energy = groups(matrix, None, m, removed as usize, keep_going)?,
        Pattern::Rows => {
            let shape = [1, matrix.cols];
            (out.energy, kept) = units(matrix, shape, removed, keep_going).map(|(e, k)| (e, Some(k)))?;
        }
        Pattern::Columns => {
            let shape = [matrix.rows, layer.input_columns()];
            (out.energy, kept) = units(matrix, shape, removed, keep_going).map(|(e, k)| (e, Some(k)))?;
        }
        Pattern::Blocks(r, c) => {
            (out.energy, kept) = units(matrix, [r, c], removed, keep_going).map(|(e, k)| (e, Some(k)))?;
        }
    }
    (out.rows, out.cols) = counts(matrix, keep_going)?;
    out.nonzeros = out.rows.iter().map(|&n| u64::from(n)).sum();
    out.stored = kept.unwrap_or(out.nonzeros);
    Ok(out)
}

/// Entries left that are not zero, in each row and in each column.
fn counts(matrix: &Matrix, keep_going: KeepGoing<'_>) -> Result<(Vec<u32>, Vec<u32>), Stopped> {
    let (mut rows, mut cols) = (vec![0u32; matrix.rows], vec![0u32; matrix.cols]);
    let together = (1 << 20) / matrix.cols.max(1) + 1;
    for (r, row) in matrix.data.chunks_exact(matrix.cols.max(1)).enumerate() {
        if r.is_multiple_of(together) {
            check(keep_going)?;
        }
        let mut count = 0;
        for (w, column) in row.iter().zip(&mut cols) {
            let held = u32::from(*w != 0.0);
            count += held;
            *column += held;
        }
        rows[r] = count;
    }
    Ok((rows, cols))
}

/// Removes the smallest magnitudes; the largest of them, and their energy.
fn entries(matrix: &mut Matrix, removed: u64, keep_going: KeepGoing<'_>) -> Result<(f32, f64), Stopped> {
    let removed = removed.min(matrix.data.len() as u64);
    let (threshold, mut ties) = threshold(&matrix.data, removed, keep_going)?;
    if removed == 0 {
        return Ok((0.0, 0.0));
    }
    let mut energy = 0.0;
    for block in matrix.data.chunks_mut(1 << 18) {
        check(keep_going)?;
        for w in block {
            let bits = w.to_bits() & 0x7fff_ffff;
            let tie = bits == threshold && ties > 0;
            if bits < threshold || tie {
                ties -= u64::from(tie);
                energy += f64::from(*w) * f64::from(*w);
                *w = 0.0;
            }
        }
    }
    Ok((f32::from_bits(threshold), energy))
}

/// Bit pattern of the `k`-th smallest magnitude and how many entries of exactly that magnitude are among the `k`
/// smallest: a radix selection over the upper, then the lower 16 bits.
fn threshold(data: &[f32], k: u64, keep_going: KeepGoing<'_>) -> Result<(u32, u64), Stopped> {
    if k == 0 {
        return Ok((0, 0));
    }
    let mut prefix = 0u32;
    let mut left = k;
    for (shift, bits) in [(16u32, 15u32), (0, 16)] {
        let mut counts = vec![0u64; 1 << bits];
        for block in data.chunks(1 << 18) {
            check(keep_going)?;
            for w in block {
                let pattern = w.to_bits() & 0x7fff_ffff;
                if shift == 16 || pattern >> 16 == prefix >> 16 {
                    counts[(pattern >> shift) as usize & ((1 << bits) - 1)] += 1;
                }
            }
        }
        for (digit, count) in counts.iter().enumerate() {
            if left <= *count {
                prefix |= (digit as u32) << shift;
                break;
            }
            left -= count;
        }
    }
    Ok((prefix, left))
}

/// Prunes by the scores of a criterion: the largest magnitude removed, the energy, and of rows the entries that stay.
fn by_scores(
    matrix: &mut Matrix,
    layer: &Layer,
    how: Prune,
    removed: u64,
    keep_going: KeepGoing<'_>,
) -> Result<(f32, f64, Option<u64>), Stopped> {
    let way = how.criterion.way();
    if (way.applies)(layer, how.pattern).is_err() {
        return Ok((0.0, 0.0, None));
    }
    match ((way.scores)(layer, matrix, keep_going)?, how.pattern) {
        (Scores::Entries(scores), Pattern::Unstructured) => {
            let (line, mut ties) = threshold(&scores, removed, keep_going)?;
            let (mut largest, mut energy) = (0f32, 0.0);
            for (w, score) in matrix.data.iter_mut().zip(&scores).filter(|_| removed > 0) {
                let bits = score.to_bits();
                let tie = bits == line && ties > 0;
                if bits < line || tie {
                    ties -= u64::from(tie);
                    largest = largest.max(w.abs());
                    energy += f64::from(*w) * f64::from(*w);
                    *w = 0.0;
                }
            }
            Ok((largest, energy, None))
        }
        (Scores::Entries(scores), Pattern::PerRow) => {
            let energy = groups(matrix, Some(&scores), matrix.cols, removed as usize, keep_going)?;
            Ok((0.0, energy, None))
        }
        (Scores::Entries(scores), Pattern::Groups(m)) => {
            Ok((0.0, groups(matrix, Some(&scores), m, removed as usize, keep_going)?, None))
        }
        (Scores::Rows(scores), Pattern::Rows) => {
            let mut order: Vec<usize> = (0..scores.len().min(matrix.rows)).collect();
            order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
            let (mut energy, cols) = (0.0, matrix.cols);
            order.truncate(removed as usize);
            for &row in &order {
                let row = &mut matrix.data[row * cols..][..cols];
                energy += row.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>();
                row.fill(0.0);
            }
            Ok((0.0, energy, Some((matrix.data.len() - order.len() * cols) as u64)))
        }
        _ => Ok((0.0, 0.0, None)),
    }
}

/// Removes the `removed` smallest of every `m` consecutive entries of a row, by their scores where they have any; their
/// energy.
fn groups(
    matrix: &mut Matrix,
    scores: Option<&[f32]>,
    m: usize,
    removed: usize,
    keep_going: KeepGoing<'_>,
) -> Result<f64, Stopped> {
    let mut energy = 0.0;
    let mut order: Vec<(u32, usize)> = Vec::with_capacity(m);
    let cols = matrix.cols.max(1);
    let together = (1 << 18) / cols + 1;
    for (r, row) in matrix.data.chunks_exact_mut(cols).enumerate() {
        if r.is_multiple_of(together) {
            check(keep_going)?;
        }
        for (g, group) in row.chunks_exact_mut(m.max(1)).enumerate() {
            order.clear();
            let at = r * cols + g * m;
            let by = scores.map_or(&*group, |s| &s[at..at + m]);
            order.extend(by.iter().enumerate().map(|(i, w)| (w.to_bits() & 0x7fff_ffff, i)));
            order.sort_unstable();
            for &(_, i) in &order[..removed.min(m)] {
                energy += f64::from(group[i]) * f64::from(group[i]);
                group[i] = 0.0;
            }
        }
    }
    Ok(energy)
}

/// Removes tiles of a shape, those of least energy an entry first; the energy removed and the entries that stay.
fn units(
    matrix: &mut Matrix,
    [height, width]: [usize; 2],
    removed: u64,
    keep_going: KeepGoing<'_>,
) -> Result<(f64, u64), Stopped> {
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
    Ok((energy, (rows * cols) as u64 - gone))
}

#[cfg(test)]
mod tests;
