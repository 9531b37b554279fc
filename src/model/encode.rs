//! `f32` back to stored elements, those that did not change bit for bit as they were.

use super::{DType, Matrix, Orientation, decode};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Elements that are encoded at a time.
const PIECE: usize = 4096;

/// The bytes of a tensor whose entries were treated; `None` for a type that cannot hold what they became.
///
/// Entries equal to what `stored` decodes to keep their bytes; others are rounded to the nearest number of the type,
/// ties to even.
pub fn encode(dtype: DType, orientation: Orientation, treated: &Matrix, stored: &[u8]) -> Option<Vec<u8>> {
    let turned;
    let data = match orientation {
        Orientation::OutIn => &treated.data,
        Orientation::InOut => {
            turned = treated.transposed();
            &turned.data
        }
    };
    if !dtype.is_float() || stored.len() * 8 != data.len() * dtype.bits() {
        return None;
    }
    let bytes = PIECE * dtype.bits() / 8;
    let mut out = vec![0; stored.len()];
    let mut before = [0f32; PIECE];
    for ((now, stored), out) in data.chunks(PIECE).zip(stored.chunks(bytes)).zip(out.chunks_mut(bytes)) {
        let before = &mut before[..now.len()];
        if !decode::decode_into(dtype, stored, before) {
            return None;
        }
        round(dtype, now, before, out)?;
        match dtype.bits() / 8 {
            1 => keep::<1>(now, before, stored, out),
            2 => keep::<2>(now, before, stored, out),
            4 => keep::<4>(now, before, stored, out),
            _ => keep::<8>(now, before, stored, out),
        }
    }
    Some(out)
}

/// The bytes of entries that are new; `None` for a type that has no number near one of them.
pub fn encode_new(dtype: DType, entries: &[f32]) -> Option<Vec<u8>> {
    if matches!(dtype, DType::F8E4M3 | DType::F8E5M2) {
        return None;
    }
    let bytes = PIECE * dtype.bits() / 8;
    let mut out = vec![0; entries.len() * dtype.bits() / 8];
    let mut back = [0f32; PIECE];
    for (piece, out) in entries.chunks(PIECE).zip(out.chunks_mut(bytes.max(1))) {
        round(dtype, piece, piece, out)?;
        let back = &mut back[..piece.len()];
        let held = decode::decode_into(dtype, out, back) && back.iter().all(|w| w.is_finite());
        if !held {
            return None;
        }
    }
    Some(out)
}

/// Puts the old bytes back wherever an element is what it was.
fn keep<const N: usize>(now: &[f32], before: &[f32], stored: &[u8], out: &mut [u8]) {
    let (stored, out) = (stored.as_chunks::<N>().0, out.as_chunks_mut::<N>().0);
    for ((n, b), (old, new)) in now.iter().zip(before).zip(stored.iter().zip(out)) {
        *new = if n.to_bits() == b.to_bits() { *old } else { *new };
    }
}

/// Writes entries in a type, rounded to the nearest, ties to even.
fn round(dtype: DType, now: &[f32], before: &[f32], out: &mut [u8]) -> Option<()> {
    match dtype {
        DType::F64 => each(now, out, |w| f64::from(w).to_le_bytes()),
        DType::F32 => each(now, out, f32::to_le_bytes),
        DType::F16 => {
            let mut halves = [f16::ZERO; PIECE];
            let halves = &mut halves[..now.len()];
            halves.convert_from_f32_slice(now);
            each(halves, out, f16::to_le_bytes);
        }
        DType::BF16 => each(now, out, |w| bf16_bits(w).to_le_bytes()),
        // Of these only zero is certain not to need a scale of its own.
        DType::F8E4M3 | DType::F8E5M2 => {
            if now.iter().zip(before).any(|(n, b)| *n != 0.0 && n.to_bits() != b.to_bits()) {
                return None;
            }
            out.fill(0);
        }
        _ => return None,
    }
    Some(())
}

fn each<T: Copy, const N: usize>(now: &[T], out: &mut [u8], bytes: impl Fn(T) -> [u8; N]) {
    out.as_chunks_mut::<N>().0.iter_mut().zip(now).for_each(|(o, w)| *o = bytes(*w));
}

/// Without branches, so that it vectorises.
fn bf16_bits(w: f32) -> u16 {
    let bits = w.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    // A NaN stays one, whatever its lower half was.
    ((if w.is_nan() { bits | 0x0040_0000 } else { nearest }) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::bf16;

    #[test]
    fn what_stays_keeps_its_bits_and_what_changes_is_rounded() {
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            let values = [1.0f32, -2.5, 0.0, 3.0, 0.125, -7.0];
            let mut stored = vec![0u8; 6 * dtype.bits() / 8];
            for (value, bytes) in values.iter().zip(stored.chunks_exact_mut(dtype.bits() / 8)) {
                bytes.copy_from_slice(&encode_new(dtype, &[*value]).unwrap());
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
    #[test]
    fn rounding_is_that_of_the_half_crate() {
        let odd =
            [0.0, -0.0, f32::MIN_POSITIVE, 1e-40, 3.4e38, f32::INFINITY, -f32::INFINITY, f32::NAN, 65519.0, 65520.0];
        let mut state = 1u32;
        let random = (0..20_000).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from_bits(state)
        });
        let values: Vec<f32> = odd.into_iter().chain(random).collect();
        let (mut h, mut bf) = (vec![0; values.len() * 2], vec![0; values.len() * 2]);
        for (i, piece) in values.chunks(PIECE).enumerate() {
            let place = i * PIECE * 2..(i * PIECE + piece.len()) * 2;
            round(DType::F16, piece, piece, &mut h[place.clone()]).unwrap();
            round(DType::BF16, piece, piece, &mut bf[place]).unwrap();
        }
        for ((w, h), bf) in values.iter().zip(h.as_chunks::<2>().0).zip(bf.as_chunks::<2>().0) {
            let (h, bf) = (f16::from_le_bytes(*h), bf16::from_le_bytes(*bf));
            let (want_h, want_bf) = (f16::from_f32(*w), bf16::from_f32(*w));
            assert!(h.to_bits() == want_h.to_bits() || h.is_nan() && want_h.is_nan(), "{w:e}");
            assert!(bf.to_bits() == want_bf.to_bits() || bf.is_nan() && want_bf.is_nan(), "{w:e}");
        }
        assert_eq!(encode_new(DType::F16, &[1.0, 65520.0]), None, "beyond the largest");
        assert!(encode_new(DType::BF16, &[1.0, 65520.0]).is_some());
        assert_eq!(encode_new(DType::F8E4M3, &[1.0]), None);
    }

    #[test]
    fn long_tensors_are_encoded_piece_by_piece() {
        let entries: Vec<f32> = (0..PIECE * 2 + 77).map(|i| (i as f32 * 0.37).sin()).collect();
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let stored = encode_new(dtype, &entries).unwrap();
            let mut matrix = Matrix::new(1, entries.len(), decode::decode(dtype, &stored).unwrap()).unwrap();
            matrix.data.iter_mut().step_by(3).for_each(|w| *w = 0.0);
            let bytes = encode(dtype, Orientation::OutIn, &matrix, &stored).unwrap();
            assert_eq!(decode::decode(dtype, &bytes).unwrap(), matrix.data);
            assert_eq!(encode(dtype, Orientation::OutIn, &matrix, &stored[..8]), None, "another length");
        }
    }
}
