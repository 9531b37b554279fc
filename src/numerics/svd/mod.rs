//! All singular values of a matrix, exact to a millionth of the largest; and the best approximation of a rank.
//!
//! Two stages: a tall matrix first becomes its square factor R, a square one a band (matrix products throughout), the
//! band a bidiagonal (bulge chasing), whose values bisection finds. In `f32`, and again in `f64` where the values turn
//! out to lie so close together that `f32` cannot resolve them (`trust.rs`); compiled for several instruction sets and
//! chosen at run time, and interruptible between panels. Small matrices go through faer in `f64` directly.

#![allow(
    clippy::inline_always,
    clippy::needless_range_loop,
    reason = "kernels are compiled for an instruction set only where they are inlined; indices are lanes"
)]

mod band;
mod bisect;
mod chase;
mod eigen;
mod entries;
mod leading;
mod mix;
mod panel;
mod product;
mod real;
mod tall;
mod trust;

pub(crate) use eigen::leading as leading_eigenvectors;
pub use entries::Entries;
pub use leading::{approximation_workspace, factors, truncated};
pub(crate) use panel::Panel;

use super::detach::detached;
use super::isa::{self, Isa};
use super::{KeepGoing, Stopped};
use faer::{Mat, Par};
use real::Real;
use std::ops::Range;
use tall::Work;
use trust::PROMISED;

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

impl From<Stopped> for SvdError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Up to this many values the plain decomposition in `f64` takes some ten milliseconds and is left as it is.
const DIRECT: usize = 192;

/// A tall matrix goes through its factor R first when it has so many times more rows than columns.
const TALL: f64 = 1.1;

/// How far a value of [`singular_values`] may be off, relative to the largest.
pub fn accuracy(rows: usize, cols: usize) -> f64 {
    if rows.min(cols) <= DIRECT { accuracy_f64(rows, cols) } else { PROMISED }
}

/// The same of [`singular_values_f64`].
pub fn accuracy_f64(rows: usize, cols: usize) -> f64 {
    rows.max(cols) as f64 * f64::EPSILON
}

/// Bytes that the decomposition of a matrix takes beside the entries.
pub fn workspace(rows: usize, cols: usize, threads: usize) -> u64 {
    let (m, n) = (rows.max(cols) as u64, rows.min(cols) as u64);
    if n <= DIRECT as u64 {
        // A copy, and faer's own of it.
        return m * n * 16;
    }
    // The square matrix or its factor, the band with its bulges, panels; of a tall matrix, each thread's first stretch
    // of rows, twice as many as columns at most, and its factor. In `f64`, which `f32` may have to be followed by.
    let groups = (threads as u64).min(m / n).max(1);
    let stretches = if m as f64 <= TALL * n as f64 { 0 } else { groups * n * (m / groups).min(2 * n) + groups * n * n };
    8 * (n * n + stretches + 500 * n + 256 * m.min(3 * n) * groups)
}

/// All `min(m, n)` singular values, descending, never negative; off by at most 1e-6 of the largest, as the tests check.
pub fn singular_values(a: impl Entries, keep_going: KeepGoing<'_>, threads: usize) -> Result<Vec<f64>, SvdError> {
    let (m, n) = a.dim();
    if m.min(n) <= DIRECT {
        return direct(a, keep_going);
    }
    two_stage(a, keep_going, threads, Isa::Best)
}

/// All singular values in `f64` throughout, descending; see [`accuracy_f64`].
pub fn singular_values_f64(a: impl Entries, keep_going: KeepGoing<'_>, threads: usize) -> Result<Vec<f64>, SvdError> {
    let (m, n) = a.dim();
    if m.min(n) <= DIRECT {
        return direct(a, keep_going);
    }
    reduced::<f64>(&a, keep_going, threads, Isa::Best)
}

/// All singular values by faer's decomposition in `f64`, in one thread: for small matrices, and to check the others.
pub fn direct(a: impl Entries, keep_going: KeepGoing<'_>) -> Result<Vec<f64>, SvdError> {
    entries::largest(&a, keep_going)?;
    let (m, n) = a.dim();
    let mut full = Mat::<f64>::zeros(n, m);
    let mut row = vec![0f32; n];
    for i in 0..m {
        a.part(i, 0, &mut row);
        full.col_as_slice_mut(i).iter_mut().zip(&row).for_each(|(x, w)| *x = f64::from(*w));
    }
    let work = m.min(n).pow(2) * m.max(n);
    let found = detached(work, keep_going, move || full.singular_values()).ok_or(SvdError::Stopped)?;
    let mut sigma = found.map_err(|_| SvdError::NoConvergence)?;
    sigma.sort_by(|a, b| b.total_cmp(a));
    Ok(sigma)
}

/// All singular values through a band and a bidiagonal, compiled for `isa`: in `f32`, and in `f64` where that does not
/// suffice.
pub fn two_stage(a: impl Entries, keep_going: KeepGoing<'_>, threads: usize, isa: Isa) -> Result<Vec<f64>, SvdError> {
    let (m, n) = a.dim();
    if trust::possible(m.max(n), m.min(n)) {
        let sigma = reduced::<f32>(&a, keep_going, threads, isa)?;
        if trust::trusted(&sigma, m.max(n)) {
            return Ok(sigma);
        }
    }
    reduced::<f64>(&a, keep_going, threads, isa)
}

/// All singular values through a band and a bidiagonal in one precision throughout.
fn reduced<T: Real>(
    a: &impl Entries,
    keep_going: KeepGoing<'_>,
    threads: usize,
    isa: Isa,
) -> Result<Vec<f64>, SvdError> {
    let largest = entries::largest(a, keep_going)?;
    let par = if threads > 1 { Par::rayon(threads) } else { Par::Seq };
    // Tall; and a square one so that its columns are what lies together.
    let (rows, cols) = a.dim();
    let (m, n, turned) = if rows > cols { (rows, cols, false) } else { (cols, rows, true) };
    if largest == 0.0 || n == 0 {
        return Ok(vec![0.0; n]);
    }
    // By a power of two, so that squares neither overflow nor vanish and no digit is lost.
    let exponent = f64::from(largest).log2().floor();
    let scale = 2f64.powf(-exponent);
    let b = width(n);
    let order = n.next_multiple_of(b);
    let square = if m as f64 <= TALL * n as f64 && m <= order {
        let mut square = entries::copy::<T>(a, turned, 0..m, (order, order), scale, keep_going)?;
        mix::mix(square.as_mut().submatrix_mut(0, 0, m, n), isa);
        square
    } else {
        let rows = |range: Range<usize>| {
            let size = (range.len(), n);
            let mut rows = entries::copy::<T>(a, turned, range, size, scale, keep_going)?;
            mix::mix(rows.as_mut(), isa);
            Ok(rows)
        };
        let r = tall::triangle(0..m, n, &rows, Work { isa, threads, keep_going })?;
        let inside = |i: usize, j: usize| j < n && i < n;
        if order == n { r } else { Mat::from_fn(order, order, |i, j| if inside(i, j) { r[(i, j)] } else { T::ZERO }) }
    };
    let band = band::reduce(square, b, isa, par, keep_going)?;
    // Sweeps side by side hand what they change from core to core: of less than this that takes longer than one by one.
    let chasing = if n < 4096 { 1 } else { threads };
    let (diagonal, above) = chase::bidiagonal(band, isa, chasing, keep_going)?;
    let mut sigma = bisect::values(&diagonal, &above, isa, threads > 1, keep_going)?;
    // Padding added zeros at the end.
    sigma.truncate(n);
    sigma.iter_mut().for_each(|s| *s /= scale);
    Ok(sigma)
}

/// Width of the band: wide enough for fast matrix products, narrow enough for the chase.
fn width(n: usize) -> usize {
    if n < 2048 { 32 } else { 64 }
}

#[cfg(test)]
mod tests;
