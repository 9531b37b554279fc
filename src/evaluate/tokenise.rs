//! Text as tokens: bytes, or what the tokenizer beside the model makes of it.

use super::DataError;
use super::data::Begin;
use crate::model::Model;
use std::path::{Path, PathBuf};
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{PostProcessorWrapper, Tokenizer};

/// A token and how much of the text it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Row of the embedding.
    pub id: u32,
    /// UTF-8 bytes of the text from the end of the token before to its own end. What a tokenizer leaves out, such as
    /// blanks, counts with the token that follows it, at the end with the last; of several tokens that are parts of
    /// one character the first has all its bytes. So the bytes of all tokens sum to the text's length.
    pub bytes: u32,
}

/// What turns text into tokens.
#[derive(Debug, Clone)]
pub struct Tokeniser {
    path: PathBuf,
    kind: Kind,
    /// Rows of the model's embedding, where its config.json says how many.
    vocabulary: Option<u64>,
    /// The token that it puts before every text.
    begins: Option<u32>,
    /// The beginning-of-text token of config.json, whether it is put there or not.
    begin_of_config: Option<u32>,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A token is a byte.
    Bytes,
    /// Hugging Face's tokenizer.
    File(Box<Tokenizer>),
}

/// Model types whose `vocab.json` and `merges.txt` are a byte-level BPE with GPT-2's way of cutting words. Others have
/// files of the same names and cut otherwise.
const LIKE_GPT2: &[&str] = &["gpt2", "gpt_neo", "gptj", "roberta", "opt"];

const AGAIN: &str = "download it again";

impl Tokeniser {
    /// The model's: bytes where config.json says `"tokenizer": "bytes"`, else `tokenizer.json` beside it, else
    /// `vocab.json` with `merges.txt` as GPT-2 has them. Reads files, never the network.
    pub fn of(model: &Model) -> Result<Self, DataError> {
        let key = |key: &str| model.config.as_ref().and_then(|c| c.get(key));
        let vocabulary = key("vocab_size").and_then(serde_json::Value::as_u64);
        let begin_of_config =
            key("bos_token_id").and_then(serde_json::Value::as_u64).and_then(|id| u32::try_from(id).ok());
        if key("tokenizer").and_then(serde_json::Value::as_str) == Some("bytes") {
            let (path, kind) = (model.path.clone(), Kind::Bytes);
            return Ok(Self { path, kind, vocabulary, begins: None, begin_of_config });
        }
        let begin_of_config = begin_of_config.filter(|id| vocabulary.is_none_or(|v| u64::from(*id) < v));
        let folder = model.files.first().and_then(|f| f.path.parent()).unwrap_or(Path::new(""));
        let (path, mut tokenizer) = read(model, folder)?;
        // Neither special tokens, nor offsets without the blanks, nor a cut at some length.
        tokenizer.with_padding(None);
        let cut = tokenizer.with_truncation(None).map(drop);
        cut.map_err(|e| DataError::caused(&path, "its truncation cannot be switched off", AGAIN, e))?;
        let begins = begins(&tokenizer, folder);
        tokenizer.with_post_processor(None::<PostProcessorWrapper>);
        Ok(Self { path, kind: Kind::File(Box::new(tokenizer)), vocabulary, begins, begin_of_config })
    }

    /// The token that windows begin with, if any; asked for always, a model without one is refused.
    pub fn begin(&self, when: Begin) -> Result<Option<u32>, DataError> {
        match when {
            Begin::Never => Ok(None),
            Begin::Auto => Ok(self.begins),
            Begin::Always => self.begins.or(self.begin_of_config).map(Some).ok_or_else(|| {
                let what = "its tokenizer begins texts with no token, and config.json gives no bos_token_id";
                DataError::new(&self.path, what, "leave out --begin always")
            }),
        }
    }

    /// Whether any bytes are text to it; else only UTF-8 is.
    pub fn takes_bytes(&self) -> bool {
        matches!(self.kind, Kind::Bytes)
    }

    /// The tokens of a text, taken whole: a text cut in pieces has other tokens at the seams. No special token is
    /// added. `text` is named by errors as the file it comes from, and begins at byte `start` of it.
    pub fn encode(&self, text: &[u8], from: &Path, start: usize) -> Result<Vec<Token>, DataError> {
        let tokens = match &self.kind {
            Kind::Bytes => text.iter().map(|&b| Token { id: u32::from(b), bytes: 1 }).collect(),
            Kind::File(tokenizer) => {
                let text = utf8(text, from, start)?;
                let encoding = tokenizer.encode(text, false).map_err(|e| {
                    DataError::caused(&self.path, "its tokenizer does not take the text", "take other text", e)
                })?;
                shared_out(encoding.get_ids(), encoding.get_offsets(), text.len())
            }
        };
        match self.vocabulary.and_then(|v| tokens.iter().find(|t| u64::from(t.id) >= v).map(|t| (t.id, v))) {
            Some((id, rows)) => {
                let what = format!("gives token {id} and the model's vocab_size is {rows}");
                Err(DataError::new(&self.path, what, "take the tokenizer and config.json that the model came with"))
            }
            None => Ok(tokens),
        }
    }
}

/// The one token that a tokenizer puts before every text and after none; what `tokenizer_config.json` beside it says of
/// `add_bos_token` comes first, as in transformers.
fn begins(tokenizer: &Tokenizer, folder: &Path) -> Option<u32> {
    let beside = std::fs::read(folder.join("tokenizer_config.json")).ok();
    let config: Option<serde_json::Value> = beside.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let adds = config.as_ref().and_then(|c| c.get("add_bos_token")).and_then(serde_json::Value::as_bool);
    if adds == Some(false) {
        return None;
    }
    let ids = |special: bool| tokenizer.encode("a", special).map(|e| e.get_ids().to_vec()).ok();
    let (with, plain) = (ids(true)?, ids(false)?);
    if let [first, rest @ ..] = with.as_slice()
        && rest == plain
    {
        return Some(*first);
    }
    let token = config.as_ref().filter(|_| adds == Some(true))?.get("bos_token")?;
    let token = token.as_str().or_else(|| token.get("content")?.as_str())?;
    tokenizer.token_to_id(token)
}

/// The tokenizer's file and what it holds.
fn read(model: &Model, folder: &Path) -> Result<(PathBuf, Tokenizer), DataError> {
    let path = folder.join("tokenizer.json");
    if path.is_file() {
        let what = "cannot be read as a tokenizer";
        let tokenizer = Tokenizer::from_file(&path).map_err(|e| DataError::caused(&path, what, AGAIN, e))?;
        return Ok((path, tokenizer));
    }
    let (vocabulary, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
    let alike = model.architecture().is_some_and(|kind| LIKE_GPT2.contains(&kind));
    if alike && vocabulary.is_file() && merges.is_file() {
        let what = "and merges.txt beside it are no byte-level BPE";
        let wrong = |e| DataError::caused(&vocabulary, what, AGAIN, e);
        let bpe = BPE::from_file(&vocabulary.to_string_lossy(), &merges.to_string_lossy());
        let mut tokenizer = Tokenizer::new(bpe.build().map_err(wrong)?);
        tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)));
        return Ok((vocabulary, tokenizer));
    }
    let remedy =
        "put the tokenizer.json that the model came with there, or say \"tokenizer\": \"bytes\" in config.json";
    Err(DataError::new(&path, "no such file: text cannot be turned into tokens", remedy))
}

/// Text, or where it stops being text.
fn utf8<'a>(text: &'a [u8], from: &Path, start: usize) -> Result<&'a str, DataError> {
    std::str::from_utf8(text).map_err(|e| {
        let at = start + e.valid_up_to();
        let what = format!("is not UTF-8 at byte {at}, and the model's tokenizer takes nothing else");
        DataError::new(from, what, "save it as UTF-8, or take a slice without that place")
    })
}

/// Gives each token the bytes from where the text was reached to its own end.
fn shared_out(ids: &[u32], offsets: &[(usize, usize)], length: usize) -> Vec<Token> {
    let mut reached = 0;
    let last = ids.len().saturating_sub(1);
    let pairs = ids.iter().zip(offsets).enumerate();
    pairs
        .map(|(i, (&id, &(_, end)))| {
            let end = if i == last { length } else { end.clamp(reached, length) };
            let bytes = (end - reached) as u32;
            reached = end;
            Token { id, bytes }
        })
        .collect()
}

#[cfg(test)]
mod tests;
