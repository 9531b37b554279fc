//! Llama and what is built like it: Mistral, Qwen2 (biases of q, k, v), Qwen3 (q and k normalised by head), SmolLM.

use super::activation::Activation;
use super::pass::{Mask, Pass, heads};
use super::reader::Reader;
use super::rope::Rope;
use super::{Head, Tokens};
use crate::model::{LayerId, TensorId};
use candle_core::{Result, Tensor};

/// Model types that run here.
pub const TYPES: &[&str] = &["llama", "mistral", "qwen2", "qwen3", "smollm"];

/// Blocks of rotary attention and a gated feed-forward part, with RMSNorm before each.
#[derive(Debug, Clone)]
pub struct Llama {
    embedding: TensorId,
    blocks: Vec<Block>,
    norm: TensorId,
    head: Head,
    rope: Rope,
    heads: usize,
    groups: usize,
    eps: f64,
    activation: Activation,
}

#[derive(Debug, Clone)]
struct Block {
    before: TensorId,
    query: LayerId,
    key: LayerId,
    value: LayerId,
    output: LayerId,
    query_norm: Option<TensorId>,
    key_norm: Option<TensorId>,
    between: TensorId,
    gate: LayerId,
    up: LayerId,
    down: LayerId,
    /// How far back it looks.
    window: Option<usize>,
}

impl Llama {
    /// Looks up everything it needs.
    pub fn read(reader: &mut Reader, kind: &str) -> std::result::Result<Self, String> {
        let width = reader.count("hidden_size")?;
        let heads = reader.count("num_attention_heads")?;
        let groups = reader.count_or("num_key_value_heads", heads)?;
        let head_width = reader.count_or("head_dim", width / heads)?;
        if heads % groups != 0 {
            return Err(format!("{heads} heads do not share {groups} keys evenly"));
        }
        let vocabulary = reader.count("vocab_size")?;
        let hidden = reader.count("intermediate_size")?;
        let activation = Activation::named(reader.word("hidden_act").unwrap_or("silu"))?;
        let rope = Rope::read(reader, head_width)?;
        let prefix = reader.prefix(&["model.", ""], "embed_tokens.weight")?;
        let embedding = reader.tensor(&format!("{prefix}embed_tokens.weight"), &[vocabulary, width])?;
        let mut blocks = Vec::new();
        for n in 0..reader.count("num_hidden_layers")? {
            let name = |part: &str| format!("{prefix}layers.{n}.{part}");
            let (queries, keys) = (heads * head_width, groups * head_width);
            let norm = |reader: &mut Reader, part: &str| {
                let name = name(part);
                if reader.has(&name) { reader.tensor(&name, &[head_width]).map(Some) } else { Ok(None) }
            };
            let (query_norm, key_norm) =
                (norm(reader, "self_attn.q_norm.weight")?, norm(reader, "self_attn.k_norm.weight")?);
            if kind == "qwen3" && (query_norm.is_none() || key_norm.is_none()) {
                return Err(format!("it has no tensor {}", name("self_attn.q_norm.weight")));
            }
            blocks.push(Block {
                before: reader.tensor(&name("input_layernorm.weight"), &[width])?,
                query: reader.site(&name("self_attn.q_proj"), queries, width)?,
                key: reader.site(&name("self_attn.k_proj"), keys, width)?,
                value: reader.site(&name("self_attn.v_proj"), keys, width)?,
                output: reader.site(&name("self_attn.o_proj"), width, queries)?,
                query_norm,
                key_norm,
                between: reader.tensor(&name("post_attention_layernorm.weight"), &[width])?,
                gate: reader.site(&name("mlp.gate_proj"), hidden, width)?,
                up: reader.site(&name("mlp.up_proj"), hidden, width)?,
                down: reader.site(&name("mlp.down_proj"), width, hidden)?,
                window: window(reader, kind, n)?,
            });
        }
        let norm = reader.tensor(&format!("{prefix}norm.weight"), &[width])?;
        let head = Head::read(reader, "lm_head", embedding, vocabulary, width, false)?;
        let eps = reader.number("rms_norm_eps", 1e-6)?;
        Ok(Self { embedding, blocks, norm, head, rope, heads, groups, eps, activation })
    }

    /// The last hidden state, normalised: (B·T) × width.
    pub fn hidden(&self, pass: &mut Pass, tokens: &Tokens) -> Result<Tensor> {
        let shape @ [_, t] = tokens.shape;
        let (cos, sin) = self.rope.table(t, pass.device())?;
        let full = Mask::causal(None);
        let mut x = pass.look_up(self.embedding, &tokens.flat)?;
        for block in &self.blocks {
            let narrow = block.window.filter(|w| *w < t).map(|w| Mask::causal(Some(w)));
            let h = pass.rms_norm(&x, block.before, self.eps)?;
            let mut q = pass.linear(block.query, &h)?;
            let mut k = pass.linear(block.key, &h)?;
            let v = pass.linear(block.value, &h)?;
            (q, k) = (heads(&q, shape, self.heads)?, heads(&k, shape, self.groups)?);
            if let Some(norm) = block.query_norm {
                q = pass.rms_norm(&q, norm, self.eps)?;
            }
            if let Some(norm) = block.key_norm {
                k = pass.rms_norm(&k, norm, self.eps)?;
            }
            (q, k) = (pass.rotate(&q, &cos, &sin)?, pass.rotate(&k, &cos, &sin)?);
            let v = heads(&v, shape, self.groups)?;
            let mixed = pass.attend(&q, &k, &v, Some(narrow.as_ref().unwrap_or(&full)))?;
            let y = pass.linear(block.output, &mixed)?;
            x = pass.plus(y, &x)?;
            let h = pass.rms_norm(&x, block.between, self.eps)?;
            let gate = pass.linear(block.gate, &h)?;
            let up = pass.linear(block.up, &h)?;
            let y = pass.gate(self.activation, gate, &up)?;
            let y = pass.linear(block.down, &y)?;
            x = pass.plus(y, &x)?;
        }
        pass.rms_norm(&x, self.norm, self.eps)
    }

    /// Why it has no head.
    pub fn headless(&self) -> Option<&'static str> {
        self.head.missing()
    }

    /// Logits of hidden states: rows × vocabulary.
    pub fn head(&self, pass: &mut Pass, hidden: &Tensor) -> Result<Tensor> {
        self.head.of(pass, hidden)
    }
}

/// How far back the block looks: Mistral's blocks all alike, Qwen's from `max_window_layers` on where
/// `use_sliding_window` says so, or as `layer_types` lists.
fn window(reader: &Reader, kind: &str, block: usize) -> std::result::Result<Option<usize>, String> {
    let Some(window) = reader.entry("sliding_window").filter(|_| kind != "llama") else { return Ok(None) };
    let window = window.as_u64().ok_or_else(|| format!("sliding_window in config.json is {window}, not a number"))?;
    let listed = reader.entry("layer_types").and_then(|l| l.get(block)).and_then(serde_json::Value::as_str);
    let slides = match (listed, kind) {
        (Some(listed), _) => listed == "sliding_attention",
        (None, "qwen2" | "qwen3") => {
            reader.flag("use_sliding_window", false) && block >= reader.count_or("max_window_layers", 28)?
        }
        _ => true,
    };
    Ok(slides.then_some(window as usize))
}
