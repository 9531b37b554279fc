//! What every rank loses, of the outputs and of the weights, from one decomposition of W and one of WS.
//!
//! Left singular vectors u_i are orthonormal, so what a projection UUᵀW leaves out adds up direction by direction: of the outputs
//! Σ_{i>r} ‖u_iᵀWS‖², of the weights Σ_{i>r} ‖u_iᵀW‖². Neither changes when W = QR gives way to R, so that tall matrices become
//! square first.

use super::{TOGETHER, decomposed};
use crate::numerics::root::Root;
use crate::numerics::svd::SvdError;
use crate::numerics::{KeepGoing, interrupt::check};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use ndarray::ArrayView2;

/// Energies that every rank leaves out; each list holds min(m, n) + 1 values, from rank 0 on, the last 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Losses {
    /// Singular values of WS, descending; as many as W has.
    pub sigma: Vec<f64>,
    /// ‖(W − `W_r`)S‖_F² of the best approximation of W itself: Σ_{i>r} σ_i² v_iᵀGv_i.
    pub outputs_of_plain: Vec<f64>,
    /// ‖W − UUᵀW‖_F² of the r leading left singular vectors of WS.
    pub weights_of_whitened: Vec<f64>,
    /// Of those of WD instead, D a diagonal: ‖(W − UUᵀW)S‖_F² and ‖W − UUᵀW‖_F².
    pub scaled: Option<[Vec<f64>; 2]>,
}

/// Computes [`Losses`], W being m × n, SSᵀ = G and `scales` the diagonal of D.
pub fn losses(
    w: ArrayView2<'_, f32>,
    root: &Root,
    scales: Option<Root>,
    keep_going: KeepGoing<'_>,
) -> Result<Losses, SvdError> {
    let full = w.nrows().min(w.ncols());
    let w = square(w, keep_going)?;
    let ws = times(&w, root, keep_going)?;
    let plain = decomposed(w.clone(), full, keep_going)?.vectors;
    let outputs = energies(&plain, &ws, keep_going)?;
    drop(plain);
    let scaled = match scales {
        None => None,
        Some(scales) => {
            let (kept, sigma) = reached(times(&w, &scales, keep_going)?, full, keep_going)?;
            let mut outputs = energies(&kept, &ws, keep_going)?;
            outputs.resize(full, 0.0);
            Some([tails(&outputs), tails(&left_out(&w, &kept, sigma.len(), keep_going)?)])
        }
    };
    let (kept, mut sigma) = reached(ws, full, keep_going)?;
    let weights = left_out(&w, &kept, full, keep_going)?;
    sigma.resize(full, 0.0);
    Ok(Losses { sigma, outputs_of_plain: tails(&outputs), weights_of_whitened: tails(&weights), scaled })
}

/// The left singular vectors whose singular values tell them apart, and as many values as W has.
fn reached(a: Mat<f64>, full: usize, keep_going: KeepGoing<'_>) -> Result<(Mat<f64>, Vec<f64>), SvdError> {
    let known = super::known(&a);
    let mut found = decomposed(a, full, keep_going)?;
    let floor = found.sigma.first().map_or(0.0, |s| s * known);
    let count = found.sigma.iter().take(full).filter(|s| **s > floor && **s > 0.0).count();
    found.sigma.resize(full, 0.0);
    Ok((found.vectors.subcols(0, count).to_owned(), found.sigma))
}

/// ‖uᵀW‖² of each direction. Then come the directions that no input reaches, those first that hold most of W: see
/// [`super::leading`].
fn left_out(w: &Mat<f64>, kept: &Mat<f64>, full: usize, keep_going: KeepGoing<'_>) -> Result<Vec<f64>, SvdError> {
    let mut weights = energies(kept, w, keep_going)?;
    if kept.ncols() < full {
        let mut rest = w.clone();
        let inside = kept.transpose() * &rest;
        matmul(rest.as_mut(), Accum::Add, kept.as_ref(), inside.as_ref(), -1.0, Par::Seq);
        let more = decomposed(rest, 0, keep_going)?.sigma;
        weights.extend(more.iter().take(full - kept.ncols()).map(|s| s * s));
    }
    weights.resize(full, 0.0);
    Ok(weights)
}

/// Peak bytes of [`losses`] and of the root that it is given.
pub fn workspace(rows: usize, cols: usize) -> u64 {
    let (small, cols) = (rows.min(cols) as u64, cols as u64);
    // W and WS, a copy of one on its way to its decomposition, what the vectors make of it; Gram matrix, its vectors and those
    // kept; the root with its own copy; of a tall matrix the rows at hand.
    let tall = if rows as u64 > cols { 4 * cols * cols.max(TOGETHER as u64) } else { 0 };
    8 * (4 * small * cols + 4 * small * small + 2 * cols * cols + tall)
}

/// W in `f64`; of a tall one the R of W = QR, from stretches of rows.
fn square(w: ArrayView2<'_, f32>, keep_going: KeepGoing<'_>) -> Result<Mat<f64>, SvdError> {
    let (m, n) = w.dim();
    if !w.iter().all(|x| x.is_finite()) {
        return Err(SvdError::NotFinite);
    }
    if m <= n {
        return Ok(Mat::from_fn(m, n, |i, j| f64::from(w[(i, j)])));
    }
    let mut top = Mat::<f64>::zeros(0, n);
    let together = n.max(TOGETHER);
    for from in (0..m).step_by(together) {
        check(keep_going)?;
        let (held, count) = (top.nrows(), together.min(m - from));
        let at = |i: usize, j: usize| if i < held { top[(i, j)] } else { f64::from(w[(from + i - held, j)]) };
        top = Mat::from_fn(held + count, n, at).qr().thin_R().to_owned();
    }
    Ok(top)
}

fn times(w: &Mat<f64>, root: &Root, keep_going: KeepGoing<'_>) -> Result<Mat<f64>, SvdError> {
    check(keep_going)?;
    match root {
        Root::Diagonal(s) => Ok(Mat::from_fn(w.nrows(), s.len(), |i, j| w[(i, j)] * s[j])),
        Root::Full(s) => {
            let mut out = Mat::<f64>::zeros(w.nrows(), s.ncols());
            for from in (0..w.nrows()).step_by(TOGETHER) {
                check(keep_going)?;
                let count = TOGETHER.min(w.nrows() - from);
                let into = out.as_mut().subrows_mut(from, count);
                matmul(into, Accum::Replace, w.as_ref().subrows(from, count), s.as_ref(), 1.0, Par::Seq);
            }
            Ok(out)
        }
    }
}

/// ‖u_iᵀA‖² of each column u_i.
fn energies(vectors: &Mat<f64>, a: &Mat<f64>, keep_going: KeepGoing<'_>) -> Result<Vec<f64>, SvdError> {
    let mut out = vec![0.0; vectors.ncols()];
    for from in (0..a.ncols()).step_by(TOGETHER) {
        check(keep_going)?;
        let part = vectors.transpose() * a.as_ref().subcols(from, TOGETHER.min(a.ncols() - from));
        for (i, sum) in out.iter_mut().enumerate() {
            *sum += (0..part.ncols()).map(|j| part[(i, j)] * part[(i, j)]).sum::<f64>();
        }
    }
    Ok(out)
}

/// Sums from each place to the end, the last 0.
fn tails(of: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; of.len() + 1];
    for (i, x) in of.iter().enumerate().rev() {
        out[i] = out[i + 1] + x;
    }
    out
}
