//! A plan carried out in a network that runs.

use super::{Network, RunError};
use crate::model::{Layer, LayerId, Model};
use crate::numerics::KeepGoing;
use crate::probe::ProbeError;
use crate::source::Weights;
use crate::treat::{Parts, Treatment, parts};
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
            some.par_iter().map(|(layer, t)| treat_one(model, weights, layer, **t, keep_going)).collect()
        };
        for ((layer, _), treated) in some.iter().zip(network.inside(work)) {
            network.swap(layer.id, &treated?)?;
        }
        done += some.len();
        tell(done);
    }
    Ok(unheard.iter().map(|(layer, _)| layer.id).collect())
}

/// Treats one layer.
pub(super) fn treat_one(
    model: &Model,
    weights: &Weights,
    layer: &Layer,
    treatment: Treatment,
    keep_going: KeepGoing<'_>,
) -> Result<Parts, RunError> {
    let matrix = weights.matrix(model, layer)?;
    let made = parts(layer, &matrix, treatment, keep_going);
    weights.release(model, layer);
    made.map_err(|error| match error {
        ProbeError::Stopped => RunError::Stopped,
        cause => RunError::Treatment { layer: layer.name.clone(), cause },
    })
}
