//! Operator norms of the layer as a map, and bounds on them that need no singular values.

use super::{Ask, Fact, Magnitude, Probe, ProbeError, ProbeId};
use crate::known::Known;
use crate::model::{Layer, Matrix, Stored};
use crate::numerics::Stopped;
use crate::numerics::conv::{self, Kernel, Operator};
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

/// Frequencies along each axis of the grid on which symbols are evaluated.
const GRID: usize = 16;
/// Above this many channels on both sides the symbol's many decompositions are left out.
const SYMBOL_CHANNELS: usize = 96;

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
        // the Lanczos bases: up to 160 vectors on either side
        ((layer.rows() + layer.cols()) * 8 * 160) as u64
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

fn convolution(layer: &Layer, matrix: &Matrix, ask: &Ask) -> Result<Lipschitz, ProbeError> {
    let groups = layer.conv.map_or(1, |c| c.groups.max(1));
    let kernel = Kernel::of(layer.rows(), &layer.shape, groups, &matrix.data);
    let (inp, kh, kw) = (kernel.inp, kernel.kh, kernel.kw);
    let schur = (kernel.max_row_sum() * kernel.max_col_sum()).sqrt();
    let mut best = (schur, "Schur: √(row sum · column sum)");
    let unfold = conv::four_unfoldings(&kernel, ask.keep_going)?;
    if unfold < best.0 {
        best = (unfold, "four unfoldings × √(kh·kw)");
    }
    if inp.min(layer.rows() / groups) <= SYMBOL_CHANNELS {
        let symbol = conv::symbol_bound(&kernel, GRID, ask.keep_going)?;
        if symbol < best.0 {
            best = (symbol, "symbol on a 16×16 grid, any image size");
        }
    }
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
        conv::operator_norm(operator, ask.keep_going)
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
        l1: if large_enough && !strided {
            Known::exact(kernel.max_col_sum())
        } else {
            Known::upper(kernel.max_col_sum())
        },
        rms_factor,
        method: best.1.into(),
    })
}
