//! The entries that `obs` keeps, and of those the best values: each row by least squares over the entries that it keeps, min
//! (w − ŵ)G(w − ŵ)ᵀ. Going through the columns in order makes up only with what comes later; this makes up with all.

use super::{Act, Criterion, Way, obs};
use crate::model::{Layer, Matrix};
use crate::numerics::{KeepGoing, interrupt::check};
use crate::probe::ProbeError;
use crate::treat::error::{NO_GRAM, wide_gram};
use crate::treat::{Pattern, Prune};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

/// See the module.
pub static WAY: Way = Way {
    criterion: Criterion::ObsRefit,
    name: "obs-refit",
    words: "the choice of obs, then every row refitted to the outputs by least squares; needs activations",
    short: "what others make up for, refitted",
    weighs: true,
    applies: |layer, pattern| (obs::WAY.applies)(layer, pattern),
    pattern: Pattern::PerRow,
    act: Act::Rewrite(rewrite),
};

/// Rows refitted at a time; each step is one product with G.
const TOGETHER: usize = 256;
/// Steps at most.
const STEPS: usize = 30;
/// Share of the error that a step must take away for another to follow.
const GAIN: f64 = 1e-4;

fn rewrite(layer: &Layer, matrix: &mut Matrix, how: Prune, keep_going: KeepGoing<'_>) -> Result<(), ProbeError> {
    let before = matrix.clone();
    obs::rewrite(layer, matrix, how, keep_going)?;
    let gram = layer.inputs.as_ref().map(|i| wide_gram(i)).transpose()?.flatten();
    let mut gram = gram.ok_or_else(|| ProbeError::Inputs(NO_GRAM.to_owned()))?;
    damp(&mut gram, layer.inputs.as_ref().map_or(0, |i| i.tokens));
    refit(&before, matrix, &gram, keep_going)
}

/// Damps the Gram matrix: what few tokens say of single directions is noise, which least squares would follow to any size. With
/// as many tokens as inputs or fewer the share of the mean that `obs` takes; with more tokens so much less, as the noise is.
fn damp(gram: &mut Mat<f64>, tokens: u64) {
    let n = gram.nrows();
    let mean = (0..n).map(|j| gram[(j, j)]).sum::<f64>() / n.max(1) as f64;
    let share = (n as f64 / tokens.max(1) as f64).min(1.0);
    for j in 0..n {
        gram[(j, j)] += obs::DAMPING * share * mean;
    }
}

/// Moves the entries of `fitted` that are not zero to where each row of `target` loses least, by conjugate gradients on these
/// entries, preconditioned by the diagonal. A row that comes out no better stays as it was.
pub(super) fn refit(
    target: &Matrix,
    fitted: &mut Matrix,
    gram: &Mat<f64>,
    keep_going: KeepGoing<'_>,
) -> Result<(), ProbeError> {
    let n = target.cols;
    for (target, fitted) in target.data.chunks(TOGETHER * n).zip(fitted.data.chunks_mut(TOGETHER * n)) {
        check(keep_going)?;
        let before = fitted.to_vec();
        let first = stretch(target, fitted, gram, keep_going)?;
        let last = energies(target, fitted, gram);
        let rows = fitted.chunks_mut(n).zip(before.chunks(n)).zip(first.iter().zip(&last));
        rows.filter(|(_, (first, last))| last > first).for_each(|((row, before), _)| row.copy_from_slice(before));
    }
    Ok(())
}

/// W − Ŵ, a column for each row.
fn difference(target: &[f32], fitted: &[f32], n: usize) -> Mat<f64> {
    let at = |i: usize, j: usize| f64::from(target[i * n + j]) - f64::from(fitted[i * n + j]);
    Mat::from_fn(n, target.len() / n, |j, i| at(i, j))
}

fn times(gram: &Mat<f64>, by: &Mat<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(gram.nrows(), by.ncols());
    matmul(out.as_mut(), Accum::Replace, gram.as_ref(), by.as_ref(), 1.0, Par::Seq);
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// (w − ŵ)G(w − ŵ)ᵀ of each row.
fn energies(target: &[f32], fitted: &[f32], gram: &Mat<f64>) -> Vec<f64> {
    let delta = difference(target, fitted, gram.nrows());
    let image = times(gram, &delta);
    (0..delta.ncols()).map(|i| dot(delta.col_as_slice(i), image.col_as_slice(i))).collect()
}

/// Refits some rows; what each lost before.
fn stretch(
    target: &[f32],
    fitted: &mut [f32],
    gram: &Mat<f64>,
    keep_going: KeepGoing<'_>,
) -> Result<Vec<f64>, ProbeError> {
    let n = gram.nrows();
    let delta = difference(target, fitted, n);
    let count = delta.ncols();
    let kept: Vec<bool> = fitted.iter().map(|w| *w != 0.0).collect();
    let mut x = Mat::<f64>::from_fn(n, count, |j, i| f64::from(fitted[i * n + j]));
    let mut r = times(gram, &delta);
    let first: Vec<f64> = (0..count).map(|i| dot(delta.col_as_slice(i), r.col_as_slice(i))).collect();
    drop(delta);
    let inverse: Vec<f64> = (0..n).map(|j| if gram[(j, j)] > 0.0 { 1.0 / gram[(j, j)] } else { 0.0 }).collect();
    let preconditioned =
        |r: &Mat<f64>, i: usize| -> Vec<f64> { r.col_as_slice(i).iter().zip(&inverse).map(|(r, d)| r * d).collect() };
    let mut p = Mat::<f64>::zeros(n, count);
    let mut rz = vec![0.0; count];
    for i in 0..count {
        let mask = &kept[i * n..][..n];
        r.col_as_slice_mut(i).iter_mut().zip(mask).for_each(|(r, kept)| *r = if *kept { *r } else { 0.0 });
        let z = preconditioned(&r, i);
        rz[i] = dot(r.col_as_slice(i), &z);
        p.col_as_slice_mut(i).copy_from_slice(&z);
    }
    let mut left: f64 = first.iter().sum();
    for _ in 0..STEPS {
        check(keep_going)?;
        let q = times(gram, &p);
        let mut gained = 0.0;
        for i in 0..count {
            let curved = dot(p.col_as_slice(i), q.col_as_slice(i));
            if rz[i] <= 0.0 || curved <= 0.0 {
                continue;
            }
            let step = rz[i] / curved;
            gained += step * rz[i];
            x.col_as_slice_mut(i).iter_mut().zip(p.col_as_slice(i)).for_each(|(x, p)| *x += step * p);
            let mask = &kept[i * n..][..n];
            for ((r, q), kept) in r.col_as_slice_mut(i).iter_mut().zip(q.col_as_slice(i)).zip(mask) {
                *r -= if *kept { step * q } else { 0.0 };
            }
            let z = preconditioned(&r, i);
            let next = dot(r.col_as_slice(i), &z);
            let turn = next / rz[i];
            rz[i] = next;
            p.col_as_slice_mut(i).iter_mut().zip(&z).for_each(|(p, z)| *p = z + turn * *p);
        }
        left -= gained;
        if gained <= GAIN * (left + gained) {
            break;
        }
    }
    for (k, (w, kept)) in fitted.iter_mut().zip(&kept).enumerate() {
        *w = if *kept { x[(k % n, k / n)] as f32 } else { 0.0 };
    }
    Ok(first)
}
