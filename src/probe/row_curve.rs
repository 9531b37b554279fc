//! What removing the same number of entries of every row costs, smallest first.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `numerics::isa`")]

use crate::known::Known;
use crate::numerics::batcher::{self, Keys};
use crate::numerics::isa::Isa;
use pulp::{Simd, WithSimd};
use serde::{Deserialize, Serialize};

/// Matrices up to this many entries have every row sorted.
const WHOLE: usize = 1 << 20;
/// Rows that stand for all of a larger matrix.
const SAMPLE: usize = 256;
/// Places at which the curve is kept.
const PLACES: usize = 1024;

/// Σ w² over the smallest entries of each row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RowCurve {
    /// Whether every row was sorted; else evenly spaced rows stand for all.
    pub whole: bool,
    /// Entries removed of each row, ascending from 1 to all.
    pub removed: Vec<u32>,
    /// Their Σ w² over all rows.
    pub energy: Vec<f64>,
    /// How many of them are not zero, over all rows.
    pub nonzeros: Vec<f64>,
}

impl RowCurve {
    /// Energy and nonzeros of the `k` smallest of every row: exact at a place of the curve where every row was sorted;
    /// between two places on the straight line, which the curve stays below.
    pub fn lowest(&self, k: u64) -> (Known, f64) {
        let at = self.removed.partition_point(|&r| u64::from(r) < k);
        let exact = |value| if self.whole { Known::exact(value) } else { Known::estimate(value) };
        let Some(&place) = self.removed.get(at).filter(|_| k > 0) else { return (Known::exact(0.0), 0.0) };
        if u64::from(place) == k {
            return (exact(self.energy[at]), self.nonzeros[at]);
        }
        let before = |v: &[f64]| at.checked_sub(1).map_or(0.0, |i| v[i]);
        let first = at.checked_sub(1).map_or(0.0, |i| f64::from(self.removed[i]));
        let share = (k as f64 - first) / (f64::from(place) - first);
        let between = |v: &[f64]| before(v) + share * (v[at] - before(v));
        (Known::estimate(between(&self.energy)), between(&self.nonzeros))
    }

    /// Nanoseconds that measuring takes, roughly.
    pub fn cost(rows: usize, cols: usize) -> f64 {
        let sorted = if rows * cols <= WHOLE { rows } else { rows.min(SAMPLE) };
        4.0 * sorted as f64 * cols as f64
    }
}

/// Takes rows in. A few are sorted together, a lane each.
pub struct Counter {
    rows: usize,
    cols: usize,
    whole: bool,
    /// Magnitudes of rows that wait for others to be sorted with.
    waiting: Vec<f32>,
    planes: Vec<f32>,
    /// Σ w² of the entries at each place of the sorted rows, in parts.
    energy: Vec<[f64; PARTS]>,
    /// How many rows hold so many zeros.
    zeros: Vec<u32>,
}

/// Rows sorted together on every instruction set: a multiple of its lanes.
const BATCH: usize = 16;
const PARTS: usize = 8;

impl Counter {
    /// For a matrix of so many rows and columns.
    pub fn new(rows: usize, cols: usize) -> Self {
        let whole = rows * cols <= WHOLE || rows <= SAMPLE;
        let (waiting, planes) = (Vec::new(), Vec::new());
        Self { rows, cols, whole, waiting, planes, energy: vec![[0.0; PARTS]; cols], zeros: vec![0; cols + 1] }
    }

    /// Takes a row.
    pub fn add(&mut self, row: usize, entries: &[f32]) {
        // Row i of the sample is ⌊i·rows/SAMPLE⌋.
        let chosen = self.whole || (row * SAMPLE) % self.rows < SAMPLE;
        if !chosen || self.cols == 0 {
            return;
        }
        self.waiting.extend(entries.iter().map(|w| w.abs()));
        self.zeros[entries.iter().map(|w| usize::from(*w == 0.0)).sum::<usize>()] += 1;
        if self.waiting.len() == BATCH * self.cols {
            self.sort();
        }
    }

    fn sort(&mut self) {
        let (cols, rows) = (self.cols, self.waiting.as_slice());
        Isa::Best.arch().dispatch(Sort { rows, cols, planes: &mut self.planes, energy: &mut self.energy });
        self.waiting.clear();
    }

    /// Takes in what another saw of the same matrix.
    pub fn append(&mut self, mut other: Self) {
        other.sort();
        for (all, more) in self.energy.iter_mut().zip(&other.energy) {
            (0..PARTS).for_each(|k| all[k] += more[k]);
        }
        self.zeros.iter_mut().zip(&other.zeros).for_each(|(a, b)| *a += b);
    }

    /// What was found, of a matrix of this energy and so many nonzeros.
    pub fn finish(mut self, sum_squares: f64, nonzeros: u64) -> RowCurve {
        self.sort();
        let places = self.cols.min(PLACES);
        let removed: Vec<u32> = (1..=places).map(|i| (i * self.cols / places.max(1)) as u32).collect();
        let mut curve = RowCurve { whole: self.whole, removed, energy: Vec::new(), nonzeros: Vec::new() };
        // Of rows with at most i zeros the (i + 1)-th smallest entry is none.
        let (mut energy, mut held, mut without, mut at) = (0f64, 0u64, 0u64, 0usize);
        for &to in &curve.removed {
            for i in at..to as usize {
                energy += self.energy[i].iter().sum::<f64>();
                without += u64::from(self.zeros[i]);
                held += without;
            }
            at = to as usize;
            curve.energy.push(energy);
            curve.nonzeros.push(held as f64);
        }
        if !self.whole {
            let share = if energy > 0.0 { sum_squares / energy } else { 0.0 };
            let count = if held > 0 { nonzeros as f64 / held as f64 } else { 0.0 };
            curve.energy.iter_mut().for_each(|e| *e *= share);
            curve.nonzeros.iter_mut().for_each(|n| *n *= count);
        }
        curve
    }
}

/// Magnitudes of whole rows; those that lack to fill all lanes count as zeros.
struct Sort<'a> {
    rows: &'a [f32],
    cols: usize,
    planes: &'a mut Vec<f32>,
    energy: &'a mut [[f64; PARTS]],
}

impl WithSimd for Sort<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rows, cols, planes, energy } = self;
        let lanes = S::F32_LANES;
        for some in rows.chunks(lanes * cols.max(1)) {
            batcher::turn(some, cols, lanes, planes);
            batcher::sort(&mut Keys { simd, keys: S::as_mut_simd_f32s(planes).0 });
            for (plane, sums) in planes.chunks_exact(lanes).zip(&mut *energy) {
                for k in 0..lanes {
                    let w = f64::from(plane[k]);
                    sums[k % PARTS] += w * w;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(rows: usize, data: &[f32]) -> RowCurve {
        let cols = data.len() / rows;
        let mut counter = Counter::new(rows, cols);
        data.chunks_exact(cols).enumerate().for_each(|(r, row)| counter.add(r, row));
        let energy = data.iter().map(|w| f64::from(*w).powi(2)).sum();
        counter.finish(energy, data.iter().filter(|w| **w != 0.0).count() as u64)
    }

    #[test]
    fn the_worked_example_has_its_error() {
        // Per row {−1, .5} and {.1, .2} go: ε = .2989098168.
        let found = curve(2, &[3.0, -1.0, 0.5, 2.0, 0.1, 0.2, -0.3, 0.4]).lowest(2);
        assert!((found.0.value / 14.55).sqrt() - 0.298_909_816_8 < 1e-7 && found.1 == 4.0);
        assert_eq!(found.0.bound, crate::known::Bound::Exact);
        assert_eq!(curve(1, &[0.0, 2.0]).lowest(1), (Known::exact(0.0), 0.0));
        assert_eq!(curve(1, &[0.0, 2.0]).lowest(0), (Known::exact(0.0), 0.0));
    }

    #[test]
    fn long_rows_are_bracketed_and_many_are_sampled() {
        let long: Vec<f32> = (0..5000).map(|i| ((i * 37) % 5000) as f32).collect();
        let (found, whole) = (curve(1, &long), curve(1, &long[..1000]));
        assert!(found.removed.len() == PLACES && whole.removed.len() == 1000);
        for k in [1u64, 7, 2500, 4999, 5000] {
            let exact: f64 = (0..k).map(|i| (i as f64).powi(2)).sum();
            let said = found.lowest(k).0.value;
            assert!(said >= exact * (1.0 - 1e-12) && said <= exact + 10.0 * (k * k) as f64, "{k}: {said} {exact}");
        }
        let many: Vec<f32> = (0..1200 * 1000).map(|i| ((i as u64 * 7919) % 2003) as f32 - 1001.0).collect();
        let found = curve(1200, &many);
        assert!(!found.whole);
        let mut exact = 0.0;
        for row in many.chunks_exact(1000) {
            let mut row: Vec<f64> = row.iter().map(|w| f64::from(*w).abs()).collect();
            row.sort_by(f64::total_cmp);
            exact += row[..500].iter().map(|w| w * w).sum::<f64>();
        }
        let said = found.lowest(500);
        assert!(said.0.bound == crate::known::Bound::Estimate && (said.0.value / exact - 1.0).abs() < 0.02);
    }
}
