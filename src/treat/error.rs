//! What a change of a layer does to its outputs and to the loss, from what a calibration pass saw.

use super::Factors;
use crate::known::Known;
use crate::model::inputs::Inputs;
use crate::model::{Layer, Matrix};
use crate::numerics::root::{Root, root};
use crate::numerics::weighted::Losses;
use crate::numerics::{KeepGoing, interrupt::check};
use crate::probe::ProbeError;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

/// Rows of a change that are multiplied at a time.
const TOGETHER: usize = 256;

/// What is said where activations are needed and not there.
pub const NO_INPUTS: &str = "it needs activations, and none of this layer are open: --calibration FILE";
/// What is said where all second moments are needed and only their diagonal is there.
pub const NO_GRAM: &str = "it needs the Gram matrix of the inputs, and the calibration holds only its diagonal for this \
                           layer: --calibration FILE with all of it";

/// Mean energies of a layer's outputs over the tokens of a calibration pass.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputEnergy {
    /// E\[(Δx)_i²\] of each output i: the diagonal of ΔGΔᵀ, G = E\[x xᵀ\]. None is negative.
    pub rows: Vec<f64>,
    /// Whether G was known whole. Else it counts as diagonal, as if no two inputs went together: an estimate.
    pub exact: bool,
}

impl OutputEnergy {
    /// ‖ΔX‖_F² a token.
    pub fn total(&self) -> f64 {
        self.rows.iter().sum()
    }
    /// ½ Σ_i γ_i (ΔGΔᵀ)_ii with γ_i = E\[g_i²\]: by how many nats a token the loss is expected to grow. The second order of
    /// the loss, its first taken as zero (Optimal Brain Surgeon, Hassibi & Stork 1993), its curvature in the outputs the
    /// diagonal of the empirical Fisher matrix, independent of the inputs (K-FAC, Martens & Grosse 2015).
    pub fn excess(&self, gradient: &[f32]) -> f64 {
        0.5 * self.rows.iter().zip(gradient).map(|(e, g)| e * f64::from(*g)).sum::<f64>()
    }
}

/// What a change of the entries does to the outputs of a layer, from the whole Gram matrix or its diagonal, in `f64`; `None`
/// where nothing is known of the inputs. `delta` is W − Ŵ, or W itself for the energy that errors are relative to.
pub fn output_energy(
    layer: &Layer,
    delta: &Matrix,
    keep_going: KeepGoing<'_>,
) -> Result<Option<OutputEnergy>, ProbeError> {
    let Some(inputs) = &layer.inputs else { return Ok(None) };
    let scale = Scale { inputs, gram: wide_gram(inputs)?, total: 0.0 };
    scale.energy(delta, keep_going).map(Some)
}

/// By how many nats a token the loss is expected to grow, see [`OutputEnergy::excess`]; `None` where the calibration holds no
/// gradient of the layer.
pub fn excess(layer: &Layer, delta: &Matrix, keep_going: KeepGoing<'_>) -> Result<Option<Known>, ProbeError> {
    let Some(gradient) = layer.inputs.as_ref().and_then(|i| i.gradient.as_ref()) else { return Ok(None) };
    let found = output_energy(layer, delta, keep_going)?;
    Ok(found.map(|e| Known::estimate(e.excess(gradient))))
}

/// What a treatment does to a layer's outputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighed {
    /// ‖(W − Ŵ)X‖_F / ‖WX‖_F over the tokens of the calibration: exact from a whole Gram matrix, an estimate from a diagonal.
    pub output_error: Known,
    /// Expected growth of the loss in nats a token, where the calibration holds gradients.
    pub excess: Option<Known>,
}

/// Weighs W − Ŵ; `None` where nothing is known of the inputs.
pub fn weigh(
    layer: &Layer,
    matrix: &Matrix,
    delta: &Matrix,
    keep_going: KeepGoing<'_>,
) -> Result<Option<Weighed>, ProbeError> {
    let scale = Scale::of(layer, matrix, keep_going)?;
    scale.map(|s| s.weigh(delta, keep_going)).transpose()
}

/// Weighs changes of one layer: what its inputs say, read once.
pub struct Scale<'a> {
    inputs: &'a Inputs,
    gram: Option<Mat<f64>>,
    /// ‖WX‖_F² a token.
    total: f64,
}

impl<'a> Scale<'a> {
    /// Of a layer; `None` where nothing is known of its inputs.
    pub fn of(layer: &'a Layer, matrix: &Matrix, keep_going: KeepGoing<'_>) -> Result<Option<Self>, ProbeError> {
        check(keep_going)?;
        let Some(inputs) = &layer.inputs else { return Ok(None) };
        let mut scale = Self { inputs, gram: wide_gram(inputs)?, total: 0.0 };
        scale.total = scale.energy(matrix, keep_going)?.total();
        Ok(Some(scale))
    }

    /// What W − Ŵ does to the outputs.
    pub fn weigh(&self, delta: &Matrix, keep_going: KeepGoing<'_>) -> Result<Weighed, ProbeError> {
        let lost = self.energy(delta, keep_going)?;
        let relative = if self.total > 0.0 { (lost.total() / self.total).sqrt() } else { 0.0 };
        let output_error = if lost.exact { Known::exact(relative) } else { Known::estimate(relative) };
        let excess = self.inputs.gradient.as_ref().map(|g| Known::estimate(lost.excess(g)));
        Ok(Weighed { output_error, excess })
    }

    fn energy(&self, of: &Matrix, keep_going: KeepGoing<'_>) -> Result<OutputEnergy, ProbeError> {
        let n = self.inputs.in_features();
        if of.cols != n {
            return Err(ProbeError::Inputs(format!(
                "its inputs are {n} features: the calibration is of another layer"
            )));
        }
        let Some(gram) = &self.gram else {
            let diagonal = self.inputs.diagonal();
            let row = |row: &[f32]| -> f64 {
                row.iter().zip(diagonal).map(|(d, g)| f64::from(*d) * f64::from(*d) * f64::from(*g)).sum()
            };
            return Ok(OutputEnergy { rows: of.row_iter().map(row).collect(), exact: false });
        };
        let mut rows = Vec::with_capacity(of.rows);
        for from in (0..of.rows).step_by(TOGETHER) {
            check(keep_going)?;
            let count = TOGETHER.min(of.rows - from);
            let part = Mat::<f64>::from_fn(n, count, |j, i| f64::from(of.data[(from + i) * n + j]));
            let mut image = Mat::<f64>::zeros(n, count);
            matmul(image.as_mut(), Accum::Replace, gram.as_ref(), part.as_ref(), 1.0, Par::Seq);
            // The sum may be negative by rounding where the change lies where no input reaches.
            rows.extend((0..count).map(|i| {
                part.col_as_slice(i).iter().zip(image.col_as_slice(i)).map(|(d, g)| d * g).sum::<f64>().max(0.0)
            }));
        }
        Ok(OutputEnergy { rows, exact: true })
    }
}

/// G = E\[x xᵀ\] in `f64`, made symmetric; `None` where only the diagonal is known.
pub(super) fn wide_gram(inputs: &Inputs) -> Result<Option<Mat<f64>>, ProbeError> {
    let Some(gram) = inputs.gram()? else { return Ok(None) };
    let n = gram.rows;
    let at = |i: usize, j: usize| f64::from(gram.data[i * n + j]);
    Ok(Some(Mat::from_fn(n, n, |i, j| f64::midpoint(at(i, j), at(j, i)))))
}

/// The S by which a form of factors weighs the inputs.
pub(super) fn root_of(layer: &Layer, form: Factors, keep_going: KeepGoing<'_>) -> Result<Root, ProbeError> {
    form.fits(layer).map_err(ProbeError::Inputs)?;
    let missing = || ProbeError::Inputs(NO_INPUTS.to_owned());
    let inputs = layer.inputs.as_ref().ok_or_else(missing)?;
    let roots = |of: &[f32]| Root::Diagonal(of.iter().map(|x| f64::from(*x).sqrt()).collect());
    if form == Factors::Asvd {
        // α = ½ of E|x_j|.
        return inputs.abs_mean.as_deref().map(roots).ok_or_else(missing);
    }
    match inputs.gram()? {
        Some(gram) => Ok(root(gram.view(), keep_going)?),
        None => Ok(roots(inputs.diagonal())),
    }
}

/// What every rank loses in every form of factors. σ_i² of WS, SSᵀ = E\[x xᵀ\], is what dropping the i-th direction of the
/// whitened form costs of the mean output energy. Where only the diagonal is known, S = diag(√G_jj).
pub fn losses(layer: &Layer, matrix: &Matrix, keep_going: KeepGoing<'_>) -> Result<Losses, ProbeError> {
    let root = root_of(layer, Factors::Whitened, keep_going)?;
    let scales = if Factors::Asvd.fits(layer).is_ok() { root_of(layer, Factors::Asvd, keep_going).ok() } else { None };
    Ok(crate::numerics::weighted::losses(matrix.view(), &root, scales, keep_going)?)
}

/// Bytes that weighing takes beside the matrix and the change.
pub fn workspace(layer: &Layer) -> u64 {
    let n = layer.cols() as u64;
    match &layer.inputs {
        Some(inputs) if inputs.has_gram() => 12 * n * n + 16 * n * TOGETHER as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
