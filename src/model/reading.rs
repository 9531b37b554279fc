//! What is known of a checkpoint while its layers are read: names, rows of blocks, marks of its architecture.

use super::coded::{Found, Names};
use super::layer::Layer;
use super::naming::{self, Part};
use super::{Model, TensorId, orient, roles, stacks};
use std::collections::{BTreeMap, HashSet};

/// A checkpoint whose tensors are being read.
pub struct Reading<'a> {
    /// The checkpoint.
    pub model: &'a Model,
    /// Its tensors by canonical name.
    pub names: &'a Names<'a>,
    /// Rows of blocks.
    pub stacks: Vec<stacks::Stack>,
    numbers: BTreeMap<String, usize>,
    state_space: HashSet<&'a str>,
    rwkv: bool,
    flax: bool,
}

impl<'a> Reading<'a> {
    /// Of a checkpoint; tensors that are `taken` are parts of the coded layers, or no weights.
    pub fn new(model: &'a Model, names: &'a Names<'a>, taken: &[bool], coded: &[Found]) -> Self {
        let flax = orient::is_flax(model);
        let open = names.names.iter().enumerate().filter(|(id, _)| !taken[*id]);
        let modules = open.filter_map(|(_, name)| match split(name, flax) {
            (module, Part::Weight) => Some(module),
            _ => None,
        });
        let (numbers, rows) = stacks::number(modules.chain(coded.iter().map(|f| f.base.as_str())));
        let parent = |name: &'a String| name.rsplit_once('.');
        let marks = ["A_log", "dt_bias", "A_logs"];
        let state_space = names.names.iter().filter_map(parent).filter(|(_, last)| marks.contains(last)).map(|p| p.0);
        let state_space = state_space.collect();
        let rwkv = model.architecture().is_some_and(|m| m.starts_with("rwkv"))
            || names.names.iter().any(|n| n.ends_with(".receptance.weight"));
        Self { model, names, stacks: rows, numbers, state_space, rwkv, flax }
    }

    /// Module and part of a tensor.
    pub fn split(&self, id: TensorId) -> (&'a str, Part) {
        split(&self.names.names[id], self.flax)
    }

    /// A layer with block, label, role and kind read from its name and shape.
    pub fn named(&self, mut layer: Layer) -> Layer {
        let name = layer.name.clone();
        let (block, label) = match naming::block_of(&name) {
            Some((key, rest)) => (self.numbers.get(key).copied(), rest.to_owned()),
            None => (None, name.clone()),
        };
        let shape_of = |module: &str| match self.names.shape(&format!("{module}.weight")) {
            Some(&[m, n]) => Some([m, n]),
            _ => None,
        };
        let clue = roles::Clue {
            module: &name,
            label: &label,
            in_block: block.is_some(),
            shape: &layer.shape,
            has_statistics: self.names.get(&format!("{name}.running_mean")).is_some(),
            family: if name.rsplit_once('.').is_some_and(|(parent, _)| self.state_space.contains(parent)) {
                roles::Family::StateSpace
            } else if self.rwkv {
                roles::Family::Rwkv
            } else {
                roles::Family::Usual
            },
            after: name.strip_suffix("0.proj").and_then(|before| shape_of(&format!("{before}2"))),
        };
        layer.role = roles::role(&clue);
        layer.kind = roles::kind(layer.role, layer.shape.len());
        (layer.block, layer.label) = (block, label);
        layer
    }
}

fn split(name: &str, flax: bool) -> (&str, Part) {
    if flax { naming::split_flax(name) } else { naming::split(name) }
}
