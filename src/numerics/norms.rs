//! Norms that one pass over the entries gives, in `f64`.

use ndarray::ArrayView2;

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
