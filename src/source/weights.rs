//! The mapped files of an open checkpoint: hands out one decoded matrix at a time.

use super::OpenError;
use crate::model::{Layer, Matrix, Model};

/// The bytes of a checkpoint, memory-mapped. Cheap to clone, shared between threads.
#[derive(Debug, Clone, Default)]
pub struct Weights {}

impl Weights {
    /// Decodes one layer's matrix view (rows = out_features) to `f32`.
    pub fn matrix(&self, model: &Model, layer: &Layer) -> Result<Matrix, OpenError> {
        let _ = layer;
        Err(OpenError::Unreadable { path: model.path.clone(), what: "not built".into(), remedy: String::new() })
    }
}
