//! Rules for ranks, on the layers in scope.

use super::App;
use super::prompt::Value;
use crate::model::LayerId;
use crate::plan::rule::Chosen;
use crate::plan::{Entry, Knob};
use crate::treat::criterion::CRITERIA;
use crate::treat::{Criterion, Factors};

impl App {
    /// Notes for which layers a rule must wait.
    pub(super) fn rule_waits(&mut self, rule: Chosen, targets: &[LayerId]) {
        let missing: Vec<(LayerId, Entry)> = targets
            .iter()
            .filter(|id| rule.spectrum(self.facts.of(**id), self.form_of(**id)).is_none())
            .map(|id| (*id, self.plan.entry(*id)))
            .collect();
        self.ruling = (!missing.is_empty() && !self.idle).then_some((rule, missing));
    }

    /// Whether a rule waits for singular values.
    pub fn is_ruling(&self) -> bool {
        self.ruling.is_some()
    }

    /// Ranks that a rule could not tell yet, of layers whose singular values were not there, are set when they are, as
    /// long as nothing else was done to the layers.
    pub(super) fn rules_again(&mut self) {
        let Some((rule, missing)) = self.ruling.take() else { return };
        let mut left = Vec::new();
        let mut changes = Vec::new();
        for (id, before) in missing {
            let Some(layer) = self.model.layer(id).filter(|_| self.plan.entry(id) == before) else { continue };
            let form = self.form_of(id);
            match rule.rank(layer, self.facts.of(id), form) {
                Some(rank) => {
                    let mut after = before;
                    (after.treatment.rank, after.treatment.form) = (Some(rank), form);
                    changes.push((id, before, after));
                }
                None if rule.spectrum(self.facts.of(id), form).is_none() => left.push((id, before)),
                None => {}
            }
        }
        if !changes.is_empty() {
            let label = format!("rank {} of {} layers", rule.name(), changes.len());
            // What one rule does is taken back as one, however it comes in.
            self.apply(changes, label, Some((Knob::Rank, usize::MAX)));
        }
        // Once nothing more is measured, what is missing stays missing.
        self.ruling = (!left.is_empty() && !self.idle).then_some((rule, left));
    }

    /// Goes on to the next rule, for all layers in scope.
    pub(super) fn next_rule(&mut self) {
        let all = Chosen::cycle();
        let at = self.rule.and_then(|now| all.iter().position(|r| *r == now)).map_or(0, |i| (i + 1) % all.len());
        self.rule = all.get(at).copied();
        if let Some(rule) = self.rule {
            self.knob = Knob::Rank;
            self.set(Value::Rule(rule), false);
        }
    }

    /// What a rule did: `gd: r 18 to 96 in 7 layers; 2 grow; 3 not measured yet`.
    pub(super) fn ruled(&self, rule: Chosen, targets: &[LayerId]) -> String {
        let (mut ranks, mut grow, mut unknown, mut none) = (Vec::new(), 0, 0, 0);
        for layer in targets.iter().filter_map(|id| self.model.layer(*id)) {
            let form = self.form_of(layer.id);
            let facts = self.facts.of(layer.id);
            match rule.rank(layer, facts, form) {
                Some(rank) => {
                    ranks.push(rank);
                    grow += usize::from(rank >= form.break_even_rank(layer));
                }
                None if rule.spectrum(facts, form).is_none() => unknown += 1,
                None => none += 1,
            }
        }
        let mut parts = Vec::new();
        let layers = |n: usize| if n == 1 { "1 layer".to_owned() } else { format!("{n} layers") };
        match (ranks.iter().min(), ranks.iter().max()) {
            (Some(low), Some(high)) if low < high => {
                parts.push(format!("r {low} to {high} in {}", layers(ranks.len())));
            }
            (Some(rank), _) if targets.len() == 1 => parts.push(format!("r {rank}")),
            (Some(rank), _) => parts.push(format!("r {rank} in {}", layers(ranks.len()))),
            _ => {}
        }
        match grow {
            0 => {}
            _ if targets.len() == 1 => parts.push("grows: no gain at this rank".to_owned()),
            n => parts.push(format!("{n} of them no gain")),
        }
        if unknown > 0 {
            parts.push(format!("{} to come with their singular values", layers(unknown)));
        }
        if none > 0 {
            parts.push(format!("no rank stands out in {}", layers(none)));
        }
        format!("{}: {}  ({})", rule.name(), parts.join("; "), rule.rule.words)
    }
}

impl App {
    /// Of which matrix the rank of a layer is, or would be.
    pub fn form_of(&self, id: LayerId) -> Factors {
        let treatment = self.plan.treatment(id);
        let form = if treatment.rank.is_some() { treatment.form } else { self.form };
        if self.model.layer(id).is_some_and(|l| form.apply_to(l)) { form } else { Factors::Matrix }
    }

    /// The largest rank of a layer's factors, at least 1.
    pub fn full_rank(&self, id: LayerId) -> usize {
        self.model.layer(id).map_or(1, |l| self.form_of(id).full_rank(l)).max(1)
    }

    /// Goes on to the next form of factors that the selected layer has, for all layers in scope.
    pub(super) fn next_form(&mut self) {
        let Some(layer) = self.model.layer(self.selected) else { return };
        let all = Factors::ALL;
        let at = all.iter().position(|f| *f == self.form_of(layer.id)).unwrap_or(0);
        let next = (1..all.len()).map(|step| all[(at + step) % all.len()]).find(|f| f.apply_to(layer));
        let Some(form) = next else {
            let why = [Factors::Spatial, Factors::Whitened].map(|f| f.fits(layer).err().unwrap_or_default());
            self.say(format!("{}; whitened ones: {}", why[0], why[1]));
            return;
        };
        let [m, n] = form.shape(layer);
        let (full, even) = (form.full_rank(layer), form.break_even_rank(layer));
        let what = if form.weighs() { format!("; {}", form.describe(layer)) } else { String::new() };
        let said = format!("factors {}: of a {m}×{n} matrix, full rank {full}, break-even {even}{what}", form.words());
        self.set(Value::Form(form), false);
        self.knob = Knob::Rank;
        self.say(said);
    }

    /// By what it is chosen what goes from a layer, or would be.
    pub fn criterion_of(&self, id: LayerId) -> Criterion {
        self.plan.treatment(id).prune.map_or(self.criterion, |p| p.criterion)
    }

    /// Goes on to the next criterion that can choose in the selected layer, for all layers in scope.
    pub(super) fn next_criterion(&mut self) {
        let targets = self.targets();
        let lead = targets.iter().copied().find(|id| *id == self.selected).or(targets.first().copied());
        let Some(layer) = lead.and_then(|id| self.model.layer(id)) else {
            self.say("no layer in scope can be treated");
            return;
        };
        let (id, pattern) = (layer.id, self.pattern_of(layer.id));
        let now = self.criterion_of(id);
        let at = CRITERIA.iter().position(|w| w.criterion == now).unwrap_or(0);
        // One reason for several is said once.
        let mut passed: Vec<(String, String)> = Vec::new();
        for step in 1..=CRITERIA.len() {
            let way = CRITERIA[(at + step) % CRITERIA.len()];
            let pattern = way.criterion.after(now, layer, pattern);
            if let Err(why) = (way.applies)(layer, pattern) {
                match passed.iter_mut().find(|p| p.1 == why) {
                    Some((names, _)) => *names = format!("{names}, {}", way.name),
                    None => passed.push((way.name.to_owned(), why)),
                }
                continue;
            }
            self.pattern = pattern;
            self.set(Value::Criterion(way.criterion), false);
            self.knob = Knob::Prune;
            let passed: Vec<String> = passed.iter().map(|(names, why)| format!("{names}: {why}")).collect();
            let passed = if passed.is_empty() { String::new() } else { format!("  (not {})", passed.join("; ")) };
            self.say(format!("{}: {}{passed}", way.name, way.words));
            return;
        }
    }
}
