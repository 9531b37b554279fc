//! Numbers that every layer has: what the map shades and the list sorts by. A new one is one entry of [`METRICS`].

use crate::known::Known;
use crate::model::Layer;
use crate::plan::LayerOutcome;
use crate::probe::book::LayerFacts;
use crate::treat::Treatment;

/// What a metric is computed from.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The layer.
    pub layer: &'a Layer,
    /// What was measured of it.
    pub facts: &'a LayerFacts,
    /// What the plan makes of it.
    pub outcome: &'a LayerOutcome,
    /// Whether errors are of outputs.
    pub activations: bool,
}

/// How a metric's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Three significant digits.
    Number,
    /// Two decimals.
    Ratio,
    /// Percent.
    Percent,
    /// A whole number in short.
    Count,
}

/// A number that every layer has.
pub struct Metric {
    /// Its name on screen.
    pub name: &'static str,
    /// What it is, in a few words.
    pub words: &'static str,
    /// How it is written.
    pub form: Form,
    /// Whether shades follow its logarithm.
    pub log: bool,
    /// Its value; `None` while it is not known or where it is undefined.
    pub value: fn(Source) -> Option<Known>,
}

fn spectral(s: Source, f: fn(&crate::probe::Spectrum) -> Option<f64>) -> Option<Known> {
    s.facts.best_spectrum().and_then(|x| Some(x.known(f(x)?)))
}

/// Index of the metric that a map opens on while nothing is treated: errors are all 0 then.
pub const UNTREATED: usize = 5;

/// All metrics; the first is the one that the list's last column shows.
pub static METRICS: &[Metric] = &[
    Metric {
        name: "error",
        words: "relative error of the plan: of weights, or with w of outputs",
        form: Form::Ratio,
        log: false,
        value: |s| s.outcome.error(s.activations),
    },
    Metric {
        name: "output error",
        words: "‖(W−Ŵ)X‖/‖WX‖ of each layer on calibration inputs",
        form: Form::Ratio,
        log: false,
        value: |s| s.outcome.weighed.map(|w| w.output_error),
    },
    Metric {
        name: "expected loss",
        words: "nats a token that the plan is expected to cost, by gradients of the calibration; after a run",
        form: Form::Ratio,
        log: true,
        value: |s| s.outcome.weighed.and_then(|w| w.excess),
    },
    Metric {
        name: "sensitivity",
        words: "measured loss of each layer alone, at the setting nearest to half; W measures it",
        form: Form::Ratio,
        log: true,
        value: |s| {
            let half = |t: Treatment| match (t.rank, t.prune) {
                (Some(rank), _) => (rank as f64 / s.layer.full_rank().max(1) as f64 - 0.5).abs(),
                (None, how) => how.map_or(1.0, |p| (p.remove - 0.5).abs()),
            };
            let points = s.facts.sensitivity.as_ref()?.points().iter();
            let felt = points.min_by(|a, b| half(a.treatment).total_cmp(&half(b.treatment)))?;
            Some(Known::estimate(felt.excess.max(0.0)))
        },
    },
    Metric {
        name: "keep",
        words: "parameters kept under the plan",
        form: Form::Percent,
        log: false,
        value: |s| Some(Known::exact(s.outcome.keep())),
    },
    Metric {
        name: "stable rank",
        words: "‖W‖_F²/σ₁²: few directions carry the energy when small",
        form: Form::Number,
        log: true,
        value: |s| spectral(s, |x| x.stable_rank),
    },
    Metric {
        name: "effective rank",
        words: "exp of the entropy of σ/Σσ",
        form: Form::Number,
        log: true,
        value: |s| spectral(s, |x| x.effective_rank),
    },
    Metric {
        name: "rank 95%",
        words: "share of the rank that holds 95 % of the energy",
        form: Form::Percent,
        log: false,
        value: |s| spectral(s, |x| Some(x.rank_for_energy[1] as f64 / x.sigma.len().max(1) as f64)),
    },
    Metric {
        name: "α",
        words: "tail exponent of the eigenvalue density (heavier tail when small)",
        form: Form::Number,
        log: false,
        value: |s| {
            let fit = s.facts.spectrum.as_ref()?.power_law.as_ref()?;
            Some(Known::estimate(fit.alpha))
        },
    },
    Metric {
        name: "MP spikes",
        words: "singular values above the Marchenko–Pastur noise edge",
        form: Form::Count,
        log: true,
        value: |s| {
            let fit = s.facts.best_spectrum()?.marchenko_pastur.as_ref()?;
            Some(Known::estimate(fit.spikes as f64))
        },
    },
    Metric {
        name: "zeros",
        words: "share of the entries that are exactly zero",
        form: Form::Percent,
        log: false,
        value: |s| s.facts.magnitude.as_ref().map(|m| Known::exact(m.zeros as f64 / m.entries.max(1) as f64)),
    },
    Metric {
        name: "PQ index",
        words: "sparsity of the entries, 0 when all are equal, near 1 when few matter",
        form: Form::Ratio,
        log: false,
        value: |s| s.facts.magnitude.as_ref().map(|m| Known::exact(m.pq_index)),
    },
    Metric {
        name: "σ₁",
        words: "largest singular value of the matrix view",
        form: Form::Number,
        log: true,
        value: |s| s.outcome.norm_before,
    },
    Metric {
        name: "condition",
        words: "σ₁ over the smallest singular value",
        form: Form::Number,
        log: true,
        value: |s| s.facts.spectrum.as_ref().and_then(|x| x.condition),
    },
    Metric {
        name: "parameters",
        words: "parameters of each layer",
        form: Form::Count,
        log: true,
        value: |s| Some(Known::exact(s.layer.params as f64)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opening_metric_is_one_of_the_weights_alone() {
        assert_eq!(METRICS[UNTREATED].name, "stable rank");
        assert_eq!(METRICS[0].name, "error");
    }
}
