//! The optimal hard threshold for singular values where the noise level is unknown (Gavish & Donoho 2014):
//! τ = ω(β)·median(σ), ω = λ*(β)/√μ_β, with the median μ_β of the Marchenko–Pastur law; not the cubic approximation.

use super::{Ground, Rule};
use crate::probe::spectrum::median_of_law;

pub static RULE: Rule = Rule {
    name: "gd",
    words: "σ above ω(β)·median, the optimal hard threshold (Gavish & Donoho 2014)",
    share: None,
    holds: false,
    rank: |ground, _| rank(ground),
};

fn rank(ground: &Ground) -> Option<usize> {
    let sigma = &ground.spectrum.sigma;
    let middle = sigma.len().checked_sub(1)? / 2;
    let median = f64::midpoint(sigma[middle], sigma[sigma.len() / 2]);
    let line = omega(ground.aspect()) * median;
    Some(sigma.partition_point(|&s| s > line))
}

/// λ*(β) = √(2(β+1) + 8β/((β+1) + √(β²+14β+1))).
fn lambda(beta: f64) -> f64 {
    let root = (beta * beta + 14.0 * beta + 1.0).sqrt();
    (2.0 * (beta + 1.0) + 8.0 * beta / (beta + 1.0 + root)).sqrt()
}

fn omega(beta: f64) -> f64 {
    lambda(beta) / median_of_law(beta).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_has_its_known_values() {
        for (beta, star, factor) in [
            (1.0, 2.309_401_076_8, 2.858_362_424_1),
            (0.5, 1.978_599_053_8, 2.171_185_348_5),
            (0.25, 1.758_029_377_1, 1.836_865_791_1),
            (0.1, 1.581_648_395_4, 1.608_771_557_4),
        ] {
            assert!((lambda(beta) - star).abs() < 1e-9, "{beta}: {}", lambda(beta));
            assert!((omega(beta) - factor).abs() < 1e-6, "{beta}: {}", omega(beta));
        }
    }
}
