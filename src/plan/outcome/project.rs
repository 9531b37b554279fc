//! What one treatment does to the norms of a layer and what it errs, before it is run.
//!
//! An exact singular value is known up to the accuracy of its spectrum: what is called a bound counts that in, and roundings.

use super::LayerOutcome;
use super::gaussian::{gaussian_group_energy, gaussian_removed_energy, group_energy_of};
use super::layer::upper;
use crate::known::{Bound, Known};
use crate::model::Layer;
use crate::numerics::norms::{above, below};
use crate::probe::book::LayerFacts;
use crate::treat::{Criterion, Factors, Pattern, Prune, Treatment};

pub(super) fn project_rank(out: &mut LayerOutcome, facts: &LayerFacts, form: Factors, rank: usize) {
    // The error of factors that depend on activations is known once the weighted matrix is.
    let known = facts.weighted().losses.as_ref().and_then(|l| l.of_weights(form, rank)).map(Known::exact);
    let Some(spectrum) = facts.best_spectrum() else {
        // Nothing better than "between nothing and everything": the frame shows it as pending.
        (out.error_energy, out.delta_norm) = (known, None);
        return;
    };
    out.error_energy = Some(spectrum.known(spectrum.tail_energy(rank)));
    out.delta_norm = Some(spectrum.known(spectrum.cut(rank)));
    out.norm_after = Some(if rank == 0 { Known::exact(0.0) } else { spectrum.known(spectrum.norm()) });
    if form.weighs() {
        // A projection of the rows' space that errs no less in the weights than the best one, and stretches nothing more.
        let [tail, cut] = [spectrum.tail_norm(rank).0.powi(2), (spectrum.cut(rank) - spectrum.slack()).max(0.0)];
        let least = |value: f64, best: f64| {
            if spectrum.is_exact() { Known::lower(below(value, 2)) } else { Known::estimate(best) }
        };
        let energy = least(tail, spectrum.tail_energy(rank));
        (out.error_energy, out.delta_norm) = (known.or(Some(energy)), Some(least(cut, spectrum.cut(rank))));
        out.norm_after = out.norm_after.map(|k| above_of(k, spectrum.accuracy));
    }
}

/// An upper bound from a norm that is known up to this accuracy where it is exact.
fn above_of(norm: Known, accuracy: f64) -> Known {
    let value = if norm.bound == Bound::Exact { above(norm.value * (1.0 + accuracy), 1) } else { norm.value };
    Known { value, bound: upper(norm.bound) }
}

/// Spatial-wise: the error is what its own spectrum leaves; norms of the matrix view follow from it as bounds.
pub(super) fn project_spatial(out: &mut LayerOutcome, facts: &LayerFacts, rank: usize) {
    let Some(spectrum) = facts.spectrum_of(Factors::Spatial) else {
        (out.error_energy, out.delta_norm, out.norm_after) = (None, None, None);
        return;
    };
    let error = spectrum.tail_energy(rank);
    let ((_, whole), (least, most)) = (spectrum.tail_norm(0), spectrum.tail_norm(rank));
    out.error_energy = Some(Known::exact(error));
    out.delta_norm = Some(if most == 0.0 { Known::exact(0.0) } else { Known::upper(most) });
    // ‖Ŵ‖₂ ≤ min(‖W‖₂ + ‖ΔW‖_F, ‖Ŵ‖_F).
    let left = above((whole.powi(2) - least.powi(2)).max(0.0).sqrt(), 3);
    let accuracy = facts.spectrum.as_ref().map_or(0.0, |s| s.accuracy);
    out.norm_after = out.norm_before.map(|n| {
        let n = above_of(n, accuracy);
        Known { value: above(n.value + most, 1).min(left), ..n }
    });
}

pub(super) fn project_prune(out: &mut LayerOutcome, layer: &Layer, facts: &LayerFacts, how: Prune) {
    if how.criterion != Criterion::Magnitude {
        project_criterion(out, layer, facts, how);
        return;
    }
    let removed = match how.pattern {
        Pattern::Unstructured => facts.magnitude.as_ref().map(|m| m.prune(how.remove).removed_energy),
        _ => facts.structure.as_ref().and_then(|s| s.prune(layer, how)).map(|r| r.energy),
    };
    let removed = removed.or_else(|| other_groups(layer, facts, how));
    let (Some(magnitude), Some(removed)) = (&facts.magnitude, removed) else {
        (out.error_energy, out.delta_norm, out.norm_after) = (None, None, None);
        return;
    };
    out.error_energy = Some(removed);
    if removed.value == 0.0 {
        return;
    }
    // ‖ΔW‖₂ ≤ ‖ΔW‖_F, and ‖Ŵ‖₂ ≤ min(‖W‖₂ + ‖ΔW‖₂, ‖Ŵ‖_F): sound as long as what is removed lies between bounds.
    let (least, most) = match how.pattern {
        Pattern::Unstructured => magnitude.prune(how.remove).range,
        _ => (removed.value, removed.value),
    };
    let sure = if how.pattern == Pattern::Unstructured { Bound::Exact } else { removed.bound };
    // Each is a sum over at most all entries, and a root; an exact ‖W‖₂ is known up to the accuracy of its spectrum.
    let terms = layer.rows() * layer.cols();
    let (least, delta) = (below(least, terms), above(above(most.max(0.0), terms).sqrt(), 1));
    let accuracy = facts.spectrum.as_ref().map_or(0.0, |s| s.accuracy);
    out.delta_norm = Some(Known { value: delta, bound: upper(sure) });
    let left = above((magnitude.energy_above() - least).max(0.0).sqrt(), 1);
    // What is left of whole rows or columns is a part of W.
    let more = if matches!(how.pattern, Pattern::Rows | Pattern::Columns) { 0.0 } else { delta };
    out.norm_after = out.norm_before.map(|n| Known {
        value: above(n.value * (1.0 + accuracy) + more, 2).min(left),
        bound: upper(sure).and(if n.bound == Bound::Exact { Bound::Upper } else { n.bound }),
    });
}

/// Groups of a size that was not measured: as if the layer's entries lay in any order.
fn other_groups(layer: &Layer, facts: &LayerFacts, how: Prune) -> Option<Known> {
    let (Pattern::Groups(m), Some(magnitude)) = (how.pattern, &facts.magnitude) else { return None };
    // Columns that fill no group stay.
    let whole = (layer.cols() / m * m) as f64 / layer.cols().max(1) as f64;
    let removed = how.pattern.removed(how.remove, layer) as usize;
    let energy = group_energy_of(|s| magnitude.prune(s).removed_energy.value, removed, m);
    Some(Known::estimate(energy * whole))
}

/// Other criteria: exact where the order is known beforehand; relative importance from a sample; else no less than what
/// magnitudes would lose, which err least.
fn project_criterion(out: &mut LayerOutcome, layer: &Layer, facts: &LayerFacts, how: Prune) {
    (out.error_energy, out.delta_norm, out.norm_after) = (None, None, None);
    let Some(magnitude) = &facts.magnitude else { return };
    let known = if let (Some(gains), Criterion::BatchNormScale) = (&layer.gains, how.criterion) {
        let mut order: Vec<usize> = (0..gains.len().min(magnitude.row_squares.len())).collect();
        order.sort_by(|&a, &b| gains[a].abs().total_cmp(&gains[b].abs()).then(a.cmp(&b)));
        order.truncate(how.pattern.removed(how.remove, layer) as usize);
        Some(Known::exact(order.iter().map(|&row| magnitude.row_squares[row]).sum()))
    } else {
        let least = match how.pattern {
            Pattern::Unstructured => Some(Known::exact(magnitude.prune(how.remove).range.0)),
            _ => facts.structure.as_ref().and_then(|s| s.prune(layer, how)).map(|r| r.energy),
        };
        least.filter(|l| l.bound == Bound::Exact).map(|l| Known::lower(l.value))
    };
    // Near what a sample of rows says, and never below what magnitudes would lose.
    let about = facts.importance.as_ref().filter(|_| how.criterion == Criterion::RelativeImportance);
    let about = about.and_then(|i| i.removed(how.pattern, gone(layer, how))).map(|share| share * magnitude.sum_squares);
    out.error_energy = match (known, about) {
        (Some(least), Some(about)) => Some(Known::estimate(about.max(least.value))),
        (known, about) => known.or(about.map(Known::estimate)),
    };
    if let Some(about) = about {
        out.delta_norm = Some(Known::estimate(about.sqrt()));
    }
    if let Some(exact) = known.filter(|k| k.bound == Bound::Exact) {
        let terms = layer.rows() * layer.cols();
        out.delta_norm = Some(Known::upper(above(above(exact.value.max(0.0), terms).sqrt(), 1)));
    }
    // Of whole rows a part of W is left; else no more than all entries.
    let rows = how.pattern == Pattern::Rows;
    let accuracy = facts.spectrum.as_ref().map_or(0.0, |s| s.accuracy);
    out.norm_after = out.norm_before.filter(|_| rows).map(|n| above_of(n, accuracy));
    out.norm_after = out.norm_after.or(Some(Known::upper(magnitude.frobenius_above())));
}

/// The share of the entries that really goes: whole entries, of the layer or of each row.
fn gone(layer: &Layer, how: Prune) -> f64 {
    let of = match how.pattern {
        Pattern::Unstructured => layer.rows() as u64 * layer.cols() as u64,
        _ => return how.remove,
    };
    Treatment::removed(how.remove, of) as f64 / of.max(1) as f64
}

pub(super) fn project_both(
    out: &mut LayerOutcome,
    facts: &LayerFacts,
    treatment: Treatment,
    (rank, how): (usize, Prune),
    layer: &Layer,
) {
    let entries = how.criterion == Criterion::RelativeImportance || treatment.weighs();
    let Some(spectrum) = facts.best_spectrum_of(treatment.form).filter(|_| !entries) else {
        (out.error_energy, out.delta_norm, out.norm_after) = (None, None, None);
        return;
    };
    // The residual's entries are taken as Gaussian: removing the smallest share s takes s − 2tφ(t) of the energy.
    let residual = spectrum.tail_energy(rank);
    let share = match how.pattern {
        Pattern::Unstructured | Pattern::PerRow => gaussian_removed_energy(how.remove),
        Pattern::Groups(m) => gaussian_group_energy(how.pattern.removed(how.remove, layer) as usize, m),
        // Large units of a Gaussian matrix hardly differ.
        _ => how.remove,
    };
    let error = residual * share;
    let delta = error.sqrt().min(spectrum.cut(rank) * (layer.full_rank() as f64).sqrt());
    out.error_energy = Some(Known::estimate(error));
    out.delta_norm = Some(Known::estimate(delta.min(error.sqrt())));
    out.norm_after = match treatment.form {
        Factors::Matrix | Factors::Whitened | Factors::Asvd => Some(Known::estimate(spectrum.norm())),
        Factors::Spatial => out.norm_before.map(|n| Known::estimate(n.value)),
    };
}
