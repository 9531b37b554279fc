//! Matrix products that can be left half way, and copies that mind the cache.

use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use ndarray::{ArrayView2, s};

/// Multiplications between two questions: some 30 ms of one core.
const PIECE: usize = 750_000_000;

/// `into ← [into +] alpha·a·b`, in pieces of the larger extent of `into`.
pub fn product(
    mut into: MatMut<'_, f32>,
    accum: Accum,
    (a, b): (MatRef<'_, f32>, MatRef<'_, f32>),
    alpha: f32,
    par: Par,
    keep_going: KeepGoing<'_>,
) -> Result<(), Stopped> {
    let (rows, cols, inner) = (into.nrows(), into.ncols(), a.ncols());
    let by_columns = cols >= rows;
    let (extent, across) = if by_columns { (cols, rows) } else { (rows, cols) };
    let step = (PIECE / (across * inner).max(1)).max(64);
    let mut from = 0;
    while from < extent {
        check(keep_going)?;
        let wide = step.min(extent - from);
        if by_columns {
            matmul(into.as_mut().subcols_mut(from, wide), accum, a, b.subcols(from, wide), alpha, par);
        } else {
            matmul(into.as_mut().subrows_mut(from, wide), accum, a.subrows(from, wide), b, alpha, par);
        }
        from += wide;
    }
    Ok(())
}

/// A copy of `a`, column by column in memory, times `scale`, in the upper left of a zero matrix of this size. In
/// tiles: `a` may be stored row by row, and a column of it would touch a new page for every entry.
pub fn copy(
    a: ArrayView2<'_, f32>,
    (rows, cols): (usize, usize),
    scale: f64,
    keep_going: KeepGoing<'_>,
) -> Result<Mat<f32>, Stopped> {
    const TILE: usize = 64;
    let mut out = Mat::<f32>::zeros(rows, cols);
    let (m, n) = a.dim();
    for j in (0..n).step_by(TILE) {
        check(keep_going)?;
        let wide = TILE.min(n - j);
        for i in (0..m).step_by(TILE) {
            let tile = a.slice(s![i..(i + TILE).min(m), j..j + wide]);
            for (c, column) in tile.columns().into_iter().enumerate() {
                let into = out.col_as_slice_mut(j + c);
                for (x, &w) in into[i..].iter_mut().zip(column) {
                    *x = (f64::from(w) * scale) as f32;
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
    fn pieces_make_the_whole_product() {
        // Deep enough that several pieces are needed.
        let (m, k, n) = (70, 90_000, 200);
        let a = Mat::<f32>::from_fn(m, k, |i, j| ((i * 31 + j * 17) % 7) as f32 - 3.0);
        let b = Mat::<f32>::from_fn(k, n, |i, j| ((i * 13 + j * 5) % 5) as f32 - 2.0);
        let mut want = Mat::<f32>::from_fn(m, n, |i, j| (i + j) as f32);
        let mut got = want.clone();
        matmul(want.as_mut(), Accum::Add, a.as_ref(), b.as_ref(), -1.0, Par::Seq);
        product(got.as_mut(), Accum::Add, (a.as_ref(), b.as_ref()), -1.0, Par::Seq, &|| true).unwrap();
        assert_eq!(got, want);
        let turned = Mat::<f32>::from_fn(n, m, |i, j| (i + j) as f32);
        let mut got = turned.clone();
        product(got.as_mut(), Accum::Add, (b.transpose(), a.transpose()), -1.0, Par::Seq, &|| true).unwrap();
        assert_eq!(got.transpose(), want);
        assert!(product(got.as_mut(), Accum::Add, (b.transpose(), a.transpose()), -1.0, Par::Seq, &|| false).is_err());
    }

    #[test]
    fn a_copy_is_the_same_in_either_order() {
        let a = Array2::from_shape_fn((130, 75), |(i, j)| (i * 100 + j) as f32);
        for view in [a.view(), a.t()] {
            let (m, n) = view.dim();
            let copied = copy(view, (m + 3, n + 2), 0.5, &|| true).unwrap();
            for i in 0..m + 3 {
                for j in 0..n + 2 {
                    let want = if i < m && j < n { view[(i, j)] * 0.5 } else { 0.0 };
                    assert_eq!(copied[(i, j)], want);
                }
            }
        }
    }
}
