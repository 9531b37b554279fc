//! Rows of blocks: which blocks there are, how they are numbered over the whole model, and which row each belongs to.

use super::naming;
use std::collections::{BTreeMap, BTreeSet};

/// A row of blocks, such as the decoder's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// What its names begin with, without the number: `model.layers`, `model.vision_tower.encoder.layers`.
    pub name: String,
    /// The word that tells it from the other rows: `vision_tower`.
    pub word: String,
    /// Its blocks as numbered over the whole model, with their own numbers.
    pub blocks: BTreeMap<usize, usize>,
}

/// Words in the names of rows that stand beside the main one.
const BESIDE: &[&str] = &[
    "medusa",
    "eagle",
    "mtp",
    "draft",
    "vision",
    "visual",
    "image",
    "audio",
    "speech",
    "encoder",
    "adapter",
    "projector",
    "tower",
    "resampler",
    "qformer",
];

/// Numbers blocks: key → number. One row keeps its own numbers; of several the main row keeps them and the others
/// follow.
pub fn number<'a>(modules: impl Iterator<Item = &'a str>) -> (BTreeMap<String, usize>, Vec<Stack>) {
    let mut rows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for module in modules {
        if let Some((key, _)) = naming::block_of(module) {
            rows.entry(naming::family(key)).or_default().insert(key);
        }
    }
    let beside = |row: &str| {
        let lower = row.to_ascii_lowercase();
        BESIDE.iter().any(|w| lower.contains(w)) && !lower.contains("language") && !lower.contains("text_model")
    };
    let mut order: Vec<&str> = rows.keys().copied().collect();
    // The model's own rows first, then encoders, towers and heads of drafts; by name among themselves.
    order.sort_by(|a, b| beside(a).cmp(&beside(b)).then_with(|| naming::natural(a, b)));
    let (mut numbers, mut stacks, mut next) = (BTreeMap::new(), Vec::new(), 0);
    for row in &order {
        let mut keys: Vec<&str> = rows[row].iter().copied().collect();
        keys.sort_by(|a, b| naming::natural(a, b));
        let single = keys.windows(2).all(|w| depth(w[0]) == depth(w[1]) && prefix(w[0]) == prefix(w[1]));
        let mut blocks = BTreeMap::new();
        let first = next;
        for (i, key) in keys.iter().enumerate() {
            let own = naming::block_number(key).filter(|n| single && *n < 1 << 20);
            let number = if first == 0 { own.unwrap_or(i) } else { first + i };
            blocks.insert(number, own.unwrap_or(i));
            numbers.insert((*key).to_owned(), number);
            next = next.max(number + 1);
        }
        stacks.push(Stack { name: (*row).to_owned(), word: String::new(), blocks });
    }
    let words: Vec<String> = stacks.iter().map(|s| word(&s.name, &stacks)).collect();
    stacks.iter_mut().zip(words).for_each(|(s, w)| s.word = w);
    (numbers, stacks)
}

/// The first segment that the other rows' names do not have at that place, else the last one.
fn word(name: &str, stacks: &[Stack]) -> String {
    let segments: Vec<&str> = name.split('.').collect();
    let plain = |s: &&&str| !matches!(**s, "model" | "layers" | "layer" | "blocks" | "block" | "h" | "transformer");
    let own = |s: &&&str| stacks.iter().all(|o| o.name == name || !o.name.split('.').any(|other| other == **s));
    let found = segments.iter().filter(plain).find(own).or_else(|| segments.iter().find(own)).or(segments.last());
    found.map_or(String::new(), |s| (*s).to_owned())
}

fn depth(key: &str) -> usize {
    key.split('.').count()
}

fn prefix(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(p, _)| p)
}
