//! What was loaded, as plain data: tensors, the layers read from their names, and sizes. No I/O, no mathematics.

pub mod architecture;
mod aside;
mod biases;
mod build;
mod canonical;
mod channels;
pub mod coded;
pub mod cost;
pub mod decode;
pub mod dtype;
pub mod encode;
pub mod inputs;
mod labels;
pub mod layer;
pub mod matrix;
pub mod naming;
mod norms;
mod order;
mod orient;
mod reading;
mod reasons;
mod roles;
pub mod spatial;
mod stacks;
mod stored;
mod ties;
mod unfit;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use coded::{Coded, Peek, Scheme};
pub use dtype::DType;
pub use inputs::Inputs;
pub use layer::{Kind, Layer, LayerId, Orientation, Role};
pub use matrix::Matrix;
pub use stacks::Stack;
pub use stored::Stored;
pub use unfit::Unfit;

/// Position of a tensor in [`Model::tensors`].
pub type TensorId = usize;

/// One stored tensor: where its bytes are and how to read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Full name in the file, such as `model.layers.0.mlp.down_proj.weight`.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Index into [`Model::files`].
    pub file: usize,
    /// Byte range within that file.
    pub range: std::ops::Range<usize>,
}

impl Tensor {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether an extent is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Bytes stored.
    pub fn bytes(&self) -> usize {
        self.range.len()
    }
}

/// A file of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Its name within the checkpoint, such as `model-00001-of-00003.safetensors`.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// A checkpoint as its headers describe it. Weights stay on disk until a worker asks for one.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Short name for titles.
    pub name: String,
    /// The path it was opened from.
    pub path: PathBuf,
    /// `safetensors`, …
    pub format: &'static str,
    /// The files that hold tensors.
    pub files: Vec<File>,
    /// All stored tensors, in file order.
    pub tensors: Vec<Tensor>,
    /// `__metadata__` of the files, merged.
    pub metadata: BTreeMap<String, String>,
    /// `config.json`, when there is one.
    pub config: Option<serde_json::Value>,
    /// Canonical names of the tensors, in their order: without the wrappers of training tools.
    pub names: Vec<String>,
    /// Rows of blocks; one of them for most models.
    pub stacks: Vec<Stack>,
    /// Layers in module order.
    pub layers: Vec<Layer>,
    /// Tensors that are no weights, and why: running statistics, positions, masks, counters.
    pub not_weights: Vec<(TensorId, String)>,
    /// Remarks for the user: what was odd and how it was read.
    pub notes: Vec<String>,
}

impl Model {
    /// A model from what its headers say: reads layers out of the tensors' names, shapes and the config.
    pub fn from_header(self) -> Self {
        self.from_header_and(&coded::HeadersOnly)
    }
    /// The same where `peek` reads a tensor's bytes: small ones that describe others, and those that may be copies.
    pub fn from_header_and(mut self, peek: &dyn Peek) -> Self {
        build::build(&mut self, peek);
        self
    }
    /// The canonical name of a tensor; the stored one where none was made.
    pub fn canonical(&self, id: TensorId) -> &str {
        let stored = || self.tensors.get(id).map_or("", |t| t.name.as_str());
        self.names.get(id).map_or_else(stored, String::as_str)
    }
    /// A block in words: its number, and with several rows of blocks the row's word and its own number.
    pub fn block_words(&self, block: usize) -> String {
        let row = self.stacks.iter().find_map(|s| Some((s.word.as_str(), *s.blocks.get(&block)?)));
        match row.filter(|_| self.stacks.len() > 1) {
            Some((word, number)) => format!("{word} {number}"),
            None => format!("block {block}"),
        }
    }
    /// The layer with this id.
    pub fn layer(&self, id: LayerId) -> Option<&Layer> {
        self.layers.get(id.0)
    }
    /// `model_type` of config.json (`llama`, `sequential`, …).
    pub fn architecture(&self) -> Option<&str> {
        self.config.as_ref()?.get("model_type")?.as_str()
    }
    /// Number of blocks: one more than the highest block number.
    pub fn blocks(&self) -> usize {
        self.layers.iter().filter_map(|l| l.block).max().map_or(0, |b| b + 1)
    }
    /// Parameters of the whole model: every weight, bias and gain once; buffers and tied copies not.
    pub fn params(&self) -> u64 {
        self.layers.iter().map(|l| l.params + l.extra_params).sum()
    }
    /// Bytes of the whole model's tensors, tied copies and buffers included once as stored.
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|t| t.bytes() as u64).sum()
    }
    /// Multiply-accumulates per token (per example for images) of all layers whose cost is known.
    pub fn macs(&self) -> u64 {
        self.layers.iter().filter_map(|l| l.macs).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests;
