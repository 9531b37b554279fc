//! All singular values of a matrix: one function that everything else calls.

use super::KeepGoing;
use ndarray::ArrayView2;

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
    threads: usize,
) -> Result<Vec<f64>, SvdError> {
    let _ = threads;
    if !keep_going() {
        return Err(SvdError::Stopped);
    }
    if a.iter().any(|x| !x.is_finite()) {
        return Err(SvdError::NotFinite);
    }
    let (m, n) = a.dim();
    let full = faer::Mat::<f64>::from_fn(m, n, |i, j| f64::from(a[(i, j)]));
    let mut sigma = full.singular_values().map_err(|_| SvdError::NoConvergence)?;
    sigma.sort_by(|a, b| b.total_cmp(a));
    Ok(sigma)
}
