//! Measured sensitivity: what groups of layers lose alone, against what was expected of them.

use super::{Best, Goal, plan};
use crate::evaluate::{Measured, RunError, Trials, difference};
use crate::numerics::KeepGoing;
use std::collections::BTreeMap;

/// So many layers are measured one by one; of more, those of one role in a quarter of the blocks together.
const SINGLY: usize = 40;

/// Weights stay within a factor of e² of what was expected: one noisy measurement decides nothing.
const FAR: f64 = 2.0;

/// Layers that are measured together, as numbers of menus.
fn groups(goal: &Goal) -> Vec<Vec<usize>> {
    if goal.menus.len() <= SINGLY {
        return (0..goal.menus.len()).map(|i| vec![i]).collect();
    }
    let quarter = goal.model.blocks().div_ceil(4).max(1);
    let mut named: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (i, menu) in goal.menus.iter().enumerate() {
        let Some(layer) = goal.model.layer(menu.layer) else { continue };
        let depth = layer.block.map_or(0, |b| 1 + b / quarter);
        named.entry(format!("{:?} {depth}", layer.role)).or_default().push(i);
    }
    named.into_values().collect()
}

/// Logarithms of measured over expected loss of each layer, of what the best plan so far does to it, all other layers
/// dense. `enough` is asked before each measurement; layers not measured by then get 0, the mean of all.
pub fn weights(
    trials: &mut Trials,
    goal: &Goal,
    (best, dense): (&Best, &Measured),
    wanted: KeepGoing<'_>,
    enough: &dyn Fn() -> bool,
) -> Result<Vec<f64>, RunError> {
    let mut found: Vec<(Vec<usize>, f64)> = Vec::new();
    let all = plan(goal, &best.chosen);
    for group in groups(goal) {
        if enough() || !wanted() {
            break;
        }
        let expected: f64 = group.iter().map(|&i| best.losses[i].get(best.chosen[i]).copied().unwrap_or(0.0)).sum();
        if expected <= 0.0 {
            continue;
        }
        let mut alone = goal.fixed.clone();
        for &i in &group {
            let layer = goal.menus[i].layer.0;
            if let (Some(slot), Some(treatment)) = (alone.get_mut(layer), all.get(layer)) {
                *slot = *treatment;
            }
        }
        let Some(measured) = trials.run(&alone, goal.slice, wanted, &mut |_| wanted())? else { break };
        let excess = difference(&measured, dense);
        // What is within its error of nothing is taken as that error.
        let least = if excess.nats_error.is_finite() { excess.nats_error } else { 0.0 };
        found.push((group, (excess.nats.max(least).max(1e-9) / expected).ln()));
    }
    let mean = found.iter().map(|f| f.1).sum::<f64>() / found.len().max(1) as f64;
    let mut out = vec![0.0; goal.menus.len()];
    for (group, weight) in found {
        group.into_iter().for_each(|i| out[i] = (weight - mean).clamp(-FAR, FAR));
    }
    Ok(out)
}
