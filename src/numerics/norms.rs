//! Norms that one pass over the entries gives, in `f64`.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `isa`")]

use super::isa::{Isa, Kernel};
use ndarray::ArrayView2;

/// Rows worked on together: sums over columns are loaded and stored once for all of them.
const TOGETHER: usize = 4;
const LANES: usize = 8;

/// A sum that was computed, raised so that the sum that was meant is not larger.
///
/// `terms` not negative numbers, each exact or off by a few roundings, are added in some order: every addition rounds by
/// at most u = ε/2 relative to its result, and a term goes through at most `terms` of them, so the computed sum is at
/// least (1 − u)^(terms + 2) ≥ 1 − (terms + 2)u of the true one, and 1/(1 − x) ≤ 1 + 2x for x ≤ 1/2. The result is
/// rounded once more.
pub fn above(sum: f64, terms: usize) -> f64 {
    sum * (1.0 + (terms + 4) as f64 * f64::EPSILON)
}

/// The same from below: the computed sum is at most (1 + u)^(terms + 2) of the true one.
pub fn below(sum: f64, terms: usize) -> f64 {
    sum * (1.0 - (terms + 4) as f64 * f64::EPSILON)
}

/// Sums over rows and columns of a matrix that comes a few rows at a time, in `f64`: squares of `f32` entries are exact
/// there, and neither overflow nor vanish.
#[derive(Debug)]
pub struct Sums {
    /// Σ |w| of each column.
    pub abs: Vec<f64>,
    /// Σ w² of each column.
    pub squares: Vec<f64>,
    /// Σ w² of each row so far.
    pub row_squares: Vec<f64>,
    /// The largest Σ |w| of a row so far.
    pub largest_row: f64,
}

impl Sums {
    /// For so many columns, no row yet.
    pub fn new(cols: usize) -> Self {
        Self { abs: vec![0.0; cols], squares: vec![0.0; cols], row_squares: Vec::new(), largest_row: 0.0 }
    }
    /// Takes whole rows in.
    pub fn add(&mut self, rows: &[f32], isa: Isa) {
        let cols = self.abs.len().max(1);
        for some in rows.chunks(cols * TOGETHER) {
            let of = |r: usize| &some[r * cols..(r + 1) * cols];
            if some.len() == cols * TOGETHER {
                self.few::<TOGETHER>(std::array::from_fn(of), isa);
            } else {
                for r in 0..some.len() / cols {
                    self.few([of(r)], isa);
                }
            }
        }
    }

    /// Takes in the sums of rows that come after these.
    pub fn append(&mut self, later: Self) {
        self.abs.iter_mut().zip(&later.abs).for_each(|(a, b)| *a += b);
        self.squares.iter_mut().zip(&later.squares).for_each(|(a, b)| *a += b);
        self.row_squares.extend(later.row_squares);
        self.largest_row = self.largest_row.max(later.largest_row);
    }

    fn few<const R: usize>(&mut self, rows: [&[f32]; R], isa: Isa) {
        let (sums, squares) = isa.run(Few { rows, abs: &mut self.abs, squares: &mut self.squares });
        self.largest_row = sums.into_iter().fold(self.largest_row, f64::max);
        self.row_squares.extend(squares);
    }
}

/// Σ |w| and Σ w² of a few rows, added to those of their columns on the way.
struct Few<'a, const R: usize> {
    rows: [&'a [f32]; R],
    abs: &'a mut [f64],
    squares: &'a mut [f64],
}

impl<const R: usize> Kernel for Few<'_, R> {
    type Output = ([f64; R], [f64; R]);
    #[inline(always)]
    fn run<const FMA: bool>(self) -> Self::Output {
        let (mut row_a, mut row_s) = ([[0f64; LANES]; R], [[0f64; LANES]; R]);
        let (near_a, rest_a) = self.abs.as_chunks_mut::<LANES>();
        let (near_s, rest_s) = self.squares.as_chunks_mut::<LANES>();
        let count = near_a.len();
        let mut heads: [&[[f32; LANES]]; R] = [&[]; R];
        for r in 0..R {
            heads[r] = &self.rows[r].as_chunks::<LANES>().0[..count];
        }
        for (i, (a, s)) in near_a.iter_mut().zip(near_s).enumerate() {
            for r in 0..R {
                for k in 0..LANES {
                    let w = f64::from(heads[r][i][k]);
                    let (size, square) = (w.abs(), w * w);
                    row_a[r][k] += size;
                    row_s[r][k] += square;
                    a[k] += size;
                    s[k] += square;
                }
            }
        }
        let (mut sums, mut squares) = ([0f64; R], [0f64; R]);
        for r in 0..R {
            (sums[r], squares[r]) = (row_a[r].iter().sum(), row_s[r].iter().sum());
            let rest = &self.rows[r][count * LANES..];
            for ((a, s), w) in rest_a.iter_mut().zip(&mut *rest_s).zip(rest) {
                let w = f64::from(*w);
                *a += w.abs();
                *s += w * w;
                sums[r] += w.abs();
                squares[r] += w * w;
            }
        }
        (sums, squares)
    }
}

/// ‖A‖_{∞→∞}: the largest row sum of |a|.
pub fn max_row_sum(a: ArrayView2<'_, f32>) -> f64 {
    a.rows().into_iter().map(|row| row.iter().map(|x| f64::from(x.abs())).sum()).fold(0.0, f64::max)
}

/// ‖A‖_{1→1}: the largest column sum of |a|.
pub fn max_col_sum(a: ArrayView2<'_, f32>) -> f64 {
    let mut sums = vec![0.0f64; a.ncols()];
    for row in a.rows() {
        for (s, x) in sums.iter_mut().zip(row) {
            *s += f64::from(x.abs());
        }
    }
    sums.into_iter().fold(0.0, f64::max)
}

/// ‖A‖_F².
pub fn frobenius_squared(a: ArrayView2<'_, f32>) -> f64 {
    a.rows().into_iter().map(|row| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()).sum()
}

/// Σ a² and Σ (a − b)² of equally many entries, in `f64`.
pub fn energies(a: &[f32], b: &[f32]) -> [f64; 2] {
    Isa::Best.run(Energies { a, b })
}

struct Energies<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Kernel for Energies<'_> {
    type Output = [f64; 2];
    #[inline(always)]
    fn run<const FMA: bool>(self) -> [f64; 2] {
        const LANES: usize = 16;
        let (mut squares, mut lost) = ([0f64; LANES], [0f64; LANES]);
        let ((a, a_rest), (b, b_rest)) = (self.a.as_chunks::<LANES>(), self.b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for k in 0..LANES {
                let (x, y) = (f64::from(a[k]), f64::from(b[k]));
                squares[k] += x * x;
                lost[k] += (x - y) * (x - y);
            }
        }
        for (k, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
            let (x, y) = (f64::from(*x), f64::from(*y));
            squares[k] += x * x;
            lost[k] += (x - y) * (x - y);
        }
        [squares.iter().sum(), lost.iter().sum()]
    }
}

/// Entries that are zero.
pub fn zeros(a: &[f32]) -> u64 {
    a.chunks(1 << 30).map(|a| u64::from(Isa::Best.run(Zeros(a)))).sum()
}

struct Zeros<'a>(&'a [f32]);

impl Kernel for Zeros<'_> {
    type Output = u32;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> u32 {
        self.0.iter().map(|w| u32::from(*w == 0.0)).sum()
    }
}

/// √(‖A‖₁‖A‖_∞) ≥ ‖A‖₂ (Schur).
pub fn schur(a: ArrayView2<'_, f32>) -> f64 {
    (max_row_sum(a) * max_col_sum(a)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Axis, arr2};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_are_those_of_plain_loops_on_every_instruction_set(
            rows in 1usize..40, cols in prop::sample::select(vec![1usize, 3, 16, 37, 100, 512, 530, 1100]), seed in any::<u32>(),
            isa in prop::sample::select(vec![Isa::Best, Isa::Avx2, Isa::Portable]), at_once in 1usize..9, power in -38i32..38,
        ) {
            let mut state = u64::from(seed);
            let a = Array2::from_shape_simple_fn((rows, cols), || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
            });
            let scale = 10f32.powi(power);
            let a = a.mapv(|w| w * scale);
            let (mut sums, mut later) = (Sums::new(cols), Sums::new(cols));
            for (i, some) in a.as_slice().unwrap().chunks(at_once * cols).enumerate() {
                (if i < 2 { &mut sums } else { &mut later }).add(some, isa);
            }
            sums.append(later);
            let wide = a.mapv(f64::from);
            let (abs, squares) = (wide.mapv(f64::abs), wide.mapv(|w| w * w));
            let close = |got: &[f64], want: ndarray::Array1<f64>| {
                got.len() == want.len() && got.iter().zip(&want).all(|(g, w)| (g - w).abs() <= 1e-13 * w)
            };
            prop_assert!(close(&sums.abs, abs.sum_axis(Axis(0))));
            prop_assert!(close(&sums.squares, squares.sum_axis(Axis(0))));
            prop_assert!(close(&sums.row_squares, squares.sum_axis(Axis(1))));
            let want = max_row_sum(a.view());
            prop_assert!((sums.largest_row - want).abs() <= 1e-13 * want);
        }
    }

    proptest! {
        #[test]
        fn a_raised_sum_is_not_below_the_true_one_and_a_lowered_one_not_above(
            terms in prop::collection::vec(0.0f64..1.0, 1..400), powers in prop::collection::vec(-40i32..40, 1..9),
        ) {
            let terms: Vec<f64> =
                terms.iter().enumerate().map(|(i, t)| t * 2f64.powi(powers[i % powers.len()])).collect();
            let sum: f64 = terms.iter().sum();
            // The rounding error of each addition is a number of its own (Knuth's two-sum).
            let (mut total, mut rest) = (0f64, 0f64);
            for &t in &terms {
                let next = total + t;
                let back = next - total;
                rest += (total - (next - back)) + (t - back);
                total = next;
            }
            let low = below(sum, terms.len());
            prop_assert!((low - total) - rest <= 0.0 && (above(sum, terms.len()) - total) - rest >= 0.0);
            prop_assert!(above(sum, terms.len()) - low <= 1e-12 * sum);
        }
    }

    #[test]
    fn the_small_matrix_has_its_norms() {
        let m = arr2(&[[3.0f32, 0.0], [4.0, 5.0]]);
        assert_eq!(max_col_sum(m.view()), 7.0);
        assert_eq!(max_row_sum(m.view()), 9.0);
        assert_eq!(frobenius_squared(m.view()), 50.0);
        let (a, b): (Vec<f32>, Vec<f32>) = (0..37).map(|i| (i as f32, i as f32 + (i % 3) as f32)).unzip();
        assert_eq!(energies(&a, &b), [16206.0, 60.0]);
        assert_eq!(zeros(&[0.0, 1.0, -0.0, f32::NAN]), 2);
        assert!((schur(m.view()) - 63f64.sqrt()).abs() < 1e-12);
    }
}
