//! A part of the data, in the pieces in which a model takes it.

use super::{Data, DataError, Images, Kind};
use crate::evaluate::{Token, Tokeniser};
use crate::model::Model;
use serde_json::Value;
use std::ops::Range;

/// Images that are run together.
const BATCH: usize = 64;

/// The longest window that is taken unasked. Some models say 128 k, and attention would need as many squares of memory.
pub const LONGEST: usize = 1024;

/// What is run at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Unit {
    /// Tokens that see each other and nothing before. The first is not predicted.
    Window {
        /// At least two.
        tokens: Vec<u32>,
        /// UTF-8 bytes of the text that the predicted tokens stand for.
        bytes: usize,
    },
    /// Labelled images.
    Images {
        /// Scaled pixels, example after example in the model's order of axes.
        pixels: Vec<f32>,
        /// The class of each example.
        labels: Vec<u32>,
    },
}

impl Unit {
    /// Tokens or examples that the model runs.
    pub fn len(&self) -> usize {
        match self {
            Self::Window { tokens, .. } => tokens.len(),
            Self::Images { labels, .. } => labels.len(),
        }
    }
    /// Whether there are none; no slice holds such a unit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A part of the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// File and range, such as `eval.safetensors[0..4096]`.
    pub name: String,
    /// The range, of bytes or examples.
    pub range: Range<usize>,
    /// Tokens of a full window; `None` for images.
    pub context: Option<usize>,
    /// The token that each window begins with, before the text; it is one of the context's and is not predicted.
    pub begin: Option<u32>,
    /// The pieces, in order.
    pub units: Vec<Unit>,
}

impl Slice {
    /// Tokens or examples that the model runs.
    pub fn len(&self) -> usize {
        self.units.iter().map(Unit::len).sum()
    }
    /// A hash of all that is run, as text.
    pub fn content(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut words = |some: &[u32]| {
            some.iter().for_each(|x| {
                hasher.update(&x.to_le_bytes());
            });
        };
        for unit in &self.units {
            match unit {
                Unit::Window { tokens, bytes } => {
                    words(&[tokens.len() as u32, *bytes as u32]);
                    words(tokens);
                }
                Unit::Images { pixels, labels } => {
                    words(&[pixels.len() as u32, labels.len() as u32]);
                    pixels.iter().for_each(|p| words(&[p.to_bits()]));
                    words(labels);
                }
            }
        }
        hasher.finalize().to_hex().to_string()
    }
    /// Whether there are none; an empty slice is an error.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }
}

impl Data {
    /// A range of bytes or examples in units.
    ///
    /// Text becomes windows of `context` tokens that do not overlap; without one those of the model
    /// (`max_position_embeddings`, `n_positions`), at most `LONGEST`. A last short window counts if it predicts
    /// anything. Where the tokenizer begins texts with a token of its own so does each window (see [`super::Begin`]). Except for
    /// models of bytes both ends of the range move back to the start of a UTF-8 character.
    pub fn slice(&self, model: &Model, range: Range<usize>, context: Option<usize>) -> Result<Slice, DataError> {
        self.check(&range)?;
        match &self.kind {
            Kind::Images(images) => Ok(self.named(range.clone(), None, None, batches(images, range))),
            Kind::Text(bytes) => self.windows(model, bytes, range, context),
        }
    }

    fn named(&self, range: Range<usize>, context: Option<usize>, begin: Option<u32>, units: Vec<Unit>) -> Slice {
        Slice { name: format!("{}[{}..{}]", self.name, range.start, range.end), range, context, begin, units }
    }

    fn windows(
        &self,
        model: &Model,
        text: &[u8],
        range: Range<usize>,
        context: Option<usize>,
    ) -> Result<Slice, DataError> {
        let context = length(self, model, context)?;
        let tokeniser = Tokeniser::of(model)?;
        let range = if tokeniser.takes_bytes() { range } else { whole(text, range.start)..whole(text, range.end) };
        let part = text.get(range.clone()).unwrap_or_default();
        let tokens = tokeniser.encode(part, &self.path, range.start)?;
        let begin = tokeniser.begin(self.begin)?;
        let first = begin.map(|id| Token { id, bytes: 0 });
        let text = context - usize::from(begin.is_some());
        let windows = tokens.chunks(text).map(|w| first.into_iter().chain(w.iter().copied()).collect::<Vec<_>>());
        let units: Vec<Unit> = windows.filter(|w| w.len() > 1).map(|w| window(&w)).collect();
        if units.is_empty() {
            let what = format!("{}..{} is {} token: nothing is predicted", range.start, range.end, tokens.len());
            return Err(DataError::new(&self.path, what, "take a longer slice"));
        }
        Ok(self.named(range, Some(context), begin, units))
    }
}

fn window(tokens: &[Token]) -> Unit {
    let bytes = tokens.iter().skip(1).map(|t| t.bytes as usize).sum();
    Unit::Window { tokens: tokens.iter().map(|t| t.id).collect(), bytes }
}

fn batches(images: &Images, range: Range<usize>) -> Vec<Unit> {
    let starts = range.clone().step_by(BATCH);
    let one = |from: usize| {
        let to = (from + BATCH).min(range.end);
        let pixels = images.pixels.get(from * images.size..to * images.size).unwrap_or_default();
        Unit::Images {
            pixels: pixels.iter().map(|&p| f32::from(p) * images.scale).collect(),
            labels: images.labels.get(from..to).unwrap_or_default().to_vec(),
        }
    };
    starts.map(one).collect()
}

/// The start of the character that holds this byte; never further back than three bytes, so that what is no UTF-8 is
/// told where it is.
pub(super) fn whole(text: &[u8], at: usize) -> usize {
    let inside = |i: &usize| text.get(*i).is_some_and(|b| b & 0xC0 == 0x80);
    let back = (at.saturating_sub(3)..=at).rev().find(|i| !inside(i));
    back.unwrap_or(at)
}

/// Tokens of a window.
fn length(data: &Data, model: &Model, asked: Option<usize>) -> Result<usize, DataError> {
    let key = |key: &str| model.config.as_ref().and_then(|c| c.get(key)).and_then(Value::as_u64);
    let most = key("max_position_embeddings").or_else(|| key("n_positions")).map(|n| n as usize);
    let (what, remedy) = match (asked, most) {
        (Some(n), _) if n < 2 => {
            (format!("windows of {n} predict nothing"), "a context is 2 tokens or more".to_owned())
        }
        (Some(n), Some(most)) if n > most => {
            (format!("windows of {n} tokens are longer than {} takes", model.name), format!("at most {most} tokens"))
        }
        _ => return Ok(asked.unwrap_or(most.map_or(LONGEST, |n| n.min(LONGEST)))),
    };
    Err(DataError::new(&data.path, what, remedy))
}
