//! The best approximation of a rank (Eckart–Young), multiplied out or as two factors.
//!
//! The leading singular vectors of the smaller side are those of the Gram matrix G of that side, taken in `f64`, several
//! times faster than a full decomposition. Squaring costs no energy that matters: a subspace that is best for G + E holds
//! at most 2r‖E‖ less of G than the best (Ky Fan 1949), and the rounding E of G in `f64` is some 1e-14 of σ₁². What the
//! vectors do hold is summed up and compared with the eigenvalues; where the two disagree, and for small matrices, the
//! full decomposition in `f64` answers instead.

use super::{DIRECT, SvdError, entries};
use crate::numerics::detach::detached;
use crate::numerics::{KeepGoing, interrupt::check};
use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use ndarray::{Array2, ArrayView2};
use std::ops::Range;

/// Energy by which what the vectors hold may differ from the eigenvalues, relative to all of it.
const AGREE: f64 = 1e-8;

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
    // Summed up in `f64`: sums in `f32` would leave several times more beyond the rank than rounding the result does.
    let wide = |of: MatRef<'_, f32>| Mat::<f64>::from_fn(of.nrows(), of.ncols(), |i, j| f64::from(of[(i, j)]));
    let right = wide(pair.right.as_ref());
    let mut out = vec![0f32; m * n];
    let together = (PIECE / (n * rank)).clamp(32, 512);
    let mut product = vec![0f64; together.min(m) * n];
    for (i, rows) in out.chunks_mut(together * n).enumerate() {
        check(keep_going)?;
        let left = wide(pair.left.as_ref().subrows(i * together, rows.len() / n));
        let product = &mut product[..rows.len()];
        let into = MatMut::from_row_major_slice_mut(product, left.nrows(), n);
        matmul(into, Accum::Replace, left.as_ref(), right.transpose(), 1.0, Par::Seq);
        rows.iter_mut().zip(product).for_each(|(w, p)| *w = *p as f32);
    }
    Array2::from_shape_vec((m, n), out).map_err(|_| SvdError::NoConvergence)
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
    let Pair { left, right, sigma, sigma_left } = leading(a, rank, keep_going)?;
    let (mut up, mut down) = (Vec::with_capacity(rank), Vec::with_capacity(rank));
    for s in sigma {
        up.push(s.sqrt() as f32);
        down.push(if s > 0.0 { (1.0 / s.sqrt()) as f32 } else { 0.0 });
    }
    // One side is orthonormal, the other has lengths σ.
    let (of_left, of_right) = if sigma_left { (down, up) } else { (up, down) };
    let left = Array2::from_shape_fn((m, rank), |(i, j)| left[(i, j)] * of_left[j]);
    let right = Array2::from_shape_fn((rank, n), |(i, j)| right[(j, i)] * of_right[i]);
    Ok((left, right))
}

/// Bytes that [`truncated`] and [`factors`] take beside the matrix and what they give.
pub fn approximation_workspace(rows: usize, cols: usize, rank: usize) -> u64 {
    let (large, small) = (rows.max(cols) as u64, rows.min(cols) as u64);
    if small <= DIRECT as u64 {
        return large * small * 16;
    }
    // G, its vectors, what faer takes for them; both sides in `f32`, one of them also in `f64`.
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
}

fn leading(a: ArrayView2<'_, f32>, rank: usize, keep_going: KeepGoing<'_>) -> Result<Pair, SvdError> {
    let largest = entries::largest(&a, keep_going)?;
    let (m, n) = a.dim();
    if m.min(n) > DIRECT
        && largest > 0.0
        && let Some(pair) = by_gram(a, rank, largest, keep_going)?
    {
        return Ok(pair);
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
    Ok(Pair { left, right, sigma, sigma_left: true })
}

/// From the eigenvectors of the smaller Gram matrix; `None` where they do not hold what the eigenvalues say. `largest`
/// is the largest magnitude.
fn by_gram(
    a: ArrayView2<'_, f32>,
    rank: usize,
    largest: f32,
    keep_going: KeepGoing<'_>,
) -> Result<Option<Pair>, SvdError> {
    let (m, n) = a.dim();
    // Brought near 1 by a power of two: no digit is lost, and no square meets a threshold of the decomposition.
    let scale = 2f64.powf(-f64::from(largest).log2().floor());
    let (large, small, tall) = if m >= n { (m, n, true) } else { (n, m, false) };
    let together = (PIECE / (small * small)).clamp(64, 1024).min(large);
    // A stretch of the larger side, one vector of the smaller side's length after the other.
    let stretch = |range: Range<usize>| {
        let from = range.start;
        Mat::<f64>::from_fn(small, range.len(), |i, l| {
            f64::from(if tall { a[(from + l, i)] } else { a[(i, from + l)] }) * scale
        })
    };
    let stretches = || (0..large).step_by(together).map(|from| from..(from + together).min(large));
    let mut gram = Mat::<f64>::zeros(small, small);
    for range in stretches() {
        check(keep_going)?;
        let s = stretch(range);
        let (whole, lower) = (triangular::BlockStructure::Rectangular, triangular::BlockStructure::TriangularLower);
        let into = gram.as_mut();
        triangular::matmul(into, lower, Accum::Add, s.as_ref(), whole, s.transpose(), whole, 1.0, Par::Seq);
    }
    let total: f64 = (0..small).map(|i| gram[(i, i)]).sum();
    let work = small.pow(3);
    let found = detached(work, keep_going, move || gram.self_adjoint_eigen(Side::Lower)).ok_or(SvdError::Stopped)?;
    check(keep_going)?;
    let Ok(found) = found else { return Ok(None) };
    // Ascending.
    let values = found.S().column_vector();
    let best = |j: usize| small - 1 - j;
    let vectors = Mat::<f64>::from_fn(small, rank, |i, j| found.U()[(i, best(j))]);
    let (held, all) = ((0..rank).map(|j| values[best(j)]).sum::<f64>(), values.iter().sum::<f64>());
    drop(found);
    let mut images = Mat::<f32>::zeros(large, rank);
    let mut squares = vec![0f64; rank];
    for range in stretches() {
        check(keep_going)?;
        let (from, count) = (range.start, range.len());
        let mut image = Mat::<f64>::zeros(count, rank);
        matmul(image.as_mut(), Accum::Replace, stretch(range).transpose(), vectors.as_ref(), 1.0, Par::Seq);
        for j in 0..rank {
            let (some, into) = (image.col_as_slice(j), &mut images.col_as_slice_mut(j)[from..from + count]);
            squares[j] += some.iter().map(|x| x * x).sum::<f64>();
            into.iter_mut().zip(some).for_each(|(x, y)| *x = (*y / scale) as f32);
        }
    }
    if !agree(held, squares.iter().sum(), total) || !agree(all, total, total) {
        return Ok(None);
    }
    let sigma = squares.into_iter().map(|s| s.sqrt() / scale).collect();
    let vectors = narrow(vectors.as_ref());
    let (left, right) = if tall { (images, vectors) } else { (vectors, images) };
    Ok(Some(Pair { left, right, sigma, sigma_left: tall }))
}

/// Whether two energies are the same, measured by all of it. Not for NaN.
fn agree(a: f64, b: f64, total: f64) -> bool {
    (a - b).abs() <= AGREE * total
}

fn narrow(of: MatRef<'_, f64>) -> Mat<f32> {
    Mat::from_fn(of.nrows(), of.ncols(), |i, j| of[(i, j)] as f32)
}

#[cfg(test)]
mod tests;
