//! One pass over the entries: magnitudes, norms of rows and columns, zeros.

mod double;

use super::bins::{self, Bar, Bins};
use super::patterns::{PatternCounter, Table};
use super::{Ask, Fact, Lipschitz, Probe, ProbeError, ProbeId, pq, stripes};
use crate::known::Known;
use crate::model::decode::pattern;
use crate::model::{DType, Layer, Orientation, Stored};
use crate::numerics::isa::{Isa, Kernel};
use crate::numerics::norms::{Sums, above, below};
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
    pub min_nonzero: f64,
    /// Largest |w|.
    pub max: f64,
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
    /// Quantiles of |w| at [`QUANTILES`], zeros included: `(share, value)`, exact. As numpy and PyTorch have them by default:
    /// on the straight line between the two entries around place q·(N − 1), so that the median of an even number of
    /// entries is the mean of the middle two.
    pub quantiles: Vec<(f64, f64)>,
}

/// Ratios at which every layer's error is told.
pub const RATIOS: [f64; 4] = [0.3, 0.5, 0.7, 0.9];

/// Shares whose quantile is told.
pub const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// Numbers (from 1) of the two entries, ascending, around the quantile `q` of so many.
fn around(q: f64, entries: u64) -> [u64; 2] {
    let place = q * entries.saturating_sub(1) as f64;
    [place.floor() as u64 + 1, place.ceil() as u64 + 1]
}

/// The quantile between those two.
fn between(q: f64, entries: u64, [low, high]: [f64; 2]) -> f64 {
    let place = q * entries.saturating_sub(1) as f64;
    low + (high - low) * place.fract()
}

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
    /// With the sums over rows and columns.
    fn with(mut self, sums: Sums) -> Self {
        self.entries = (sums.row_squares.len() * sums.squares.len()) as u64;
        self.sum_squares = sums.row_squares.iter().sum();
        self.sum_abs = sums.abs.iter().sum();
        self.l1 = sums.abs.iter().copied().fold(0.0, f64::max);
        self.linf = sums.largest_row;
        (self.row_squares, self.col_squares) = (sums.row_squares, sums.squares);
        self
    }

    /// Numbers how many entries go at [`RATIOS`] and which surround [`QUANTILES`], reads those where bins do not tell, and
    /// fills in errors and quantiles.
    fn cut(&mut self, entries: &Stored, ask: &Ask) -> Result<(), ProbeError> {
        let gone = RATIOS.map(|p| Treatment::removed(p, self.entries).saturating_sub(self.zeros));
        let ranks = QUANTILES.map(|q| around(q, self.entries).map(|k| k.saturating_sub(self.zeros)));
        let mut held = Vec::new();
        let mut keys = Vec::new();
        if !self.bins.exact && !self.bins.is_empty() {
            keys = self.bins.keys_of(gone.into_iter().chain(ranks.into_iter().flatten()).filter(|k| *k > 0));
            let empty = vec![Vec::new(); keys.len()];
            let found =
                stripes::pass(entries, ask, |_| empty.clone(), |held, _, block| bins::collect(block, &keys, held))?;
            held = empty;
            held.iter_mut().enumerate().for_each(|(i, all)| found.iter().for_each(|part| all.extend(&part[i])));
            held.iter_mut().for_each(|all: &mut Vec<f32>| all.sort_unstable_by(f32::total_cmp));
        }
        let bins = &self.bins;
        let energy = |k: u64| if bins.exact { bins.lowest(k).energy.1 } else { bins.select(k, &keys, &held).1 };
        let nth = |k: u64| if bins.exact { bins.nth(k) } else { bins.select(k, &keys, &held).0 };
        let errors = RATIOS.into_iter().zip(gone).map(|(p, k)| (p, self.relative(energy(k)))).collect();
        let quantiles =
            QUANTILES.into_iter().zip(ranks).map(|(q, ks)| (q, between(q, self.entries, ks.map(nth)))).collect();
        (self.prune_error, self.quantiles) = (errors, quantiles);
        Ok(())
    }

    /// √ of a share of the energy; 0 of a zero matrix.
    fn relative(&self, energy: f64) -> f64 {
        if self.sum_squares > 0.0 { (energy.max(0.0) / self.sum_squares).sqrt() } else { 0.0 }
    }

    /// ‖W‖_F², rounded up: the true one is not larger.
    ///
    /// Squares of `f32` entries are exact in `f64`. An entry's square is added to those of its row, then the row to the
    /// others; or, with 16 bits, each of at most 2¹⁵ patterns is multiplied by its count and added. Doubles are squared with
    /// one rounding. See [`above`].
    pub fn energy_above(&self) -> f64 {
        above(self.sum_squares, self.row_squares.len() + self.col_squares.len() + (1 << 15))
    }

    /// ‖W‖_F, rounded up; √ halves the relative error and rounds once.
    pub fn frobenius_above(&self) -> f64 {
        above(self.energy_above().sqrt(), 1)
    }

    /// ‖W‖_F²/σ₁² from above, where σ₁ is at least `norm`; a square and a quotient round once each.
    pub fn stable_rank_above(&self, norm: f64) -> f64 {
        above(self.energy_above() / (norm * norm), 2)
    }

    /// The smaller of ‖W‖_F and √(‖W‖₁‖W‖_∞), rounded up: the largest singular value is not larger.
    pub fn norm_above(&self) -> f64 {
        let terms = self.row_squares.len() + self.col_squares.len();
        self.frobenius_above().min(above((self.linf * self.l1).sqrt(), terms))
    }

    /// Takes in what the table of all patterns tells; every sum in it is exact but for its rounding.
    fn take(&mut self, table: Table) {
        // The sums over rows and columns were taken entry by entry; the table's are shorter.
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
            // Sums over at most all entries.
            range: (below(cut.energy.0, self.entries as usize), above(cut.energy.1, self.entries as usize)),
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

    /// The quantile `q` of |w|: exact for [`QUANTILES`] and where each bin holds one magnitude, else up to the width of a bin.
    pub fn quantile(&self, q: f64) -> Known {
        if let Some((_, value)) = self.quantiles.iter().find(|(at, _)| *at == q) {
            return Known::exact(*value);
        }
        let nth = |k: u64| match k.saturating_sub(self.zeros) {
            0 => 0.0,
            k if self.bins.exact => self.bins.nth(k),
            k => f64::from(self.bins.lowest(k).threshold),
        };
        let value = between(q, self.entries, around(q, self.entries).map(nth));
        if self.bins.exact { Known::exact(value) } else { Known::estimate(value) }
    }

    /// Σ of the `k` largest column norms: the L₁,₂ estimate of the nuclear norm (an upper bound where no column is
    /// left out, that is for k ≥ columns).
    pub fn l12_nuclear(&self, k: usize) -> Known {
        let mut norms: Vec<f64> = self.col_squares.iter().map(|s| s.sqrt()).collect();
        norms.sort_by(|a, b| b.total_cmp(a));
        let value = norms.iter().take(k).sum();
        // A column's squares are added over its rows, and then the roots.
        let terms = self.row_squares.len() + norms.len();
        if k >= norms.len() { Known::upper(above(value, terms)) } else { Known::estimate(value) }
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
        // Patterns and doubles are read as they lie.
        layer.orientation == Orientation::InOut
    }
    fn workspace(&self, layer: &Layer, threads: usize) -> u64 {
        let entries = layer.rows() as u64 * layer.cols() as u64;
        // Of doubles all are sorted; of a matrix whose entries are nearly equal, all may lie in the bins that are cut.
        let sorted = match layer.dtype {
            DType::BF16 | DType::F16 => 0,
            DType::F64 => 8 * entries,
            _ => 4 * entries,
        };
        sorted + threads.max(1) as u64 * (6 << 20)
    }
    fn measure(&self, layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        let found = magnitude(entries, ask)?;
        let norms = (!layer.kind.is_conv()).then(|| Fact::Lipschitz(Arc::new(Lipschitz::linear(layer, &found))));
        Ok(std::iter::once(Fact::Magnitude(Arc::new(found))).chain(norms).collect())
    }
}

/// Measures a matrix. Of 16-bit types every pattern is counted, of doubles all are sorted, which makes every figure exact;
/// other types are counted in bins, and the bins that are cut are read in a second pass.
pub fn magnitude(entries: &Stored, ask: &Ask) -> Result<Magnitude, ProbeError> {
    entries.fit()?;
    if let Some(found) = double::magnitude(entries, ask) {
        return found;
    }
    let cols = entries.shape()[1];
    let patterns = entries.patterns();
    let states = stripes::pass(
        entries,
        ask,
        |_| (Sums::new(cols), Counting::new(patterns.is_some()), 0f64),
        |(sums, counting, roots), from, block| {
            match (counting, patterns) {
                (Counting::Patterns(c), Some(p)) => c.add(&p[from * cols..][..block.len()]),
                (Counting::Bins(c), _) => {
                    c.add(block);
                    *roots += Isa::Best.run(Roots(block));
                }
                (Counting::Patterns(_), None) => {}
            }
            sums.add(block, Isa::Best);
        },
    )?;
    let joined = states.into_iter().reduce(|(mut sums, mut counting, roots), (later, more, some)| {
        sums.append(later);
        counting.append(more);
        (sums, counting, roots + some)
    });
    let (sums, counting, roots) = joined.ok_or(ProbeError::Stopped)?;
    let mut out = Magnitude::default().with(sums);
    match counting {
        Counting::Patterns(counter) => {
            let table = counter.finish(|bits| pattern(entries.dtype(), bits).unwrap_or(0.0));
            out.take(table);
        }
        Counting::Bins(counter) => {
            (out.zeros, out.min_nonzero, out.max) = (counter.zeros, counter.min_nonzero(), counter.max());
            // Types of so few bits that a bin holds a single magnitude.
            out.bins = counter.finish(matches!(entries.dtype(), DType::F8E4M3 | DType::F8E5M2));
            out.sum_roots = roots;
        }
    }
    out.pq_index = pq::index(out.sum_roots, out.sum_abs, out.entries);
    out.cut(entries, ask)?;
    Ok(out)
}

/// How magnitudes are counted.
enum Counting {
    Patterns(PatternCounter),
    Bins(bins::Counter),
}

impl Counting {
    fn new(patterns: bool) -> Self {
        if patterns { Self::Patterns(PatternCounter::new()) } else { Self::Bins(bins::Counter::new()) }
    }
    fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Patterns(a), Self::Patterns(b)) => a.append(b),
            (Self::Bins(a), Self::Bins(b)) => a.append(&b),
            _ => {}
        }
    }
}

/// Σ √|w|, in `f64`.
struct Roots<'a>(&'a [f32]);

impl Kernel for Roots<'_> {
    type Output = f64;
    #[allow(clippy::inline_always, reason = "see `numerics::isa`")]
    #[inline(always)]
    fn run<const FMA: bool>(self) -> f64 {
        const LANES: usize = 16;
        let (chunks, rest) = self.0.as_chunks::<LANES>();
        let mut sums = [0f64; LANES];
        for chunk in chunks {
            for (sum, w) in sums.iter_mut().zip(chunk) {
                *sum += f64::from(w.abs()).sqrt();
            }
        }
        sums.iter().sum::<f64>() + rest.iter().map(|w| f64::from(w.abs()).sqrt()).sum::<f64>()
    }
}

#[cfg(test)]
mod tests;
