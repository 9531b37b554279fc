//! What could be done to each layer, what it takes, and what it is expected to lose.

use crate::evaluate::RunError;
use crate::model::{Layer, LayerId, Model};
use crate::numerics::KeepGoing;
use crate::plan::budget::Unit;
use crate::plan::{Criterion, Factors, Pattern, Prune, Treatment, cost};
use crate::probe::ProbeError;
use crate::source::Weights;
use crate::treat::criterion::obs::Curvature;
use crate::treat::directions::Directions;
use crate::treat::parts::beside;
use crate::treat::{Parts, error, parts};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shares of a layer's parameters that are weighed.
const KEEPS: [f64; 13] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1];

/// The same where weighing all of them would take long, and those for which ranks are weighed there.
const FEW: [f64; 8] = [0.8, 0.65, 0.5, 0.4, 0.35, 0.3, 0.2, 0.1];
const FEW_RANKS: [f64; 3] = [0.5, 0.35, 0.2];

/// Σ mn(m+n) of the layers above which fewer are weighed: some minutes of two cores for all.
const LONG: f64 = 1e10;

/// Of what is kept by low rank and pruning together, the part that the factors take.
const FACTORS: f64 = 0.2;

/// Which ways to treat a layer are weighed.
#[derive(Debug, Clone, Copy)]
pub struct Families {
    /// The pattern of pruning; `None` for no pruning.
    pub prune: Option<Pattern>,
    /// Whether ranks are weighed.
    pub rank: bool,
    /// Whether both together are.
    pub both: bool,
}

/// One thing that could be done to a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choosable {
    /// What is done.
    pub treatment: Treatment,
    /// What it takes, in the unit of the budget.
    pub cost: f64,
    /// ‖W − Ŵ‖_F²/‖W‖_F².
    pub error: f64,
    /// ‖(W − Ŵ)X‖²/‖WX‖² on calibration inputs, where there are any.
    pub output: Option<f64>,
    /// Expected growth of the loss in nats a token, where gradients were calibrated.
    pub excess: Option<f64>,
}

/// What could be done to one layer; the first choice leaves it dense.
#[derive(Debug, Clone)]
pub struct LayerMenu {
    /// The layer.
    pub layer: LayerId,
    /// The choices.
    pub options: Vec<Choosable>,
}

/// In what losses of layers are counted against each other.
pub struct Kind {
    /// Its name.
    pub name: &'static str,
    of: fn(&Choosable) -> Option<f64>,
}

/// All of them; the first is in nats.
pub static KINDS: [Kind; 4] = [
    Kind { name: "expected loss", of: |o| o.excess },
    Kind { name: "output error", of: |o| o.output },
    Kind { name: "expected loss and output error", of: |o| Some((o.excess? * o.output?).sqrt()) },
    Kind { name: "relative error", of: |o| Some(o.error) },
];

impl Kind {
    /// The loss of every choice; `None` where one of them is not known.
    pub fn losses(&self, menus: &[LayerMenu]) -> Option<Vec<Vec<f64>>> {
        menus.iter().map(|m| m.options.iter().map(|o| (self.of)(o).map(|x| x.max(0.0))).collect()).collect()
    }
}

/// The treatments of a layer that are weighed, besides leaving it dense; of many `few`.
fn treatments(layer: &Layer, families: Families, few: bool) -> Vec<Treatment> {
    let applies = |c: Criterion, p: Pattern| c.applies(layer, p).is_ok();
    let best = |pattern| {
        let order = [Criterion::ObsRefit, Criterion::Obs, Criterion::Wanda, Criterion::Magnitude];
        order.into_iter().find(|c| applies(*c, pattern)).unwrap_or_default()
    };
    let whitened = Factors::Whitened.apply_to(layer);
    let form = if whitened { Factors::Whitened } else { Factors::Matrix };
    let even = layer.break_even_rank();
    let rank =
        |share: f64| (share * (layer.rows() * layer.cols()) as f64 / (layer.rows() + layer.cols()) as f64) as usize;
    let mut out: Vec<Treatment> = Vec::new();
    let keeps: &[f64] = if few { &FEW } else { &KEEPS };
    for &keep in keeps {
        if let Some(pattern) = families.prune {
            let remove = pattern.on_grid(1.0 - keep);
            let how = Prune { criterion: best(pattern), ..Prune::of(remove, pattern) };
            out.extend((remove > 0.0).then(|| Treatment::prune(how)));
            // Where some rows hold little, all rows together give up whole rows of which a model may have need.
            if pattern == Pattern::Unstructured && how.criterion.weighs() {
                out.push(Treatment::prune(Prune { pattern: Pattern::PerRow, ..how }));
            }
            let low = rank(keep * FACTORS);
            let single = matches!(pattern, Pattern::Unstructured | Pattern::PerRow);
            if families.both && !few && low > 0 && single {
                let how = Prune { remove: 1.0 - keep * (1.0 - FACTORS), ..how };
                out.push(Treatment { form, ..Treatment::both(low, how) });
            }
        }
        let low = rank(keep);
        let ranks = families.rank && (!few || families.prune.is_none() || FEW_RANKS.contains(&keep));
        out.extend((ranks && low > 0 && low < even).then(|| Treatment { form, ..Treatment::rank(low) }));
    }
    out.dedup();
    out
}

/// The treatment that a choice is weighed as: of large models without the refit, which takes several times longer and only
/// lowers the loss.
fn weighed_as(treatment: Treatment, few: bool) -> Treatment {
    let plain = treatment.prune.filter(|p| few && p.criterion == Criterion::ObsRefit);
    let prune = plain.map(|p| Prune { criterion: Criterion::Obs, ..p }).or(treatment.prune);
    Treatment { prune, ..treatment }
}

/// A rank alone, from the directions of the layer; `energy` is ‖W‖_F².
fn ranked(
    layer: &Layer,
    directions: &Directions,
    treatment: Treatment,
    (unit, rank, energy): (Unit, usize, f64),
) -> Choosable {
    let inputs = layer.inputs.as_ref().filter(|_| treatment.form.weighs());
    let lost = directions.lost(rank, inputs.and_then(|i| i.gradient.as_deref()));
    let share = |lost: f64, of: f64| if of > 0.0 { lost / of } else { 0.0 };
    Choosable {
        treatment,
        cost: unit.of(cost(layer, treatment, None)),
        error: share(lost.weights, energy),
        output: inputs.map(|_| share(lost.outputs, directions.energy())),
        excess: lost.excess,
    }
}

/// Weighs what could be done to these layers. `told` hears how many are done.
pub fn menus(
    model: &Model,
    weights: &Weights,
    layers: &[LayerId],
    (unit, families): (Unit, Families),
    wanted: KeepGoing<'_>,
    told: &(dyn Fn(usize) + Sync),
) -> Result<Vec<LayerMenu>, RunError> {
    let done = AtomicUsize::new(0);
    let work = |l: &Layer| (l.rows() * l.cols()) as f64 * (l.rows() + l.cols()) as f64;
    let few = layers.iter().filter_map(|id| model.layer(*id)).map(work).sum::<f64>() > LONG;
    layers
        .par_iter()
        .filter_map(|id| model.layer(*id))
        .map(|layer| {
            let matrix = weights.matrix(model, layer)?;
            let energy: f64 = matrix.data.iter().map(|w| f64::from(*w).powi(2)).sum();
            let dense = Choosable {
                treatment: Treatment::default(),
                cost: unit.of(cost(layer, Treatment::default(), None)),
                error: 0.0,
                output: layer.inputs.as_ref().map(|_| 0.0),
                excess: layer.inputs.as_ref().and_then(|i| i.gradient.as_ref()).map(|_| 0.0),
            };
            let mut options = vec![dense];
            let wrong = |error: ProbeError| match error {
                ProbeError::Stopped => RunError::Stopped,
                cause => RunError::Treatment { layer: layer.name.clone(), cause },
            };
            // One decomposition for all ranks.
            let chosen = treatments(layer, families, few);
            let form = chosen.iter().find(|t| t.rank.is_some()).map(|t| t.form);
            let directions =
                form.map(|form| Directions::of(layer, &matrix, form, wanted)).transpose().map_err(wrong)?;
            let scale = error::Scale::of(layer, &matrix, wanted).map_err(wrong)?;
            let mut curvature: Option<Curvature> = None;
            for treatment in chosen {
                let weighed_as = weighed_as(treatment, few);
                let made = match (&directions, treatment.rank, treatment.prune) {
                    (Some(directions), Some(rank), None) => {
                        options.push(ranked(layer, directions, treatment, (unit, rank, energy)));
                        continue;
                    }
                    (Some(directions), Some(rank), Some(how)) => {
                        directions.pair(&matrix, rank, wanted).and_then(|pair| {
                            let entries = beside(layer, &matrix, &pair, how, wanted)?;
                            Ok(Parts { factors: Some(pair), entries: Some(entries) })
                        })
                    }
                    (_, None, Some(how)) if weighed_as.prune.is_some_and(|p| p.criterion == Criterion::Obs) => {
                        let known = match curvature.take() {
                            Some(known) => known,
                            None => Curvature::of(layer, wanted).map_err(wrong)?,
                        };
                        let mut entries = matrix.clone();
                        let done = known.prune(layer, &mut entries, how, wanted);
                        curvature = Some(known);
                        done.map(|()| Parts { factors: None, entries: Some(entries) })
                    }
                    _ => parts(layer, &matrix, weighed_as, wanted),
                };
                let made = made.map_err(wrong)?;
                let nonzeros = made.entries.as_ref().map(|e| e.data.iter().filter(|w| **w != 0.0).count() as u64);
                let mut delta = matrix.clone();
                let treated = made.multiplied(layer.rows(), layer.cols());
                delta.data.iter_mut().zip(&treated.data).for_each(|(w, t)| *w -= t);
                let lost: f64 = delta.data.iter().map(|w| f64::from(*w).powi(2)).sum();
                let weighed = scale.as_ref().map(|s| s.weigh(&delta, wanted)).transpose().map_err(wrong)?;
                options.push(Choosable {
                    treatment,
                    cost: unit.of(cost(layer, treatment, nonzeros)),
                    error: if energy > 0.0 { lost / energy } else { 0.0 },
                    output: weighed.map(|w| w.output_error.value.powi(2)),
                    excess: weighed.and_then(|w| w.excess).map(|k| k.value),
                });
            }
            weights.release(model, layer);
            told(done.fetch_add(1, Ordering::Relaxed) + 1);
            Ok(LayerMenu { layer: layer.id, options })
        })
        .collect()
}
