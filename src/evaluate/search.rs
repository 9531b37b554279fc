//! The best plan within a budget: what could be done to each layer is weighed by activations, spread over the layers, and
//! improved by measured trials until the time is over.
//!
//! A plan follows from one weight for each layer: the least Σ weight · loss within the budget, on the convex hulls of the
//! layers' choices (see `plan/allocate`). Trials change weights, of a role, a block, a layer, and keep what measures better,
//! part by part on one slice ((1+1) evolution strategy with the 1/5 rule, Rechenberg 1973). So every plan tried meets the
//! budget, and few numbers are fitted to the slice.

mod felt;
mod menu;
mod moves;

pub use menu::{Choosable, Families, LayerMenu, menus};

use super::compare::{Difference, difference};
use super::data::Slice;
use super::quality::Measured;
use super::{RunError, Trials};
use crate::model::Model;
use crate::numerics::KeepGoing;
use crate::plan::allocate::{Choice, Infeasible, Menu, lagrangian};
use crate::treat::Treatment;
use moves::Moves;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Share of the time for measuring what layers lose alone.
const SENSING: f64 = 0.3;

/// What is looked for.
pub struct Goal<'a> {
    /// The model.
    pub model: &'a Model,
    /// What could be done to each free layer.
    pub menus: &'a [LayerMenu],
    /// What the free layers may take together, in the unit of the menus' costs.
    pub budget: f64,
    /// What happens to the other layers.
    pub fixed: Vec<Treatment>,
    /// What is measured on.
    pub slice: &'a Slice,
    /// How long is tried.
    pub time: Duration,
    /// Which random numbers.
    pub seed: u64,
}

/// How far the search is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Plans measured, in whole or until they were clearly worse.
    pub trials: usize,
    /// Plans that were better than all before.
    pub improved: usize,
    /// Loss of the dense model and of the best plan, nats per token or example.
    pub nats: [f64; 2],
    /// Share of the time that is spent.
    pub share: f64,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// A treatment for each layer of the model.
    pub plan: Vec<Treatment>,
    /// What it measures on the slice that was searched on: a little better than elsewhere, since it was chosen by that.
    pub measured: Measured,
    /// What the dense model measures there.
    pub dense: Measured,
    /// The plan that the search began with, by what it was spread, and what it measured above the dense model.
    pub began: (&'static str, Difference),
    /// Σ of the losses predicted for each layer alone, in nats, where they are in nats.
    pub predicted: Option<f64>,
    /// Plans measured and how many were better than all before.
    pub trials: [usize; 2],
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The smallest choices take more than the budget.
    #[error(transparent)]
    OutOfReach(#[from] Infeasible),
    /// The model could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Interrupted before the first plan was measured.
    #[error("stopped before a plan was measured")]
    Stopped,
}

/// The plan of least weighed loss within the budget: the number of a choice for each menu.
fn spread(goal: &Goal, losses: &[Vec<f64>], weights: &[f64]) -> Result<Vec<usize>, Infeasible> {
    let menus: Vec<Menu> = goal
        .menus
        .iter()
        .zip(losses)
        .zip(weights)
        .map(|((menu, losses), weight)| Menu {
            choices: menu
                .options
                .iter()
                .zip(losses)
                .map(|(o, loss)| Choice { cost: o.cost, loss: loss * weight.exp() })
                .collect(),
        })
        .collect();
    lagrangian(&menus, goal.budget)
}

/// Treatments of all layers under a choice of each menu.
fn plan(goal: &Goal, chosen: &[usize]) -> Vec<Treatment> {
    let mut plan = goal.fixed.clone();
    for (menu, choice) in goal.menus.iter().zip(chosen) {
        if let (Some(slot), Some(option)) = (plan.get_mut(menu.layer.0), menu.options.get(*choice)) {
            *slot = option.treatment;
        }
    }
    plan
}

/// Searches until the time is over, `wanted` says no, or nothing new is found; the best plan measured so far is given in
/// every case.
pub fn search(
    trials: &mut Trials,
    goal: &Goal,
    wanted: KeepGoing<'_>,
    tell: &mut dyn FnMut(&Progress),
) -> Result<Found, SearchError> {
    let start = Instant::now();
    let share = || (start.elapsed().as_secs_f64() / goal.time.as_secs_f64().max(1e-9)).min(1.0);
    let dense = vec![Treatment::default(); goal.model.layers.len()];
    let dense = trials.run(&dense, goal.slice, wanted, &mut |_| wanted())?.ok_or(SearchError::Stopped)?;
    let flat = vec![0.0; goal.menus.len()];
    let (mut best, mut counts): (Option<Best>, [usize; 2]) = (None, [0, 0]);
    let mut seen: HashSet<Vec<usize>> = HashSet::new();
    for kind in &menu::KINDS {
        let Some(losses) = kind.losses(goal.menus) else { continue };
        let chosen = spread(goal, &losses, &flat)?;
        if best.is_some() && (!seen.insert(chosen.clone()) || share() >= 1.0 || !wanted()) {
            continue;
        }
        seen.insert(chosen.clone());
        let proposal = plan(goal, &chosen);
        let Some(measured) = race(trials, goal, &proposal, best.as_ref(), wanted)? else { continue };
        counts[0] += 1;
        if best.as_ref().is_none_or(|b| measured.nats < b.measured.nats) {
            counts[1] += 1;
            best = Some(Best { name: kind.name, losses, chosen, measured, weights: flat.clone() });
        }
        if let Some(best) = &best {
            let nats = [dense.nats, best.measured.nats];
            tell(&Progress { trials: counts[0], improved: counts[1], nats, share: share() });
        }
    }
    let mut best = best.ok_or(SearchError::Stopped)?;
    let felt = felt::weights(trials, goal, (&best, &dense), wanted, &|| share() > SENSING)?;
    counts[0] += 1;
    let chosen = spread(goal, &best.losses, &felt)?;
    if seen.insert(chosen.clone())
        && let Some(measured) = race(trials, goal, &plan(goal, &chosen), Some(&best), wanted)?
        && measured.nats < best.measured.nats
    {
        counts[1] += 1;
        best = Best { name: "measured sensitivity", chosen, measured, weights: felt, ..best };
    }
    let began = (best.name, difference(&best.measured, &dense));
    let mut moves = Moves::new(goal.model, goal.menus, goal.seed);
    // After so many proposals in a row that lead to plans already seen nothing new is near.
    let mut stale = 0;
    while share() < 1.0 && wanted() && stale < 2000 {
        let weights = moves.propose(&best.weights);
        let chosen = spread(goal, &best.losses, &weights)?;
        if !seen.insert(chosen.clone()) {
            stale += 1;
            moves.widen();
            continue;
        }
        stale = 0;
        counts[0] += 1;
        let proposal = plan(goal, &chosen);
        let measured = race(trials, goal, &proposal, Some(&best), wanted)?;
        let better = measured.filter(|m| m.nats < best.measured.nats);
        moves.learn(better.is_some());
        if let Some(measured) = better {
            counts[1] += 1;
            best = Best { chosen, weights, measured, ..best };
        }
        let nats = [dense.nats, best.measured.nats];
        tell(&Progress { trials: counts[0], improved: counts[1], nats, share: share() });
    }
    let predicted = menu::KINDS[0]
        .losses(goal.menus)
        .map(|losses| losses.iter().zip(&best.chosen).filter_map(|(l, c)| l.get(*c)).sum::<f64>());
    Ok(Found { plan: plan(goal, &best.chosen), measured: best.measured, dense, began, predicted, trials: counts })
}

struct Best {
    name: &'static str,
    losses: Vec<Vec<f64>>,
    chosen: Vec<usize>,
    weights: Vec<f64>,
    measured: Measured,
}

/// Measures a plan, and gives up where it is clearly worse than the best: by three standard errors of the difference, part by
/// part, after a quarter of the slice. `None` when it was given up.
fn race(
    trials: &mut Trials,
    goal: &Goal,
    plan: &[Treatment],
    best: Option<&Best>,
    wanted: KeepGoing<'_>,
) -> Result<Option<Measured>, RunError> {
    let mut tell = |so_far: &Measured| {
        let lost = best.is_some_and(|best| {
            let d = difference(so_far, &best.measured);
            so_far.share >= 0.25 && so_far.share < 1.0 && d.nats > 3.0 * d.nats_error
        });
        wanted() && !lost
    };
    trials.run(plan, goal.slice, wanted, &mut tell)
}

#[cfg(test)]
mod tests;
