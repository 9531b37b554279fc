//! Operator norms of the layer as a map, and bounds on them that need no singular values.

use super::{Ask, Fact, Probe, ProbeError, ProbeId};
use crate::known::Known;
use crate::model::{Layer, Matrix};

/// Lipschitz constants of one layer between common norms. For a linear layer these are norms of its matrix; for a
/// convolution those of the operator on whole images, not of the matrix view.
#[derive(Debug, Clone, PartialEq)]
pub struct Lipschitz {
    /// ℓ2 → ℓ2, from above. For a linear layer the exact σ₁ of the spectrum replaces it.
    pub l2_upper: Known,
    /// ℓ2 → ℓ2 from below.
    pub l2_lower: Known,
    /// ℓ∞ → ℓ∞.
    pub linf: Known,
    /// ℓ1 → ℓ1.
    pub l1: Known,
    /// √(in/out) · ℓ2, for the norm ‖x‖_RMS = ‖x‖₂/√d.
    pub rms_upper: Known,
    /// How `l2_upper` was found, in a few words.
    pub method: &'static str,
}

/// Measures [`Lipschitz`].
pub struct LipschitzProbe;

impl Probe for LipschitzProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Lipschitz
    }
    fn title(&self) -> &'static str {
        "norm bounds"
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        40.0 * layer.rows() as f64 * layer.cols() as f64
    }
    fn workspace(&self, layer: &Layer) -> u64 {
        ((layer.rows() + layer.cols()) * 8 * 40) as u64
    }
    fn measure(&self, _layer: &Layer, _matrix: &Matrix, _ask: &Ask) -> Result<Fact, ProbeError> {
        Err(ProbeError::NoConvergence)
    }
}
