//! The two-dimensional reading of a layer, decoded to `f32`.

use ndarray::ArrayView2;

/// A dense matrix, row-major: `data[r * cols + c]`, rows = `out_features`, columns = `in_features`.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Entries, row after row.
    pub data: Vec<f32>,
}

impl Matrix {
    /// A matrix from row-major entries; `None` when the length does not fit.
    pub fn new(rows: usize, cols: usize, data: Vec<f32>) -> Option<Self> {
        (data.len() == rows.checked_mul(cols)?).then_some(Self { rows, cols, data })
    }
    /// The same entries as a two-dimensional view.
    pub fn view(&self) -> ArrayView2<'_, f32> {
        // `new` checked the length, and the fields are only changed together.
        ArrayView2::from_shape((self.rows, self.cols), &self.data).unwrap_or_else(|_| ArrayView2::from(&[[]; 0]))
    }
    /// The rows, one slice each. A matrix without columns has no rows to give.
    pub fn row_iter(&self) -> std::slice::ChunksExact<'_, f32> {
        self.data.chunks_exact(self.cols.max(1))
    }
    /// The transpose, as a new matrix, in cache-sized tiles.
    pub fn transposed(&self) -> Self {
        const TILE: usize = 32;
        let (m, n) = (self.rows, self.cols);
        let mut data = vec![0.0; m * n];
        for r0 in (0..m).step_by(TILE) {
            for c0 in (0..n).step_by(TILE) {
                for r in r0..(r0 + TILE).min(m) {
                    for c in c0..(c0 + TILE).min(n) {
                        data[c * m + r] = self.data[r * n + c];
                    }
                }
            }
        }
        Self { rows: n, cols: m, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_is_the_identity_and_once_swaps_indices() {
        let m = Matrix::new(37, 70, (0..37 * 70).map(|i| i as f32).collect()).unwrap();
        let t = m.transposed();
        assert_eq!((t.rows, t.cols), (70, 37));
        assert_eq!(t.data[5 * 37 + 3], m.data[3 * 70 + 5]);
        assert_eq!(t.transposed(), m);
    }
}
