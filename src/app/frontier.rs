//! Budgets in the dashboard: what is asked, the curves of all allocators, plans that were pinned.

use super::message::Effect;
use super::prompt::{self, Value};
use super::{App, LensId};
use crate::engine::Question;
use crate::known::Known;
use crate::model::LayerId;
use crate::model::Model;
use crate::plan::budget::{ALLOCATORS, Ask, BudgetError, Curve, Groups, Means, Spreading, Unit};
use crate::plan::{Edit, Entry, Knob, Outcome, Pattern, Plan, project};
use std::sync::Arc;
use std::time::Duration;

/// A plan put aside under a letter.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// `A`, `B`, …
    pub name: char,
    /// What it holds.
    pub plan: Plan,
    /// What it keeps of parameters, bytes and multiply-accumulates.
    pub keep: [f64; 3],
    /// √(Σ‖ΔW‖²/Σ‖W‖²).
    pub total: Option<Known>,
    /// √(mean of squared relative errors).
    pub mean: Option<Known>,
}

impl Snapshot {
    fn of(name: char, plan: Plan) -> Self {
        Self { name, plan, keep: [1.0; 3], total: None, mean: None }
    }
    /// Its error.
    pub fn error(&self, measure: Measure) -> Option<Known> {
        match measure {
            Measure::Total => self.total,
            Measure::Mean => self.mean,
        }
    }
    /// What it comes to, as far as that is known now.
    fn weigh(&mut self, outcome: &Outcome, model: &Model) {
        let share = |(before, after): (u64, u64)| if before == 0 { 1.0 } else { after as f64 / before as f64 };
        let totals = &outcome.totals;
        self.keep = [share(totals.params), share(totals.bytes), share(totals.macs)];
        (self.total, self.mean) = (totals.error, outcome.mean_error(model));
    }
}

/// What of the errors is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// √(Σ‖ΔW‖²/Σ‖W‖²): large weights count more.
    #[default]
    Total,
    /// √(mean of squared relative errors): each layer counts the same.
    Mean,
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
    drawn_at: Duration,
    asked: u64,
    waiting: Option<u64>,
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
            drawn_at: Duration::ZERO,
            asked: 0,
            waiting: None,
            again: None,
        }
    }
}

/// While measurements come in, curves are drawn anew at most this often.
const PATIENCE: Duration = Duration::from_millis(400);

/// Multiples of ranks that a key goes through.
const MULTIPLES: [usize; 5] = [1, 8, 16, 32, 64];

impl Frontier {
    /// The name of the chosen allocator.
    pub fn allocator(&self) -> &'static str {
        ALLOCATORS.get(self.allocator).map_or("", |a| a.name)
    }
    /// Rows of the table.
    pub fn rows(&self) -> usize {
        self.snapshots.len() + ALLOCATORS.len()
    }
    /// The row under the cursor.
    pub fn row(&self) -> usize {
        self.cursor.unwrap_or(self.snapshots.len() + self.allocator).min(self.rows().saturating_sub(1))
    }
    /// The snapshot that differences are shown against: that under the cursor, else the newest.
    pub fn compared(&self) -> Option<&Snapshot> {
        self.snapshots.get(self.row()).or(self.snapshots.last())
    }
    /// The multiple that ranks are rounded to.
    pub fn multiple(&self) -> usize {
        match self.ask.means {
            Means::Rank(m) | Means::Either(_, m) => m,
            Means::Prune(_) => 1,
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
    /// The letter of the plan, and whether it has changed since it was put aside.
    pub fn plan_name(&self) -> (char, bool) {
        match self.frontier.snapshots.iter().rev().find(|s| s.plan.same(&self.plan)) {
            Some(same) => (same.name, false),
            None => (self.frontier.snapshots.last().map_or('A', |s| s.name), !self.plan.is_dense()),
        }
    }

    /// Another session's plans come in place of those put aside; what was asked for the plan before is void.
    pub(super) fn put_aside(&mut self, plans: &[(char, Plan)]) {
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

    /// Opens the frontier with the budget as the knob that moves.
    pub(super) fn budget(&mut self) {
        self.lens = LensId::Frontier;
        self.frontier.active = true;
    }

    /// Whether arrows move the budget.
    pub fn budgeting(&self) -> bool {
        self.lens == LensId::Frontier && self.frontier.active
    }

    pub(super) fn scrub_budget(&mut self, steps: i32, effects: &mut Vec<Effect>) {
        let at = (self.frontier.ask.keep * 100.0).round() + f64::from(steps);
        self.set_budget((at / 100.0).max(0.01), effects);
    }

    pub(super) fn set_budget(&mut self, share: f64, effects: &mut Vec<Effect>) {
        self.frontier.ask.keep = share.clamp(0.001, 1.0);
        self.frontier.solved = None;
        self.frontier.cursor = None;
        // A plan that a budget made follows the budget; one that was changed by hand waits for enter.
        if self.frontier.follows {
            effects.push(self.solve());
        }
    }

    pub(super) fn next_allocator(&mut self) {
        self.lens = LensId::Frontier;
        self.frontier.cursor = None;
        self.frontier.allocator = (self.frontier.allocator + 1) % ALLOCATORS.len();
        let chosen = &ALLOCATORS[self.frontier.allocator];
        self.say(format!("{}: {}", chosen.name, chosen.words));
    }

    pub(super) fn next_means(&mut self) {
        let (frontier, pattern) = (&mut self.frontier, self.pattern);
        let multiple = frontier.multiple();
        frontier.means(match frontier.ask.means {
            Means::Prune(_) => Means::Rank(multiple),
            Means::Rank(_) => Means::Either(pattern, multiple),
            Means::Either(..) => Means::Prune(pattern),
        });
        let words = frontier.ask.means.words();
        self.say(format!("budget by {words}"));
    }

    pub(super) fn next_measure(&mut self) {
        self.frontier.measure = match self.frontier.measure {
            Measure::Total => Measure::Mean,
            Measure::Mean => Measure::Total,
        };
    }

    pub(super) fn next_unit(&mut self) {
        let at = Unit::ALL.iter().position(|u| *u == self.frontier.ask.of).unwrap_or(0);
        self.frontier.ask.of = Unit::ALL[(at + 1) % Unit::ALL.len()];
        self.say(format!("budget of {}", self.frontier.ask.of.word()));
    }

    pub(super) fn next_groups(&mut self) {
        self.frontier.ask.groups = self.frontier.ask.groups.next();
        self.say(format!("one setting for: {}", self.frontier.ask.groups.words()));
    }

    pub(super) fn next_multiple(&mut self) {
        let at = MULTIPLES.iter().position(|m| *m == self.frontier.multiple()).map_or(0, |i| i + 1);
        self.set_multiple(MULTIPLES[at % MULTIPLES.len()]);
    }

    fn set_multiple(&mut self, multiple: usize) {
        let pattern = self.pattern;
        self.frontier.means(match self.frontier.ask.means {
            Means::Either(pattern, _) => Means::Either(pattern, multiple),
            Means::Rank(_) => Means::Rank(multiple),
            Means::Prune(_) if multiple > 1 => Means::Rank(multiple),
            Means::Prune(_) => Means::Prune(pattern),
        });
        self.say(format!("budget by {}", self.frontier.ask.means.words()));
    }

    /// The pattern of pruning has changed: budgets go by the new one.
    pub(super) fn budget_pattern(&mut self) {
        self.frontier.means(match self.frontier.ask.means {
            Means::Prune(_) => Means::Prune(self.pattern),
            Means::Either(_, multiple) => Means::Either(self.pattern, multiple),
            rank @ Means::Rank(_) => rank,
        });
    }

    pub(super) fn move_row(&mut self, steps: i32) {
        let last = self.frontier.rows().saturating_sub(1);
        self.frontier.cursor = Some(self.frontier.row().saturating_add_signed(steps.signum() as isize).min(last));
    }

    /// Puts the plan aside under the next letter.
    pub(super) fn snapshot(&mut self) {
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

    pub(super) fn differences(&mut self) {
        self.lens = LensId::Frontier;
        if self.frontier.snapshots.is_empty() {
            self.say("nothing to compare with: S puts the plan aside");
            return;
        }
        self.frontier.differences = !self.frontier.differences;
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

    fn solve(&mut self) -> Effect {
        let question = self.question(Some(self.frontier.allocator()));
        self.frontier.waiting = Some(question.number);
        self.frontier.again = None;
        Effect::Spread(Arc::new(question))
    }

    /// A budget asked for before everything was measured is met when it is.
    pub(super) fn budget_again(&mut self) -> Option<Effect> {
        let (facts, at) = self.frontier.again?;
        let later = facts != self.facts_seen && self.now >= at + PATIENCE;
        (later || self.idle).then(|| self.solve())
    }

    fn question(&mut self, allocator: Option<&'static str>) -> Question {
        self.frontier.asked += 1;
        Question {
            number: self.frontier.asked,
            facts: self.facts.clone(),
            plan: self.plan.bare(),
            ask: self.frontier.ask,
            allocator,
        }
    }

    /// Asks for new curves when they are looked at and what they are made of has changed.
    pub(super) fn curves_wanted(&mut self) -> Option<Effect> {
        if self.lens != LensId::Frontier {
            return None;
        }
        let pinned = self.model.layers.iter().map(|l| (l.id, self.plan.entry(l.id))).filter(|(_, e)| e.pinned);
        let ask = Ask { keep: 1.0, ..self.frontier.ask };
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
        self.frontier.drawn = Some(drawn);
        self.frontier.drawn_at = self.now;
        Some(Effect::Spread(Arc::new(self.question(None))))
    }

    pub(super) fn curves_drawn(&mut self, took: Duration, curves: Arc<Vec<Curve>>) {
        self.frontier.curves = Some(curves);
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
                self.frontier.solved = Some(format!("keep {words}"));
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

    /// What was typed while the budget is the active knob: `50%`, `floor 10%`, `of bytes`, `lamp`, `2:4`, `rank 8`.
    pub(super) fn type_budget(&mut self, text: &str, effects: &mut Vec<Effect>) -> Result<(), String> {
        let text = text.trim().trim_start_matches('=').trim();
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        let share = |text: &str| match prompt::value(Knob::Prune, text)? {
            Value::Share(share) => Ok(share),
            _ => Err(format!("\"{text}\" is no share: type 50% or .5")),
        };
        let ask = &mut self.frontier.ask;
        match (first, rest) {
            ("floor", rest) => ask.floor = share(rest)?.min(ask.ceiling),
            ("ceiling", "dense" | "off") => ask.ceiling = 1.0,
            ("ceiling", rest) => ask.ceiling = share(rest)?.max(ask.floor),
            ("of", rest) => {
                let unit = Unit::ALL.into_iter().find(|u| u.word().eq_ignore_ascii_case(rest));
                ask.of = unit.ok_or_else(|| format!("of {rest}: params, bytes or macs"))?;
            }
            ("rank", "") => {
                let multiple = self.frontier.multiple();
                self.frontier.means(Means::Rank(multiple));
            }
            ("rank" | "multiple", rest) => {
                let digits = rest.trim_start_matches(['×', 'x']);
                let multiple = digits.parse().ok().filter(|m| *m > 0);
                self.set_multiple(multiple.ok_or_else(|| format!("{first} {rest}: a multiple such as 8"))?);
            }
            ("prune", "") => self.frontier.means(Means::Prune(self.pattern)),
            ("groups", rest) => {
                ask.groups = Groups { qkv: rest.contains("qkv"), gate_up: rest.contains("gate") };
            }
            (name, "") if ALLOCATORS.iter().any(|a| a.name == name) => {
                self.frontier.allocator = ALLOCATORS.iter().position(|a| a.name == name).unwrap_or(0);
                self.frontier.cursor = None;
            }
            (name, "") if Pattern::parse(name).is_some() => {
                self.pattern = Pattern::parse(name).map_or(self.pattern, |p| p.0);
                self.frontier.means(Means::Prune(self.pattern));
            }
            _ => {
                let keep = share(text).map_err(|_| {
                    format!("\"{text}\": type 50%, floor 10%, ceiling 90%, of bytes, rank 8, 2:4, groups qkv, or an allocator")
                })?;
                self.set_budget(keep, effects);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
