//! The largest rank whose two factors hold fewer parameters than the matrix: below mn/(m+n).

use super::Rule;

pub static RULE: Rule = Rule {
    name: "break-even",
    words: "the largest rank that stores less than the matrix: below mn/(m+n)",
    share: None,
    holds: false,
    rank: |ground, _| Some(rank(ground.form.shape(ground.layer))),
};

fn rank([m, n]: [usize; 2]) -> usize {
    (m * n).div_ceil((m + n).max(1)).saturating_sub(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_break_even_rank_nothing_is_gained() {
        // 4096² breaks even at 2048, 4096×11008 at 2985.22; of a convolution 64×32×3×3 at 52.36 and spatially at 64.
        for (shape, want) in [([4096, 4096], 2047), ([4096, 11_008], 2985), ([64, 288], 52), ([96, 192], 63)] {
            assert_eq!(rank(shape), want, "{shape:?}");
            assert!(want * (shape[0] + shape[1]) < shape[0] * shape[1]);
        }
    }
}
