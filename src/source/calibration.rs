//! Calibration files: what a pass over data saw at each layer's input.
//!
//! A safetensors file of `<layer>.gram` (in × in) or `<layer>.diagonal` (in), and where known `<layer>.abs_mean`,
//! `<layer>.mean` (in) and `<layer>.gradient` (out), all F32; metadata `tokens`. Gram matrices stay in the mapped file until
//! somebody asks.

use super::mapped::Mapped;
use super::safetensors::explain_with;
use super::{OpenError, regular};
use crate::model::inputs::{Held, Inputs, InputsError};
use crate::model::{Kind, Model};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const AGAIN: &str = "calibrate again";
const OTHERS: &str = "it is of another model: calibrate this one";
/// The format that is written and read.
pub const FORMAT: &str = "slimscope calibration 1";
const PARTS: [&str; 5] = ["gram", "diagonal", "abs_mean", "mean", "gradient"];
/// Bytes handed out at a time.
const STRETCH: usize = 1 << 22;

/// Shape and place of each part of a layer.
type Parts = BTreeMap<String, (Vec<usize>, Range<usize>)>;

/// An open calibration file.
#[derive(Debug, Clone)]
pub struct Calibration {
    /// The file.
    pub path: PathBuf,
    /// Tokens that it was made from.
    pub tokens: u64,
    /// Name of the model that it was made with, where it says so.
    pub model: Option<String>,
    file: Arc<Mapped>,
    /// Of each layer, by its name: shape and place of each part.
    layers: BTreeMap<String, Parts>,
}

/// What [`attach`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attached {
    /// Layers that have inputs now.
    pub layers: usize,
    /// Linear layers and convolutions that the file holds nothing of.
    pub missing: Vec<String>,
}

/// Opens a calibration file: reads its header, no matrix.
pub fn open(path: &Path) -> Result<Calibration, OpenError> {
    let file = Mapped::open(path).map_err(|e| OpenError::caused(path, "cannot be opened", regular::remedy(&e), e))?;
    let broken = |what: String| OpenError::broken(path, what, AGAIN);
    let bytes = file.all();
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| explain_with(path, bytes, e, AGAIN))?;
    let words = metadata.metadata().clone().unwrap_or_default();
    if let Some(other) = words.get("format").filter(|f| f.starts_with("slimscope") && *f != FORMAT) {
        return Err(broken(format!("is of the form \"{other}\", not \"{FORMAT}\"")));
    }
    let tokens = words.get("tokens").and_then(|t| t.parse().ok()).filter(|t| *t > 0);
    let tokens = tokens.ok_or_else(|| broken("does not say from how many tokens it was made".to_owned()))?;
    let mut layers: BTreeMap<String, BTreeMap<String, _>> = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let parts = name.rsplit_once('.').filter(|(_, part)| PARTS.contains(part));
        let Some((layer, part)) = parts else {
            return Err(broken(format!("tensor {name}: is none of <layer>.{}", PARTS.join(", <layer>."))));
        };
        if info.dtype != Dtype::F32 {
            return Err(broken(format!("tensor {name}: its elements are {:?}, not F32", info.dtype)));
        }
        let range = header + 8 + info.data_offsets.0..header + 8 + info.data_offsets.1;
        layers.entry(layer.to_owned()).or_default().insert(part.to_owned(), (info.shape.clone(), range));
    }
    if layers.is_empty() {
        return Err(broken("holds no layer".to_owned()));
    }
    let (path, model) = (path.to_owned(), words.get("model").cloned());
    Ok(Calibration { path, tokens, model, file: Arc::new(file), layers })
}

/// Gives each layer of the model what the file saw at its input.
pub fn attach(model: &mut Model, calibration: &Calibration) -> Result<Attached, OpenError> {
    let mut found = Vec::new();
    for (name, parts) in &calibration.layers {
        let layer = model.layers.iter().find(|l| l.name == *name).ok_or_else(|| {
            let first = parts.keys().next().map_or("gram", String::as_str);
            let what = format!("tensor {name}.{first}: {} has no such layer", model.name);
            OpenError::broken(&calibration.path, what, OTHERS)
        })?;
        let [rows, cols] = layer.matrix;
        let read = |part: &str, length: usize| calibration.list(name, part, length);
        let gram = parts.get("gram");
        if let Some((shape, _)) = gram {
            calibration.fits(name, "gram", shape, &[cols, cols])?;
        }
        let diagonal = match gram {
            Some((_, range)) => Some(calibration.diagonal(name, range, cols)?),
            None => read("diagonal", cols)?,
        };
        let Some(diagonal) = diagonal else {
            let what = format!("layer {name}: neither {name}.gram nor {name}.diagonal is there");
            return Err(OpenError::broken(&calibration.path, what, AGAIN));
        };
        let held = gram.map(|(_, range)| {
            let tensor = format!("{name}.gram");
            let (path, file, range) = (calibration.path.clone(), calibration.file.clone(), range.clone());
            Arc::new(InFile { path, tensor, file, range })
        });
        let mut inputs = match held {
            Some(held) => Inputs::of_held(calibration.tokens, diagonal, held),
            None => Inputs::of_diagonal(calibration.tokens, diagonal),
        };
        (inputs.abs_mean, inputs.mean) = (read("abs_mean", cols)?, read("mean", cols)?);
        inputs.gradient = read("gradient", rows)?;
        let negative = |list: Option<&[f32]>| list.is_some_and(|l| l.iter().any(|x| *x < 0.0));
        let parts = [
            ("diagonal", Some(inputs.diagonal())),
            ("abs_mean", inputs.abs_mean.as_deref()),
            ("gradient", inputs.gradient.as_deref()),
        ];
        if let Some((part, _)) = parts.into_iter().find(|(_, list)| negative(*list)) {
            let part = if part == "diagonal" && inputs.has_gram() { "gram" } else { part };
            let what = format!("tensor {name}.{part}: holds negative numbers where there can be none");
            return Err(OpenError::broken(&calibration.path, what, AGAIN));
        }
        found.push((layer.id, inputs));
    }
    for layer in &mut model.layers {
        layer.inputs = None;
    }
    let layers = found.len();
    for (id, inputs) in found {
        model.layers[id.0].inputs = Some(Arc::new(inputs));
    }
    let heard = |kind: Kind| kind == Kind::Linear || kind.is_conv();
    let wanted = model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none() && heard(l.kind));
    let missing = wanted.filter(|l| l.inputs.is_none()).map(|l| l.name.clone()).collect();
    Ok(Attached { layers, missing })
}

impl Calibration {
    fn fits(&self, layer: &str, part: &str, shape: &[usize], want: &[usize]) -> Result<(), OpenError> {
        if shape == want {
            return Ok(());
        }
        let what = format!("tensor {layer}.{part}: is {shape:?}, the layer's would be {want:?}");
        Err(OpenError::broken(&self.path, what, OTHERS))
    }

    /// Numbers of a part; `None` where the file does not hold it.
    fn list(&self, layer: &str, part: &str, length: usize) -> Result<Option<Vec<f32>>, OpenError> {
        let Some((shape, range)) = self.layers.get(layer).and_then(|l| l.get(part)) else { return Ok(None) };
        self.fits(layer, part, shape, &[length])?;
        let bytes = self.bytes(layer, part, range)?;
        let list: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        self.finite(layer, part, &list)?;
        Ok(Some(list))
    }

    fn diagonal(&self, layer: &str, range: &Range<usize>, n: usize) -> Result<Vec<f32>, OpenError> {
        let entries = self.bytes(layer, "gram", range)?.as_chunks::<4>().0;
        let list: Vec<f32> = (0..n).map(|i| f32::from_le_bytes(entries[i * n + i])).collect();
        self.finite(layer, "gram", &list)?;
        self.file.release(range.clone());
        Ok(list)
    }

    fn finite(&self, layer: &str, part: &str, list: &[f32]) -> Result<(), OpenError> {
        if list.iter().all(|x| x.is_finite()) {
            return Ok(());
        }
        let what = format!("tensor {layer}.{part}: holds NaN or infinity");
        Err(OpenError::broken(&self.path, what, AGAIN))
    }

    fn bytes(&self, layer: &str, part: &str, range: &Range<usize>) -> Result<&[u8], OpenError> {
        let all = self.file.bytes();
        let all = all.map_err(|e| OpenError::caused(&self.path, format!("tensor {layer}.{part}"), AGAIN, e))?;
        let cut = || OpenError::broken(&self.path, format!("tensor {layer}.{part}: beyond the end of the file"), AGAIN);
        all.get(range.clone()).ok_or_else(cut)
    }
}

/// A Gram matrix in a mapped file.
#[derive(Debug)]
struct InFile {
    path: PathBuf,
    tensor: String,
    file: Arc<Mapped>,
    range: Range<usize>,
}

impl Held for InFile {
    fn read(&self, with: &mut dyn FnMut(&[u8])) -> Result<(), InputsError> {
        let named =
            |why: String| InputsError(format!("{}: tensor {}: {why}; {AGAIN}", self.path.display(), self.tensor));
        let all = self.file.bytes().map_err(|e| named(e.to_string()))?;
        let bytes = all.get(self.range.clone()).ok_or_else(|| named("beyond the end of the file".to_owned()))?;
        bytes.chunks(STRETCH).for_each(with);
        self.file.release(self.range.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
