//! The spatial-wise reading of a convolution: (inputs · kh) × (outputs · kw).

use super::{Layer, Matrix};

/// `[outputs, inputs, kh, kw]` of a convolution over two axes.
fn extents(layer: &Layer) -> Option<[usize; 4]> {
    layer.shape.as_slice().try_into().ok()
}

/// The outputs × inputs·kh·kw matrix of a convolution, its entry (o, i, h, w) at row i·kh + h and column o·kw + w. The
/// matrix itself for other layers.
pub fn spatial(layer: &Layer, matrix: &Matrix) -> Matrix {
    let Some([outputs, inputs, height, width]) = extents(layer) else { return matrix.clone() };
    let (rows, cols) = (inputs * height, outputs * width);
    let mut data = vec![0.0; rows * cols];
    for (o, row) in matrix.row_iter().enumerate() {
        for (place, taps) in row.chunks_exact(width.max(1)).enumerate() {
            data[place * cols + o * width..][..width].copy_from_slice(taps);
        }
    }
    Matrix { rows, cols, data }
}

/// Back from [`spatial`].
pub fn unspatial(layer: &Layer, matrix: &Matrix) -> Matrix {
    let Some([outputs, inputs, height, width]) = extents(layer) else { return matrix.clone() };
    let (rows, cols) = (outputs, inputs * height * width);
    let mut data = vec![0.0; rows * cols];
    for (place, row) in matrix.row_iter().enumerate() {
        for (o, taps) in row.chunks_exact(width.max(1)).enumerate() {
            data[o * cols + place * width..][..width].copy_from_slice(taps);
        }
    }
    Matrix { rows, cols, data }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn entries_lie_where_they_should_and_come_back() {
        let layer = Layer::alone(Kind::Conv2d, &[2, 3, 4, 5]);
        let matrix = Matrix::new(2, 60, (0..120).map(|i| i as f32).collect()).unwrap();
        let turned = spatial(&layer, &matrix);
        assert_eq!((turned.rows, turned.cols), (12, 10));
        // Output 1, input 2, height 3, width 4.
        assert_eq!(turned.data[(2 * 4 + 3) * 10 + 5 + 4], matrix.data[60 + 2 * 20 + 3 * 5 + 4]);
        assert_eq!(unspatial(&layer, &turned), matrix);
    }
}
