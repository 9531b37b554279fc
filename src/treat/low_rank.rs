//! The best approximation of a given rank (Eckart–Young).

use crate::model::Matrix;
use crate::numerics::KeepGoing;
use crate::numerics::svd::{SvdError, truncated};

/// `W_r`: the matrix with all but its `rank` largest singular values set to zero.
pub fn low_rank(matrix: &Matrix, rank: usize, keep_going: KeepGoing<'_>) -> Result<Matrix, SvdError> {
    let approximation = truncated(matrix.view(), rank, keep_going)?;
    let (rows, cols) = (matrix.rows, matrix.cols);
    Ok(Matrix { rows, cols, data: approximation.into_raw_vec_and_offset().0 })
}
