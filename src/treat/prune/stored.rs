//! Pruning of a tensor's bytes as they are stored, without decoding them first: what apply does most.

#![allow(clippy::inline_always, reason = "see `isa`")]

use super::kernels::{self, Cleared, Format, Line, STRETCH};
use crate::model::decode::f16;
use crate::model::{DType, Layer, Orientation};
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
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
    if !matches!(dtype, DType::BF16 | DType::F16 | DType::F32) {
        return None;
    }
    let mut out = buffer();
    out.clear();
    out.reserve_exact(bytes.len());
    let which = Which { bytes, cols: layer.cols().max(1), least, removed, keep_going };
    let cleared = match dtype {
        DType::BF16 => which.clear::<Bf16, 2>(&mut out),
        DType::F16 => which.clear::<Half, 2>(&mut out),
        _ => which.clear::<Single, 4>(&mut out),
    };
    Some(cleared.map(|c| Stored { bytes: out, lost: c.lost, energy: c.all }))
}

struct Which<'a> {
    bytes: &'a [u8],
    cols: usize,
    /// Size of groups and how many go from each.
    least: Option<[usize; 2]>,
    removed: u64,
    keep_going: KeepGoing<'a>,
}

impl Which<'_> {
    /// Copies some rows at a time and clears them while they are in a near cache.
    fn clear<F: Format<Entry = [u8; N]>, const N: usize>(&self, out: &mut Vec<u8>) -> Result<Cleared, Stopped> {
        let mut line = match self.least {
            None => Some(Line::of::<F>(self.bytes.as_chunks().0, self.removed, self.keep_going)?),
            Some(_) => None,
        };
        let mut all = Cleared::default();
        let rows = (STRETCH / 2 / self.cols).max(1);
        for stretch in self.bytes.chunks(rows * self.cols * N) {
            check(self.keep_going)?;
            let from = out.len();
            out.extend_from_slice(stretch);
            let data = out[from..].as_chunks_mut().0;
            all.add(match (&mut line, self.least) {
                (Some(line), _) => line.clear::<F>(data, None),
                (None, least) => {
                    kernels::groups::<F>(data, None, self.cols, least.unwrap_or_default(), self.keep_going)?
                }
            });
        }
        Ok(all)
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

#[cfg(test)]
mod tests {
    use super::super::remove;
    use super::*;
    use crate::model::decode::decode;
    use crate::model::encode::encode;
    use crate::model::{Kind, Matrix};
    use crate::numerics::norms::energies;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_what_decoding_and_encoding_lead_to(
            rows in 1usize..9, cols in 1usize..90, seed in any::<u64>(), share in 0.0f64..=1.0, few in any::<bool>(),
            dtype in prop::sample::select(vec![DType::BF16, DType::F16, DType::F32]), m in 1usize..40,
        ) {
            let mut state = seed;
            let width = dtype.bits() / 8;
            let mut stored = Vec::new();
            for _ in 0..rows * cols {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Any pattern at all; or few, with ties and zeros of both signs.
                let tied = ((state >> 60) as u32 % 3 * 0x1000) | (((state >> 63) as u32) << 15);
                let bits = if few { tied } else { (state >> 32) as u32 };
                let bits = if few && width == 4 { bits << 16 } else { bits };
                stored.extend_from_slice(&bits.to_le_bytes()[..width]);
            }
            let layer = Layer { dtype, ..Layer::alone(Kind::Linear, &[rows, cols]) };
            for pattern in [Pattern::Unstructured, Pattern::PerRow, Pattern::Groups(m), Pattern::Groups(4)] {
                let how = Prune::of(share, pattern);
                let made = prune(&stored, dtype, &layer, how, &Vec::new, &|| true).unwrap().unwrap();
                let before = Matrix::new(rows, cols, decode(dtype, &stored).unwrap()).unwrap();
                let mut after = before.clone();
                let removed = remove(&mut after, &layer, how, &|| true).unwrap();
                prop_assert_eq!(&made.bytes, &encode(dtype, layer.orientation, &after, &stored).unwrap());
                let [all, _] = energies(&before.data, &after.data);
                if all.is_finite() {
                    prop_assert!((made.energy - all).abs() <= 1e-9 * all);
                    prop_assert!((made.lost - removed.energy).abs() <= 1e-9 * all);
                }
            }
        }
    }

    #[test]
    fn what_has_to_be_decoded_is_left_to_others() {
        let layer = Layer::alone(Kind::Linear, &[2, 2]);
        let with = |dtype, bytes: usize, how| prune(&vec![0; bytes], dtype, &layer, how, &Vec::new, &|| true);
        assert!(with(DType::BF16, 8, Prune::unstructured(0.5)).is_some());
        assert!(with(DType::BF16, 7, Prune::unstructured(0.5)).is_none());
        assert!(with(DType::F64, 32, Prune::unstructured(0.5)).is_none());
        assert!(with(DType::BF16, 8, Prune::of(0.5, Pattern::Rows)).is_none());
        let turned = Layer { orientation: Orientation::InOut, ..layer.clone() };
        assert!(prune(&[0; 8], DType::BF16, &turned, Prune::unstructured(0.5), &Vec::new, &|| true).is_none());
    }
}
