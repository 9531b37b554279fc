//! A whole model within a budget: allocators turn facts and a budget into a treatment for each layer.

use super::allocate::{Choice, Infeasible, Menu, lagrangian};
use super::outcome::project_layer;
use super::{Plan, Treatment};
use crate::model::cost::Cost;
use crate::model::{Layer, LayerId, Model};
use crate::probe::book::{FactBook, LayerFacts};
use crate::treat::{Pattern, Prune};

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Parameters stored.
    Params,
    /// Bytes stored.
    Bytes,
    /// Multiply-accumulates.
    Macs,
}

impl Unit {
    /// Its word in files and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::Bytes => "bytes",
            Self::Macs => "macs",
        }
    }
    /// How much of it a layer takes; multiply-accumulates that are not known count as none.
    pub fn of(self, cost: Cost) -> f64 {
        match self {
            Self::Params => cost.params as f64,
            Self::Bytes => cost.bytes as f64,
            Self::Macs => cost.macs.unwrap_or(0) as f64,
        }
    }
}

/// What may be done to the layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Means {
    /// Removing entries in a pattern.
    Prune(Pattern),
    /// Keeping a rank, a multiple of a number.
    Rank(usize),
}

/// What is asked of an allocator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ask {
    /// Share of the model that stays.
    pub keep: f64,
    /// Of what.
    pub of: Unit,
    /// By what means.
    pub means: Means,
    /// Every layer keeps at least this share of itself.
    pub floor: f64,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// Even the smallest choices take more.
    #[error("keeping {keep:.1}% of the {of} is out of reach: {binding}; the least that can be kept is {least:.1}%")]
    OutOfReach {
        /// What was asked for, in percent.
        keep: f64,
        /// Of what.
        of: &'static str,
        /// Which constraints leave no room.
        binding: String,
        /// The least that can be kept, in percent.
        least: f64,
    },
    /// The allocator cannot do that.
    #[error("{0}")]
    Unsuited(String),
    /// A layer has not been measured.
    #[error("{layer} is not measured: {why}")]
    Unmeasured {
        /// The layer.
        layer: String,
        /// What is missing.
        why: String,
    },
}

/// A way to spread a budget.
pub struct Allocator {
    /// Its name on the command line and in plan files.
    pub name: &'static str,
    /// What it does, in a line.
    pub words: &'static str,
    /// Spreads: a treatment for each of the layers that are free.
    spread: fn(&Scene) -> Result<Vec<Treatment>, BudgetError>,
}

/// All allocators.
pub static ALLOCATORS: &[Allocator] = &[
    Allocator { name: "uniform", words: "the same share of every layer", spread: uniform },
    Allocator {
        name: "global",
        words: "one threshold for all entries: least total squared error, unstructured pruning only",
        spread: global,
    },
    Allocator {
        name: "erk",
        words: "keep in proportion to (rows + columns)/(rows · columns), from shapes alone (Evci et al. 2020)",
        spread: erk,
    },
    Allocator {
        name: "lamp",
        words: "one threshold on squared magnitude over what is not smaller in the layer (Lee et al. 2021)",
        spread: lamp,
    },
    Allocator {
        name: "waterfill",
        words: "least sum of squared relative errors, optimal on the convex hull of each layer's curve",
        spread: waterfill,
    },
    Allocator {
        name: "alphapruning",
        words: "more from layers whose spectrum has a lighter tail, averaged over a block (Lu et al. 2024)",
        spread: alphapruning,
    },
];

/// The allocator of a name.
pub fn allocator(name: &str) -> Option<&'static Allocator> {
    ALLOCATORS.iter().find(|a| a.name == name)
}

/// What allocators see.
struct Scene<'a> {
    free: Vec<(&'a Layer, &'a LayerFacts)>,
    ask: Ask,
    /// What the free layers may take together.
    budget: f64,
    /// What all the others take.
    fixed: f64,
    /// What everything takes untreated.
    whole: f64,
    pinned: Vec<String>,
}

impl Allocator {
    /// Spreads a budget over the layers that may be treated and are not pinned; the others stay as `plan` has them.
    pub fn plan(
        &self,
        model: &Model,
        facts: &FactBook,
        plan: &Plan,
        ask: Ask,
    ) -> Result<Vec<(LayerId, Treatment)>, BudgetError> {
        let scene = Scene::new(model, facts, plan, ask);
        let found = (self.spread)(&scene)?;
        Ok(scene.free.iter().map(|(l, _)| l.id).zip(found).collect())
    }
}

impl<'a> Scene<'a> {
    fn new(model: &'a Model, facts: &'a FactBook, plan: &Plan, ask: Ask) -> Self {
        let (mut free, mut pinned) = (Vec::new(), Vec::new());
        let (mut fixed, mut whole) = (0.0, 0.0);
        for layer in &model.layers {
            let known = facts.of(layer.id);
            let dense = ask.of.of(project_layer(layer, known, Treatment::default(), None).before);
            whole += dense;
            let entry = plan.entry(layer.id);
            if layer.eligible() && layer.tied_to.is_none() && !entry.pinned {
                free.push((layer, known));
                continue;
            }
            if entry.pinned {
                pinned.push(layer.name.clone());
            }
            fixed += ask.of.of(project_layer(layer, known, entry.treatment, None).after);
        }
        // What is stored beside the layers: biases, gains, buffers.
        let beside = match ask.of {
            Unit::Params => model.params() as f64 - whole,
            Unit::Bytes => model.bytes() as f64 - whole,
            Unit::Macs => 0.0,
        };
        whole += beside;
        fixed += beside;
        Self { free, ask, budget: ask.keep * whole - fixed, fixed, whole, pinned }
    }

    fn after(&self, i: usize, treatment: Treatment) -> f64 {
        let (layer, facts) = self.free[i];
        self.ask.of.of(project_layer(layer, facts, treatment, None).after)
    }

    /// The treatment of a layer that keeps a share of itself, at least the floor.
    fn keeping(&self, i: usize, share: f64) -> Treatment {
        let (layer, share) = (self.free[i].0, share.clamp(self.ask.floor, 1.0));
        match self.ask.means {
            Means::Prune(pattern) => {
                let remove = pattern.on_grid(1.0 - share);
                Treatment { prune: (remove > 0.0).then_some(Prune::of(remove, pattern)), ..Treatment::default() }
            }
            Means::Rank(multiple) => {
                let (m, n) = (layer.rows() as f64, layer.cols() as f64);
                let rank = (share * m * n / (m + n) / multiple as f64).floor() as usize * multiple;
                let rank = rank.max(multiple.min(layer.full_rank())).max(1);
                Treatment {
                    rank: (share < 1.0 && rank < layer.break_even_rank()).then_some(rank),
                    ..Treatment::default()
                }
            }
        }
    }

    /// The largest x in [0, most] for which the treatments stay within the budget; `at` must take more for a larger x.
    fn solve(&self, most: f64, at: impl Fn(f64) -> Vec<Treatment>) -> Result<Vec<Treatment>, BudgetError> {
        let total = |t: &[Treatment]| t.iter().enumerate().map(|(i, t)| self.after(i, *t)).sum::<f64>();
        let (mut low, mut high) = (0.0, most);
        let least = at(low);
        let smallest = total(&least);
        if smallest > self.budget * (1.0 + 1e-12) {
            return Err(self.out_of_reach(smallest));
        }
        let all = at(high);
        if total(&all) <= self.budget * (1.0 + 1e-12) {
            return Ok(all);
        }
        let mut best = least;
        for _ in 0..50 {
            let middle = f64::midpoint(low, high);
            let tried = at(middle);
            if total(&tried) <= self.budget * (1.0 + 1e-12) {
                (low, best) = (middle, tried);
            } else {
                high = middle;
            }
        }
        Ok(best)
    }

    fn out_of_reach(&self, smallest: f64) -> BudgetError {
        let mut binding = Vec::new();
        if !self.pinned.is_empty() {
            binding.push(format!("{} pinned", self.pinned.join(", ")));
        }
        if self.ask.floor > 0.0 {
            binding.push(format!("every layer keeps {:.0}%", self.ask.floor * 100.0));
        }
        binding.push(format!("{:.1}% lie in what is not compressed", 100.0 * self.fixed / self.whole.max(1.0)));
        BudgetError::OutOfReach {
            keep: self.ask.keep * 100.0,
            of: self.ask.of.word(),
            binding: binding.join("; "),
            least: 100.0 * (self.fixed + smallest) / self.whole.max(1.0),
        }
    }

    /// All treatments of a layer that are worth weighing, with what they take and lose; the last one is dense.
    fn menu(&self, i: usize, relative: bool) -> Result<(Menu, Vec<Treatment>), BudgetError> {
        let (layer, facts) = self.free[i];
        let treatments = self.treatments(layer);
        let mut choices = Vec::with_capacity(treatments.len());
        for treatment in &treatments {
            let out = project_layer(layer, facts, *treatment, None);
            let unmeasured = || BudgetError::Unmeasured {
                layer: layer.name.clone(),
                why: facts.failure.clone().unwrap_or_else(|| "its curve is not there yet".to_owned()),
            };
            let (error, energy) = (out.error_energy.ok_or_else(unmeasured)?, out.energy.ok_or_else(unmeasured)?);
            let loss = if relative && energy > 0.0 { error.value / energy } else { error.value };
            choices.push(Choice { cost: self.ask.of.of(out.after), loss: loss.max(0.0) });
        }
        Ok((Menu { choices }, treatments))
    }

    fn treatments(&self, layer: &Layer) -> Vec<Treatment> {
        let floor = self.ask.floor;
        let mut out = Vec::new();
        match self.ask.means {
            Means::Prune(pattern) => {
                let steps = match pattern {
                    Pattern::Groups(m) => m,
                    _ => GRID,
                };
                let most = if matches!(pattern, Pattern::Groups(_)) { steps - 1 } else { steps };
                for k in (1..=most).rev() {
                    let remove = k as f64 / steps as f64;
                    if 1.0 - remove >= floor - 1e-12 {
                        out.push(Treatment::prune(Prune::of(remove, pattern)));
                    }
                }
            }
            Means::Rank(multiple) => {
                let (m, n) = (layer.rows() as f64, layer.cols() as f64);
                let even = layer.break_even_rank();
                let step = (even / GRID).max(1).next_multiple_of(multiple);
                let first = step.min(layer.full_rank()).max(1);
                for rank in (first..even.max(1)).step_by(step) {
                    if rank as f64 * (m + n) >= floor * m * n {
                        out.push(Treatment::rank(rank));
                    }
                }
            }
        }
        out.push(Treatment::default());
        out
    }
}

/// Steps of a curve.
const GRID: usize = 400;

fn uniform(scene: &Scene) -> Result<Vec<Treatment>, BudgetError> {
    scene.solve(1.0, |keep| (0..scene.free.len()).map(|i| scene.keeping(i, keep)).collect())
}

fn hulls(scene: &Scene, relative: bool) -> Result<Vec<Treatment>, BudgetError> {
    let mut menus = Vec::with_capacity(scene.free.len());
    let mut treatments = Vec::with_capacity(scene.free.len());
    for i in 0..scene.free.len() {
        let (menu, of) = scene.menu(i, relative)?;
        menus.push(menu);
        treatments.push(of);
    }
    let chosen = lagrangian(&menus, scene.budget).map_err(|Infeasible { least, .. }| scene.out_of_reach(least))?;
    Ok(treatments.into_iter().zip(chosen).map(|(t, i)| t.get(i).copied().unwrap_or_default()).collect())
}

fn waterfill(scene: &Scene) -> Result<Vec<Treatment>, BudgetError> {
    hulls(scene, true)
}

fn global(scene: &Scene) -> Result<Vec<Treatment>, BudgetError> {
    if scene.ask.means != Means::Prune(Pattern::Unstructured) {
        return Err(BudgetError::Unsuited(
            "global: one threshold for all entries is of unstructured pruning".to_owned(),
        ));
    }
    hulls(scene, false)
}

fn erk(scene: &Scene) -> Result<Vec<Treatment>, BudgetError> {
    // Raw density Σ dims / Π dims over all extents of the tensor.
    let raw: Vec<f64> = scene
        .free
        .iter()
        .map(|(l, _)| l.shape.iter().sum::<usize>() as f64 / l.shape.iter().product::<usize>().max(1) as f64)
        .collect();
    let least = raw.iter().copied().fold(f64::INFINITY, f64::min).max(1e-300);
    scene.solve(1.0 / least, |scale| raw.iter().enumerate().map(|(i, p)| scene.keeping(i, scale * p)).collect())
}

fn lamp(scene: &Scene) -> Result<Vec<Treatment>, BudgetError> {
    if scene.ask.means != Means::Prune(Pattern::Unstructured) {
        return Err(BudgetError::Unsuited("lamp: scores of single entries are of unstructured pruning".to_owned()));
    }
    let tables: Option<Vec<_>> = scene.free.iter().map(|(_, f)| f.magnitude.as_deref()).collect();
    let Some(tables) = tables else {
        let (layer, facts) = scene.free.iter().find(|(_, f)| f.magnitude.is_none()).copied().unwrap_or(scene.free[0]);
        let why = facts.failure.clone().unwrap_or_else(|| "its magnitudes are not there yet".to_owned());
        return Err(BudgetError::Unmeasured { layer: layer.name.clone(), why });
    };
    // Entries whose score lies below e^(−x) go; the largest of a layer scores 1 and stays.
    scene.solve(60.0, |x| {
        let line = (-x).exp();
        tables
            .iter()
            .enumerate()
            .map(|(i, m)| scene.keeping(i, 1.0 - m.lamp_below(line) as f64 / m.entries.max(1) as f64))
            .collect()
    })
}

/// How far from the mean share AlphaPruning goes.
const TAU: f64 = 0.3;

fn alphapruning(scene: &Scene) -> Result<Vec<Treatment>, BudgetError> {
    let mut alphas = Vec::with_capacity(scene.free.len());
    for (layer, facts) in &scene.free {
        let Some(spectrum) = facts.spectrum.as_deref() else {
            let why = facts.failure.clone().unwrap_or_else(|| "its singular values are not there yet".to_owned());
            return Err(BudgetError::Unmeasured { layer: layer.name.clone(), why });
        };
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
    let share = |a: f64| if high > low { 1.0 - TAU + 2.0 * TAU * (a - low) / (high - low) } else { 1.0 };
    // Removed: η·φ, at most everything; a larger x keeps more.
    let most = 1.0 / (1.0 - TAU);
    scene.solve(most, |x| {
        means.iter().enumerate().map(|(i, a)| scene.keeping(i, 1.0 - ((most - x) * share(*a)).min(1.0))).collect()
    })
}

/// Hill's estimate of the exponent of the density of λ = σ², from the upper half of the values.
fn hill(sigma: &[f64]) -> f64 {
    let k = sigma.len() / 2;
    let Some(edge) = sigma.get(k).map(|s| s * s).filter(|e| *e > 0.0) else { return 1.0 };
    let sum: f64 = sigma[..k].iter().map(|s| (s * s / edge).ln()).sum();
    if sum > 0.0 { 1.0 + k as f64 / sum } else { f64::MAX.sqrt() }
}

#[cfg(test)]
mod tests;
