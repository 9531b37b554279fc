//! The leading singular vectors from the eigenvectors of the smaller Gram matrix G.
//!
//! Squaring costs no energy that matters: a subspace that is best for G + E holds at most 2r‖E‖ less of G than the best (Ky Fan
//! 1949). In `f64` the rounding E is some 1e-14 of σ₁². In `f32` it is some 1e-7 of σ₁², of which a thousandth of what the
//! rank leaves over may be lost in the worst case; else `f32` is not used. What the vectors do hold is summed up and compared
//! with the eigenvalues.

use super::super::eigen;
use super::super::real::Real;
use super::{Pair, SvdError};
use crate::numerics::{KeepGoing, interrupt::check};
use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, Mat, Par};
use ndarray::ArrayView2;
use std::ops::Range;

/// Entries of the matrix that are taken together.
const STRETCH: usize = 1 << 19;
/// Stretches whose Gram matrices are summed up in `T` before they are added to a sum in `f64`.
const RUN: usize = 16;
/// ‖E‖ in units of roundoff of σ₁².
const ROUNDING: f64 = 8.0;
/// Share of what the rank leaves over that may be lost.
const LOST: f64 = 1e-3;
/// Energy by which what the vectors hold may differ from the eigenvalues in any case, relative to all of it.
const AGREE: f64 = 1e-8;
/// Vectors of the larger side that are taken from the matrix together: a line of the cache.
const LINE: usize = 16;

/// The pair of a rank; `None` where the vectors do not hold what the eigenvalues say, or rounding in `T` could cost too much.
/// `largest` is the largest magnitude.
pub fn squared<T: Real>(
    a: ArrayView2<'_, f32>,
    rank: usize,
    largest: f32,
    keep_going: KeepGoing<'_>,
) -> Result<Option<Pair>, SvdError> {
    let (m, n) = a.dim();
    // Brought near 1 by a power of two: no digit is lost, and no square meets a threshold of the decomposition.
    let scale = 2f64.powf(-f64::from(largest).log2().floor());
    let side = Side { a, scale, tall: m >= n };
    let (large, small) = (m.max(n), m.min(n));
    // No power of two: columns at such distances share lines of the cache.
    let together = ((STRETCH / small).clamp(64, 1024) + LINE).min(large);
    let stretches: Vec<_> = (0..large).step_by(together).map(|from| from..(from + together).min(large)).collect();
    let gram = gram::<T>(&side, &stretches, keep_going)?;
    let total: f64 = (0..small).map(|i| gram[(i, i)].wide()).sum();
    let suffices = |values: &[f64]| {
        let (most, held) = (values[0], values.iter().sum::<f64>());
        !T::COARSE || 2.0 * rank as f64 * ROUNDING * T::ROUNDOFF * most <= LOST * (total - held)
    };
    let Some(found) = eigen::leading(&gram, (rank, rank), suffices, keep_going)? else { return Ok(None) };
    drop(gram);
    let (held, vectors) = (found.values.iter().sum::<f64>(), found.vectors);
    let mut images = Mat::<f32>::zeros(large, rank);
    let mut squares = vec![0f64; rank];
    let mut rows = Mat::<T>::zeros(together, small);
    let mut image = Mat::<T>::zeros(together, rank);
    for range in stretches {
        check(keep_going)?;
        side.load(range.clone(), &mut rows);
        let (rows, into) = (rows.as_ref().subrows(0, range.len()), image.as_mut().subrows_mut(0, range.len()));
        matmul(into, Accum::Replace, rows, vectors.as_ref(), T::ONE, Par::Seq);
        for j in 0..rank {
            let (into, found) = (&mut images.col_as_slice_mut(j)[range.clone()], &image.col_as_slice(j)[..range.len()]);
            squares[j] += found.iter().map(|x| x.wide() * x.wide()).sum::<f64>();
            into.iter_mut().zip(found).for_each(|(y, x)| *y = (x.wide() / scale) as f32);
        }
    }
    if !agree::<T>(held, squares.iter().sum(), total) {
        return Ok(None);
    }
    let sigma = squares.into_iter().map(|s| s.sqrt() / scale).collect();
    let vectors = Mat::from_fn(small, rank, |i, j| vectors[(i, j)].wide() as f32);
    let (left, right) = if side.tall { (images, vectors) } else { (vectors, images) };
    Ok(Some(Pair { left, right, sigma, sigma_left: side.tall, coarse: T::COARSE }))
}

/// A matrix seen from its larger side.
struct Side<'a> {
    a: ArrayView2<'a, f32>,
    scale: f64,
    tall: bool,
}

impl Side<'_> {
    /// Rows `range` of the matrix, turned where it is wide, into the first rows of `into`.
    fn load<T: Real>(&self, range: Range<usize>, into: &mut Mat<T>) {
        let (small, count) = (into.ncols(), range.len());
        let scale = T::narrow(self.scale);
        let scaled = |w: f32| T::narrow(f64::from(w)) * scale;
        if !self.tall {
            for j in 0..small {
                let row = self.a.row(j);
                let column = &mut into.col_as_slice_mut(j)[..count];
                column.iter_mut().zip(row.iter().skip(range.start)).for_each(|(x, w)| *x = scaled(*w));
            }
            return;
        }
        // In squares, so that both sides are read and written by the line.
        let mut square = [[0f32; LINE]; LINE];
        for from in (0..count).step_by(LINE) {
            let some = LINE.min(count - from);
            for first in (0..small).step_by(LINE) {
                let wide = LINE.min(small - first);
                for (i, held) in square.iter_mut().enumerate().take(some) {
                    let row = self.a.row(range.start + from + i);
                    match row.as_slice() {
                        Some(row) => held[..wide].copy_from_slice(&row[first..first + wide]),
                        None => (0..wide).for_each(|j| held[j] = row[first + j]),
                    }
                }
                for j in 0..wide {
                    let column = &mut into.col_as_slice_mut(first + j)[from..from + some];
                    column.iter_mut().zip(&square).for_each(|(x, row)| *x = scaled(row[j]));
                }
            }
        }
    }
}

/// The lower triangle of the Gram matrix.
fn gram<T: Real>(side: &Side<'_>, stretches: &[Range<usize>], keep_going: KeepGoing<'_>) -> Result<Mat<T>, SvdError> {
    let small = side.a.nrows().min(side.a.ncols());
    let (whole, lower) = (triangular::BlockStructure::Rectangular, triangular::BlockStructure::TriangularLower);
    let mut rows = Mat::<T>::zeros(stretches.first().map_or(0, Range::len), small);
    let mut part = Mat::<T>::zeros(small, small);
    let mut sum = None;
    for some in stretches.chunks(RUN) {
        if some.len() == RUN {
            sum.get_or_insert_with(|| Mat::<f64>::zeros(small, small));
        }
        for range in some {
            check(keep_going)?;
            side.load(range.clone(), &mut rows);
            let r = rows.as_ref().subrows(0, range.len());
            triangular::matmul(part.as_mut(), lower, Accum::Add, r.transpose(), whole, r, whole, T::ONE, Par::Seq);
        }
        let Some(sum) = &mut sum else { break };
        for j in 0..small {
            for (s, x) in sum.col_as_slice_mut(j)[j..].iter_mut().zip(&mut part.col_as_slice_mut(j)[j..]) {
                *s += x.wide();
                *x = T::ZERO;
            }
        }
    }
    if let Some(sum) = sum {
        for j in 0..small {
            let from = &sum.col_as_slice(j)[j..];
            part.col_as_slice_mut(j)[j..].iter_mut().zip(from).for_each(|(x, s)| *x = T::narrow(*s));
        }
    }
    Ok(part)
}

/// Whether two energies are the same up to what `T` can tell, measured by all of it. Not for NaN.
pub fn agree<T: Real>(a: f64, b: f64, total: f64) -> bool {
    (a - b).abs() <= AGREE.max(100.0 * T::ROUNDOFF) * total
}
