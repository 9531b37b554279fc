//! All singular values of a matrix: one function that everything else calls.

use super::KeepGoing;
use super::detach::detached;
use ndarray::{Array2, ArrayView2};

/// Why there are no singular values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SvdError {
    /// Told to stop.
    #[error("stopped")]
    Stopped,
    /// An entry is NaN or infinite.
    #[error("an entry is NaN or infinite")]
    NotFinite,
    /// The iteration did not converge.
    #[error("the singular values did not converge")]
    NoConvergence,
}

/// All `min(m, n)` singular values, descending, never negative, computed in `f64`.
pub fn singular_values(
    a: ArrayView2<'_, f32>,
    keep_going: KeepGoing<'_>,
    _threads: usize,
) -> Result<Vec<f64>, SvdError> {
    if !keep_going() {
        return Err(SvdError::Stopped);
    }
    if a.iter().any(|x| !x.is_finite()) {
        return Err(SvdError::NotFinite);
    }
    let (m, n) = a.dim();
    let full = faer::Mat::<f64>::from_fn(m, n, |i, j| f64::from(a[(i, j)]));
    let work = m.min(n).pow(2) * m.max(n);
    let found = detached(work, keep_going, move || full.singular_values()).ok_or(SvdError::Stopped)?;
    let mut sigma = found.map_err(|_| SvdError::NoConvergence)?;
    sigma.sort_by(|a, b| b.total_cmp(a));
    Ok(sigma)
}

/// The best approximation of rank at most `rank` (Eckart–Young), as a dense matrix in row-major order.
///
/// The decomposition itself cannot be interrupted: told to stop, it is left to end by itself (see `detach`).
pub fn truncated(a: ArrayView2<'_, f32>, rank: usize, keep_going: KeepGoing<'_>) -> Result<Array2<f32>, SvdError> {
    let (m, n) = a.dim();
    if rank == 0 || m == 0 || n == 0 {
        return Ok(Array2::zeros((m, n)));
    }
    if rank >= m.min(n) {
        return Ok(a.to_owned());
    }
    if !keep_going() {
        return Err(SvdError::Stopped);
    }
    if a.iter().any(|x| !x.is_finite()) {
        return Err(SvdError::NotFinite);
    }
    let full = faer::Mat::<f64>::from_fn(m, n, |i, j| f64::from(a[(i, j)]));
    let work = 4 * m.min(n).pow(2) * m.max(n);
    let found = detached(work, keep_going, move || full.thin_svd()).ok_or(SvdError::Stopped)?;
    let svd = found.map_err(|_| SvdError::NoConvergence)?;
    if !keep_going() {
        return Err(SvdError::Stopped);
    }
    let sigma = svd.S().column_vector();
    let scaled = faer::Mat::<f64>::from_fn(m, rank, |i, j| svd.U()[(i, j)] * sigma[j]);
    let product = &scaled * svd.V().subcols(0, rank).transpose();
    Ok(Array2::from_shape_fn((m, n), |(i, j)| product[(i, j)] as f32))
}
