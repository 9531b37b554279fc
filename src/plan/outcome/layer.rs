//! What becomes of one layer: sizes, error, norms.

use super::project::{project_both, project_prune, project_rank, project_spatial};
use super::{LayerOutcome, rounding};
use crate::known::{Bound, Known};
use crate::model::Layer;
use crate::model::cost::Cost;
use crate::numerics::norms::above;
use crate::probe::book::LayerFacts;
use crate::probe::lipschitz;
use crate::treat::error::Weighed;
use crate::treat::size::cost;
use crate::treat::{Criterion, Factors, Pattern, Prune, Refined, Treatment};

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
        out.lipschitz_after = convolution_after(&out, layer, facts, treatment, exact);
    }
    out
}

/// Norm of a treated convolution on images of any size: the smallest of all available bounds, so that it does not grow only
/// because the layer before was bounded by another method.
fn convolution_after(
    out: &LayerOutcome,
    layer: &Layer,
    facts: &LayerFacts,
    treatment: Treatment,
    exact: Option<&Refined>,
) -> Option<Known> {
    let before = out.lipschitz_before.map(|l| l.value);
    let mut bounds = Vec::new();
    // Of the treated kernel and of the change, by the methods that bounded the layer before.
    if let Some(run) = exact.and_then(|e| e.convolution) {
        bounds.push(run.after);
        bounds.extend(before.map(|l| above(l + run.change, 1)));
    }
    // Every input position lies in at most kh·kw patches, so the operator norm of a kernel is at most √(kh·kw) times
    // the norm of its matrix view; of Ŵ directly, or of the change added to the norm before.
    let patches = layer.shape.iter().skip(2).product::<usize>().max(1) * lipschitz::repeats(layer);
    // With that, what an exact norm may be off by, and roundings.
    let patches = (patches as f64).sqrt() * (1.0 + 4e-6);
    let sound = |k: &Known| matches!(k.bound, Bound::Exact | Bound::Upper);
    bounds.extend(out.norm_after.filter(sound).map(|n| n.value * patches));
    let change = out.delta_norm.filter(sound);
    bounds.extend(before.zip(change).map(|(l, d)| above(l + d.value * patches, 1)));
    // Pruning alone makes no row or column sum of magnitudes larger.
    let prunes = treatment.prune.is_some_and(|p| !p.criterion.rewrites());
    if prunes && treatment.rank.is_none() && treatment.quantise.is_none() {
        bounds.extend(facts.lipschitz.as_ref().map(|l| (l.linf.value * l.l1.value).sqrt() * (1.0 + 1e-9)));
    }
    let proven = bounds.into_iter().reduce(f64::min).map(Known::upper);
    proven.or_else(|| out.norm_after.map(|n| Known::estimate(n.value * patches)))
}

/// What a layer takes under a treatment.
pub fn cost_of(layer: &Layer, facts: &LayerFacts, treatment: Treatment) -> Cost {
    if treatment.is_dense() || !layer.eligible() {
        return cost(layer, Treatment::default(), None);
    }
    cost_after(layer, facts, treatment)
}

fn project_matrix(layer: &Layer, facts: &LayerFacts, treatment: Treatment, exact: Option<&Refined>) -> LayerOutcome {
    let before = cost(layer, Treatment::default(), None);
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
        weighed: layer.inputs.as_ref().map(|_| Weighed { output_error: Known::exact(0.0), excess: None }),
        lipschitz_before: None,
        lipschitz_after: None,
    };
    if treatment.is_dense() || !layer.eligible() {
        return out;
    }
    out.weighed = None;
    out.after = cost_after(layer, facts, treatment);
    if let Some(exact) = exact {
        let factors = cost(layer, Treatment { prune: None, ..treatment }, None).params;
        let factors = if treatment.rank.is_some() { factors } else { 0 };
        out.after = cost(layer, treatment, treatment.prune.map(|_| exact.params.saturating_sub(factors)));
        out.error_energy = Some(Known::exact(exact.error_energy));
        out.norm_after = Some(Known::exact(exact.sigma.first().copied().unwrap_or(0.0)));
        out.delta_norm = Some(exact.delta_norm);
        out.weighed = exact.weighed;
        return out;
    }
    match (treatment.rank, treatment.prune) {
        (Some(rank), None) if treatment.form == Factors::Spatial => project_spatial(&mut out, facts, rank),
        (Some(rank), None) => project_rank(&mut out, facts, treatment.form, rank),
        (None, Some(how)) => project_prune(&mut out, layer, facts, how),
        (Some(rank), Some(how)) => project_both(&mut out, facts, treatment, (rank, how), layer),
        (None, None) => {}
    }
    out.weighed = weighed(layer, facts, treatment);
    if let Some(how) = treatment.quantise {
        let before = out.error_energy;
        rounding::project(&mut out, layer, facts, treatment, how);
        out.weighed = out.weighed.and_then(|w| quantised(layer, facts, w, before?.value, out.error_energy?.value));
    }
    out
}

/// Adds to an output error what quantising costs. Rounding errors of different entries have nothing to do with each other,
/// so that a column of them holds E\[x_j²\] of its energy in the outputs and pairs hold nothing; the energy is taken to lie
/// evenly over the columns.
fn quantised(layer: &Layer, facts: &LayerFacts, before: Weighed, energy: f64, after: f64) -> Option<Weighed> {
    let inputs = layer.inputs.as_ref()?;
    let full = facts.weighted().spectrum.as_ref()?.energy();
    let diagonal = inputs.diagonal();
    let mean = diagonal.iter().map(|g| f64::from(*g)).sum::<f64>() / diagonal.len().max(1) as f64;
    let lost = before.output_error.value.powi(2) * full + (after - energy).max(0.0) * mean;
    let error = if full > 0.0 { (lost / full).sqrt() } else { 0.0 };
    Some(Weighed { output_error: Known::estimate(error), excess: None })
}

/// What is known of the outputs before a run: of a rank what its form of factors leaves, of what magnitudes or Wanda's scores
/// choose about the energy of the scores that go.
fn weighed(layer: &Layer, facts: &LayerFacts, treatment: Treatment) -> Option<Weighed> {
    let (inputs, weighted) = (layer.inputs.as_ref()?, facts.weighted());
    let relative = |lost: f64, of: f64| if of > 0.0 { (lost.max(0.0) / of).sqrt() } else { 0.0 };
    let full = weighted.spectrum.as_ref().map(|s| s.energy());
    let output_error = match (treatment.rank, treatment.prune) {
        (None, None) => Known::exact(0.0),
        (Some(rank), None) => {
            let spectrum = weighted.spectrum.as_ref()?;
            let lost = match treatment.form {
                Factors::Whitened => spectrum.tail_energy(rank),
                form => weighted.losses.as_ref()?.of_rank(form, rank)?,
            };
            let error = relative(lost, spectrum.energy());
            if inputs.has_gram() { Known::exact(error) } else { Known::estimate(error) }
        }
        (None, Some(how)) => {
            let magnitude = weighted.magnitude.as_ref()?;
            let lost = match (how.criterion, how.pattern) {
                (Criterion::Magnitude, _) => weighted.losses.as_ref()?.of_smallest(layer, how)?,
                (Criterion::Wanda, Pattern::Unstructured) => magnitude.prune(how.remove).removed_energy.value,
                (Criterion::Wanda, _) => {
                    let how = Prune { criterion: Criterion::Magnitude, ..how };
                    weighted.structure.as_ref()?.prune(layer, how)?.energy.value
                }
                _ => return None,
            };
            // Of a row all goes that it holds, alone and together.
            match how.pattern {
                Pattern::Rows => Known::estimate(relative(lost, magnitude.sum_squares)),
                _ => Known::estimate(relative(coherent(lost, magnitude.sum_squares, full?), full?)),
            }
        }
        (Some(_), Some(_)) => return None,
    };
    Some(Weighed { output_error, excess: None })
}

/// The energy of the outputs that goes with entries which hold `lost` of Σ w_ij²·E\[x_j²\] = `diagonal`, where all outputs hold
/// `full`. Were the entries drawn at random, in proportion to what they hold, a share s of them would take s of what each holds
/// alone and s² of what any two hold together. Where no two inputs go together that is what goes.
fn coherent(lost: f64, diagonal: f64, full: f64) -> f64 {
    let share = if diagonal > 0.0 { (lost / diagonal).clamp(0.0, 1.0) } else { 0.0 };
    share * diagonal + share * share * (full - diagonal)
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
        // The residual W − W_r has no zeros to begin with, and unread weights are taken to have none. What chooses single
        // entries by their importance takes zeros first, as magnitudes do.
        let rows = matches!(how.criterion, Criterion::BatchNormScale | Criterion::Leverage);
        if treatment.rank.is_some() || rows || how.criterion.rewrites() {
            return left(how);
        }
        let measured = match how.pattern {
            Pattern::Unstructured => facts.magnitude.as_ref().map(|m| m.prune(how.remove).nonzeros),
            _ => facts.structure.as_ref().and_then(|s| s.prune(layer, how)).map(|r| r.stored),
        };
        measured.unwrap_or_else(|| left(how))
    });
    cost(layer, treatment, nonzeros)
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
    facts.magnitude.as_ref().map(|m| Known::upper(m.norm_above()))
}

/// What an upper bound built from a value of this kind is.
pub(super) fn upper(bound: Bound) -> Bound {
    Bound::Upper.and(bound)
}
