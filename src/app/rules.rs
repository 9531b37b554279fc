//! Rules for ranks, on the layers in scope.

use super::App;
use super::prompt::Value;
use crate::model::LayerId;
use crate::plan::rule::Chosen;

impl App {
    /// Goes on to the next rule, for all layers in scope.
    pub(super) fn next_rule(&mut self) {
        let all = Chosen::cycle();
        let at = self.rule.and_then(|now| all.iter().position(|r| *r == now)).map_or(0, |i| (i + 1) % all.len());
        self.rule = all.get(at).copied();
        if let Some(rule) = self.rule {
            self.knob = crate::plan::Knob::Rank;
            self.set(Value::Rule(rule), false);
        }
    }

    /// What a rule did: `gd: r 18 to 96 in 7 layers; 2 grow; 3 not measured yet`.
    pub(super) fn ruled(&self, rule: Chosen, targets: &[LayerId]) -> String {
        let (mut ranks, mut grow, mut unknown, mut none) = (Vec::new(), 0, 0, 0);
        for layer in targets.iter().filter_map(|id| self.model.layer(*id)) {
            let form = self.plan.treatment(layer.id).form;
            let facts = self.facts.of(layer.id);
            match rule.rank(layer, facts, form) {
                Some(rank) => {
                    ranks.push(rank);
                    grow += usize::from(rank >= form.break_even_rank(layer));
                }
                None if facts.spectrum_of(form).is_none() => unknown += 1,
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
            parts.push(format!("{} without exact singular values yet", layers(unknown)));
        }
        if none > 0 {
            parts.push(format!("no rank stands out in {}", layers(none)));
        }
        format!("{}: {}  ({})", rule.name(), parts.join("; "), rule.rule.words)
    }
}
