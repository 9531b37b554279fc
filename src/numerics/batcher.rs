//! Batcher's odd–even merge sort on planes of vectors: each lane is a sequence of its own, and all are sorted together,
//! without a branch that depends on an entry (Knuth, The Art of Computer Programming, volume 3, 5.2.2, algorithm M).

#![allow(clippy::inline_always, reason = "see `isa`")]

use pulp::Simd;

/// Planes that are sorted by themselves before they are merged, so that they stay in the nearest cache.
const HOT: usize = 256;
/// Planes that stay in the nearest cache all the same.
const FEW: usize = 512;
/// Distances up to which exchanges follow each other through the nearest cache, and how many powers of two these are.
const NEAR: usize = 64;
const LEVELS: usize = NEAR.ilog2() as usize + 1;

/// Brings up to `lanes` rows of `cols` entries, one after the other, into planes, a row a lane; lanes without a row are zeros.
#[inline(always)]
pub fn turn(rows: &[f32], cols: usize, lanes: usize, planes: &mut Vec<f32>) {
    /// Columns taken together: a line of the cache of each row.
    const LINE: usize = 16;
    planes.clear();
    planes.resize(lanes * cols, 0.0);
    for from in (0..cols).step_by(LINE) {
        let columns = from..cols.min(from + LINE);
        let planes = &mut planes[from * lanes..columns.end * lanes];
        for (lane, row) in rows.chunks_exact(cols).take(lanes).enumerate() {
            for (plane, w) in planes.chunks_exact_mut(lanes).zip(&row[columns.clone()]) {
                plane[lane] = *w;
            }
        }
    }
}

/// What is put in order: two planes of `Self` at the same places are compared and exchanged together.
pub trait Planes {
    /// Number of planes.
    fn count(&self) -> usize;
    /// Puts the smaller of planes `a + i` and `b + i` at `a + i`, lane by lane, for each i below `count`; a < b.
    fn exchange(&mut self, a: usize, b: usize, count: usize);
}

/// Keys alone.
pub struct Keys<'a, S: Simd> {
    /// The instruction set.
    pub simd: S,
    /// Keys, plane after plane.
    pub keys: &'a mut [S::f32s],
}

impl<S: Simd> Planes for Keys<'_, S> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.keys.len()
    }
    #[inline(always)]
    fn exchange(&mut self, a: usize, b: usize, count: usize) {
        let (low, high) = self.keys.split_at_mut(b);
        for (x, y) in low[a..a + count].iter_mut().zip(&mut high[..count]) {
            (*x, *y) = (self.simd.min_f32s(*x, *y), self.simd.max_f32s(*x, *y));
        }
    }
}

/// Keys with a value each that goes where its key goes.
pub struct Pairs<'a, S: Simd> {
    /// The instruction set.
    pub simd: S,
    /// Keys, plane after plane.
    pub keys: &'a mut [S::f32s],
    /// A value for each key.
    pub values: &'a mut [S::f32s],
}

impl<S: Simd> Planes for Pairs<'_, S> {
    #[inline(always)]
    fn count(&self) -> usize {
        self.keys.len()
    }
    #[inline(always)]
    fn exchange(&mut self, a: usize, b: usize, count: usize) {
        let simd = self.simd;
        let (low, high) = self.keys.split_at_mut(b);
        let (low_values, high_values) = self.values.split_at_mut(b);
        let keys = low[a..a + count].iter_mut().zip(&mut high[..count]);
        let values = low_values[a..a + count].iter_mut().zip(&mut high_values[..count]);
        for ((x, y), (v, w)) in keys.zip(values) {
            let wrong = simd.greater_than_f32s(*x, *y);
            (*v, *w) = (simd.select_f32s(wrong, *w, *v), simd.select_f32s(wrong, *v, *w));
            (*x, *y) = (simd.min_f32s(*x, *y), simd.max_f32s(*x, *y));
        }
    }
}

/// Merges sorted runs of `from` planes (a power of two) into sorted runs of `to`; a last run may be shorter.
#[inline(always)]
pub fn merge(planes: &mut impl Planes, from: usize, to: usize) {
    merge_within(planes, 0, planes.count(), from, to);
}

/// Sorts all planes.
#[inline(always)]
pub fn sort(planes: &mut impl Planes) {
    sort_from(planes, 1);
}

/// Sorts planes that come in sorted runs of `run` (a power of two up to `HOT`).
#[inline(always)]
pub fn sort_from(planes: &mut impl Planes, run: usize) {
    let n = planes.count();
    let mut start = 0;
    while start < n {
        merge_within(planes, start, HOT.min(n - start), run, HOT);
        start += HOT;
    }
    merge(planes, HOT, n);
}

#[inline(always)]
fn merge_within(planes: &mut impl Planes, start: usize, n: usize, from: usize, to: usize) {
    let mut p = from;
    while p < to.min(n) {
        let mut k = p;
        while k >= 1 && (n <= FEW || k > NEAR) {
            let mut sweep = Sweep { p, k, at: k % p };
            sweep.advance(planes, start, n, n);
            k /= 2;
        }
        near(planes, start, n, p, k);
        p *= 2;
    }
}

/// All remaining distances from `first` down at once: each follows the one before as soon as what it needs is there, so
/// that planes stay in the nearest cache until they are done.
#[inline(always)]
fn near(planes: &mut impl Planes, start: usize, n: usize, p: usize, first: usize) {
    if first == 0 {
        return;
    }
    let mut sweeps: [Sweep; LEVELS] = std::array::from_fn(|l| Sweep { p, k: first >> l, at: (first >> l) % p });
    let mut ready = 0;
    while ready < n {
        ready = (ready + 2 * NEAR).min(n);
        let mut done = ready;
        for sweep in sweeps.iter_mut().take_while(|s| s.k > 0) {
            sweep.advance(planes, start, n, done);
            done = if done == n { n } else { sweep.at };
        }
    }
}

/// Exchanges at one distance `k` of a merge of runs of `p`, up to place `at`.
struct Sweep {
    p: usize,
    k: usize,
    at: usize,
}

impl Sweep {
    /// Goes on over the planes below `ready` of `n`.
    #[inline(always)]
    fn advance(&mut self, planes: &mut impl Planes, start: usize, n: usize, ready: usize) {
        let Self { p, k, .. } = *self;
        while self.at + k < n && (self.at + 2 * k).min(n) <= ready {
            let j = self.at;
            // Both ends of an exchange lie in the same run of 2p planes, or none of these do.
            if j / (2 * p) == (j + k) / (2 * p) {
                planes.exchange(start + j, start + j + k, k.min(n - j - k));
            }
            self.at += 2 * k;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::isa::Isa;
    use proptest::prelude::*;
    use pulp::WithSimd;

    /// Sorts `n` planes of keys, each key with a value derived from it.
    struct Run<'a> {
        data: &'a [f32],
        n: usize,
    }

    impl WithSimd for Run<'_> {
        type Output = (Vec<f32>, Vec<f32>, Vec<f32>, usize);
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let lanes = S::F32_LANES;
            let data: Vec<f32> = (0..self.n * lanes).map(|i| self.data[i % self.data.len()]).collect();
            let (mut alone, mut keys) = (data.clone(), data.clone());
            let mut values: Vec<f32> = data.iter().map(|x| x * 2.0).collect();
            sort(&mut Keys { simd, keys: S::as_mut_simd_f32s(&mut alone).0 });
            let (keys_of, values_of) = (S::as_mut_simd_f32s(&mut keys).0, S::as_mut_simd_f32s(&mut values).0);
            sort(&mut Pairs { simd, keys: keys_of, values: values_of });
            assert!(keys == alone && keys.iter().zip(&values).all(|(k, v)| k * 2.0 == *v));
            (data, keys, values, lanes)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn every_lane_is_sorted_for_any_number_of_planes(
            n in prop_oneof![1usize..40, 200usize..700, 1000usize..1700], data in prop::collection::vec(-50i32..50, 1..900),
            isa in prop::sample::select(vec![Isa::Best, Isa::Avx2, Isa::Portable]),
        ) {
            let data: Vec<f32> = data.into_iter().map(|x| x as f32).collect();
            let (before, after, _, lanes) = isa.arch().dispatch(Run { data: &data, n });
            for lane in 0..lanes {
                let mut want: Vec<f32> = before.iter().skip(lane).step_by(lanes).copied().collect();
                want.sort_by(f32::total_cmp);
                let got: Vec<f32> = after.iter().skip(lane).step_by(lanes).copied().collect();
                prop_assert_eq!(got, want);
            }
        }
    }
}
