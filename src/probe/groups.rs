//! N:M patterns: what removing the smallest of every M consecutive input columns of a row costs, for every N at once.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `numerics::isa`")]

use crate::numerics::isa::{Isa, Kernel};
use serde::{Deserialize, Serialize};

/// Entries of a group that all of [`SIZES`] fit into.
const GROUP: usize = 16;
/// Groups worked on together.
const LANES: usize = 16;
/// Such stretches after which sums in `f32` move to `f64`.
const FOLD: usize = 8;

/// Values of M that are measured.
pub const SIZES: [usize; 4] = [2, 4, 8, 16];

/// What lies at each place of the sorted groups of M, smallest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Places {
    /// Entries of a group.
    pub m: usize,
    /// Σ w² of the entries at each place, over all whole groups.
    pub energy: Vec<f64>,
    /// Of how many groups the entry at each place is not zero.
    pub nonzeros: Vec<u64>,
}

impl Places {
    fn new(m: usize) -> Self {
        Self { m, energy: vec![0.0; m], nonzeros: vec![0; m] }
    }
    /// Σ w² and number of nonzeros of the `k` smallest of every group.
    pub fn lowest(&self, k: usize) -> (f64, u64) {
        let k = k.min(self.m);
        (self.energy[..k].iter().sum(), self.nonzeros[..k].iter().sum())
    }
}

/// Sums over the sorted groups of a matrix, for each of [`SIZES`]; columns that fill no group are left out.
#[derive(Debug)]
pub struct Counter {
    places: [Places; SIZES.len()],
}

impl Default for Counter {
    fn default() -> Self {
        Self { places: SIZES.map(Places::new) }
    }
}

impl Counter {
    /// Takes whole rows of so many columns in.
    pub fn add(&mut self, rows: &[f32], cols: usize, isa: Isa) {
        if cols.is_multiple_of(GROUP) {
            isa.run(Groups { entries: rows, places: &mut self.places });
            return;
        }
        for row in rows.chunks_exact(cols.max(1)) {
            let (whole, rest) = row.split_at(cols / GROUP * GROUP);
            isa.run(Groups { entries: whole, places: &mut self.places });
            for places in &mut self.places {
                plainly(rest, places);
            }
        }
    }

    /// What was found.
    pub fn finish(self) -> Vec<Places> {
        self.places.into()
    }
}

/// Adds the whole groups of a few entries, by sorting each.
fn plainly(entries: &[f32], places: &mut Places) {
    for group in entries.chunks_exact(places.m) {
        let mut sorted: Vec<f32> = group.iter().map(|w| w.abs()).collect();
        sorted.sort_unstable_by(f32::total_cmp);
        for (i, w) in sorted.into_iter().enumerate() {
            places.energy[i] += f64::from(w) * f64::from(w);
            places.nonzeros[i] += u64::from(w != 0.0);
        }
    }
}

/// The same of a whole matrix, by sorting in `f64`: for entries whose squares leave the range of `f32`. `None` when told
/// to stop.
pub fn plain(data: &[f32], cols: usize, keep_going: &dyn Fn() -> bool) -> Option<Vec<Places>> {
    let mut all = SIZES.map(Places::new);
    let together = (1 << 18) / cols.max(1) + 1;
    for (r, row) in data.chunks_exact(cols.max(1)).enumerate() {
        if r.is_multiple_of(together) && !keep_going() {
            return None;
        }
        all.iter_mut().for_each(|places| plainly(row, places));
    }
    Some(all.into())
}

/// Entries in whole groups.
struct Groups<'a> {
    entries: &'a [f32],
    places: &'a mut [Places; SIZES.len()],
}

type Lanes = [f32; LANES];
type Plane = [Lanes; GROUP];

#[inline(always)]
fn order(planes: &mut Plane, i: usize, j: usize) {
    for g in 0..LANES {
        let (a, b) = (planes[i][g], planes[j][g]);
        planes[i][g] = if a < b { a } else { b };
        planes[j][g] = if a < b { b } else { a };
    }
}

/// Merges sorted halves of every run of `m` planes: Batcher's odd-even merge.
#[inline(always)]
fn merge<const M: usize>(planes: &mut Plane) {
    let mut from = 0;
    while from < GROUP {
        let mut step = M / 2;
        let mut first = 0;
        while step >= 1 {
            let mut i = first;
            while i + step < M {
                for k in 0..step {
                    if i + k + step < M {
                        order(planes, from + i + k, from + i + k + step);
                    }
                }
                i += 2 * step;
            }
            step /= 2;
            first = step;
        }
        from += M;
    }
}

/// Running sums of one M, in `f32`.
struct Sums<const M: usize> {
    energy: [Lanes; M],
    nonzeros: [Lanes; M],
}

impl<const M: usize> Sums<M> {
    #[inline(always)]
    fn new() -> Self {
        Self { energy: [[0.0; LANES]; M], nonzeros: [[0.0; LANES]; M] }
    }
    #[inline(always)]
    fn add(&mut self, planes: &Plane) {
        for (i, plane) in planes.iter().enumerate() {
            let (energy, nonzeros) = (&mut self.energy[i % M], &mut self.nonzeros[i % M]);
            for g in 0..LANES {
                energy[g] += plane[g] * plane[g];
                nonzeros[g] += if plane[g] > 0.0 { 1.0 } else { 0.0 };
            }
        }
    }
    #[inline(always)]
    fn fold(&mut self, into: &mut Places) {
        for i in 0..M {
            into.energy[i] += self.energy[i].iter().map(|&v| f64::from(v)).sum::<f64>();
            into.nonzeros[i] += self.nonzeros[i].iter().map(|&v| v as u64).sum::<u64>();
        }
        *self = Self::new();
    }
}

impl Kernel for Groups<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { entries, places } = self;
        let (mut two, mut four, mut eight, mut sixteen) =
            (Sums::<2>::new(), Sums::<4>::new(), Sums::<8>::new(), Sums::<16>::new());
        let mut planes: Plane = [[0.0; LANES]; GROUP];
        let (chunks, rest) = entries.as_chunks::<{ GROUP * LANES }>();
        // Groups of zeros add nothing.
        let mut last = [0f32; GROUP * LANES];
        last[..rest.len()].copy_from_slice(rest);
        for (i, chunk) in chunks.iter().chain(std::iter::once(&last)).enumerate() {
            for j in 0..GROUP {
                for g in 0..LANES {
                    planes[j][g] = chunk[g * GROUP + j].abs();
                }
            }
            merge::<2>(&mut planes);
            two.add(&planes);
            merge::<4>(&mut planes);
            four.add(&planes);
            merge::<8>(&mut planes);
            eight.add(&planes);
            merge::<16>(&mut planes);
            sixteen.add(&planes);
            if i % FOLD == FOLD - 1 || i == chunks.len() {
                let [a, b, c, d] = &mut *places;
                two.fold(a);
                four.fold(b);
                eight.fold(c);
                sixteen.fold(d);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_networks_agree_with_sorting_on_every_instruction_set(
            data in prop::collection::vec(-200i32..200, 0..1400), rows in 1usize..4,
            isa in prop::sample::select(vec![Isa::Best, Isa::Avx2, Isa::Portable]),
        ) {
            let data: Vec<f32> = data.into_iter().map(|x| (x / 3) as f32 / 8.0).collect();
            let cols = data.len() / rows;
            let mut counter = Counter::default();
            counter.add(&data[..rows * cols], cols, isa);
            for places in counter.finish() {
                let mut want = Places::new(places.m);
                data[..rows * cols].chunks_exact(cols.max(1)).for_each(|row| plainly(row, &mut want));
                prop_assert_eq!(&places.nonzeros, &want.nonzeros, "M = {}", places.m);
                for (found, want) in places.energy.iter().zip(&want.energy) {
                    prop_assert!((found - want).abs() <= 1e-6 * (1.0 + want), "M = {}: {found} {want}", places.m);
                }
            }
        }
    }
}
