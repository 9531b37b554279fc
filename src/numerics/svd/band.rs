//! Dense to band: alternating QR of a block column and LQ of a block row, everything else in matrix products.

use super::isa::Isa;
use super::panel::Panel;
use super::product::{product, transpose};
use super::real::Real;
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, Par};

/// Distance between neighbours in a row of a [`Band`]. Bulges reach from two bands above the diagonal to one below.
pub const fn stride(b: usize) -> usize {
    3 * b + 16
}

/// Place of entry (0, 0) of a [`Band`].
pub const fn offset(b: usize) -> usize {
    2 * b
}

/// An upper band of `b` superdiagonals with room for the bulges that chasing makes.
///
/// Entry (i, j) lies at `j·stride + i + offset`; column j fills places from j·(stride + 1) on: a dense matrix whose columns overlap, so that a column's entries near
/// the diagonal are contiguous and rows have the constant stride.
pub struct Band<T> {
    /// Order.
    pub n: usize,
    /// Superdiagonals.
    pub b: usize,
    /// The entries.
    pub data: Vec<T>,
}

impl<T: Real> Band<T> {
    /// A zero band.
    pub fn new(n: usize, b: usize) -> Self {
        Self { n, b, data: vec![T::ZERO; (stride(b) + 1) * (n + 4 * b) + 8 * b] }
    }
    /// Where an entry lies.
    #[inline(always)]
    pub fn at(&self, i: usize, j: usize) -> usize {
        j * stride(self.b) + i + offset(self.b)
    }
}

/// Reduces a square matrix, whose order is a multiple of `b`, to an upper band with the same singular values.
///
/// For each block: panel QR, W = TᵀVᵀC of the rest C, LQ of the first block row of C − VW, and one update of the
/// remainder by −[V Z]·[W; V₂ᵀ] with Z = (C − VW)·V₂·T₂.
pub fn reduce<T: Real>(
    mut a: Mat<T>,
    b: usize,
    isa: Isa,
    par: Par,
    keep_going: KeepGoing<'_>,
) -> Result<Band<T>, Stopped> {
    let n = a.nrows();
    let mut band = Band::<T>::new(n, b);
    let (mut left, mut right) = (Panel::new(n, b), Panel::new(n, b));
    let mut w0 = Mat::<T>::zeros(b, n);
    let (mut lefts, mut rights) = (Mat::<T>::zeros(n, 2 * b), Mat::<T>::zeros(2 * b, n));
    let (mut pt, mut z, mut wv) = (Mat::<T>::zeros(n, b), Mat::<T>::zeros(n, b), Mat::<T>::zeros(b, b));
    let mut r = 0;
    while r < n {
        check(keep_going)?;
        let (rows, rest) = (n - r, n - r - b);
        left.load(a.as_ref().submatrix(r, r, rows, b));
        left.factor(isa, par);
        for j in 0..b {
            for i in 0..=j {
                let at = band.at(r + i, r + j);
                band.data[at] = left.a()[(i, j)];
            }
        }
        if rest == 0 {
            break;
        }
        let c = a.as_mut().submatrix_mut(r, r + b, rows, rest);
        let v1 = left.v();
        let mut x0 = w0.as_mut().submatrix_mut(0, 0, b, rest);
        product(x0.as_mut(), Accum::Replace, (v1.transpose(), c.as_ref()), T::ONE, par, keep_going)?;
        let (mut w, mut v2t): (MatMut<'_, T>, MatMut<'_, T>) =
            rights.as_mut().submatrix_mut(0, 0, 2 * b, rest).split_at_row_mut(b);
        matmul(w.as_mut(), Accum::Replace, left.t().transpose(), x0.as_ref(), T::ONE, par);
        let mut p = pt.as_mut().submatrix_mut(0, 0, rest, b);
        transpose(p.as_mut(), c.as_ref().subrows(0, b));
        matmul(p.as_mut(), Accum::Add, w.as_ref().transpose(), v1.subrows(0, b).transpose(), -T::ONE, par);
        right.load(p.as_ref());
        right.factor(isa, par);
        for j in 0..b {
            for i in 0..=j {
                let at = band.at(r + j, r + b + i);
                band.data[at] = right.a()[(i, j)];
            }
        }
        let v2 = right.v();
        let below = v1.subrows(b, rest);
        let d = c.submatrix_mut(b, 0, rest, rest);
        let (mut lv, mut lz) = lefts.as_mut().submatrix_mut(0, 0, rest, 2 * b).split_at_col_mut(b);
        let mut z = z.as_mut().submatrix_mut(0, 0, rest, b);
        product(z.as_mut(), Accum::Replace, (d.as_ref(), v2), T::ONE, par, keep_going)?;
        matmul(wv.as_mut(), Accum::Replace, w.as_ref(), v2, T::ONE, par);
        matmul(z.as_mut(), Accum::Add, below, wv.as_ref(), -T::ONE, par);
        matmul(lz.as_mut(), Accum::Replace, z.as_ref(), right.t(), T::ONE, par);
        lv.copy_from(below);
        transpose(v2t.as_mut(), v2);
        let update = (lefts.as_ref().submatrix(0, 0, rest, 2 * b), rights.as_ref().submatrix(0, 0, 2 * b, rest));
        product(d, Accum::Add, update, -T::ONE, par, keep_going)?;
        r += b;
    }
    Ok(band)
}
