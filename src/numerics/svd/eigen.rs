//! The leading eigenvectors of a symmetric matrix, without the others.
//!
//! The matrix is brought to a tridiagonal T (`reduce.rs`); T's leading eigenvalues come from bisection in `f64`, their
//! vectors from twisted factorisations of T − λI, a few operations an entry; only these vectors are carried back. Of a quarter
//! of the vectors of 1024 this takes a quarter of the time of all of them. Where eigenvalues lie so close together
//! that such vectors are not independent, T is decomposed as a whole.

mod reduce;
mod tridiagonal;

use super::isa::Isa;
use super::real::Real;
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use faer::Mat;
use reduce::reduce;
use tridiagonal::Tridiagonal;

/// The largest eigenvalues of a symmetric matrix, descending, and the vectors of the first of them.
pub struct Leading<T> {
    /// Off by some units of roundoff of the largest.
    pub values: Vec<f64>,
    /// n × count; orthonormal to 1e-10 in `f64`, 1e-5 in `f32`.
    pub vectors: Mat<T>,
}

/// The `values` largest eigenvalues of a symmetric matrix, of which the lower triangle counts, and the vectors of the first
/// `count` of them where `wanted` says so, given the eigenvalues. `None` where it does not, or where they do not converge.
pub fn leading<T: Real>(
    of: &Mat<T>,
    (values, count): (usize, usize),
    wanted: impl FnOnce(&[f64]) -> bool,
    keep_going: KeepGoing<'_>,
) -> Result<Option<Leading<T>>, Stopped> {
    let n = of.nrows();
    let reduced = reduce(of, Isa::Best, keep_going)?;
    let Some(t) = Tridiagonal::new::<T>(reduced.diagonal.clone(), reduced.beside.clone(), Isa::Best) else {
        return Ok(None);
    };
    let mut found = t.values(n - values.min(n)..n, keep_going)?;
    // Counts of values that are equal up to rounding need not be in order.
    found.sort_unstable_by(|a, b| b.total_cmp(a));
    if !wanted(&found) {
        return Ok(None);
    }
    let inner = match t.vectors(&found[..count]) {
        Some(inner) => inner,
        None => match t.decomposed(count, keep_going)? {
            Some(inner) => inner,
            None => return Ok(None),
        },
    };
    check(keep_going)?;
    let mut vectors = Mat::<T>::zeros(n, count);
    for j in 0..count {
        let from = inner.col_as_slice(j);
        vectors.col_as_slice_mut(j).iter_mut().zip(from).for_each(|(x, y)| *x = T::narrow(*y));
    }
    reduced.back(vectors.as_mut());
    Ok(Some(Leading { values: found, vectors }))
}

#[cfg(test)]
mod tests;
