//! How bytes become a model: one file per format. Reads headers at once, tensors one at a time when asked.

pub mod calibration;
pub mod config;
mod gains;
mod header;
mod hub;
pub mod locate;
pub mod mapped;
pub mod regular;
pub mod safetensors;
pub mod weights;

use crate::model::Model;
use std::path::{Path, PathBuf};

pub use weights::Weights;

/// The underlying cause of an [`OpenError`].
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a checkpoint could not be opened or read. The text names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file is missing, damaged or contradicts itself.
    #[error("{}: {what}; {remedy}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the tensor's name where it is about one.
        what: String,
        /// What to do.
        remedy: String,
        /// What the layer below said.
        #[source]
        cause: Option<Cause>,
    },
    /// A format or layout that is not read.
    #[error("{}: {what}; {remedy}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What to do.
        remedy: String,
    },
}

impl OpenError {
    pub(crate) fn broken(path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Broken { path: path.to_owned(), what: what.into(), remedy: remedy.into(), cause: None }
    }
    pub(crate) fn caused(path: &Path, what: impl Into<String>, remedy: &str, cause: impl Into<Cause>) -> Self {
        let (what, remedy) = (what.into(), remedy.to_owned());
        Self::Broken { path: path.to_owned(), what, remedy, cause: Some(cause.into()) }
    }
}

/// Opens a checkpoint: reads its headers and config, no weights.
pub fn open(path: &Path) -> Result<(Model, Weights), OpenError> {
    let found = locate::locate(path)?;
    safetensors::open(&found)
}

/// What stands in place of a path for a checkpoint that is part of the program.
pub fn bundled(name: &str) -> PathBuf {
    PathBuf::from(format!("{name} (bundled)"))
}

/// Opens a checkpoint that is part of the program.
pub fn open_embedded(name: &str, bytes: &'static [u8], config: &str) -> Result<(Model, Weights), OpenError> {
    safetensors::open_embedded(name, bytes, config)
}

#[cfg(test)]
mod tests;
