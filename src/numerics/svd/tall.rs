//! The square factor R of a tall matrix by Householder QR, a stretch of rows at a time (Demmel, Grigori, Hoemmen and
//! Langou 2012): only R and one stretch are held, each thread works on rows of its own, and joining two factors costs
//! no more than it saves.

use super::isa::Isa;
use super::panel::Panel;
use super::product::product;
use super::real::Real;
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use std::ops::Range;

/// Columns of a panel.
const WIDE: usize = 128;

/// What every step needs to know.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// Instruction set.
    pub isa: Isa,
    /// Threads of the current pool.
    pub threads: usize,
    /// Asked between panels and pieces of products.
    pub keep_going: KeepGoing<'a>,
}

impl Work<'_> {
    /// The same in the words of faer.
    pub fn par(&self) -> Par {
        if self.threads > 1 { Par::rayon(self.threads) } else { Par::Seq }
    }
}

/// Gives rows of a matrix, column by column in memory.
pub type Rows<'a, T> = &'a (dyn Fn(Range<usize>) -> Result<Mat<T>, Stopped> + Sync);

/// The factor R, `n × n` and zero below the diagonal, of the rows in a range, at least `n` of them.
pub fn triangle<T: Real>(rows: Range<usize>, n: usize, source: Rows<'_, T>, work: Work<'_>) -> Result<Mat<T>, Stopped> {
    if work.threads > 1 && rows.len() >= 2 * n {
        let middle = rows.start + rows.len() / 2;
        let half = |threads: usize| Work { threads, ..work };
        let (less, more) = (work.threads / 2, work.threads.div_ceil(2));
        let (first, second) = rayon::join(
            || triangle(rows.start..middle, n, source, half(less)),
            || triangle(middle..rows.end, n, source, half(more)),
        );
        let (mut first, second) = (first?, second?);
        join(&mut first, second, true, work)?;
        return Ok(first);
    }
    // The first stretch takes what does not make a whole one.
    let stretch = n.max(WIDE);
    let mut from = rows.start + stretch + (rows.len() - stretch.min(rows.len())) % stretch;
    from = from.min(rows.end);
    let mut r = dense(source(rows.start..from)?, work)?;
    while from < rows.end {
        let to = (from + stretch).min(rows.end);
        join(&mut r, source(from..to)?, false, work)?;
        from = to;
    }
    Ok(r)
}

/// R of a matrix with at least as many rows as columns.
fn dense<T: Real>(mut a: Mat<T>, work: Work<'_>) -> Result<Mat<T>, Stopped> {
    let Work { isa, keep_going, .. } = work;
    let par = work.par();
    let (m, n) = (a.nrows(), a.ncols());
    let wide = WIDE.min(n);
    let mut panel = Panel::new(m, wide);
    let (mut w0, mut w1) = (Mat::<T>::zeros(wide, n), Mat::<T>::zeros(wide, n));
    for r in (0..n).step_by(wide) {
        check(keep_going)?;
        let (rows, cols) = (m - r, wide.min(n - r));
        panel.load(a.as_ref().submatrix(r, r, rows, cols));
        panel.factor(isa, par);
        a.as_mut().submatrix_mut(r, r, cols, cols).copy_from(panel.a().subrows(0, cols));
        let rest = n - r - cols;
        if rest > 0 {
            let mut c = a.as_mut().submatrix_mut(r, r + cols, rows, rest);
            let mut x0 = w0.as_mut().submatrix_mut(0, 0, cols, rest);
            let mut x1 = w1.as_mut().submatrix_mut(0, 0, cols, rest);
            product(x0.as_mut(), Accum::Replace, (panel.v().transpose(), c.as_ref()), T::ONE, par, keep_going)?;
            matmul(x1.as_mut(), Accum::Replace, panel.t().transpose(), x0.as_ref(), T::ONE, par);
            product(c.as_mut(), Accum::Add, (panel.v(), x1.as_ref()), -T::ONE, par, keep_going)?;
        }
    }
    let mut r = Mat::zeros(n, n);
    for j in 0..n {
        r.col_as_slice_mut(j)[..=j].copy_from_slice(&a.col_as_slice(j)[..=j]);
    }
    Ok(r)
}

/// Overwrites R with that of [R; B]. A reflector has a single entry, 1, in R's rows: only B's rows are worked on, and
/// where B is a triangle as well, only those that are not zero.
fn join<T: Real>(r: &mut Mat<T>, mut b: Mat<T>, triangle: bool, work: Work<'_>) -> Result<(), Stopped> {
    let Work { isa, keep_going, .. } = work;
    let par = work.par();
    let n = r.ncols();
    let wide = WIDE.min(n);
    let mut panel = Panel::new(wide + b.nrows(), wide);
    let (mut w0, mut w1) = (Mat::<T>::zeros(wide, n), Mat::<T>::zeros(wide, n));
    for at in (0..n).step_by(wide) {
        check(keep_going)?;
        let cols = wide.min(n - at);
        let rows = if triangle { b.nrows().min(at + cols) } else { b.nrows() };
        panel.load_both(r.as_ref().submatrix(at, at, cols, cols), b.as_ref().submatrix(0, at, rows, cols));
        panel.factor(isa, par);
        let mut corner = r.as_mut().submatrix_mut(at, at, cols, cols);
        for j in 0..cols {
            for i in 0..=j {
                corner[(i, j)] = panel.a()[(i, j)];
            }
        }
        let rest = n - at - cols;
        if rest > 0 {
            let v = panel.v().subrows(cols, rows);
            let mut top = r.as_mut().submatrix_mut(at, at + cols, cols, rest);
            let mut c = b.as_mut().submatrix_mut(0, at + cols, rows, rest);
            let mut x0 = w0.as_mut().submatrix_mut(0, 0, cols, rest);
            let mut x1 = w1.as_mut().submatrix_mut(0, 0, cols, rest);
            x0.copy_from(top.as_ref());
            product(x0.as_mut(), Accum::Add, (v.transpose(), c.as_ref()), T::ONE, par, keep_going)?;
            matmul(x1.as_mut(), Accum::Replace, panel.t().transpose(), x0.as_ref(), T::ONE, par);
            top -= x1.as_ref();
            product(c.as_mut(), Accum::Add, (v, x1.as_ref()), -T::ONE, par, keep_going)?;
        }
    }
    Ok(())
}
