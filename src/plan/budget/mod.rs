//! A whole model within a budget: allocators turn facts and a budget into a treatment for each layer.

mod alphapruning;
pub mod curve;
mod dlp;
mod erk;
mod flops;
mod global;
pub mod groups;
mod knee;
mod lamp;
mod measured;
mod owl;
mod scene;
mod stable_rank;
mod uniform;
mod waterfill;

use super::allocate::{Infeasible, Menu, lagrangian};
use super::{Outcome, Plan, Totals, Treatment};
use crate::model::cost::Cost;
use crate::model::{Layer, LayerId, Model};
use crate::probe::ProbeId;
use crate::probe::book::{FactBook, LayerFacts};
use crate::treat::{Criterion, Factors, Granularity, Pattern};
pub use curve::{Curve, Point};
pub use groups::Groups;
use scene::{Levels, Scene};

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Parameters stored.
    Params,
    /// Bytes of the values stored.
    Bytes,
    /// The same, and what says where the values of a sparse format are.
    Stored,
    /// Multiply-accumulates.
    Macs,
}

impl Unit {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Params, Self::Bytes, Self::Stored, Self::Macs];

    /// Its word in files and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Params => "params",
            Self::Bytes => "bytes",
            Self::Stored => "stored",
            Self::Macs => "macs",
        }
    }
    /// The share of it that a whole plan keeps.
    pub fn share(self, totals: &Totals) -> f64 {
        let share = |(before, after): (u64, u64)| if before == 0 { 1.0 } else { after as f64 / before as f64 };
        match self {
            Self::Params => share(totals.params),
            Self::Bytes => share(totals.bytes),
            Self::Stored => share((totals.bytes.0, totals.bytes.1 + totals.index)),
            Self::Macs => share(totals.macs),
        }
    }
    /// How much of it a whole plan takes.
    pub fn after(self, totals: &Totals) -> f64 {
        match self {
            Self::Params => totals.params.1 as f64,
            Self::Bytes => totals.bytes.1 as f64,
            Self::Stored => (totals.bytes.1 + totals.index) as f64,
            Self::Macs => totals.macs.1 as f64,
        }
    }
    /// The share of the compressible layers that stays where `keep` of the whole does: all else stays as it is. Negative
    /// where not even that fits; `None` where nothing is compressible.
    pub fn of_compressible(self, model: &Model, outcome: &Outcome, keep: f64) -> Option<f64> {
        let free = |l: &Layer| l.eligible() && l.tied_to.is_none();
        let layers = model.layers.iter().zip(&outcome.layers).filter(|(l, _)| free(l));
        let compressible: f64 = layers.map(|(_, o)| self.of(o.before)).sum();
        let whole = match self {
            Self::Params => outcome.totals.params.0,
            Self::Bytes | Self::Stored => outcome.totals.bytes.0,
            Self::Macs => outcome.totals.macs.0,
        } as f64;
        (compressible > 0.0).then(|| 1.0 - (1.0 - keep) * whole / compressible)
    }
    /// How much of it a layer takes; multiply-accumulates that are not known count as none.
    pub fn of(self, cost: Cost) -> f64 {
        match self {
            Self::Params => cost.params as f64,
            Self::Bytes => cost.bytes as f64,
            Self::Stored => (cost.bytes + cost.index) as f64,
            Self::Macs => cost.macs.unwrap_or(0) as f64,
        }
    }
}

/// What may be done to the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// Removing entries in a pattern.
    Prune(Pattern),
    /// Keeping a rank, a multiple of a number.
    Rank(usize),
    /// One or the other, whichever loses less in a layer.
    Either(Pattern, usize),
    /// Rounding to fewer bits, on top of what the plan does already.
    Bits(Granularity),
}

impl Means {
    /// In words: `pruning`, `2:4`, `rank ×8`.
    pub fn words(self) -> String {
        let rank = |multiple: usize| if multiple > 1 { format!("rank ×{multiple}") } else { "rank".to_owned() };
        let prune = |pattern: Pattern| match pattern {
            Pattern::Unstructured => "pruning".to_owned(),
            Pattern::Groups(m) => format!("N:{m}"),
            other => other.name(0.0),
        };
        match self {
            Self::Prune(pattern) => prune(pattern),
            Self::Rank(multiple) => rank(multiple),
            Self::Either(pattern, multiple) => format!("{} or {}", prune(pattern), rank(multiple)),
            Self::Bits(per) => format!("bits per {}", per.name()),
        }
    }
}

/// What is asked of an allocator.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ask {
    /// Share of the model that stays.
    pub keep: f64,
    /// Of what.
    pub of: Unit,
    /// By what means.
    pub means: Means,
    /// Every layer keeps at least this share of its parameters.
    pub floor: f64,
    /// Every layer keeps at most this share; 1: it may stay dense.
    pub ceiling: f64,
    /// Which layers share a setting.
    pub groups: Groups,
    /// By what entries are chosen.
    #[serde(default)]
    pub criterion: Criterion,
    /// Whether magnitudes decide in layers in which the criterion does not apply; else those stay as they are.
    #[serde(default)]
    pub or_magnitude: bool,
    /// As what two factors multiply out, of the forms that go by activations; any other counts as the matrix.
    #[serde(default)]
    pub form: Factors,
    /// Whether errors are of the outputs on calibration inputs, in place of the weights.
    #[serde(default)]
    pub weighted: bool,
}

impl Ask {
    /// A share of the parameters by these means, no other constraint.
    pub fn new(keep: f64, means: Means) -> Self {
        Self {
            keep,
            of: Unit::Params,
            means,
            floor: 0.0,
            ceiling: 1.0,
            groups: Groups::default(),
            criterion: Criterion::Magnitude,
            or_magnitude: false,
            form: Factors::Matrix,
            weighted: false,
        }
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// Even the smallest choices take more.
    #[error(
        "keeping {keep:.1}% of the {of} is out of reach: {binding}; the least that can be kept is {least:.1}% ({within:.1}% of \
             what can be compressed)"
    )]
    OutOfReach {
        /// What was asked for, in percent.
        keep: f64,
        /// Of what.
        of: &'static str,
        /// Which constraints leave no room.
        binding: String,
        /// The least that can be kept, in percent.
        least: f64,
        /// The same of what can be compressed.
        within: f64,
    },
    /// A fault of the program.
    #[error("the allocator failed; slimscope.log says where")]
    Failed,
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

/// How an allocator works.
pub(crate) enum Spread {
    /// A share of each layer that grows with a level, the same level for all.
    Levels(for<'a, 'b> fn(&'b Scene<'a>) -> Result<Levels<'b>, BudgetError>),
    /// Least total loss on the convex hulls of the layers' curves.
    Hulls(Loss),
}

/// In what a layer's loss is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// ‖W − Ŵ‖_F².
    Absolute,
    /// The same over ‖W‖_F².
    Relative,
    /// What treating the layer alone was measured to cost, in nats; between measurements by the relative error.
    Measured,
}

/// A way to spread a budget.
pub struct Allocator {
    /// Its name on the command line and in plan files.
    pub name: &'static str,
    /// What it does, in a line.
    pub words: &'static str,
    /// What has to be measured beside the curve of the treatment itself.
    pub needs: &'static [ProbeId],
    /// Whether it can do what is asked, else why not.
    suits: fn(&Ask) -> Result<(), String>,
    spread: Spread,
}

/// All allocators.
pub static ALLOCATORS: &[Allocator] = &[
    uniform::UNIFORM,
    global::GLOBAL,
    erk::ERK,
    lamp::LAMP,
    waterfill::WATERFILL,
    alphapruning::ALPHAPRUNING,
    stable_rank::STABLE_RANK,
    flops::FLOPS,
    owl::OWL,
    dlp::DLP,
    measured::MEASURED,
];

/// The allocator of a name.
pub fn allocator(name: &str) -> Option<&'static Allocator> {
    ALLOCATORS.iter().find(|a| a.name == name)
}

/// A budget spread over the layers.
#[derive(Debug, Clone, PartialEq)]
pub struct Spreading {
    /// A treatment for each layer that was free.
    pub treatments: Vec<(LayerId, Treatment)>,
    /// Which constraints hold it back.
    pub binding: Vec<String>,
}

impl Allocator {
    /// Spreads a budget over the layers that may be treated and are not pinned; the others stay as `plan` has them.
    pub fn plan(&self, model: &Model, facts: &FactBook, plan: &Plan, ask: Ask) -> Result<Spreading, BudgetError> {
        self.suits(&ask)?;
        let scene = Scene::new(model, facts, plan, ask);
        let found = match self.spread {
            Spread::Levels(levels) => scene.solve(&levels(&scene)?)?,
            Spread::Hulls(loss) => hulls(&scene, loss)?,
        };
        let binding = scene.binding(&found);
        Ok(Spreading { treatments: scene.free.iter().map(|(l, _)| l.id).zip(found).collect(), binding })
    }

    /// Whether it uses the layers' errors, and not shares alone.
    pub fn compares_errors(&self) -> bool {
        matches!(self.spread, Spread::Hulls(_))
    }

    /// Whether it can do what is asked.
    pub fn suits(&self, ask: &Ask) -> Result<(), BudgetError> {
        if matches!((ask.means, &self.spread), (Means::Either(..), Spread::Levels(_))) {
            return Err(BudgetError::Unsuited(format!(
                "{}: a share of every layer says nothing about which means to take; waterfill weighs both",
                self.name
            )));
        }
        if matches!(ask.means, Means::Bits(_)) && matches!(ask.of, Unit::Params | Unit::Macs) {
            let why = format!("{}: fewer bits change bytes only: ask for a share of bytes", self.name);
            return Err(BudgetError::Unsuited(why));
        }
        (self.suits)(ask).map_err(|why| BudgetError::Unsuited(format!("{}: {why}", self.name)))
    }
}

/// Any means will do.
#[allow(clippy::unnecessary_wraps, reason = "one form for all allocators")]
fn anything(_: &Ask) -> Result<(), String> {
    Ok(())
}

/// Only unstructured pruning will do.
fn single_entries(ask: &Ask) -> Result<(), String> {
    match ask.means {
        Means::Prune(Pattern::Unstructured) => Ok(()),
        _ => Err("scores of single entries are of unstructured pruning".to_owned()),
    }
}

fn hulls(scene: &Scene, loss: Loss) -> Result<Vec<Treatment>, BudgetError> {
    let cells = scene.cells()?;
    let menus: Vec<Menu> = scene.parties.iter().map(|p| scene.menu(p, &cells, loss)).collect::<Result<_, _>>()?;
    let chosen = lagrangian(&menus, scene.budget).map_err(|Infeasible { least, .. }| scene.out_of_reach(least))?;
    let mut out = vec![Treatment::default(); scene.free.len()];
    for (party, choice) in scene.parties.iter().zip(chosen) {
        for &i in party {
            out[i] = cells[i].get(choice).map(|c| c.treatment).unwrap_or_default();
        }
    }
    Ok(out)
}

/// What is missing of a layer.
fn unmeasured(layer: &Layer, facts: &LayerFacts, what: &str) -> BudgetError {
    let why = facts.failure.clone().unwrap_or_else(|| what.to_owned());
    BudgetError::Unmeasured { layer: layer.name.clone(), why }
}

#[cfg(test)]
mod tests;
