//! AlphaPruning (Lu et al. 2024): more goes from layers whose spectrum has a lighter tail.

use super::{Allocator, BudgetError, Levels, Scene, Spread, anything, unmeasured};
use crate::probe::ProbeId;

pub(super) const ALPHAPRUNING: Allocator = Allocator {
    name: "alphapruning",
    words: "more from layers whose spectrum has a lighter tail, averaged over a block (Lu et al. 2024)",
    needs: &[ProbeId::Spectrum],
    suits: anything,
    spread: Spread::Levels(levels),
};

/// How far from the mean share it goes.
const TAU: f64 = 0.3;

fn levels<'b>(scene: &'b Scene) -> Result<Levels<'b>, BudgetError> {
    let mut alphas = Vec::with_capacity(scene.free.len());
    for (layer, facts) in &scene.free {
        let spectrum = facts.spectrum.as_deref();
        let spectrum = spectrum.ok_or_else(|| unmeasured(layer, facts, "its singular values are not there yet"))?;
        alphas.push(hill(&spectrum.sigma));
    }
    // One exponent a block; layers outside the blocks keep their own.
    let mean = |i: usize| {
        let block = scene.free[i].0.block;
        let of: Vec<f64> = (0..alphas.len())
            .filter(|&j| block.is_some() && scene.free[j].0.block == block)
            .map(|j| alphas[j])
            .collect();
        if of.is_empty() { alphas[i] } else { of.iter().sum::<f64>() / of.len() as f64 }
    };
    let means: Vec<f64> = (0..alphas.len()).map(mean).collect();
    let (low, high) = means.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), a| (l.min(*a), h.max(*a)));
    let part = move |a: f64| if high > low { 1.0 - TAU + 2.0 * TAU * (a - low) / (high - low) } else { 1.0 };
    // Removed: η·φ, at most everything; a larger level keeps more.
    let most = 1.0 / (1.0 - TAU);
    Ok(Levels { most, share: Box::new(move |level, i| 1.0 - ((most - level) * part(means[i])).min(1.0)) })
}

/// Hill's estimate of the exponent of the density of λ = σ², from the upper half of the values:
/// 1 + k/Σ ln(`λ_i`/`λ_{k+1}`).
pub fn hill(sigma: &[f64]) -> f64 {
    let k = sigma.len() / 2;
    let Some(edge) = sigma.get(k).map(|s| s * s).filter(|e| *e > 0.0) else { return 1.0 };
    let sum: f64 = sigma[..k].iter().map(|s| (s * s / edge).ln()).sum();
    if sum > 0.0 { 1.0 + k as f64 / sum } else { f64::MAX.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hills_estimate_is_that_of_the_worked_example() {
        // λ = 2⁷ … 2⁰, k = 4: 1 + 4/(Σ ln(λ/λ₅)) = 1 + 4/(10 ln 2).
        let sigma: Vec<f64> = (0..8).rev().map(|i| 2f64.powf(f64::from(i) / 2.0)).collect();
        assert!((hill(&sigma) - 1.577_078_016_4).abs() < 1e-9);
    }
}
