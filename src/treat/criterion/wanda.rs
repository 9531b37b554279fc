//! Wanda (Sun et al. 2023): |w_ij|·‖X_j‖, what an entry and its input bring to the output together. Each output is compared
//! with itself: the same number goes from every row.

use super::{Act, Criterion, Scores, Way, entries_only, seen};
use crate::model::{Layer, Matrix};
use crate::numerics::{KeepGoing, interrupt::check};
use crate::probe::ProbeError;
use crate::treat::Pattern;

/// See the module.
pub static WAY: Way = Way {
    criterion: Criterion::Wanda,
    name: "wanda",
    words: "|w| times the norm of its input (Wanda, Sun et al. 2023); needs activations",
    short: "least |w|·‖x‖",
    weighs: true,
    applies: |layer, pattern| {
        entries_only(pattern)?;
        seen(layer).map(drop)
    },
    pattern: Pattern::PerRow,
    act: Act::Scores(|layer, matrix, keep_going| scores(layer, matrix, keep_going).map(Scores::Entries)),
};

/// |w_ij|·√E\[x_j²\]: the norm of an input over all tokens, by a factor that is the same for all.
pub fn scores(layer: &Layer, matrix: &Matrix, keep_going: KeepGoing<'_>) -> Result<Vec<f32>, ProbeError> {
    let scales: Vec<f64> = seen(layer).map_err(ProbeError::Inputs)?.iter().map(|g| f64::from(*g).sqrt()).collect();
    let mut out = Vec::with_capacity(matrix.data.len());
    for (r, row) in matrix.row_iter().enumerate() {
        if r.is_multiple_of((1 << 20) / matrix.cols.max(1) + 1) {
            check(keep_going)?;
        }
        out.extend(row.iter().zip(&scales).map(|(w, x)| (f64::from(w.abs()) * x) as f32));
    }
    Ok(out)
}
