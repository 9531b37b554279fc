//! `f32` back to stored elements, those that did not change bit for bit as they were.

use super::{DType, Matrix, Orientation, decode};
use half::{bf16, f16};

/// The bytes of a tensor whose entries were treated; `None` for a type that cannot hold what they became.
///
/// Entries equal to what `stored` decodes to keep their bytes; others are rounded to the nearest number of the type,
/// ties to even.
pub fn encode(dtype: DType, orientation: Orientation, treated: &Matrix, stored: &[u8]) -> Option<Vec<u8>> {
    let mut out = stored.to_vec();
    let width = dtype.bits() / 8;
    let before = decode::decode(dtype, stored)?;
    let (rows, cols) = (treated.rows, treated.cols);
    for (at, (was, bytes)) in before.iter().zip(out.chunks_exact_mut(width)).enumerate() {
        let place = match orientation {
            Orientation::OutIn => at,
            Orientation::InOut => (at % rows) * cols + at / rows,
        };
        let now = *treated.data.get(place)?;
        if now.to_bits() != was.to_bits() {
            write(dtype, now, bytes)?;
        }
    }
    Some(out)
}

fn write(dtype: DType, value: f32, into: &mut [u8]) -> Option<()> {
    match dtype {
        DType::F64 => into.copy_from_slice(&f64::from(value).to_le_bytes()),
        DType::F32 => into.copy_from_slice(&value.to_le_bytes()),
        DType::F16 => into.copy_from_slice(&f16::from_f32(value).to_le_bytes()),
        DType::BF16 => into.copy_from_slice(&bf16::from_f32(value).to_le_bytes()),
        // Of these only zero is certain not to need a scale of its own.
        DType::F8E4M3 | DType::F8E5M2 if value == 0.0 => into.fill(0),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_keeps_its_bits_and_what_changes_is_rounded() {
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            let values = [1.0f32, -2.5, 0.0, 3.0, 0.125, -7.0];
            let mut stored = vec![0u8; 6 * dtype.bits() / 8];
            for (value, bytes) in values.iter().zip(stored.chunks_exact_mut(dtype.bits() / 8)) {
                write(dtype, *value, bytes).unwrap();
            }
            // Three rows of two in the file, two rows of three as the layer's matrix.
            let turned = Matrix::new(2, 3, vec![1.0, 0.0, 0.125, -2.5, 3.0, -7.0]).unwrap();
            assert_eq!(encode(dtype, Orientation::InOut, &turned, &stored).unwrap(), stored);
            let mut pruned = turned.clone();
            pruned.data[1..3].fill(0.0);
            let bytes = encode(dtype, Orientation::InOut, &pruned, &stored).unwrap();
            assert_eq!(decode::decode(dtype, &bytes).unwrap(), [1.0, -2.5, 0.0, 3.0, 0.0, -7.0]);
        }
        let odd = [f64::from(1.0f32) + 1e-12].map(f64::to_le_bytes).concat();
        let same = Matrix::new(1, 1, vec![1.0]).unwrap();
        assert_eq!(encode(DType::F64, Orientation::OutIn, &same, &odd).unwrap(), odd, "digits beyond f32 stay");
        let near = Matrix::new(1, 1, vec![1.003_906_3]).unwrap();
        let bytes = encode(DType::BF16, Orientation::OutIn, &near, &bf16::from_f32(2.0).to_le_bytes()).unwrap();
        assert_eq!(decode::decode(DType::BF16, &bytes).unwrap(), [1.0], "a tie goes to even");
        let one = Matrix::new(1, 1, vec![1.0]).unwrap();
        assert_eq!(encode(DType::F8E4M3, Orientation::OutIn, &one, &[0x40]), None);
    }
}
