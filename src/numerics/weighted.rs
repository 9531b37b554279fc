//! The subspace of outputs that a low rank keeps when errors are weighted by what goes in.
//!
//! For G = SSᵀ and every Ŵ of rank r, ‖(W − Ŵ)X‖² = ‖WS − ŴS‖² ≥ Σ_{i>r} σ_i(WS)² (Eckart–Young), and Ŵ = UUᵀW attains it, U
//! being the r leading left singular vectors of WS (SVD-LLM, Wang et al. 2024, without its inverse). Where G is singular this is
//! the one of all minimisers that also keeps what it can of W itself.

mod losses;

use super::detach::detached;
use super::root::Root;
use super::svd::{SvdError, leading_eigenvectors};
use super::{KeepGoing, interrupt::check};
use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, Mat, Par};
use ndarray::ArrayView2;

pub use losses::{Losses, losses, workspace};

/// Up to this many values the decomposition is taken of WS itself, else of the smaller Gram matrix of it, as `svd::leading`
/// does and for the same reason: what `f64` loses by squaring is some 1e-14 of σ₁².
const DIRECT: usize = 192;
/// Rows multiplied between two questions whether to go on.
const TOGETHER: usize = 256;

/// The leading left singular vectors of WS.
#[derive(Debug, Clone)]
pub struct Leading {
    /// m × r, orthonormal.
    pub vectors: Mat<f64>,
    /// All min(m, n) singular values of WS, descending.
    pub sigma: Vec<f64>,
}

/// WS in `f64`, W being m × n.
pub fn product(w: ArrayView2<'_, f32>, root: &Root, keep_going: KeepGoing<'_>) -> Result<Mat<f64>, SvdError> {
    let (m, n) = w.dim();
    if !w.iter().all(|x| x.is_finite()) {
        return Err(SvdError::NotFinite);
    }
    let mut out = Mat::<f64>::zeros(m, root.width());
    for from in (0..m).step_by(TOGETHER) {
        check(keep_going)?;
        let count = TOGETHER.min(m - from);
        match root {
            Root::Diagonal(s) => {
                for (j, s) in s.iter().enumerate() {
                    (from..from + count).for_each(|i| out[(i, j)] = f64::from(w[(i, j)]) * s);
                }
            }
            Root::Full(s) => {
                let rows = Mat::<f64>::from_fn(count, n, |i, j| f64::from(w[(from + i, j)]));
                let into = out.as_mut().subrows_mut(from, count);
                matmul(into, Accum::Replace, rows.as_ref(), s.as_ref(), 1.0, Par::Seq);
            }
        }
    }
    Ok(out)
}

/// The `rank` leading left singular vectors of WS. Where WS has fewer, those of what they leave of W follow: the outputs do not
/// tell directions apart that no input reaches.
pub fn leading(
    w: ArrayView2<'_, f32>,
    root: &Root,
    rank: usize,
    keep_going: KeepGoing<'_>,
) -> Result<Leading, SvdError> {
    let rank = rank.min(w.nrows()).min(w.ncols());
    let ws = product(w, root, keep_going)?;
    let known = known(&ws);
    let mut found = decomposed(ws, rank, keep_going)?;
    let floor = found.sigma.first().map_or(0.0, |s| s * known);
    let reached = found.sigma.iter().take(rank).filter(|s| **s > floor && **s > 0.0).count();
    found.sigma.resize(w.nrows().min(w.ncols()), 0.0);
    if reached < rank {
        let kept = found.vectors.subcols(0, reached).to_owned();
        let mut rest = Mat::<f64>::from_fn(w.nrows(), w.ncols(), |i, j| f64::from(w[(i, j)]));
        let inside = kept.transpose() * &rest;
        matmul(rest.as_mut(), Accum::Add, kept.as_ref(), inside.as_ref(), -1.0, Par::Seq);
        let more = decomposed(rest, rank - reached, keep_going)?.vectors;
        let both = Mat::from_fn(w.nrows(), reached + more.ncols(), |i, j| {
            if j < reached { kept[(i, j)] } else { more[(i, j - reached)] }
        });
        found.vectors = orthonormal(&both);
    }
    Ok(found)
}

/// How well small singular values are known, as a share of the largest: those of a squared matrix less.
fn known(a: &Mat<f64>) -> f64 {
    let size = a.nrows().max(a.ncols()) as f64 * f64::EPSILON;
    if a.nrows().min(a.ncols()) <= DIRECT { size } else { size.sqrt() }
}

/// UUᵀW and its factors U (m × r), UᵀW (r × n).
pub fn projected(
    w: ArrayView2<'_, f32>,
    vectors: &Mat<f64>,
    keep_going: KeepGoing<'_>,
) -> Result<(Mat<f64>, Mat<f64>), SvdError> {
    let (m, n) = w.dim();
    let mut down = Mat::<f64>::zeros(vectors.ncols(), n);
    for from in (0..m).step_by(TOGETHER) {
        check(keep_going)?;
        let count = TOGETHER.min(m - from);
        let rows = Mat::<f64>::from_fn(count, n, |i, j| f64::from(w[(from + i, j)]));
        let some = vectors.as_ref().subrows(from, count);
        matmul(down.as_mut(), Accum::Add, some.transpose(), rows.as_ref(), 1.0, Par::Seq);
    }
    Ok((vectors.clone(), down))
}

/// ‖uᵀW‖² of each column u of `vectors`.
pub fn energies_of(
    w: ArrayView2<'_, f32>,
    vectors: &Mat<f64>,
    keep_going: KeepGoing<'_>,
) -> Result<Vec<f64>, SvdError> {
    let (_, down) = projected(w, vectors, keep_going)?;
    Ok((0..down.nrows()).map(|i| (0..down.ncols()).map(|j| down[(i, j)] * down[(i, j)]).sum()).collect())
}

fn decomposed(a: Mat<f64>, rank: usize, keep_going: KeepGoing<'_>) -> Result<Leading, SvdError> {
    let (m, k) = (a.nrows(), a.ncols());
    let small = m.min(k);
    if small == 0 {
        return Ok(Leading { vectors: Mat::zeros(m, 0), sigma: Vec::new() });
    }
    if small <= DIRECT {
        let found = detached(4 * small.pow(2) * m.max(k), keep_going, move || a.thin_svd()).ok_or(SvdError::Stopped)?;
        check(keep_going)?;
        let svd = found.map_err(|_| SvdError::NoConvergence)?;
        let sigma = svd.S().column_vector().iter().copied().collect();
        return Ok(Leading { vectors: svd.U().subcols(0, rank.min(small)).to_owned(), sigma });
    }
    let mut gram = Mat::<f64>::zeros(small, small);
    let large = m.max(k);
    let (whole, lower) = (triangular::BlockStructure::Rectangular, triangular::BlockStructure::TriangularLower);
    for from in (0..large).step_by(TOGETHER) {
        check(keep_going)?;
        let count = TOGETHER.min(large - from);
        let part = if m <= k { a.as_ref().subcols(from, count) } else { a.as_ref().subrows(from, count).transpose() };
        let into = gram.as_mut();
        triangular::matmul(into, lower, Accum::Add, part, whole, part.transpose(), whole, 1.0, Par::Seq);
    }
    let found = leading_eigenvectors(&gram, (small, rank.min(small)), |_| true, keep_going)?;
    let Some(found) = found else { return Err(SvdError::NoConvergence) };
    let sigma = found.values.iter().map(|l| l.max(0.0).sqrt()).collect();
    let vectors = found.vectors;
    let vectors = if m <= k { vectors } else { orthonormal(&(&a * &vectors)) };
    Ok(Leading { vectors, sigma })
}

/// An orthonormal basis whose first columns span what the first columns span.
fn orthonormal(of: &Mat<f64>) -> Mat<f64> {
    of.qr().compute_thin_Q()
}

#[cfg(test)]
mod tests;
