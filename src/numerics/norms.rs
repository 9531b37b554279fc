//! Norms that one pass over the entries gives, in `f64`.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `isa`")]

use super::isa::{Isa, Kernel};
use ndarray::ArrayView2;
use pulp::{Simd, WithSimd};

/// Rows worked on together: sums over columns are loaded and stored once for all of them.
const TOGETHER: usize = 4;
/// Columns after which the sums of a row move from `f32` to `f64`.
const STRETCH: usize = 512;
/// Rows after which the sums of columns do.
const FOLD: usize = 16;

/// Sums over rows and columns of a matrix that comes a few rows at a time. A few terms are added in `f32`, which is
/// good to a part in a million; then in `f64`.
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
    /// The last rows of the first two.
    near: [Vec<f32>; 2],
    since: usize,
}

impl Sums {
    /// For so many columns, no row yet.
    pub fn new(cols: usize) -> Self {
        Self {
            abs: vec![0.0; cols],
            squares: vec![0.0; cols],
            row_squares: Vec::new(),
            largest_row: 0.0,
            near: [vec![0.0; cols], vec![0.0; cols]],
            since: 0,
        }
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
        self.fold();
    }

    fn few<const R: usize>(&mut self, rows: [&[f32]; R], isa: Isa) {
        let [abs, squares] = &mut self.near;
        let (largest, of_rows) = isa.arch().dispatch(Few { rows, abs, squares });
        self.largest_row = largest.into_iter().fold(self.largest_row, f64::max);
        self.row_squares.extend(of_rows);
        self.since += R;
        if self.since >= FOLD {
            self.fold();
        }
    }

    fn fold(&mut self) {
        for (total, near) in [&mut self.abs, &mut self.squares].into_iter().zip(&mut self.near) {
            for (t, n) in total.iter_mut().zip(near) {
                *t += f64::from(*n);
                *n = 0.0;
            }
        }
        self.since = 0;
    }
}

/// Σ |w| and Σ w² of a few rows, added to those of their columns on the way.
struct Few<'a, const R: usize> {
    rows: [&'a [f32]; R],
    abs: &'a mut [f32],
    squares: &'a mut [f32],
}

impl<const R: usize> WithSimd for Few<'_, R> {
    type Output = ([f64; R], [f64; R]);
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let (mut sums, mut squares) = ([0f64; R], [0f64; R]);
        let columns = self.abs.chunks_mut(STRETCH).zip(self.squares.chunks_mut(STRETCH));
        for (k, (near_a, near_s)) in columns.enumerate() {
            let range = k * STRETCH..k * STRETCH + near_a.len();
            let (near_a, rest_a) = S::as_mut_simd_f32s(near_a);
            let (near_s, rest_s) = S::as_mut_simd_f32s(near_s);
            let count = near_a.len().min(near_s.len());
            let mut heads: [&[S::f32s]; R] = [&[]; R];
            for r in 0..R {
                let (head, rest) = S::as_simd_f32s(&self.rows[r][range.clone()]);
                heads[r] = &head[..count];
                for ((a, s), w) in rest_a.iter_mut().zip(&mut *rest_s).zip(rest) {
                    *a += w.abs();
                    *s += w * w;
                    sums[r] += f64::from(w.abs());
                    squares[r] += f64::from(w * w);
                }
            }
            let mut row_a = [simd.splat_f32s(0.0); R];
            let mut row_s = [simd.splat_f32s(0.0); R];
            for i in 0..count {
                let (mut a, mut s) = (near_a[i], near_s[i]);
                for r in 0..R {
                    let w = heads[r][i];
                    let size = simd.abs_f32s(w);
                    row_a[r] = simd.add_f32s(row_a[r], size);
                    row_s[r] = simd.mul_add_e_f32s(w, w, row_s[r]);
                    a = simd.add_f32s(a, size);
                    s = simd.mul_add_e_f32s(w, w, s);
                }
                near_a[i] = a;
                near_s[i] = s;
            }
            for r in 0..R {
                sums[r] += f64::from(simd.reduce_sum_f32s(row_a[r]));
                squares[r] += f64::from(simd.reduce_sum_f32s(row_s[r]));
            }
        }
        (sums, squares)
    }
}

/// Entries that are NaN or infinite.
pub fn not_finite(a: &[f32]) -> u64 {
    a.iter().filter(|w| !w.is_finite()).count() as u64
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
            isa in prop::sample::select(vec![Isa::Best, Isa::Avx2, Isa::Portable]), at_once in 1usize..9,
        ) {
            let mut state = u64::from(seed);
            let a = Array2::from_shape_simple_fn((rows, cols), || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
            });
            let mut sums = Sums::new(cols);
            for some in a.as_slice().unwrap().chunks(at_once * cols) {
                sums.add(some, isa);
            }
            let wide = a.mapv(f64::from);
            let (abs, squares) = (wide.mapv(f64::abs), wide.mapv(|w| w * w));
            let close = |got: &[f64], want: ndarray::Array1<f64>| {
                got.len() == want.len() && got.iter().zip(&want).all(|(g, w)| (g - w).abs() <= 1e-5 * w.max(1e-6))
            };
            prop_assert!(close(&sums.abs, abs.sum_axis(Axis(0))));
            prop_assert!(close(&sums.squares, squares.sum_axis(Axis(0))));
            prop_assert!(close(&sums.row_squares, squares.sum_axis(Axis(1))));
            prop_assert!((sums.largest_row / max_row_sum(a.view()) - 1.0).abs() < 1e-5);
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
