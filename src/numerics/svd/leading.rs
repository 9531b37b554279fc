//! The best approximation of a rank (Eckart–Young), multiplied out or as two factors.
//!
//! The leading singular vectors of the smaller side are those of the Gram matrix of that side (`leading/squared.rs`), several
//! times faster than a full decomposition: in `f32` where what is left over is large enough, else in `f64`. For small
//! matrices, and where vectors and eigenvalues disagree, the full decomposition in `f64` answers.

mod squared;

use super::product::transpose;
use super::real::Real;
use super::{DIRECT, SvdError, entries};
use crate::numerics::detach::detached;
use crate::numerics::{KeepGoing, interrupt::check};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use ndarray::{Array2, ArrayView2};
use pulp::bytemuck::try_cast_slice_mut;
use squared::squared;

/// Multiplications between two questions whether to go on.
const PIECE: usize = 1 << 30;

/// The best approximation of rank at most `rank`, as a dense matrix in row-major order.
///
/// The decomposition of G cannot be interrupted: told to stop, it is left to end by itself (see `detach`).
pub fn truncated(a: ArrayView2<'_, f32>, rank: usize, keep_going: KeepGoing<'_>) -> Result<Array2<f32>, SvdError> {
    let (m, n) = a.dim();
    if rank == 0 || m == 0 || n == 0 {
        return Ok(Array2::zeros((m, n)));
    }
    if rank >= m.min(n) {
        return Ok(a.to_owned());
    }
    let pair = leading(a, rank, keep_going)?;
    let product =
        if pair.coarse { multiplied::<f32>(&pair, keep_going)? } else { multiplied::<f64>(&pair, keep_going)? };
    Array2::from_shape_vec((m, n), product).map_err(|_| SvdError::NoConvergence)
}

/// The product of a pair, row by row.
fn multiplied<T: Real>(pair: &Pair, keep_going: KeepGoing<'_>) -> Result<Vec<f32>, SvdError> {
    let wide = |of: MatRef<'_, f32>| {
        let mut into = Mat::<T>::zeros(of.nrows(), of.ncols());
        for j in 0..of.ncols() {
            let from = of.col(j).iter();
            into.col_as_slice_mut(j).iter_mut().zip(from).for_each(|(x, y)| *x = T::narrow(f64::from(*y)));
        }
        into
    };
    let right = wide(pair.right.as_ref());
    let (m, n, rank) = (pair.left.nrows(), right.nrows(), right.ncols());
    let mut out = vec![0f32; m * n];
    let together = (PIECE / (n * rank)).clamp(32, 512).min(m);
    let mut held = vec![T::ZERO; if T::COARSE { 0 } else { together * n }];
    for (i, rows) in out.chunks_mut(together * n).enumerate() {
        check(keep_going)?;
        let left = wide(pair.left.as_ref().subrows(i * together, rows.len() / n));
        // `f32` needs no rounding: it is written where it belongs.
        let same = if T::COARSE { try_cast_slice_mut::<f32, T>(rows).ok() } else { None };
        let direct = same.is_some();
        let product = same.unwrap_or(&mut held);
        let into = MatMut::from_row_major_slice_mut(&mut product[..left.nrows() * n], left.nrows(), n);
        matmul(into, Accum::Replace, left.as_ref(), right.transpose(), T::ONE, Par::Seq);
        if !direct {
            rows.iter_mut().zip(&held).for_each(|(w, p)| *w = p.wide() as f32);
        }
    }
    Ok(out)
}

/// Two factors of the best approximation of a rank: A (m × r) and B (r × n), AB = `W_r`, σ split evenly between them.
/// At the full rank and above they multiply out to the matrix up to rounding.
pub fn factors(
    a: ArrayView2<'_, f32>,
    rank: usize,
    keep_going: KeepGoing<'_>,
) -> Result<(Array2<f32>, Array2<f32>), SvdError> {
    let (m, n) = a.dim();
    let rank = rank.min(m).min(n);
    if rank == 0 {
        return Ok((Array2::zeros((m, 0)), Array2::zeros((0, n))));
    }
    let Pair { left, right, sigma, sigma_left, .. } = leading(a, rank, keep_going)?;
    let (mut up, mut down) = (Vec::with_capacity(rank), Vec::with_capacity(rank));
    for s in sigma {
        up.push(s.sqrt() as f32);
        down.push(if s > 0.0 { (1.0 / s.sqrt()) as f32 } else { 0.0 });
    }
    // One side is orthonormal, the other has lengths σ.
    let (of_left, of_right) = if sigma_left { (down, up) } else { (up, down) };
    let mut turned = vec![0f32; m * rank];
    let mut into = MatMut::from_column_major_slice_mut(&mut turned, rank, m);
    transpose(into.as_mut(), left.as_ref());
    turned.chunks_mut(rank).for_each(|row| row.iter_mut().zip(&of_left).for_each(|(x, s)| *x *= s));
    let mut rows = Vec::with_capacity(rank * n);
    (0..rank).for_each(|j| rows.extend(right.col_as_slice(j).iter().map(|x| x * of_right[j])));
    let shaped = |shape, data| Array2::from_shape_vec(shape, data).map_err(|_| SvdError::NoConvergence);
    Ok((shaped((m, rank), turned)?, shaped((rank, n), rows)?))
}

/// Bytes that [`truncated`] and [`factors`] take beside the matrix and what they give.
pub fn approximation_workspace(rows: usize, cols: usize, rank: usize) -> u64 {
    let (large, small) = (rows.max(cols) as u64, rows.min(cols) as u64);
    if small <= DIRECT as u64 {
        return large * small * 16;
    }
    // The Gram matrix, its reflectors and vectors, of close eigenvalues all of them and what faer takes for those; both sides
    // in `f32`, one of them also in `f64`.
    8 * small * small * 5 + rank as u64 * (4 * (large + small) + 8 * large)
}

/// W_r = `left`·`right`ᵀ.
struct Pair {
    /// m × r.
    left: Mat<f32>,
    /// n × r.
    right: Mat<f32>,
    /// Singular values, descending.
    sigma: Vec<f64>,
    /// Whether the columns of `left` have the lengths σ, else those of `right`; the others are orthonormal.
    sigma_left: bool,
    /// Whether sums in `f32` do: what the rank leaves over is far larger. Else they would leave several times more beyond the
    /// rank than rounding the entries does.
    coarse: bool,
}

fn leading(a: ArrayView2<'_, f32>, rank: usize, keep_going: KeepGoing<'_>) -> Result<Pair, SvdError> {
    let largest = entries::largest(&a, keep_going)?;
    let (m, n) = a.dim();
    if m.min(n) > DIRECT && largest > 0.0 {
        if let Some(pair) = squared::<f32>(a, rank, largest, keep_going)? {
            return Ok(pair);
        }
        if let Some(pair) = squared::<f64>(a, rank, largest, keep_going)? {
            return Ok(pair);
        }
    }
    full(a, rank, keep_going)
}

/// From the full decomposition in `f64`.
fn full(a: ArrayView2<'_, f32>, rank: usize, keep_going: KeepGoing<'_>) -> Result<Pair, SvdError> {
    let (m, n) = a.dim();
    let whole = Mat::<f64>::from_fn(m, n, |i, j| f64::from(a[(i, j)]));
    let work = 4 * m.min(n).pow(2) * m.max(n);
    let found = detached(work, keep_going, move || whole.thin_svd()).ok_or(SvdError::Stopped)?;
    let svd = found.map_err(|_| SvdError::NoConvergence)?;
    check(keep_going)?;
    let sigma: Vec<f64> = svd.S().column_vector().iter().take(rank).copied().collect();
    let left = Mat::from_fn(m, rank, |i, j| (svd.U()[(i, j)] * sigma[j]) as f32);
    let right = Mat::from_fn(n, rank, |i, j| svd.V()[(i, j)] as f32);
    Ok(Pair { left, right, sigma, sigma_left: true, coarse: false })
}

#[cfg(test)]
mod tests;
