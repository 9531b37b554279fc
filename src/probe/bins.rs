//! Magnitudes counted in fine logarithmic bins, cumulated, so that any threshold is one binary search away.

use serde::{Deserialize, Serialize};

/// Bits of |w| (as `f32`) dropped to get a bin: 8 exponent and 10 mantissa bits stay, so every F16, BF16 and F8
/// magnitude has a bin of its own.
pub const SHIFT: u32 = 13;
const BINS: usize = 1 << (31 - SHIFT);

/// Cumulative table of the non-zero magnitudes, ascending. Three parallel arrays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bins {
    /// `|w|.to_bits() >> SHIFT` of each bin that holds an entry.
    pub key: Vec<u32>,
    /// Entries in this bin and all before it (zeros not counted).
    pub count: Vec<u64>,
    /// Sum of squares of those entries.
    pub energy: Vec<f64>,
    /// Whether each bin holds a single magnitude, so that any threshold is answered exactly.
    pub exact: bool,
}

/// Where the cut between removed and kept entries lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Surely between these lies the sum of squares below the cut.
    pub energy: (f64, f64),
    /// The largest magnitude removed, up to the width of a bin.
    pub threshold: f32,
}

/// One bar of a histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Smallest magnitude that falls into it.
    pub from: f64,
    /// Where the next begins.
    pub to: f64,
    /// Entries.
    pub count: u64,
}

impl Bins {
    /// Whether all entries are zero.
    pub fn is_empty(&self) -> bool {
        self.key.is_empty()
    }

    fn before(&self, bin: usize) -> (u64, f64) {
        bin.checked_sub(1).map_or((0, 0.0), |b| (self.count[b], self.energy[b]))
    }

    /// Smallest magnitude of a bin.
    fn floor(key: u32) -> f32 {
        f32::from_bits(key << SHIFT)
    }

    /// The bin in which the `k`-th smallest magnitude lies (k from 1).
    fn bin_of(&self, k: u64) -> usize {
        self.count.partition_point(|&c| c < k).min(self.key.len().saturating_sub(1))
    }

    /// The `k` smallest non-zero magnitudes.
    pub fn lowest(&self, k: u64) -> Cut {
        if k == 0 || self.is_empty() {
            return Cut { energy: (0.0, 0.0), threshold: 0.0 };
        }
        let bin = self.bin_of(k);
        let (count, energy) = self.before(bin);
        let inside = k.min(self.count[bin]) - count;
        let held = self.count[bin] - count;
        let all = self.energy[bin] - energy;
        let floor = f64::from(Self::floor(self.key[bin]));
        let threshold = if self.exact { floor } else { (all / held as f64).sqrt() } as f32;
        if inside == held {
            return Cut { energy: (self.energy[bin], self.energy[bin]), threshold };
        }
        let share = all * inside as f64 / held as f64;
        if self.exact {
            return Cut { energy: (energy + share, energy + share), threshold };
        }
        // The smallest of a bin hold at most their share of it and at least the bin's floor each.
        Cut { energy: (energy + (floor * floor * inside as f64).min(share), energy + share), threshold }
    }

    /// Like [`Self::lowest`] for several `k`, exactly: one pass collects the entries of the bins that are cut.
    /// Returns `(sum of squares, largest magnitude removed)` for each; `None` when told to stop.
    pub fn lowest_exactly(&self, ks: &[u64], data: &[f32], keep_going: &dyn Fn() -> bool) -> Option<Vec<(f64, f32)>> {
        if self.is_empty() {
            return Some(vec![(0.0, 0.0); ks.len()]);
        }
        let bins: Vec<usize> = ks.iter().map(|&k| self.bin_of(k.max(1))).collect();
        let keys: Vec<u32> = bins.iter().map(|&b| self.key[b]).collect();
        let mut held: Vec<Vec<f32>> = vec![Vec::new(); ks.len()];
        for block in data.chunks(1 << 18) {
            if !keep_going() {
                return None;
            }
            for w in block {
                let key = (w.to_bits() & 0x7fff_ffff) >> SHIFT;
                for (k, found) in keys.iter().zip(&mut held) {
                    // The zero bin never cuts: its key is held by subnormals as well.
                    if key == *k && *w != 0.0 {
                        found.push(w.abs());
                    }
                }
            }
        }
        let answer = |((&k, &bin), mut found): ((&u64, &usize), Vec<f32>)| {
            if k == 0 {
                return (0.0, 0.0);
            }
            let (count, energy) = self.before(bin);
            let inside = (k.min(self.count[bin]) - count) as usize;
            found.sort_unstable_by(f32::total_cmp);
            let squares: f64 = found.iter().take(inside).map(|&w| f64::from(w) * f64::from(w)).sum();
            (energy + squares, inside.checked_sub(1).and_then(|i| found.get(i)).copied().unwrap_or(0.0))
        };
        Some(ks.iter().zip(&bins).zip(held).map(answer).collect())
    }

    /// A histogram with `bars` bars of equal width in log|w| between the smallest and the largest magnitude.
    pub fn histogram(&self, bars: usize) -> Vec<Bar> {
        let (Some(&first), Some(&last)) = (self.key.first(), self.key.last()) else { return Vec::new() };
        let low = f64::from(Self::floor(first)).max(f64::from(f32::MIN_POSITIVE) / 1e6).ln();
        let high = f64::from(Self::floor(last + 1)).ln();
        let edge = |i: usize| (low + (high - low) * i as f64 / bars as f64).exp();
        let mut out: Vec<Bar> = (0..bars).map(|i| Bar { from: edge(i), to: edge(i + 1), count: 0 }).collect();
        let mut done = 0;
        for (key, count) in self.key.iter().zip(&self.count) {
            // The middle of the bin decides, so that a bar's count does not depend on rounding at its edge.
            let middle = f64::from(f32::from_bits((key << SHIFT) | 1 << (SHIFT - 1))).ln();
            let at = ((middle - low) / (high - low) * bars as f64) as usize;
            if let Some(bar) = out.get_mut(at.min(bars.saturating_sub(1))) {
                bar.count += count - done;
            }
            done = *count;
        }
        out
    }
}

/// Counts entries into all bins, then keeps those that hold any.
pub(super) struct Counter {
    count: Vec<u32>,
    energy: Vec<f64>,
    overflow: Vec<u64>,
    pub zeros: u64,
    min_bits: u32,
    pub max: f32,
}

impl Counter {
    pub fn new() -> Self {
        let overflow = Vec::new();
        Self { count: vec![0; BINS], energy: vec![0.0; BINS], overflow, zeros: 0, min_bits: u32::MAX, max: 0.0 }
    }

    pub fn add(&mut self, block: &[f32]) {
        for w in block {
            let bits = w.to_bits() & 0x7fff_ffff;
            if bits == 0 {
                self.zeros += 1;
                continue;
            }
            self.min_bits = self.min_bits.min(bits);
            let a = f32::from_bits(bits);
            self.max = self.max.max(a);
            let bin = (bits >> SHIFT) as usize;
            self.energy[bin] += f64::from(a) * f64::from(a);
            self.count[bin] = self.count[bin].wrapping_add(1);
            if self.count[bin] == 0 {
                self.overflow.push(bin as u64);
            }
        }
    }

    pub fn min_nonzero(&self) -> f32 {
        if self.min_bits == u32::MAX { 0.0 } else { f32::from_bits(self.min_bits) }
    }

    pub fn finish(self, exact: bool) -> Bins {
        let mut bins = Bins { exact, ..Bins::default() };
        let (mut count, mut energy) = (0u64, 0.0);
        for (key, (&held, &squares)) in self.count.iter().zip(&self.energy).enumerate() {
            let wrapped = self.overflow.iter().filter(|&&b| b == key as u64).count() as u64;
            let held = u64::from(held) + (wrapped << 32);
            if held > 0 {
                count += held;
                energy += squares;
                bins.key.push(key as u32);
                bins.count.push(count);
                bins.energy.push(energy);
            }
        }
        bins
    }
}
