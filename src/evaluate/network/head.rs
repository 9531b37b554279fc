//! What turns hidden states into logits.

use super::pass::Pass;
use super::reader::Reader;
use crate::model::{LayerId, TensorId};
use candle_core::{Result as Tensed, Tensor};

/// What turns hidden states into logits.
#[derive(Debug, Clone, Copy)]
pub enum Head {
    /// A layer; a tied one too, where the model has it as a layer.
    Layer(LayerId),
    /// The embedding, where no head is stored and the two are tied.
    Table(TensorId),
    /// None: hidden states are all it says, and why.
    Missing(&'static str),
}

/// Said of models whose last layer sorts texts.
const CLASSIFIES: &str = "has no head that predicts tokens: it sorts texts into classes";
/// Said of models without a last layer.
const HEADLESS: &str = "has no head: none is stored, and config.json does not tie it to the embedding";

impl Head {
    /// Looks for it: a layer of its own, or the embedding where the two are tied, by default or as config.json says.
    pub fn read(
        reader: &mut Reader,
        module: &str,
        embedding: TensorId,
        vocabulary: usize,
        width: usize,
        tied: bool,
    ) -> Result<Self, String> {
        if reader.classifies() {
            return Ok(Self::Missing(CLASSIFIES));
        }
        match reader.layer(module) {
            Some(_) => reader.site(module, vocabulary, width).map(Self::Layer),
            None if reader.flag("tie_word_embeddings", tied) => Ok(Self::Table(embedding)),
            None => Ok(Self::Missing(HEADLESS)),
        }
    }

    /// Why nothing can be scored.
    pub fn missing(self) -> Option<&'static str> {
        if let Self::Missing(why) = self { Some(why) } else { None }
    }

    /// Logits of hidden states.
    pub fn of(self, pass: &mut Pass, hidden: &Tensor) -> Tensed<Tensor> {
        match self {
            Self::Layer(layer) => pass.linear(layer, hidden),
            Self::Table(table) => pass.against(table, hidden),
            Self::Missing(_) => Ok(hidden.clone()),
        }
    }
}
