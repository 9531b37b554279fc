//! The exact consequences of a treatment: what a projection can only estimate.

use super::error::{self, Weighed, weigh};
use super::low_rank::{low_rank, of_form};
use super::prune::{Pruned, prune};
use super::{Factors, Prune, Treatment};
use crate::known::Known;
use crate::model::{Layer, Matrix};
use crate::numerics::svd::{self, singular_values};
use crate::numerics::{KeepGoing, conv, density, norms};
use crate::probe::{Ask, ProbeError, Spectrum, lipschitz};

/// What really treating the matrix shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Refined {
    /// The treatment that was run.
    pub treatment: Treatment,
    /// ‖W − Ŵ‖_F².
    pub error_energy: f64,
    /// Stored parameters: r(m+n), nonzeros (all entries of the rows, columns or tiles that stay), or their sum.
    pub params: u64,
    /// Singular values of Ŵ, descending.
    pub sigma: Vec<f64>,
    /// ‖W − Ŵ‖₂.
    pub delta_norm: Known,
    /// Largest magnitude removed by pruning.
    pub threshold: f32,
    /// Share of nonzeros in each row of the sparse part.
    pub row_density: Vec<f32>,
    /// Share of nonzeros in each column of the sparse part.
    pub col_density: Vec<f32>,
    /// What it does to the layer's outputs, where a calibration pass saw its inputs.
    pub weighed: Option<Weighed>,
    /// Largest row sum and column sum of |Ŵ|: the ℓ∞ and ℓ1 norms of the layer as a map.
    pub linf_l1: Option<(f64, f64)>,
    /// Upper bounds on the ℓ2 norm of a treated convolution and of its change, on images of any size.
    pub convolution: Option<ConvolutionNorms>,
}

/// Upper bounds on ℓ2 norms of convolutions on images of any size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvolutionNorms {
    /// Of the treated layer.
    pub after: f64,
    /// Of the difference to the layer before.
    pub change: f64,
}

impl ConvolutionNorms {
    fn of(layer: &Layer, treated: &Matrix, delta: &Matrix, ask: &Ask) -> Result<Option<Self>, ProbeError> {
        if !layer.kind.is_conv() {
            return Ok(None);
        }
        let after = lipschitz::upper(layer, treated, ask.keep_going)?.0;
        // Rounding the difference to f32 changes a kernel by E, ‖E‖ ≤ √(kh·kw)·‖E‖_F ≤ √(kh·kw)·u·‖Δ‖_F.
        let taps = layer.shape.iter().skip(2).product::<usize>().max(1) as f64;
        let rounding = (taps * norms::frobenius_squared(delta.view())).sqrt() * f64::from(f32::EPSILON);
        let change = lipschitz::upper(layer, delta, ask.keep_going)?.0 + rounding;
        Ok(Some(Self { after, change }))
    }
}

/// Peak bytes of [`refine`], the decoded matrix included.
pub fn workspace(layer: &Layer, treatment: Treatment) -> u64 {
    let entries = layer.rows() as u64 * layer.cols() as u64;
    let spectrum = svd::workspace(layer.rows(), layer.cols(), 1);
    // All pairs of inputs: a root of the Gram matrix, its inverse or what a row's refit needs.
    let pairs = layer.cols() as u64 * layer.cols() as u64;
    let weighs = if treatment.weighs() { pairs * 8 * 4 } else { 0 };
    weighs
        + error::workspace(layer)
        + match (treatment.rank, treatment.prune.is_some() || treatment.quantise.is_some()) {
            // The best approximation goes through a decomposition with vectors in `f64`.
            (Some(_), _) => entries * 4 * 2 + entries * 8 * 4,
            (None, true) => entries * 4 * 2 + spectrum.max(entries * 4),
            (None, false) => entries * 4,
        }
}

/// What treating the matrix costs, without the spectrum of the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ran {
    /// The treatment that was run.
    pub treatment: Treatment,
    /// ‖W − Ŵ‖_F².
    pub error_energy: f64,
    /// What it does to the layer's outputs, where a calibration pass saw its inputs.
    pub weighed: Option<Weighed>,
}

/// Treats the matrix and weighs the difference.
pub fn run(layer: &Layer, matrix: &Matrix, treatment: Treatment, keep_going: KeepGoing<'_>) -> Result<Ran, ProbeError> {
    let delta = difference(matrix, &super::treated(layer, matrix, treatment, keep_going)?);
    let weighed = weigh(layer, matrix, &delta, keep_going)?;
    Ok(Ran { treatment, error_energy: norms::frobenius_squared(delta.view()), weighed })
}

/// Treats the matrix and measures the result. `dense` is the spectrum of the untreated matrix where already known.
pub fn refine(
    layer: &Layer,
    matrix: &Matrix,
    treatment: Treatment,
    dense: Option<&Spectrum>,
    ask: &Ask,
) -> Result<Refined, ProbeError> {
    match (treatment.rank, treatment.prune) {
        (Some(rank), None) if treatment.quantise.is_none() && treatment.form == Factors::Matrix => {
            truncate(layer, matrix, rank, treatment, dense, ask)
        }
        // Of a rounded or spatial-wise rank alone nothing of the residual stays.
        (rank, how) => {
            let nothing = if rank.is_some() { 1.0 } else { 0.0 };
            sparsify(layer, matrix, rank, how.unwrap_or(Prune::unstructured(nothing)), treatment, ask)
        }
    }
}

/// Rank alone: everything follows from the dense spectrum.
fn truncate(
    layer: &Layer,
    matrix: &Matrix,
    rank: usize,
    treatment: Treatment,
    dense: Option<&Spectrum>,
    ask: &Ask,
) -> Result<Refined, ProbeError> {
    let computed;
    let dense = if let Some(dense) = dense {
        dense
    } else {
        let sigma = singular_values(matrix.view(), ask.keep_going, ask.threads)?;
        let (rows, cols) = (layer.rows(), layer.cols());
        computed = Spectrum::from_sigma(sigma, rows, cols, layer.dtype.epsilon(), svd::accuracy(rows, cols));
        &computed
    };
    let treated = low_rank(matrix, rank, None, ask.keep_going)?;
    let (mut weighed, mut convolution) = (None, None);
    if layer.inputs.is_some() || layer.kind.is_conv() {
        let delta = difference(matrix, &treated);
        weighed = weigh(layer, matrix, &delta, ask.keep_going)?;
        convolution = ConvolutionNorms::of(layer, &treated, &delta, ask)?;
    }
    let mut sigma = dense.sigma.clone();
    sigma.iter_mut().skip(rank).for_each(|s| *s = 0.0);
    Ok(Refined {
        treatment,
        error_energy: dense.tail_energy(rank),
        params: rank as u64 * (layer.rows() + layer.cols()) as u64,
        sigma,
        delta_norm: Known::exact(dense.cut(rank)),
        threshold: 0.0,
        row_density: Vec::new(),
        col_density: Vec::new(),
        weighed,
        linf_l1: Some(sums(layer, &treated)),
        convolution,
    })
}

/// Pruning, alone or of what a low rank leaves.
fn sparsify(
    layer: &Layer,
    matrix: &Matrix,
    rank: Option<usize>,
    how: Prune,
    treatment: Treatment,
    ask: &Ask,
) -> Result<Refined, ProbeError> {
    let low = |r| of_form(layer, matrix, treatment.form, r, treatment.quantise, ask.keep_going);
    let base = rank.map(low).transpose()?;
    let mut sparse = matrix.clone();
    if let Some(base) = &base {
        sparse.data.iter_mut().zip(&base.data).for_each(|(w, b)| *w -= b);
    }
    let Pruned { threshold, stored, rows, cols, .. } = prune(&mut sparse, layer, how, ask.keep_going)?;
    if let Some(how) = treatment.quantise {
        super::quantise::quantise(&mut sparse, how, ask.keep_going)?;
    }
    let mut treated = sparse;
    if let Some(base) = &base {
        treated.data.iter_mut().zip(&base.data).for_each(|(w, b)| *w += b);
    }
    let delta = difference(matrix, &treated);
    let weighed = weigh(layer, matrix, &delta, ask.keep_going)?;
    let error_energy = norms::frobenius_squared(delta.view());
    let delta_norm = Known::lower(density::norm(&delta.data, delta.rows, delta.cols, ask.keep_going)?);
    let convolution = ConvolutionNorms::of(layer, &treated, &delta, ask)?;
    drop(delta);
    let sigma = singular_values(treated.view(), ask.keep_going, ask.threads)?;
    let share = |counts: &[u32], of: usize| counts.iter().map(|&c| c as f32 / of.max(1) as f32).collect();
    Ok(Refined {
        treatment,
        error_energy,
        params: rank.map_or(0, |r| (r * treatment.form.shape(layer).iter().sum::<usize>()) as u64) + stored,
        sigma,
        delta_norm: if error_energy == 0.0 { Known::exact(0.0) } else { delta_norm },
        threshold,
        row_density: treatment.prune.map_or_else(Vec::new, |_| share(&rows, matrix.cols)),
        col_density: treatment.prune.map_or_else(Vec::new, |_| share(&cols, matrix.rows)),
        weighed,
        linf_l1: Some(sums(layer, &treated)),
        convolution,
    })
}

/// W − Ŵ.
fn difference(matrix: &Matrix, treated: &Matrix) -> Matrix {
    let data = matrix.data.iter().zip(&treated.data).map(|(w, t)| w - t).collect();
    Matrix { rows: matrix.rows, cols: matrix.cols, data }
}

/// Largest row and column sum of magnitudes: of the matrix, or of a convolution's operator far from the borders.
fn sums(layer: &Layer, treated: &Matrix) -> (f64, f64) {
    if !layer.kind.is_conv() {
        return (norms::max_row_sum(treated.view()), norms::max_col_sum(treated.view()));
    }
    let groups = layer.conv.map_or(1, |c| c.groups);
    let kernel = conv::Kernel::of(layer.rows(), &layer.shape, groups, &treated.data);
    (kernel.max_row_sum(), kernel.max_col_sum() * lipschitz::repeats(layer) as f64)
}

#[cfg(test)]
mod tests;
