//! What is known so far, layer by layer.

use super::weighted::Losses;
use super::{
    Activations, Fact, Felt, Importance, Lipschitz, Magnitude, ProbeId, Rounding, Sensitivity, Sketch, Spectrum,
    Structure,
};
use crate::known::Known;
use crate::model::{LayerId, Unfit};
use crate::treat::Factors;
use std::sync::Arc;

/// The facts of one layer, and why any is missing for good.
#[derive(Debug, Clone, Default)]
pub struct LayerFacts {
    /// One pass over the entries.
    pub magnitude: Option<Arc<Magnitude>>,
    /// What goes when entries are removed in patterns.
    pub structure: Option<Arc<Structure>>,
    /// What rounding entries to a few bits costs.
    pub rounding: Option<Arc<Rounding>>,
    /// What pruning by relative importance costs.
    pub importance: Option<Arc<Importance>>,
    /// How weights times inputs are distributed.
    pub activations: Option<Arc<Activations>>,
    /// Operator norms.
    pub lipschitz: Option<Arc<Lipschitz>>,
    /// A first look at the spectrum.
    pub sketch: Option<Arc<Sketch>>,
    /// Singular values.
    pub spectrum: Option<Arc<Spectrum>>,
    /// Singular values of a convolution read spatial-wise.
    pub spatial: Option<Arc<Spectrum>>,
    /// A proven upper bound on σ₁ of the matrix view.
    pub certificate: Option<Known>,
    /// Magnitudes, patterns and singular values of the matrix weighted by its inputs.
    pub weighted: Option<Arc<LayerFacts>>,
    /// Of the weighted matrix: what choices lose of the outputs, and of the weights.
    pub losses: Option<Arc<Losses>>,
    /// What treating it alone does to the measured loss.
    pub sensitivity: Option<Arc<Sensitivity>>,
    /// Why a probe failed; the first failure is kept.
    pub failure: Option<String>,
    /// An entry that is NaN, infinite or beyond `f32`: then no other fact is kept, and `failure` says so.
    pub unfit: Option<Unfit>,
}

impl LayerFacts {
    /// Row and column of the first entry that is NaN, infinite, or beyond the range of `f32`; no figure of such a layer
    /// is defined.
    pub fn not_finite(&self) -> Option<(usize, usize)> {
        self.unfit.map(|u| (u.row, u.col))
    }

    /// Whether this probe has answered, or never will.
    pub fn has(&self, probe: ProbeId) -> bool {
        if self.unfit.is_some() {
            return true;
        }
        match probe {
            ProbeId::Magnitude => self.magnitude.is_some(),
            ProbeId::Structure => self.structure.is_some(),
            ProbeId::Rounding => self.rounding.is_some(),
            ProbeId::Importance => self.importance.is_some(),
            ProbeId::Activations => self.activations.is_some(),
            ProbeId::Lipschitz => self.lipschitz.is_some(),
            ProbeId::Sketch => self.sketch.is_some(),
            ProbeId::Spectrum => self.spectrum.is_some(),
            ProbeId::Spatial => self.spatial.is_some(),
            ProbeId::Weighted => self.weighted.is_some(),
            ProbeId::Certificate => self.certificate.is_some(),
        }
    }

    /// The facts of a layer that is known by these.
    pub fn of(facts: Vec<Fact>) -> Self {
        let mut out = Self::default();
        facts.into_iter().for_each(|f| out.merge(f));
        out
    }

    /// The same of the matrix weighted by its inputs; nothing until that is measured.
    pub fn weighted(&self) -> &Self {
        self.weighted.as_deref().unwrap_or(&NOTHING)
    }

    fn merge(&mut self, fact: Fact) {
        if self.unfit.is_some() {
            return;
        }
        match fact {
            Fact::Magnitude(f) => drop(self.magnitude.get_or_insert(f)),
            Fact::Structure(f) => drop(self.structure.get_or_insert(f)),
            Fact::Rounding(f) => drop(self.rounding.get_or_insert(f)),
            Fact::Importance(f) => drop(self.importance.get_or_insert(f)),
            Fact::Activations(f) => drop(self.activations.get_or_insert(f)),
            Fact::Lipschitz(f) => drop(self.lipschitz.get_or_insert(f)),
            Fact::Sketch(f) => drop(self.sketch.get_or_insert(f)),
            Fact::Spectrum(f) => drop(self.spectrum.get_or_insert(f)),
            Fact::Spatial(f) => drop(self.spatial.get_or_insert(f)),
            Fact::Weighted(f) => drop(self.weighted.get_or_insert(f)),
            Fact::Losses(f) => drop(self.losses.get_or_insert(f)),
            Fact::Certificate(f) => {
                self.certificate.get_or_insert(f);
            }
            Fact::Unfit(unfit) => {
                *self = Self { unfit: Some(unfit), failure: Some(unfit.to_string()), ..Self::default() }
            }
        }
    }

    /// The exact spectrum of the matrix whose rank two factors of this form keep.
    pub fn spectrum_of(&self, form: Factors) -> Option<&Spectrum> {
        match form {
            // What inputs are weighed with changes which rank-r matrix is best, not which matrix it is of.
            Factors::Matrix | Factors::Whitened | Factors::Asvd => self.spectrum.as_deref(),
            Factors::Spatial => self.spatial.as_deref(),
        }
    }

    /// The same as well as it is known; a sketch there is of the matrix view alone.
    pub fn best_spectrum_of(&self, form: Factors) -> Option<&Spectrum> {
        if form == Factors::Spatial { self.spectrum_of(form) } else { self.best_spectrum() }
    }

    /// The spectrum as well as it is known: exact, or sketched.
    pub fn best_spectrum(&self) -> Option<&Spectrum> {
        self.spectrum.as_deref().or(self.sketch.as_deref().map(|s| &s.spectrum))
    }

    /// σ₁ of the matrix view as well as it is known from below.
    pub fn norm_below(&self) -> Option<Known> {
        let exact = self.spectrum.as_deref().map(|s| Known::exact(s.norm()));
        exact.or(self.sketch.as_deref().map(|s| s.norm))
    }
}

/// Of a layer of which nothing is known.
static NOTHING: LayerFacts = LayerFacts {
    magnitude: None,
    structure: None,
    rounding: None,
    importance: None,
    activations: None,
    lipschitz: None,
    sketch: None,
    spectrum: None,
    spatial: None,
    certificate: None,
    weighted: None,
    losses: None,
    sensitivity: None,
    failure: None,
    unfit: None,
};

/// Facts of all layers of a model. Facts are immutable, so merging reports in any order gives the same book. A copy of the
/// book shares the layers' facts: questions to other threads take one along.
#[derive(Debug, Clone, Default)]
pub struct FactBook {
    layers: Vec<Arc<LayerFacts>>,
    /// Layers of which a probe failed.
    failed: Vec<LayerId>,
}

impl FactBook {
    /// An empty book for a model of so many layers.
    pub fn new(layers: usize) -> Self {
        Self { layers: vec![Arc::default(); layers], failed: Vec::new() }
    }
    /// What is known of a layer.
    pub fn of(&self, layer: LayerId) -> &LayerFacts {
        self.layers.get(layer.0).map_or(&NOTHING, Arc::as_ref)
    }
    /// Adds a fact; the first of its kind stays, since all are exact repetitions of one another.
    pub fn merge(&mut self, layer: LayerId, fact: Fact) {
        if let Some(facts) = self.facts(layer) {
            facts.merge(fact);
        }
    }
    /// Adds a measurement of a layer's sensitivity.
    pub fn feel(&mut self, layer: LayerId, felt: Felt) {
        if let Some(facts) = self.facts(layer) {
            Arc::make_mut(facts.sensitivity.get_or_insert_default()).feel(felt);
        }
    }
    /// Marks a layer as failed.
    pub fn fail(&mut self, layer: LayerId, why: String) {
        let Some(facts) = self.facts(layer).filter(|f| f.failure.is_none()) else { return };
        facts.failure = Some(why);
        self.failed.push(layer);
    }
    /// The layers of which a probe failed, in the order in which they did.
    pub fn failures(&self) -> &[LayerId] {
        &self.failed
    }

    fn facts(&mut self, layer: LayerId) -> Option<&mut LayerFacts> {
        self.layers.get_mut(layer.0).map(Arc::make_mut)
    }
}
