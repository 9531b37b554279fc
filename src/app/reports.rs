//! What the engine says, taken in.

use super::{App, Sort};
use crate::engine::Report;
use crate::probe::Fact;

impl App {
    pub(super) fn report(&mut self, report: Report) {
        match report {
            Report::Fact { layer, fact } => {
                if matches!(fact, Fact::Certificate(_)) && self.certifying == Some(layer) {
                    self.certifying = None;
                    if let Fact::Certificate(bound) = &fact {
                        self.say(format!("proven: σ₁ ≤{:.9} of the matrix view", bound.value));
                    }
                }
                self.facts.merge(layer, fact);
                self.facts_seen += 1;
                self.idle = false;
                self.outcome.update(&self.model, &self.facts, &self.refined, &self.plan, [layer]);
                self.resort();
            }
            Report::Failed { layer, why } => {
                self.certifying = self.certifying.filter(|l| *l != layer);
                self.facts.fail(layer, why);
            }
            Report::Refined { layer, result, .. } => {
                // Only the treatment that the plan holds now is of interest: anything else is stale.
                let treatment = self.plan.treatment(layer);
                match result {
                    Ok(refined) if refined.treatment == treatment => {
                        if let Some(slot) = self.refined.get_mut(layer.0) {
                            *slot = Some(refined);
                        }
                        self.outcome.update(&self.model, &self.facts, &self.refined, &self.plan, [layer]);
                        self.resort();
                    }
                    Ok(_) => {}
                    Err(why) if self.awaited == Some((layer, treatment)) => {
                        self.refine_failures.insert(layer, (treatment, why));
                    }
                    Err(_) => {}
                }
            }
            Report::Preview { layer, preview } => {
                // Of a ratio that has moved on it is still the best known answer, and says which ratio it is of.
                if self.plan.treatment(layer).prune.is_some() {
                    self.preview = Some((layer, preview));
                }
            }
            Report::Curves { took, curves, .. } => self.curves_drawn(took, curves),
            Report::Spread { number, took, result } => self.spread(number, took, result),
            Report::Quality { number, result, done } => self.quality_told(number, result, done),
            Report::Sensitivity { number, layer, treatment, result, last } => {
                self.felt(number, (layer, treatment), result, last);
            }
            Report::Progress(progress) => self.progress = Some(progress),
            Report::Idle { .. } => {
                self.progress = None;
                self.idle = true;
                self.weigh_again();
            }
        }
    }

    /// Rows sorted by a measured value move when it arrives.
    fn resort(&mut self) {
        if matches!(self.list.sort, Sort::Error | Sort::Metric) {
            self.rebuild_rows();
        }
    }
}
