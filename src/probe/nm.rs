//! N:M patterns: the error of keeping N of every M consecutive input columns of a row.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `numerics::isa`")]

use crate::numerics::isa::{Isa, Kernel};

/// Lanes worked on together; a multiple of every M in [`PATTERNS`].
const LANES: usize = 16;
/// Steps after which sums in `f32` move to `f64`.
const FOLD: usize = 16;

/// Patterns whose error every layer tells: keep N of M.
pub const PATTERNS: [(usize, usize); 4] = [(1, 2), (2, 4), (4, 8), (1, 4)];

/// Adds up, for each of [`PATTERNS`], the energy that the pattern removes; columns that fill no group stay dense.
#[derive(Debug, Default)]
pub struct Removed([f64; 4]);

impl Removed {
    /// Takes one row in.
    pub fn add(&mut self, row: &[f32], isa: Isa) {
        let whole = row.len() / LANES * LANES;
        let found = isa.run(Groups(&row[..whole]));
        for (sum, f) in self.0.iter_mut().zip(found) {
            *sum += f;
        }
        for (sum, (n, m)) in self.0.iter_mut().zip(PATTERNS) {
            *sum += removed_energy(&row[whole..], n, m);
        }
    }

    /// Relative error ‖W−Ŵ‖_F/‖W‖_F for each `(n, m)`.
    pub fn errors(&self, sum_squares: f64) -> Vec<(usize, usize, f64)> {
        let error = |removed: f64| if sum_squares > 0.0 { (removed / sum_squares).sqrt() } else { 0.0 };
        PATTERNS.iter().zip(self.0).map(|(&(n, m), removed)| (n, m, error(removed))).collect()
    }
}

/// Sum of squares that keeping the `n` largest of every `m` removes from a row.
pub fn removed_energy(row: &[f32], n: usize, m: usize) -> f64 {
    let mut group: Vec<f32> = vec![0.0; m];
    row.chunks_exact(m)
        .map(|g| {
            group.copy_from_slice(g);
            group.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
            group[..m.saturating_sub(n)].iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>()
        })
        .sum()
}

/// A row of a length that is a multiple of [`LANES`].
struct Groups<'a>(&'a [f32]);

type Lanes = [f32; LANES];

#[inline(always)]
fn with(a: &Lanes, b: &Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    std::array::from_fn(|i| f(a[i], b[i]))
}

/// Lane i takes what lane i xor D holds.
#[inline(always)]
fn exchange<const D: usize>(a: &Lanes) -> Lanes {
    std::array::from_fn(|i| a[i ^ D])
}

#[inline(always)]
fn low(a: &Lanes, b: &Lanes) -> Lanes {
    with(a, b, |x, y| if x < y { x } else { y })
}

#[inline(always)]
fn high(a: &Lanes, b: &Lanes) -> Lanes {
    with(a, b, |x, y| if x > y { x } else { y })
}

#[inline(always)]
fn add_square(sum: &mut Lanes, a: &Lanes) {
    for i in 0..LANES {
        sum[i] += a[i] * a[i];
    }
}

impl Kernel for Groups<'_> {
    type Output = [f64; 4];
    /// Sorting networks across neighbouring lanes; every lane of a group then holds the group's result.
    #[inline(always)]
    fn run<const FMA: bool>(self) -> [f64; 4] {
        let mut total = [0f64; 4];
        let (chunks, _) = self.0.as_chunks::<LANES>();
        for some in chunks.chunks(FOLD) {
            let mut sums = [[0f32; LANES]; 4];
            for x in some {
                let a: Lanes = std::array::from_fn(|i| x[i].abs());
                let other = exchange::<1>(&a);
                let (l, h) = (low(&a, &other), high(&a, &other));
                let (l2, h2) = (exchange::<2>(&l), exchange::<2>(&h));
                // The four of a group, ascending.
                let (s1, s4) = (low(&l, &l2), high(&h, &h2));
                let (lh, hl) = (high(&l, &l2), low(&h, &h2));
                let (s2, s3) = (low(&lh, &hl), high(&lh, &hl));
                add_square(&mut sums[0], &l);
                add_square(&mut sums[1], &s1);
                add_square(&mut sums[1], &s2);
                // 1:4 removes these two and the third.
                add_square(&mut sums[3], &s3);
                // The four smallest of two sorted fours: the smaller of the i-th and the (5−i)-th of the other.
                let (t1, t2) = (exchange::<4>(&s4), exchange::<4>(&s3));
                let (t3, t4) = (exchange::<4>(&s2), exchange::<4>(&s1));
                add_square(&mut sums[2], &low(&s1, &t1));
                add_square(&mut sums[2], &low(&s2, &t2));
                add_square(&mut sums[2], &low(&s3, &t3));
                add_square(&mut sums[2], &low(&s4, &t4));
            }
            for (t, s) in total.iter_mut().zip(&sums) {
                *t += s.iter().map(|&v| f64::from(v)).sum::<f64>();
            }
        }
        let [pairs, fours, eights, third] = total;
        [pairs / 2.0, fours / 4.0, eights / 8.0, (fours + third) / 4.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(data: &[f32], pattern: usize) -> f64 {
        let mut removed = Removed::default();
        removed.add(data, Isa::Best);
        removed.errors(data.iter().map(|&w| f64::from(w) * f64::from(w)).sum())[pattern].2
    }

    #[test]
    fn the_worked_example_keeps_3_4_8_7() {
        let w = [1.0, 2.0, 3.0, 4.0, -8.0, 7.0, 6.0, 5.0];
        assert!((error(&w, 1) - 0.568_796_459_0).abs() < 1e-9);
        // a column that fills no group stays
        let longer = [1.0, 2.0, 3.0, 4.0, -8.0, 7.0, 6.0, 5.0, 100.0];
        assert!((error(&longer, 1) - (66f64 / 10_204.0).sqrt()).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_networks_agree_with_sorting_on_every_instruction_set(
            data in prop::collection::vec(-200i32..200, 0..400), isa in prop::sample::select(vec![Isa::Best, Isa::Avx2, Isa::Portable]),
        ) {
            let data: Vec<f32> = data.into_iter().map(|x| x as f32 / 8.0).collect();
            let mut removed = Removed::default();
            removed.add(&data, isa);
            for (found, (n, m)) in removed.0.into_iter().zip(PATTERNS) {
                let want = removed_energy(&data, n, m);
                prop_assert!((found - want).abs() <= 1e-6 * (1.0 + want), "{n}:{m}: {found} {want}");
            }
        }
    }
}
