//! Trained rank pruning (Xu et al. 2020): nine tenths of the energy σ², as its training truncates to. What a matrix that
//! was not trained so loses at that rank is the error on screen.

use super::{Rule, energy};

pub static RULE: Rule = Rule {
    name: "trp",
    words: "90 % of Σσ², the threshold of trained rank pruning (Xu et al. 2020)",
    share: None,
    holds: true,
    rank: |ground, _| Some(energy::rank(ground, 0.9)),
};
