//! An upper bound on σ₁ that is proven, rounding included.
//!
//! If a floating-point Cholesky factorisation of θ²I − WᵀW runs to its end, then WᵀW has no eigenvalue above θ² but for
//! rounding, and how much rounding can do is known beforehand (Rump, "Verification of positive definiteness", BIT 2006;
//! Higham, *Accuracy and Stability of Numerical Algorithms*, theorem 10.3). Everything in `f64`: entries are `f32`, so
//! each product of two is exact. A θ that is too small makes the factorisation fail and costs a second try, never
//! soundness.

#![allow(clippy::inline_always, clippy::needless_range_loop, reason = "see `isa`")]

use super::isa::{Isa, Kernel};
use super::lanczos::{self, Map};
use super::{KeepGoing, Stopped, interrupt::check};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{BlockStructure, matmul as triangular};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use ndarray::{ArrayView2, s};

/// Rows or columns of the matrix that become `f64` at a time.
const STRETCH: usize = 128;
/// Columns factored between two questions whether to go on.
const BLOCK: usize = 128;
/// Unit roundoff.
const U: f64 = f64::EPSILON / 2.0;
/// How far above the estimate the first try lies.
const FIRST: f64 = 1e-9;
/// Tries, each four times as far above the estimate as the one before.
const TRIES: u32 = 14;

/// A number that σ₁ of the matrix is not above. `None` when no try succeeded, which only huge or tiny entries make
/// happen.
pub fn upper(a: ArrayView2<'_, f32>, threads: usize, keep_going: KeepGoing<'_>) -> Result<Option<f64>, Stopped> {
    let a = if a.nrows() >= a.ncols() { a } else { a.reversed_axes() };
    let (m, n) = a.dim();
    let par = if threads > 1 { Par::rayon(threads) } else { Par::Seq };
    let largest = a.iter().fold(0f32, |top, w| top.max(w.abs()));
    if n == 0 || largest == 0.0 {
        return Ok(Some(0.0));
    }
    // Scaled by a power of two, so that nothing overflows or underflows and no digit is lost.
    let scale = 2f64.powi(-(f64::from(largest).log2().floor() as i32));
    let gram = gram(a, scale, par, keep_going)?;
    let trace: f64 = (0..n).map(|i| gram[(i, i)]).sum();
    let top = lanczos::largest(&mut Symmetric(&gram), keep_going)?.value;
    let gamma = |k: usize| k as f64 * U / (1.0 - k as f64 * U);
    for attempt in 0..TRIES {
        let square = top * (1.0 + FIRST * 4f64.powi(attempt as i32));
        let Some(h) = positive(&gram, square, par, keep_going)? else { continue };
        // Two more operations a pivot than in the theorem, for implementations that multiply by a reciprocal.
        let g = gamma(n + 3);
        let bound = square + gamma(m) * trace * (1.0 + 1e-9) + U * h.0 + g / (1.0 - g) * h.1;
        // Subnormal products, the last rounding of each term, the square root.
        let bound = bound * (1.0 + 16.0 * U) + 4.0 * (n as f64 + trace) * f64::MIN_POSITIVE;
        return Ok(Some(bound.sqrt() * (1.0 + 4.0 * U) / scale));
    }
    Ok(None)
}

/// The lower triangle of AᵀA for a tall A times `scale`, in `f64`, stretch by stretch.
fn gram(a: ArrayView2<'_, f32>, scale: f64, par: Par, keep_going: KeepGoing<'_>) -> Result<Mat<f64>, Stopped> {
    let (m, n) = a.dim();
    let mut gram = Mat::<f64>::zeros(n, n);
    for from in (0..m).step_by(STRETCH) {
        check(keep_going)?;
        let some = a.slice(s![from..(from + STRETCH).min(m), ..]);
        let block = Mat::<f64>::from_fn(n, some.nrows(), |j, i| f64::from(some[(i, j)]) * scale);
        triangular(
            gram.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Add,
            block.as_ref(),
            BlockStructure::Rectangular,
            block.transpose(),
            BlockStructure::Rectangular,
            1.0,
            par,
        );
    }
    Ok(gram)
}

/// Whether H = `square`·I − `gram` has a Cholesky factor; then its largest diagonal entry and its trace.
fn positive(gram: &Mat<f64>, square: f64, par: Par, keep_going: KeepGoing<'_>) -> Result<Option<(f64, f64)>, Stopped> {
    let n = gram.nrows();
    let mut h = vec![0f64; n * n];
    let (mut top, mut trace) = (0f64, 0f64);
    for (j, column) in h.chunks_exact_mut(n).enumerate() {
        for (i, x) in column.iter_mut().enumerate().skip(j) {
            *x = if i == j { square - gram[(i, j)] } else { -gram[(i, j)] };
        }
        top = top.max(column[j].abs());
        trace += column[j];
    }
    for from in (0..n).step_by(BLOCK) {
        check(keep_going)?;
        let wide = BLOCK.min(n - from);
        let (left, rest) = h.split_at_mut(from * n);
        let panel = &mut rest[..wide * n];
        if from > 0 {
            // What the columns before take off these, from row `from` on.
            let left = MatRef::from_column_major_slice(left, n, from).subrows(from, n - from);
            let mut into = MatMut::from_column_major_slice_mut(&mut *panel, n, wide);
            let into = into.as_mut().subrows_mut(from, n - from);
            matmul(into, Accum::Add, left, left.subrows(0, wide).transpose(), -1.0, par);
        }
        if !Isa::Best.run(Columns { panel, n, from, wide }) {
            return Ok(None);
        }
    }
    Ok(Some((top, trace)))
}

/// Factors columns `from..` of the lower triangle one by one, everything to their left being done.
struct Columns<'a> {
    panel: &'a mut [f64],
    n: usize,
    from: usize,
    wide: usize,
}

impl Kernel for Columns<'_> {
    type Output = bool;
    #[inline(always)]
    fn run<const FMA: bool>(self) -> bool {
        let Self { panel, n, from, wide } = self;
        for j in 0..wide {
            let (head, tail) = panel.split_at_mut((j + 1) * n);
            let column = &mut head[j * n + from + j..];
            let pivot = column[0];
            if pivot <= 0.0 || pivot.is_nan() {
                return false;
            }
            let root = pivot.sqrt();
            column.iter_mut().for_each(|x| *x /= root);
            for (k, other) in tail.chunks_exact_mut(n).take(wide - j - 1).enumerate() {
                let factor = column[k + 1];
                for (x, y) in other[from + j + k + 1..].iter_mut().zip(&column[k + 1..]) {
                    *x -= factor * y;
                }
            }
        }
        true
    }
}

/// A symmetric matrix of which the lower triangle is held.
struct Symmetric<'a>(&'a Mat<f64>);

impl Map for Symmetric<'_> {
    fn dim(&self) -> (usize, usize) {
        (self.0.nrows(), self.0.nrows())
    }
    fn apply(&mut self, x: &[f64], y: &mut [f64]) {
        let n = x.len();
        y.fill(0.0);
        for j in 0..n {
            let Some(column) = self.0.col(j).try_as_col_major().map(faer::ColRef::as_slice) else { return };
            y[j] += column[j] * x[j];
            let mut sum = 0.0;
            for i in j + 1..n {
                y[i] += column[i] * x[j];
                sum += column[i] * x[i];
            }
            y[j] += sum;
        }
    }
    fn apply_transposed(&mut self, y: &[f64], x: &mut [f64]) {
        self.apply(y, x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::svd::direct;
    use ndarray::{Array2, arr2};
    use proptest::prelude::*;

    fn exact(a: &Array2<f32>) -> f64 {
        direct(a.view(), &|| true).unwrap()[0]
    }

    #[test]
    fn the_small_matrix_is_bounded_tightly() {
        let bound = upper(arr2(&[[3.0f32, 0.0], [4.0, 5.0]]).view(), 1, &|| true).unwrap().unwrap();
        let root = 3.0 * 5f64.sqrt();
        assert!(bound >= root && bound < root * (1.0 + 1e-8), "{bound}");
        assert_eq!(upper(Array2::zeros((3, 4)).view(), 1, &|| true).unwrap(), Some(0.0));
        assert_eq!(upper(Array2::zeros((0, 4)).view(), 1, &|| true).unwrap(), Some(0.0));
    }

    #[test]
    fn a_square_below_the_norm_has_no_factor() {
        // MᵀM = [[25, 20], [20, 25]], σ₁² = 45.
        let gram = gram(arr2(&[[3.0f32, 0.0], [4.0, 5.0]]).view(), 1.0, Par::Seq, &|| true).unwrap();
        assert!(positive(&gram, 44.99, Par::Seq, &|| true).unwrap().is_none());
        assert!(positive(&gram, 45.0 * (1.0 + 1e-6), Par::Seq, &|| true).unwrap().is_some());
    }

    #[test]
    fn it_holds_where_all_values_are_equal_and_across_blocks() {
        for (m, n) in [(300, 300), (150, 400), (640, 130)] {
            let identity = Array2::from_shape_fn((m, n), |(i, j)| if i == j { 2.0f32 } else { 0.0 });
            let bound = upper(identity.view(), 1, &|| true).unwrap().unwrap();
            assert!((2.0..2.0 * (1.0 + 1e-7)).contains(&bound), "{bound}");
            let waves = Array2::from_shape_fn((m, n), |(i, j)| ((i * 37 + j * 91) % 101) as f32 / 50.0 - 1.0);
            let (bound, exact) = (upper(waves.view(), 1, &|| true).unwrap().unwrap(), exact(&waves));
            assert!(bound >= exact && bound < exact * (1.0 + 1e-7), "{bound} {exact}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn it_is_never_below_and_hardly_above(
            rows in 1usize..30, cols in 1usize..30, data in prop::collection::vec(-2.0f32..2.0, 900), exponent in -30i32..30,
        ) {
            let a = Array2::from_shape_fn((rows, cols), |(i, j)| data[i * cols + j] * 2f32.powi(exponent));
            let (bound, exact) = (upper(a.view(), 1, &|| true).unwrap().unwrap(), exact(&a));
            // The reference itself is right to some units in the last place.
            prop_assert!(bound >= exact * (1.0 - 1e-14), "{bound} {exact}");
            prop_assert!(bound <= exact * (1.0 + 1e-7), "{bound} {exact}");
        }
    }
}
