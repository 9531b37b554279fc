//! What rounding adds to what pruning or a rank does.

use super::LayerOutcome;
use super::gaussian::quantile;
use super::layer::upper;
use crate::known::{Bound, Known};
use crate::model::Layer;
use crate::numerics::norms::above;
use crate::probe::book::LayerFacts;
use crate::treat::{Criterion, Granularity, Pattern, Prune, Quantise, Treatment};

/// Adds rounding to the outcome of the treatment without it.
///
/// Alone it is measured. Of a pruned matrix E = ‖W − Q(W)‖² is known, of all entries: what is kept errs by the same as long
/// as the largest entries, which set the scales, stay. No entry errs by more than itself, so that the error lies between
/// max(R, E) and R + E, R what pruning removes; told is R + E · (share of the entries that stays), kept between these. Of
/// factors the entries are taken as Gaussian, see [`of_factors`].
pub(super) fn project(out: &mut LayerOutcome, layer: &Layer, facts: &LayerFacts, treatment: Treatment, how: Quantise) {
    let alone = facts.rounding.as_ref().and_then(|r| r.energy(how));
    let known = alone.zip(facts.magnitude.as_ref().map(|m| m.sum_squares)).zip(out.error_energy);
    let Some(((rounded, energy), before)) = known else {
        (out.error_energy, out.delta_norm, out.norm_after) = (None, None, None);
        return;
    };
    if rounded == 0.0 && treatment.rank.is_none() {
        return;
    }
    let (error, most) = match (treatment.rank, treatment.prune) {
        (None, None) => (Known::exact(rounded), Some(rounded)),
        (None, Some(prune)) => {
            let entries = layer.rows() as f64 * layer.cols() as f64;
            let kept = (out.after.params as f64 / entries.max(1.0)).min(1.0);
            let most = before.value + rounded;
            let error = (before.value + rounded * kept).clamp(before.value.max(rounded).min(most), most);
            (Known::estimate(error), scales_stay(prune, how).then_some(most))
        }
        (Some(rank), prune) => {
            let Some(spectrum) = facts.best_spectrum_of(treatment.form) else { return };
            let relative = if energy > 0.0 { rounded / energy } else { 0.0 };
            let sigma = &spectrum.sigma[..rank.min(spectrum.sigma.len())];
            let factors = of_factors(sigma, treatment.form.shape(layer), how);
            let rest = prune.map_or(0.0, |_| relative * (spectrum.tail_energy(rank) - before.value).max(0.0));
            (Known::estimate(before.value + factors + rest), None)
        }
    };
    out.error_energy = Some(error);
    // ‖ΔW‖₂ ≤ ‖ΔW‖_F, and ‖Ŵ‖₂ ≤ ‖W‖₂ + ‖ΔW‖₂.
    let bound = if most.is_some() { upper(before.bound) } else { Bound::Estimate };
    // The probe takes w·(1/s) in `f32` where a run takes w/s, and a run rounds its result: an entry's error is off by at
    // most 2⁻²¹|w|, all errors together by 2⁻²¹‖W‖_F. The sum itself is one over at most all entries.
    let terms = layer.rows() * layer.cols();
    let delta = above(above(most.unwrap_or(error.value).max(0.0), terms).sqrt() + energy.sqrt() / (1 << 21) as f64, 2);
    if treatment.rank.is_none() {
        out.delta_norm = Some(Known { value: delta, bound });
        // An exact ‖W‖₂ is known up to the accuracy of its spectrum.
        let accuracy = facts.spectrum.as_ref().map_or(0.0, |s| s.accuracy);
        let after = |n: Known| above(n.value * (1.0 + accuracy) + delta, 2);
        out.norm_after = out.norm_before.map(|n| Known { value: after(n), bound: bound.and(upper(n.bound)) });
    } else {
        let cut = out.delta_norm.map_or(0.0, |d| d.value);
        // Rounding errors spread over all directions: of a square of them the norm is about 2/√n of the Frobenius norm.
        let spread = 2.0 * ((error.value - before.value).max(0.0) / layer.full_rank().max(1) as f64).sqrt();
        out.delta_norm = Some(Known::estimate(cut.max(spread).min(delta)));
        out.norm_after = out.norm_after.map(|n| Known::estimate(n.value));
    }
}

/// ‖ΔA·B + A·ΔB‖² of two rounded factors A (m × r) and B (r × n) whose directions j hold σⱼ each.
///
/// Their entries are taken as Gaussian of variance σⱼ/m and σⱼ/n. The largest of g of them, which sets the scale
/// s = max/(2^(bits−1) − 1), lies at c(g) deviations; an error is uniform within half a scale, s²/12, and no more than
/// the entry. Errors that know nothing of each other add up: an entry of A in direction j costs its square times σⱼ.
fn of_factors(sigma: &[f64], [m, n]: [usize; 2], how: Quantise) -> f64 {
    let rank = sigma.len();
    let step = |entries: usize| largest_of(entries).powi(2) / (12.0 * f64::from(how.top()).powi(2));
    // A: those of a row that share a scale lie in neighbouring directions, the first of which sets it.
    let (together, sharing) = match how.per {
        Granularity::Tensor => (rank, m * rank),
        Granularity::Row => (rank, rank),
        Granularity::Group(g) => (g.min(rank), g.min(rank)),
    };
    let left = sigma.chunks(together.max(1)).flat_map(|part| part.iter().map(move |s| (*s, part[0])));
    let left: f64 = left.map(|(s, first)| s * (first * step(sharing)).min(s)).sum();
    let right: f64 = match how.per {
        Granularity::Tensor => sigma.iter().map(|s| s * (sigma[0] * step(rank * n)).min(*s)).sum(),
        Granularity::Row => sigma.iter().map(|s| s * s * step(n).min(1.0)).sum(),
        Granularity::Group(g) => sigma.iter().map(|s| s * s * step(g.min(n)).min(1.0)).sum(),
    };
    left + right
}

/// At how many deviations the largest magnitude of so many Gaussian entries lies in the median.
fn largest_of(entries: usize) -> f64 {
    quantile(0.5f64.powf(1.0 / entries.max(1) as f64))
}

/// Whether the largest entry of all that share a scale stays whenever any of them does.
fn scales_stay(prune: Prune, how: Quantise) -> bool {
    prune.criterion == Criterion::Magnitude
        && match prune.pattern {
            Pattern::Unstructured | Pattern::PerRow | Pattern::Groups(_) => true,
            Pattern::Rows => how.per != Granularity::Tensor,
            Pattern::Columns | Pattern::Blocks(..) => false,
        }
}
