//! Settings: one change asked of a layer, and the one place that carries it out for keys and for options alike.
//!
//! A setting changes its own part of what is planned and leaves the rest: pruning keeps the rank and the bits that a plan
//! has already, a rank keeps the pruning.

use super::rule::Chosen;
use super::{Entry, Factors, Prune, Quantise};
use crate::model::Layer;
use crate::probe::book::LayerFacts;

/// How a rank is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rank {
    /// None: the layer is stored as a matrix.
    Dense,
    /// This one, at most the full rank.
    Of(usize),
    /// A share of the full rank, at least one.
    Share(f64),
    /// By a rule.
    Rule(Chosen),
}

/// One change of one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Setting {
    /// A rank, and how it is factored where the layer has such factors.
    Rank(Rank, Factors),
    /// Pruning; `None` takes it away.
    Prune(Option<Prune>),
    /// Bits; `None` takes them away.
    Bits(Option<Quantise>),
}

impl Setting {
    /// Returns the entry of a layer with this setting made, all else as it was.
    ///
    /// # Errors
    /// Why it cannot be made here: the criterion does not apply, or the rule finds no rank.
    pub fn on(self, layer: &Layer, facts: &LayerFacts, before: Entry) -> Result<Entry, String> {
        let mut after = before;
        let treatment = &mut after.treatment;
        match self {
            Self::Rank(rank, form) => {
                let form = if form.apply_to(layer) { form } else { Factors::Matrix };
                let full = form.full_rank(layer).max(1);
                treatment.rank = match rank {
                    Rank::Dense => None,
                    Rank::Of(rank) => Some(rank.clamp(1, full)),
                    Rank::Share(share) => Some(((share * full as f64).round() as usize).clamp(1, full)),
                    Rank::Rule(rule) => {
                        Some(rule.rank(layer, facts, form).ok_or_else(|| format!("{} finds no rank", rule.name()))?)
                    }
                };
                treatment.form = if treatment.rank.is_some() { form } else { Factors::Matrix };
            }
            Self::Prune(how) => {
                let how = how.filter(|p| p.remove > 0.0);
                if let Some(how) = how {
                    how.criterion
                        .applies(layer, how.pattern)
                        .map_err(|why| format!("{}: {why}", how.criterion.name()))?;
                }
                treatment.prune = how;
            }
            Self::Bits(how) => treatment.quantise = how,
        }
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;
    use crate::plan::{Criterion, Granularity, Pattern};

    #[test]
    fn each_setting_changes_its_own_part_and_keeps_the_others() {
        let (layer, facts) = (Layer::alone(Kind::Linear, &[8, 6]), LayerFacts::default());
        let bits = Quantise { bits: 4, per: Granularity::Row };
        let prune = Prune::unstructured(0.5);
        let settings =
            [Setting::Rank(Rank::Share(0.5), Factors::Matrix), Setting::Prune(Some(prune)), Setting::Bits(Some(bits))];
        // In whatever order they are made.
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let made = order.iter().try_fold(Entry::default(), |e, i| settings[*i].on(&layer, &facts, e)).unwrap();
            let t = made.treatment;
            assert_eq!((t.rank, t.prune, t.quantise), (Some(3), Some(prune), Some(bits)), "{order:?}");
            let without = Setting::Prune(Some(Prune { remove: 0.0, ..prune })).on(&layer, &facts, made).unwrap();
            assert_eq!((without.treatment.rank, without.treatment.prune), (Some(3), None));
        }
    }

    #[test]
    fn what_does_not_apply_says_why() {
        let (layer, facts) = (Layer::alone(Kind::Linear, &[8, 6]), LayerFacts::default());
        let wanda = Prune { criterion: Criterion::Wanda, ..Prune::of(0.5, Pattern::PerRow) };
        let why = Setting::Prune(Some(wanda)).on(&layer, &facts, Entry::default()).unwrap_err();
        assert!(why.starts_with("wanda: "), "{why}");
        // Factors that the layer does not have are those of the matrix.
        let made = Setting::Rank(Rank::Of(99), Factors::Whitened).on(&layer, &facts, Entry::default()).unwrap();
        assert_eq!((made.treatment.rank, made.treatment.form), (Some(6), Factors::Matrix));
    }
}
