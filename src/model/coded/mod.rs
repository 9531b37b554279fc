//! Layers that are not one plain matrix in the file: what they are stored as, and the tensors that belong to them.
//!
//! One concept for quantised weights (codes with scales), stacked experts, factor pairs and reparametrised weights: a
//! *coded* layer with its parts. No part is ever a layer of its own. Until a decoder exists a coded layer has no
//! figures, is not eligible and says why.

mod config;
mod experts;
mod factors;
mod pieces;
mod reparametrised;
mod schemes;

use super::{DType, Tensor, TensorId};
use std::collections::{BTreeMap, HashMap};

pub use config::QuantConfig;
pub use experts::{chosen, expert_of, stacked};

/// Stored bytes of tensors, where the checkpoint is open.
pub trait Peek {
    /// The bytes of a tensor; `None` where they cannot be read.
    fn bytes(&self, tensor: &Tensor) -> Option<&[u8]>;
}

/// A checkpoint of which the headers alone are known.
#[derive(Debug, Clone, Copy)]
pub struct HeadersOnly;

impl Peek for HeadersOnly {
    fn bytes(&self, _: &Tensor) -> Option<&[u8]> {
        None
    }
}

/// How a coded layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// 8-bit floats with scales.
    Fp8,
    /// 4-bit floats in groups of 16 with 8-bit float scales.
    Nvfp4,
    /// 4-bit floats in groups of 32 with power-of-two scales.
    Mxfp4,
    /// 8-bit floats in groups of 32 with power-of-two scales.
    Mxfp8,
    /// GPTQ's packed integers, inputs first.
    Gptq,
    /// AWQ's packed integers.
    Awq,
    /// compressed-tensors' packed integers.
    Packed,
    /// 8-bit integers with scales.
    Integers,
    /// LLM.int8 of bitsandbytes.
    BitsAndBytes8,
    /// NF4 and FP4 of bitsandbytes.
    BitsAndBytes4,
    /// MLX's packed codes.
    Mlx,
    /// A quantiser that is recognised by its name alone, or not at all.
    Other,
    /// Experts of a mixture stored as one tensor.
    Experts,
    /// Two or more factors whose product is the weight, or is added to it.
    Factors,
    /// Weight normalisation: a direction and a length.
    WeightNorm,
    /// Spectral normalisation: a weight and singular vectors.
    SpectralNorm,
    /// A weight and a pruning mask.
    Masked,
    /// Another parametrisation of torch.
    Parametrised,
    /// A plain tensor whose axes are not outputs first.
    Layout,
}

/// How a layer is stored that is not one plain matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coded {
    /// The scheme.
    pub scheme: Scheme,
    /// In words, such as `GPTQ int4 g128`.
    pub words: String,
    /// All tensors that belong to it, the one with the codes first.
    pub parts: Vec<TensorId>,
}

impl Coded {
    /// Why it cannot be compressed; `codes` is the element type of its first part.
    pub fn why_not(&self, codes: DType) -> String {
        let (words, codes) = (&self.words, codes.name());
        match self.scheme {
            Scheme::Experts => format!("{words} as one tensor: not read as single matrices yet"),
            Scheme::Factors => format!("{words}: the weight is a product that is not multiplied out yet"),
            Scheme::WeightNorm | Scheme::SpectralNorm | Scheme::Masked | Scheme::Parametrised => {
                format!("{words}: the weight in use is computed from {} tensors; fold it first", self.parts.len())
            }
            Scheme::Layout => format!("{words}: not read as outputs × inputs yet"),
            _ => format!("stored as {words} ({codes} codes): not decoded yet"),
        }
    }
    /// Whether its entries are codes of few bits.
    pub fn quantised(&self) -> bool {
        !matches!(
            self.scheme,
            Scheme::Experts
                | Scheme::Factors
                | Scheme::WeightNorm
                | Scheme::SpectralNorm
                | Scheme::Masked
                | Scheme::Parametrised
                | Scheme::Layout
        )
    }
}

/// A coded layer as it was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The layer's name.
    pub base: String,
    /// How it is stored.
    pub coded: Coded,
    /// `[out_features, in_features]` of the weight, where the headers tell.
    pub matrix: Option<[usize; 2]>,
    /// Number of its weights.
    pub params: u64,
    /// Whether it is an adapter: factors without the weight that they change.
    pub adapter: bool,
}

/// Canonical names of tensors that may be layers, parts or neither.
pub struct Names<'a> {
    /// All tensors.
    pub tensors: &'a [Tensor],
    /// Their canonical names.
    pub names: &'a [String],
    /// By canonical name.
    pub by_name: HashMap<&'a str, TensorId>,
}

impl<'a> Names<'a> {
    /// Of a checkpoint.
    pub fn new(tensors: &'a [Tensor], names: &'a [String]) -> Self {
        let by_name = names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
        Self { tensors, names, by_name }
    }
    /// The tensor of this canonical name.
    pub fn get(&self, name: &str) -> Option<TensorId> {
        self.by_name.get(name).copied()
    }
    /// The shape of the tensor of this canonical name.
    pub fn shape(&self, name: &str) -> Option<&'a [usize]> {
        self.get(name).map(|id| self.tensors[id].shape.as_slice())
    }
}

/// What stands beside a weight: suffixes after the layer's name, and the tensors.
#[derive(Debug, Default)]
pub struct Group<'a> {
    /// `(suffix, tensor)`, in file order.
    pub pieces: Vec<(&'a str, TensorId, pieces::Piece)>,
    /// `NAME.weight`, or the bare parameter `NAME`.
    pub weight: Option<TensorId>,
}

impl Group<'_> {
    fn get(&self, suffix: &str) -> Option<TensorId> {
        self.pieces.iter().find(|p| p.0 == suffix).map(|p| p.1)
    }
    fn any(&self, suffixes: &[&str]) -> Option<TensorId> {
        suffixes.iter().find_map(|s| self.get(s))
    }
    fn has(&self, piece: pieces::Piece) -> bool {
        self.pieces.iter().any(|p| p.2 == piece)
    }
    /// All tensors, the one with the codes first.
    fn parts(&self, codes: TensorId) -> Vec<TensorId> {
        let rest = self.weight.into_iter().chain(self.pieces.iter().map(|p| p.1)).filter(|&id| id != codes);
        std::iter::once(codes).chain(rest).collect()
    }
}

/// What was found: coded layers, and tensors that belong to none and are no weights.
#[derive(Debug, Default)]
pub struct Collected {
    /// Coded layers, by name.
    pub layers: Vec<Found>,
    /// Scales of activations and the like, and what they are.
    pub beside: Vec<(TensorId, String)>,
}

/// Finds coded layers among the tensors that are not `taken`.
pub fn collect(names: &Names, config: &QuantConfig, peek: &dyn Peek, taken: &mut [bool]) -> Collected {
    let mut out = Collected::default();
    let mut take = |found: Vec<Found>, taken: &mut [bool]| {
        for one in found {
            one.coded.parts.iter().for_each(|&id| taken[id] = true);
            out.layers.push(one);
        }
    };
    take(factors::collect(names, taken), taken);
    take(reparametrised::collect(names, taken), taken);
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for (id, name) in names.names.iter().enumerate().filter(|(id, _)| !taken[*id]) {
        if let Some((base, suffix, piece)) = pieces::piece(name, names) {
            groups.entry(base).or_default().pieces.push((suffix, id, piece));
        }
    }
    let mut beside = Vec::new();
    for (base, group) in &mut groups {
        let weight = names.get(&format!("{base}.weight")).or_else(|| names.get(base));
        group.weight = weight.filter(|&id| !taken[id]);
        if let Some(found) = schemes::describe(base, group, names, config, peek) {
            take(vec![found], taken);
            continue;
        }
        // Beside a plain weight only scales of activations are no weights of their own.
        let own = |p: &&(&str, TensorId, pieces::Piece)| group.weight.is_none() || p.2 == pieces::Piece::Activation;
        let alone = group.pieces.iter().filter(own);
        beside.extend(alone.filter_map(|&(_, id, piece)| Some((id, piece.alone()?.to_owned()))));
    }
    take(schemes::unknown(names, config, taken), taken);
    beside.retain(|(id, _)| !taken[*id]);
    beside.iter().for_each(|(id, _)| taken[*id] = true);
    out.beside = beside;
    out
}
