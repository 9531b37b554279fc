//! Plans put aside under letters, taken up again, compared.

use super::super::{App, LensId};
use super::Measure;
use crate::known::Known;
use crate::model::Model;
use crate::plan::budget::Unit;
use crate::plan::{Outcome, Plan, Totals, project};

/// A plan put aside under a letter.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// `A`, `B`, …
    pub name: char,
    /// What it holds.
    pub plan: Plan,
    /// What it comes to, as far as that is known.
    pub totals: Option<Totals>,
    /// √(mean of squared relative errors).
    pub mean: Option<Known>,
    /// The same of the outputs.
    pub outputs: Option<Known>,
}

impl Snapshot {
    pub(super) fn of(name: char, plan: Plan) -> Self {
        Self { name, plan, totals: None, mean: None, outputs: None }
    }
    /// Its error.
    pub fn error(&self, measure: Measure, of_outputs: bool) -> Option<Known> {
        match measure {
            Measure::Total | Measure::Mean if of_outputs => self.outputs,
            Measure::Total => self.totals?.error,
            Measure::Mean => self.mean,
            // Of the model as a whole, not of what follows from its layers: see `App::measured_of`.
            Measure::Measured => None,
        }
    }
    /// What it keeps.
    pub fn keep(&self, of: Unit) -> f64 {
        self.totals.as_ref().map_or(1.0, |t| of.share(t))
    }
    /// Weighs it by what is known now.
    pub(super) fn weigh(&mut self, outcome: &Outcome, model: &Model) {
        (self.totals, self.mean) = (Some(outcome.totals), outcome.mean_error(model));
        self.outputs = outcome.output_error(model);
    }
}

impl App {
    /// The letter of the plan, and whether it has changed since it was put aside.
    pub fn plan_name(&self) -> (char, bool) {
        match self.frontier.snapshots.iter().rev().find(|s| s.plan.same(&self.plan)) {
            Some(same) => (same.name, false),
            None => match self.frontier.snapshots.last() {
                Some(last) => (last.name, true),
                None => ('A', !self.plan.is_dense()),
            },
        }
    }

    /// Another session's plans come in place of those put aside; what was asked for the plan before is void.
    pub(in crate::app) fn put_aside(&mut self, plans: &[(char, Plan)]) {
        let (model, facts, refined) = (&self.model, &self.facts, &self.refined);
        let weighed = |(name, plan): &(char, Plan)| {
            let mut snapshot = Snapshot::of(*name, plan.bare());
            snapshot.weigh(&project(model, facts, refined, plan), model);
            snapshot
        };
        let snapshots = plans.iter().map(weighed).collect();
        let frontier = &mut self.frontier;
        (frontier.snapshots, frontier.cursor, frontier.differences) = (snapshots, None, false);
        (frontier.follows, frontier.solved, frontier.waiting, frontier.again) = (false, None, None, None);
        frontier.binding.clear();
    }

    /// Puts the plan aside under the next letter.
    pub(in crate::app) fn snapshot(&mut self) {
        if let Some(same) = self.frontier.snapshots.iter().find(|s| s.plan.same(&self.plan)) {
            self.say(format!("plan {} is this very plan", same.name));
            return;
        }
        let Some(name) = ('A'..='Z').nth(self.frontier.snapshots.len()) else {
            self.say("26 plans are put aside already");
            return;
        };
        let mut snapshot = Snapshot::of(name, self.plan.bare());
        snapshot.weigh(&self.outcome, &self.model);
        self.frontier.snapshots.push(snapshot);
        // The cursor stays on what it was on.
        self.frontier.cursor =
            self.frontier.cursor.map(|c| if c + 1 >= self.frontier.snapshots.len() { c + 1 } else { c });
        self.say(format!("put aside as plan {name}: 5 shows it, enter on it takes it up again"));
    }

    pub(in crate::app) fn differences(&mut self) {
        self.lens = LensId::Frontier;
        if self.frontier.snapshots.is_empty() {
            self.say("nothing to compare with: S puts the plan aside");
            return;
        }
        self.frontier.differences = !self.frontier.differences;
    }
}
