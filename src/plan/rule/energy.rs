//! A share of the energy: the smallest r with Σ_{i≤r}σᵢ² ≥ e·Σσᵢ².

use super::{Ground, Rule};

pub static RULE: Rule = Rule {
    name: "energy",
    words: "the smallest rank that keeps a share of Σσ²",
    share: Some(0.9),
    holds: true,
    rank: |ground, share| Some(rank(ground, share)),
};

/// The smallest such rank, at least 1.
pub(super) fn rank(ground: &Ground, share: f64) -> usize {
    let tail = &ground.spectrum.tail;
    let energy = ground.spectrum.energy();
    tail.partition_point(|&t| t > (1.0 - share) * energy * (1.0 + 1e-12)).max(1)
}
