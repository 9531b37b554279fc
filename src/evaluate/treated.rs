//! A plan carried out in a network that runs.

use super::{Network, RunError};
use crate::model::{LayerId, Model};
use crate::numerics::KeepGoing;
use crate::source::Weights;
use crate::treat::{Treatment, parts};
use rayon::prelude::*;

/// Lets layers run as they are treated, as many at a time as the network has threads; those that stay dense run as
/// they are stored. Gives back treated layers that the network does not run, whose treatment changes nothing it says.
/// `tell` hears how many layers are done.
pub fn treat(
    network: &mut Network,
    model: &Model,
    weights: &Weights,
    treatments: &[Treatment],
    keep_going: KeepGoing<'_>,
    tell: &mut dyn FnMut(usize),
) -> Result<Vec<LayerId>, RunError> {
    let runs = network.layers();
    let wanted = model.layers.iter().zip(treatments).filter(|(_, t)| !t.is_dense());
    let (known, unheard): (Vec<_>, Vec<_>) = wanted.partition(|(l, _)| runs.contains(&l.id));
    runs.iter().for_each(|&id| network.restore(id));
    let mut done = 0;
    for some in known.chunks(network.breadth().max(1)) {
        let work = || -> Vec<_> {
            let one = |(layer, treatment): &(&crate::model::Layer, &Treatment)| {
                let matrix = weights.matrix(model, layer)?;
                weights.release(model, layer);
                parts(layer, &matrix, **treatment, keep_going)
                    .map_err(|cause| RunError::Treatment { layer: layer.name.clone(), cause })
            };
            some.par_iter().map(one).collect()
        };
        for ((layer, _), treated) in some.iter().zip(network.inside(work)) {
            network.swap(layer.id, &treated?)?;
        }
        done += some.len();
        tell(done);
    }
    Ok(unheard.iter().map(|(layer, _)| layer.id).collect())
}
