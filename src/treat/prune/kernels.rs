//! Choosing the least entries and clearing them, without branches that depend on them.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `isa`")]

use crate::numerics::isa::{Isa, Kernel};
use crate::numerics::{KeepGoing, Stopped, interrupt::check};

/// How entries are held.
pub trait Format {
    /// An entry.
    type Entry: Copy;
    /// What cleared entries become.
    const ZERO: Self::Entry;
    /// Low bits of a pattern that are the second digit of a selection.
    const LOW: u32;
    /// Orders entries by their magnitude.
    fn pattern(entry: Self::Entry) -> u32;
    /// The number.
    fn value(entry: Self::Entry) -> f32;
}

/// Decoded entries.
pub struct Plain;

impl Format for Plain {
    type Entry = f32;
    const ZERO: f32 = 0.0;
    const LOW: u32 = 16;
    #[inline(always)]
    fn pattern(entry: f32) -> u32 {
        entry.to_bits() & 0x7fff_ffff
    }
    #[inline(always)]
    fn value(entry: f32) -> f32 {
        entry
    }
}

/// What clearing did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cleared {
    /// Σ w² of the entries cleared.
    pub lost: f64,
    /// Σ w² of all.
    pub all: f64,
    /// The largest magnitude cleared.
    pub largest: f32,
}

impl Cleared {
    /// Takes more in.
    pub fn add(&mut self, more: Self) {
        self.lost += more.lost;
        self.all += more.all;
        self.largest = self.largest.max(more.largest);
    }
}

/// Entries worked on at a time; their keys stay in the nearest cache.
const BLOCK: usize = 1024;
/// Groups up to this size are ranked entry against entry.
const RANKED: usize = 16;
/// Entries between two questions whether to go on.
pub const STRETCH: usize = 1 << 18;
/// Patterns of the first digit.
const DIGITS: usize = 1 << 15;
const LANES: usize = 16;

/// Pattern of the `k`-th smallest magnitude and how many entries of exactly that magnitude are among the `k` smallest:
/// a radix selection. Of entries that were stored in 16 bits one pass tells.
pub fn threshold<F: Format>(data: &[F::Entry], k: u64, keep_going: KeepGoing<'_>) -> Result<(u32, u64), Stopped> {
    if k == 0 {
        return Ok((0, 0));
    }
    let mut counts = vec![[0u32; 4]; DIGITS];
    let mut any = 0;
    for stretch in data.chunks(STRETCH) {
        check(keep_going)?;
        if let Some(counts) = counts.first_chunk_mut::<DIGITS>() {
            any |= count_digits::<F>(stretch, counts);
        }
    }
    let counts = counts.iter().map(|c| c.iter().map(|&n| u64::from(n)).sum::<u64>());
    let (digit, left) = digit_of(counts, k);
    let prefix = digit << F::LOW;
    if any & ((1 << F::LOW) - 1) == 0 {
        return Ok((prefix, left));
    }
    let mut counts = vec![0u32; 1 << F::LOW];
    for stretch in data.chunks(STRETCH) {
        check(keep_going)?;
        for pattern in stretch.iter().map(|&e| F::pattern(e)).filter(|p| p >> F::LOW == digit) {
            counts[pattern as usize & ((1 << F::LOW) - 1)] += 1;
        }
    }
    let (low, left) = digit_of(counts.into_iter().map(u64::from), left);
    Ok((prefix | low, left))
}

/// The digit at which the count passes `left`, and what is left before it.
fn digit_of(counts: impl Iterator<Item = u64>, mut left: u64) -> (u32, u64) {
    for (digit, count) in counts.enumerate() {
        if left <= count {
            return (digit as u32, left);
        }
        left -= count;
    }
    (0, 0)
}

/// Counts first digits, in four tables so that equal ones after another do not wait for each other; all bits there are.
fn count_digits<F: Format>(data: &[F::Entry], counts: &mut [[u32; 4]; DIGITS]) -> u32 {
    let mut any = 0;
    let (fours, rest) = data.as_chunks::<4>();
    for four in fours {
        for k in 0..4 {
            let pattern = F::pattern(four[k]);
            any |= pattern;
            counts[(pattern >> F::LOW) as usize % DIGITS][k] += 1;
        }
    }
    for &entry in rest {
        let pattern = F::pattern(entry);
        any |= pattern;
        counts[(pattern >> F::LOW) as usize % DIGITS][0] += 1;
    }
    any
}

/// Clears the `removed` smallest of all entries, by their scores where they have any; of equals the first.
pub fn entries<F: Format>(
    data: &mut [F::Entry],
    scores: Option<&[f32]>,
    removed: u64,
    keep_going: KeepGoing<'_>,
) -> Result<Cleared, Stopped> {
    let mut line = match scores {
        Some(scores) => Line::of::<Plain>(scores, removed, keep_going)?,
        None => Line::of::<F>(data, removed, keep_going)?,
    };
    let mut out = Cleared::default();
    for (i, stretch) in data.chunks_mut(STRETCH).enumerate() {
        check(keep_going)?;
        let scores = scores.map(|s| &s[i * STRETCH..][..stretch.len()]);
        out.add(line.clear::<F>(stretch, scores));
    }
    Ok(out)
}

/// Where entries that go are told from those that stay.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    line: i32,
    /// How many of those on it still go.
    ties: u64,
}

impl Line {
    /// With the `removed` smallest below it, or on it.
    pub fn of<F: Format>(data: &[F::Entry], removed: u64, keep_going: KeepGoing<'_>) -> Result<Self, Stopped> {
        let removed = removed.min(data.len() as u64);
        let (line, ties) = threshold::<F>(data, removed, keep_going)?;
        // Below zero there is nothing.
        Ok(if removed == 0 { Self { line: -1, ties: 0 } } else { Self { line: line as i32, ties } })
    }
    /// Clears the next entries.
    pub fn clear<F: Format>(&mut self, data: &mut [F::Entry], scores: Option<&[f32]>) -> Cleared {
        Isa::Best.run(Below::<F> { data, scores, line: self.line, ties: &mut self.ties })
    }
}

/// Clears the `removed` smallest of every `m` consecutive entries of a row, as [`entries`] does.
pub fn groups<F: Format>(
    data: &mut [F::Entry],
    scores: Option<&[f32]>,
    cols: usize,
    [m, removed]: [usize; 2],
    keep_going: KeepGoing<'_>,
) -> Result<Cleared, Stopped> {
    let (m, removed) = (m.max(1), removed.min(m));
    let mut out = Cleared::default();
    // Rows of whole groups follow each other like one.
    let row = if cols.is_multiple_of(m) { (STRETCH / m).max(1) * m } else { cols.max(1) };
    let mut since = STRETCH;
    for (r, data) in data.chunks_mut(row).enumerate() {
        since += data.len();
        if since >= STRETCH {
            check(keep_going)?;
            since = 0;
        }
        let scores = scores.map(|s| &s[r * row..][..data.len()]);
        out.add(if m <= RANKED {
            Isa::Best.run(Ranked::<F> { data, scores, m, removed })
        } else {
            Isa::Best.run(Selected::<F> { data, scores, m, removed })
        });
    }
    Ok(out)
}

/// Patterns of entries, or of their scores.
#[inline(always)]
fn keys<F: Format>(data: &[F::Entry], scores: Option<&[f32]>, out: &mut [i32]) {
    match scores {
        Some(scores) => out.iter_mut().zip(scores).for_each(|(k, &s)| *k = Plain::pattern(s) as i32),
        None => out.iter_mut().zip(data).for_each(|(k, &e)| *k = F::pattern(e) as i32),
    }
}

/// Clears entries whose key is at most `line`.
#[inline(always)]
fn clear<F: Format>(data: &mut [F::Entry], keys: &[i32], line: i32) -> Cleared {
    let (mut lost, mut all, mut largest) = ([0f64; LANES], [0f64; LANES], [0f32; LANES]);
    let ((data, rest), (keys, rest_keys)) = (data.as_chunks_mut::<LANES>(), keys.as_chunks::<LANES>());
    for (entries, keys) in data.iter_mut().zip(keys) {
        for k in 0..LANES {
            let gone = keys[k] <= line;
            let w = F::value(entries[k]);
            let cleared = if gone { w } else { 0.0 };
            all[k] += f64::from(w) * f64::from(w);
            lost[k] += f64::from(cleared) * f64::from(cleared);
            let size = cleared.abs();
            largest[k] = if size > largest[k] { size } else { largest[k] };
            entries[k] = if gone { F::ZERO } else { entries[k] };
        }
    }
    for (k, (entry, key)) in rest.iter_mut().zip(rest_keys).enumerate() {
        let w = F::value(*entry);
        let square = f64::from(w) * f64::from(w);
        all[k] += square;
        if *key <= line {
            lost[k] += square;
            largest[k] = largest[k].max(w.abs());
            *entry = F::ZERO;
        }
    }
    Cleared { lost: lost.iter().sum(), all: all.iter().sum(), largest: largest.into_iter().fold(0.0, f32::max) }
}

/// Clears entries below a line, and the first `ties` of those on it.
#[inline(always)]
fn below<F: Format>(data: &mut [F::Entry], keys: &mut [i32], line: i32, ties: &mut u64) -> Cleared {
    let mut limit = line - 1;
    if *ties > 0 {
        let here = u64::from(keys.iter().map(|&k| u32::from(k == line)).sum::<u32>());
        if here > *ties {
            // Only the first of those on the line.
            keys.iter_mut().filter(|k| **k == line).take(*ties as usize).for_each(|k| *k = -1);
        } else {
            limit = line;
        }
        *ties -= here.min(*ties);
    }
    clear::<F>(data, keys, limit)
}

struct Below<'a, F: Format> {
    data: &'a mut [F::Entry],
    scores: Option<&'a [f32]>,
    line: i32,
    ties: &'a mut u64,
}

impl<F: Format> Kernel for Below<'_, F> {
    type Output = Cleared;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> Cleared {
        let mut out = Cleared::default();
        let mut held = [0i32; BLOCK];
        for (i, data) in self.data.chunks_mut(BLOCK).enumerate() {
            let held = &mut held[..data.len()];
            keys::<F>(data, self.scores.map(|s| &s[i * BLOCK..][..data.len()]), held);
            out.add(below::<F>(data, held, self.line, self.ties));
        }
        out
    }
}

/// Small groups: an entry goes if fewer than `removed` of its group are before it.
struct Ranked<'a, F: Format> {
    data: &'a mut [F::Entry],
    scores: Option<&'a [f32]>,
    m: usize,
    removed: usize,
}

impl<F: Format> Kernel for Ranked<'_, F> {
    type Output = Cleared;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> Cleared {
        let Self { data, scores, m, removed } = self;
        let mut out = Cleared::default();
        let place: [i32; BLOCK] = std::array::from_fn(|i| (i % m) as i32);
        let mut held = [0i32; RANKED + BLOCK + RANKED];
        let whole = data.len() / m * m;
        let (data, tail) = data.split_at_mut(whole);
        let block = BLOCK / m * m;
        for (i, data) in data.chunks_mut(block).enumerate() {
            let n = data.len();
            keys::<F>(data, scores.map(|s| &s[i * block..][..n]), &mut held[RANKED..][..n]);
            let mut ranks = [0i32; BLOCK];
            for d in 1..m {
                let (own, place, ranks) = (&held[RANKED..][..n], &place[..n], &mut ranks[..n]);
                let (after, before) = (&held[RANKED + d..][..n], &held[RANKED - d..][..n]);
                let (last, first) = ((m - d) as i32, d as i32);
                for k in 0..n {
                    let less = i32::from(after[k] < own[k]) & i32::from(place[k] < last);
                    let equal = i32::from(before[k] <= own[k]) & i32::from(place[k] >= first);
                    ranks[k] += less + equal;
                }
            }
            out.add(clear::<F>(data, &ranks[..n], removed as i32 - 1));
        }
        // What does not fill a group stays.
        out.all += tail.iter().map(|&e| f64::from(F::value(e)).powi(2)).sum::<f64>();
        out
    }
}

/// Large groups: their line is found bit by bit.
struct Selected<'a, F: Format> {
    data: &'a mut [F::Entry],
    scores: Option<&'a [f32]>,
    m: usize,
    removed: usize,
}

impl<F: Format> Kernel for Selected<'_, F> {
    type Output = Cleared;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> Cleared {
        let Self { data, scores, m, removed } = self;
        let mut out = Cleared::default();
        let mut held = vec![0i32; m];
        for (i, group) in data.chunks_mut(m).enumerate() {
            let held = &mut held[..group.len()];
            keys::<F>(group, scores.map(|s| &s[i * m..][..group.len()]), held);
            // What does not fill a group stays.
            let removed = if group.len() < m { 0 } else { removed };
            let (line, mut ties) = if removed == 0 { (-1, 0) } else { line(held, removed) };
            out.add(below::<F>(group, held, line, &mut ties));
        }
        out
    }
}

/// The `k`-th smallest of non-negative keys, and how many equal to it are among the `k` smallest: the largest number
/// that fewer than `k` of them are below, bit by bit.
#[inline(always)]
fn line(keys: &[i32], k: usize) -> (i32, u64) {
    let any = keys.iter().fold(0, |all, key| all | key);
    let (mut line, mut less) = (0, 0);
    // Bits that none of them has are none of its.
    let last = any.trailing_zeros().min(31);
    for bit in (last..32 - any.leading_zeros()).rev() {
        let more = line | 1 << bit;
        let below = keys.iter().map(|&key| u32::from(key < more)).sum::<u32>() as usize;
        if below < k {
            (line, less) = (more, below);
        }
    }
    (line, (k - less) as u64)
}
