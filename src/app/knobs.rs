//! The knobs: which layers they move, where they stand, and what a step does.

use super::App;
use super::prompt::Value;
use crate::model::{Layer, LayerId};
use crate::plan::setting::{Rank, Setting};
use crate::plan::{Edit, Entry, Knob};
use crate::probe::rounding::GRANULARITIES;
use crate::treat::pattern::CYCLE;
use crate::treat::quantise::BITS;
use crate::treat::{Criterion, Granularity, Pattern, Prune, Quantise};

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
    /// All the same; `None` is dense (rank) or off (prune, bits). For the rank a share of the full rank, for bits
    /// `bits_share`.
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

    /// The layers an edit touches, in module order. Pinned ones only when they are meant themselves. Nothing is collected:
    /// every frame goes through them several times, and there may be tens of thousands.
    pub fn in_scope(&self) -> impl Iterator<Item = LayerId> {
        let scope = self.scope();
        let all = self.index.layers.as_slice();
        let here = self.selected.0;
        let range = match (scope, all.get(here)) {
            (Scope::Layer, Some(_)) => here..here + 1,
            (_, Some(_)) => 0..all.len(),
            (_, None) => 0..0,
        };
        let alike = move |l: &super::index::Traits| match scope {
            Scope::Role => l.role == all[here].role,
            Scope::Block => l.block == all[here].block,
            _ => true,
        };
        let free =
            move |i: usize| scope == Scope::Layer || !(self.plan.entry(LayerId(i)).pinned || all[i].by_name_only);
        range.filter(move |&i| all[i].eligible && alike(&all[i]) && free(i)).map(LayerId)
    }

    /// The same as a list.
    pub fn targets(&self) -> Vec<LayerId> {
        self.in_scope().collect()
    }

    /// The share at which a knob stands for one layer: `None` is dense or off.
    pub fn share(&self, knob: Knob, id: LayerId) -> Option<f64> {
        let treatment = self.plan.treatment(id);
        match knob {
            Knob::Prune => treatment.prune.map(|p| p.remove),
            Knob::Bits => treatment.quantise.map(|q| bits_share(q.bits)),
            Knob::Rank => {
                let full = self.full_rank(id);
                treatment.rank.map(|r| r as f64 / full as f64)
            }
        }
    }

    /// Where a knob stands over the layers in scope.
    pub fn reading(&self, knob: Knob) -> Reading {
        let rest = if knob == Knob::Prune { 0.0 } else { 1.0 };
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let (mut first, mut own, mut on, mut layers) = (None, None, 0, 0);
        // Equal shares of different full ranks differ by rounding: up to one rank of the smallest matrix.
        let mut smallest = usize::MAX;
        for id in self.in_scope() {
            let share = self.share(knob, id);
            let value = share.unwrap_or(rest);
            (low, high) = (low.min(value), high.max(value));
            first = first.or(Some(share));
            // The selected layer speaks for all.
            own = own.or((id == self.selected).then_some(share));
            (on, layers) = (on + usize::from(share.is_some()), layers + 1);
            if knob == Knob::Rank && share.is_some() {
                smallest = smallest.min(self.full_rank(id));
            }
        }
        let Some(first) = first else { return Reading::Nothing };
        let slack = if knob == Knob::Rank { 1.0 / smallest as f64 } else { 1e-9 };
        if on == 0 || (on == layers && high - low <= slack) {
            return Reading::Same(own.unwrap_or(first));
        }
        Reading::Mixed(low, high)
    }

    /// The next knob; on the frontier the budget is one of them.
    pub(super) fn next_knob(&mut self) {
        let next = self.knob.next();
        if self.lens != super::LensId::Frontier {
            self.knob = next;
        } else if self.frontier.active {
            self.frontier.active = false;
            self.knob = Knob::Rank;
        } else if next == Knob::Rank {
            self.frontier.active = true;
        } else {
            self.knob = next;
        }
    }

    /// The knob before.
    pub(super) fn previous_knob(&mut self) {
        // Once round but one; on the frontier there is one more.
        let all = Knob::ALL.len() + usize::from(self.lens == super::LensId::Frontier);
        (1..all).for_each(|_| self.next_knob());
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
            Knob::Bits => {
                let beyond = i32::from(*BITS.end()) + 1;
                let at = self.plan.treatment(lead).quantise.map_or(beyond, |q| i32::from(q.bits));
                // A coarse step is two bits.
                let next = (at + steps.signum() * if steps.abs() > 1 { 2 } else { 1 }).max(i32::from(*BITS.start()));
                u8::try_from(next).ok().filter(|b| BITS.contains(b)).map(|b| Value::Bits(Some(b), None))
            }
        };
        self.set(next.unwrap_or(Value::Dense), true);
    }

    /// One step of the rank: 1 % of the full rank, at least one; beyond the full rank lies dense.
    fn next_rank(&self, lead: LayerId, steps: i32, many: bool) -> Option<Value> {
        let full = self.full_rank(lead) as i64;
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
        let knob = match value {
            Value::Rule(_) => Knob::Rank,
            Value::Form(form) => {
                self.form = form;
                Knob::Rank
            }
            Value::Criterion(criterion) => {
                self.criterion = criterion;
                Knob::Prune
            }
            Value::Pattern(pattern, _) => {
                self.pattern = pattern;
                Knob::Prune
            }
            Value::Bits(_, per) => {
                self.per = per.unwrap_or(self.per);
                Knob::Bits
            }
            _ => self.knob,
        };
        let mut changes = Vec::with_capacity(targets.len());
        for id in &targets {
            let (Some(layer), before) = (self.model.layer(*id), self.plan.entry(*id)) else { continue };
            let setting = match knob {
                Knob::Rank => self.rank_setting(*id, value),
                Knob::Prune => Setting::Prune(self.prune_setting(layer, before, value)),
                Knob::Bits => Setting::Bits(self.bits_setting(before, value)),
            };
            // Where it cannot be made the layer stays as it is.
            let after = setting.on(layer, self.facts.of(*id), before).unwrap_or(before);
            changes.push((*id, before, after));
        }
        let label = self.label(knob, value, targets.len());
        self.apply(changes, label, gesture.then_some((knob, self.gesture_key())));
        if let Value::Rule(rule) = value {
            self.rule_waits(rule, &targets);
            self.say(self.ruled(rule, &targets));
        }
    }

    /// What a value asks of a layer's rank.
    fn rank_setting(&self, id: LayerId, value: Value) -> Setting {
        let rank = match value {
            // The same share of the rank there is then.
            Value::Form(form) => {
                return Setting::Rank(self.share(Knob::Rank, id).map_or(Rank::Dense, Rank::Share), form);
            }
            Value::Rule(rule) => Rank::Rule(rule),
            Value::Rank(rank) => Rank::Of(rank),
            Value::Share(share) => Rank::Share(share),
            Value::Dense | Value::Pattern(..) | Value::Bits(..) | Value::Criterion(_) => Rank::Dense,
        };
        Setting::Rank(rank, self.form_of(id))
    }

    /// What a value asks of a layer's pruning.
    fn prune_setting(&self, layer: &Layer, before: Entry, value: Value) -> Option<Prune> {
        let pattern = match value {
            Value::Pattern(pattern, _) => pattern,
            Value::Criterion(c) => c.after(self.criterion_of(layer.id), layer, self.pattern_of(layer.id)),
            _ => self.pattern_of(layer.id),
        };
        let by = if let Value::Criterion(c) = value { c } else { self.criterion_of(layer.id) };
        // A criterion that does not apply to this layer is replaced by magnitude; the line of the knob shows which one is used.
        let by = if by.applies(layer, pattern).is_ok() { by } else { Criterion::Magnitude };
        let share = match value {
            Value::Share(s) | Value::Pattern(_, Some(s)) => s,
            // A pattern or a criterion alone: as much as before goes.
            Value::Pattern(_, None) | Value::Criterion(_) => before.treatment.prune?.remove,
            Value::Rank(_) | Value::Bits(..) | Value::Rule(_) | Value::Form(_) | Value::Dense => return None,
        };
        pruned(pattern, share).map(|p| Prune { criterion: by, ..p })
    }

    /// What a value asks of a layer's bits; what it does not say stays.
    fn bits_setting(&self, before: Entry, value: Value) -> Option<Quantise> {
        let Value::Bits(bits, per) = value else { return None };
        let before = before.treatment.quantise;
        let bits = bits.or(before.map(|q| q.bits))?;
        Some(Quantise { bits, per: per.or(before.map(|q| q.per)).unwrap_or(self.per) })
    }

    /// Gestures are told apart by the scope and by what is selected.
    fn gesture_key(&self) -> usize {
        self.selected.0 * Scope::ALL.len() + Scope::ALL.iter().position(|s| *s == self.scope()).unwrap_or(0)
    }

    /// The pattern in which a layer is pruned, or would be.
    pub fn pattern_of(&self, id: LayerId) -> Pattern {
        self.plan.treatment(id).prune.map_or(self.pattern, |p| p.pattern)
    }

    /// Which entries of a layer share a scale, or would.
    pub fn per_of(&self, id: LayerId) -> Granularity {
        self.plan.treatment(id).quantise.map_or(self.per, |q| q.per)
    }

    /// Goes on to the next way to share scales for all layers in scope.
    fn next_granularity(&mut self) {
        let now = self.per_of(self.selected);
        let at = GRANULARITIES.iter().position(|g| *g == now).map_or(0, |i| (i + 1) % GRANULARITIES.len());
        self.set(Value::Bits(None, Some(GRANULARITIES[at])), false);
        self.say(format!("scales: {}", GRANULARITIES[at].describe()));
    }

    /// Goes on to the next pattern for all layers in scope; on the knob of bits to the next way to share scales.
    pub(super) fn next_pattern(&mut self) {
        if self.knob == Knob::Bits {
            self.next_granularity();
            return;
        }
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
            (_, Value::Rule(rule)) => rule.name(),
            (_, Value::Form(form)) => form.words().to_owned(),
            (_, Value::Criterion(criterion)) => criterion.name().to_owned(),
            (_, Value::Bits(bits, per)) => {
                let words = [bits.map(|b| b.to_string()), per.map(Granularity::name)];
                words.into_iter().flatten().collect::<Vec<_>>().join(" ")
            }
        };
        let of = if layers == 1 {
            self.model.layer(self.selected).map_or_else(String::new, |l| l.label.clone())
        } else {
            format!("{layers} layers")
        };
        format!("{} {value} of {of}", knob.word())
    }

    /// Makes an edit and brings the outcome up to date.
    pub(super) fn apply(
        &mut self,
        changes: Vec<(LayerId, Entry, Entry)>,
        label: String,
        gesture: Option<(Knob, usize)>,
    ) {
        let touched: Vec<LayerId> = changes.iter().map(|c| c.0).collect();
        self.status = None;
        self.frontier.follows = false;
        self.frontier.solved = None;
        if self.plan.edit(Edit { changes, label, gesture, at: self.now }) {
            self.outcome.update(&self.model, &self.facts, &self.refined, &self.plan, touched);
        }
    }

    /// Makes all layers in scope dense, all knobs.
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
        self.ruling = None;
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

/// Where so many bits stand on their slider: 2 at the left end, off at the right one.
pub fn bits_share(bits: u8) -> f64 {
    f64::from(bits.saturating_sub(*BITS.start())) / f64::from(BITS.end() + 1 - BITS.start())
}

/// The bits nearest to a place of the slider; `None` is off.
pub fn bits_at(share: f64) -> Option<u8> {
    let bits = BITS.start() + (share.clamp(0.0, 1.0) * f64::from(BITS.end() + 1 - BITS.start())).round() as u8;
    BITS.contains(&bits).then_some(bits)
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
