//! The two knobs: which layers they move, where they stand, and what a step does.

use super::App;
use super::prompt::Value;
use crate::model::{Layer, LayerId};
use crate::plan::{Edit, Entry, Knob};
use crate::treat::pattern::CYCLE;
use crate::treat::{Pattern, Prune};

/// Which layers an edit touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The selected layer.
    #[default]
    Layer,
    /// All eligible layers of its role.
    Role,
    /// All eligible layers of its block.
    Block,
    /// All eligible layers.
    All,
}

impl Scope {
    /// All of them, narrow to wide.
    pub const ALL: [Self; 4] = [Self::Layer, Self::Role, Self::Block, Self::All];

    fn next(self) -> Self {
        match self {
            Self::Layer => Self::Role,
            Self::Role => Self::Block,
            Self::Block => Self::All,
            Self::All => Self::Layer,
        }
    }
    /// Its word on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Role => "role",
            Self::Block => "block",
            Self::All => "all",
        }
    }
}

/// Where a knob stands over the layers in scope.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// No layer in scope can be treated.
    Nothing,
    /// All the same; `None` is dense (rank) or off (prune). For the rank a share of the full rank.
    Same(Option<f64>),
    /// Different: smallest and largest share.
    Mixed(f64, f64),
}

impl App {
    /// The scope in force: on a folded block an edit of "the layer" means the block.
    pub fn scope(&self) -> Scope {
        if self.scope == Scope::Layer && self.on_block().is_some() { Scope::Block } else { self.scope }
    }

    pub(super) fn next_scope(&mut self) {
        self.scope = self.scope.next();
        // Without blocks that scope would be the layers outside all blocks: no use.
        if self.scope == Scope::Block && self.block_of(self.selected).is_none() {
            self.scope = Scope::All;
        }
    }

    /// The layers an edit touches. Pinned ones only when they are meant themselves.
    pub fn targets(&self) -> Vec<LayerId> {
        let scope = self.scope();
        let Some(here) = self.model.layer(self.selected) else { return Vec::new() };
        let inside = |l: &&Layer| match scope {
            Scope::Layer => l.id == here.id,
            Scope::Role => l.role == here.role,
            Scope::Block => l.block == here.block,
            Scope::All => true,
        };
        let free = |l: &&Layer| scope == Scope::Layer || !self.plan.entry(l.id).pinned;
        self.model.layers.iter().filter(|l| l.eligible()).filter(inside).filter(free).map(|l| l.id).collect()
    }

    /// The share at which a knob stands for one layer: `None` is dense or off.
    pub fn share(&self, knob: Knob, id: LayerId) -> Option<f64> {
        let treatment = self.plan.treatment(id);
        match knob {
            Knob::Prune => treatment.prune.map(|p| p.remove),
            Knob::Rank => {
                let full = self.model.layer(id).map_or(1, Layer::full_rank).max(1);
                treatment.rank.map(|r| r as f64 / full as f64)
            }
        }
    }

    /// Where a knob stands over the layers in scope.
    pub fn reading(&self, knob: Knob) -> Reading {
        let shares: Vec<Option<f64>> = self.targets().into_iter().map(|id| self.share(knob, id)).collect();
        let Some(first) = shares.first().copied() else { return Reading::Nothing };
        let rest = if knob == Knob::Rank { 1.0 } else { 0.0 };
        let value = |s: &Option<f64>| s.unwrap_or(rest);
        let low = shares.iter().map(value).fold(f64::INFINITY, f64::min);
        let high = shares.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
        // Equal shares of different full ranks differ by rounding: up to one rank of the smallest matrix.
        let slack = if knob == Knob::Rank { self.smallest_step() } else { 1e-9 };
        let all_off = shares.iter().all(Option::is_none);
        if all_off || (shares.iter().all(Option::is_some) && high - low <= slack) {
            // The selected layer speaks for all.
            let own = if self.targets().contains(&self.selected) { self.share(knob, self.selected) } else { first };
            return Reading::Same(own);
        }
        Reading::Mixed(low, high)
    }

    fn smallest_step(&self) -> f64 {
        let ranks = self.targets().into_iter().filter_map(|id| self.model.layer(id)).map(Layer::full_rank);
        1.0 / ranks.min().unwrap_or(1).max(1) as f64
    }

    /// The other knob; on the frontier the budget is one of them.
    pub(super) fn next_knob(&mut self) {
        if self.lens != super::LensId::Frontier {
            self.knob = self.knob.other();
        } else if self.frontier.active {
            self.frontier.active = false;
            self.knob = Knob::Rank;
        } else if self.knob == Knob::Rank {
            self.knob = self.knob.other();
        } else {
            self.frontier.active = true;
        }
    }

    /// Moves the active knob by so many percent.
    pub(super) fn scrub(&mut self, steps: i32) {
        let targets = self.targets();
        let Some(lead) = targets.iter().copied().find(|id| *id == self.selected).or(targets.first().copied()) else {
            self.say(self.why_nothing());
            return;
        };
        let next = match self.knob {
            Knob::Prune => {
                let at = self.share(Knob::Prune, lead).unwrap_or(0.0);
                Some(self.pattern_of(lead).step(at, steps)).filter(|s| *s > 0.0).map(Value::Share)
            }
            Knob::Rank => self.next_rank(lead, steps, targets.len() > 1),
        };
        self.set(next.unwrap_or(Value::Dense), true);
    }

    /// One step of the rank: 1 % of the full rank, at least one; beyond the full rank lies dense.
    fn next_rank(&self, lead: LayerId, steps: i32, many: bool) -> Option<Value> {
        let full = self.model.layer(lead).map_or(1, Layer::full_rank).max(1) as i64;
        let step = ((full as f64 / 100.0).round() as i64).max(1);
        let at = self.plan.treatment(lead).rank.map(|r| r as i64);
        if at.is_none() && steps > 0 {
            return None;
        }
        let next = at.unwrap_or(full) + i64::from(steps) * step;
        if next > full || (next == full && steps > 0) {
            return None;
        }
        let next = next.max(1);
        Some(if many { Value::Share(next as f64 / full as f64) } else { Value::Rank(next as usize) })
    }

    /// Puts the active knob at a value for all layers in scope.
    pub(super) fn set(&mut self, value: Value, gesture: bool) {
        let targets = self.targets();
        if targets.is_empty() {
            self.say(self.why_nothing());
            return;
        }
        let knob = if let Value::Pattern(pattern, _) = value {
            self.pattern = pattern;
            Knob::Prune
        } else {
            self.knob
        };
        let mut changes = Vec::with_capacity(targets.len());
        for id in &targets {
            let (Some(layer), before) = (self.model.layer(*id), self.plan.entry(*id)) else { continue };
            let mut after = before;
            match knob {
                Knob::Rank => after.treatment.rank = rank_of(value, layer),
                Knob::Prune => {
                    let pattern = if let Value::Pattern(pattern, _) = value { pattern } else { self.pattern_of(*id) };
                    after.treatment.prune = match value {
                        Value::Share(s) | Value::Pattern(_, Some(s)) => pruned(pattern, s),
                        // A pattern alone: as much as before goes.
                        Value::Pattern(_, None) => before.treatment.prune.and_then(|p| pruned(pattern, p.remove)),
                        Value::Rank(_) | Value::Dense => None,
                    };
                }
            }
            changes.push((*id, before, after));
        }
        let label = self.label(knob, value, targets.len());
        self.apply(changes, label, gesture.then_some((knob, self.gesture_key())));
    }

    /// Gestures are told apart by the scope and by what is selected.
    fn gesture_key(&self) -> usize {
        self.selected.0 * Scope::ALL.len() + Scope::ALL.iter().position(|s| *s == self.scope()).unwrap_or(0)
    }

    /// The pattern in which a layer is pruned, or would be.
    pub fn pattern_of(&self, id: LayerId) -> Pattern {
        self.plan.treatment(id).prune.map_or(self.pattern, |p| p.pattern)
    }

    /// Goes on to the next pattern for all layers in scope.
    pub(super) fn next_pattern(&mut self) {
        let lead = self.targets();
        let lead = lead.iter().copied().find(|id| *id == self.selected).or(lead.first().copied());
        let now = lead.map_or(self.pattern, |id| self.pattern_of(id));
        let at = CYCLE.iter().position(|p| *p == now).map_or(0, |i| (i + 1) % CYCLE.len());
        self.knob = Knob::Prune;
        self.set(Value::Pattern(CYCLE[at], None), false);
        self.budget_pattern();
        self.say(format!("pattern: {}", CYCLE[at].describe()));
    }

    fn label(&self, knob: Knob, value: Value, layers: usize) -> String {
        let value = match (knob, value) {
            (_, Value::Dense) if knob == Knob::Rank => "dense".to_owned(),
            (_, Value::Dense) => "off".to_owned(),
            (_, Value::Rank(r)) => r.to_string(),
            (_, Value::Share(s)) => format!("{:.0}%", s * 100.0),
            (_, Value::Pattern(p, share)) => p.name(share.unwrap_or(0.0)),
        };
        let of = if layers == 1 {
            self.model.layer(self.selected).map_or_else(String::new, |l| l.label.clone())
        } else {
            format!("{layers} layers")
        };
        format!("{} {value} of {of}", knob.word())
    }

    /// Makes an edit and brings the outcome up to date.
    fn apply(&mut self, changes: Vec<(LayerId, Entry, Entry)>, label: String, gesture: Option<(Knob, usize)>) {
        let touched: Vec<LayerId> = changes.iter().map(|c| c.0).collect();
        self.status = None;
        self.frontier.follows = false;
        self.frontier.solved = None;
        if self.plan.edit(Edit { changes, label, gesture, at: self.now }) {
            self.outcome.update(&self.model, &self.facts, &self.refined, &self.plan, touched);
        }
    }

    /// Makes all layers in scope dense, both knobs.
    pub(super) fn make_dense(&mut self) {
        let entry = |id: &LayerId| {
            let before = self.plan.entry(*id);
            (*id, before, Entry { treatment: crate::plan::Treatment::default(), ..before })
        };
        let changes: Vec<_> = self.targets().iter().map(entry).collect();
        let label = format!("dense ({} layers)", changes.len());
        self.apply(changes, label, None);
    }

    /// Pins or frees the layers in scope, as the selected one is.
    pub(super) fn pin(&mut self) {
        let Some(layer) = self.model.layer(self.selected).filter(|l| l.eligible()) else {
            self.say(self.why_nothing());
            return;
        };
        let pinned = !self.plan.entry(layer.id).pinned;
        let before = self.plan.entry(layer.id);
        let label = format!("{} {}", if pinned { "pin" } else { "unpin" }, layer.label);
        self.apply(vec![(layer.id, before, Entry { pinned, ..before })], label, None);
    }

    pub(super) fn undo(&mut self) {
        let said = self
            .plan
            .undo()
            .map_or("nothing to undo".to_owned(), |l| format!("undone: {l}{}", more(self.plan.depth().0)));
        self.after_history(said);
    }

    pub(super) fn redo(&mut self) {
        let said = self
            .plan
            .redo()
            .map_or("nothing to redo".to_owned(), |l| format!("redone: {l}{}", more(self.plan.depth().1)));
        self.after_history(said);
    }

    fn after_history(&mut self, said: String) {
        self.frontier.follows = false;
        self.frontier.solved = None;
        let all: Vec<LayerId> = self.model.layers.iter().map(|l| l.id).collect();
        self.outcome.update(&self.model, &self.facts, &self.refined, &self.plan, all);
        self.say(said);
    }

    /// Why an edit finds nothing to change.
    fn why_nothing(&self) -> String {
        let Some(layer) = self.model.layer(self.selected) else { return "no layer".to_owned() };
        match &layer.why_not {
            Some(why) if self.scope() == Scope::Layer => format!("{} stays as it is: {why}", layer.label),
            _ => format!("no layer in scope ({}) can be treated", self.scope().word()),
        }
    }
}

/// How many steps are left, for the status line.
fn more(steps: usize) -> String {
    if steps == 0 { String::new() } else { format!(" ({steps} more)") }
}

/// What removing a share in a pattern is; nothing removed is `None`.
fn pruned(pattern: Pattern, share: f64) -> Option<Prune> {
    let remove = pattern.on_grid(share.clamp(0.0, 1.0));
    (remove > 0.0).then_some(Prune::of(remove, pattern))
}

/// The rank that a value means for a layer; `None` is dense.
fn rank_of(value: Value, layer: &Layer) -> Option<usize> {
    let full = layer.full_rank();
    match value {
        Value::Dense | Value::Pattern(..) => None,
        Value::Rank(r) => Some(r.clamp(1, full.max(1))),
        Value::Share(s) => Some(((s * full as f64).round() as usize).clamp(1, full.max(1))),
    }
}
