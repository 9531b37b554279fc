//! Budgets in the dashboard: what is asked, the curves of all allocators, plans that were pinned.

mod aside;
mod ask;

pub use aside::Snapshot;

use super::message::{Effect, Key};
use super::{Action, App, LensId, keymap};
use crate::engine::Question;
use crate::model::LayerId;
use crate::plan::budget::{ALLOCATORS, Ask, BudgetError, Curve, Means, Spreading};
use crate::plan::{Edit, Entry, Knob, Pattern, Plan, project};
use std::sync::Arc;
use std::time::Duration;

/// What of the errors is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// √(Σ‖ΔW‖²/Σ‖W‖²): large weights count more.
    Total,
    /// √(mean of squared relative errors): each layer counts the same.
    #[default]
    Mean,
    /// Measured quality of the plans that were visited.
    Measured,
}

/// What the curves were drawn for.
#[derive(Debug, Clone, PartialEq)]
struct Drawn {
    facts: u64,
    pinned: Vec<(LayerId, Entry)>,
    /// With what is kept left out: a curve holds every budget.
    ask: Ask,
}

/// Budgets, curves and snapshots.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Clone)]
pub struct Frontier {
    /// What is asked of allocators.
    pub ask: Ask,
    /// Number of the chosen allocator in [`ALLOCATORS`].
    pub allocator: usize,
    /// What of the errors is drawn.
    pub measure: Measure,
    /// What every allocator makes of every budget, as last drawn.
    pub curves: Option<Arc<Vec<Curve>>>,
    /// How long drawing took.
    pub took: Duration,
    /// Plans put aside.
    pub snapshots: Vec<Snapshot>,
    /// The row of the table under the cursor: snapshots first, then allocators; `None` is the chosen allocator.
    pub cursor: Option<usize>,
    /// Whether the table of differences is shown.
    pub differences: bool,
    /// Whether the budget is the knob that moves.
    pub active: bool,
    /// Whether the plan is what a budget made of it: then it follows the budget.
    pub follows: bool,
    /// How the last budget was met, for the foot of the lens.
    pub solved: Option<String>,
    /// How long that took.
    pub solved_in: Option<Duration>,
    /// Which constraints held it back.
    pub binding: Vec<String>,
    drawn: Option<Drawn>,
    /// Whether the curves are of what is asked now.
    fresh: bool,
    drawn_at: Duration,
    asked: u64,
    waiting: Option<u64>,
    asked_at: Duration,
    /// Keys that are meant for the plan that is being made.
    held: Vec<Key>,
    /// A budget to be met once more is measured: the facts there were, and when.
    again: Option<(u64, Duration)>,
}

impl Default for Frontier {
    fn default() -> Self {
        let allocator = ALLOCATORS.iter().position(|a| a.name == "waterfill").unwrap_or(0);
        Self {
            ask: Ask::new(0.5, Means::Prune(Pattern::Unstructured)),
            allocator,
            measure: Measure::default(),
            curves: None,
            took: Duration::ZERO,
            snapshots: Vec::new(),
            cursor: None,
            differences: false,
            active: false,
            follows: false,
            solved: None,
            solved_in: None,
            binding: Vec::new(),
            drawn: None,
            fresh: false,
            drawn_at: Duration::ZERO,
            asked: 0,
            waiting: None,
            asked_at: Duration::ZERO,
            held: Vec::new(),
            again: None,
        }
    }
}

/// Whether an action reads or changes the plan.
fn of_plan(action: Action) -> bool {
    matches!(
        action,
        Action::Snapshot
            | Action::Undo
            | Action::Redo
            | Action::Expand
            | Action::Pin
            | Action::Dense
            | Action::Export
            | Action::Differences
            | Action::NextPattern
            | Action::NextRule
            | Action::NextCriterion
            | Action::NextForm
    )
}

/// Keys wait so long for a plan at the most; after that they are for the plan there is.
const SOON: Duration = Duration::from_millis(800);

/// While measurements come in, curves are drawn anew at most this often.
const PATIENCE: Duration = Duration::from_millis(400);

/// Multiples of ranks that a key goes through.
const MULTIPLES: [usize; 5] = [1, 8, 16, 32, 64];

impl Frontier {
    /// The name of the chosen allocator.
    pub fn allocator(&self) -> &'static str {
        ALLOCATORS.get(self.allocator).map_or("", |a| a.name)
    }
    /// The least share that the chosen allocator can keep, rounded up a little, so that it can be met; `None` while its curve is not
    /// drawn.
    pub fn least(&self) -> Option<f64> {
        let curve = self.curves.as_ref().filter(|_| self.fresh)?.get(self.allocator)?;
        curve.points.first().map(|p| (p.keep * 1e6).ceil() / 1e6)
    }
    /// Rows of the table.
    pub fn rows(&self) -> usize {
        self.snapshots.len() + ALLOCATORS.len()
    }
    /// The row under the cursor.
    pub fn row(&self) -> usize {
        self.cursor.unwrap_or(self.snapshots.len() + self.allocator).min(self.rows().saturating_sub(1))
    }
    /// The snapshot that differences are shown against: that under the cursor, else the newest that is not this plan.
    pub fn compared(&self, plan: &Plan) -> Option<&Snapshot> {
        let under = self.snapshots.get(self.row());
        under.or(self.snapshots.iter().rev().find(|s| !s.plan.same(plan))).or(self.snapshots.last())
    }
    /// The multiple that ranks are rounded to.
    pub fn multiple(&self) -> usize {
        match self.ask.means {
            Means::Rank(m) | Means::Either(_, m) => m,
            Means::Prune(_) | Means::Bits(_) => 1,
        }
    }
    /// Whether an answer is awaited.
    pub fn is_solving(&self) -> bool {
        self.waiting.is_some() || self.again.is_some()
    }
    fn means(&mut self, means: Means) {
        self.ask.means = means;
    }
}

impl App {
    /// Opens the frontier with the budget as the knob that moves.
    pub(super) fn budget(&mut self) {
        self.lens = LensId::Frontier;
        self.frontier.active = true;
    }

    /// Whether arrows move the budget.
    pub fn budgeting(&self) -> bool {
        self.lens == LensId::Frontier && self.frontier.active
    }

    /// Takes the row under the cursor: a snapshot becomes the plan, an allocator meets the budget.
    pub(super) fn take_row(&mut self, effects: &mut Vec<Effect>) {
        let row = self.frontier.row();
        if let Some(snapshot) = self.frontier.snapshots.get(row) {
            let (name, plan) = (snapshot.name, snapshot.plan.clone());
            let changes = self.model.layers.iter().map(|l| (l.id, self.plan.entry(l.id), plan.entry(l.id))).collect();
            self.change(changes, format!("plan {name}"), None);
            self.frontier.follows = false;
            self.say(format!("plan {name} taken up; u takes it back"));
            return;
        }
        self.frontier.allocator = (row - self.frontier.snapshots.len()).min(ALLOCATORS.len() - 1);
        self.frontier.cursor = None;
        effects.push(self.solve());
    }

    /// Keeps a key that is meant for the plan that is being made: a matter of milliseconds. Keys that only look, or
    /// move the budget itself, go on.
    pub(super) fn waits_for_plan(&mut self, key: Key) -> bool {
        let plain = self.typing.is_none() && self.overlay.is_none();
        let soon = self.frontier.waiting.is_some() && self.now < self.frontier.asked_at + SOON;
        let meant = plain && soon && keymap::action(key).is_some_and(of_plan);
        if meant {
            self.frontier.held.push(key);
        }
        meant
    }

    /// Presses the keys that were kept.
    pub(super) fn go_on(&mut self, effects: &mut Vec<Effect>) {
        if self.frontier.waiting.is_none() {
            let said = self.status.take();
            for key in std::mem::take(&mut self.frontier.held) {
                self.key(key, effects);
            }
            self.status = self.status.take().or(said);
        }
    }

    fn solve(&mut self) -> Effect {
        let question = self.question(Some(self.frontier.allocator()));
        self.frontier.waiting = Some(question.number);
        self.frontier.asked_at = self.now;
        self.frontier.again = None;
        Effect::Spread(Arc::new(question))
    }

    /// A budget asked for before everything was measured is met when it is.
    pub(super) fn budget_again(&mut self) -> Option<Effect> {
        let (facts, at) = self.frontier.again?;
        let later = facts != self.facts_seen && self.now >= at + PATIENCE;
        (later || self.idle).then(|| self.solve())
    }

    /// The request to the allocators, with the settings of the knobs. Layers without input statistics are pruned by
    /// magnitude where the criterion needs activations, as the knob does.
    fn asked(&self) -> Ask {
        Ask {
            criterion: self.criterion,
            or_magnitude: self.criterion.weighs(),
            form: self.form,
            weighted: self.activations,
            ..self.frontier.ask
        }
    }

    fn question(&mut self, allocator: Option<&'static str>) -> Question {
        self.frontier.asked += 1;
        Question {
            number: self.frontier.asked,
            facts: self.facts.clone(),
            plan: self.plan.bare(),
            ask: self.asked(),
            allocator,
        }
    }

    /// Asks for new curves when they are looked at and what they are made of has changed.
    pub(super) fn curves_wanted(&mut self) -> Option<Effect> {
        if self.lens != LensId::Frontier {
            return None;
        }
        let pinned = self.model.layers.iter().map(|l| (l.id, self.plan.entry(l.id))).filter(|(_, e)| e.pinned);
        let ask = Ask { keep: 1.0, ..self.asked() };
        let drawn = Drawn { facts: self.facts_seen, pinned: pinned.collect(), ask };
        let before = self.frontier.drawn.as_ref();
        if before == Some(&drawn) {
            return None;
        }
        // New facts alone can wait a little.
        let asked_anew = before.is_none_or(|d| d.ask != drawn.ask || d.pinned != drawn.pinned);
        if !asked_anew && self.progress.is_some() && self.now < self.frontier.drawn_at + PATIENCE {
            return None;
        }
        self.frontier.fresh &= !asked_anew;
        self.frontier.drawn = Some(drawn);
        self.frontier.drawn_at = self.now;
        Some(Effect::Spread(Arc::new(self.question(None))))
    }

    pub(super) fn curves_drawn(&mut self, took: Duration, curves: Arc<Vec<Curve>>) {
        self.frontier.curves = Some(curves);
        self.frontier.fresh = true;
        self.frontier.took = took;
        // What plans put aside come to is known better as well.
        for snapshot in &mut self.frontier.snapshots {
            snapshot.weigh(&project(&self.model, &self.facts, &self.refined, &snapshot.plan), &self.model);
        }
    }

    /// A budget was spread: the plan becomes that, as one edit.
    pub(super) fn spread(&mut self, number: u64, took: Duration, result: Result<Spreading, BudgetError>) {
        if self.frontier.waiting != Some(number) {
            return;
        }
        self.frontier.waiting = None;
        match result {
            Err(BudgetError::Unmeasured { .. }) if !self.idle => {
                self.frontier.again = Some((self.facts_seen, self.now));
            }
            Err(why) => {
                self.frontier.solved = None;
                self.frontier.binding.clear();
                self.say(why.to_string());
            }
            Ok(found) => {
                let changes = found
                    .treatments
                    .iter()
                    .map(|(id, treatment)| {
                        let before = self.plan.entry(*id);
                        (*id, before, Entry { treatment: *treatment, ..before })
                    })
                    .collect();
                let (name, ask) = (self.frontier.allocator(), self.frontier.ask);
                let words = format!("{:.1}% of {} by {name}", ask.keep * 100.0, ask.of.word());
                // Steps of one drag are taken back as one.
                self.change(changes, format!("budget {words}"), Some((Knob::Prune, usize::MAX)));
                self.frontier.follows = true;
                let kept = ask.of.share(&self.outcome.totals);
                let short =
                    if ask.keep - kept > 0.02 { format!(" (keeps {:.1}%)", kept * 100.0) } else { String::new() };
                self.frontier.solved = Some(format!("keep {words}{short}"));
                self.frontier.solved_in = Some(took);
                self.frontier.binding = found.binding;
            }
        }
    }

    /// Makes one edit of many layers.
    fn change(&mut self, changes: Vec<(LayerId, Entry, Entry)>, label: String, gesture: Option<(Knob, usize)>) {
        let touched: Vec<LayerId> = changes.iter().map(|c| c.0).collect();
        if self.plan.edit(Edit { changes, label, gesture, at: self.now }) {
            self.outcome.update(&self.model, &self.facts, &self.refined, &self.plan, touched);
        }
    }
}

#[cfg(test)]
mod tests;
