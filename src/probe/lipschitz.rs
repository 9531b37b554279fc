//! Operator norms of the layer as a map, and bounds on them that need no singular values.

use super::{Ask, Fact, Magnitude, Probe, ProbeError, ProbeId};
use crate::known::Known;
use crate::model::{Layer, Matrix, Stored};
use crate::numerics::conv::{self, Kernel, Operator};
use crate::numerics::{KeepGoing, Stopped, symbol};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// Lipschitz constants of one layer between common norms. For a linear layer these are norms of its matrix; for a
/// convolution those of the operator on whole images, not of the matrix view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lipschitz {
    /// ℓ2 → ℓ2, from above. For a linear layer the exact σ₁ of the spectrum replaces it.
    pub l2_upper: Known,
    /// ℓ2 → ℓ2 of a convolution, from below; `None` for unknown geometry and for linear layers, whose sketch has it.
    pub l2_lower: Option<Known>,
    /// ℓ∞ → ℓ∞.
    pub linf: Known,
    /// ℓ1 → ℓ1.
    pub l1: Known,
    /// √(in/out), which turns ℓ2 → ℓ2 into RMS → RMS; `None` for a convolution of unknown geometry.
    pub rms_factor: Option<f64>,
    /// How `l2_upper` was found, in a few words.
    pub method: Cow<'static, str>,
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
        // Of a linear layer the first pass over the entries tells as much.
        layer.measurable() && layer.kind.is_conv()
    }
    fn cost(&self, layer: &Layer) -> f64 {
        30.0 * layer.rows() as f64 * layer.cols() as f64
    }
    fn workspace(&self, layer: &Layer, _threads: usize) -> u64 {
        // A Gram matrix of an unfolding and what is factored of it; the symbol on a grid; Lanczos bases of up to 160
        // images on either side.
        let entries = (layer.rows() * layer.cols()) as u64;
        let pixels = |channels: usize, size: [usize; 2]| (channels * size[0] * size[1]) as u64;
        let images = layer.conv.map_or(0, |c| {
            pixels(layer.rows(), c.output) + pixels(layer.shape.get(1).map_or(1, |i| i * c.groups.max(1)), c.input)
        });
        20 * entries + symbol::WORKSPACE.min(4096 * entries) + images * 8 * 160
    }
    fn measure(&self, layer: &Layer, entries: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        let matrix = entries.matrix();
        entries.fit()?;
        Ok(vec![Fact::Lipschitz(Arc::new(convolution(layer, matrix, ask)?))])
    }
}

impl From<Stopped> for ProbeError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Lipschitz {
    /// Of a linear layer: norms of its matrix, from what one pass told. The lower bound comes with a sketch.
    pub fn linear(layer: &Layer, m: &Magnitude) -> Self {
        let frobenius = m.frobenius();
        let schur = (m.linf * m.l1).sqrt();
        let (upper, method) =
            if schur < frobenius { (schur, "√(‖W‖₁‖W‖∞)") } else { (frobenius, "Frobenius norm") };
        // Attained by some matrices, so that the rounding of its sums must not put it below σ₁.
        let slack = 1.0 + 4.0 * m.entries as f64 * f64::EPSILON;
        Self {
            l2_upper: Known::upper(upper * slack),
            l2_lower: None,
            linf: Known::exact(m.linf),
            l1: Known::exact(m.l1),
            rms_factor: Some((layer.cols() as f64 / layer.rows().max(1) as f64).sqrt()),
            method: method.into(),
        }
    }
}

/// Upper bound on the ℓ2 norm of a convolution of these entries on images of any size, rounding included, and how it
/// was found. Takes about as long as the layer's spectrum, or some tenths of a second where that is more.
pub fn upper(layer: &Layer, matrix: &Matrix, keep_going: KeepGoing<'_>) -> Result<(f64, &'static str), Stopped> {
    let kernel = kernel(layer, matrix);
    let slack = 1.0 + (matrix.rows + matrix.cols) as f64 * f64::EPSILON;
    let schur = (kernel.max_row_sum() * kernel.max_col_sum()).sqrt() * slack;
    let mut best = (schur, "Schur: √(row sum · column sum)");
    let mut offer = |value: f64, method: &'static str| {
        if value < best.0 {
            best = (value, method);
        }
    };
    let mut close = false;
    if let Some((low, high)) = symbol::bracket(&kernel, budget(layer), keep_going)? {
        offer(high, "symbol on a grid, any image size");
        close = high <= low * CLOSE;
    }
    if !close {
        offer(conv::four_unfoldings(&kernel, keep_going)?, "four unfoldings × √(kh·kw)");
    }
    Ok((best.0 * (repeats(layer) as f64).sqrt() * (1.0 + f64::EPSILON), best.1))
}

/// How often circular padding repeats an output of a layer, see [`conv::repeats`].
pub fn repeats(layer: &Layer) -> usize {
    layer.conv.filter(|c| c.circular).map_or(1, |c| conv::repeats(c.input, c.output, c.stride))
}

/// A bound this near the norm cannot be improved much by another method.
const CLOSE: f64 = 1.01;

/// Multiplications in `f64` that take about half as long as the layer's spectrum, or some tenths of a second: of a small
/// layer the norm may cost more than its spectrum, since a looser bound would be of no use.
fn budget(layer: &Layer) -> f64 {
    let (long, short) = (layer.rows().max(layer.cols()) as f64, layer.full_rank() as f64);
    1.5 * short * short * long + 4e8
}

fn kernel<'a>(layer: &Layer, matrix: &'a Matrix) -> Kernel<'a> {
    Kernel::of(layer.rows(), &layer.shape, layer.conv.map_or(1, |c| c.groups.max(1)), &matrix.data)
}

fn convolution(layer: &Layer, matrix: &Matrix, ask: &Ask) -> Result<Lipschitz, ProbeError> {
    let kernel = kernel(layer, matrix);
    let (inp, kh, kw, groups) = (kernel.inp, kernel.kh, kernel.kw, kernel.groups);
    let best = upper(layer, matrix, ask.keep_going)?;
    let lower = layer.conv.map(|g| {
        let operator = Operator {
            kernel,
            input: g.input,
            output: g.output,
            stride: g.stride,
            padding: g.padding,
            dilation: g.dilation,
            circular: g.circular,
        };
        conv::operator_norm(operator, budget(layer), ask.keep_going)
    });
    let lower = lower.transpose()?.map(Known::lower);
    let strided = layer.conv.is_none_or(|g| g.stride != [1, 1]);
    let rms_factor = layer.conv.map(|g| {
        let (ins, outs) = (inp * groups * g.input[0] * g.input[1], layer.rows() * g.output[0] * g.output[1]);
        (ins as f64 / outs.max(1) as f64).sqrt()
    });
    let large_enough = layer.conv.is_some_and(|g| g.input[0] >= 2 * kh && g.input[1] >= 2 * kw);
    Ok(Lipschitz {
        l2_upper: Known::upper(best.0.max(lower.map_or(0.0, |l| l.value))),
        l2_lower: lower,
        linf: if large_enough { Known::exact(kernel.max_row_sum()) } else { Known::upper(kernel.max_row_sum()) },
        l1: if large_enough && !strided && repeats(layer) == 1 {
            Known::exact(kernel.max_col_sum())
        } else {
            Known::upper(kernel.max_col_sum() * repeats(layer) as f64)
        },
        rms_factor,
        method: best.1.into(),
    })
}
