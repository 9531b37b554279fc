//! Singular values above the upper edge of the noise bulk, σ̂√N(1+√β), with σ̂ from the median.

use super::Rule;

pub static RULE: Rule = Rule {
    name: "mp",
    words: "σ above the noise edge (Marchenko & Pastur 1967, σ̂ by the median)",
    share: None,
    holds: false,
    rank: |ground, _| ground.spectrum.marchenko_pastur.map(|mp| mp.spikes),
};
