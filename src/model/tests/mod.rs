//! Synthetic headers of the architectures that people bring.

use super::*;
use serde_json::{Value, json};

mod convolutions;
mod copies;
mod families;
mod layouts;
mod names;
mod nothing;
mod odd;
mod parts;
mod quantised;
mod roles;
mod ties;

/// A model of these tensors, in this file order.
pub(crate) fn model_of(tensors: &[(&str, &[usize], DType)], config: Value) -> Model {
    let mut at = 0;
    let tensors = tensors
        .iter()
        .map(|(name, shape, dtype)| {
            let bytes = shape.iter().product::<usize>() * dtype.bits() / 8;
            at += bytes;
            Tensor { name: (*name).to_owned(), dtype: *dtype, shape: shape.to_vec(), file: 0, range: at - bytes..at }
        })
        .collect();
    let config = (!config.is_null()).then_some(config);
    Model { name: "synthetic".into(), tensors, config, ..Model::default() }.from_header()
}

/// Why a layer is not eligible.
fn why<'a>(model: &'a Model, name: &str) -> &'a str {
    named(model, name).why_not.as_deref().unwrap_or("eligible")
}

/// Whether a tensor is listed as no weight.
fn aside(model: &Model, name: &str) -> bool {
    model.not_weights.iter().any(|(id, _)| model.tensors[*id].name == name)
}

/// Stored names of a layer's tensors.
fn parts<'a>(model: &'a Model, name: &str) -> Vec<&'a str> {
    named(model, name).parts().iter().map(|&id| model.tensors[id].name.as_str()).collect()
}

fn named<'a>(model: &'a Model, name: &str) -> &'a Layer {
    model.layers.iter().find(|l| l.name == name).unwrap_or_else(|| {
        let names: Vec<&str> = model.layers.iter().map(|l| l.name.as_str()).collect();
        panic!("no layer {name} among {names:?}")
    })
}

fn roles(model: &Model, block: Option<usize>) -> Vec<Role> {
    model.layers.iter().filter(|l| l.block == block && l.measurable()).map(|l| l.role).collect()
}

fn order(model: &Model) -> Vec<&str> {
    model.layers.iter().map(|l| l.name.as_str()).collect()
}
