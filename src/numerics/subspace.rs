//! The first singular values from a subspace that is kept between matrices that differ little (subspace iteration
//! with Rayleigh–Ritz; Halko, Martinsson and Tropp 2011). Never too large, whatever the subspace.

use super::svd::Panel;
use super::{KeepGoing, Stopped, interrupt::check, isa::Isa};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};

/// Vectors that are followed.
pub const WIDTH: usize = 64;
/// Passes over the matrix for one answer.
const PASSES: usize = 2;
/// Entries that are decoded at a time.
const STRETCH: usize = 1 << 20;

/// An orthonormal basis near the first right singular vectors.
#[derive(Debug)]
pub struct Subspace {
    basis: Mat<f32>,
    cold: bool,
}

impl Subspace {
    /// A random one for a matrix of so many columns.
    pub fn new(cols: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ cols as u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if state >> 63 == 0 { 1.0f32 } else { -1.0 }
        };
        let mut basis = Mat::zeros(cols, WIDTH.min(cols));
        for j in 0..basis.ncols() {
            for i in 0..cols {
                basis[(i, j)] = next();
            }
        }
        let mut this = Self { basis, cold: true };
        this.orthonormalise();
        this
    }

    /// The first singular values, descending, each at most the true one but for rounding in `f32`. `block` writes rows
    /// from a number on, as many as the slice holds.
    pub fn values(
        &mut self,
        rows: usize,
        block: &mut dyn FnMut(usize, &mut [f32]),
        keep_going: KeepGoing<'_>,
    ) -> Result<Vec<f64>, Stopped> {
        let (cols, width) = (self.basis.nrows(), self.basis.ncols());
        let together = (STRETCH / cols.max(1)).clamp(1, rows.max(1));
        let mut buffer = vec![0f32; together * cols];
        let mut sigma = Vec::new();
        let passes = if std::mem::take(&mut self.cold) { PASSES + 1 } else { PASSES };
        for _ in 0..passes {
            let mut next = Mat::<f32>::zeros(cols, width);
            let mut gram = Mat::<f64>::zeros(width, width);
            let mut product = Mat::<f32>::zeros(together, width);
            for from in (0..rows).step_by(together) {
                check(keep_going)?;
                let some = &mut buffer[..together.min(rows - from) * cols];
                block(from, some);
                let a = MatRef::from_row_major_slice(some, some.len() / cols, cols);
                let mut y = product.as_mut().subrows_mut(0, a.nrows());
                matmul(y.as_mut(), Accum::Replace, a, self.basis.as_ref(), 1.0, Par::Seq);
                matmul(next.as_mut(), Accum::Add, a.transpose(), y.as_ref(), 1.0, Par::Seq);
                let wide = Mat::<f64>::from_fn(a.nrows(), width, |i, j| f64::from(y[(i, j)]));
                matmul(gram.as_mut(), Accum::Add, wide.transpose(), wide.as_ref(), 1.0, Par::Seq);
            }
            // Singular values of A·V for orthonormal V are never above those of A.
            let found = gram.self_adjoint_eigenvalues(Side::Lower).unwrap_or_default();
            sigma = found.iter().rev().map(|x| x.max(0.0).sqrt()).collect();
            self.basis = next;
            self.orthonormalise();
        }
        Ok(sigma)
    }

    fn orthonormalise(&mut self) {
        let (rows, cols) = (self.basis.nrows(), self.basis.ncols());
        if cols == 0 {
            return;
        }
        // Reflectors count tails of 1e-12 as zero, in a matrix whose largest entry is about 1.
        let largest = self.basis.norm_max();
        if largest > 0.0 && largest.is_finite() {
            let scale = 2f64.powf(-f64::from(largest).log2().floor());
            for j in 0..cols {
                self.basis.col_as_slice_mut(j).iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
            }
        }
        // Q = I − V T Vᵀ applied to the first columns of the identity.
        let mut panel = Panel::new(rows, cols);
        panel.load(self.basis.as_ref());
        panel.factor(Isa::Best, Par::Seq);
        let (v, t) = (panel.v(), panel.t());
        let head = v.subrows(0, cols).transpose().to_owned();
        let mut w = Mat::<f32>::zeros(cols, cols);
        matmul(w.as_mut(), Accum::Replace, t, head.as_ref(), -1.0, Par::Seq);
        let mut q: MatMut<'_, f32> = self.basis.as_mut();
        q.fill(0.0);
        for j in 0..cols {
            q[(j, j)] = 1.0;
        }
        matmul(q.as_mut(), Accum::Add, v, w.as_ref(), 1.0, Par::Seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::svd::singular_values;
    use ndarray::Array2;

    #[test]
    fn the_first_values_are_never_too_large_and_soon_right() {
        let decay =
            |i: usize, j: usize, k: usize| ((i * (k + 1)) as f32 * 0.7).sin() * ((j * (k + 1)) as f32 * 0.3).cos();
        for (rows, cols) in [(400, 300), (200, 500), (90, 40)] {
            let a = Array2::from_shape_fn((rows, cols), |(i, j)| {
                (0..30).map(|k| decay(i, j, k) / (k + 1) as f32).sum::<f32>() + ((i * 31 + j * 17) % 13) as f32 * 0.002
            });
            let exact = singular_values(a.view(), &|| true, 1).unwrap();
            let mut subspace = Subspace::new(cols);
            let data = a.as_slice().unwrap();
            let mut block =
                |from: usize, out: &mut [f32]| out.copy_from_slice(&data[from * cols..from * cols + out.len()]);
            for again in 0..2 {
                let found = subspace.values(rows, &mut block, &|| true).unwrap();
                assert_eq!(found.len(), WIDTH.min(cols));
                for (i, (f, e)) in found.iter().zip(&exact).enumerate() {
                    assert!(*f <= e + 2e-6 * exact[0], "{i}: {f} {e}");
                    if i < 10 {
                        assert!(*f > e * if again == 0 { 0.97 } else { 0.99 }, "{i}: {f} {e}");
                    }
                }
            }
        }
    }
}
