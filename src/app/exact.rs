//! Which exact runs and estimates are worth having now.

use super::{App, Effect, LensId};
use crate::known::Bound;
use crate::model::LayerId;
use crate::plan::Treatment;
use crate::treat::{Criterion, Factors, Pattern, Refined};
use std::sync::Arc;

impl App {
    /// The estimate worth having until the exact run is there: of the selected layer, pruned and nothing else.
    pub(super) fn previewed(&self, layer: LayerId, treatment: Treatment) -> Option<Effect> {
        let alone = treatment.rank.is_none() && treatment.quantise.is_none();
        let how = treatment.prune.filter(|_| alone && layer == self.selected)?;
        let threshold = match how.pattern {
            Pattern::Unstructured if how.criterion == Criterion::Magnitude => {
                self.facts.of(layer).magnitude.as_ref()?.prune(how.remove).threshold
            }
            _ => 0.0,
        };
        Some(Effect::Preview { layer, treatment, threshold })
    }

    /// The exact run worth having now: of the selected layer; then of the others on the Lipschitz lens of a chain, and where
    /// errors are of outputs, of which only a run tells what others make up for: first of those of which nothing is known.
    pub(super) fn wanted_refinement(&self) -> Option<(LayerId, Treatment)> {
        let chain = self.lens == LensId::Lipschitz && self.index.chain;
        let layers = || self.model.layers.iter().map(|l| l.id);
        let known = |id: LayerId| self.outcome.layers.get(id.0).and_then(|o| o.error(true)).map(|e| e.bound);
        let seen = |id: LayerId| self.activations && self.model.layer(id).is_some_and(|l| l.inputs.is_some());
        let unknown = layers().filter(|&id| seen(id) && known(id).is_none());
        let estimated = layers().filter(|&id| seen(id) && known(id).is_some_and(|b| b != Bound::Exact));
        let others = layers().filter(|_| chain).chain(unknown).chain(estimated);
        std::iter::once(self.selected).chain(others).find_map(|id| {
            let treatment = self.plan.treatment(id);
            // A rank alone follows from the dense spectrum, all but its row and column sums.
            let sums = treatment.rank.is_some() && self.lens == LensId::Lipschitz;
            // What it does to outputs does not; nor does what other forms of factors leave.
            let seen = treatment.rank.is_some() && self.model.layer(id).is_some_and(|l| l.inputs.is_some());
            let other = treatment.rank.is_some() && treatment.form != Factors::Matrix;
            let wanted = (treatment.prune.is_some() || treatment.quantise.is_some() || other || sums || seen)
                && self.model.layer(id).is_some_and(|l| l.eligible() && l.measurable())
                && self.current_refinement(id).is_none()
                && self.refine_failure(id).is_none();
            wanted.then_some((id, treatment))
        })
    }

    /// The exact run of a layer's present treatment, when there is one.
    pub fn current_refinement(&self, id: LayerId) -> Option<&Arc<Refined>> {
        let treatment = self.plan.treatment(id);
        self.refined.get(id.0)?.as_ref().filter(|r| r.treatment == treatment)
    }

    /// Why a layer's present treatment could not be run.
    pub fn refine_failure(&self, id: LayerId) -> Option<&str> {
        let treatment = self.plan.treatment(id);
        self.refine_failures.get(&id).filter(|f| f.0 == treatment).map(|f| f.1.as_str())
    }

    /// Asks for a proof, or says what is known.
    pub(super) fn certify(&mut self, effects: &mut Vec<Effect>) {
        let id = self.selected;
        if let Some(bound) = self.facts.of(id).certificate {
            self.say(format!("σ₁ ≤{:.9} is proven already", bound.value));
        } else if self.model.layer(id).is_some_and(|l| l.measurable() && l.tied_to.is_none()) {
            self.certifying = Some(id);
            effects.push(Effect::Certify(id));
            self.say("proving an upper bound on σ₁ …");
        } else {
            self.say("nothing to certify: this tensor is not measured");
        }
    }
}
