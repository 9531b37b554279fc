//! BERT's encoder, and MiniLM: every token sees every other, LayerNorm after each part. It has no head here.

use super::Tokens;
use super::activation::Activation;
use super::pass::{Pass, heads};
use super::reader::Reader;
use crate::model::{LayerId, TensorId};
use candle_core::{Result, Tensor};

/// Gain and shift.
type Norm = (TensorId, TensorId);

/// BERT's encoder.
#[derive(Debug, Clone)]
pub struct Bert {
    words: TensorId,
    positions: TensorId,
    types: TensorId,
    norm: Norm,
    blocks: Vec<Block>,
    heads: usize,
    eps: f64,
    activation: Activation,
}

#[derive(Debug, Clone)]
struct Block {
    query: LayerId,
    key: LayerId,
    value: LayerId,
    output: LayerId,
    between: Norm,
    up: LayerId,
    down: LayerId,
    after: Norm,
}

impl Bert {
    /// Looks up everything it needs.
    pub fn read(reader: &mut Reader) -> std::result::Result<Self, String> {
        let kind = reader.word("position_embedding_type").unwrap_or("absolute");
        if kind != "absolute" {
            return Err(format!("position_embedding_type {kind} is not known"));
        }
        let width = reader.count("hidden_size")?;
        let heads = reader.count("num_attention_heads")?;
        let inner = reader.count("intermediate_size")?;
        if width % heads != 0 {
            return Err(format!("{heads} heads do not share a width of {width} evenly"));
        }
        let prefix = reader.prefix(&["bert.", "", "0.auto_model."], "embeddings.word_embeddings.weight")?;
        let table = |reader: &mut Reader, name: &str, rows: usize| {
            reader.tensor(&format!("{prefix}embeddings.{name}.weight"), &[rows, width])
        };
        let norm = |reader: &mut Reader, name: String| -> std::result::Result<Norm, String> {
            let gain = reader.tensor(&format!("{name}.weight"), &[width])?;
            Ok((gain, reader.tensor(&format!("{name}.bias"), &[width])?))
        };
        let (vocabulary, most) = (reader.count("vocab_size")?, reader.count("max_position_embeddings")?);
        let kinds = reader.count_or("type_vocab_size", 2)?;
        let words = table(reader, "word_embeddings", vocabulary)?;
        let positions = table(reader, "position_embeddings", most)?;
        let types = table(reader, "token_type_embeddings", kinds)?;
        let mut blocks = Vec::new();
        for n in 0..reader.count("num_hidden_layers")? {
            let name = |part: &str| format!("{prefix}encoder.layer.{n}.{part}");
            blocks.push(Block {
                query: reader.site(&name("attention.self.query"), width, width)?,
                key: reader.site(&name("attention.self.key"), width, width)?,
                value: reader.site(&name("attention.self.value"), width, width)?,
                output: reader.site(&name("attention.output.dense"), width, width)?,
                between: norm(reader, name("attention.output.LayerNorm"))?,
                up: reader.site(&name("intermediate.dense"), inner, width)?,
                down: reader.site(&name("output.dense"), width, inner)?,
                after: norm(reader, name("output.LayerNorm"))?,
            });
        }
        Ok(Self {
            words,
            positions,
            types,
            norm: norm(reader, format!("{prefix}embeddings.LayerNorm"))?,
            blocks,
            heads,
            eps: reader.number("layer_norm_eps", 1e-12)?,
            activation: Activation::named(reader.word("hidden_act").unwrap_or("gelu"))?,
        })
    }

    /// The last hidden state: (B·T) × width. All tokens are of the first type.
    pub fn hidden(&self, pass: &mut Pass, tokens: &Tokens) -> Result<Tensor> {
        let shape = tokens.shape;
        let words = pass.look_up(self.words, &tokens.flat)?;
        let x = (words + tokens.positions(pass, self.positions)?)?;
        let x = x.broadcast_add(&pass.look_up(self.types, &[0])?)?;
        let norm = |pass: &Pass, x: Tensor, by: Norm| pass.layer_norm(&x, by.0, Some(by.1), self.eps);
        let mut x = norm(pass, x, self.norm)?;
        for block in &self.blocks {
            let q = pass.linear(block.query, &x)?;
            let k = pass.linear(block.key, &x)?;
            let v = pass.linear(block.value, &x)?;
            let [q, k, v] = [q, k, v].map(|y| heads(&y, shape, self.heads));
            let mixed = pass.attend(&q?, &k?, &v?, None)?;
            let y = pass.linear(block.output, &mixed)?;
            x = norm(pass, pass.plus(y, &x)?, block.between)?;
            let up = pass.linear(block.up, &x)?;
            let up = pass.activate(self.activation, up)?;
            let y = pass.linear(block.down, &up)?;
            let y = pass.plus(y, &x)?;
            x = norm(pass, y, block.after)?;
        }
        Ok(x)
    }
}
