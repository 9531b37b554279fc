//! How strongly the loss depends on what layers answer: E\[g²\] of its gradient by each output.
//!
//! This is the diagonal of the empirical Fisher information of the outputs, taken through the whole model. Where several
//! numbers tie for a maximum, as in max pooling over a flat background, they share its derivative; PyTorch gives it to
//! one of them.

use super::ears::not_finite;
use super::{Batch, CalibrateError, Options, batch};
use crate::evaluate::data::Unit;
use crate::evaluate::{Moments, Network};
use crate::model::{LayerId, Model};
use candle_core::{DType, Error, Result as Tensed, Tensor, Var};
use candle_nn::ops::log_softmax;
use std::collections::BTreeMap;

/// Tokens or images that are enough: a mean of squares over so many is known to a few per cent.
const ENOUGH: usize = 4096;

/// Units spread evenly over the slice, with about [`ENOUGH`] tokens or images in them.
pub fn chosen(units: &[Unit]) -> Vec<&Unit> {
    let total: usize = units.iter().map(Unit::len).sum();
    let step = total.div_ceil(ENOUGH).max(1);
    units.iter().step_by(step).collect()
}

/// Sums up squares of gradients.
pub struct Gradients<'a> {
    network: Network,
    model: &'a Model,
    data: &'a str,
    options: &'a Options,
    /// By layer; their diagonal is E\[g²\] over the rows of the output.
    pub moments: BTreeMap<LayerId, Moments>,
}

impl<'a> Gradients<'a> {
    /// Nothing summed up yet.
    pub fn new(network: &Network, model: &'a Model, data: &'a str, options: &'a Options) -> Self {
        Self { network: network.clone().differentiable(true), model, data, options, moments: BTreeMap::new() }
    }

    /// Runs units forward and backward; why not, for a model that has no loss or no derivative.
    pub fn run(&mut self, units: &[&Unit]) -> Result<Option<String>, CalibrateError> {
        let batch = batch(units);
        // Zeros that are added to each output: the loss's gradient by them is that by the output.
        let mut added: Vec<(LayerId, Var)> = Vec::new();
        let mut add = |layer: LayerId, y: Tensor| -> Tensed<Tensor> {
            if !self.options.wants(layer) {
                return Ok(y);
            }
            let zeros = Var::zeros(y.shape(), DType::F32, y.device())?;
            let sum = (y + zeros.as_tensor())?;
            added.push((layer, zeros));
            Ok(sum)
        };
        let logits = self.network.logits_through(&batch, None, Some(&mut add))?;
        if let Some(why) = self.no_loss(&batch, &logits) {
            return Ok(Some(why));
        }
        let failed = |e: Error| self.network.failed(e);
        let gradients = match self.network.arithmetic(|| loss(units, &logits).and_then(|l| l.backward())) {
            Ok(gradients) => gradients,
            Err(error @ Error::BackwardNotSupported { .. }) => return Ok(Some(error.to_string())),
            Err(error) => return Err(failed(error).into()),
        };
        for (layer, zeros) in added {
            // A layer that the loss does not depend on has none.
            let Some(gradient) = gradients.get(&zeros) else { continue };
            let columns = gradient.dim(1).map_err(failed)?;
            let values = gradient.flatten_all().and_then(|g| g.to_vec1::<f32>()).map_err(failed)?;
            let moments = self.moments.entry(layer).or_insert_with(|| Moments::new(columns, 0));
            let what = "the loss's gradient by its output";
            moments.add(&values).map_err(|wrong| not_finite(self.model, layer, what, wrong, self.data))?;
        }
        Ok(None)
    }

    /// Why there is no loss: an encoder gives hidden states, not what comes next.
    fn no_loss(&self, batch: &Batch, logits: &Tensor) -> Option<String> {
        let vocabulary = self.model.config.as_ref()?.get("vocab_size")?.as_u64()?;
        let width = logits.dims().last().copied().unwrap_or(0) as u64;
        let predicts = matches!(batch, Batch::Images { .. }) || width == vocabulary;
        (!predicts).then(|| format!("{} predicts no token, so there is no loss", self.model.name))
    }
}

/// The sum of cross-entropies in nats: of each token but a window's first, or of each image's label.
fn loss(units: &[&Unit], logits: &Tensor) -> Tensed<Tensor> {
    let mut targets: Vec<u32> = Vec::new();
    let mut windows = false;
    for unit in units {
        match unit {
            Unit::Window { tokens, .. } => {
                windows = true;
                targets.extend(tokens.iter().skip(1));
            }
            Unit::Images { labels, .. } => targets.extend(labels),
        }
    }
    let logits = if windows { logits.narrow(1, 0, logits.dim(1)? - 1)?.flatten(0, 1)? } else { logits.clone() };
    let count = targets.len();
    let targets = Tensor::from_vec(targets, (count, 1), logits.device())?;
    log_softmax(&logits, 1)?.gather(&targets, 1)?.sum_all()?.neg()
}
