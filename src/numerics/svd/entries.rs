//! Where the entries of a matrix come from: a stretch of a row at a time, so that nobody has to hold all of them.

use crate::numerics::isa::{Isa, Kernel};
use crate::numerics::svd::SvdError;
use crate::numerics::svd::real::Real;
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use faer::Mat;
use ndarray::{ArrayView2, s};
use std::ops::Range;

/// Rows and columns copied together.
const TILE: usize = 64;

/// A matrix of `f32` that is read piece by piece.
pub trait Entries: Sync {
    /// `(rows, columns)`.
    fn dim(&self) -> (usize, usize);
    /// Writes entries of a row, the columns from `from` on, as many as `out` holds.
    fn part(&self, row: usize, from: usize, out: &mut [f32]);
}

impl Entries for ArrayView2<'_, f32> {
    fn dim(&self) -> (usize, usize) {
        ArrayView2::dim(self)
    }
    fn part(&self, row: usize, from: usize, out: &mut [f32]) {
        let some = self.slice(s![row, from..from + out.len()]);
        match some.as_slice() {
            Some(some) => out.copy_from_slice(some),
            None => out.iter_mut().zip(some).for_each(|(o, w)| *o = *w),
        }
    }
}

/// The largest magnitude, after checking that all are finite; asks between stretches of rows.
pub fn largest(a: &dyn Entries, keep_going: KeepGoing<'_>) -> Result<f32, SvdError> {
    let (rows, cols) = a.dim();
    let mut buffer = vec![0f32; cols];
    let mut largest = 0;
    let together = (1 << 20) / cols.max(1) + 1;
    for row in 0..rows {
        if row.is_multiple_of(together) {
            check(keep_going)?;
        }
        a.part(row, 0, &mut buffer);
        largest = Isa::Best.run(Largest(&buffer)).max(largest);
    }
    check(keep_going)?;
    let largest = f32::from_bits(largest);
    if largest.is_finite() { Ok(largest) } else { Err(SvdError::NotFinite) }
}

/// The largest magnitude's bits: without the sign they are in the order of the numbers, infinity and NaN last.
struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = u32;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> u32 {
        self.0.iter().fold(0, |top, w| top.max(w.abs().to_bits()))
    }
}

/// Rows of a matrix (columns, where `turned`), column by column in memory, times `scale`, in the upper left of a zero
/// matrix of this size.
pub fn copy<T: Real>(
    a: &dyn Entries,
    turned: bool,
    range: Range<usize>,
    (rows, cols): (usize, usize),
    scale: f64,
    keep_going: KeepGoing<'_>,
) -> Result<Mat<T>, Stopped> {
    let mut out = Mat::<T>::zeros(rows, cols);
    let times = |w: f32| T::narrow(f64::from(w) * scale);
    let (m, n) = a.dim();
    if turned {
        let mut buffer = vec![0f32; range.len()];
        for j in 0..m {
            if j.is_multiple_of(TILE) {
                check(keep_going)?;
            }
            a.part(j, range.start, &mut buffer);
            out.col_as_slice_mut(j).iter_mut().zip(&buffer).for_each(|(x, w)| *x = times(*w));
        }
        return Ok(out);
    }
    // In tiles: a column would touch a new page for every entry.
    let mut buffer = vec![0f32; TILE * n];
    for at in (0..range.len()).step_by(TILE) {
        check(keep_going)?;
        let count = TILE.min(range.len() - at);
        for (i, row) in buffer.chunks_exact_mut(n.max(1)).take(count).enumerate() {
            a.part(range.start + at + i, 0, row);
        }
        for from in (0..n).step_by(16) {
            for j in from..(from + 16).min(n) {
                let column = &mut out.col_as_slice_mut(j)[at..at + count];
                for (i, x) in column.iter_mut().enumerate() {
                    *x = times(buffer[i * n + j]);
                }
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn a_copy_is_the_same_in_either_order() {
        let a = Array2::from_shape_fn((130, 75), |(i, j)| (i * 100 + j) as f32);
        for turned in [false, true] {
            let view = if turned { a.t() } else { a.view() };
            let copied: Mat<f32> = copy(&view, turned, 3..129, (130, 77), 0.5, &|| true).unwrap();
            for i in 0..130 {
                for j in 0..77 {
                    let want = if i < 126 && j < 75 { a[(i + 3, j)] * 0.5 } else { 0.0 };
                    assert_eq!(copied[(i, j)], want);
                }
            }
        }
    }

    #[test]
    fn the_largest_is_found_and_what_is_not_finite_refused() {
        let mut a = Array2::from_shape_fn((40, 30), |(i, j)| i as f32 - j as f32);
        assert_eq!(largest(&a.view(), &|| true), Ok(39.0));
        assert_eq!(largest(&a.view(), &|| false), Err(SvdError::Stopped));
        a[(7, 3)] = f32::NAN;
        assert_eq!(largest(&a.view(), &|| true), Err(SvdError::NotFinite));
    }
}
