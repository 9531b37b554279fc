//! Pruning of a tensor's bytes as they are stored, without decoding them first: what apply does most.

#![allow(clippy::inline_always, reason = "see `isa`")]

use super::kernels::{self, Cleared, Format};
use crate::model::decode::f16;
use crate::model::{DType, Layer, Orientation};
use crate::numerics::{KeepGoing, Stopped};
use crate::treat::{Criterion, Pattern, Prune};

/// What became of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its bytes: zeros, and all others as they were.
    pub bytes: Vec<u8>,
    /// ‖W − Ŵ‖_F².
    pub lost: f64,
    /// ‖W‖_F².
    pub energy: f64,
}

/// The bytes that [`super::remove`] and encoding lead to. `None` where that has to be gone through: single entries go by
/// their magnitude from tensors in the layer's own order. `buffer` gives room for as many bytes, whatever is in it.
pub fn prune(
    bytes: &[u8],
    dtype: DType,
    layer: &Layer,
    how: Prune,
    buffer: &dyn Fn() -> Vec<u8>,
    keep_going: KeepGoing<'_>,
) -> Option<Result<Stored, Stopped>> {
    let entries = layer.rows().checked_mul(layer.cols())?;
    let whole = entries.checked_mul(dtype.bits())? == bytes.len().checked_mul(8)?;
    if !whole || layer.orientation != Orientation::OutIn || how.criterion != Criterion::Magnitude {
        return None;
    }
    let removed = how.pattern.removed(how.remove, layer);
    let least = match how.pattern {
        Pattern::Unstructured => None,
        Pattern::PerRow => Some([layer.cols(), removed as usize]),
        Pattern::Groups(m) => Some([m, removed as usize]),
        _ => return None,
    };
    let which = Which { cols: layer.cols(), least, removed, keep_going };
    if !matches!(dtype, DType::BF16 | DType::F16 | DType::F32) {
        return None;
    }
    let mut out = buffer();
    out.clear();
    out.extend_from_slice(bytes);
    let cleared = match dtype {
        DType::BF16 => which.clear::<Bf16>(out.as_chunks_mut().0),
        DType::F16 => which.clear::<Half>(out.as_chunks_mut().0),
        DType::F32 => which.clear::<Single>(out.as_chunks_mut().0),
        _ => return None,
    };
    Some(cleared.map(|c| Stored { bytes: out, lost: c.lost, energy: c.all }))
}

struct Which<'a> {
    cols: usize,
    /// Size of groups and how many go from each.
    least: Option<[usize; 2]>,
    removed: u64,
    keep_going: KeepGoing<'a>,
}

impl Which<'_> {
    fn clear<F: Format>(&self, data: &mut [F::Entry]) -> Result<Cleared, Stopped> {
        match self.least {
            None => kernels::entries::<F>(data, None, self.removed, self.keep_going),
            Some(least) => kernels::groups::<F>(data, None, self.cols, least, self.keep_going),
        }
    }
}

struct Bf16;
struct Half;
struct Single;

impl Format for Bf16 {
    type Entry = [u8; 2];
    const ZERO: [u8; 2] = [0; 2];
    const LOW: u32 = 0;
    #[inline(always)]
    fn pattern(entry: [u8; 2]) -> u32 {
        u32::from(u16::from_le_bytes(entry) & 0x7fff)
    }
    #[inline(always)]
    fn value(entry: [u8; 2]) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes(entry)) << 16)
    }
}

impl Format for Half {
    type Entry = [u8; 2];
    const ZERO: [u8; 2] = [0; 2];
    const LOW: u32 = 0;
    #[inline(always)]
    fn pattern(entry: [u8; 2]) -> u32 {
        u32::from(u16::from_le_bytes(entry) & 0x7fff)
    }
    #[inline(always)]
    fn value(entry: [u8; 2]) -> f32 {
        f16(u16::from_le_bytes(entry))
    }
}

impl Format for Single {
    type Entry = [u8; 4];
    const ZERO: [u8; 4] = [0; 4];
    const LOW: u32 = 16;
    #[inline(always)]
    fn pattern(entry: [u8; 4]) -> u32 {
        u32::from_le_bytes(entry) & 0x7fff_ffff
    }
    #[inline(always)]
    fn value(entry: [u8; 4]) -> f32 {
        f32::from_le_bytes(entry)
    }
}
