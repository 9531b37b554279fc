//! Householder QR of a narrow panel, with its block reflector H = I − V·T·Vᵀ.

use super::isa::{Isa, Kernel};
use super::real::{Real, axpy, dot, reflector};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};

/// Columns factored one by one before the rest of the panel is updated at once.
const INNER: usize = 16;

/// Entries up to which a panel is one thread's work.
const SMALL: usize = 1 << 20;

/// A panel under factorisation and its block reflector; buffers are kept between panels.
pub struct Panel<T> {
    /// The panel, column by column without gaps; R in its upper triangle afterwards.
    pub a: Vec<T>,
    /// V, of the same size: unit lower trapezoidal.
    pub v: Vec<T>,
    /// T, upper triangular.
    pub t: Mat<T>,
    /// V in `f64`: inner products of its columns rounded to `f32` leave the block reflector some units of roundoff from
    /// orthogonal, by ten where the columns are dominated by few entries or the matrix by few columns.
    wide: Vec<f64>,
    rows: usize,
    cols: usize,
    w0: Mat<T>,
    w1: Mat<T>,
    products: Mat<f64>,
}

impl<T: Real> Panel<T> {
    /// Buffers for panels of at most `rows × cols`.
    pub fn new(rows: usize, cols: usize) -> Self {
        Self {
            a: vec![T::ZERO; rows * cols],
            v: vec![T::ZERO; rows * cols],
            t: Mat::zeros(cols, cols),
            wide: vec![0.0; rows * cols],
            rows: 0,
            cols: 0,
            w0: Mat::zeros(cols, cols),
            w1: Mat::zeros(cols, cols),
            products: Mat::zeros(cols, cols),
        }
    }

    /// Takes a panel in.
    pub fn load(&mut self, source: MatRef<'_, T>) {
        (self.rows, self.cols) = (source.nrows(), source.ncols());
        let rows = self.rows;
        let mut into = MatMut::from_column_major_slice_mut(&mut self.a[..rows * self.cols], rows, self.cols);
        into.copy_from(source);
    }

    /// Takes in a panel of two parts, one below the other, of the first only the upper triangle.
    pub fn load_both(&mut self, triangle: MatRef<'_, T>, below: MatRef<'_, T>) {
        let (top, cols) = (triangle.nrows(), triangle.ncols());
        (self.rows, self.cols) = (top + below.nrows(), cols);
        let rows = self.rows;
        let mut into = MatMut::from_column_major_slice_mut(&mut self.a[..rows * cols], rows, cols);
        for j in 0..cols {
            for i in 0..top {
                into[(i, j)] = if i <= j { triangle[(i, j)] } else { T::ZERO };
            }
        }
        into.subrows_mut(top, below.nrows()).copy_from(below);
    }

    /// The panel; R in its upper triangle after [`Self::factor`].
    pub fn a(&self) -> MatRef<'_, T> {
        MatRef::from_column_major_slice(&self.a[..self.rows * self.cols], self.rows, self.cols)
    }

    /// V.
    pub fn v(&self) -> MatRef<'_, T> {
        MatRef::from_column_major_slice(&self.v[..self.rows * self.cols], self.rows, self.cols)
    }

    /// T.
    pub fn t(&self) -> MatRef<'_, T> {
        self.t.as_ref().submatrix(0, 0, self.cols, self.cols)
    }

    /// Factors what was loaded.
    pub fn factor(&mut self, isa: Isa, par: Par) {
        let (rows, cols) = (self.rows, self.cols);
        // Threads cost more than they give in the products of a small panel.
        let par = if rows * cols > SMALL { par } else { Par::Seq };
        let mut taus = vec![T::ZERO; cols];
        let mut from = 0;
        while from < cols {
            let wide = INNER.min(cols - from);
            isa.run(Columns { a: &mut self.a[..rows * cols], taus: &mut taus, rows, from, wide });
            self.store_v(from, wide);
            self.block(&taus, from, wide, par);
            self.update(from, wide, par);
            self.merge(from, wide, par);
            from += wide;
        }
    }

    /// Copies the reflectors out of the panel.
    fn store_v(&mut self, from: usize, wide: usize) {
        let rows = self.rows;
        for j in from..from + wide {
            let (source, into) = (&self.a[j * rows..(j + 1) * rows], &mut self.v[j * rows..(j + 1) * rows]);
            let head = j.min(rows);
            into[..head].fill(T::ZERO);
            if let Some(unit) = into.get_mut(j) {
                *unit = T::ONE;
                into[j + 1..].copy_from_slice(&source[j + 1..]);
            }
            self.wide[j * rows..(j + 1) * rows].iter_mut().zip(into).for_each(|(x, v)| *x = v.wide());
        }
    }

    /// T of the columns just factored.
    fn block(&mut self, taus: &[T], from: usize, wide: usize, par: Par) {
        let rows = self.rows - from.min(self.rows);
        let v = MatRef::from_column_major_slice(&self.wide[..self.rows * self.cols], self.rows, self.cols);
        let v = v.submatrix(self.rows - rows, from, rows, wide);
        let mut gram = self.products.as_mut().submatrix_mut(0, 0, wide, wide);
        matmul(gram.as_mut(), Accum::Replace, v.transpose(), v, 1.0, par);
        triangle(self.t.as_mut().submatrix_mut(from, from, wide, wide), gram.as_ref(), &taus[from..from + wide]);
    }

    /// Applies the reflectors just made to the columns to their right: C ← C − V·Tᵀ·Vᵀ·C.
    fn update(&mut self, from: usize, wide: usize, par: Par) {
        let rest = self.cols - from - wide;
        let rows = self.rows - from.min(self.rows);
        if rest == 0 || rows == 0 {
            return;
        }
        let v = MatRef::from_column_major_slice(&self.v[..self.rows * self.cols], self.rows, self.cols);
        let v = v.submatrix(from, from, rows, wide);
        let mut a = MatMut::from_column_major_slice_mut(&mut self.a[..self.rows * self.cols], self.rows, self.cols);
        let mut c = a.as_mut().submatrix_mut(from, from + wide, rows, rest);
        let mut w0 = self.w0.as_mut().submatrix_mut(0, 0, wide, rest);
        let mut w1 = self.w1.as_mut().submatrix_mut(0, 0, wide, rest);
        let t = self.t.as_ref().submatrix(from, from, wide, wide);
        matmul(w0.as_mut(), Accum::Replace, v.transpose(), c.as_ref(), T::ONE, par);
        matmul(w1.as_mut(), Accum::Replace, t.transpose(), w0.as_ref(), T::ONE, Par::Seq);
        matmul(c.as_mut(), Accum::Add, v, w1.as_ref(), -T::ONE, par);
    }

    /// Joins the new block to T: T₁₂ = −T₁·(V₁ᵀV₂)·T₂.
    fn merge(&mut self, from: usize, wide: usize, par: Par) {
        if from == 0 {
            return;
        }
        let v = MatRef::from_column_major_slice(&self.wide[..self.rows * self.cols], self.rows, self.cols);
        let mut products = self.products.as_mut().submatrix_mut(0, 0, from, wide);
        let (v1, v2) = (v.subcols(0, from), v.subcols(from, wide));
        matmul(products.as_mut(), Accum::Replace, v1.transpose(), v2, 1.0, par);
        let mut w0 = self.w0.as_mut().submatrix_mut(0, 0, from, wide);
        let mut w1 = self.w1.as_mut().submatrix_mut(0, 0, from, wide);
        for j in 0..wide {
            for i in 0..from {
                w0[(i, j)] = T::narrow(products[(i, j)]);
            }
        }
        let t2 = self.t.as_ref().submatrix(from, from, wide, wide);
        matmul(w1.as_mut(), Accum::Replace, w0.as_ref(), t2, T::ONE, Par::Seq);
        let t1 = self.t.as_ref().submatrix(0, 0, from, from);
        matmul(w0.as_mut(), Accum::Replace, t1, w1.as_ref(), -T::ONE, Par::Seq);
        self.t.as_mut().submatrix_mut(0, from, from, wide).copy_from(w0.as_ref());
        self.t.as_mut().submatrix_mut(from, 0, wide, from).fill(T::ZERO);
    }
}

/// T of a block reflector I − VTVᵀ from VᵀV: T_jj = τ_j, T_ij = −τ_j Σ_k T_ik (VᵀV)_kj.
pub fn triangle<T: Real>(mut t: MatMut<'_, T>, gram: MatRef<'_, f64>, taus: &[T]) {
    t.fill(T::ZERO);
    for (j, &tau) in taus.iter().enumerate() {
        for i in 0..j {
            let sum: f64 = (i..j).map(|k| t[(i, k)].wide() * gram[(k, j)]).sum();
            t[(i, j)] = T::narrow(-tau.wide() * sum);
        }
        t[(j, j)] = tau;
    }
}

/// Reflectors of a few columns, one after the other.
struct Columns<'a, T> {
    a: &'a mut [T],
    taus: &'a mut [T],
    rows: usize,
    from: usize,
    wide: usize,
}

impl<T: Real> Kernel for Columns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let rows = self.rows;
        for j in self.from..(self.from + self.wide).min(rows) {
            let (left, right) = self.a.split_at_mut((j + 1) * rows);
            let column = &mut left[j * rows + j..];
            let tau = reflector::<T, FMA>(column);
            self.taus[j] = tau;
            if tau == T::ZERO {
                continue;
            }
            let beta = std::mem::replace(&mut column[0], T::ONE);
            for other in right.chunks_exact_mut(rows).take(self.from + self.wide - j - 1) {
                let other = &mut other[j..];
                let s = dot::<T, FMA>(column, other);
                axpy::<T, FMA>(-tau * s, column, other);
            }
            column[0] = beta;
        }
    }
}
