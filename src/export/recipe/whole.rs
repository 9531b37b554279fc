//! Blocks that a plan takes away whole, for the formats that know nothing smaller.

use super::Recipe;
use crate::model::{Layer, naming};
use std::collections::{BTreeMap, BTreeSet};

/// Blocks of the model by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    /// Those of which nothing is left.
    pub dropped: Vec<usize>,
    /// The others.
    pub kept: Vec<usize>,
}

/// Segments of names that say that a row of blocks is no language model's decoder.
const TOWERS: &[&str] = &[
    "vision",
    "visual",
    "audio",
    "speech",
    "image",
    "img",
    "encoder",
    "tower",
    "perceiver",
    "resampler",
    "medusa",
    "eagle",
    "mtp",
    "connector",
    "projector",
];

/// The rows of blocks in the model, each by what its blocks' names have in common.
fn rows<'a>(recipe: &Recipe<'a>) -> BTreeSet<&'a str> {
    let keys = recipe.model.layers.iter().filter_map(|l| naming::block_of(&l.name));
    keys.map(|(key, _)| naming::family(key)).collect()
}

/// The only row of blocks; `None` where there is none or there are several.
pub fn single<'a>(recipe: &Recipe<'a>) -> Option<&'a str> {
    let rows = rows(recipe);
    rows.first().copied().filter(|_| rows.len() == 1)
}

/// The row of the language model's blocks: the only one, or the only one whose name is not that of a tower or of heads
/// beside it.
pub fn language<'a>(recipe: &Recipe<'a>) -> Option<&'a str> {
    let all = rows(recipe);
    if all.len() == 1 {
        return all.first().copied();
    }
    let beside = |row: &str| row.split(['.', '_']).any(|part| TOWERS.contains(&part));
    let mut left = all.into_iter().filter(|row| !beside(row));
    left.next().filter(|_| left.next().is_none())
}

/// A layer's block in a row, by the number in its name.
pub fn number(layer: &Layer, row: &str) -> Option<usize> {
    let (key, _) = naming::block_of(&layer.name)?;
    naming::block_number(key).filter(|_| naming::family(key) == row)
}

/// Blocks of a row of which every layer that may be treated is removed whole.
pub fn blocks(recipe: &Recipe, row: &str) -> Blocks {
    // Of each block: whether a layer of it may be treated, and whether one of those stays.
    let mut all: BTreeMap<usize, (bool, bool)> = BTreeMap::new();
    for block in recipe.model.layers.iter().filter_map(|l| number(l, row)) {
        all.entry(block).or_default();
    }
    for (layer, t) in recipe.layers() {
        if let Some((any, stays)) = number(layer, row).and_then(|block| all.get_mut(&block)) {
            *any = true;
            *stays |= t.rank.is_some() || t.prune.is_none_or(|p| p.remove < 1.0);
        }
    }
    let (dropped, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, (any, stays))| *any && !stays);
    let [dropped, kept] = [dropped, kept].map(|blocks| blocks.into_iter().map(|(block, _)| block).collect());
    Blocks { dropped, kept }
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
