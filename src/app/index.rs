//! What is looked up of a model's layers at every key or frame, computed once when it is opened: a model may have tens of
//! thousands of layers.

use super::grid::Grids;
use crate::model::{Layer, LayerId, Model, Role};
use std::collections::HashMap;
use std::sync::OnceLock;

/// What filters ask of a layer, in a few bytes: going through the layers themselves means a cache miss for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Its block.
    pub block: Option<u32>,
    /// Its role.
    pub role: Role,
    /// Whether it may be treated.
    pub eligible: bool,
    /// Whether a scope of several layers leaves it out.
    pub by_name_only: bool,
    /// Whether the list shows it by default: matrices, tied copies, and what is stored in a way that is not decoded.
    pub listed: bool,
}

impl Traits {
    fn of(layer: &Layer) -> Self {
        Self {
            block: layer.block.and_then(|b| u32::try_from(b).ok()),
            role: layer.role,
            eligible: layer.eligible(),
            by_name_only: layer.by_name_only(),
            listed: layer.measurable() || layer.tied_to.is_some() || layer.coded.is_some(),
        }
    }
}

/// Look-up tables of a model; none of them depends on what is measured or planned.
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// In module order.
    pub layers: Vec<Traits>,
    /// How many layers the list shows by default.
    pub listed: usize,
    grids: OnceLock<Option<Grids>>,
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
        let layers: Vec<Traits> = model.layers.iter().map(Traits::of).collect();
        Self {
            listed: layers.iter().filter(|l| l.listed).count(),
            layers,
            grids: OnceLock::new(),
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

    /// How the map lays out the layers, worked out when it is first shown; `None` without blocks.
    pub fn grids(&self, model: &Model) -> Option<&Grids> {
        self.grids.get_or_init(|| Grids::of(model)).as_ref()
    }

    /// The layers of a block, in module order.
    pub fn block(&self, block: usize) -> &[LayerId] {
        self.blocks.get(&block).map_or(&[], Vec::as_slice)
    }
}
