//! What is measured of a layer, independent of any knob: one file per probe.

pub mod activations;
pub mod bins;
pub mod book;
mod certificate;
pub mod groups;
pub mod importance;
pub mod lipschitz;
pub mod magnitude;
mod marchenko_pastur;
mod patterns;
mod power_law;
mod pq;
pub mod rounding;
mod row_curve;
pub mod sensitivity;
pub mod sketch;
pub mod spatial;
pub mod spectrum;
mod steps;
mod stripes;
pub mod structure;
pub mod weighted;

use crate::known::Known;
use crate::model::inputs::InputsError;
use crate::model::{Layer, Stored, Unfit};
use std::sync::Arc;

pub use activations::Activations;
pub use importance::Importance;
pub use lipschitz::Lipschitz;
pub use magnitude::Magnitude;
pub use rounding::Rounding;
pub use row_curve::RowCurve;
pub use sensitivity::{Felt, Sensitivity};
pub use sketch::Sketch;
pub use spectrum::Spectrum;
pub use structure::Structure;

/// Names a probe; the order is the order in which a layer's probes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeId {
    /// One pass over the entries.
    Magnitude,
    /// Another: what goes when entries are removed in patterns.
    Structure,
    /// What rounding entries to a few bits costs.
    Rounding,
    /// What pruning by relative importance costs.
    Importance,
    /// How weights times inputs are distributed.
    Activations,
    /// Operator norms and bounds on them that need no singular values.
    Lipschitz,
    /// σ₁ from below and the density of the spectrum.
    Sketch,
    /// All singular values.
    Spectrum,
    /// Those of a convolution read spatial-wise.
    Spatial,
    /// The matrix weighted by its inputs.
    Weighted,
    /// A proven upper bound on σ₁.
    Certificate,
}

/// A measured result. Immutable; shared between threads and the screen.
#[derive(Debug, Clone)]
pub enum Fact {
    /// See [`Magnitude`].
    Magnitude(Arc<Magnitude>),
    /// See [`Structure`].
    Structure(Arc<Structure>),
    /// See [`Rounding`].
    Rounding(Arc<Rounding>),
    /// See [`Importance`].
    Importance(Arc<Importance>),
    /// See [`Activations`].
    Activations(Arc<Activations>),
    /// See [`Lipschitz`].
    Lipschitz(Arc<Lipschitz>),
    /// See [`Sketch`].
    Sketch(Arc<Sketch>),
    /// See [`Spectrum`].
    Spectrum(Arc<Spectrum>),
    /// Of a convolution read spatial-wise; see [`spatial`].
    Spatial(Arc<Spectrum>),
    /// Of the matrix weighted by its inputs; see [`weighted`].
    Weighted(Arc<book::LayerFacts>),
    /// What choices lose of the outputs, and of the weights; see [`weighted`].
    Losses(Arc<weighted::Losses>),
    /// A proven upper bound on σ₁ of the matrix view.
    Certificate(Known),
    /// An entry that leaves every other fact undefined.
    Unfit(Unfit),
}

/// Why a layer could not be measured.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProbeError {
    /// Somebody no longer wants the answer.
    #[error("stopped")]
    Stopped,
    /// An entry is NaN, infinite, or beyond the range of `f32`.
    #[error("{0}")]
    Unfit(#[from] Unfit),
    /// A computed value is NaN or infinite.
    #[error("NaN or infinity among its values: no norm or spectrum is defined")]
    NotFinite,
    /// An iteration did not converge.
    #[error("the singular values did not converge")]
    NoConvergence,
    /// What a calibration pass saw is missing, or could not be read.
    #[error("{0}")]
    Inputs(String),
}

impl From<InputsError> for ProbeError {
    fn from(error: InputsError) -> Self {
        Self::Inputs(error.to_string())
    }
}

/// What a probe is given besides the matrix.
pub struct Ask<'a> {
    /// Asked between pieces of work of at most about 50 ms; `false` means stop.
    pub keep_going: &'a (dyn Fn() -> bool + Sync),
    /// Threads the job may use within itself.
    pub threads: usize,
}

/// One way to measure a layer.
pub trait Probe: Sync {
    /// Its name.
    fn id(&self) -> ProbeId;
    /// The word used on screen for the work.
    fn title(&self) -> &'static str;
    /// Whether it applies to this layer.
    fn applies(&self, layer: &Layer) -> bool;
    /// Nanoseconds on one core, roughly, to order and divide work and tell the time left.
    fn cost(&self, layer: &Layer) -> f64;
    /// What distinguishes its answers from others about the same entries: the name under which they are kept; `None` where
    /// they are not to be kept.
    fn question(&self, _layer: &Layer) -> Option<String> {
        Some(self.title().to_owned())
    }
    /// Whether it runs only when somebody asks for it.
    fn on_request(&self) -> bool {
        false
    }
    /// Whether it needs the matrix decoded to `f32`.
    fn decodes(&self, _layer: &Layer) -> bool {
        true
    }
    /// Peak bytes on so many threads, beside the decoded matrix where there is one.
    fn workspace(&self, layer: &Layer, threads: usize) -> u64;
    /// Measures; mostly one fact, but one pass may tell several.
    fn measure(&self, layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError>;
}

/// The question of a probe that goes by a layer's inputs: other inputs, another answer; those that cannot be read are asked
/// anew.
fn of_inputs(title: &str, layer: &Layer) -> Option<String> {
    let digest = layer.inputs.as_ref()?.digest().ok()?;
    Some(format!("{title} {}", blake3::Hash::from_bytes(digest).to_hex()))
}

/// All probes, in the order in which a layer's are run.
pub static PROBES: &[&dyn Probe] = &[
    &magnitude::MagnitudeProbe,
    &structure::StructureProbe,
    &rounding::RoundingProbe,
    &importance::ImportanceProbe,
    &activations::ActivationsProbe,
    &lipschitz::LipschitzProbe,
    &sketch::SketchProbe,
    &spectrum::SpectrumProbe { double: false },
    &spatial::SpatialProbe,
    &weighted::WeightedProbe,
    &certificate::CertificateProbe,
];

/// The probes for those who ask for singular values in `f64` throughout.
pub fn in_double() -> Vec<&'static dyn Probe> {
    let double: &'static dyn Probe = &spectrum::SpectrumProbe { double: true };
    PROBES.iter().map(|&p| if p.id() == ProbeId::Spectrum { double } else { p }).collect()
}
