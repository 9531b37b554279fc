//! What follows from facts and plan, at once: sizes, errors, norms. Pure; `O(layers · log)`; touches no weight.

pub mod gaussian;
mod layer;
mod project;
mod rounding;

use crate::known::{Bound, Known};
use crate::model::cost::Cost;
use crate::model::{Layer, LayerId, Model};
use crate::plan::Plan;
use crate::probe::book::FactBook;
use crate::treat::Refined;
use crate::treat::error::Weighed;
use crate::treat::refine::Ran;
use std::panic::resume_unwind;
use std::sync::Arc;

pub use layer::{cost_of, project_layer};

/// What becomes of one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerOutcome {
    /// Stored as it is.
    pub before: Cost,
    /// Stored under the plan.
    pub after: Cost,
    /// ‖W‖_F², once the entries were read.
    pub energy: Option<f64>,
    /// ‖W − Ŵ‖_F².
    pub error_energy: Option<Known>,
    /// ‖W‖₂.
    pub norm_before: Option<Known>,
    /// ‖Ŵ‖₂.
    pub norm_after: Option<Known>,
    /// ‖W − Ŵ‖₂.
    pub delta_norm: Option<Known>,
    /// What it does to the layer's outputs, where a calibration pass saw its inputs and it was really run.
    pub weighed: Option<Weighed>,
    /// ℓ2 Lipschitz constant of the layer as a map: ‖W‖₂, or a convolution's operator norm on images.
    pub lipschitz_before: Option<Known>,
    /// The same under the plan.
    pub lipschitz_after: Option<Known>,
}

impl LayerOutcome {
    /// ‖W − Ŵ‖_F / ‖W‖_F. A zero matrix that stays as it is has error 0.
    pub fn relative_error(&self) -> Option<Known> {
        let (energy, error) = (self.energy?, self.error_energy?);
        Some(error.map(|e| if energy > 0.0 { (e.max(0.0) / energy).sqrt() } else { 0.0 }))
    }
    /// The relative error of the outputs on calibration inputs, or that of the weights.
    pub fn error(&self, of_outputs: bool) -> Option<Known> {
        if of_outputs { self.weighed.map(|w| w.output_error) } else { self.relative_error() }
    }
    /// Share of the parameters kept; above 1 when two factors hold more than the matrix.
    pub fn keep(&self) -> f64 {
        if self.before.params == 0 { 1.0 } else { self.after.params as f64 / self.before.params as f64 }
    }
}

/// Sums over the whole model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Totals {
    /// Parameters before and after: every weight, bias and gain once.
    pub params: (u64, u64),
    /// Bytes before and after.
    pub bytes: (u64, u64),
    /// Bytes that say which entries of pruned layers are stored, beside `bytes`.
    pub index: u64,
    /// Multiply-accumulates per token of the layers whose cost is known, before and after.
    pub macs: (u64, u64),
    /// Layers whose multiply-accumulates are not known.
    pub macs_unknown: usize,
    /// √(Σ‖ΔW‖²/Σ‖W‖²) over the eligible layers measured so far.
    pub error: Option<Known>,
    /// Eligible layers whose entries were read and whose error is known.
    pub measured: usize,
    /// Eligible layers.
    pub eligible: usize,
    /// log₁₀ of the product of the layers' norms, before and after; `None` until all are known.
    pub product: Option<(Known, Known)>,
}

impl Totals {
    /// Share of the model's parameters kept.
    pub fn keep(&self) -> f64 {
        if self.params.0 == 0 { 1.0 } else { self.params.1 as f64 / self.params.0 as f64 }
    }
}

/// Everything that follows from the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// One per layer of the model.
    pub layers: Vec<LayerOutcome>,
    /// Sums; [`Outcome::sum_up`] brings them up to date after [`Outcome::project_again`].
    pub totals: Totals,
    /// Whether a layer has changed since the totals were summed up.
    stale: bool,
}

/// Projects the plan onto what is known. `refined` holds exact results; one counts only for the very treatment it ran.
pub fn project(model: &Model, facts: &FactBook, refined: &[Option<Arc<Refined>>], plan: &Plan) -> Outcome {
    let all: Vec<LayerId> = model.layers.iter().map(|l| l.id).collect();
    let layers = project_each(model, facts, refined, plan, &all);
    let totals = sum(model, &layers, [model.params(), model.bytes()]);
    Outcome { layers, totals, stale: false }
}

impl Outcome {
    /// √(mean of the eligible layers' squared relative errors), each layer alike.
    pub fn mean_error(&self, model: &Model) -> Option<Known> {
        let layers = model.layers.iter().zip(&self.layers).filter(|(l, _)| l.eligible() && l.tied_to.is_none());
        let errors: Vec<Known> = layers.filter_map(|(_, o)| o.relative_error()).collect();
        let bound = errors.iter().map(|e| e.bound).reduce(Bound::and)?;
        let mean = errors.iter().map(|e| e.value * e.value).sum::<f64>() / errors.len() as f64;
        Some(Known { value: mean.sqrt(), bound })
    }

    /// Takes in what treatments of layers were found to do when they were run; those of other treatments than the plan's are
    /// passed over.
    pub fn settle(&mut self, model: &Model, plan: &Plan, ran: &[(LayerId, Ran)]) {
        for (id, ran) in ran.iter().filter(|(id, ran)| plan.treatment(*id) == ran.treatment) {
            let Some(out) = self.layers.get_mut(id.0) else { continue };
            out.error_energy = Some(Known::exact(ran.error_energy));
            let most = Known::upper(ran.error_energy.max(0.0).sqrt());
            out.delta_norm = out.delta_norm.filter(|d| d.bound == Bound::Exact).or(Some(most));
            out.weighed = ran.weighed;
        }
        self.stale = true;
        self.sum_up(model);
    }

    /// √(mean of the squared output errors) of the eligible layers whose inputs were seen; `None` while one is not known.
    pub fn output_error(&self, model: &Model) -> Option<Known> {
        let seen = |l: &Layer| l.eligible() && l.tied_to.is_none() && l.inputs.is_some();
        let layers = model.layers.iter().zip(&self.layers).filter(|(l, _)| seen(l));
        let errors: Option<Vec<Known>> = layers.map(|(_, o)| o.error(true)).collect();
        let errors = errors?;
        let bound = errors.iter().map(|e| e.bound).reduce(Bound::and)?;
        let mean = errors.iter().map(|e| e.value * e.value).sum::<f64>() / errors.len() as f64;
        Some(Known { value: mean.sqrt(), bound })
    }

    /// Projects these layers again, after their facts or treatments changed, and sums up.
    pub fn update(
        &mut self,
        model: &Model,
        facts: &FactBook,
        refined: &[Option<Arc<Refined>>],
        plan: &Plan,
        changed: impl IntoIterator<Item = LayerId>,
    ) {
        let changed: Vec<LayerId> = changed.into_iter().filter(|id| id.0 < self.layers.len()).collect();
        for (id, new) in changed.iter().zip(project_each(model, facts, refined, plan, &changed)) {
            self.layers[id.0] = new;
            self.stale = true;
        }
        self.sum_up(model);
    }

    /// Projects one layer again. The totals are out of date until [`Self::sum_up`]: with tens of thousands of layers a sum
    /// for every fact would take minutes.
    pub fn project_again(
        &mut self,
        model: &Model,
        facts: &FactBook,
        refined: &[Option<Arc<Refined>>],
        plan: &Plan,
        id: LayerId,
    ) {
        if let (Some(layer), Some(slot)) = (model.layer(id), self.layers.get_mut(id.0)) {
            *slot = project_one(layer, facts, refined, plan);
            self.stale = true;
        }
    }

    /// Sums up again if a layer has changed. Linear in the layers.
    pub fn sum_up(&mut self, model: &Model) {
        if std::mem::take(&mut self.stale) {
            self.totals = sum(model, &self.layers, [self.totals.params.0, self.totals.bytes.0]);
        }
    }
}

fn project_one(layer: &Layer, facts: &FactBook, refined: &[Option<Arc<Refined>>], plan: &Plan) -> LayerOutcome {
    let treatment = plan.treatment(layer.id);
    let exact = refined.get(layer.id.0).and_then(Option::as_deref).filter(|r| r.treatment == treatment);
    project_layer(layer, facts.of(layer.id), treatment, exact)
}

/// Layers from which on several threads project, and how many at most: a key that moves tens of thousands of layers waits
/// for this, and spends most of the time on cache misses.
const SEVERAL: (usize, usize) = (1 << 12, 4);

/// Projects layers of the model, in the order of `ids`.
fn project_each(
    model: &Model,
    facts: &FactBook,
    refined: &[Option<Arc<Refined>>],
    plan: &Plan,
    ids: &[LayerId],
) -> Vec<LayerOutcome> {
    let some = |ids: &[LayerId]| -> Vec<LayerOutcome> {
        ids.iter().map(|id| project_one(&model.layers[id.0], facts, refined, plan)).collect()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(SEVERAL.1);
    if ids.len() < SEVERAL.0 || threads < 2 {
        return some(ids);
    }
    let parts = ids.chunks(ids.len().div_ceil(threads));
    std::thread::scope(|scope| {
        let started: Vec<_> = parts.map(|part| scope.spawn(move || some(part))).collect();
        started.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// Sums over the layers of a model of so many parameters and bytes.
fn sum(model: &Model, layers: &[LayerOutcome], [params, bytes]: [u64; 2]) -> Totals {
    let mut totals = Totals {
        params: (params, params),
        bytes: (bytes, bytes),
        index: 0,
        macs: (0, 0),
        macs_unknown: 0,
        error: None,
        measured: 0,
        eligible: 0,
        product: None,
    };
    let (mut energy, mut error) = (0.0, Known::exact(0.0));
    for (layer, out) in model.layers.iter().zip(layers) {
        // Differences, not sums: biases, gains and buffers stay as they are.
        totals.params.1 = totals.params.1 - out.before.params + out.after.params;
        totals.bytes.1 = totals.bytes.1 - out.before.bytes + out.after.bytes;
        totals.index += out.after.index;
        match (out.before.macs, out.after.macs) {
            (Some(a), Some(b)) => totals.macs = (totals.macs.0 + a, totals.macs.1 + b),
            _ if layer.measurable() => totals.macs_unknown += 1,
            _ => {}
        }
        if !layer.eligible() {
            continue;
        }
        totals.eligible += 1;
        if let (Some(w), Some(e)) = (out.energy, out.error_energy) {
            totals.measured += 1;
            energy += w;
            error = Known { value: error.value + e.value, bound: error.bound.and(e.bound) };
        }
    }
    if totals.measured > 0 {
        let partial = if totals.measured < totals.eligible { Bound::Estimate } else { error.bound };
        let value = if energy > 0.0 { (error.value / energy).sqrt() } else { 0.0 };
        totals.error =
            Some(Known { value, bound: if value == 0.0 && error.value == 0.0 { Bound::Exact } else { partial } });
    }
    totals.product = product(model, layers);
    totals
}

/// log₁₀ of the product of the eligible layers' Lipschitz constants, before and after.
fn product(model: &Model, layers: &[LayerOutcome]) -> Option<(Known, Known)> {
    let mut logs = (Known::exact(0.0), Known::exact(0.0));
    let mut any = false;
    for (_, out) in model.layers.iter().zip(layers).filter(|(l, _)| l.eligible()) {
        let (b, a) = (out.lipschitz_before?, out.lipschitz_after?);
        any = true;
        logs.0 = Known { value: logs.0.value + b.value.log10(), bound: logs.0.bound.and(b.bound) };
        logs.1 = Known { value: logs.1.value + a.value.log10(), bound: logs.1.bound.and(a.bound) };
    }
    (any && logs.0.value.is_finite() && logs.1.value.is_finite()).then_some(logs)
}
