//! What the layers of a model hear on calibration data: one pass forward, and one backward over a part of it.

mod file;

use super::Moments;
use crate::model::LayerId;

pub use file::FORMAT;

/// What the layers heard. Holds the Gram matrices in `f64`: 8·in_features² bytes for each tensor that is heard.
#[derive(Debug, Clone, Default)]
pub struct Calibration {
    /// The data's file and range, as a slice is named.
    pub data: String,
    /// Tokens of a window; `None` for images.
    pub context: Option<usize>,
    /// Tokens or examples run.
    pub tokens: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// Layers in module order.
    pub layers: Vec<Heard>,
    /// Moments of what they heard, each once for layers that hear the same tensor.
    inputs: Vec<Moments>,
}

/// A layer that was heard.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Which.
    pub layer: LayerId,
    /// Its name.
    pub name: String,
    /// Which of the inputs it hears.
    input: usize,
    /// Moments of the loss's gradient by its output, diagonal alone.
    pub gradient: Option<Moments>,
}

impl Calibration {
    /// Each layer with the moments of its input.
    pub fn moments(&self) -> impl Iterator<Item = (&Heard, &Moments)> {
        self.layers.iter().filter_map(|heard| Some((heard, self.inputs.get(heard.input)?)))
    }
}

#[cfg(test)]
mod tests;
