//! The square factor R of a tall matrix: blocked Householder QR, interruptible between panels.

use super::isa::Isa;
use super::panel::Panel;
use super::product::product;
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

/// Columns of a panel.
const WIDE: usize = 128;

/// Overwrites the upper triangle of a tall matrix with R; what lies below is left over.
pub fn triangle(a: &mut Mat<f32>, isa: Isa, par: Par, keep_going: KeepGoing<'_>) -> Result<(), Stopped> {
    let (m, n) = (a.nrows(), a.ncols());
    let wide = WIDE.min(n);
    let mut panel = Panel::new(m, wide);
    let (mut w0, mut w1) = (Mat::<f32>::zeros(wide, n), Mat::<f32>::zeros(wide, n));
    let mut r = 0;
    while r < n {
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
            product(x0.as_mut(), Accum::Replace, (panel.v().transpose(), c.as_ref()), 1.0, par, keep_going)?;
            matmul(x1.as_mut(), Accum::Replace, panel.t().transpose(), x0.as_ref(), 1.0, par);
            product(c.as_mut(), Accum::Add, (panel.v(), x1.as_ref()), -1.0, par, keep_going)?;
        }
        r += cols;
    }
    Ok(())
}
