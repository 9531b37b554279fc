//! Which axis of a stored tensor is the outputs': PyTorch's order, GPT-2's `Conv1D`, bare projections, other frameworks.

use super::coded::{Coded, Names, Scheme};
use super::layer::{Layer, Orientation};
use super::{Model, TensorId, channels};

/// Model types whose `Conv1D` layers are stored `[in, out]`.
const CONV1D: &[&str] = &["gpt2", "openai-gpt", "imagegpt", "decision_transformer"];

/// Parameters outside a module that are multiplied from the right, `x @ P`: stored inputs first.
const BARE: &[&str] = &["text_projection", "proj", "image_projection", "visual_projection"];

/// `[in, out]` or `[out, in]`: told by the framework, the model type, the name, or by a bias as long as the second axis.
pub fn orientation(model: &Model, names: &Names, layer: &Layer) -> Orientation {
    let &[a, b] = layer.shape.as_slice() else { return Orientation::OutIn };
    let stored = names.names[layer.tensor].as_str();
    let last = layer.label.rsplit('.').next().unwrap_or(&layer.label);
    if is_flax(model) && stored.ends_with("kernel") {
        return Orientation::InOut;
    }
    let factor = last.ends_with("_w1") || last.ends_with("_w2");
    if !stored.ends_with(".weight") && (BARE.contains(&last) || factor && last.starts_with("time_")) {
        return Orientation::InOut;
    }
    let conv1d = matches!(last, "c_attn" | "c_proj" | "c_fc" | "q_attn");
    if conv1d && model.architecture().is_some_and(|m| CONV1D.contains(&m)) {
        return Orientation::InOut;
    }
    let bias = layer.bias.map(|i| names.tensors[i].len());
    if a != b && bias == Some(b) && (conv1d || model.architecture().is_none()) {
        return Orientation::InOut;
    }
    Orientation::OutIn
}

/// A square `c_proj` shows no orientation of its own: it follows its siblings.
pub fn transpose_siblings(layers: &mut [Layer]) {
    let transposed = layers.iter().any(|l| l.orientation == Orientation::InOut && l.label.contains("c_"));
    for layer in layers.iter_mut().filter(|l| transposed && l.shape.len() == 2 && l.coded.is_none()) {
        if matches!(layer.label.rsplit('.').next(), Some("c_attn" | "c_proj" | "c_fc")) {
            layer.orientation = Orientation::InOut;
            layer.matrix = [layer.shape[1], layer.shape[0]];
        }
    }
}

/// A layout of a convolution that is not PyTorch's `[out, in, …]`.
pub fn layout(model: &Model, names: &Names, id: TensorId, module: &str, layer: &Layer) -> Option<Coded> {
    if !layer.kind.is_conv() || layer.shape.len() < 3 {
        return None;
    }
    let of = |words: &str| Coded { scheme: Scheme::Layout, words: words.to_owned(), parts: vec![id] };
    match format(model) {
        Some("mlx") => Some(of("a convolution of MLX, its inputs last")),
        _ if is_flax(model) => Some(of("a convolution of Flax, its taps first")),
        _ => channels::transposed(names, id, module),
    }
}

fn format(model: &Model) -> Option<&str> {
    model.metadata.get("format").map(String::as_str)
}

/// Whether the checkpoint is of Flax or another framework that stores `kernel`s inputs first.
pub fn is_flax(model: &Model) -> bool {
    matches!(format(model), Some("flax" | "jax" | "tf" | "keras"))
        && model.names.iter().any(|n| n.ends_with(".kernel") || n == "kernel")
}
