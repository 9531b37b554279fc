//! N:M patterns: what removing the smallest of every M consecutive input columns of a row costs, for every N at once.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `numerics::isa`")]

use crate::numerics::isa::Isa;
use pulp::{Simd, WithSimd, bytemuck};
use serde::{Deserialize, Serialize};

/// Entries of a group that all of [`SIZES`] fit into.
const GROUP: usize = 16;
/// Groups worked on together.
const LANES: usize = 16;
/// Such stretches after which sums in `f32` move to `f64`.
const FOLD: usize = 16;

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

/// Running sums over the places of one M, a lane each: energy, nonzeros.
struct Sums<S: Simd, const M: usize>([S::f32s; M], [S::f32s; M]);

impl<S: Simd, const M: usize> Sums<S, M> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        Self([simd.splat_f32s(0.0); M], [simd.splat_f32s(0.0); M])
    }
    #[inline(always)]
    fn add<const COUNT: bool>(&mut self, simd: S, planes: &[S::f32s; GROUP]) {
        for i in 0..GROUP {
            self.0[i % M] = simd.mul_add_e_f32s(planes[i], planes[i], self.0[i % M]);
        }
        if COUNT {
            let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
            for i in 0..GROUP {
                let held = simd.select_f32s(simd.greater_than_f32s(planes[i], zero), one, zero);
                self.1[i % M] = simd.add_f32s(self.1[i % M], held);
            }
        }
    }
    #[inline(always)]
    fn fold<const COUNT: bool>(&mut self, simd: S, into: &mut Places) {
        for i in 0..M {
            into.energy[i] += lanes::<S>(&self.0[i]).iter().map(|&v| f64::from(v)).sum::<f64>();
            if COUNT {
                into.nonzeros[i] += lanes::<S>(&self.1[i]).iter().map(|&v| v as u64).sum::<u64>();
            }
        }
        *self = Self::new(simd);
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
            (Sums::<S, 2>::new(simd), Sums::<S, 4>::new(simd), Sums::<S, 8>::new(simd), Sums::<S, 16>::new(simd));
        let (chunks, rest) = entries.as_chunks::<{ GROUP * LANES }>();
        // Groups of zeros add nothing.
        let mut last = [0f32; GROUP * LANES];
        last[..rest.len()].copy_from_slice(rest);
        let mut planes = [[0f32; LANES]; GROUP];
        for (i, chunk) in chunks.iter().chain(std::iter::once(&last)).enumerate() {
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
                two.add::<COUNT>(simd, &p);
                order!(simd, p, (0, 2)(4, 6)(8, 10)(12, 14)(1, 3)(5, 7)(9, 11)(13, 15)(1, 2)(5, 6)(9, 10)(13, 14));
                four.add::<COUNT>(simd, &p);
                order!(simd, p, (0, 4)(1, 5)(2, 6)(3, 7)(8, 12)(9, 13)(10, 14)(11, 15)(2, 4)(3, 5)(10, 12)(11, 13));
                order!(simd, p, (1, 2)(3, 4)(5, 6)(9, 10)(11, 12)(13, 14));
                eight.add::<COUNT>(simd, &p);
                order!(simd, p, (0, 8)(1, 9)(2, 10)(3, 11)(4, 12)(5, 13)(6, 14)(7, 15)(4, 8)(5, 9)(6, 10)(7, 11));
                order!(
                    simd,
                    p,
                    (2, 4)(3, 5)(6, 8)(7, 9)(10, 12)(11, 13)(1, 2)(3, 4)(5, 6)(7, 8)(9, 10)(11, 12)(13, 14)
                );
                sixteen.add::<COUNT>(simd, &p);
            }
            if i % FOLD == FOLD - 1 || i == chunks.len() {
                let [a, b, c, d] = &mut *places;
                two.fold::<COUNT>(simd, a);
                four.fold::<COUNT>(simd, b);
                eight.fold::<COUNT>(simd, c);
                sixteen.fold::<COUNT>(simd, d);
            }
        }
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
            isa in prop::sample::select(vec![Isa::Best, Isa::Avx2, Isa::Portable]), shift: bool,
        ) {
            let shift = if shift { 0.5 } else { 0.0 };
            let data: Vec<f32> = data.into_iter().map(|x| ((x / 3) as f32 + shift) / 8.0).collect();
            let cols = data.len() / rows;
            let mut counter = Counter::default();
            let dense = data[..rows * cols].iter().all(|w| *w != 0.0);
            counter.add(&data[..rows * cols], cols, dense, isa);
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
