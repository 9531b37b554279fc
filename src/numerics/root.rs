//! A square root of a positive semidefinite matrix, G = SSᵀ, in `f64`.

use super::detach::detached;
use super::{KeepGoing, Stopped, interrupt::check};
use faer::linalg::triangular_inverse;
use faer::{Mat, Par, Side};
use ndarray::ArrayView2;

/// S of G = SSᵀ.
#[derive(Debug, Clone)]
pub enum Root {
    /// n × k; k may be less than n.
    Full(Mat<f64>),
    /// The entries of a diagonal one.
    Diagonal(Vec<f64>),
}

/// A square root of a symmetric matrix, of which the lower triangle counts. Cholesky's factor where the matrix is positive
/// definite, else QΛ^½ of its eigenvectors: λ < 0 comes from rounding and counts as 0, and so does λ ≤ n·ε·λ_max. Nothing is
/// added to the diagonal: that would change which approximation is best.
pub fn root(gram: ArrayView2<'_, f32>, keep_going: KeepGoing<'_>) -> Result<Root, Stopped> {
    check(keep_going)?;
    let n = gram.nrows();
    let wide = Mat::<f64>::from_fn(n, n, |i, j| f64::from(gram[(i, j)]));
    let kept = wide.clone();
    let factor = detached(n.pow(3) / 3, keep_going, move || wide.llt(Side::Lower).map(|f| f.L().to_owned()));
    let factor = factor.ok_or(Stopped)?;
    if let Ok(lower) = factor {
        return Ok(Root::Full(lower));
    }
    let found = detached(4 * n.pow(3), keep_going, move || kept.self_adjoint_eigen(Side::Lower)).ok_or(Stopped)?;
    check(keep_going)?;
    let Ok(eigen) = found else { return Ok(Root::Full(Mat::zeros(n, 0))) };
    let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    let floor = values.iter().copied().fold(0.0, f64::max) * n as f64 * f64::EPSILON;
    let held: Vec<usize> = (0..n).filter(|&k| values[k] > floor).collect();
    Ok(Root::Full(Mat::from_fn(n, held.len(), |i, k| eigen.U()[(i, held[k])] * values[held[k]].sqrt())))
}

/// The upper triangular U of H⁻¹ = UᵀU; `None` where H is not positive definite. From the rows in reverse: with J reversing
/// their order and JHJ = LLᵀ, U = JL⁻¹J, so that H itself is never inverted.
pub fn inverse_root(h: Mat<f64>, keep_going: KeepGoing<'_>) -> Result<Option<Mat<f64>>, Stopped> {
    check(keep_going)?;
    let n = h.nrows();
    let found = detached(2 * n.pow(3) / 3, keep_going, move || {
        let turned = Mat::<f64>::from_fn(n, n, |i, j| h[(n - 1 - i, n - 1 - j)]);
        let lower = turned.llt(Side::Lower).ok()?.L().to_owned();
        let mut inverse = Mat::<f64>::zeros(n, n);
        triangular_inverse::invert_lower_triangular(inverse.as_mut(), lower.as_ref(), Par::Seq);
        Some(Mat::from_fn(n, n, |i, j| if i <= j { inverse[(n - 1 - i, n - 1 - j)] } else { 0.0 }))
    });
    found.ok_or(Stopped)
}

impl Root {
    /// Columns of S.
    pub fn width(&self) -> usize {
        match self {
            Self::Full(s) => s.ncols(),
            Self::Diagonal(s) => s.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn squared(of: &Root) -> Mat<f64> {
        let Root::Full(s) = of else { unreachable!() };
        s * s.transpose()
    }

    #[test]
    fn the_inverse_root_squares_to_the_inverse() {
        let h = Mat::from_fn(3, 3, |i, j| [[3.0, 2.0, 1.0], [2.0, 3.0, 2.0], [1.0, 2.0, 6.0]][i][j]);
        let u = inverse_root(h, &|| true).unwrap().unwrap();
        let inverse = u.transpose() * &u;
        let want = [[14.0, -10.0, 1.0], [-10.0, 17.0, -4.0], [1.0, -4.0, 5.0]];
        for (i, row) in want.iter().enumerate() {
            assert!((0..3).all(|j| (inverse[(i, j)] - row[j] / 23.0).abs() < 1e-12), "{inverse:?}");
            assert!((0..i).all(|j| u[(i, j)] == 0.0));
        }
        let indefinite = Mat::from_fn(2, 2, |i, j| if i == j { 1.0 } else { 2.0 });
        assert!(inverse_root(indefinite, &|| true).unwrap().is_none());
    }

    #[test]
    fn it_squares_to_the_matrix_definite_or_not() {
        let definite = Array2::from_shape_vec((3, 3), vec![6.0f32, 3.0, 4.0, 3.0, 3.0, 1.0, 4.0, 1.0, 10.0]).unwrap();
        // X = [[1,2],[1,2],[0,1]]: two tokens, λ = 0, .185, 10.8.
        let singular = Array2::from_shape_vec((3, 3), vec![5.0f32, 5.0, 2.0, 5.0, 5.0, 2.0, 2.0, 2.0, 1.0]).unwrap();
        for (gram, width) in [(definite, 3), (singular, 2), (Array2::zeros((3, 3)), 0)] {
            let found = root(gram.view(), &|| true).unwrap();
            assert_eq!(found.width(), width);
            let back = squared(&found);
            for ((i, j), want) in gram.indexed_iter() {
                assert!((back[(i, j)] - f64::from(*want)).abs() < 1e-12, "{back:?}");
            }
        }
        assert!(root(Array2::zeros((2, 2)).view(), &|| false).is_err());
    }
}
