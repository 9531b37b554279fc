//! Leverage scores of rows, the ℓ2 sensitivities of sensitivity sampling (Woodruff & Yasuda 2023): ℓ_i = max_x (w_i·x)²/‖Wx‖²,
//! the part of a direction that a row alone can hold. They lie between 0 and 1 and add up to the rank.

use super::{Act, Criterion, Scores, Way, rows_only};
use crate::numerics::leverage::scores;
use crate::treat::Pattern;

/// See the module.
pub static WAY: Way = Way {
    criterion: Criterion::Leverage,
    name: "leverage",
    words: "rows of least leverage, their ℓ2 sensitivity (Woodruff & Yasuda 2023)",
    short: "rows of least leverage",
    applies: |layer, pattern| {
        rows_only(pattern)?;
        if layer.rows() > layer.cols() {
            Ok(())
        } else {
            Err("with no more rows than columns every row has leverage 1: none is less than another".to_owned())
        }
    },
    pattern: Pattern::Rows,
    weighs: false,
    act: Act::Scores(|_, matrix, keep_going| Ok(Scores::Rows(scores(matrix.view(), keep_going)?))),
};

/// Rows that ℓ2 sensitivity sampling draws to keep every ‖Wx‖² within a share ε with probability 1 − δ: Σℓ is the rank d,
/// and (8/3)·d·ln(2d/δ)/ε² rows do (matrix Chernoff bound for leverage-score sampling).
pub fn rows_to_sample(rank: usize, epsilon: f64, delta: f64) -> f64 {
    let d = rank.max(1) as f64;
    8.0 / 3.0 * d * (2.0 * d / delta).ln() / (epsilon * epsilon)
}
