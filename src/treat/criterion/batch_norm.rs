//! Filters by the scale of the batch normalisation that follows (network slimming, Liu et al. 2017; MaskSparsity): |γ| of
//! an output channel. It says something only where training pressed γ towards zero, and of channels whose next layer is
//! of one scale.

use super::{Act, Criterion, Scores, Way, rows_only};
use crate::treat::Pattern;

/// See the module.
pub static WAY: Way = Way {
    criterion: Criterion::BatchNormScale,
    name: "batch-norm-scale",
    words: "filters of least |γ| in the batch norm that follows (network slimming, MaskSparsity)",
    short: "filters of least |γ|",
    applies: |layer, pattern| {
        rows_only(pattern)?;
        match &layer.gains {
            Some(_) => Ok(()),
            None if layer.kind.is_conv() => Err("no batch normalisation follows it".to_owned()),
            None => Err("it is no convolution that batch normalisation follows".to_owned()),
        }
    },
    pattern: Pattern::Rows,
    weighs: false,
    act: Act::Scores(|layer, _, _| {
        let gains = layer.gains.iter().flat_map(|g| g.iter());
        Ok(Scores::Rows(gains.map(|g| f64::from(g.abs())).collect()))
    }),
};

/// Σγ² below which channels go by the per-layer rule.
const NOTHING: f64 = 1e-4;

/// The threshold on |γ| that MaskSparsity takes for a layer, and how many channels lie below it: the smallest go whose γ²
/// add up to at most 10⁻⁴ of all; halfway to the next. All but one where no |γ| reaches 10⁻³.
pub fn threshold(gains: &[f32]) -> (f64, usize) {
    let mut sorted: Vec<f64> = gains.iter().map(|g| f64::from(g.abs())).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(&largest) = sorted.last() else { return (0.0, 0) };
    if largest < 1e-3 {
        return (largest, sorted.len() - 1);
    }
    let total: f64 = sorted.iter().map(|g| g * g).sum();
    let mut sum = 0.0;
    let below = sorted.iter().take_while(|g| {
        sum += *g * *g;
        sum <= NOTHING * total
    });
    let below = below.count();
    let before = below.checked_sub(1).map_or(0.0, |i| sorted[i]);
    (f64::midpoint(before, sorted[below.min(sorted.len() - 1)]), below)
}

/// The threshold below which a share of all channels of all layers lies.
pub fn global_threshold<'a>(layers: impl IntoIterator<Item = &'a [f32]>, share: f64) -> f64 {
    let mut all: Vec<f64> = layers.into_iter().flatten().map(|g| f64::from(g.abs())).collect();
    all.sort_by(f64::total_cmp);
    let below = (share.clamp(0.0, 1.0) * all.len() as f64).floor() as usize;
    match (below.checked_sub(1).and_then(|i| all.get(i)), all.get(below)) {
        (Some(a), Some(b)) => f64::midpoint(*a, *b),
        (None, Some(first)) => first / 2.0,
        (last, None) => last.copied().unwrap_or(0.0) * 2.0,
    }
}
