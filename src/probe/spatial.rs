//! Singular values of a convolution read spatial-wise, (inputs · kh) × (outputs · kw): what a kh×1 convolution followed by
//! a 1×kw one can keep.

use super::{Ask, Fact, Probe, ProbeError, ProbeId, Spectrum};
use crate::model::spatial::spatial;
use crate::model::{Layer, Stored};
use crate::numerics::svd::{self, singular_values};
use crate::treat::Factors;
use std::sync::Arc;

/// Measures them.
pub struct SpatialProbe;

impl Probe for SpatialProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Spatial
    }
    fn title(&self) -> &'static str {
        "spatial spectra"
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable() && layer.eligible() && Factors::Spatial.apply_to(layer)
    }
    fn cost(&self, layer: &Layer) -> f64 {
        let [m, n] = Factors::Spatial.shape(layer).map(|e| e as f64);
        0.04 * m.min(n).powi(2) * m.max(n)
    }
    fn workspace(&self, layer: &Layer, threads: usize) -> u64 {
        let [m, n] = Factors::Spatial.shape(layer);
        (m * n * 4) as u64 + svd::workspace(m, n, threads)
    }
    fn measure(&self, layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        entries.fit()?;
        let matrix = spatial(layer, entries.matrix());
        let sigma = singular_values(matrix.view(), ask.keep_going, ask.threads)?;
        Ok(vec![Fact::Spatial(Arc::new(found(layer, sigma)))])
    }
}

/// The spectrum of such values.
pub fn found(layer: &Layer, sigma: Vec<f64>) -> Spectrum {
    let [m, n] = Factors::Spatial.shape(layer);
    Spectrum::from_sigma(sigma, m, n, layer.dtype.epsilon(), svd::accuracy(m, n))
}
