//! The mapped files of an open checkpoint: hands out one decoded matrix at a time.

use super::OpenError;
use super::mapped::Mapped;
use crate::model::{Layer, Matrix, Model, Peek, Stored, Tensor};
use std::sync::Arc;

/// The bytes of a checkpoint, memory-mapped. Cheap to clone, shared between threads.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    files: Arc<Vec<Mapped>>,
}

impl Weights {
    pub(super) fn new(files: Vec<Mapped>) -> Self {
        Self { files: Arc::new(files) }
    }

    /// All bytes of a file of the checkpoint.
    pub fn file(&self, model: &Model, number: usize) -> Result<&[u8], OpenError> {
        let path = model.files.get(number).map_or(&model.path, |f| &f.path);
        let again = "open the checkpoint again once it is complete";
        let mapped = self.files.get(number).ok_or_else(|| OpenError::broken(path, "is not open".to_owned(), again))?;
        mapped.bytes().map_err(|e| OpenError::broken(path, e.to_string(), again))
    }

    /// Whether a file of the checkpoint still is the one that was opened, unchanged.
    pub fn is_current(&self, number: usize) -> bool {
        self.files.get(number).is_some_and(Mapped::is_current)
    }

    /// That no file of the checkpoint was cut short or written again since it was opened.
    pub fn check(&self, model: &Model) -> Result<(), OpenError> {
        (0..self.files.len()).try_for_each(|number| self.file(model, number).map(drop))
    }

    /// The stored bytes of a tensor.
    pub fn bytes(&self, model: &Model, tensor: &Tensor) -> Result<&[u8], OpenError> {
        let path = model.files.get(tensor.file).map_or(&model.path, |f| &f.path);
        let gone = |what: String| OpenError::broken(path, what, "open the checkpoint again once it is complete");
        let mapped =
            self.files.get(tensor.file).ok_or_else(|| gone(format!("{}: its file is not open", tensor.name)))?;
        let all = mapped.bytes().map_err(|e| gone(format!("{}: its file {e}", tensor.name)))?;
        all.get(tensor.range.clone()).ok_or_else(|| gone(format!("{}: beyond the end of the file", tensor.name)))
    }

    /// The stored bytes of a tensor, where they can be read.
    fn raw(&self, tensor: &Tensor) -> Option<&[u8]> {
        self.files.get(tensor.file)?.bytes().ok()?.get(tensor.range.clone())
    }

    /// A layer's entries as they are stored; decoded when asked.
    pub fn stored(&self, model: &Model, layer: &Layer) -> Result<Stored<'_>, OpenError> {
        let tensor = model.tensors.get(layer.tensor).ok_or_else(|| {
            OpenError::broken(&model.path, format!("{}: no such tensor", layer.name), "open the checkpoint again")
        })?;
        if let Some(coded) = &layer.coded {
            let what = format!("{}: {}", layer.name, coded.why_not(layer.dtype));
            return Err(OpenError::broken(&model.path, what, "only plain floating-point tensors are measured"));
        }
        let bytes = self.bytes(model, tensor)?;
        Stored::new(tensor.dtype, [layer.rows(), layer.cols()], layer.orientation, bytes).ok_or_else(|| {
            let (name, dtype) = (&tensor.name, tensor.dtype.name());
            let what = format!("{name}: {dtype} elements do not form a {} × {} matrix", layer.rows(), layer.cols());
            OpenError::broken(&model.path, what, "only floating-point tensors are measured")
        })
    }

    /// Decodes one layer's matrix view (rows = `out_features`) to `f32`.
    pub fn matrix(&self, model: &Model, layer: &Layer) -> Result<Matrix, OpenError> {
        Ok(self.stored(model, layer)?.into_matrix())
    }

    /// Words that identify a layer's stored bytes without reading them: path, length and times of the file, and the
    /// place in it. `None` where that is not certain.
    pub fn identity(&self, model: &Model, layer: &Layer) -> Option<String> {
        let tensor = model.tensors.get(layer.tensor)?;
        let path = model.files.get(tensor.file)?.path.canonicalize().ok()?;
        let times = self.files.get(tensor.file)?.identity()?;
        Some(format!("{} {times} {:?}", path.display(), tensor.range))
    }

    /// The same of bytes of a file.
    pub fn release_bytes(&self, number: usize, range: std::ops::Range<usize>) {
        if let Some(mapped) = self.files.get(number) {
            mapped.release(range);
        }
    }

    /// Tells the system that a layer's pages are not needed for now, so that the memory held is that of the layers
    /// being worked on. They stay in the system's cache of files.
    pub fn release(&self, model: &Model, layer: &Layer) {
        if let Some(tensor) = model.tensors.get(layer.tensor)
            && let Some(mapped) = self.files.get(tensor.file)
        {
            mapped.release(tensor.range.clone());
        }
    }
}

impl Peek for Weights {
    fn bytes(&self, tensor: &Tensor) -> Option<&[u8]> {
        self.raw(tensor)
    }
}
