//! Blocks that a plan takes away whole, for the formats that know nothing smaller.

use super::Recipe;
use crate::model::naming;
use std::collections::BTreeSet;

/// Blocks of the model by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    /// Those of which nothing is left.
    pub dropped: Vec<usize>,
    /// The others.
    pub kept: Vec<usize>,
}

/// Blocks of which every layer that may be treated is removed whole; `None` where the model has no single row of blocks.
pub fn blocks(recipe: &Recipe) -> Option<Blocks> {
    let families: BTreeSet<&str> = recipe
        .model
        .layers
        .iter()
        .filter_map(|l| naming::block_of(&l.name).map(|(key, _)| naming::family(key)))
        .collect();
    if families.len() != 1 {
        return None;
    }
    let (mut dropped, mut kept) = (Vec::new(), Vec::new());
    for block in 0..recipe.model.blocks() {
        let mut of = recipe.layers().filter(|(l, _)| l.block == Some(block)).peekable();
        let some = of.peek().is_some();
        let gone = of.all(|(_, t)| t.rank.is_none() && t.prune.is_some_and(|p| p.remove >= 1.0));
        if some && gone { dropped.push(block) } else { kept.push(block) }
    }
    Some(Blocks { dropped, kept })
}

impl Blocks {
    /// Runs of neighbours among those that stay: first, and one past the last.
    pub fn runs(&self) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for &block in &self.kept {
            match runs.last_mut() {
                Some(run) if run.1 == block => run.1 += 1,
                _ => runs.push((block, block + 1)),
            }
        }
        runs
    }
}

/// What taking a block away means, for those who use such a file.
pub const MEANING: &str = "a block whose matrices are all zero passes its input on in models with pre-normalisation and \
                           without biases, and there leaving it out changes nothing more; elsewhere it does";
