//! What is measured of a layer, independent of any knob: one file per probe.

pub mod bins;
pub mod book;
pub mod lipschitz;
pub mod magnitude;
mod marchenko_pastur;
mod nm;
mod power_law;
mod pq;
pub mod spectrum;

use crate::model::{Layer, Matrix};
use std::sync::Arc;

pub use lipschitz::Lipschitz;
pub use magnitude::Magnitude;
pub use spectrum::Spectrum;

/// Names a probe; the order is the order in which a layer's probes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeId {
    /// One pass over the entries.
    Magnitude,
    /// Operator norms and bounds on them that need no singular values.
    Lipschitz,
    /// All singular values.
    Spectrum,
}

/// A measured result. Immutable; shared between threads and the screen.
#[derive(Debug, Clone)]
pub enum Fact {
    /// See [`Magnitude`].
    Magnitude(Arc<Magnitude>),
    /// See [`Lipschitz`].
    Lipschitz(Arc<Lipschitz>),
    /// See [`Spectrum`].
    Spectrum(Arc<Spectrum>),
}

/// Why a layer could not be measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// Somebody no longer wants the answer.
    #[error("stopped")]
    Stopped,
    /// The matrix holds NaN or infinity.
    #[error("{count} of its entries are NaN or infinite: no norm or spectrum is defined")]
    NotFinite {
        /// How many.
        count: u64,
    },
    /// An iteration did not converge.
    #[error("the singular values did not converge")]
    NoConvergence,
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
    /// Floating-point operations, roughly, to order work and tell the time left.
    fn cost(&self, layer: &Layer) -> f64;
    /// Peak extra bytes beside the decoded matrix.
    fn workspace(&self, layer: &Layer) -> u64;
    /// Measures.
    fn measure(&self, layer: &Layer, matrix: &Matrix, ask: &Ask) -> Result<Fact, ProbeError>;
}

/// All probes, in the order in which a layer's are run.
pub static PROBES: &[&dyn Probe] = &[&magnitude::MagnitudeProbe, &lipschitz::LipschitzProbe, &spectrum::SpectrumProbe];
