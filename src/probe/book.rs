//! What is known so far, layer by layer.

use super::{Fact, Lipschitz, Magnitude, ProbeId, Spectrum};
use crate::model::LayerId;
use std::sync::Arc;

/// The facts of one layer, and why any is missing for good.
#[derive(Debug, Clone, Default)]
pub struct LayerFacts {
    /// One pass over the entries.
    pub magnitude: Option<Arc<Magnitude>>,
    /// Operator norms.
    pub lipschitz: Option<Arc<Lipschitz>>,
    /// Singular values.
    pub spectrum: Option<Arc<Spectrum>>,
    /// Why a probe failed; the first failure is kept.
    pub failure: Option<String>,
}

impl LayerFacts {
    /// Whether this probe has answered.
    pub fn has(&self, probe: ProbeId) -> bool {
        match probe {
            ProbeId::Magnitude => self.magnitude.is_some(),
            ProbeId::Lipschitz => self.lipschitz.is_some(),
            ProbeId::Spectrum => self.spectrum.is_some(),
        }
    }
}

/// Facts of all layers of a model. Facts are immutable, so merging reports in any order gives the same book.
#[derive(Debug, Clone, Default)]
pub struct FactBook {
    layers: Vec<LayerFacts>,
}

impl FactBook {
    /// An empty book for a model of so many layers.
    pub fn new(layers: usize) -> Self {
        Self { layers: vec![LayerFacts::default(); layers] }
    }
    /// What is known of a layer.
    pub fn of(&self, layer: LayerId) -> &LayerFacts {
        static NOTHING: LayerFacts = LayerFacts { magnitude: None, lipschitz: None, spectrum: None, failure: None };
        self.layers.get(layer.0).unwrap_or(&NOTHING)
    }
    /// Adds a fact; the first of its kind stays, since all are exact repetitions of one another.
    pub fn merge(&mut self, layer: LayerId, fact: Fact) {
        let Some(facts) = self.layers.get_mut(layer.0) else { return };
        match fact {
            Fact::Magnitude(f) => drop(facts.magnitude.get_or_insert(f)),
            Fact::Lipschitz(f) => drop(facts.lipschitz.get_or_insert(f)),
            Fact::Spectrum(f) => drop(facts.spectrum.get_or_insert(f)),
        }
    }
    /// Marks a layer as failed.
    pub fn fail(&mut self, layer: LayerId, why: String) {
        if let Some(facts) = self.layers.get_mut(layer.0) {
            facts.failure.get_or_insert(why);
        }
    }
}
