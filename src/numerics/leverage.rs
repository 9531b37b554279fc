//! Leverage scores: the squared row norms of an orthonormal basis of a matrix's column space.

use super::detach::detached;
use super::{KeepGoing, Stopped, interrupt::check};
use faer::{Mat, Side};
use ndarray::ArrayView2;

/// The score of each row of an `m × n` matrix: w_iᵀ(WᵀW)⁺w_i, from the eigenvectors of the n × n Gram matrix in `f64`.
/// Directions whose λ lies below n·ε of the largest are none of the matrix. Rows of zeros score 0.
pub fn scores(a: ArrayView2<'_, f32>, keep_going: KeepGoing<'_>) -> Result<Vec<f64>, Stopped> {
    let (m, n) = a.dim();
    // Wholes of rows at a time, in f64.
    const TOGETHER: usize = 512;
    let part = |from: usize| Mat::<f64>::from_fn(TOGETHER.min(m - from), n, |i, j| f64::from(a[(from + i, j)]));
    let mut gram = Mat::<f64>::zeros(n, n);
    for from in (0..m).step_by(TOGETHER) {
        check(keep_going)?;
        let rows = part(from);
        gram += rows.transpose() * &rows;
    }
    let found = detached(4 * n * n * n, keep_going, move || gram.self_adjoint_eigen(Side::Lower)).ok_or(Stopped)?;
    let Ok(eigen) = found else { return Ok(vec![0.0; m]) };
    let lambda: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    let floor = lambda.iter().copied().fold(0.0, f64::max) * n as f64 * f64::EPSILON;
    let basis = Mat::<f64>::from_fn(n, n, |i, k| {
        if lambda[k] > floor && lambda[k] > 0.0 { eigen.U()[(i, k)] / lambda[k].sqrt() } else { 0.0 }
    });
    let mut out = Vec::with_capacity(m);
    for from in (0..m).step_by(TOGETHER) {
        check(keep_going)?;
        let held = part(from) * &basis;
        out.extend((0..held.nrows()).map(|i| (0..n).map(|k| held[(i, k)] * held[(i, k)]).sum::<f64>()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn they_are_shares_of_the_rank() {
        // A = [1, 2, 2]ᵀ: [1, 4, 4]/9.
        let found = scores(Array2::from_shape_vec((3, 1), vec![1.0, 2.0, 2.0]).unwrap().view(), &|| true).unwrap();
        for (a, b) in found.iter().zip([1.0 / 9.0, 4.0 / 9.0, 4.0 / 9.0]) {
            assert!((a - b).abs() < 1e-12, "{found:?}");
        }
        // The third column is the sum of the others: rank 2. A row of zeros, and one that nothing else replaces.
        let data = vec![1.0, 0.0, 1.0, 2.0, 0.0, 2.0, 0.0, 3.0, 3.0, 0.0, 0.0, 0.0, 3.0, 0.0, 3.0];
        let found = scores(Array2::from_shape_vec((5, 3), data).unwrap().view(), &|| true).unwrap();
        assert!((found.iter().sum::<f64>() - 2.0).abs() < 1e-9, "{found:?}");
        assert!((found[2] - 1.0).abs() < 1e-9 && found[3] == 0.0, "{found:?}");
        assert_eq!(scores(Array2::zeros((4, 2)).view(), &|| true).unwrap(), [0.0; 4]);
        assert_eq!(scores(Array2::zeros((4, 2)).view(), &|| false), Err(Stopped));
    }
}
