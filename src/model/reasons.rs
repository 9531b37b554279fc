//! Tensors of two or more axes that multiply nothing: one rule for each kind, and the reason that is shown.
//!
//! A plain weight is a matrix that multiplies unless a rule here says otherwise.

/// What is known of a tensor.
pub struct Clue<'a> {
    /// Its canonical name.
    pub name: &'a str,
    /// Its last segment, in lower case: `weight`, `a_log`, `rel_pos_h`.
    pub last: String,
    /// The module's last segment, in lower case: `relative_attention_bias` of `….relative_attention_bias.weight`.
    pub module: String,
    /// Shape as stored.
    pub shape: &'a [usize],
}

impl<'a> Clue<'a> {
    /// Of a tensor.
    pub fn new(name: &'a str, shape: &'a [usize]) -> Self {
        let mut parts = name.rsplit('.').map(str::to_ascii_lowercase);
        let last = parts.next().unwrap_or_default();
        let module = if last == "weight" { parts.next().unwrap_or_default() } else { last.clone() };
        Self { name, last, module, shape }
    }
    fn is(&self, words: &[&str]) -> bool {
        words.contains(&self.module.as_str())
    }
    fn ends(&self, words: &[&str]) -> bool {
        words.iter().any(|w| self.module.ends_with(w))
    }
    fn begins(&self, words: &[&str]) -> bool {
        words.iter().any(|w| self.module.starts_with(w))
    }
    fn bare(&self) -> bool {
        self.last != "weight"
    }
}

/// A kind of tensor that multiplies nothing.
pub struct Reason {
    /// Why it is not eligible.
    pub why: &'static str,
    /// Whether it is no parameter at all, but a buffer.
    pub buffer: bool,
    applies: fn(&Clue) -> bool,
}

/// All rules; the first that applies counts.
pub static REASONS: &[Reason] = &[
    Reason {
        why: "a pruning or attention mask, not a parameter",
        buffer: true,
        applies: |c| c.bare() && (c.is(&["mask", "attn_mask", "causal_mask", "tril"]) || c.ends(&["_mask"])),
    },
    Reason {
        why: "a fixed table beside the weights, not a parameter",
        buffer: true,
        applies: |c| {
            c.bare()
                && (c.is(&[
                    "anchors",
                    "filters",
                    "mel_filters",
                    "mel_basis",
                    "sinusoid",
                    "pixel_mean",
                    "pixel_std",
                    "freqs",
                    "freqs_cis",
                ]) || c.ends(&["_coords_table", "_position_index", "_buffer", "_index", "_indices", "_ids"]))
        },
    },
    Reason {
        why: "several tensors flattened into one by FSDP: save a full state dict",
        buffer: false,
        applies: |c| c.ends(&["_flat_param", "flat_param"]),
    },
    Reason {
        why: "a bias: added, not multiplied",
        buffer: false,
        applies: |c| {
            c.ends(&["bias", "_biases", "_bias_table", "_bias_u", "_bias_v"]) || c.is(&["biases", "bias_k", "bias_v"])
        },
    },
    Reason {
        why: "relative positions: added to attention scores, not multiplied",
        buffer: false,
        applies: |c| {
            c.begins(&["rel_pos", "relative_", "rel_h", "rel_w", "rel_emb", "rel_attn"]) || c.is(&["r_emb", "pos_bias"])
        },
    },
    Reason {
        why: "attention sinks: one number a head",
        buffer: false,
        applies: |c| c.bare() && (c.is(&["sinks", "sink", "attn_sink", "attention_sinks"]) || c.ends(&["_sinks"])),
    },
    Reason {
        why: "state matrix of a state-space model: taken entry by entry",
        buffer: false,
        applies: |c| {
            c.bare()
                && (c.is(&["a_log", "a_logs", "ds", "ssm_a", "log_a", "a_real", "a_imag", "log_dt"])
                    || matches!(c.name.rsplit('.').next(), Some("D" | "A" | "dt")))
        },
    },
    Reason {
        why: "mixes time steps entry by entry",
        buffer: false,
        applies: |c| {
            c.bare()
                && (c.begins(&["time_", "x_"]) && !c.ends(&["_w1", "_w2"]))
                && (c.name.contains("att") || c.name.contains("ffn") || c.name.contains("feed_forward"))
        },
    },
    Reason {
        why: "learned tokens: inputs, not multiplied",
        buffer: false,
        applies: |c| {
            c.is(&[
                "latents",
                "latent",
                "latent_queries",
                "queries",
                "query_embed",
                "probe",
                "soft_prompt",
                "image_newline",
                "prompt_embeddings",
                "memory_tokens",
                "class_embedding",
                "queries_embeddings",
            ]) && (c.bare() || c.is(&["query_embed", "soft_prompt", "prompt_embeddings"]))
                || c.bare() && c.ends(&["_token", "_tokens", "_queries", "_latents", "_query"])
        },
    },
    Reason {
        why: "a gain: one number a feature, taken entry by entry",
        buffer: false,
        applies: |c| {
            let bare = c.bare()
                && (c.is(&[
                    "gamma",
                    "beta",
                    "g",
                    "layer_scale",
                    "lambda_1",
                    "lambda_2",
                    "scale_shift_table",
                    "modulation",
                    "scale",
                ]) || c.ends(&["_gamma", "_beta", "layer_scale", "_scale_parameter"]));
            bare || c.shape.len() == 2 && c.last == "weight" && norm(&c.module)
        },
    },
    Reason {
        why: "parameters of an adapter or prompt, looked up and not multiplied",
        buffer: false,
        applies: |c| c.bare() && c.is(&["prefix_embedding", "prompt_embedding"]),
    },
];

/// Whether a module's name is that of a normalisation.
fn norm(module: &str) -> bool {
    let word = module.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    word.ends_with("norm") || matches!(word, "ln" | "bn" | "layernorm" | "ln_f")
}

/// Why a tensor of two or more axes multiplies nothing; `None` where it may.
pub fn reason(name: &str, shape: &[usize]) -> Option<&'static Reason> {
    let clue = Clue::new(name, shape);
    REASONS.iter().find(|r| (r.applies)(&clue))
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn what_multiplies_nothing_has_a_reason() {
        for name in [
            "model.layers.0.mlp.experts.gate_up_proj_bias",
            "backbone.layers.0.mixer.A_log",
            "m.D",
            "blocks.0.attn.rel_pos_h",
            "t5.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            "query_tokens",
            "blocks.0.norm.gamma",
            "fc.weight_mask",
            "layers.0.attn.relative_coords_table",
            "attn_mask",
            "reg_token",
            "perceiver.latents",
            "attn.bias_k",
            "attn.sinks",
            "attn.relative_position_bias_table",
            "attn.pos_bias_u",
            "blocks.0.norm1.weight",
            "blocks.0.att.time_decay",
            "vision_model.head.probe",
        ] {
            assert!(reason(name, &[4, 192]).is_some(), "{name}");
        }
        for name in [
            "fc.weight",
            "frobnicate.kernel_matrix",
            "attn.in_proj_weight",
            "rnn.weight_ih_l0",
            "text_projection",
            "visual.proj",
            "attn.query.weight",
            "mixer.dt_proj.weight",
            "blocks.0.att.time_maa_w1",
            "token.weight",
            "attention.self.key.weight",
            "mask_decoder.iou_token.weight",
            "x_embedder.weight",
            "scale.weight",
        ] {
            assert!(reason(name, &[4, 192]).is_none(), "{name}: {:?}", reason(name, &[4, 192]).map(|r| r.why));
        }
    }
}
