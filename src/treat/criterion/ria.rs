//! Relative importance and activations, RIA (Zhang et al. 2024): (|w_ij|/Σ_k|w_kj| + |w_ij|/Σ_k|w_ik|)·‖X_j‖^a with a = ½, the
//! share of an entry in its column and in its row, weighed by its input.

use super::{Act, Criterion, Scores, Way, entries_only, relative_importance, seen};
use crate::model::{Layer, Matrix};
use crate::numerics::KeepGoing;
use crate::probe::ProbeError;
use crate::treat::Pattern;

/// The power of an input's norm.
const POWER: f64 = 0.5;

/// See the module.
pub static WAY: Way = Way {
    criterion: Criterion::Ria,
    name: "ria",
    words: "share of an entry in its row and column, weighed by its input (RIA, Zhang et al. 2024); needs activations",
    short: "least share·√‖x‖",
    weighs: true,
    applies: |layer, pattern| {
        entries_only(pattern)?;
        seen(layer).map(drop)
    },
    pattern: Pattern::Unstructured,
    act: Act::Scores(|layer, matrix, keep_going| scores(layer, matrix, keep_going).map(Scores::Entries)),
};

/// The score of every entry; 0 in a row or column of zeros.
pub(super) fn scores(layer: &Layer, matrix: &Matrix, keep_going: KeepGoing<'_>) -> Result<Vec<f32>, ProbeError> {
    let power = |g: &f32| f64::from(*g).powf(POWER / 2.0);
    let scales: Vec<f64> = seen(layer).map_err(ProbeError::Inputs)?.iter().map(power).collect();
    Ok(relative_importance::weighed(matrix, Some(&scales), keep_going)?)
}
