//! What a model is measured on: text or labelled images, and slices of them.

mod images;
mod range;
mod slice;

use super::DataError;
use crate::config::sample;
use crate::model::Model;
use crate::source::regular;
use crate::source::safetensors::explain;
use safetensors::{SafeTensors, tensor::TensorView};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use images::Images;
pub use range::Wanted;
pub use slice::{Slice, Unit};

/// Name of the data that lies beside a model.
const BESIDE: &str = "eval.safetensors";
const FORMS: &str =
    "data are a .txt file, or a .safetensors file with a U8 tensor `text`, or with U8 `images` and their `labels`";

/// Data from one file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Data {
    /// Where it is from, for errors.
    pub path: PathBuf,
    /// The file's name, as in a slice's.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether windows of text begin with the model's beginning-of-text token.
    pub begin: Begin,
}

/// Whether windows of text begin with the model's beginning-of-text token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// As its tokenizer does.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Data longer than this is not read at once.
const MOST: u64 = 64 << 30;

/// Text or images.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Bytes of text, UTF-8 except for models of bytes.
    Text(Arc<[u8]>),
    /// Images with labels.
    Images(Arc<Images>),
}

impl Data {
    /// `eval.safetensors` in the model's folder, for the bundled sample the part of the program; `None` where there is
    /// none.
    pub fn beside(model: &Model) -> Result<Option<Self>, DataError> {
        let path = model.files.first().map_or(Path::new(""), |f| f.path.as_path());
        if path == crate::source::bundled(sample::NAME) {
            return read(&path.with_file_name(BESIDE), sample::EVAL, model).map(Some);
        }
        let path = path.with_file_name(BESIDE);
        if path.is_file() { Self::open(&path, model).map(Some) } else { Ok(None) }
    }

    /// Data of a file: `.txt` is text, `.safetensors` holds what the model takes. A model whose config.json is of the
    /// type `sequential` takes images, any other text.
    pub fn open(path: &Path, model: &Model) -> Result<Self, DataError> {
        let bytes =
            regular::read(path, MOST).map_err(|e| DataError::caused(path, "cannot be read", regular::remedy(&e), e))?;
        let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            Some("safetensors") => read(path, &bytes, model),
            Some("txt") => text(path, &bytes, model),
            _ => Err(DataError::new(path, "its name ends neither in .txt nor in .safetensors", FORMS)),
        }
    }

    /// Bytes of text, or examples.
    pub fn len(&self) -> usize {
        match &self.kind {
            Kind::Text(bytes) => bytes.len(),
            Kind::Images(images) => images.labels.len(),
        }
    }

    /// Whether there is nothing; files without anything are refused.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What [`Self::len`] counts.
    pub fn unit(&self) -> &'static str {
        match &self.kind {
            Kind::Text(_) => "bytes",
            Kind::Images(_) => "examples",
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

fn takes_images(model: &Model) -> bool {
    model.architecture() == Some("sequential")
}

fn text(path: &Path, bytes: &[u8], model: &Model) -> Result<Data, DataError> {
    if takes_images(model) {
        return Err(DataError::new(path, format!("is text, and {} takes images", model.name), FORMS));
    }
    if bytes.is_empty() {
        return Err(DataError::new(path, "holds no text", FORMS));
    }
    Ok(Data { path: path.to_owned(), name: file_name(path), kind: Kind::Text(bytes.into()), begin: Begin::Auto })
}

fn read(path: &Path, bytes: &[u8], model: &Model) -> Result<Data, DataError> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| explain(path, bytes, e))?;
    if takes_images(model) {
        let kind = Kind::Images(Arc::new(images::read(path, &file, model)?));
        return Ok(Data { path: path.to_owned(), name: file_name(path), kind, begin: Begin::Auto });
    }
    let view = tensor(path, &file, "text", model)?;
    if view.dtype() != safetensors::Dtype::U8 || view.shape().len() != 1 {
        let what = format!("tensor text: is {} of shape {:?}, not a row of U8 bytes", view.dtype(), view.shape());
        return Err(DataError::new(path, what, "save the text's UTF-8 bytes as one U8 tensor"));
    }
    text(path, view.data(), model)
}

/// A tensor of the file, or what is there in its place.
fn tensor<'a>(path: &Path, file: &SafeTensors<'a>, name: &str, model: &Model) -> Result<TensorView<'a>, DataError> {
    file.tensor(name).map_err(|_| {
        let mut names = file.names();
        names.sort_unstable();
        let held = match names.as_slice() {
            [] => "nothing".to_owned(),
            few if few.len() <= 4 => few.join(", "),
            many => format!("{} tensors", many.len()),
        };
        let what = format!("has no tensor `{name}`, which {} needs; it holds {held}", model.name);
        DataError::new(path, what, FORMS)
    })
}

#[cfg(test)]
mod tests;
