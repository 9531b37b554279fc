//! Symmetric to tridiagonal, Q₀ᵀAQ₀ = T, by reflectors of which a block's worth is gathered before the rest of the matrix is
//! updated (Dongarra, Sorensen and Hammarling 1989): between updates a column costs one product of the matrix and a vector,
//! that reads only the lower triangle.

use super::super::isa::{Isa, Kernel};
use super::super::panel::triangle;
use super::super::real::{Real, axpy, dot, reflector};
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use pulp::bytemuck::{try_cast_slice, try_cast_slice_mut};
use pulp::{Arch, Simd, WithSimd};

/// Reflectors gathered before the matrix is updated.
const BLOCK: usize = 32;
/// Rows that a step of the product takes; the order is brought to a multiple of it.
const ROWS: usize = 16;
/// Columns that a step of the product takes.
const COLUMNS: usize = 8;

/// T and the reflectors that lead to it.
pub struct Reduced<T> {
    /// n entries.
    pub diagonal: Vec<f64>,
    /// n − 1 entries.
    pub beside: Vec<f64>,
    /// Column k from row k + 1 on: a reflector's vector, 1 first.
    vectors: Mat<T>,
    taus: Vec<T>,
}

/// Reduces a symmetric matrix, of which the lower triangle counts.
pub fn reduce<T: Real>(of: &Mat<T>, isa: Isa, keep_going: KeepGoing<'_>) -> Result<Reduced<T>, Stopped> {
    let n = of.nrows();
    // Odd, so that columns do not share lines of the cache.
    let order = (n.div_ceil(ROWS) | 1) * ROWS;
    let mut a = Mat::<T>::zeros(order, order);
    for j in 0..n {
        a.col_as_slice_mut(j)[j..n].copy_from_slice(&of.col_as_slice(j)[j..]);
    }
    mirror(&mut a, 0);
    let mut out =
        Reduced { diagonal: vec![0.0; n], beside: vec![0.0; n.saturating_sub(1)], vectors: a, taus: vec![T::ZERO; n] };
    let (mut w, mut x) = (Mat::<T>::zeros(order, BLOCK), Mat::<T>::zeros(order, 1));
    let (mut lefts, mut rights) = (Mat::<T>::zeros(order, 2 * BLOCK), Mat::<T>::zeros(order, 2 * BLOCK));
    for from in (0..n).step_by(BLOCK) {
        let to = n.min(from + BLOCK);
        for k in from..to {
            check(keep_going)?;
            column(Column { out: &mut out, w: &mut w, x: x.col_as_slice_mut(0), from, k }, isa);
        }
        if to == n {
            break;
        }
        // The rest less VWᵀ + WVᵀ = [V W]·[W V]ᵀ.
        let rest = n - to;
        for j in 0..BLOCK {
            let (v, w) = (&out.vectors.col_as_slice(from + j)[to..n], &w.col_as_slice(j)[to..n]);
            lefts.col_as_slice_mut(j)[..rest].copy_from_slice(v);
            lefts.col_as_slice_mut(BLOCK + j)[..rest].copy_from_slice(w);
            rights.col_as_slice_mut(j)[..rest].copy_from_slice(w);
            rights.col_as_slice_mut(BLOCK + j)[..rest].copy_from_slice(v);
        }
        let (whole, lower) = (BlockStructure::Rectangular, BlockStructure::TriangularLower);
        let (l, r) = (lefts.as_ref().subrows(0, rest), rights.as_ref().subrows(0, rest).transpose());
        let into = out.vectors.as_mut().submatrix_mut(to, to, rest, rest);
        triangular::matmul(into, lower, Accum::Add, l, whole, r, whole, -T::ONE, Par::Seq);
        mirror(&mut out.vectors, to / ROWS * ROWS);
    }
    Ok(out)
}

/// Fills the upper triangles of the blocks on the diagonal from `from` on: the product takes these blocks whole.
fn mirror<T: Real>(a: &mut Mat<T>, from: usize) {
    for at in (from..a.nrows()).step_by(ROWS) {
        for j in at..at + ROWS {
            for i in at..j {
                a[(i, j)] = a[(j, i)];
            }
        }
    }
}

/// What a column's reflector is made with.
struct Column<'a, T> {
    out: &'a mut Reduced<T>,
    w: &'a mut Mat<T>,
    /// The reflector, zeros before its first row: what lies there is no longer the matrix.
    x: &'a mut [T],
    from: usize,
    k: usize,
}

/// Brings column `k` up to date and makes its reflector; then the product; then its column of W from that.
fn column<T: Real>(mut with: Column<'_, T>, isa: Isa) {
    isa.run(Reflect(&mut with));
    let Column { out, w, x, from, k } = &mut with;
    let into = w.col_as_slice_mut(*k - *from);
    into.fill(T::ZERO);
    if *k + 1 < out.diagonal.len() {
        Product { a: out.vectors.as_ref(), x, y: into, from: (*k + 1) / ROWS * ROWS, back: *k % 2 == 1 }.run(isa);
        isa.run(Finish(&mut with));
    }
}

struct Reflect<'a, 'b, T>(&'a mut Column<'b, T>);

impl<T: Real> Kernel for Reflect<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Column { out, w, x, from, k } = self.0;
        let (k, n) = (*k, out.diagonal.len());
        x[..k].fill(T::ZERO);
        let column = &mut x[k..n];
        column.copy_from_slice(&out.vectors.col_as_slice(k)[k..n]);
        for i in *from..k {
            let (v, w) = (&out.vectors.col_as_slice(i)[k..n], &w.col_as_slice(i - *from)[k..n]);
            axpy::<T, FMA>(-w[0], v, column);
            axpy::<T, FMA>(-v[0], w, column);
        }
        out.diagonal[k] = column[0].wide();
        column[0] = T::ZERO;
        if k + 1 == n {
            return;
        }
        out.taus[k] = reflector::<T, FMA>(&mut column[1..]);
        out.beside[k] = column[1].wide();
        column[1] = T::ONE;
        out.vectors.col_as_slice_mut(k)[k + 1..n].copy_from_slice(&column[1..]);
    }
}

struct Finish<'a, 'b, T>(&'a mut Column<'b, T>);

impl<T: Real> Kernel for Finish<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Column { out, w, x, from, k } = self.0;
        let (from, k, n) = (*from, *k, out.diagonal.len());
        let rows = k + 1..n;
        let x = &x[rows.clone()];
        let mut y = w.col_as_slice(k - from)[rows.clone()].to_vec();
        for i in from..k {
            let (v, w) = (&out.vectors.col_as_slice(i)[rows.clone()], &w.col_as_slice(i - from)[rows.clone()]);
            let (along_v, along_w) = (dot::<T, FMA>(v, x), dot::<T, FMA>(w, x));
            axpy::<T, FMA>(-along_w, v, &mut y);
            axpy::<T, FMA>(-along_v, w, &mut y);
        }
        let tau = out.taus[k];
        y.iter_mut().for_each(|y| *y *= tau);
        let half = T::narrow(0.5) * tau * dot::<T, FMA>(&y, x);
        axpy::<T, FMA>(-half, x, &mut y);
        w.col_as_slice_mut(k - from)[rows].copy_from_slice(&y);
    }
}

/// y += Ax for a symmetric matrix, from row and column `from` on, a multiple of [`ROWS`]; blocks on the diagonal are whole, of
/// the others those below it are read. Vectors that are not aligned go entry by entry.
struct Product<'a, T> {
    a: MatRef<'a, T>,
    x: &'a [T],
    y: &'a mut [T],
    from: usize,
    /// The last columns first.
    back: bool,
}

/// A column in vectors.
fn vectors<T: Real, S: Simd>(of: &[T]) -> Option<&[T::SimdVec<S>]> {
    try_cast_slice(of).ok()
}

impl<T: Real> Product<'_, T> {
    fn run(mut self, isa: Isa) {
        if isa.arch().dispatch(&mut self).is_none() {
            // Without vectors there is nothing to align.
            let _ = Arch::Scalar.dispatch(&mut self);
        }
    }
}

impl<T: Real> WithSimd for &mut Product<'_, T> {
    type Output = Option<()>;
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Option<()> {
        let Product { a, x, y, from, back } = self;
        let (lanes, order) = (size_of::<T::SimdVec<S>>() / size_of::<T>(), y.len());
        let context = T::simd_ctx(simd);
        let (within, xs) = (ROWS / lanes, vectors::<T, S>(x)?);
        vectors::<T, S>(y)?;
        let pieces = (order - *from) / COLUMNS;
        for piece in 0..pieces {
            // There and back in turn: what was read last is still in the cache.
            let first = *from + COLUMNS * if *back { pieces - 1 - piece } else { piece };
            let mut columns = [xs; COLUMNS];
            let mut factors = [T::simd_splat(&context, &T::ZERO); COLUMNS];
            for j in 0..COLUMNS {
                columns[j] = vectors::<T, S>(a.col(first + j).try_as_col_major()?.as_slice())?;
                factors[j] = T::simd_splat(&context, &x[first + j]);
            }
            let ys: &mut [T::SimdVec<S>] = try_cast_slice_mut(y).ok()?;
            // The block on the diagonal, then what lies below it.
            let block = first / ROWS * within;
            for i in block..block + within {
                let mut y = ys[i];
                for j in 0..COLUMNS {
                    y = T::simd_mul_add(&context, columns[j][i], factors[j], y);
                }
                ys[i] = y;
            }
            let below = block + within;
            let columns = columns.map(|c| &c[below..]);
            let (xs, ys) = (&xs[below..], &mut ys[below..]);
            let rows = columns.iter().map(|c| c.len()).fold(xs.len().min(ys.len()), usize::min);
            let mut sums = [T::simd_splat(&context, &T::ZERO); COLUMNS];
            for i in 0..rows {
                let (x, mut y) = (xs[i], ys[i]);
                for j in 0..COLUMNS {
                    y = T::simd_mul_add(&context, columns[j][i], factors[j], y);
                    sums[j] = T::simd_mul_add(&context, columns[j][i], x, sums[j]);
                }
                ys[i] = y;
            }
            for j in 0..COLUMNS {
                y[first + j] += T::simd_reduce_sum(&context, sums[j]);
            }
        }
        Some(())
    }
}

impl<T: Real> Reduced<T> {
    /// X ← Q₀X for X of n rows.
    pub fn back(&self, mut x: MatMut<'_, T>) {
        let (n, count) = (self.diagonal.len(), x.ncols());
        let (mut v, mut wide) = (Mat::<T>::zeros(n, BLOCK), Mat::<f64>::zeros(n, BLOCK));
        let (mut inside, mut turned) = (Mat::<T>::zeros(BLOCK, count), Mat::<T>::zeros(BLOCK, count));
        let (mut gram, mut t) = (Mat::<f64>::zeros(BLOCK, BLOCK), Mat::<T>::zeros(BLOCK, BLOCK));
        for from in (0..n.saturating_sub(1)).step_by(BLOCK).rev() {
            let number = BLOCK.min(n - 1 - from);
            let rows = n - 1 - from;
            for j in 0..number {
                let (into, wide) = (&mut v.col_as_slice_mut(j)[..rows], &mut wide.col_as_slice_mut(j)[..rows]);
                into[..j].fill(T::ZERO);
                into[j..].copy_from_slice(&self.vectors.col_as_slice(from + j)[from + 1 + j..n]);
                wide.iter_mut().zip(into).for_each(|(x, v)| *x = v.wide());
            }
            let (v, wide) = (v.as_ref().submatrix(0, 0, rows, number), wide.as_ref().submatrix(0, 0, rows, number));
            let mut gram = gram.as_mut().submatrix_mut(0, 0, number, number);
            matmul(gram.as_mut(), Accum::Replace, wide.transpose(), wide, 1.0, Par::Seq);
            let mut t = t.as_mut().submatrix_mut(0, 0, number, number);
            triangle(t.as_mut(), gram.as_ref(), &self.taus[from..from + number]);
            let (mut inside, mut turned) =
                (inside.as_mut().subrows_mut(0, number), turned.as_mut().subrows_mut(0, number));
            let mut x = x.as_mut().subrows_mut(from + 1, rows);
            matmul(inside.as_mut(), Accum::Replace, v.transpose(), x.as_ref(), T::ONE, Par::Seq);
            matmul(turned.as_mut(), Accum::Replace, t.as_ref(), inside.as_ref(), T::ONE, Par::Seq);
            matmul(x.as_mut(), Accum::Add, v, turned.as_ref(), -T::ONE, Par::Seq);
        }
    }
}
