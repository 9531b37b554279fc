//! N:M patterns: what removing the smallest of every M consecutive input columns of a row costs, for every N at once.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `numerics::isa`")]

use crate::numerics::isa::Isa;
use pulp::{Simd, WithSimd, bytemuck};
use serde::{Deserialize, Serialize};

/// Entries of a group that all of [`SIZES`] fit into.
const GROUP: usize = 16;
/// Groups worked on together.
const LANES: usize = 16;

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
    /// Takes whole rows of so many columns in; `dense` says that no entry is zero.
    pub fn add(&mut self, rows: &[f32], cols: usize, dense: bool, isa: Isa) {
        let mut whole = |entries: &[f32]| {
            let (arch, places) = (isa.arch(), &mut self.places);
            if dense {
                arch.dispatch(Groups::<false> { entries, places });
            } else {
                arch.dispatch(Groups::<true> { entries, places });
            }
        };
        if cols.is_multiple_of(GROUP) {
            whole(rows);
            return;
        }
        for row in rows.chunks_exact(cols.max(1)) {
            whole(&row[..cols / GROUP * GROUP]);
        }
        for row in rows.chunks_exact(cols.max(1)) {
            let rest = &row[cols / GROUP * GROUP..];
            for places in &mut self.places {
                plainly(rest, places);
            }
        }
    }

    /// Takes in what another found.
    pub fn append(&mut self, other: &Self) {
        for (all, more) in self.places.iter_mut().zip(&other.places) {
            all.energy.iter_mut().zip(&more.energy).for_each(|(a, b)| *a += b);
            all.nonzeros.iter_mut().zip(&more.nonzeros).for_each(|(a, b)| *a += b);
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

/// Entries in whole groups. With `COUNT` nonzeros are counted; without, there are no zeros.
struct Groups<'a, const COUNT: bool> {
    entries: &'a [f32],
    places: &'a mut [Places; SIZES.len()],
}

/// Puts planes in order, lane by lane.
macro_rules! order {
    ($simd:ident, $p:ident, $(($i:literal, $j:literal))*) => {
        $(($p[$i], $p[$j]) = ($simd.min_f32s($p[$i], $p[$j]), $simd.max_f32s($p[$i], $p[$j]));)*
    };
}

/// Running sums over the places of one M: energy in `f64`, where squares of `f32` entries are exact, and nonzeros.
struct Sums<const M: usize>([[f64; LANES]; M], [[u32; LANES]; M]);

impl<const M: usize> Sums<M> {
    #[inline(always)]
    fn new() -> Self {
        Self([[0.0; LANES]; M], [[0; LANES]; M])
    }
    #[inline(always)]
    fn add<const COUNT: bool, S: Simd>(&mut self, planes: &[S::f32s; GROUP]) {
        for i in 0..M {
            let (energy, held) = (&mut self.0[i], &mut self.1[i]);
            for j in (i..GROUP).step_by(M) {
                let plane = lanes::<S>(&planes[j]);
                for k in 0..S::F32_LANES.min(LANES) {
                    let w = f64::from(plane[k]);
                    energy[k] += w * w;
                }
                if COUNT {
                    for k in 0..S::F32_LANES.min(LANES) {
                        held[k] += u32::from(plane[k] > 0.0);
                    }
                }
            }
        }
    }
    #[inline(always)]
    fn finish(self, into: &mut Places) {
        for i in 0..M {
            into.energy[i] += self.0[i].iter().sum::<f64>();
            into.nonzeros[i] += self.1[i].iter().map(|&n| u64::from(n)).sum::<u64>();
        }
    }
}

#[inline(always)]
fn lanes<S: Simd>(vector: &S::f32s) -> &[f32] {
    bytemuck::cast_slice(std::slice::from_ref(vector))
}

impl<const COUNT: bool> WithSimd for Groups<'_, COUNT> {
    type Output = ();
    /// Entries of equal place in their groups side by side, then Batcher's odd-even merges, a group a lane.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { entries, places } = self;
        let (mut two, mut four, mut eight, mut sixteen) =
            (Sums::<2>::new(), Sums::<4>::new(), Sums::<8>::new(), Sums::<16>::new());
        let (chunks, rest) = entries.as_chunks::<{ GROUP * LANES }>();
        // Groups of zeros add nothing.
        let mut last = [0f32; GROUP * LANES];
        last[..rest.len()].copy_from_slice(rest);
        let mut planes = [[0f32; LANES]; GROUP];
        for chunk in chunks.iter().chain(std::iter::once(&last)) {
            for j in 0..GROUP {
                for g in 0..LANES {
                    planes[j][g] = chunk[g * GROUP + j];
                }
            }
            for v in 0..LANES / S::F32_LANES {
                let mut p = [simd.splat_f32s(0.0); GROUP];
                for j in 0..GROUP {
                    let (vectors, _) = S::as_simd_f32s(&planes[j]);
                    p[j] = simd.abs_f32s(vectors[v]);
                }
                order!(simd, p, (0, 1)(2, 3)(4, 5)(6, 7)(8, 9)(10, 11)(12, 13)(14, 15));
                two.add::<COUNT, S>(&p);
                order!(simd, p, (0, 2)(4, 6)(8, 10)(12, 14)(1, 3)(5, 7)(9, 11)(13, 15)(1, 2)(5, 6)(9, 10)(13, 14));
                four.add::<COUNT, S>(&p);
                order!(simd, p, (0, 4)(1, 5)(2, 6)(3, 7)(8, 12)(9, 13)(10, 14)(11, 15)(2, 4)(3, 5)(10, 12)(11, 13));
                order!(simd, p, (1, 2)(3, 4)(5, 6)(9, 10)(11, 12)(13, 14));
                eight.add::<COUNT, S>(&p);
                order!(simd, p, (0, 8)(1, 9)(2, 10)(3, 11)(4, 12)(5, 13)(6, 14)(7, 15)(4, 8)(5, 9)(6, 10)(7, 11));
                order!(
                    simd,
                    p,
                    (2, 4)(3, 5)(6, 8)(7, 9)(10, 12)(11, 13)(1, 2)(3, 4)(5, 6)(7, 8)(9, 10)(11, 12)(13, 14)
                );
                sixteen.add::<COUNT, S>(&p);
            }
        }
        let [a, b, c, d] = &mut *places;
        two.finish(a);
        four.finish(b);
        eight.finish(c);
        sixteen.finish(d);
        if !COUNT {
            for places in places {
                let groups = (entries.len() / places.m) as u64;
                places.nonzeros.iter_mut().for_each(|n| *n += groups);
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
            isa in prop::sample::select(vec![Isa::Best, Isa::Avx2, Isa::Portable]), shift: bool, power in -44i32..36,
        ) {
            let shift = if shift { 0.5 } else { 0.0 };
            let data: Vec<f32> = data.into_iter().map(|x| (((x / 3) as f32 + shift) / 8.0) * 10f32.powi(power)).collect();
            let cols = data.len() / rows;
            let mut counter = Counter::default();
            let dense = data[..rows * cols].iter().all(|w| *w != 0.0);
            counter.add(&data[..rows * cols], cols, dense, isa);
            for places in counter.finish() {
                let mut want = Places::new(places.m);
                data[..rows * cols].chunks_exact(cols.max(1)).for_each(|row| plainly(row, &mut want));
                prop_assert_eq!(&places.nonzeros, &want.nonzeros, "M = {}", places.m);
                for (found, want) in places.energy.iter().zip(&want.energy) {
                    prop_assert!((found - want).abs() <= 1e-12 * want, "M = {}: {found} {want}", places.m);
                }
            }
        }
    }
}
