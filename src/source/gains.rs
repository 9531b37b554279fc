//! Gains of batch normalisation, a few numbers a layer, read at once: a criterion of pruning goes by them.

use super::Weights;
use crate::model::{Model, decode};
use std::sync::Arc;

/// Reads the layers of a checkpoint whose headers are known, with the gains of batch normalisation filled in; those
/// that cannot be read stay out.
pub fn opened(model: Model, weights: Weights) -> (Model, Weights) {
    let mut model = model.from_header_and(&weights);
    let gains: Vec<Option<Arc<[f32]>>> = model
        .layers
        .iter()
        .map(|layer| {
            let tensor = model.tensors.get(layer.norm?)?;
            let bytes = weights.bytes(&model, tensor).ok()?;
            let gains = decode::decode(tensor.dtype, bytes)?;
            (gains.len() == layer.rows() && gains.iter().all(|g| g.is_finite())).then(|| Arc::from(gains))
        })
        .collect();
    model.layers.iter_mut().zip(gains).for_each(|(layer, gains)| layer.gains = gains);
    (model, weights)
}
