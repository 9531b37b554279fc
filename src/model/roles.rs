//! What a weight does, read from its module name and shape.

use super::layer::{Kind, Role};

/// Kinds of blocks in which usual names mean other things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Attention and feed-forward parts.
    Usual,
    /// The module that holds the weight has a state-space model's parameters.
    StateSpace,
    /// RWKV's time and channel mixing.
    Rwkv,
}

/// What is known of a weight before its role is.
pub struct Clue<'a> {
    /// Module name.
    pub module: &'a str,
    /// The part of the name after the block, or all of it.
    pub label: &'a str,
    /// Whether the name holds a block.
    pub in_block: bool,
    /// Shape as stored.
    pub shape: &'a [usize],
    /// Whether running statistics are stored beside it.
    pub has_statistics: bool,
    /// What kind of block holds it.
    pub family: Family,
    /// Rows and columns of the layer `….net.2` beside `….net.0.proj`, where there is one.
    pub after: Option<[usize; 2]>,
}

/// Last segments that say the role by themselves.
const BY_LAST: &[(Role, &[&str])] = &[
    (
        Role::Query,
        &[
            "q_proj",
            "query",
            "wq",
            "q_lin",
            "to_q",
            "query_proj",
            "q_a_proj",
            "q_b_proj",
            "q_proj_weight",
            "add_q_proj",
        ],
    ),
    (Role::Key, &["k_proj", "key", "wk", "k_lin", "to_k", "key_proj", "k_proj_weight", "add_k_proj"]),
    (Role::Value, &["v_proj", "value", "wv", "v_lin", "to_v", "value_proj", "v_proj_weight", "add_v_proj"]),
    (
        Role::QueryKeyValue,
        &["qkv", "qkv_proj", "query_key_value", "c_attn", "in_proj_weight", "Wqkv", "wqkv", "to_qkv", "qkv_mlp"],
    ),
    (Role::KeyValue, &["kv", "kv_proj", "key_value", "kv_b_proj", "kv_a_proj_with_mqa", "to_kv"]),
    (Role::Output, &["o_proj", "out_proj", "out_lin", "to_out", "proj_out", "to_add_out"]),
    (Role::GateUp, &["gate_up_proj", "gate_up", "gate_and_up", "input_linear"]),
    (Role::Gate, &["gate_proj", "wi_0", "gate_linear"]),
    (Role::Up, &["up_proj", "wi_1", "wi", "c_fc", "dense_h_to_4h", "lin1", "linear1", "fc_in", "fc1", "up"]),
    (Role::Down, &["down_proj", "dense_4h_to_h", "lin2", "linear2", "fc_out", "fc2", "down", "output_linear"]),
    (Role::Head, &["lm_head", "embed_out", "classifier", "score", "head", "logits", "_fc", "fc_out_head", "cls_head"]),
    (Role::Router, &["router"]),
];

/// The role of a weight.
pub fn role(clue: &Clue) -> Role {
    let segments: Vec<&str> = clue.module.split('.').collect();
    let last = named_last(&segments);
    let lower = clue.module.to_ascii_lowercase();
    let within = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    if last.starts_with("weight_ih") || last.starts_with("weight_hh") {
        return Role::Recurrent;
    }
    if clue.shape.len() <= 1 {
        let normal = clue.has_statistics || within(&["norm", "ln_", "bn", "layernorm"]) || last.starts_with("ln");
        return if normal { Role::Norm } else { Role::Other };
    }
    if let Some(role) = special(clue, &segments, last) {
        return role;
    }
    if within(&["pos_embed", "position_embed", "embed_positions", "wpe", "positional", "position_bias"]) {
        return Role::Position;
    }
    if clue.shape.len() >= 4 || (clue.shape.len() == 3 && within(&["conv"])) {
        return Role::Convolution;
    }
    if is_embedding(last, &lower) {
        return Role::Embedding;
    }
    let attention = within(&["attn", "attention"]);
    let feed_forward = within(&["mlp", "ffn", "feed_forward", "expert", "densereludense", "moe"]);
    contextual(clue, last, attention, feed_forward).unwrap_or_else(|| by_last(clue, last))
}

/// The last segment that is no number: `to_out` of `to_out.0`.
fn named_last<'a>(segments: &[&'a str]) -> &'a str {
    let last = segments.last().copied().unwrap_or("");
    match segments {
        [.., before, "0"] if matches!(*before, "to_out" | "to_add_out") => before,
        _ => last,
    }
}

/// Roles of architectures with names of their own: state-space models, RWKV, diffusers' feed-forward parts, routers.
fn special(clue: &Clue, segments: &[&str], last: &str) -> Option<Role> {
    if clue.family == Family::StateSpace || clue.module.contains(".ssm.") {
        let role = match last {
            "in_proj" | "in_proj_qkvz" | "in_proj_ba" | "in_proj_qkv" | "in_proj_z" | "in_proj_a" | "in_proj_b" => {
                Role::SsmIn
            }
            "conv1d" | "x_conv1d" => Role::SsmConv,
            "x_proj" | "x_param_proj" => Role::SsmX,
            "dt_proj" => Role::SsmDt,
            "out_proj" => Role::SsmOut,
            _ => return None,
        };
        return Some(role);
    }
    let parent = segments.len().checked_sub(2).map_or("", |i| segments[i]);
    if clue.family == Family::Rwkv && clue.in_block {
        match parent {
            "att" | "attention" | "self_attn" | "time_mixer" => return Some(Role::TimeMix),
            "ffn" | "feed_forward" | "channel_mixer" => return Some(Role::ChannelMix),
            _ => {}
        }
    }
    if let [.., "net", "0", "proj"] = segments {
        let gated = clue.after.is_some_and(|[_, inner]| clue.shape.first() == Some(&(2 * inner)));
        return Some(if gated { Role::GateUp } else { Role::Up });
    }
    if let [.., "net", "2"] = segments {
        return Some(Role::Down);
    }
    let routes = |s: &str| s == "router" || s.ends_with("_router");
    if clue.in_block
        && (routes(last) || (routes(parent) && matches!(last, "layer" | "classifier" | "weight" | "linear")))
    {
        return Some(Role::Router);
    }
    if clue.in_block && parent == "gate" && last == "wg" {
        return Some(Role::Router);
    }
    let head = clue.module.ends_with("predictions.decoder") || clue.module.ends_with("lm_head.decoder");
    (head || (last == "proj_out" && segments.len() == 1)).then_some(Role::Head)
}

fn is_embedding(last: &str, lower: &str) -> bool {
    let names = ["wte", "shared", "embed", "embedding", "tok_embeddings", "embed_in", "emb", "cls_token"];
    names.contains(&last) || lower.contains("embed_tokens") || (lower.contains("embeddings") && !lower.contains("proj"))
}

/// Names that mean one thing inside attention and another inside the feed-forward part.
fn contextual(clue: &Clue, last: &str, attention: bool, feed_forward: bool) -> Option<Role> {
    if !clue.in_block && !attention && !feed_forward {
        return None;
    }
    let label = clue.label;
    Some(match last {
        "w1" if feed_forward => Role::Gate,
        "w3" if feed_forward => Role::Up,
        "w2" if feed_forward => Role::Down,
        "wo" if feed_forward => Role::Down,
        "wo" => Role::Output,
        "gate" if !attention => Role::Router,
        "in_proj" => Role::QueryKeyValue,
        "q" if attention => Role::Query,
        "k" if attention => Role::Key,
        "v" if attention => Role::Value,
        "o" | "proj" | "c_proj" if attention && !feed_forward => Role::Output,
        "c_proj" => Role::Down,
        "dense" if label.contains("attention.output") || (attention && !label.contains("intermediate")) => Role::Output,
        "dense" if label.contains("intermediate") => Role::Up,
        "dense" if label.contains("output") => Role::Down,
        _ => return None,
    })
}

fn by_last(clue: &Clue, last: &str) -> Role {
    let named = BY_LAST.iter().find(|(_, names)| names.contains(&last)).map(|(role, _)| *role);
    match named {
        // fc1, fc2 outside a block are a plain chain, not a feed-forward part.
        Some(Role::Up | Role::Down) if !clue.in_block => Role::Dense,
        Some(role) => role,
        None if last == "fc" && !clue.in_block => Role::Head,
        None if matches!(last, "output" | "out") && !clue.in_block => Role::Head,
        None if clue.module.starts_with("classifier")
            || (clue.module.starts_with("head.") && segments_of(clue.module) == 2) =>
        {
            Role::Head
        }
        None if clue.shape.len() == 2 => Role::Dense,
        None => Role::Other,
    }
}

fn segments_of(module: &str) -> usize {
    module.split('.').count()
}

/// The kind of operation, from role and number of axes.
pub fn kind(role: Role, axes: usize) -> Kind {
    match (role, axes) {
        (Role::Convolution | Role::SsmConv, 3) => Kind::Conv1d,
        (_, 4) => Kind::Conv2d,
        (_, 5) => Kind::Conv3d,
        (Role::Embedding | Role::Position, _) => Kind::Embedding,
        (Role::Norm, _) => Kind::Norm,
        (Role::Recurrent, _) => Kind::Recurrent,
        (_, 2) => Kind::Linear,
        _ => Kind::Other,
    }
}
