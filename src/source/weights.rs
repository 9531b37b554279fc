//! The mapped files of an open checkpoint: hands out one decoded matrix at a time.

use super::mapped::Mapped;
use super::{OpenError, decode};
use crate::model::{Layer, Matrix, Model, Orientation, Tensor};
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

    /// The stored bytes of a tensor.
    pub fn bytes(&self, model: &Model, tensor: &Tensor) -> Result<&[u8], OpenError> {
        let path = model.files.get(tensor.file).map_or(&model.path, |f| &f.path);
        let gone = |what: String| OpenError::broken(path, what, "open the checkpoint again once it is complete");
        let mapped =
            self.files.get(tensor.file).ok_or_else(|| gone(format!("{}: its file is not open", tensor.name)))?;
        let all = mapped.bytes().map_err(|e| {
            OpenError::caused(
                path,
                format!("tensor {}", tensor.name),
                "open the checkpoint again once it is complete",
                e,
            )
        })?;
        all.get(tensor.range.clone()).ok_or_else(|| gone(format!("{}: beyond the end of the file", tensor.name)))
    }

    /// Decodes one layer's matrix view (rows = `out_features`) to `f32`.
    pub fn matrix(&self, model: &Model, layer: &Layer) -> Result<Matrix, OpenError> {
        let tensor = model.tensors.get(layer.tensor).ok_or_else(|| {
            OpenError::broken(&model.path, format!("{}: no such tensor", layer.name), "open the checkpoint again")
        })?;
        let data = decode::decode(tensor.dtype, self.bytes(model, tensor)?);
        let transposed = layer.orientation == Orientation::InOut;
        data.and_then(|d| decode::matrix(layer.rows(), layer.cols(), transposed, d)).ok_or_else(|| {
            let what = format!(
                "{}: {} elements do not form a {} × {} matrix",
                tensor.name,
                tensor.dtype.name(),
                layer.rows(),
                layer.cols()
            );
            OpenError::broken(&model.path, what, "only floating-point tensors are measured")
        })
    }
}
