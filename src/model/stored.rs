//! A layer's entries as they lie in the file, decoded when somebody asks.

use super::{DType, Matrix, Orientation, Unfit, decode, unfit};
use std::sync::OnceLock;

/// Entries of one layer: stored bytes, and the matrix view of them once it was needed.
#[derive(Debug)]
pub struct Stored<'a> {
    dtype: DType,
    bytes: &'a [u8],
    shape: [usize; 2],
    orientation: Orientation,
    matrix: OnceLock<Matrix>,
    unfit: OnceLock<Option<Unfit>>,
}

impl<'a> Stored<'a> {
    /// Bytes of a `[rows, columns]` matrix view (rows = `out_features`); `None` when they are too few or too many, or
    /// no floating-point numbers.
    pub fn new(dtype: DType, shape: [usize; 2], orientation: Orientation, bytes: &'a [u8]) -> Option<Self> {
        let bits = shape[0].checked_mul(shape[1])?.checked_mul(dtype.bits())?;
        let fits = dtype.is_float() && bytes.len().checked_mul(8) == Some(bits);
        fits.then_some(Self { dtype, bytes, shape, orientation, matrix: OnceLock::new(), unfit: OnceLock::new() })
    }

    /// `[rows, columns]`.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Checks, at the first call, that every entry is a finite number that `f32` holds; the error names the first that is
    /// not, in file order.
    pub fn fit(&self) -> Result<(), Unfit> {
        self.fit_while(&|| true).unwrap_or(Ok(()))
    }

    /// The same; `None` when told to stop.
    pub fn fit_while(&self, keep_going: &dyn Fn() -> bool) -> Option<Result<(), Unfit>> {
        if self.unfit.get().is_none() {
            let first = if self.bytes.is_empty() {
                let bytes: &[u8] = pulp::bytemuck::cast_slice(&self.matrix().data);
                unfit::first(DType::F32, bytes, keep_going).ok()?
            } else {
                unfit::first(self.dtype, self.bytes, keep_going).ok()?
            };
            let ([rows, cols], turned) = (self.shape.map(|n| n.max(1)), self.turned());
            let place = |at: usize| if turned { (at % rows, at / rows) } else { (at / cols, at % cols) };
            let _ = self.unfit.set(first.map(|(at, value, count)| Unfit {
                row: place(at).0,
                col: place(at).1,
                value,
                count,
            }));
        }
        Some(self.unfit.get().copied().flatten().map_or(Ok(()), Err))
    }

    /// The 16-bit patterns of a BF16 or F16 tensor, in file order; empty for a matrix that came decoded.
    pub fn patterns(&self) -> Option<&'a [[u8; 2]]> {
        let sixteen = matches!(self.dtype, DType::BF16 | DType::F16) && !self.bytes.is_empty();
        sixteen.then_some(self.bytes.as_chunks::<2>().0)
    }

    /// The bytes of an F32 tensor, in file order; `None` for a matrix that came decoded.
    pub fn words(&self) -> Option<&'a [[u8; 4]]> {
        (self.dtype == DType::F32 && !self.bytes.is_empty()).then_some(self.bytes.as_chunks::<4>().0)
    }

    /// Whether rows lie in the file one after another.
    pub fn by_rows(&self) -> bool {
        self.orientation == Orientation::OutIn && !self.bytes.is_empty()
    }

    /// Decodes rows `from..` into `out`, as many as it holds.
    pub fn rows_into(&self, from: usize, out: &mut [f32]) {
        let cols = self.shape[1];
        if let Some(matrix) = self.matrix.get().or_else(|| (!self.by_rows()).then(|| self.matrix())) {
            if let Some(rows) = matrix.data.get(from * cols..from * cols + out.len()) {
                out.copy_from_slice(rows);
            }
            return;
        }
        let width = self.dtype.bits() / 8;
        if let Some(bytes) = self.bytes.get(from * cols * width..(from * cols + out.len()) * width) {
            decode::decode_into(self.dtype, bytes, out);
        }
    }

    /// Rows `from..from + count`: as they lie in memory where they are `f32` already, else decoded into `buffer`. Empty
    /// where there are no such rows.
    pub fn rows<'b>(&'b self, from: usize, count: usize, buffer: &'b mut Vec<f32>) -> &'b [f32] {
        let range = from * self.shape[1]..(from + count) * self.shape[1];
        if let Some(matrix) = self.matrix.get().or_else(|| (!self.by_rows()).then(|| self.matrix())) {
            return matrix.data.get(range).unwrap_or(&[]);
        }
        if self.dtype == DType::F32
            && let Some(bytes) = self.bytes.get(range.start * 4..range.end * 4)
            && let Ok(rows) = pulp::bytemuck::try_cast_slice(bytes)
        {
            return rows;
        }
        buffer.resize(range.len(), 0.0);
        self.rows_into(from, buffer);
        buffer
    }

    /// The bytes of an F64 tensor as numbers, with the place of each in the matrix view: row, column.
    pub fn doubles(&self) -> Option<impl Iterator<Item = (usize, usize, f64)> + '_> {
        let width = self.laid_out()[1].max(1);
        let turned = self.turned();
        let place = move |i: usize| if turned { (i % width, i / width) } else { (i / width, i % width) };
        (self.dtype == DType::F64).then(|| {
            let numbers = self.bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b));
            numbers.enumerate().map(move |(i, w)| (place(i).0, place(i).1, w))
        })
    }

    /// `[rows, columns]` as the bytes lie: the transpose of [`Self::shape`] where the file holds it so.
    pub fn laid_out(&self) -> [usize; 2] {
        let [rows, cols] = self.shape;
        if self.turned() { [cols, rows] } else { [rows, cols] }
    }

    fn turned(&self) -> bool {
        self.orientation == Orientation::InOut && !self.bytes.is_empty()
    }

    /// Decodes entries of a row of [`Self::laid_out`], from a column on, as many as `out` holds.
    pub fn part_into(&self, row: usize, from: usize, out: &mut [f32]) {
        let at = row * self.laid_out()[1] + from;
        let width = self.dtype.bits() / 8;
        match self.bytes.get(at * width..(at + out.len()) * width) {
            Some(bytes) if !self.bytes.is_empty() => drop(decode::decode_into(self.dtype, bytes, out)),
            // Came decoded.
            _ => {
                if let Some(entries) = self.matrix().data.get(at..at + out.len()) {
                    out.copy_from_slice(entries);
                }
            }
        }
    }

    /// The matrix view, decoded at the first call.
    pub fn matrix(&self) -> &Matrix {
        self.matrix.get_or_init(|| {
            let [rows, cols] = self.shape;
            // `new` has checked type and length.
            let data = decode::decode(self.dtype, self.bytes).unwrap_or_default();
            let (r, c) = if self.orientation == Orientation::InOut { (cols, rows) } else { (rows, cols) };
            let stored = Matrix::new(r, c, data).unwrap_or(Matrix { rows: 0, cols: 0, data: Vec::new() });
            if self.orientation == Orientation::InOut { stored.transposed() } else { stored }
        })
    }

    /// The matrix view, taken out.
    pub fn into_matrix(mut self) -> Matrix {
        self.matrix();
        self.matrix.take().unwrap_or(Matrix { rows: 0, cols: 0, data: Vec::new() })
    }
}

impl From<Matrix> for Stored<'_> {
    /// A matrix that is decoded already, as a tensor of `f32`.
    fn from(matrix: Matrix) -> Self {
        let shape = [matrix.rows, matrix.cols];
        let orientation = Orientation::OutIn;
        Self {
            dtype: DType::F32,
            bytes: &[],
            shape,
            orientation,
            matrix: OnceLock::from(matrix),
            unfit: OnceLock::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_matrix_however_it_is_stored() {
        let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
        for orientation in [Orientation::OutIn, Orientation::InOut] {
            let stored = Stored::new(DType::BF16, [2, 3], orientation, &bytes).unwrap();
            let mut row = [0.0; 3];
            stored.rows_into(1, &mut row);
            let want = if orientation == Orientation::OutIn { [3.0, 4.0, 5.0] } else { [1.0, 3.0, 5.0] };
            assert_eq!(row, want);
            assert_eq!(stored.matrix().data[3..], want);
            let mut part = [0.0; 2];
            stored.part_into(1, 0, &mut part);
            assert_eq!(stored.laid_out(), if orientation == Orientation::OutIn { [2, 3] } else { [3, 2] });
            assert_eq!(part, if orientation == Orientation::OutIn { [3.0, 4.0] } else { [2.0, 3.0] });
        }
        assert!(Stored::new(DType::BF16, [2, 4], Orientation::OutIn, &bytes).is_none());
        assert!(Stored::new(DType::I16, [2, 3], Orientation::OutIn, &bytes).is_none());
        assert!(Stored::new(DType::BF16, [usize::MAX, 3], Orientation::OutIn, &bytes).is_none());
    }

    #[test]
    fn the_first_entry_that_is_no_finite_f32_is_named_however_it_is_stored() {
        let bytes_of = |dtype: DType, values: &[f64]| -> Vec<u8> {
            let each = |v: &f64| match dtype {
                DType::F64 => v.to_le_bytes().to_vec(),
                DType::F32 => (*v as f32).to_le_bytes().to_vec(),
                DType::BF16 => half::bf16::from_f64(*v).to_le_bytes().to_vec(),
                _ => half::f16::from_f64(*v).to_le_bytes().to_vec(),
            };
            values.iter().flat_map(each).collect()
        };
        for dtype in [DType::F64, DType::F32, DType::BF16, DType::F16] {
            for (at, bad) in [(7, f64::NAN), (11, f64::NEG_INFINITY), (9000, f64::INFINITY)] {
                let mut values = vec![1.0; 4 * 3000];
                (values[at], values[11_999]) = (bad, f64::NAN);
                let bytes = bytes_of(dtype, &values);
                for (orientation, place) in
                    [(Orientation::OutIn, (at / 3000, at % 3000)), (Orientation::InOut, (at % 4, at / 4))]
                {
                    let stored = Stored::new(dtype, [4, 3000], orientation, &bytes).unwrap();
                    let found = stored.fit().unwrap_err();
                    assert_eq!((found.row, found.col, found.count), (place.0, place.1, 2), "{dtype:?} {orientation:?}");
                    assert!(found.value.is_nan() == bad.is_nan() && (bad.is_nan() || found.value == bad));
                }
            }
        }
        let of = |values: &[f64]| {
            let bytes = bytes_of(DType::F64, values);
            Stored::new(DType::F64, [1, values.len()], Orientation::OutIn, &bytes)
                .unwrap()
                .fit()
                .map_err(|u| u.to_string())
        };
        assert!(of(&[1.0, 7e150]).unwrap_err().starts_with("row 0, column 1 (counted from 0) is 7e150, more than"));
        assert!(of(&[0.0, 1e-50]).unwrap_err().starts_with("row 0, column 1 (counted from 0) is 1e-50, and no entry"));
        assert_eq!((of(&[0.0, 0.0]), of(&[1e-20, 1e-300])), (Ok(()), Ok(())));
        let matrix = Matrix::new(1, 2, vec![1.0, f32::NAN]).unwrap();
        let text = Stored::from(matrix).fit().unwrap_err().to_string();
        assert!(text.starts_with("row 0, column 1 (counted from 0) is NaN; 1 entry is"), "{text}");
    }
}
