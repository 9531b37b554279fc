//! What the engine says, taken in.

use super::{App, Sort};
use crate::engine::Report;

impl App {
    pub(super) fn report(&mut self, report: Report) {
        match report {
            Report::Fact { layer, fact } => {
                self.facts.merge(layer, fact);
                self.outcome.update(&self.model, &self.facts, &self.refined, &self.plan, [layer]);
                self.resort();
            }
            Report::Failed { layer, why } => self.facts.fail(layer, why),
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
                        self.refine_failure = Some((layer, treatment, why));
                    }
                    Err(_) => {}
                }
            }
            Report::Progress(progress) => self.progress = Some(progress),
            Report::Idle { .. } => self.progress = None,
        }
    }

    /// Rows sorted by a measured value move when it arrives.
    fn resort(&mut self) {
        if matches!(self.list.sort, Sort::Error | Sort::Metric) {
            self.rebuild_rows();
        }
    }
}
