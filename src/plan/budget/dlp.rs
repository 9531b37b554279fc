//! Dynamic layerwise pruning (DLP, arXiv 2505.23807): more from blocks whose mean |w|·‖x‖ is larger.

use super::owl::{around, of_blocks};
use super::{Allocator, BudgetError, Levels, Scene, Spread, anything};
use crate::probe::ProbeId;
use crate::probe::activations::mean;

pub(super) const DLP: Allocator = Allocator {
    name: "dlp",
    words: "more from blocks with a larger mean of weight times input (DLP 2025); needs activations",
    needs: &[ProbeId::Activations],
    suits: anything,
    spread: Spread::Levels(levels),
};

/// Half the width of the range of shares.
const ALPHA: f64 = 0.15;

fn levels<'b>(scene: &'b Scene) -> Result<Levels<'b>, BudgetError> {
    let means = of_blocks(scene, "dlp", &|block| mean(block.iter().copied()))?;
    Ok(around(&relative(&means), ALPHA))
}

/// r = 1 − score/Σ score.
fn relative(means: &[f64]) -> Vec<f64> {
    let sum: f64 = means.iter().sum();
    means.iter().map(|m| if sum > 0.0 { 1.0 - m / sum } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::owl::offsets;
    use super::*;

    #[test]
    fn shares_are_those_of_the_worked_example() {
        let kept = offsets(&relative(&[1.0, 2.0, 3.0, 4.0]), ALPHA);
        let middle = kept.iter().sum::<f64>() / 4.0;
        for (k, want) in kept.iter().zip([0.55, 0.65, 0.75, 0.85]) {
            assert!((0.7 + middle - k - want).abs() < 1e-12, "{kept:?}");
        }
    }
}
