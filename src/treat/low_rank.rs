//! The best approximation of a given rank (Eckart–Young).

use super::Factors;
use super::quantise::{Quantise, quantise};
use crate::model::spatial::{spatial, unspatial};
use crate::model::{Layer, Matrix};
use crate::numerics::KeepGoing;
use crate::numerics::svd::{SvdError, factors, truncated};

/// [`low_rank`] of the matrix that a form of factors reads the layer as, read back.
pub fn of_form(
    layer: &Layer,
    matrix: &Matrix,
    form: Factors,
    rank: usize,
    rounded: Option<Quantise>,
    keep_going: KeepGoing<'_>,
) -> Result<Matrix, SvdError> {
    match form {
        Factors::Matrix => low_rank(matrix, rank, rounded, keep_going),
        Factors::Spatial => Ok(unspatial(layer, &low_rank(&spatial(layer, matrix), rank, rounded, keep_going)?)),
    }
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
    let product = left.view().dot(&right.view());
    Ok(Matrix { rows, cols, data: product.into_raw_vec_and_offset().0 })
}
