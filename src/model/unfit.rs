//! Entries that make a layer unmeasurable: NaN, infinity, and what `f32` cannot hold.

#![allow(clippy::inline_always, reason = "compiled for an instruction set only where it is inlined")]

use super::DType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why no figure of a layer is defined: its first entry that is NaN or infinite, or that `f32` cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Unfit {
    /// Row of the matrix view, from 0.
    pub row: usize,
    /// Column of the matrix view, from 0.
    pub col: usize,
    /// The entry as it is stored.
    pub value: f64,
    /// Entries of this kind.
    pub count: u64,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (row, col, value, count) = (self.row, self.col, self.value, self.count);
        write!(f, "row {row}, column {col} (counted from 0) is ")?;
        if value.is_nan() {
            write!(f, "NaN")?;
        } else if value.is_infinite() {
            write!(f, "{}infinity", if value < 0.0 { "-" } else { "" })?;
        } else if value.abs() > 1.0 {
            return write!(
                f,
                "{value:e}, more than the largest f32 ({count} such entries): rescale the tensor to measure it"
            );
        } else {
            return write!(
                f,
                "{value:e}, and no entry is larger: f32 loses its digits; rescale the tensor to measure it"
            );
        }
        let (noun, verb) = if count == 1 { ("entry", "is") } else { ("entries", "are") };
        write!(f, "; {count} {noun} {verb} NaN or infinite: no norm or spectrum is defined")
    }
}

impl std::error::Error for Unfit {}

/// Entries looked at together.
const PIECE: usize = 1 << 12;
/// Such pieces between two questions whether to go on.
const ASK_EVERY: usize = 256;

/// Magnitudes below this lose digits when an `f64` becomes an `f32`: 2⁻¹²⁶ is the smallest normal number, and the
/// largest entry of a matrix should have 24 bits to spare above it, so that entries next to it are not rounded.
const VANISHING: f64 = 1.0 / (1u128 << 102) as f64;

/// Told to stop.
pub(super) struct Halted;

/// Index, value and number of the entries that a finite `f32` cannot hold, `Ok(None)` where all are fit; an error when told
/// to stop.
pub(super) fn first(
    dtype: DType,
    bytes: &[u8],
    keep_going: &dyn Fn() -> bool,
) -> Result<Option<(usize, f64, u64)>, Halted> {
    let width = (dtype.bits() / 8).max(1);
    let arch = pulp::Arch::new();
    let (mut found, mut count) = (None, 0u64);
    for (i, piece) in bytes.chunks(PIECE * width).enumerate() {
        if i.is_multiple_of(ASK_EVERY) && !keep_going() {
            return Err(Halted);
        }
        let here = arch.dispatch(
            #[inline(always)]
            || by_type(dtype, piece),
        );
        if here > 0 && found.is_none() {
            let at = piece.chunks_exact(width).position(|entry| by_type(dtype, entry) > 0).unwrap_or(0);
            found = Some((i * PIECE + at, value(dtype, &piece[at * width..])));
        }
        count += u64::from(here);
    }
    if let Some((at, value)) = found {
        return Ok(Some((at, value, count)));
    }
    Ok((dtype == DType::F64).then(|| vanishing(bytes)).flatten())
}

/// The largest entry of a tensor of doubles that are all too small for `f32`.
fn vanishing(bytes: &[u8]) -> Option<(usize, f64, u64)> {
    let entries = bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b));
    let largest = entries.clone().fold(0f64, |m, w| m.max(w.abs()));
    if largest == 0.0 || largest >= VANISHING {
        return None;
    }
    let (at, value) = entries.clone().enumerate().find(|(_, w)| w.abs() == largest)?;
    Some((at, value, entries.filter(|w| *w != 0.0).count() as u64))
}

/// The entry that these bytes begin with.
fn value(dtype: DType, bytes: &[u8]) -> f64 {
    if let (DType::F64, Some(b)) = (dtype, bytes.first_chunk()) {
        return f64::from_le_bytes(*b);
    }
    let mut out = [0f32];
    super::decode::decode_into(dtype, bytes, &mut out);
    f64::from(out[0])
}

#[inline(always)]
fn by_type(dtype: DType, bytes: &[u8]) -> u32 {
    match dtype {
        DType::F32 => count::<4>(bytes, |b| u32::from_le_bytes(b) & 0x7f80_0000 == 0x7f80_0000),
        DType::F64 => count::<8>(bytes, |b| !(f64::from_le_bytes(b) as f32).is_finite()),
        DType::BF16 => count::<2>(bytes, |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80),
        DType::F16 => count::<2>(bytes, |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00),
        DType::F8E4M3 => count::<1>(bytes, |[b]| b & 0x7f == 0x7f),
        DType::F8E5M2 => count::<1>(bytes, |[b]| b & 0x7c == 0x7c),
        _ => 0,
    }
}

#[inline(always)]
fn count<const N: usize>(bytes: &[u8], bad: impl Fn([u8; N]) -> bool) -> u32 {
    bytes.as_chunks::<N>().0.iter().map(|b| u32::from(bad(*b))).sum()
}
