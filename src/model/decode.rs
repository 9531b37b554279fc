//! Stored elements to `f32`. Data may be unaligned, so elements are read through their bytes.

#![allow(clippy::inline_always, reason = "compiled for an instruction set only where it is inlined")]

use super::DType;

/// Decodes little-endian elements; `None` for types that are not floating-point weights.
pub fn decode(dtype: DType, bytes: &[u8]) -> Option<Vec<f32>> {
    if !dtype.is_float() {
        return None;
    }
    let mut out = vec![0.0; bytes.len() * 8 / dtype.bits()];
    decode_into(dtype, bytes, &mut out).then_some(out)
}

/// Decodes as many elements as `out` holds; `false` for types that are not floating-point weights.
pub fn decode_into(dtype: DType, bytes: &[u8], out: &mut [f32]) -> bool {
    // Compiled for the widest vectors of this machine.
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || by_type(dtype, bytes, out),
    )
}

#[inline(always)]
fn by_type(dtype: DType, bytes: &[u8], out: &mut [f32]) -> bool {
    match dtype {
        DType::F32 => each::<4>(bytes, out, f32::from_le_bytes),
        // Values beyond f32 become infinite and are then reported as not finite.
        DType::F64 => each::<8>(bytes, out, |b| f64::from_le_bytes(b) as f32),
        DType::BF16 => each::<2>(bytes, out, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
        DType::F16 => each::<2>(bytes, out, |b| f16(u16::from_le_bytes(b))),
        DType::F8E4M3 => table(bytes, out, f8_e4m3),
        DType::F8E5M2 => table(bytes, out, |b| f16(u16::from(b) << 8)),
        _ => return false,
    }
    true
}

/// The value of a 16-bit pattern; `None` for types of other widths.
pub fn pattern(dtype: DType, bits: u16) -> Option<f32> {
    match dtype {
        DType::BF16 => Some(f32::from_bits(u32::from(bits) << 16)),
        DType::F16 => Some(f16(bits)),
        _ => None,
    }
}

#[inline(always)]
fn each<const N: usize>(bytes: &[u8], out: &mut [f32], f: impl Fn([u8; N]) -> f32) {
    let (chunks, _) = bytes.as_chunks::<N>();
    out.iter_mut().zip(chunks).for_each(|(o, &c)| *o = f(c));
}

#[inline(always)]
fn table(bytes: &[u8], out: &mut [f32], f: impl Fn(u8) -> f32) {
    let table: [f32; 256] = std::array::from_fn(|i| f(i as u8));
    out.iter_mut().zip(bytes).for_each(|(o, &b)| *o = table[usize::from(b)]);
}

/// IEEE half precision, without branches: rebias the exponent through a multiplication that also handles subnormals.
#[inline(always)]
pub(crate) fn f16(bits: u16) -> f32 {
    let (sign, rest) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff) << 13);
    let scaled = f32::from_bits(rest) * f32::from_bits(0x7780_0000); // 2^112
    // Infinity and NaN have all exponent bits set, in f32 as in f16.
    let special = if bits & 0x7c00 == 0x7c00 { rest | 0x7f80_0000 } else { scaled.to_bits() };
    f32::from_bits(sign | special)
}

/// `float8_e4m3fn`: bias 7, no infinity, NaN only where all other bits are set.
fn f8_e4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 8.0 * 2f32.powi(-6),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_and_bfloat_pattern_decodes_as_the_half_crate_does() {
        for bits in 0..=u16::MAX {
            let b = bits.to_le_bytes();
            let (h, bf) = (decode(DType::F16, &b).unwrap()[0], decode(DType::BF16, &b).unwrap()[0]);
            let (wh, wbf) = (half::f16::from_bits(bits).to_f32(), half::bf16::from_bits(bits).to_f32());
            assert!(h.to_bits() == wh.to_bits() || h.is_nan() && wh.is_nan(), "f16 {bits:#x}");
            assert!(bf.to_bits() == wbf.to_bits() || bf.is_nan() && wbf.is_nan(), "bf16 {bits:#x}");
        }
    }

    #[test]
    fn eight_bit_floats_have_their_published_extremes() {
        let e4 = |b: u8| decode(DType::F8E4M3, &[b]).unwrap()[0];
        assert_eq!((e4(0x7e), e4(0x01), e4(0x08), e4(0x38)), (448.0, 2f32.powi(-9), 2f32.powi(-6), 1.0));
        assert!(e4(0x7f).is_nan() && e4(0xff).is_nan());
        assert_eq!(e4(0xb8), -1.0);
        let e5 = |b: u8| decode(DType::F8E5M2, &[b]).unwrap()[0];
        assert_eq!((e5(0x7b), e5(0x01), e5(0x3c)), (57344.0, 2f32.powi(-16), 1.0));
        assert!(e5(0x7c).is_infinite() && e5(0x7e).is_nan());
    }

    #[test]
    fn elements_are_read_from_any_offset_and_integers_are_not_weights() {
        let bytes = [9, 0, 0, 128, 63, 0, 0, 0, 192];
        assert_eq!(decode(DType::F32, &bytes[1..]).unwrap(), [1.0, -2.0]);
        assert_eq!(decode(DType::F64, &1.5f64.to_le_bytes()).unwrap(), [1.5]);
        assert_eq!(decode(DType::I8, &bytes), None);
    }
}
