//! Relative importance, the weights' half of RIA (Zhang et al. 2024): |w_ij|/Σ_k|w_kj| + |w_ij|/Σ_k|w_ik|, the share of an
//! entry in its column and in its row. No row or column loses everything while others keep much.

use super::{Act, Criterion, Scores, Way, entries_only};
use crate::model::Matrix;
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use crate::treat::Pattern;

/// See the module.
pub static WAY: Way = Way {
    criterion: Criterion::RelativeImportance,
    name: "relative-importance",
    words: "share of an entry in its row and column, RI (Zhang et al. 2024)",
    short: "least share of row and column",
    applies: |_, pattern| entries_only(pattern),
    pattern: Pattern::Unstructured,
    weighs: false,
    act: Act::Scores(|_, matrix, keep_going| Ok(Scores::Entries(scores(matrix, keep_going)?))),
};

/// The score of every entry; 0 in a row or column of zeros.
pub(super) fn scores(matrix: &Matrix, keep_going: KeepGoing<'_>) -> Result<Vec<f32>, Stopped> {
    weighed(matrix, None, keep_going)
}

/// The same, each times a power of its input.
pub(super) fn weighed(matrix: &Matrix, inputs: Option<&[f64]>, keep_going: KeepGoing<'_>) -> Result<Vec<f32>, Stopped> {
    let cols = matrix.cols.max(1);
    let together = (1 << 20) / cols + 1;
    let mut columns = vec![0f64; cols];
    for (r, row) in matrix.data.chunks_exact(cols).enumerate() {
        if r.is_multiple_of(together) {
            check(keep_going)?;
        }
        columns.iter_mut().zip(row).for_each(|(sum, w)| *sum += f64::from(w.abs()));
    }
    let inverse = |sum: f64| if sum > 0.0 { 1.0 / sum } else { 0.0 };
    columns.iter_mut().for_each(|sum| *sum = inverse(*sum));
    let mut out = Vec::with_capacity(matrix.data.len());
    for (r, row) in matrix.data.chunks_exact(cols).enumerate() {
        if r.is_multiple_of(together) {
            check(keep_going)?;
        }
        let own = inverse(row.iter().map(|w| f64::from(w.abs())).sum());
        let shares = row.iter().zip(&columns).map(|(w, column)| f64::from(w.abs()) * (column + own));
        match inputs {
            Some(inputs) => out.extend(shares.zip(inputs).map(|(s, x)| (s * x) as f32)),
            None => out.extend(shares.map(|s| s as f32)),
        }
    }
    Ok(out)
}
