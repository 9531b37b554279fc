//! What removing the same number of entries of every row costs, smallest first.

use crate::known::Known;
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
        20.0 * sorted as f64 * cols as f64
    }
}

/// Takes rows in.
pub struct Counter {
    rows: usize,
    cols: usize,
    whole: bool,
    curve: RowCurve,
    /// Energy and nonzeros of the rows sorted.
    seen: (f64, u64),
    sorted: Vec<u32>,
}

impl Counter {
    /// For a matrix of so many rows and columns.
    pub fn new(rows: usize, cols: usize) -> Self {
        let places = cols.min(PLACES);
        let removed: Vec<u32> = (1..=places).map(|i| (i * cols / places.max(1)) as u32).collect();
        let whole = rows * cols <= WHOLE || rows <= SAMPLE;
        let curve = RowCurve { whole, energy: vec![0.0; places], nonzeros: vec![0.0; places], removed };
        Self { rows, cols, whole, curve, seen: (0.0, 0), sorted: vec![0; cols] }
    }

    /// Takes a row.
    pub fn add(&mut self, row: usize, entries: &[f32]) {
        // Row i of the sample is ⌊i·rows/SAMPLE⌋.
        let chosen = self.whole || (row * SAMPLE) % self.rows < SAMPLE;
        if !chosen || self.cols == 0 {
            return;
        }
        self.sorted.iter_mut().zip(entries).for_each(|(s, w)| *s = w.to_bits() & 0x7fff_ffff);
        self.sorted.sort_unstable();
        let (mut energy, mut nonzeros, mut from) = (0f64, 0u64, 0usize);
        for (place, &to) in self.curve.removed.iter().enumerate() {
            for &bits in &self.sorted[from..to as usize] {
                energy += f64::from(f32::from_bits(bits)).powi(2);
                nonzeros += u64::from(bits != 0);
            }
            from = to as usize;
            self.curve.energy[place] += energy;
            self.curve.nonzeros[place] += nonzeros as f64;
        }
        self.seen = (self.seen.0 + energy, self.seen.1 + nonzeros);
    }

    /// What was found, of a matrix of this energy and so many nonzeros.
    pub fn finish(mut self, sum_squares: f64, nonzeros: u64) -> RowCurve {
        if !self.whole {
            let energy = if self.seen.0 > 0.0 { sum_squares / self.seen.0 } else { 0.0 };
            let held = if self.seen.1 > 0 { nonzeros as f64 / self.seen.1 as f64 } else { 0.0 };
            self.curve.energy.iter_mut().for_each(|e| *e *= energy);
            self.curve.nonzeros.iter_mut().for_each(|n| *n *= held);
        }
        self.curve
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
