//! Norms that one pass over the entries gives, in `f64`.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `isa`")]

use super::isa::{Isa, Kernel};
use ndarray::ArrayView2;

/// Sums over the columns of a matrix that comes row by row, in `f64`.
#[derive(Debug)]
pub struct Sums {
    /// Σ |w| of each column.
    pub abs: Vec<f64>,
    /// Σ w² of each column.
    pub squares: Vec<f64>,
}

impl Sums {
    /// For so many columns, no row yet.
    pub fn new(cols: usize) -> Self {
        Self { abs: vec![0.0; cols], squares: vec![0.0; cols] }
    }
    /// Takes a row in; gives its own Σ |w| and Σ w².
    pub fn add(&mut self, row: &[f32], isa: Isa) -> (f64, f64) {
        isa.run(Row { row, abs: &mut self.abs, squares: &mut self.squares })
    }
}

struct Row<'a> {
    row: &'a [f32],
    abs: &'a mut [f64],
    squares: &'a mut [f64],
}

impl Kernel for Row<'_> {
    type Output = (f64, f64);
    #[inline(always)]
    fn run<const FMA: bool>(self) -> (f64, f64) {
        const LANES: usize = 16;
        let (mut sums, mut squares) = ([0f64; LANES], [0f64; LANES]);
        let (x, x_rest) = self.row.as_chunks::<LANES>();
        let (a, a_rest) = self.abs.as_chunks_mut::<LANES>();
        let (s, s_rest) = self.squares.as_chunks_mut::<LANES>();
        for ((x, a), s) in x.iter().zip(a).zip(s) {
            for k in 0..LANES {
                let w = f64::from(x[k].abs());
                let square = w * w;
                sums[k] += w;
                squares[k] += square;
                a[k] += w;
                s[k] += square;
            }
        }
        let (mut sum, mut square) = (0.0, 0.0);
        for ((x, a), s) in x_rest.iter().zip(a_rest).zip(s_rest) {
            let w = f64::from(x.abs());
            sum += w;
            square += w * w;
            *a += w;
            *s += w * w;
        }
        (sum + sums.iter().sum::<f64>(), square + squares.iter().sum::<f64>())
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
