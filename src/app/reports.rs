//! Reports of the engine.

use super::{App, Effect, Sort};
use crate::engine::Report;
use crate::probe::Fact;
use std::time::Duration;

/// So many rows are not sorted at every report.
const MANY_ROWS: usize = 4096;

/// While measurements come in, many rows are sorted anew at most this often.
const RESORT: Duration = Duration::from_millis(500);

impl App {
    /// Takes in reports that came together, then what follows from all of them. Whatever is linear in the layers is done
    /// once for all of them, never for each.
    pub(super) fn reports(&mut self, reports: Vec<Report>, effects: &mut Vec<Effect>) {
        for report in reports {
            // These read or change the whole plan, so it has to be up to date.
            if matches!(
                report,
                Report::Curves { .. } | Report::Spread { .. } | Report::Quality { .. } | Report::Idle { .. }
            ) {
                self.outcome.sum_up(&self.model);
            }
            self.report(report);
        }
        self.outcome.sum_up(&self.model);
        self.resort();
        self.rules_again();
        self.go_on(effects);
    }

    fn report(&mut self, report: Report) {
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
                self.outcome.project_again(&self.model, &self.facts, &self.refined, &self.plan, layer);
                self.unsorted = true;
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
                        self.outcome.project_again(&self.model, &self.facts, &self.refined, &self.plan, layer);
                        self.unsorted = true;
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

    /// Rows sorted by a measured value move when it arrives; many rows not at every report, since sorting them takes longer
    /// than a frame.
    fn resort(&mut self) {
        let few = self.list.rows.len() < MANY_ROWS;
        if !self.unsorted || !(few || self.idle || self.now >= self.sorted_at + RESORT) {
            return;
        }
        (self.unsorted, self.sorted_at) = (false, self.now);
        if matches!(self.list.sort, Sort::Error | Sort::Metric) {
            self.rebuild_rows();
        }
    }
}
