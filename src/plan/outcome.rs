//! What follows from facts and plan, at once: sizes, errors, norms. Pure; `O(layers · log)`; touches no weight.

use crate::known::{Bound, Known};
use crate::model::cost::{Cost, cost};
use crate::model::{Layer, LayerId, Model};
use crate::plan::{Plan, Treatment};
use crate::probe::book::{FactBook, LayerFacts};
use crate::treat::Refined;
use crate::treat::{Pattern, Prune};
use std::sync::{Arc, OnceLock};

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
    /// Sums.
    pub totals: Totals,
}

/// Projects the plan onto what is known. `refined` holds exact results; one counts only for the very treatment it ran.
pub fn project(model: &Model, facts: &FactBook, refined: &[Option<Arc<Refined>>], plan: &Plan) -> Outcome {
    let layers: Vec<_> = model
        .layers
        .iter()
        .map(|layer| {
            let treatment = plan.treatment(layer.id);
            let exact = refined.get(layer.id.0).and_then(Option::as_deref).filter(|r| r.treatment == treatment);
            project_layer(layer, facts.of(layer.id), treatment, exact)
        })
        .collect();
    let totals = sum(model, &layers);
    Outcome { layers, totals }
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

    /// Projects these layers again, after their facts or treatments changed, and sums up.
    pub fn update(
        &mut self,
        model: &Model,
        facts: &FactBook,
        refined: &[Option<Arc<Refined>>],
        plan: &Plan,
        changed: impl IntoIterator<Item = LayerId>,
    ) {
        for id in changed {
            let (Some(layer), Some(slot)) = (model.layer(id), self.layers.get_mut(id.0)) else { continue };
            let treatment = plan.treatment(id);
            let exact = refined.get(id.0).and_then(Option::as_deref).filter(|r| r.treatment == treatment);
            *slot = project_layer(layer, facts.of(id), treatment, exact);
        }
        self.totals = sum(model, &self.layers);
    }
}

/// Projects one treatment of one layer.
pub fn project_layer(layer: &Layer, facts: &LayerFacts, treatment: Treatment, exact: Option<&Refined>) -> LayerOutcome {
    let mut out = project_matrix(layer, facts, treatment, exact);
    if !layer.kind.is_conv() {
        (out.lipschitz_before, out.lipschitz_after) = (out.norm_before, out.norm_after);
        return out;
    }
    out.lipschitz_before = facts.lipschitz.as_ref().map(|l| l.l2_upper);
    out.lipschitz_after = out.lipschitz_before;
    if !treatment.is_dense() {
        // Every input position lies in at most kh·kw patches, so the operator norm of a kernel is at most √(kh·kw)
        // times the norm of its matrix view; of Ŵ directly, or of the change added to the norm before.
        let patches = layer.shape.iter().skip(2).product::<usize>().max(1) as f64;
        let direct = out.norm_after.map(|n| n.value * patches.sqrt());
        let changed = out.lipschitz_before.zip(out.delta_norm);
        let changed = changed.filter(|(_, d)| d.bound != Bound::Lower).map(|(l, d)| l.value + d.value * patches.sqrt());
        let sound = out.norm_after.is_some_and(|n| matches!(n.bound, Bound::Exact | Bound::Upper));
        let best = direct.into_iter().chain(changed).reduce(f64::min);
        out.lipschitz_after = best.map(|v| if sound { Known::upper(v) } else { Known::estimate(v) });
    }
    out
}

/// What a layer takes under a treatment.
pub fn cost_of(layer: &Layer, facts: &LayerFacts, treatment: Treatment) -> Cost {
    if treatment.is_dense() || !layer.eligible() {
        return cost(layer, None, None);
    }
    cost_after(layer, facts, treatment)
}

fn project_matrix(layer: &Layer, facts: &LayerFacts, treatment: Treatment, exact: Option<&Refined>) -> LayerOutcome {
    let before = cost(layer, None, None);
    let norm_before = norm(layer, facts);
    let energy = facts.magnitude.as_ref().map(|m| m.sum_squares);
    let mut out = LayerOutcome {
        before,
        after: before,
        energy,
        error_energy: Some(Known::exact(0.0)),
        norm_before,
        norm_after: norm_before,
        delta_norm: Some(Known::exact(0.0)),
        lipschitz_before: None,
        lipschitz_after: None,
    };
    if treatment.is_dense() || !layer.eligible() {
        return out;
    }
    out.after = cost_after(layer, facts, treatment);
    if let Some(exact) = exact {
        let sparse = treatment.prune.map(|_| exact.params.saturating_sub(factor_params(layer, treatment.rank)));
        out.after = cost(layer, treatment.rank, sparse);
        out.error_energy = Some(Known::exact(exact.error_energy));
        out.norm_after = Some(Known::exact(exact.sigma.first().copied().unwrap_or(0.0)));
        out.delta_norm = Some(exact.delta_norm);
        return out;
    }
    match (treatment.rank, treatment.prune) {
        (Some(rank), None) => project_rank(&mut out, facts, rank),
        (None, Some(how)) => project_prune(&mut out, layer, facts, how),
        (Some(rank), Some(how)) => project_both(&mut out, facts, rank, how, layer),
        (None, None) => {}
    }
    out
}

fn factor_params(layer: &Layer, rank: Option<usize>) -> u64 {
    rank.map_or(0, |r| r as u64 * (layer.rows() + layer.cols()) as u64)
}

fn cost_after(layer: &Layer, facts: &LayerFacts, treatment: Treatment) -> Cost {
    let entries = layer.rows() as u64 * layer.cols() as u64;
    let left = |how: Prune| match how.pattern {
        Pattern::Unstructured => entries - Treatment::removed(how.remove, entries),
        Pattern::Groups(m) => {
            let whole = layer.cols() / m * m * layer.rows();
            entries - (how.pattern.on_grid(how.remove) * whole as f64).round() as u64
        }
        // Units at the edges may be smaller.
        pattern => {
            let share = pattern.removed(how.remove, layer) as f64 / pattern.units(layer).max(1) as f64;
            entries - Treatment::removed(share, entries)
        }
    };
    let nonzeros = treatment.prune.map(|how| {
        // The residual W − W_r has no zeros to begin with, and unread weights are taken to have none.
        if treatment.rank.is_some() {
            return left(how);
        }
        let measured = match how.pattern {
            Pattern::Unstructured => facts.magnitude.as_ref().map(|m| m.prune(how.remove).nonzeros),
            _ => facts.structure.as_ref().and_then(|s| s.prune(layer, how)).map(|r| r.stored),
        };
        measured.unwrap_or_else(|| left(how))
    });
    cost(layer, treatment.rank, nonzeros)
}

/// ‖W‖₂ from the best source so far: the spectrum, else a bound.
fn norm(layer: &Layer, facts: &LayerFacts) -> Option<Known> {
    if let Some(s) = &facts.spectrum {
        return Some(Known::exact(s.norm()));
    }
    if let Some(certificate) = facts.certificate {
        return Some(certificate);
    }
    if let Some(l) = facts.lipschitz.as_ref().filter(|_| !layer.kind.is_conv()) {
        return Some(l.l2_upper);
    }
    facts.magnitude.as_ref().map(|m| Known::upper(m.frobenius().min((m.linf * m.l1).sqrt())))
}

fn project_rank(out: &mut LayerOutcome, facts: &LayerFacts, rank: usize) {
    let Some(spectrum) = facts.best_spectrum() else {
        // Nothing better than "between nothing and everything": the frame shows it as pending.
        (out.error_energy, out.delta_norm) = (None, None);
        return;
    };
    out.error_energy = Some(spectrum.known(spectrum.tail_energy(rank)));
    out.delta_norm = Some(spectrum.known(spectrum.cut(rank)));
    out.norm_after = Some(if rank == 0 { Known::exact(0.0) } else { spectrum.known(spectrum.norm()) });
}

fn project_prune(out: &mut LayerOutcome, layer: &Layer, facts: &LayerFacts, how: Prune) {
    let removed = match how.pattern {
        Pattern::Unstructured => facts.magnitude.as_ref().map(|m| m.prune(how.remove).removed_energy),
        _ => facts.structure.as_ref().and_then(|s| s.prune(layer, how)).map(|r| r.energy),
    };
    let (Some(magnitude), Some(removed)) = (&facts.magnitude, removed) else {
        (out.error_energy, out.delta_norm, out.norm_after) = (None, None, None);
        return;
    };
    out.error_energy = Some(removed);
    if removed.value == 0.0 {
        return;
    }
    // ‖ΔW‖₂ ≤ ‖ΔW‖_F, and ‖Ŵ‖₂ ≤ min(‖W‖₂ + ‖ΔW‖₂, ‖Ŵ‖_F).
    let delta = removed.value.max(0.0).sqrt();
    out.delta_norm = Some(Known { value: delta, bound: upper(removed.bound) });
    let left = (magnitude.sum_squares - removed.value).max(0.0).sqrt();
    out.norm_after = out.norm_before.map(|n| Known {
        value: (n.value + delta).min(left),
        bound: upper(removed.bound).and(if n.bound == Bound::Exact { Bound::Upper } else { n.bound }),
    });
}

/// What an upper bound built from a value of this kind is.
fn upper(bound: Bound) -> Bound {
    Bound::Upper.and(bound)
}

fn project_both(out: &mut LayerOutcome, facts: &LayerFacts, rank: usize, how: Prune, layer: &Layer) {
    let Some(spectrum) = facts.best_spectrum() else {
        (out.error_energy, out.delta_norm, out.norm_after) = (None, None, None);
        return;
    };
    // The residual's entries are taken as Gaussian: removing the smallest share s takes s − 2tφ(t) of the energy.
    let residual = spectrum.tail_energy(rank);
    let share = match how.pattern {
        Pattern::Unstructured => gaussian_removed_energy(how.remove),
        Pattern::Groups(m) => gaussian_group_energy(how.pattern.removed(how.remove, layer) as usize, m),
        // Large units of a Gaussian matrix hardly differ.
        _ => how.remove,
    };
    let error = residual * share;
    let delta = error.sqrt().min(spectrum.cut(rank) * (layer.full_rank() as f64).sqrt());
    out.error_energy = Some(Known::estimate(error));
    out.delta_norm = Some(Known::estimate(delta.min(error.sqrt())));
    out.norm_after = Some(Known::estimate(spectrum.norm()));
}

/// Share of a Gaussian's energy in its smallest share `s` of magnitudes: s − 2tφ(t), t = Φ⁻¹((1+s)/2).
pub fn gaussian_removed_energy(s: f64) -> f64 {
    if s <= 0.0 {
        return 0.0;
    }
    if s >= 1.0 {
        return 1.0;
    }
    // Bisection on erf through its density's integral would be slow; a fixed Simpson rule on [0, t] is exact to 1e-9.
    let density = |x: f64| (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let mass = |t: f64| {
        let (n, h) = (64, t / 64.0);
        let inner: f64 = (1..n).map(|i| density(f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        2.0 * h / 3.0 * (density(0.0) + inner + density(t))
    };
    let (mut lo, mut hi, mut t) = (0.0, 9.0, 1.0);
    for _ in 0..60 {
        let miss = mass(t) - s;
        if miss.abs() < 1e-12 {
            break;
        }
        if miss < 0.0 {
            lo = t;
        } else {
            hi = t;
        }
        // Newton's step where it stays inside the bracket, its middle otherwise.
        let step = t - miss / (2.0 * density(t)).max(1e-300);
        t = if step > lo && step < hi { step } else { f64::midpoint(lo, hi) };
    }
    (s - 2.0 * t * density(t)).max(0.0)
}

/// Share of a Gaussian's energy in the `k` smallest magnitudes of every `m`: the means of order statistics, whose places
/// in the distribution follow Beta(i, m−i+1).
fn gaussian_group_energy(k: usize, m: usize) -> f64 {
    const POINTS: usize = 400;
    static SQUARES: OnceLock<Vec<f64>> = OnceLock::new();
    // The energy between two quantiles is what removing up to them takes.
    let squares = SQUARES.get_or_init(|| {
        let up_to: Vec<f64> = (0..=POINTS).map(|i| gaussian_removed_energy(i as f64 / POINTS as f64)).collect();
        up_to.windows(2).map(|w| w[1] - w[0]).collect()
    });
    // Share of the entries at a quantile u that are among the k smallest of their group: at most k − 1 of the m − 1
    // others lie below u.
    let among = |u: f64| {
        let mut term = (1.0 - u).powi(m as i32 - 1);
        let mut sum = 0.0;
        for i in 0..k.min(m) {
            sum += term;
            term *= (m - 1 - i) as f64 / (i + 1) as f64 * u / (1.0 - u);
        }
        sum.min(1.0)
    };
    squares.iter().enumerate().map(|(i, e)| e * among((i as f64 + 0.5) / POINTS as f64)).sum()
}

fn sum(model: &Model, layers: &[LayerOutcome]) -> Totals {
    let mut totals = Totals {
        params: (model.params(), model.params()),
        bytes: (model.bytes(), model.bytes()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gaussian_curve_has_its_closed_form_values() {
        // of a standard normal: s=.5 → ε=.2670691, s=.7 → .4655029, s=.9 → .7488083
        for (s, want) in [(0.5, 0.267_069_1), (0.7, 0.465_502_9), (0.9, 0.748_808_3)] {
            assert!((gaussian_removed_energy(s).sqrt() - want).abs() < 1e-6, "{s}");
        }
        assert_eq!(gaussian_removed_energy(0.0), 0.0);
        assert_eq!(gaussian_removed_energy(1.0), 1.0);
    }

    #[test]
    fn groups_of_a_gaussian_have_the_means_of_their_order_statistics() {
        // ε²: 2:4 .1324474, 4:8 .1033067, 1:4 .3824474.
        for (k, m, want) in [(2, 4, 0.132_447_4), (4, 8, 0.103_306_7), (3, 4, 0.382_447_4), (0, 4, 0.0), (4, 4, 1.0)] {
            let found = gaussian_group_energy(k, m);
            assert!((found - want).abs() < 2e-4, "{k} of {m}: {found}");
        }
    }
}
