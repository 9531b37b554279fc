//! Matrix products that can be left half way, and transposes that mind the cache.

use super::real::Real;
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Multiplications between two questions: some 30 ms of one core.
const PIECE: usize = 750_000_000;
/// Columns copied together.
const TILE: usize = 64;

/// `into ← [into +] alpha·a·b`, in pieces of the larger extent of `into`.
pub fn product<T: Real>(
    mut into: MatMut<'_, T>,
    accum: Accum,
    (a, b): (MatRef<'_, T>, MatRef<'_, T>),
    alpha: T,
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

/// `into ← fromᵀ`, both column by column in memory, in tiles.
pub fn transpose<T: Real>(mut into: MatMut<'_, T>, from: MatRef<'_, T>) {
    let (rows, cols) = (from.nrows(), from.ncols());
    for j in (0..cols).step_by(TILE) {
        let wide = TILE.min(cols - j);
        for i in 0..rows {
            let Some(column) = into.as_mut().subrows_mut(j, wide).col_mut(i).try_as_col_major_mut() else { return };
            for (c, x) in column.as_slice_mut().iter_mut().enumerate() {
                *x = from[(i, j + c)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;

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
    fn a_transpose_is_one() {
        let a = Mat::<f32>::from_fn(70, 133, |i, j| (i * 1000 + j) as f32);
        let mut t = Mat::<f32>::zeros(133, 70);
        transpose(t.as_mut(), a.as_ref());
        assert_eq!(t.as_ref(), a.transpose());
    }
}
