//! What pruning by relative importance costs, from a sample of rows: the curve of single entries, of each row, of N:M.

#![allow(clippy::inline_always, reason = "see `numerics::isa`")]

use super::{Ask, Fact, Probe, ProbeError, ProbeId, stripes};
use crate::model::{Layer, Orientation, Stored};
use crate::numerics::batcher::{self, Pairs};
use crate::numerics::isa::{Isa, Kernel};
use crate::treat::{Pattern, Treatment};
use pulp::{Simd, WithSimd};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Rows that stand for all: at least and at most, and about how many entries they hold.
const SAMPLE: [usize; 2] = [96, 256];
const SAMPLED: usize = 1 << 17;
/// Stretches between the places at which a curve is kept.
const PLACES: usize = 256;
/// Values of M that are measured.
const SIZES: [usize; 3] = [4, 8, 16];
/// Entries of a group that all of them fit into.
const GROUP: usize = 16;

/// Shares of the energy that go with the least important entries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// `[rows, columns]`.
    pub shape: [usize; 2],
    /// At even shares of all entries, from none to all.
    pub layer: Vec<f64>,
    /// The same with the same share of every row.
    pub row: Vec<f64>,
    /// For each M with 0, 1, … M entries of a group removed.
    pub groups: Vec<(usize, Vec<f64>)>,
}

/// Rows that stand for all of a matrix.
fn sample([rows, cols]: [usize; 2]) -> usize {
    rows.min((SAMPLED / cols.max(1)).clamp(SAMPLE[0], SAMPLE[1]))
}

impl Importance {
    /// About which share of the energy goes at a share of the entries; `None` for patterns that were not measured.
    pub fn removed(&self, pattern: Pattern, share: f64) -> Option<f64> {
        let along = |curve: &[f64], entries: usize| {
            let (share, places) = (share.clamp(0.0, 1.0), curve.len().checked_sub(1)?);
            // Of few entries the curve is a staircase, and each number of them stands at a place: between two steps there
            // is nothing to take a mean of.
            let at = if entries < places {
                let removed = match pattern {
                    // 0.29 · 100 is 28.999…
                    Pattern::PerRow => (share * entries as f64 + 1e-9) as usize,
                    _ => Treatment::removed(share, entries as u64) as usize,
                };
                (removed * places).div_ceil(entries.max(1)) as f64
            } else {
                share * places as f64
            };
            let (low, high) = (*curve.get(at.floor() as usize)?, *curve.get(at.ceil() as usize)?);
            Some(low + (high - low) * at.fract())
        };
        match pattern {
            Pattern::Unstructured => along(&self.layer, sample(self.shape) * self.shape[1]),
            Pattern::PerRow => along(&self.row, self.shape[1]),
            Pattern::Groups(m) => along(&self.groups.iter().find(|g| g.0 == m)?.1, usize::MAX),
            _ => None,
        }
    }
}

/// Measures [`Importance`].
pub struct ImportanceProbe;

impl Probe for ImportanceProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Importance
    }
    fn title(&self) -> &'static str {
        "importance"
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable() && layer.eligible()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        let (rows, cols) = (layer.rows() as f64, layer.cols() as f64);
        0.3 * rows * cols + 12.0 * sample(layer.matrix) as f64 * cols
    }
    fn decodes(&self, layer: &Layer) -> bool {
        layer.orientation == Orientation::InOut
    }
    fn workspace(&self, layer: &Layer, threads: usize) -> u64 {
        threads.max(1) as u64 * ((1 << 20) + (16 * BATCH + 80) as u64 * layer.cols() as u64)
    }
    fn measure(&self, _layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        Ok(vec![Fact::Importance(Arc::new(importance(entries, ask)?))])
    }
}

/// Measures a matrix: a pass for the sums of all columns, then the sampled rows.
pub fn importance(entries: &Stored, ask: &Ask) -> Result<Importance, ProbeError> {
    entries.fit()?;
    let shape @ [rows, cols] = entries.shape();
    let sums = stripes::pass(
        entries,
        ask,
        |_| vec![0f64; cols],
        |sums, _, block| {
            Isa::Best.run(Columns { block, sums });
        },
    )?;
    let inverse = |sum: f64| if sum > 0.0 { 1.0 / sum } else { 0.0 };
    let columns: Vec<f64> = (0..cols).map(|j| inverse(sums.iter().map(|s| s[j]).sum())).collect();
    let sampled = sample(shape);
    let threads = if sampled * cols < 1 << 15 { 1 } else { ask.threads };
    let parts = stripes::side_by_side(stripes::divide(sampled, BATCH, threads), |range| {
        let mut state = State::new(cols);
        let mut row = vec![0f32; cols];
        for i in range {
            if i.is_multiple_of(BATCH) && !(ask.keep_going)() {
                return Err(ProbeError::Stopped);
            }
            entries.rows_into(i * rows / sampled, &mut row);
            state.add(&row, &columns);
        }
        state.sort();
        Ok(state)
    })?;
    let all = parts.into_iter().reduce(State::append).unwrap_or_else(|| State::new(cols));
    Ok(all.finish(shape, sampled))
}

/// Rows sorted together on every instruction set: a multiple of its lanes.
const BATCH: usize = 16;
const PARTS: usize = 8;
/// Bits of a score that do not tell bins apart: 128 bins for each power of two.
const BELOW: u32 = 16;
/// Scores are shares of a row and of a column: at most 2.
const BINS: usize = (2f32.to_bits() >> BELOW) as usize + 1;

/// What the sampled rows gave so far.
struct State {
    cols: usize,
    /// Scores and magnitudes of rows that wait for others to be sorted with.
    waiting: [Vec<f32>; 2],
    planes: [Vec<f32>; 2],
    /// Σ w² at each place of the sorted rows, in parts.
    row: Vec<[f64; PARTS]>,
    /// The same at each place of the sorted groups of each of [`SIZES`].
    groups: [[[f64; PARTS]; GROUP]; SIZES.len()],
    /// Σ w² and number of the entries whose score lies in each bin.
    bins: Vec<[f64; 2]>,
}

impl State {
    fn new(cols: usize) -> Self {
        Self {
            cols,
            waiting: [Vec::new(), Vec::new()],
            planes: [Vec::new(), Vec::new()],
            row: vec![[0.0; PARTS]; cols],
            groups: [[[0.0; PARTS]; GROUP]; SIZES.len()],
            bins: vec![[0.0; 2]; BINS],
        }
    }

    /// Takes a row; `columns` are the inverse sums of the columns.
    fn add(&mut self, row: &[f32], columns: &[f64]) {
        let sum: f64 = row.iter().map(|w| f64::from(w.abs())).sum();
        let mine = if sum > 0.0 { 1.0 / sum } else { 0.0 };
        let [scores, sizes] = &mut self.waiting;
        let from = scores.len();
        scores.extend(row.iter().zip(columns).map(|(w, column)| (f64::from(w.abs()) * (column + mine)) as f32));
        sizes.extend(row.iter().map(|w| w.abs()));
        for (score, w) in scores[from..].iter().zip(row) {
            let w = f64::from(*w);
            let [energy, count] = &mut self.bins[((score.to_bits() >> BELOW) as usize).min(BINS - 1)];
            *energy += w * w;
            *count += 1.0;
        }
        if self.waiting[0].len() == BATCH * self.cols {
            self.sort();
        }
    }

    fn sort(&mut self) {
        let Self { cols, waiting, planes, row, groups, .. } = self;
        Isa::Best.arch().dispatch(Sort { cols: *cols, waiting, planes, row, groups });
        waiting.iter_mut().for_each(Vec::clear);
    }

    /// Takes in other rows.
    fn append(mut self, other: Self) -> Self {
        let groups = self.groups.iter_mut().flatten().zip(other.groups.iter().flatten());
        for (a, b) in self.row.iter_mut().zip(&other.row).chain(groups) {
            (0..PARTS).for_each(|k| a[k] += b[k]);
        }
        for (a, b) in self.bins.iter_mut().zip(&other.bins) {
            (0..2).for_each(|k| a[k] += b[k]);
        }
        self
    }

    fn finish(self, shape: [usize; 2], sampled: usize) -> Importance {
        let cols = self.cols;
        let sum = |parts: &[f64; PARTS]| parts.iter().sum::<f64>();
        let total: f64 = self.row.iter().map(sum).sum();
        let share = |energy: f64| if total > 0.0 { energy / total } else { 0.0 };
        let mut prefix = vec![0.0];
        for parts in &self.row {
            prefix.push(prefix.last().copied().unwrap_or(0.0) + sum(parts));
        }
        let row = (0..=PLACES).map(|place| share(prefix[place * cols / PLACES])).collect();
        let groups = SIZES.iter().zip(&self.groups).map(|(&m, places)| {
            let mut curve = vec![0.0; m + 1];
            (0..m).for_each(|k| curve[k + 1] = curve[k] + share(sum(&places[k])));
            (m, curve)
        });
        Importance { shape, layer: layer_curve(&self.bins, sampled * cols, total), row, groups: groups.collect() }
    }
}

/// Shares of the energy that go with the first entries at even shares of them; of a bin that is cut an even part.
fn layer_curve(bins: &[[f64; 2]], entries: usize, total: f64) -> Vec<f64> {
    let (mut energy, mut count, mut at) = (0f64, 0f64, 0);
    let place = |place: usize| {
        let removed = (place * entries / PLACES) as f64;
        while let Some([more, held]) = bins.get(at).filter(|b| count + b[1] <= removed) {
            (energy, count, at) = (energy + more, count + held, at + 1);
        }
        let part = bins.get(at).map_or(0.0, |[more, held]| more * (removed - count) / held.max(1.0));
        if total > 0.0 { ((energy + part) / total).min(1.0) } else { 0.0 }
    };
    (0..=PLACES).map(place).collect()
}

/// Σ |w| of columns.
struct Columns<'a> {
    block: &'a [f32],
    sums: &'a mut [f64],
}

impl Kernel for Columns<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for row in self.block.chunks_exact(self.sums.len().max(1)) {
            for (sum, w) in self.sums.iter_mut().zip(row) {
                *sum += f64::from(w.abs());
            }
        }
    }
}

/// Rows that wait; those that lack to fill all lanes count as zeros.
struct Sort<'a> {
    cols: usize,
    waiting: &'a [Vec<f32>; 2],
    planes: &'a mut [Vec<f32>; 2],
    row: &'a mut [[f64; PARTS]],
    groups: &'a mut [[[f64; PARTS]; GROUP]; SIZES.len()],
}

impl WithSimd for Sort<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { cols, waiting: [scores, sizes], planes: [keys, values], row, groups } = self;
        let lanes = S::F32_LANES;
        let all = lanes * cols.max(1);
        for (scores, sizes) in scores.chunks(all).zip(sizes.chunks(all)) {
            for (planes, rows) in [(&mut *keys, scores), (&mut *values, sizes)] {
                batcher::turn(rows, cols, lanes, planes);
            }
            // Of a row's groups of 16 those of 4 come in order first, then those of 8, so each size is read on the way.
            let mut start = 0;
            while start < cols {
                let count = GROUP.min(cols - start);
                for (i, m) in SIZES.into_iter().enumerate() {
                    let part = start * lanes..(start + count) * lanes;
                    let (k, v) = (&mut keys[part.clone()], &mut values[part]);
                    let mut pairs = Pairs { simd, keys: S::as_mut_simd_f32s(k).0, values: S::as_mut_simd_f32s(v).0 };
                    batcher::merge(&mut pairs, if i == 0 { 1 } else { SIZES[i - 1] }, m);
                    let whole = count / m * m;
                    for (j, plane) in v.chunks_exact(lanes).take(whole).enumerate() {
                        add(plane, &mut groups[i][j % m]);
                    }
                }
                start += GROUP;
            }
            let mut pairs = Pairs { simd, keys: S::as_mut_simd_f32s(keys).0, values: S::as_mut_simd_f32s(values).0 };
            // What lies in a last, shorter group is sorted as well: a run of 16 all the same.
            batcher::sort_from(&mut pairs, GROUP);
            for (plane, sums) in values.chunks_exact(lanes).zip(&mut *row) {
                add(plane, sums);
            }
        }
    }
}

/// Adds the squares of a plane.
#[inline(always)]
fn add(plane: &[f32], sums: &mut [f64; PARTS]) {
    for (k, w) in plane.iter().enumerate() {
        let w = f64::from(*w);
        sums[k % PARTS] += w * w;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Matrix;

    #[test]
    fn the_worked_matrix_loses_what_it_should() {
        // RI of the first row 1.24, 0, .67, .42: {0, −1} go, 1 of 18; of the second .76, 1.22, .61, 1.08: {3, −1}, 10 of 23.
        let matrix = Matrix::new(2, 4, vec![4.0, 0.0, 1.0, -1.0, 3.0, -2.0, -1.0, -3.0]).unwrap();
        let found = importance(&Stored::from(matrix), &Ask { keep_going: &|| true, threads: 1 }).unwrap();
        for pattern in [Pattern::PerRow, Pattern::Groups(4)] {
            let share = found.removed(pattern, 0.5).unwrap();
            assert!((share - 11.0 / 41.0).abs() < 1e-12, "{pattern:?} {share}");
        }
        // Of all entries 0, .417, .611, .667: 0, −1, −1, 1.
        assert!((found.removed(Pattern::Unstructured, 0.5).unwrap() - 3.0 / 41.0).abs() < 1e-12);
        assert_eq!(found.removed(Pattern::Unstructured, 0.0), Some(0.0));
        assert!((found.removed(Pattern::Unstructured, 1.0).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(found.removed(Pattern::Rows, 0.5), None);
        let zero = Stored::from(Matrix::new(3, 2, vec![0.0; 6]).unwrap());
        let found = importance(&zero, &Ask { keep_going: &|| true, threads: 1 }).unwrap();
        assert_eq!(found.removed(Pattern::Unstructured, 1.0), Some(0.0));
    }
}
