//! Sensitivity: each layer treated alone, by the knob at hand, at a few settings.

use super::super::{App, Effect};
use crate::engine::Sweep;
use crate::evaluate::{Measured, difference};
use crate::model::{Layer, LayerId};
use crate::plan::{Knob, Prune, Quantise, Treatment, project_layer};
use crate::probe::Felt;
use std::sync::Arc;

/// Shares of a layer that stay: of its entries, or of its parameters in two factors.
const KEEPS: [f64; 4] = [0.5, 0.7, 0.3, 0.9];

/// Bits, where these are the knob.
const BITS: [u8; 3] = [4, 3, 2];

/// One setting of the sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// In words: `remove 50%`.
    pub words: String,
    /// What is done to each layer; `None` where it does not apply.
    pub treatments: Vec<Option<Treatment>>,
}

/// A sweep under way, or done.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweeping {
    /// Its number.
    pub number: u64,
    /// Its settings, mildest first.
    pub steps: Vec<Step>,
    /// Measurements made, and in all.
    pub done: [usize; 2],
    /// Whether it goes on.
    pub running: bool,
    /// Measurements that failed, and why the last did.
    pub failed: Option<String>,
}

impl App {
    /// Measures what each layer loses alone, or stops that.
    pub(in super::super) fn sweep(&mut self, effects: &mut Vec<Effect>) {
        if let Some(sweeping) = self.quality.sweeping.as_mut().filter(|s| s.running) {
            sweeping.running = false;
            effects.push(Effect::Sweep(None));
            self.say("sensitivity stopped: what was measured stays, the same key goes on");
            return;
        }
        if self.quality.offer.is_none() || self.quality.failure.is_some() {
            let why = self.quality.failure.clone().unwrap_or_else(|| self.quality.why_not.clone());
            self.say(format!("sensitivity needs measured loss: {why}"));
            return;
        }
        self.quality.wanted = true;
        self.quality.panel = super::QualityPanel::Sensitivity;
        let steps = self.steps();
        let layers: Vec<LayerId> =
            self.model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none()).map(|l| l.id).collect();
        // One setting of all layers, then the next: the map fills evenly. The first is that in the middle.
        let order = |i: usize| (i + steps.len() / 2) % steps.len().max(1);
        let mut cells = Vec::new();
        for step in (0..steps.len()).map(order) {
            for id in &layers {
                let known = |t: Treatment| self.facts.of(*id).sensitivity.as_ref().is_some_and(|s| s.of(t).is_some());
                cells.extend(steps[step].treatments[id.0].filter(|t| !known(*t)).map(|t| (*id, t)));
            }
        }
        let all = steps.iter().flat_map(|s| &s.treatments).flatten().count();
        if cells.is_empty() {
            self.say("sensitivity by this knob is measured already");
        }
        self.quality.number += 1;
        // A plan that is being measured keeps its number.
        let number = u64::MAX - self.quality.number;
        let running = !cells.is_empty();
        let done = [all - cells.len(), all];
        self.quality.sweeping = Some(Sweeping { number, steps, done, running, failed: None });
        let sweep = Sweep { number, layers: self.model.layers.len(), cells };
        effects.push(Effect::Sweep(Some(Arc::new(sweep))));
    }

    /// What the knob at hand does to every layer, mildest first.
    fn steps(&self) -> Vec<Step> {
        if self.knob == Knob::Bits {
            let per = self.per;
            return BITS
                .map(|bits| {
                    self.step(format!("int{bits}"), |_| {
                        Some(Treatment { quantise: Some(Quantise { bits, per }), ..Treatment::default() })
                    })
                })
                .into();
        }
        let mut keeps = KEEPS;
        keeps.sort_by(|a, b| b.total_cmp(a));
        keeps
            .map(|keep| match self.knob {
                Knob::Prune => self.step(format!("−{:.0}%", (1.0 - keep) * 100.0), |layer| {
                    let pattern = self.criterion.fitting(layer, self.pattern);
                    let how = Prune { criterion: self.criterion, ..Prune::of(pattern.on_grid(1.0 - keep), pattern) };
                    self.criterion.applies(layer, pattern).ok().map(|()| Treatment::prune(how))
                }),
                _ => self.step(format!("r {:.0}%", keep * 100.0), |layer| {
                    let form = if self.form.apply_to(layer) { self.form } else { crate::plan::Factors::Matrix };
                    let rank = (keep * form.full_rank(layer) as f64).round().max(1.0) as usize;
                    Some(Treatment { form, ..Treatment::rank(rank) })
                }),
            })
            .into()
    }

    fn step(&self, words: String, of: impl Fn(&Layer) -> Option<Treatment>) -> Step {
        let free = |l: &Layer| l.eligible() && l.tied_to.is_none();
        Step { words, treatments: self.model.layers.iter().map(|l| of(l).filter(|_| free(l))).collect() }
    }

    /// One layer was measured alone.
    pub(in super::super) fn felt(
        &mut self,
        number: u64,
        (layer, treatment): (LayerId, Treatment),
        result: Result<Measured, String>,
        last: bool,
    ) {
        let dense = self.quality.known.get(&(super::dense_key(), crate::engine::Extent::Small)).cloned();
        let Some(sweeping) = self.quality.sweeping.as_mut().filter(|s| s.number == number) else { return };
        sweeping.running &= !last;
        sweeping.done[0] += 1;
        let measured = match (result, dense) {
            (Ok(measured), Some(dense)) => difference(&measured, &dense),
            (Ok(_), None) => return,
            (Err(why), _) => {
                sweeping.failed = Some(why);
                return;
            }
        };
        let Some(of) = self.model.layer(layer) else { return };
        let outcome = project_layer(of, self.facts.of(layer), treatment, None);
        let error = outcome.relative_error().map_or(f64::NAN, |k| k.value.powi(2));
        let felt = Felt { treatment, error, excess: measured.nats, standard_error: measured.nats_error };
        if error.is_finite() {
            self.facts.feel(layer, felt);
            self.facts_seen += 1;
        }
    }
}
