//! The best approximation of a given rank: of the matrix (Eckart–Young), or of what it makes of the inputs.

use super::Factors;
use super::quantise::{Quantise, quantise};
use crate::model::spatial::{spatial, unspatial};
use crate::model::{Layer, Matrix};
use crate::numerics::KeepGoing;
use crate::numerics::svd::{SvdError, factors, truncated};
use crate::numerics::weighted::{leading, projected};
use crate::probe::ProbeError;
use faer::Mat;

/// The best approximation of a rank in a form of factors, read back as the layer's matrix. When its factors are rounded,
/// their product.
pub fn of_form(
    layer: &Layer,
    matrix: &Matrix,
    form: Factors,
    rank: usize,
    rounded: Option<Quantise>,
    keep_going: KeepGoing<'_>,
) -> Result<Matrix, ProbeError> {
    match form {
        Factors::Matrix => Ok(low_rank(matrix, rank, rounded, keep_going)?),
        Factors::Spatial => Ok(unspatial(layer, &low_rank(&spatial(layer, matrix), rank, rounded, keep_going)?)),
        Factors::Whitened | Factors::Asvd => {
            if rounded.is_some() {
                let [up, down] = pair(layer, matrix, form, rank, rounded, keep_going)?;
                return Ok(multiplied(&up, &down));
            }
            if rank >= layer.full_rank() {
                return Ok(matrix.clone());
            }
            let (up, down) = weighted(layer, matrix, form, rank, keep_going)?;
            Ok(narrow(&(&up * &down)))
        }
    }
}

/// The two factors of a form that is no spatial one: up (outputs × r) and down (r × inputs), rounded where asked.
pub fn pair(
    layer: &Layer,
    matrix: &Matrix,
    form: Factors,
    rank: usize,
    rounded: Option<Quantise>,
    keep_going: KeepGoing<'_>,
) -> Result<[Matrix; 2], ProbeError> {
    let weighs = matches!(form, Factors::Whitened | Factors::Asvd);
    let mut pair = if weighs && rank > 0 && rank < layer.full_rank() {
        let (up, down) = weighted(layer, matrix, form, rank, keep_going)?;
        [narrow(&up), narrow(&down)]
    } else {
        // Of the full rank nothing is cut off: every form is the matrix itself.
        let (up, down) = factors(matrix.view(), rank, keep_going)?;
        [up, down].map(|f| Matrix { rows: f.nrows(), cols: f.ncols(), data: f.into_raw_vec_and_offset().0 })
    };
    if let Some(how) = rounded {
        for factor in &mut pair {
            quantise(factor, how, keep_going)?;
        }
    }
    Ok(pair)
}

/// `left`·`right`.
pub fn multiplied(left: &Matrix, right: &Matrix) -> Matrix {
    let product = left.view().dot(&right.view());
    Matrix { rows: left.rows, cols: right.cols, data: product.into_raw_vec_and_offset().0 }
}

/// U and UᵀW: U holds the leading left singular vectors of WS. With SSᵀ = E\[x xᵀ\] that errs least in ‖(W − Ŵ)X‖ (SVD-LLM, Wang
/// et al. 2024); with S = diag(√E|x_j|) it is ASVD (Yuan et al. 2023), whose `U_rΣ_rV_rᵀS⁻¹` is the same `U_rU_rᵀW`.
fn weighted(
    layer: &Layer,
    matrix: &Matrix,
    form: Factors,
    rank: usize,
    keep_going: KeepGoing<'_>,
) -> Result<(Mat<f64>, Mat<f64>), ProbeError> {
    let root = super::error::root_of(layer, form, keep_going)?;
    let found = leading(matrix.view(), &root, rank, keep_going)?;
    drop(root);
    Ok(projected(matrix.view(), &found.vectors, keep_going)?)
}

pub(super) fn narrow(of: &Mat<f64>) -> Matrix {
    let (rows, cols) = (of.nrows(), of.ncols());
    let data = (0..rows).flat_map(|i| (0..cols).map(move |j| of[(i, j)] as f32)).collect();
    Matrix { rows, cols, data }
}

/// `W_r`: the matrix with all but its `rank` largest singular values set to zero. When its factors are rounded, their
/// product.
pub fn low_rank(
    matrix: &Matrix,
    rank: usize,
    rounded: Option<Quantise>,
    keep_going: KeepGoing<'_>,
) -> Result<Matrix, SvdError> {
    let (rows, cols) = (matrix.rows, matrix.cols);
    let Some(how) = rounded else {
        let approximation = truncated(matrix.view(), rank, keep_going)?;
        return Ok(Matrix { rows, cols, data: approximation.into_raw_vec_and_offset().0 });
    };
    let (left, right) = factors(matrix.view(), rank, keep_going)?;
    let mut pair =
        [left, right].map(|f| Matrix { rows: f.nrows(), cols: f.ncols(), data: f.into_raw_vec_and_offset().0 });
    for factor in &mut pair {
        quantise(factor, how, keep_going).map_err(|_| SvdError::Stopped)?;
    }
    let [left, right] = pair;
    Ok(multiplied(&left, &right))
}
