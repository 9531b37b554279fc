//! Outlier-weighed layerwise sparsity (OWL, Yin et al. 2023): less from blocks with more outliers among |w|·‖x‖.

use super::{Allocator, BudgetError, Levels, Scene, Spread, anything, unmeasured};
use crate::probe::ProbeId;
use crate::probe::activations::{Activations, outliers};

pub(super) const OWL: Allocator = Allocator {
    name: "owl",
    words: "less from blocks with more outliers of weight times input (Yin et al. 2023); needs activations",
    needs: &[ProbeId::Activations],
    suits: anything,
    spread: Spread::Levels(levels),
};

/// How many times the mean an outlier is.
const TIMES: f64 = 5.0;
/// Half the width of the range of shares.
const LAMBDA: f64 = 0.08;

fn levels<'b>(scene: &'b Scene) -> Result<Levels<'b>, BudgetError> {
    let shares = of_blocks(scene, "owl", &|block| outliers(block.iter().copied(), TIMES))?;
    Ok(around(&shares, LAMBDA))
}

/// A number of each free layer: of its whole block, all of whose scores count alike; of a layer outside the blocks its own.
pub(super) fn of_blocks(
    scene: &Scene,
    name: &str,
    of: &dyn Fn(&[&Activations]) -> f64,
) -> Result<Vec<f64>, BudgetError> {
    if let Some((layer, _)) = scene.free.iter().find(|(layer, _)| layer.inputs.is_none()) {
        let why = format!("{name}: needs activations of every layer, and there are none of {}", layer.name);
        return Err(BudgetError::Unsuited(format!("{why}: --calibration FILE, or pin it dense")));
    }
    let mut all = Vec::with_capacity(scene.free.len());
    for (layer, facts) in &scene.free {
        let found = facts.activations.as_deref();
        all.push(found.ok_or_else(|| unmeasured(layer, facts, "its activations are not weighed yet"))?);
    }
    let block = |i: usize| scene.free[i].0.block;
    let together = |i: usize| -> Vec<&Activations> {
        (0..all.len()).filter(|&j| j == i || (block(i).is_some() && block(j) == block(i))).map(|j| all[j]).collect()
    };
    Ok((0..all.len()).map(|i| of(&together(i))).collect())
}

/// How far above the least each is kept: 2λ·(D − min)/(max − min); all alike keep alike.
pub(super) fn offsets(of: &[f64], lambda: f64) -> Vec<f64> {
    let (low, high) = of.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), d| (l.min(*d), h.max(*d)));
    of.iter().map(|d| if high > low { 2.0 * lambda * (d - low) / (high - low) } else { 0.0 }).collect()
}

/// A level for all, and each layer so far above it. The level is where the budget ends, so that the mean over the layers is
/// weighed by their sizes.
pub(super) fn around<'b>(of: &[f64], lambda: f64) -> Levels<'b> {
    let offsets = offsets(of, lambda);
    let share = Box::new(move |level: f64, i: usize| (level - 2.0 * lambda + offsets[i]).clamp(0.0, 1.0));
    Levels { most: 1.0 + 2.0 * lambda, share }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sparsities about a mean, as for layers of one size.
    fn sparsities(of: &[f64], lambda: f64, mean: f64) -> Vec<f64> {
        let kept = offsets(of, lambda);
        let middle = kept.iter().sum::<f64>() / kept.len() as f64;
        kept.iter().map(|k| mean + middle - k).collect()
    }

    #[test]
    fn shares_are_those_of_the_worked_examples() {
        let near = |found: Vec<f64>, want: [f64; 4]| {
            assert!(found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        };
        near(sparsities(&[4.0, 1.0, 2.0, 5.0], LAMBDA, 0.7), [0.66, 0.78, 0.74, 0.62]);
        assert_eq!(offsets(&[3.0, 3.0], LAMBDA), [0.0, 0.0], "0/0: all alike");
        let levels = around(&[4.0, 1.0, 2.0, 5.0], LAMBDA);
        let kept: Vec<f64> = (0..4).map(|i| (levels.share)(0.38, i)).collect();
        near(kept.iter().map(|k| 1.0 - k).collect(), [0.66, 0.78, 0.74, 0.62]);
        let whole = |i| ((levels.share)(levels.most, i) - 1.0).abs() < 1e-12;
        assert!((0..4).all(|i| (levels.share)(0.0, i) == 0.0 && whole(i)));
    }
}
