//! Measured quality in the dashboard: what is asked of the engine, what it answered, the plans that were visited.

mod sweep;

pub use sweep::Step;
pub(super) use sweep::Sweeping;

use super::{App, Effect};
use crate::engine::{Extent, Trial};
use crate::evaluate::{Measured, Metric};
use crate::plan::budget::Unit;
use crate::plan::predict::{PREDICTORS, Seen};
use crate::plan::{Outcome, Treatment, project};
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

/// A plan rests so long before it is measured.
const REST: Duration = Duration::from_millis(250);

/// Plans that the trace shows.
pub const TRACE: usize = 60;

/// What can be measured, told when the dashboard opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What is measured.
    pub metric: Metric,
    /// Names of the small and the large slice: `eval.safetensors[0..4096]`.
    pub slices: [String; 2],
    /// How much they are, in short: `4 kB`, `500 images`.
    pub sizes: [String; 2],
    /// Whether plans are measured without being asked to: the model is small enough.
    pub automatic: bool,
    /// What each part of the small slice is, in short.
    pub units: Arc<[String]>,
}

/// What the lower part of the lens shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QualityPanel {
    /// How proxies rank the visited plans.
    #[default]
    Predictors,
    /// What each layer loses alone.
    Sensitivity,
    /// Where the plan loses most.
    Hardest,
}

impl QualityPanel {
    fn next(self) -> Self {
        match self {
            Self::Predictors => Self::Sensitivity,
            Self::Sensitivity => Self::Hardest,
            Self::Hardest => Self::Predictors,
        }
    }
}

/// A plan that was measured.
#[derive(Debug, Clone)]
pub struct Visit {
    /// What it does to each layer.
    pub plan: Arc<[Treatment]>,
    /// What was measured, on the small slice.
    pub measured: Measured,
    /// Shares that it keeps, in the order of [`Unit::ALL`].
    pub keep: [f64; 4],
    /// What the predictors say of it, in the order of [`PREDICTORS`].
    pub predicted: Vec<Option<f64>>,
    key: u64,
}

impl Visit {
    /// The share that it keeps.
    pub fn keep(&self, unit: Unit) -> f64 {
        Unit::ALL.iter().position(|u| *u == unit).map_or(1.0, |i| self.keep[i])
    }
}

/// What is known of the quality.
#[derive(Debug, Clone, Default)]
pub struct Quality {
    /// What can be measured, or why nothing can.
    pub offer: Option<Offer>,
    /// Why nothing can be measured.
    pub why_not: String,
    /// On how much of the data.
    pub extent: Extent,
    /// Plans that were measured, in order; the dense one is the first.
    pub visits: Vec<Visit>,
    /// Why the model could not be run.
    pub failure: Option<String>,
    /// What the lower part of the lens shows.
    pub panel: QualityPanel,
    /// Layers treated one at a time.
    pub sweeping: Option<Sweeping>,
    known: HashMap<(u64, Extent), Measured>,
    /// What is measured now, and how far it is.
    running: Option<(u64, Option<Measured>)>,
    asked: Option<(u64, Extent)>,
    number: u64,
    /// Whether the user asked for it, where it is not automatic.
    wanted: bool,
    weighed: u64,
}

/// Tells plans apart.
fn key(plan: &[Treatment]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (i, t) in plan.iter().enumerate().filter(|(_, t)| !t.is_dense()) {
        (i, t.rank, t.form, t.quantise).hash(&mut hasher);
        t.prune.map(|p| (p.remove.to_bits(), p.pattern, p.criterion)).hash(&mut hasher);
    }
    hasher.finish()
}

fn dense_key() -> u64 {
    key(&[])
}

impl Quality {
    /// The dense model's, on the chosen slice.
    pub fn dense(&self) -> Option<&Measured> {
        self.known.get(&(dense_key(), self.extent))
    }
    /// How far the measurement that runs is; `None` when none runs.
    pub fn running(&self) -> Option<f64> {
        self.running.as_ref().map(|(_, m)| m.as_ref().map_or(0.0, |m| m.share))
    }
    /// Whether the dense model is being measured.
    pub fn begins(&self) -> bool {
        self.running.is_some() && self.dense().is_none()
    }
    /// Which of the slices is measured on.
    pub fn slice(&self) -> usize {
        usize::from(self.extent == Extent::Large)
    }
    /// Whether quality is measured as the plan changes.
    pub fn is_on(&self) -> bool {
        self.offer.as_ref().is_some_and(|o| o.automatic || self.wanted) && self.failure.is_none()
    }
    /// How the visited plans' measured loss and a predictor agree: pairs.
    pub fn pairs(&self, predictor: usize) -> Vec<[f64; 2]> {
        let of = |v: &Visit| Some([(*v.predicted.get(predictor)?)?, v.measured.nats]);
        self.visits.iter().filter_map(of).collect()
    }
}

impl App {
    /// What there is to measure quality on, or why there is nothing; told before anything else.
    pub fn offer(&mut self, offer: Result<Offer, String>) {
        match offer {
            Ok(offer) => self.quality.offer = Some(offer),
            Err(why) => self.quality.why_not = why,
        }
    }

    /// The plan as treatments alone.
    pub fn treatments(&self) -> Arc<[Treatment]> {
        self.model.layers.iter().map(|l| self.plan.treatment(l.id)).collect()
    }

    /// What was measured of a plan, all of the small slice.
    pub fn measured_of(&self, plan: &crate::plan::Plan) -> Option<&Measured> {
        let treatments: Vec<Treatment> = self.model.layers.iter().map(|l| plan.treatment(l.id)).collect();
        self.quality.known.get(&(key(&treatments), self.quality.extent))
    }

    /// What is known of the plan's quality, and whether that is all of the slice.
    pub fn measured(&self) -> Option<(&Measured, bool)> {
        let (plan, quality) = (key(&self.treatments()), &self.quality);
        if let Some(known) = quality.known.get(&(plan, quality.extent)) {
            return Some((known, true));
        }
        let (of, measured) = quality.running.as_ref()?;
        measured.as_ref().filter(|_| *of == plan).map(|m| (m, false))
    }

    /// What the engine should measure now, where that has changed.
    pub(super) fn quality_wanted(&mut self) -> Option<Effect> {
        if !self.quality.is_on() {
            return None;
        }
        let mut plan = self.treatments();
        if self.quality.dense().is_none() {
            plan = plan.iter().map(|_| Treatment::default()).collect();
        }
        let (of, extent) = (key(&plan), self.quality.extent);
        if self.quality.known.contains_key(&(of, extent)) {
            self.quality.running = None;
            return self.quality.asked.take().map(|_| Effect::CancelQuality);
        }
        if self.quality.asked == Some((of, extent)) {
            return None;
        }
        self.quality.asked = Some((of, extent));
        self.quality.number += 1;
        self.quality.running = Some((of, None));
        // The dense model is waited for from the start.
        let rest = if self.quality.dense().is_none() { Duration::ZERO } else { REST };
        Some(Effect::Quality(Arc::new(Trial { number: self.quality.number, plan, extent, rest })))
    }

    /// Something was measured.
    pub(super) fn quality_told(&mut self, number: u64, result: Result<Measured, String>, done: bool) {
        let quality = &mut self.quality;
        let Some((of, extent)) = quality.asked.filter(|_| number == quality.number) else { return };
        match result {
            Err(why) => {
                quality.failure = Some(why.clone());
                (quality.running, quality.asked) = (None, None);
                self.say(why);
            }
            Ok(measured) if !done => quality.running = Some((of, Some(measured))),
            Ok(measured) => {
                (quality.running, quality.asked) = (None, None);
                quality.known.insert((of, extent), measured.clone());
                if extent == Extent::Small && !quality.visits.iter().any(|v| v.key == of) {
                    self.visited(of, measured);
                }
            }
        }
    }

    fn visited(&mut self, of: u64, measured: Measured) {
        let now = self.treatments();
        let plan = if key(&now) == of { now } else { now.iter().map(|_| Treatment::default()).collect() };
        let (keep, predicted) = self.weigh(&plan);
        self.quality.visits.push(Visit { plan, measured, keep, predicted, key: of });
    }

    /// What a plan keeps, and what the predictors say of it.
    fn weigh(&self, plan: &Arc<[Treatment]>) -> ([f64; 4], Vec<Option<f64>>) {
        let mut bare = super::Plan::new(self.model.layers.len());
        for (layer, treatment) in self.model.layers.iter().zip(plan.iter()) {
            bare.set(layer.id, crate::plan::Entry { treatment: *treatment, pinned: false });
        }
        let outcome: Outcome = project(&self.model, &self.facts, &self.refined, &bare);
        let seen = Seen { model: &self.model, facts: &self.facts, outcome: &outcome };
        (Unit::ALL.map(|u| u.share(&outcome.totals)), PREDICTORS.iter().map(|p| (p.value)(&seen)).collect())
    }

    /// Once everything is measured, what predictors say of plans visited before that is said anew.
    pub(super) fn weigh_again(&mut self) {
        if !self.idle || self.quality.weighed == self.facts_seen {
            return;
        }
        self.quality.weighed = self.facts_seen;
        for i in 0..self.quality.visits.len() {
            let plan = Arc::clone(&self.quality.visits[i].plan);
            let (keep, predicted) = self.weigh(&plan);
            (self.quality.visits[i].keep, self.quality.visits[i].predicted) = (keep, predicted);
        }
    }

    /// The next part of the lens.
    pub(super) fn next_panel(&mut self) {
        self.quality.panel = self.quality.panel.next();
    }

    /// Measures on the larger slice, or on the smaller again; where nothing is measured by itself, begins.
    pub(super) fn next_extent(&mut self) {
        let Some(offer) = &self.quality.offer else {
            self.say(format!("quality is not measured: {}", self.quality.why_not));
            return;
        };
        if !self.quality.is_on() {
            self.quality.wanted = true;
            self.quality.failure = None;
            return;
        }
        self.quality.extent = match self.quality.extent {
            Extent::Small => Extent::Large,
            Extent::Large => Extent::Small,
        };
        let slice = format!("quality is measured on {}", offer.slices[self.quality.slice()]);
        self.say(slice);
    }
}

#[cfg(test)]
mod tests;
