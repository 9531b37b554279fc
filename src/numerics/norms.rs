//! Norms that one pass over the entries gives, in `f64`.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `isa`")]

use super::isa::{Isa, Kernel};
use ndarray::ArrayView2;

/// Rows worked on together: sums over columns are loaded and stored once for all of them.
const TOGETHER: usize = 8;

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
            isa.run(Columns { rows: some, abs: &mut self.abs, squares: &mut self.squares });
        }
        for row in rows.chunks_exact(cols) {
            let (abs, squares) = isa.run(Row(row));
            self.row_squares.push(squares);
            self.largest_row = self.largest_row.max(abs);
        }
    }
}

struct Columns<'a> {
    rows: &'a [f32],
    abs: &'a mut [f64],
    squares: &'a mut [f64],
}

impl Kernel for Columns<'_> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        const STRETCH: usize = 256;
        let cols = self.abs.len();
        let sums = self.abs.chunks_mut(STRETCH).zip(self.squares.chunks_mut(STRETCH));
        for (i, (abs, squares)) in sums.enumerate() {
            let (from, wide) = (i * STRETCH, abs.len());
            let (mut a, mut s) = ([0f32; STRETCH], [0f32; STRETCH]);
            for row in self.rows.chunks_exact(cols) {
                for ((a, s), w) in a.iter_mut().zip(&mut s).zip(&row[from..from + wide]) {
                    *a += w.abs();
                    *s += w * w;
                }
            }
            for (to, x) in abs.iter_mut().zip(&a) {
                *to += f64::from(*x);
            }
            for (to, x) in squares.iter_mut().zip(&s) {
                *to += f64::from(*x);
            }
        }
    }
}

struct Row<'a>(&'a [f32]);

impl Kernel for Row<'_> {
    type Output = (f64, f64);
    #[inline(always)]
    fn run<const FMA: bool>(self) -> (f64, f64) {
        const LANES: usize = 64;
        let (mut sum, mut square) = (0f64, 0f64);
        for stretch in self.0.chunks(LANES * TOGETHER) {
            let (chunks, rest) = stretch.as_chunks::<LANES>();
            let (mut a, mut s) = ([0f32; LANES], [0f32; LANES]);
            for x in chunks {
                for ((a, s), w) in a.iter_mut().zip(&mut s).zip(x) {
                    *a += w.abs();
                    *s += w * w;
                }
            }
            for (a, w) in a.iter_mut().zip(rest) {
                *a += w.abs();
            }
            for (s, w) in s.iter_mut().zip(rest) {
                *s += w * w;
            }
            let mut width = LANES;
            while width > 1 {
                width /= 2;
                for k in 0..width {
                    a[k] += a[k + width];
                    s[k] += s[k + width];
                }
            }
            sum += f64::from(a[0]);
            square += f64::from(s[0]);
        }
        (sum, square)
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

/// √(‖A‖₁‖A‖_∞) ≥ ‖A‖₂ (Schur).
pub fn schur(a: ArrayView2<'_, f32>) -> f64 {
    (max_row_sum(a) * max_col_sum(a)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    #[test]
    fn the_small_matrix_has_its_norms() {
        let m = arr2(&[[3.0f32, 0.0], [4.0, 5.0]]);
        assert_eq!(max_col_sum(m.view()), 7.0);
        assert_eq!(max_row_sum(m.view()), 9.0);
        assert_eq!(frobenius_squared(m.view()), 50.0);
        assert!((schur(m.view()) - 63f64.sqrt()).abs() < 1e-12);
    }
}
