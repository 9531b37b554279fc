//! What is looked up of a model's layers at every key or frame, computed once when it is opened: a model may have tens of
//! thousands of layers.

use crate::model::{LayerId, Model};
use std::collections::HashMap;

/// Look-up tables of a model; none of them depends on what is measured or planned.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// Name and role of each layer in lower case, which a filter searches.
    texts: Vec<Box<str>>,
    /// Layers of each block, in module order.
    blocks: HashMap<usize, Vec<LayerId>>,
    /// The type that most bytes are stored in, in lower case.
    pub dtype: String,
    /// Number of blocks.
    pub block_count: usize,
    /// Whether the product of the layers' norms bounds the whole model.
    pub chain: bool,
}

impl Index {
    /// Builds the tables. Linear in the layers.
    pub fn of(model: &Model) -> Self {
        let text = |l: &crate::model::Layer| format!("{} {} {}", l.name, l.role.word(), l.role.short()).to_lowercase();
        let mut blocks: HashMap<usize, Vec<LayerId>> = HashMap::new();
        let mut bytes: HashMap<&'static str, u64> = HashMap::new();
        for layer in &model.layers {
            *bytes.entry(layer.dtype.name()).or_default() += layer.bytes;
            if let Some(block) = layer.block {
                blocks.entry(block).or_default().push(layer.id);
            }
        }
        let most = bytes.into_iter().max_by_key(|(name, n)| (*n, *name));
        Self {
            texts: model.layers.iter().map(|l| text(l).into()).collect(),
            blocks,
            dtype: most.map_or(String::new(), |(name, _)| name.to_lowercase()),
            block_count: model.blocks(),
            chain: crate::model::architecture::is_chain(model),
        }
    }

    /// Whether the name or role of a layer contains all of these words, which are in lower case.
    pub fn contains(&self, layer: LayerId, words: &[String]) -> bool {
        self.texts.get(layer.0).is_some_and(|text| words.iter().all(|w| text.contains(w.as_str())))
    }

    /// The layers of a block, in module order.
    pub fn block(&self, block: usize) -> &[LayerId] {
        self.blocks.get(&block).map_or(&[], Vec::as_slice)
    }
}
