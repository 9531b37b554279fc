//! GPT-2: learned positions, LayerNorm before each part, queries, keys and values of one matrix, a tied head.

use super::activation::Activation;
use super::pass::{Mask, Pass, heads};
use super::reader::Reader;
use super::{Head, Tokens};
use crate::model::{LayerId, TensorId};
use candle_core::{Result, Tensor};

/// GPT-2.
#[derive(Debug, Clone)]
pub struct Gpt2 {
    embedding: TensorId,
    positions: TensorId,
    blocks: Vec<Block>,
    norm: Norm,
    head: Head,
    heads: usize,
    eps: f64,
    activation: Activation,
}

/// Gain and shift.
type Norm = (TensorId, TensorId);

#[derive(Debug, Clone)]
struct Block {
    before: Norm,
    together: LayerId,
    output: LayerId,
    between: Norm,
    up: LayerId,
    down: LayerId,
}

impl Gpt2 {
    /// Looks up everything it needs.
    pub fn read(reader: &mut Reader) -> std::result::Result<Self, String> {
        for (key, usual) in [("scale_attn_weights", true), ("scale_attn_by_inverse_layer_idx", false)] {
            if reader.flag(key, usual) != usual {
                return Err(format!("{key}: {} in config.json is not known", !usual));
            }
        }
        let width = reader.count("n_embd")?;
        let heads = reader.count("n_head")?;
        let vocabulary = reader.count("vocab_size")?;
        let inner = reader.count_or("n_inner", 4 * width)?;
        if width % heads != 0 {
            return Err(format!("{heads} heads do not share a width of {width} evenly"));
        }
        let prefix = reader.prefix(&["transformer.", ""], "wte.weight")?;
        let embedding = reader.tensor(&format!("{prefix}wte.weight"), &[vocabulary, width])?;
        let most = reader.count_or("n_positions", 1024)?;
        let positions = reader.tensor(&format!("{prefix}wpe.weight"), &[most, width])?;
        let norm = |reader: &mut Reader, name: String| -> std::result::Result<Norm, String> {
            let gain = reader.tensor(&format!("{name}.weight"), &[width])?;
            Ok((gain, reader.tensor(&format!("{name}.bias"), &[width])?))
        };
        let mut blocks = Vec::new();
        for n in 0..reader.count("n_layer")? {
            let name = |part: &str| format!("{prefix}h.{n}.{part}");
            blocks.push(Block {
                before: norm(reader, name("ln_1"))?,
                together: reader.site(&name("attn.c_attn"), 3 * width, width)?,
                output: reader.site(&name("attn.c_proj"), width, width)?,
                between: norm(reader, name("ln_2"))?,
                up: reader.site(&name("mlp.c_fc"), inner, width)?,
                down: reader.site(&name("mlp.c_proj"), width, inner)?,
            });
        }
        Ok(Self {
            embedding,
            positions,
            blocks,
            norm: norm(reader, format!("{prefix}ln_f"))?,
            head: Head::read(reader, "lm_head", embedding, vocabulary, width, true)?,
            heads,
            eps: reader.number("layer_norm_epsilon", 1e-5)?,
            activation: Activation::named(reader.word("activation_function").unwrap_or("gelu_new"))?,
        })
    }

    /// The last hidden state, normalised: (B·T) × width.
    pub fn hidden(&self, pass: &mut Pass, tokens: &Tokens) -> Result<Tensor> {
        let shape = tokens.shape;
        let mask = Mask::causal(None);
        let mut x = (pass.look_up(self.embedding, &tokens.flat)? + tokens.positions(pass, self.positions)?)?;
        for block in &self.blocks {
            let h = pass.layer_norm(&x, block.before.0, Some(block.before.1), self.eps)?;
            let together = pass.linear(block.together, &h)?;
            let width = together.dim(1)? / 3;
            let part = |i: usize| heads(&together.narrow(1, i * width, width)?, shape, self.heads);
            let mixed = pass.attend(&part(0)?, &part(1)?, &part(2)?, Some(&mask))?;
            let y = pass.linear(block.output, &mixed)?;
            x = pass.plus(y, &x)?;
            let h = pass.layer_norm(&x, block.between.0, Some(block.between.1), self.eps)?;
            let up = pass.linear(block.up, &h)?;
            let y = pass.linear(block.down, &pass.activate(self.activation, up)?)?;
            x = pass.plus(y, &x)?;
        }
        pass.layer_norm(&x, self.norm.0, Some(self.norm.1), self.eps)
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
