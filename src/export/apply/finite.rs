//! Refusal of layers that hold NaN or infinity, before anything is written: what is left of such a matrix is no number, and a
//! check of the result could say nothing of it.

use super::layout::Layout;
use super::{Apply, ApplyError, work};
use crate::model::decode::decode_into;
use crate::model::{Layer, Tensor};
use crate::numerics::KeepGoing;

/// Entries decoded at a time.
const PIECE: usize = 1 << 16;

impl Apply<'_> {
    /// Reads every layer that is treated, and refuses the first that is not finite, by tensor and position.
    pub(super) fn finite(&self, layout: &Layout, keep_going: KeepGoing<'_>) -> Result<(), ApplyError> {
        let layers: Vec<&Layer> = layout.jobs.iter().filter_map(|job| self.model.layer(job.layer)).collect();
        let needs = vec![PIECE as u64 * 4; layers.len()];
        let look = |i: usize, wanted: KeepGoing<'_>| {
            let found = self.not_finite(layers[i], wanted);
            self.weights.release(self.model, layers[i]);
            found
        };
        work::in_order(&needs, self.limits, keep_going, &look, |next| {
            layers.iter().try_for_each(|_| next().unwrap_or(Ok(())))
        })
    }

    fn not_finite(&self, layer: &Layer, keep_going: KeepGoing<'_>) -> Result<(), ApplyError> {
        let Some(tensor) = self.model.tensors.get(layer.tensor) else { return Ok(()) };
        let stored = self.weights.bytes(self.model, tensor)?;
        let width = (tensor.dtype.bits() / 8).max(1);
        let mut buffer = vec![0f32; PIECE.min(tensor.len())];
        for (number, bytes) in stored.chunks(PIECE * width).enumerate() {
            let entries = &mut buffer[..bytes.len() / width];
            if !keep_going() || !decode_into(tensor.dtype, bytes, entries) {
                return Ok(());
            }
            // All of them without a branch, several at a time; which one only where there is one.
            if entries.iter().fold(true, |all, w| all & w.is_finite()) {
                continue;
            }
            if let Some(at) = entries.iter().position(|w| !w.is_finite()) {
                return Err(refused(layer, tensor, number * PIECE + at, entries[at]));
            }
        }
        Ok(())
    }
}

fn refused(layer: &Layer, tensor: &Tensor, at: usize, entry: f32) -> ApplyError {
    let what = if entry.is_nan() { "NaN" } else { "an infinity" };
    ApplyError::NotFinite {
        layer: layer.name.clone(),
        tensor: tensor.name.clone(),
        what,
        at: position(&tensor.shape, at),
    }
}

/// Indices of an entry, as the tensor is stored.
fn position(shape: &[usize], at: usize) -> Vec<usize> {
    let mut left = at;
    let mut out: Vec<usize> = shape
        .iter()
        .rev()
        .map(|extent| {
            let index = left % (*extent).max(1);
            left /= (*extent).max(1);
            index
        })
        .collect();
    out.reverse();
    out
}

#[cfg(test)]
mod tests {
    use super::position;

    #[test]
    fn positions_are_those_of_the_stored_tensor() {
        assert_eq!(position(&[3, 4], 7), [1, 3]);
        assert_eq!(position(&[2, 3, 4], 23), [1, 2, 3]);
        assert_eq!(position(&[5], 4), [4]);
    }
}
