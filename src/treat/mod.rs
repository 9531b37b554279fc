//! What can be done to a layer: the treated matrix Ŵ, and what an exact run tells about it.

pub mod low_rank;
pub mod pattern;
pub mod preview;
pub mod prune;
pub mod refine;

use crate::model::{Layer, Matrix};
use crate::numerics::KeepGoing;
use crate::probe::ProbeError;

pub use pattern::{Pattern, Prune};
pub use preview::Preview;
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
            prune::prune(&mut out, layer, how, keep_going)?;
        }
        return Ok(out);
    };
    let mut base = low_rank::low_rank(matrix, rank, keep_going)?;
    if let Some(how) = treatment.prune {
        let mut rest = matrix.clone();
        rest.data.iter_mut().zip(&base.data).for_each(|(w, b)| *w -= b);
        prune::prune(&mut rest, layer, how, keep_going)?;
        base.data.iter_mut().zip(&rest.data).for_each(|(b, w)| *b += w);
    }
    Ok(base)
}

/// What the plan does to one layer. Both fields `None`: the layer stays dense.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Treatment {
    /// Rank kept; the layer is stored as two factors.
    pub rank: Option<usize>,
    /// What is removed; with a rank, of the residual W − `W_r`.
    pub prune: Option<Prune>,
}

impl Treatment {
    /// Whether nothing is done.
    pub fn is_dense(&self) -> bool {
        self.rank.is_none() && self.prune.is_none()
    }
    /// Single entries that go from a matrix of `entries`: `round(ratio · entries)`.
    pub fn removed(ratio: f64, entries: u64) -> u64 {
        ((ratio * entries as f64).round().max(0.0) as u64).min(entries)
    }
}
