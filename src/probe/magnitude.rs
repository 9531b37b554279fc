//! One pass over the entries: magnitudes, norms of rows and columns, zeros.

use super::bins::{self, Bar, Bins};
use super::patterns::{PatternCounter, Table};
use super::{Ask, Fact, Lipschitz, Probe, ProbeError, ProbeId, pq};
use crate::known::Known;
use crate::model::decode::pattern;
use crate::model::{DType, Layer, Orientation, Stored};
use crate::numerics::isa::Isa;
use crate::numerics::norms::Sums;
use crate::treat::Treatment;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What one pass tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Magnitude {
    /// Number of entries.
    pub entries: u64,
    /// Entries that are exactly zero.
    pub zeros: u64,
    /// Σ w².
    pub sum_squares: f64,
    /// Σ |w|.
    pub sum_abs: f64,
    /// Σ √|w|.
    pub sum_roots: f64,
    /// Smallest non-zero |w|; 0 for a zero matrix.
    pub min_nonzero: f32,
    /// Largest |w|.
    pub max: f32,
    /// Cumulative magnitudes.
    pub bins: Bins,
    /// Σ w² of each row.
    pub row_squares: Vec<f64>,
    /// Σ w² of each column.
    pub col_squares: Vec<f64>,
    /// Largest row sum of |w|: ‖W‖_{∞→∞}.
    pub linf: f64,
    /// Largest column sum of |w|: ‖W‖_{1→1}.
    pub l1: f64,
    /// PQ index with p = ½, q = 1 (Diao et al. 2023); 0 for a zero matrix.
    pub pq_index: f64,
    /// Relative error of removing 30, 50, 70, 90 % of the entries, smallest magnitudes first: `(ratio, error)`, exact.
    pub prune_error: Vec<(f64, f64)>,
}

/// Ratios at which every layer's error is told.
pub const RATIOS: [f64; 4] = [0.3, 0.5, 0.7, 0.9];

/// What removing the smallest entries comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PruneProjection {
    /// Entries removed, those already zero included.
    pub removed: u64,
    /// Entries left that are not zero.
    pub nonzeros: u64,
    /// Σ w² of the removed entries; exact where each bin holds one magnitude.
    pub removed_energy: Known,
    /// Between what the removed energy surely lies.
    pub range: (f64, f64),
    /// Magnitude at which the cut lies: every entry below it is removed.
    pub threshold: f32,
}

impl Magnitude {
    /// Takes in what the table of all patterns tells; every sum in it is exact but for its rounding.
    fn take(&mut self, table: Table) {
        (self.zeros, self.min_nonzero, self.max) = (table.zeros, table.min_nonzero, table.max);
        (self.sum_squares, self.sum_abs, self.sum_roots) = (table.sum_squares, table.sum_abs, table.sum_roots);
        self.bins = table.bins;
    }

    /// ‖W‖_F.
    pub fn frobenius(&self) -> f64 {
        self.sum_squares.sqrt()
    }

    /// Removes `round(ratio · entries)` entries, zeros first, then the smallest magnitudes: one binary search.
    pub fn prune(&self, ratio: f64) -> PruneProjection {
        let removed = Treatment::removed(ratio, self.entries);
        let from_bins = removed.saturating_sub(self.zeros);
        let cut = self.bins.lowest(from_bins);
        let value = f64::midpoint(cut.energy.0, cut.energy.1);
        let removed_energy = if self.bins.exact || cut.energy.0 == cut.energy.1 {
            Known::exact(cut.energy.1)
        } else {
            Known::estimate(value)
        };
        PruneProjection {
            removed,
            nonzeros: self.entries - removed.max(self.zeros),
            removed_energy,
            range: cut.energy,
            threshold: cut.threshold,
        }
    }

    /// Entries whose LAMP score lies below a line, zeros included: w² over the sum of squares of all entries that are not
    /// smaller (Lee et al. 2021). The largest entry scores 1.
    pub fn lamp_below(&self, line: f64) -> u64 {
        let total = self.bins.energy.last().copied().unwrap_or(0.0);
        let before = |bin: usize| bin.checked_sub(1).map_or((0, 0.0), |b| (self.bins.count[b], self.bins.energy[b]));
        // Of the first entry of a bin; scores ascend.
        let square = |bin: usize| {
            let (count, energy) = before(bin);
            (self.bins.energy[bin] - energy) / (self.bins.count[bin] - count).max(1) as f64
        };
        let bins: Vec<usize> = (0..self.bins.count.len()).collect();
        let below = bins.partition_point(|&b| square(b) < line * (total - before(b).1));
        let Some(last) = below.checked_sub(1) else { return self.zeros };
        let (count, energy) = before(last);
        // The j-th entry of a bin scores w²/(S − j·w²).
        let inside = ((total - energy) / square(last) - 1.0 / line).ceil().max(0.0) as u64;
        self.zeros + count + inside.min(self.bins.count[last] - count)
    }

    /// A histogram of the non-zero magnitudes; see [`Bins::histogram`].
    pub fn histogram(&self, bars: usize) -> Vec<Bar> {
        self.bins.histogram(bars)
    }

    /// The magnitude below which the share `q` of all entries lies; exact where each bin holds one magnitude.
    pub fn quantile(&self, q: f64) -> Known {
        let rank = ((q * self.entries as f64).ceil() as u64).clamp(1, self.entries.max(1));
        if rank <= self.zeros || self.bins.is_empty() {
            return Known::exact(0.0);
        }
        let threshold = f64::from(self.bins.lowest(rank - self.zeros).threshold);
        if self.bins.exact { Known::exact(threshold) } else { Known::estimate(threshold) }
    }

    /// Σ of the `k` largest column norms: the L₁,₂ estimate of the nuclear norm (an upper bound where no column is
    /// left out, that is for k ≥ columns).
    pub fn l12_nuclear(&self, k: usize) -> Known {
        let mut norms: Vec<f64> = self.col_squares.iter().map(|s| s.sqrt()).collect();
        norms.sort_by(|a, b| b.total_cmp(a));
        let value = norms.iter().take(k).sum();
        if k >= norms.len() { Known::upper(value) } else { Known::estimate(value) }
    }
}

/// Measures [`Magnitude`], and of a linear layer the norms that the same pass gives.
pub struct MagnitudeProbe;

impl Probe for MagnitudeProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Magnitude
    }
    fn title(&self) -> &'static str {
        "magnitudes"
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        1.2 * layer.rows() as f64 * layer.cols() as f64
    }
    fn decodes(&self, layer: &Layer) -> bool {
        !matches!(layer.dtype, DType::BF16 | DType::F16) || layer.orientation == Orientation::InOut
    }
    fn workspace(&self, _layer: &Layer, _threads: usize) -> u64 {
        6 << 20
    }
    fn measure(&self, layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        let found = magnitude(entries, ask)?;
        let norms = (!layer.kind.is_conv()).then(|| Fact::Lipschitz(Arc::new(Lipschitz::linear(layer, &found))));
        Ok(std::iter::once(Fact::Magnitude(Arc::new(found))).chain(norms).collect())
    }
}

/// Entries worked on between two questions whether to go on, and in the cache together.
const BLOCK: usize = 1 << 16;

/// Measures a matrix in one pass. Of 16-bit types every pattern is counted, which makes every threshold exact; other
/// types are counted in bins.
pub fn magnitude(entries: &Stored, ask: &Ask) -> Result<Magnitude, ProbeError> {
    entries.fit()?;
    let [rows, cols] = entries.shape();
    let mut out = Magnitude { entries: (rows * cols) as u64, ..Magnitude::default() };
    let mut sums = Sums::new(cols);
    let mut counter = match entries.patterns() {
        Some(patterns) => Counting::Patterns(patterns, PatternCounter::new()),
        None => Counting::Bins(Box::new(bins::Counter::new())),
    };
    let together = (BLOCK / cols.max(1)).max(1);
    let mut buffer = vec![0f32; together.min(rows) * cols];
    for from in (0..rows).step_by(together) {
        if !(ask.keep_going)() {
            return Err(ProbeError::Stopped);
        }
        let block = &mut buffer[..together.min(rows - from) * cols];
        entries.rows_into(from, block);
        match &mut counter {
            Counting::Patterns(patterns, counter) => counter.add(&patterns[from * cols..][..block.len()]),
            Counting::Bins(counter) => {
                counter.add(block);
                out.sum_roots += block.iter().map(|w| f64::from(w.abs().sqrt())).sum::<f64>();
            }
        }
        sums.add(block, Isa::Best);
    }
    match counter {
        Counting::Patterns(_, counter) => {
            let table = counter.finish(|bits| pattern(entries.dtype(), bits).unwrap_or(0.0));
            out.take(table);
        }
        Counting::Bins(counter) => {
            (out.zeros, out.min_nonzero, out.max) = (counter.zeros, counter.min_nonzero(), counter.max);
            // Types of so few bits that a bin holds a single magnitude.
            out.bins = counter.finish(matches!(entries.dtype(), DType::F8E4M3 | DType::F8E5M2));
            out.sum_squares = sums.row_squares.iter().sum();
            out.sum_abs = sums.abs.iter().sum();
        }
    }
    out.l1 = sums.abs.iter().copied().fold(0.0, f64::max);
    out.linf = sums.largest_row;
    (out.row_squares, out.col_squares) = (sums.row_squares, sums.squares);
    out.pq_index = pq::index(out.sum_roots, out.sum_abs, out.entries);
    out.prune_error = exact_errors(entries, &out, ask)?;
    Ok(out)
}

/// How magnitudes are counted.
enum Counting<'a> {
    Patterns(&'a [[u8; 2]], PatternCounter),
    Bins(Box<bins::Counter>),
}

/// Errors at [`RATIOS`]: from the table where it is exact, else by reading the entries of the bins that are cut.
fn exact_errors(entries: &Stored, known: &Magnitude, ask: &Ask) -> Result<Vec<(f64, f64)>, ProbeError> {
    let relative =
        |energy: f64| if known.sum_squares > 0.0 { (energy.max(0.0) / known.sum_squares).sqrt() } else { 0.0 };
    if known.bins.exact {
        return Ok(RATIOS.iter().map(|&p| (p, relative(known.prune(p).removed_energy.value))).collect());
    }
    let cuts: Vec<u64> =
        RATIOS.iter().map(|&p| Treatment::removed(p, known.entries).saturating_sub(known.zeros)).collect();
    let energies =
        known.bins.lowest_exactly(&cuts, &entries.matrix().data, ask.keep_going).ok_or(ProbeError::Stopped)?;
    Ok(RATIOS.iter().zip(energies).map(|(&p, (energy, _))| (p, relative(energy))).collect())
}

#[cfg(test)]
mod tests;
