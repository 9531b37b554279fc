//! Ranks that count directions by their weight: the effective rank exp H(σ/Σσ) (Roy & Vetterli 2007) and the stable rank
//! ‖W‖_F²/σ₁², rounded up.

use super::Rule;

pub static EFFECTIVE: Rule = Rule {
    name: "effective",
    words: "effective rank exp H(σ/Σσ), rounded up (Roy & Vetterli 2007)",
    share: None,
    holds: true,
    rank: |ground, _| ground.spectrum.effective_rank.map(up),
};

pub static STABLE: Rule = Rule {
    name: "stable",
    words: "stable rank ‖W‖_F²/σ₁², rounded up",
    share: None,
    holds: true,
    rank: |ground, _| ground.spectrum.stable_rank.map(up),
};

/// What rounding left above a whole number is none.
fn up(rank: f64) -> usize {
    (rank - 1e-9 * rank).ceil().max(1.0) as usize
}
