//! Module order: the order in which a model computes, which alphabetical file order is not.

use super::layer::{Layer, Role};
use super::naming::{natural, ordinal};
use std::collections::HashMap;

/// Sorts layers into module order: embeddings, blocks by number and by architecture inside, final norm, heads.
/// `sequence` is the explicit order of config.json's layer list, when there is one.
pub fn sort(layers: &mut [Layer], sequence: &[String]) {
    let has_blocks = layers.iter().any(|l| l.block.is_some());
    let places: HashMap<&str, usize> = sequence.iter().enumerate().rev().map(|(i, s)| (s.as_str(), i)).collect();
    let key = |layer: &Layer| Key {
        place: places.get(layer.name.as_str()).copied().unwrap_or(usize::MAX),
        section: section(layer, has_blocks),
        block: layer.block,
        slot: slot(layer),
    };
    let keys: Vec<Key> = layers.iter().map(key).collect();
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by(|&a, &b| keys[a].cmp(&keys[b]).then_with(|| natural(&layers[a].name, &layers[b].name)));
    permute(layers, &mut order);
}

/// Puts the layer of number `order[i]` at place `i`, in place: copies of the layers of a large model would take as much
/// memory again.
fn permute(layers: &mut [Layer], order: &mut [usize]) {
    for start in 0..order.len() {
        let mut at = start;
        // A cycle of the permutation, one exchange a member; a place that is done points to itself.
        while order[at] != start {
            let next = std::mem::replace(&mut order[at], at);
            layers.swap(at, next);
            at = next;
        }
        order[at] = at;
    }
}

/// What a layer is sorted by before its name, computed once for each.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    place: usize,
    section: u8,
    block: Option<usize>,
    slot: (u8, usize, u8),
}

/// 0 what comes before the blocks, 1 the blocks, 2 what follows them.
fn section(layer: &Layer, has_blocks: bool) -> u8 {
    if layer.block.is_some() {
        return 1;
    }
    let name = layer.name.to_ascii_lowercase();
    let starts = |words: &[&str]| words.iter().any(|w| name.contains(w));
    match layer.role {
        Role::Head => 3,
        Role::Embedding | Role::Position => 0,
        _ if !has_blocks => 1,
        _ if starts(&[
            "head",
            "final",
            "ln_f",
            "pooler",
            "classifier",
            "conv_head",
            "post_layernorm",
            "_fc",
            "_bn1",
        ]) =>
        {
            2
        }
        _ if starts(&["embed", "stem", "pre_layernorm", "patch", "embln"]) => 0,
        Role::Convolution => 0,
        // ResNet's bn1 belongs to its stem; a bare final `norm` or `layer_norm` does not.
        Role::Norm if starts(&["bn1", "bn0"]) => 0,
        _ => 2,
    }
}

/// Order inside a block (or of a model without blocks): (slot, number, norm after its convolution).
fn slot(layer: &Layer) -> (u8, usize, u8) {
    let label = layer.label.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| label.contains(w));
    if let Some(at) = MOBILE.iter().position(|w| label.trim_start_matches("layer.").starts_with(w)) {
        return (35, at, 0);
    }
    let fixed = match layer.role {
        Role::Embedding if has(&["word", "tok", "wte"]) => 0,
        Role::Embedding => 2,
        Role::Position => 1,
        Role::Query | Role::QueryKeyValue => 20,
        Role::Key => 21,
        Role::KeyValue => 22,
        Role::Value => 23,
        Role::Output => 30,
        Role::Router => 45,
        Role::Gate | Role::GateUp => 50,
        Role::Up => 51,
        Role::Down => 52,
        Role::Norm => norm_slot(layer, &label),
        Role::Convolution => 35,
        Role::SsmIn => 25,
        Role::SsmConv => 26,
        Role::SsmX => 27,
        Role::SsmDt => 28,
        Role::SsmOut => 30,
        Role::TimeMix => 29,
        Role::ChannelMix => 55,
        Role::Recurrent => 60,
        Role::Dense => 70,
        Role::Head => 80,
        Role::Other => 65,
    };
    match fixed {
        // Convolutions and their batch norms alternate: conv1 bn1 conv2 bn2, then the short cut.
        35 => {
            let side = usize::from(has(&["downsample", "shortcut"])) * 1000;
            (35, side + ordinal(&label), u8::from(layer.role == Role::Norm))
        }
        // Mixture of experts: expert by expert would separate roles; keep gate, up, down of one expert together.
        50..=52 if label.contains("expert") => (50, 1 + ordinal(&label), fixed - 50),
        // LSTM: weight_ih before weight_hh of each layer and direction.
        60 => (60, ordinal(label.rsplit("_l").next().unwrap_or("")), u8::from(label.contains("hh"))),
        _ => (fixed, 0, 0),
    }
}

/// Inverted residual blocks, in the order in which they compute.
const MOBILE: &[&str] =
    &["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_se_reduce", "_se_expand", "_project_conv", "_bn2"];

fn norm_slot(layer: &Layer, label: &str) -> u8 {
    let has = |words: &[&str]| words.iter().any(|w| label.contains(w));
    if layer.block.is_none() {
        return if has(&["bn", "downsample"]) { 35 } else { 5 };
    }
    if has(&["bn", "downsample", "shortcut"]) {
        return 35;
    }
    if has(&["q_norm", "k_norm", "q_layernorm", "k_layernorm", "query_norm", "key_norm"]) {
        return 24;
    }
    if has(&["post_feedforward", "output_layer_norm", "final_layer_norm"]) {
        return 60;
    }
    if has(&["attention.output", "sa_layer_norm", "post_attention", "attention_output", "self_attn_layer_norm"]) {
        return 40;
    }
    if has(&["ln_2", "norm2", "layer_norm2", "layernorm_after", "ffn_norm", "pre_feedforward", "post_layernorm", "ln2"])
    {
        return 41;
    }
    if has(&["ln_1", "norm1", "layer_norm1", "input_layernorm", "attention_norm", "layernorm_before", "ln1"]) {
        return 10;
    }
    if has(&["output.layernorm", "output.layer_norm"]) { 60 } else { 10 }
}
