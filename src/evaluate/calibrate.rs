//! What the layers of a model hear on calibration data: one pass forward, and one backward over a part of it.

mod ears;
mod file;
mod gradient;
mod sums;

use super::data::{Slice, Unit};
use super::{Batch, Moments, Network, RunError};
use crate::model::{LayerId, Model};
use ears::Ears;
use std::time::Instant;

pub use file::FORMAT;

/// Tokens that are run together. Logits of all of them are held: 200 MB for a vocabulary of 49,152.
const TOGETHER: usize = 1024;

/// What is wanted of a calibration.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only these layers; `None` for all that the network runs.
    pub layers: Option<Vec<LayerId>>,
    /// With more columns than this only the diagonal of E\[x xᵀ\] is kept.
    pub limit: usize,
    /// Bytes that all Gram matrices may take together; of layers for which none are left only the diagonal is kept.
    pub room: u64,
    /// Whether to take gradients of the loss as well: over a part of the data, and with as much memory again as the
    /// weights take.
    pub gradients: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { layers: None, limit: 8192, room: u64::MAX, gradients: true }
    }
}

impl Options {
    fn wants(&self, layer: LayerId) -> bool {
        self.layers.as_ref().is_none_or(|layers| layers.contains(&layer))
    }
}

/// Why a calibration was given up.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The model could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A layer hears or answers what is no number.
    #[error(
        "{model}: layer {layer}: {what} holds a value that is not finite, in column {column}, on {data}; check the \
         weights with `slimscope inspect`, or take other data"
    )]
    NotFinite {
        /// The model's name.
        model: String,
        /// The layer's.
        layer: String,
        /// Its input, or the gradient by its output.
        what: &'static str,
        /// Column of that value.
        column: usize,
        /// The slice's name.
        data: String,
    },
}

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
    /// What was left out, and why.
    pub remarks: Vec<String>,
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
    /// E\[g²\] of g = ∂L/∂y by its output y, the diagonal of [`Moments`] over the rows of y; L is the sum of the
    /// cross-entropies in nats of the tokens of a window, or of images.
    pub gradient: Option<Moments>,
}

impl Calibration {
    /// Each layer with the moments of its input.
    pub fn moments(&self) -> impl Iterator<Item = (&Heard, &Moments)> {
        self.layers.iter().filter_map(|heard| Some((heard, self.inputs.get(heard.input)?)))
    }
}

/// Runs the model over a slice and sums up what its layers hear: every token of every window, the last as well.
///
/// `tell` hears the share done after each batch and says whether to go on; `None` when it was told to stop.
pub fn calibrate(
    network: &Network,
    model: &Model,
    slice: &Slice,
    options: &Options,
    tell: &mut dyn FnMut(f64) -> bool,
) -> Result<Option<Calibration>, CalibrateError> {
    let start = Instant::now();
    let chosen = if options.gradients { gradient::chosen(&slice.units) } else { Vec::new() };
    let units: Vec<&Unit> = slice.units.iter().collect();
    // A pass backward takes about twice as long as one forward.
    let cost = |units: &[&Unit], times: usize| times * units.iter().map(|u| u.len()).sum::<usize>();
    let total = (cost(&units, 1) + cost(&chosen, 3)).max(1) as f64;
    let mut done = 0;
    let mut ears = Ears::new(network, model, &slice.name, options);
    for group in batches(&units) {
        ears.run(&batch(&group))?;
        done += cost(&group, 1);
        if !tell(done as f64 / total) {
            return Ok(None);
        }
    }
    // Now rather than at the end: the pass backward needs the room that sums take on a GPU.
    let mut remarks: Vec<String> = ears.without_room().into_iter().collect();
    let (heard, inputs) = ears.heard()?;
    let mut backward = gradient::Gradients::new(network, model, &slice.name, options);
    for group in batches(&chosen) {
        if let Some(why) = backward.run(&group)? {
            remarks.push(format!("no gradients: {why}"));
            break;
        }
        done += cost(&group, 3);
        if !tell(done as f64 / total) {
            return Ok(None);
        }
    }
    let heard = heard.into_iter().filter_map(|(layer, input)| {
        let name = model.layer(layer)?.name.clone();
        Some(Heard { layer, name, input, gradient: backward.moments.remove(&layer) })
    });
    Ok(Some(Calibration {
        data: slice.name.clone(),
        context: slice.context,
        tokens: slice.len() as u64,
        seconds: start.elapsed().as_secs_f64(),
        layers: heard.collect(),
        remarks,
        inputs,
    }))
}

/// Units that are run together: windows of one length, images a batch at a time.
fn batches<'a>(units: &[&'a Unit]) -> Vec<Vec<&'a Unit>> {
    let mut groups: Vec<Vec<&Unit>> = Vec::new();
    for &unit in units {
        match groups.last_mut() {
            Some(group)
                if matches!(unit, Unit::Window { .. })
                    && group.iter().all(|u| u.len() == unit.len())
                    && (group.len() + 1) * unit.len() <= TOGETHER =>
            {
                group.push(unit);
            }
            _ => groups.push(vec![unit]),
        }
    }
    groups
}

/// What the network takes of them.
fn batch(units: &[&Unit]) -> Batch {
    let mut rows = Vec::new();
    for unit in units {
        match unit {
            Unit::Window { tokens, .. } => rows.push(tokens.clone()),
            Unit::Images { pixels, labels } => {
                return Batch::Images { pixels: pixels.clone(), count: labels.len() };
            }
        }
    }
    Batch::Tokens(rows)
}

#[cfg(test)]
mod tests;
