//! What can be done to a layer: the treated matrix Ŵ, and what an exact run tells about it.

pub mod criterion;
pub mod directions;
pub mod error;
pub mod low_rank;
pub mod parts;
pub mod pattern;
pub mod preview;
pub mod prune;
pub mod quantise;
pub mod refine;
pub mod size;

use crate::model::{Layer, Matrix};
use crate::numerics::KeepGoing;
use crate::probe::ProbeError;

pub use criterion::Criterion;
pub use parts::{Parts, parts};
pub use pattern::{Pattern, Prune};
pub use preview::Preview;
pub use quantise::{Granularity, Quantise};
pub use refine::{Refined, refine};

/// The matrix as a treatment leaves it: Ŵ, factors multiplied out.
pub fn treated(
    layer: &Layer,
    matrix: &Matrix,
    treatment: Treatment,
    keep_going: KeepGoing<'_>,
) -> Result<Matrix, ProbeError> {
    let Some(rank) = treatment.rank else {
        let mut out = matrix.clone();
        if let Some(how) = treatment.prune {
            prune::remove(&mut out, layer, how, keep_going)?;
        }
        if let Some(how) = treatment.quantise {
            quantise::quantise(&mut out, how, keep_going)?;
        }
        return Ok(out);
    };
    let mut base = low_rank::of_form(layer, matrix, treatment.form, rank, treatment.quantise, keep_going)?;
    if let Some(how) = treatment.prune {
        let mut rest = matrix.clone();
        rest.data.iter_mut().zip(&base.data).for_each(|(w, b)| *w -= b);
        prune::remove(&mut rest, layer, how, keep_going)?;
        if let Some(how) = treatment.quantise {
            quantise::quantise(&mut rest, how, keep_going)?;
        }
        base.data.iter_mut().zip(&rest.data).for_each(|(b, w)| *b += w);
    }
    Ok(base)
}

/// What the plan does to one layer. All fields `None`: the layer stays dense.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Treatment {
    /// Rank kept; the layer is stored as two factors.
    pub rank: Option<usize>,
    /// What is removed; with a rank, of the residual W − `W_r`.
    pub prune: Option<Prune>,
    /// As what two factors multiply out.
    pub form: Factors,
    /// What the entries that are stored are rounded to.
    pub quantise: Option<Quantise>,
}

/// Of which matrix a rank is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub enum Factors {
    /// Outputs × inputs (of a convolution, channel-wise: r filters, then a 1×1 convolution).
    #[default]
    Matrix,
    /// Of a convolution, spatial-wise: (inputs · kh) × (outputs · kw), a kh×1 convolution and a 1×kw one.
    Spatial,
    /// Outputs × inputs, least error in what it makes of the inputs: ‖(W − Ŵ)X‖ (SVD-LLM).
    Whitened,
    /// Outputs × inputs, columns scaled by the root of their mean |x| (ASVD).
    Asvd,
}

impl Treatment {
    /// A rank and nothing else.
    pub fn rank(rank: usize) -> Self {
        Self { rank: Some(rank), ..Self::default() }
    }
    /// Pruning and nothing else.
    pub fn prune(how: Prune) -> Self {
        Self { prune: Some(how), ..Self::default() }
    }
    /// Low rank plus sparse.
    pub fn both(rank: usize, how: Prune) -> Self {
        Self { rank: Some(rank), prune: Some(how), ..Self::default() }
    }
    /// Whether nothing is done.
    pub fn is_dense(&self) -> bool {
        self.rank.is_none() && self.prune.is_none() && self.quantise.is_none()
    }
    /// How entries are pruned, where nothing else is done.
    pub fn pruned_alone(&self) -> Option<Prune> {
        self.prune.filter(|_| self.rank.is_none() && self.quantise.is_none())
    }
    /// Whether what is done goes by activations.
    pub fn weighs(&self) -> bool {
        (self.rank.is_some() && self.form.weighs()) || self.prune.is_some_and(|p| p.criterion.weighs())
    }
    /// Whether entries are rounded and nothing else is done.
    pub fn is_rounded_alone(&self) -> bool {
        self.quantise.is_some() && self.rank.is_none() && self.prune.is_none()
    }
    /// Single entries that go from a matrix of `entries`: `round(ratio · entries)`.
    pub fn removed(ratio: f64, entries: u64) -> u64 {
        ((ratio * entries as f64).round().max(0.0) as u64).min(entries)
    }
}
