//! Magnitudes counted in fine logarithmic bins, cumulated, so that any threshold is one binary search away.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `numerics::isa`")]

use crate::numerics::isa::{Isa, Kernel};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};

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

    /// The bins that hold the `ks`-th smallest non-zero magnitudes (k from 1): their keys, each once, ascending.
    pub fn keys_of(&self, ks: impl Iterator<Item = u64>) -> Vec<u32> {
        let mut keys: Vec<u32> = ks.filter_map(|k| self.key.get(self.bin_of(k.max(1))).copied()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The `k`-th smallest non-zero magnitude and Σ w² of the first `k` (k from 1), exactly, from the sorted entries of its
    /// bin; zeros without an entry.
    pub fn select(&self, k: u64, keys: &[u32], held: &[Vec<f32>]) -> (f64, f64) {
        if k == 0 || self.is_empty() {
            return (0.0, 0.0);
        }
        let bin = self.bin_of(k);
        let (count, energy) = self.before(bin);
        let inside = (k.min(self.count[bin]) - count) as usize;
        let found = keys.binary_search(&self.key[bin]).ok().and_then(|i| held.get(i)).map_or(&[][..], Vec::as_slice);
        let first = &found[..inside.min(found.len())];
        let squares: f64 = first.iter().map(|&w| f64::from(w) * f64::from(w)).sum();
        (first.last().map_or(0.0, |w| f64::from(*w)), energy + squares)
    }

    /// The same where each bin holds a single magnitude.
    pub fn nth(&self, k: u64) -> f64 {
        if k == 0 || self.is_empty() { 0.0 } else { f64::from(Self::floor(self.key[self.bin_of(k)])) }
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

/// Tables of zeros that wait for the next matrix, up to [`SPARES`]: a fresh one is 4 MiB of pages to be cleared, which for
/// matrices below a million entries takes as long as everything else.
static SPARE: Mutex<Vec<Vec<[f64; 2]>>> = Mutex::new(Vec::new());
const SPARES: usize = 4;

/// Counts entries into all bins, then keeps those that hold any.
pub(super) struct Counter {
    /// Σ w² and number of the entries of each bin; zeros count in the first.
    table: Vec<[f64; 2]>,
    /// Zeros.
    pub zeros: u64,
    smallest: u32,
    largest: u32,
}

impl Counter {
    pub fn new() -> Self {
        let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let table = spare.unwrap_or_else(|| vec![[0.0; 2]; BINS]);
        Self { table, zeros: 0, smallest: u32::MAX, largest: 0 }
    }

    /// Takes finite entries in.
    pub fn add(&mut self, block: &[f32]) {
        let (zeros, smallest, largest) = Isa::Best.run(Extremes(block));
        self.zeros += zeros;
        self.smallest = self.smallest.min(smallest);
        self.largest = self.largest.max(largest);
        let Some(table) = self.table.first_chunk_mut::<BINS>() else { return };
        for w in block {
            let bits = w.to_bits() & 0x7fff_ffff;
            let a = f64::from(f32::from_bits(bits));
            let [energy, count] = &mut table[(bits >> SHIFT) as usize % BINS];
            *energy += a * a;
            *count += 1.0;
        }
    }

    /// Takes in what another counted.
    pub fn append(&mut self, other: &Self) {
        self.zeros += other.zeros;
        self.smallest = self.smallest.min(other.smallest);
        self.largest = self.largest.max(other.largest);
        for key in other.keys() {
            for i in 0..2 {
                self.table[key][i] += other.table[key][i];
            }
        }
    }

    /// Bins that may hold an entry that is not zero.
    fn keys(&self) -> std::ops::RangeInclusive<usize> {
        let first = if self.zeros > 0 { 0 } else { self.smallest >> SHIFT };
        first as usize..=(self.largest >> SHIFT) as usize
    }

    /// The smallest non-zero magnitude; 0 without one.
    pub fn min_nonzero(&self) -> f64 {
        if self.smallest == u32::MAX { 0.0 } else { f64::from(f32::from_bits(self.smallest)) }
    }

    /// The largest magnitude.
    pub fn max(&self) -> f64 {
        f64::from(f32::from_bits(self.largest))
    }

    pub fn finish(self, exact: bool) -> Bins {
        let mut bins = Bins { exact, ..Bins::default() };
        let (mut count, mut energy) = (0u64, 0.0);
        for key in self.keys() {
            let [squares, held] = self.table[key];
            let held = held as u64 - if key == 0 { self.zeros } else { 0 };
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

impl Drop for Counter {
    fn drop(&mut self) {
        // Only these bins were counted into.
        let keys = self.keys();
        if let Some(used) = self.table.get_mut(keys) {
            used.fill([0.0; 2]);
        }
        let table = std::mem::take(&mut self.table);
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARES && table.len() == BINS {
            spare.push(table);
        }
    }
}

const LANES: usize = 16;

/// Zeros, and the bits of the smallest magnitude above zero (`u32::MAX` without one) and of the largest.
struct Extremes<'a>(&'a [f32]);

impl Kernel for Extremes<'_> {
    type Output = (u64, u32, u32);
    #[inline(always)]
    fn run<const FMA: bool>(self) -> Self::Output {
        let (chunks, rest) = self.0.as_chunks::<LANES>();
        let (mut zeros, mut least, mut most) = ([0u32; LANES], [u32::MAX; LANES], [0u32; LANES]);
        let mut last = [0f32; LANES];
        last[..rest.len()].copy_from_slice(rest);
        for chunk in chunks.iter().chain(std::iter::once(&last)) {
            for k in 0..LANES {
                let bits = chunk[k].to_bits() & 0x7fff_ffff;
                zeros[k] += u32::from(bits == 0);
                // Zero wraps around to the largest.
                least[k] = least[k].min(bits.wrapping_sub(1));
                most[k] = most[k].max(bits);
            }
        }
        let padding = (LANES - rest.len()) as u64;
        let least = least.into_iter().min().unwrap_or(u32::MAX);
        let zeros = zeros.into_iter().map(u64::from).sum::<u64>() - padding;
        (zeros, least.saturating_add(1), most.into_iter().max().unwrap_or(0))
    }
}

/// Adds the magnitudes of the entries that lie in bins with these keys (ascending, at most [`CUTS`]) to `held`.
pub(super) fn collect(block: &[f32], keys: &[u32], held: &mut [Vec<f32>]) {
    let mut wanted = [u32::MAX; CUTS];
    wanted.iter_mut().zip(keys).for_each(|(w, k)| *w = *k);
    for part in block.chunks(4 * LANES) {
        if !Isa::Best.run(Hits { part, wanted }) {
            continue;
        }
        for w in part {
            let bits = w.to_bits() & 0x7fff_ffff;
            // The first bin holds zeros besides the smallest numbers.
            if let Some(i) = keys.iter().position(|k| *k == bits >> SHIFT).filter(|_| bits != 0) {
                held[i].push(f32::from_bits(bits));
            }
        }
    }
}

/// Bins that can be looked for together.
pub(super) const CUTS: usize = 12;

/// Whether an entry lies in one of the bins.
struct Hits<'a> {
    part: &'a [f32],
    wanted: [u32; CUTS],
}

impl Kernel for Hits<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> bool {
        let mut any = 0u32;
        for w in self.part {
            let key = (w.to_bits() & 0x7fff_ffff) >> SHIFT;
            for k in 0..CUTS {
                any |= u32::from(key == self.wanted[k]);
            }
        }
        any != 0
    }
}
