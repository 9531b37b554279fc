//! A rank reduction as LoRD states it (Kaushal et al. 2023): a share of the full rank goes, ranks lie on a grid.
//!
//! A reduction of the rank is none of the parameters: of a square matrix the first half of it gains nothing. The grid of
//! 128 is that of the paper's 39.58 % = 1 − 3712/6144; smaller layers have a finer one.

use super::Rule;

pub static RULE: Rule = Rule {
    name: "lord",
    words: "full rank less a share, down to a multiple of a step (LoRD, Kaushal et al. 2023)",
    share: Some(0.2),
    holds: false,
    rank: |ground, share| Some(rank(ground.form.full_rank(ground.layer), share)),
};

/// The largest multiple of the step that keeps at most `1 − share` of the full rank; at least one step.
fn rank(full: usize, share: f64) -> usize {
    // An eighth of the rank, as a power of two.
    let step = (1usize << (full / 8).max(1).ilog2()).min(128);
    let kept = ((1.0 - share) * full as f64 + 1e-9).floor() as usize;
    (kept / step * step).max(step.min(full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_reduction_is_a_multiple_of_128() {
        assert_eq!(rank(6144, 0.3958), 3712);
        assert_eq!(rank(6144, 0.2), 4864);
        // Of small layers the step is finer: 16 of 160, 1 of 10.
        assert_eq!((rank(160, 0.2), rank(160, 0.9), rank(10, 0.2)), (128, 16, 8));
    }
}
