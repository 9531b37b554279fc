//! What the channels of neighbouring layers tell of a convolution: its groups, and whether it is transposed.

use super::TensorId;
use super::coded::{Coded, Names, Scheme};
use super::layer::Layer;

/// Words in the names of transposed convolutions.
const UPWARD: &[&str] = &[
    "deconv",
    "convtranspose",
    "conv_transpose",
    "transconv",
    "convt",
    "upconv",
    "up_conv",
    "upsample",
    "output_upscaling",
    "upscaling",
    "ups.",
    "conv_t",
];

/// The layout of a transposed convolution `[in, out / groups, …]`, where its bias or its name says so.
pub fn transposed(names: &Names, id: TensorId, module: &str) -> Option<Coded> {
    let tensor = &names.tensors[id];
    let &[first, second, _, ..] = tensor.shape.as_slice() else { return None };
    let bias = names.shape(&format!("{module}.bias")).and_then(|s| s.first().copied());
    let lower = format!("{}.", module.to_ascii_lowercase());
    let named = UPWARD.iter().any(|w| lower.contains(w));
    let by_bias = bias.is_some_and(|b| b != first && b % second == 0 && b > 0);
    // A square one shows nothing of itself; the name decides, and no bias may contradict.
    let by_name =
        named && bias.is_none_or(|b| b == second) && second > 1 && (first > second || lower.contains("transpose"));
    (by_bias || by_name).then(|| Coded {
        scheme: Scheme::Layout,
        words: "a transposed convolution, stored inputs first".to_owned(),
        parts: vec![id],
    })
}

/// Fills in the groups of convolutions whose geometry is not known: from the channels of the convolution before. In
/// doubt they stay unknown.
pub fn infer_groups(layers: &mut [Layer]) {
    let mut before: Vec<usize> = Vec::new();
    for layer in layers.iter_mut() {
        if !layer.kind.is_conv() || layer.coded.is_some() {
            continue;
        }
        let (inputs, outputs) = (layer.shape.get(1).copied().unwrap_or(0), layer.rows());
        layer.groups = match (layer.conv, before.last().copied()) {
            (Some(geometry), _) => Some(geometry.groups),
            (None, _) if layer.role == super::Role::SsmConv => Some(outputs),
            (None, None) => Some(1),
            (None, Some(channels)) => groups(inputs, outputs, channels, &before, &layer.name),
        };
        before.push(outputs);
    }
}

fn groups(inputs: usize, outputs: usize, channels: usize, before: &[usize], name: &str) -> Option<usize> {
    let side = ["downsample", "shortcut", "skip", "identity", "residual", "proj"].iter().any(|w| name.contains(w));
    if inputs == channels || (side && before.contains(&inputs)) {
        return Some(1);
    }
    let divides = inputs > 0 && channels.is_multiple_of(inputs) && outputs.is_multiple_of(channels / inputs);
    (divides && !before.contains(&inputs)).then(|| channels / inputs)
}
