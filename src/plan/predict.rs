//! What is believed to say how much a plan loses, from the weights or from activations: one entry of [`PREDICTORS`] each.
//! Whether one does, on this model, is told by comparing it with measured loss over plans that were visited.

use super::{LayerOutcome, Outcome};
use crate::model::{Layer, Model};
pub use crate::numerics::kendall::tau;
use crate::probe::book::{FactBook, LayerFacts};

/// A number that a plan has.
pub struct Predictor {
    /// Its name on screen.
    pub name: &'static str,
    /// What it is, in a line.
    pub words: &'static str,
    /// Its value, larger where more should be lost; `None` while something is missing.
    pub value: fn(&Seen) -> Option<f64>,
}

/// What predictors look at.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The model.
    pub model: &'a Model,
    /// What is known of its layers.
    pub facts: &'a FactBook,
    /// What the plan makes of them.
    pub outcome: &'a Outcome,
}

impl Seen<'_> {
    /// The layers that may be treated, with the share of the model that they are.
    fn layers(&self) -> impl Iterator<Item = (&Layer, &LayerFacts, &LayerOutcome)> {
        let layers = self.model.layers.iter().zip(&self.outcome.layers);
        let free = layers.filter(|(l, _)| l.eligible() && l.tied_to.is_none());
        free.map(|(l, o)| (l, self.facts.of(l.id), o))
    }

    /// Σ of something over the layers that lose parameters, times the share of the model's that they lose.
    fn lost(&self, of: impl Fn(&LayerFacts) -> Option<f64>) -> Option<f64> {
        let whole = self.model.params().max(1) as f64;
        let mut sum = 0.0;
        for (layer, facts, outcome) in self.layers() {
            let lost = (1.0 - outcome.keep()) * layer.params as f64 / whole;
            if lost != 0.0 {
                sum += lost * of(facts)?;
            }
        }
        Some(sum)
    }
}

/// All predictors.
pub static PREDICTORS: &[Predictor] = &[
    Predictor {
        name: "output error",
        words: "√(mean of ‖(W−Ŵ)X‖²/‖WX‖²) on calibration inputs; needs --calibration",
        value: |s| mean(s, |o| o.weighed.map(|w| w.output_error.value)),
    },
    Predictor {
        name: "mean error",
        words: "√(mean of squared relative errors of the layers), weights alone",
        value: |s| mean(s, |o| o.relative_error().map(|k| k.value)),
    },
    Predictor {
        name: "total error",
        words: "√(Σ‖W−Ŵ‖²/Σ‖W‖²), weights alone: large weights count more",
        value: |s| {
            s.outcome.totals.error.map(|k| k.value).filter(|_| s.outcome.totals.measured == s.outcome.totals.eligible)
        },
    },
    Predictor {
        name: "σ_r+1 product",
        words: "Σ log(1 + ‖W−Ŵ‖₂/‖W‖₂): how much the product of norms may change",
        value: |s| {
            let mut sum = 0.0;
            for (_, _, outcome) in s.layers() {
                let (delta, norm) = (outcome.delta_norm?.value, outcome.norm_before?.value);
                sum += if norm > 0.0 { (1.0 + delta / norm).ln() } else { 0.0 };
            }
            Some(sum)
        },
    },
    Predictor {
        name: "stable rank × cut",
        words: "parameters removed, weighted by stable rank (Xu 2026)",
        value: |s| s.lost(|f| f.best_spectrum()?.stable_rank),
    },
    Predictor {
        name: "entropy × cut",
        words: "parameters removed, weighted by the entropy of the spectrum",
        value: |s| s.lost(|f| Some(f.best_spectrum()?.effective_rank?.ln())),
    },
    Predictor {
        name: "PQ × cut",
        words: "parameters removed, weighted by 1 − PQ index: few entries carry a sparse layer",
        value: |s| s.lost(|f| Some(1.0 - f.magnitude.as_ref()?.pq_index)),
    },
    Predictor {
        name: "size",
        words: "parameters removed and nothing else: what every predictor has to beat",
        value: |s| Some(1.0 - s.outcome.totals.keep()),
    },
];

/// √(mean of squares) over the layers.
fn mean(seen: &Seen, of: impl Fn(&LayerOutcome) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for (_, _, outcome) in seen.layers() {
        sum += of(outcome)?.powi(2);
        count += 1;
    }
    (count > 0).then(|| (sum / f64::from(count)).sqrt())
}

/// Whether a correlation is worth anything, in a word.
pub fn verdict(tau: f64) -> &'static str {
    match tau {
        t if t >= 0.8 => "good",
        t if t >= 0.5 => "fair",
        t if t >= 0.2 => "poor",
        _ => "misleads",
    }
}
