//! Experts of a mixture that are stored as one tensor `[E, a, b]`.

use super::{Coded, Scheme};
use crate::model::{Model, TensorId};
use serde_json::Value;

/// Last parts of the names of experts' weights.
const NAMES: &[&str] = &[
    "gate_up_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
    "w1",
    "w2",
    "w3",
    "wi",
    "wo",
    "input_linear",
    "output_linear",
];

/// Model types whose stacked experts are inputs first, as they are multiplied: `x @ W[e]`.
const INPUTS_FIRST: &[&str] = &["gpt_oss", "llama4", "llama4_text", "qwen3_vl_moe", "qwen3_vl_moe_text"];

/// Model types whose stacked experts are outputs first.
const OUTPUTS_FIRST: &[&str] = &[
    "mixtral",
    "qwen3_5_moe",
    "qwen3_5_moe_text",
    "granitemoe",
    "granitemoeshared",
    "granitemoehybrid",
    "jetmoe",
    "qwen3_next",
];

/// The stack that a tensor of three axes is, and `[out_features, in_features]` of one expert where that is known.
pub fn stacked(model: &Model, id: TensorId, module: &str) -> Option<(Coded, Option<[usize; 2]>)> {
    let &[experts, a, b] = model.tensors.get(id)?.shape.as_slice() else { return None };
    let lower = module.to_ascii_lowercase();
    let last = module.rsplit('.').next().unwrap_or(module);
    let mixture =
        ["expert", "moe", "switch_mlp"].iter().any(|w| lower.contains(w)) || count(model) == Some(experts as u64);
    if !mixture || !(NAMES.contains(&last) || lower.contains("expert") || lower.contains("switch_mlp")) {
        return None;
    }
    let kind = model.architecture().unwrap_or("");
    let matrix = if INPUTS_FIRST.contains(&kind) && !lower.contains("switch_mlp") {
        Some([b, a])
    } else if OUTPUTS_FIRST.contains(&kind) || lower.contains("switch_mlp") || lower.contains("_linear") {
        Some([a, b])
    } else {
        None
    };
    let coded = Coded { scheme: Scheme::Experts, words: format!("{experts} experts"), parts: vec![id] };
    Some((coded, matrix))
}

/// Whether a layer is one of the experts of a mixture (not a shared one, which every token uses).
pub fn expert_of(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    (name.contains("experts.")
        || name.ends_with("experts")
        || name.contains("switch_mlp")
        || name.contains("block_sparse_moe."))
        && !name.contains("shared_expert")
        && !name.contains("router")
        && name.rsplit('.').next() != Some("gate")
}

/// How many experts a layer has, by the config.
fn count(model: &Model) -> Option<u64> {
    number(model, &["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"])
}

/// `[chosen, all]`: how many of the experts a token uses.
pub fn chosen(model: &Model) -> Option<[u64; 2]> {
    let keys = [
        "num_experts_per_tok",
        "num_experts_per_token",
        "experts_per_token",
        "moe_topk",
        "moe_top_k",
        "num_selected_experts",
        "top_k_experts",
    ];
    let (few, all) = (number(model, &keys)?, count(model)?);
    (few > 0 && few < all).then_some([few, all])
}

fn number(model: &Model, keys: &[&str]) -> Option<u64> {
    let config = model.config.as_ref()?;
    let places = [Some(config), config.get("text_config"), config.get("ffn_config"), config.get("thinker_config")];
    places.into_iter().flatten().find_map(|p| keys.iter().find_map(|k| p.get(k).and_then(Value::as_u64)))
}
