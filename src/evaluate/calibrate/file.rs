//! `calibration.safetensors`: written tensor after tensor, never held whole.

use super::{Calibration, Heard};
use crate::evaluate::{DataError, Moments};
use crate::model::Model;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// What the metadata's `format` says.
pub const FORMAT: &str = "slimscope calibration 1";

/// What is stored of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Gram,
    Diagonal,
    AbsMean,
    Mean,
    Gradient,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Gram => "gram",
            Self::Diagonal => "diagonal",
            Self::AbsMean => "abs_mean",
            Self::Mean => "mean",
            Self::Gradient => "gradient",
        }
    }
}

/// One tensor of the file.
struct Entry<'a> {
    moments: &'a Moments,
    part: Part,
}

impl Entry<'_> {
    fn shape(&self) -> Vec<usize> {
        vec![self.moments.columns(); if self.part == Part::Gram { 2 } else { 1 }]
    }

    fn write(&self, out: &mut dyn Write, keep_going: &mut dyn FnMut() -> bool) -> io::Result<()> {
        let mut put = |values: &[f64]| {
            let bytes: Vec<u8> = values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect();
            out.write_all(&bytes)
        };
        match self.part {
            Part::Gram => (0..self.moments.columns()).try_for_each(|row| {
                if row % 256 == 0 && !keep_going() {
                    return Err(ErrorKind::Interrupted.into());
                }
                put(&self.moments.gram_row(row))
            }),
            Part::AbsMean => put(&self.moments.abs_mean()),
            Part::Mean => put(&self.moments.mean()),
            Part::Diagonal | Part::Gradient => put(&self.moments.diagonal()),
        }
    }
}

impl Calibration {
    /// Writes the file beside and renames it; its size in bytes, or `None` when it was told to stop, which leaves
    /// nothing behind. Names are sorted, numbers `f32`, symmetric matrices whole.
    pub fn write(
        &self,
        model: &Model,
        path: &Path,
        keep_going: &mut dyn FnMut() -> bool,
    ) -> Result<Option<u64>, DataError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let written = self.to_file(model, &beside, keep_going).and_then(|size| {
            fs::rename(&beside, path)?;
            Ok(size)
        });
        match written {
            Ok(size) => Ok(Some(size)),
            Err(error) => {
                // What was not begun is not there to remove.
                let _ = fs::remove_file(&beside);
                if error.kind() == ErrorKind::Interrupted {
                    return Ok(None);
                }
                let remedy = "choose a folder that exists, on a disk with room";
                Err(DataError::caused(path, "cannot be written", remedy, error))
            }
        }
    }

    fn to_file(&self, model: &Model, path: &Path, keep_going: &mut dyn FnMut() -> bool) -> io::Result<u64> {
        let entries = self.entries();
        let (header, size) = self.header(model, &entries);
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        for entry in entries.values() {
            entry.write(&mut out, keep_going)?;
        }
        out.into_inner()?.sync_all()?;
        Ok(8 + header.len() as u64 + size)
    }

    /// Tensors by name.
    fn entries(&self) -> BTreeMap<String, Entry<'_>> {
        let mut entries = BTreeMap::new();
        for Heard { name, gradient, .. } in &self.layers {
            let gradient = gradient.as_ref().map(|moments| Entry { moments, part: Part::Gradient });
            entries.extend(gradient.map(|entry| (format!("{name}.{}", entry.part.word()), entry)));
        }
        for (heard, moments) in self.moments() {
            let matrix = if moments.has_gram() { Part::Gram } else { Part::Diagonal };
            for part in [matrix, Part::AbsMean, Part::Mean] {
                entries.insert(format!("{}.{}", heard.name, part.word()), Entry { moments, part });
            }
        }
        entries
    }

    /// The header's text and the bytes of all tensors.
    fn header(&self, model: &Model, entries: &BTreeMap<String, Entry<'_>>) -> (String, u64) {
        let mut header = serde_json::Map::new();
        let mut metadata = json!({
            "format": FORMAT,
            "model": model.name,
            "tokens": self.tokens.to_string(),
            "data": self.data,
        });
        if let (Some(context), Value::Object(metadata)) = (self.context, &mut metadata) {
            metadata.insert("context".to_owned(), json!(context.to_string()));
        }
        header.insert("__metadata__".to_owned(), metadata);
        let mut offset = 0u64;
        for (name, entry) in entries {
            let shape = entry.shape();
            let end = offset + 4 * shape.iter().map(|&e| e as u64).product::<u64>();
            header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}));
            offset = end;
        }
        let mut text = Value::Object(header).to_string();
        // Numbers begin at a multiple of eight bytes, so that they can be mapped.
        text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
        (text, offset)
    }
}
