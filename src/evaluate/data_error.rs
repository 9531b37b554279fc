//! Why data cannot be used.

use crate::source::OpenError;
use std::path::Path;

/// Why data or a tokenizer cannot be used. The text names the file, the tensor or the place in it, and the remedy.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DataError(#[from] OpenError);

impl DataError {
    pub(super) fn new(path: &Path, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(OpenError::broken(path, what, remedy))
    }
    pub(super) fn caused(
        path: &Path,
        what: impl Into<String>,
        remedy: &str,
        cause: impl Into<crate::source::Cause>,
    ) -> Self {
        Self(OpenError::caused(path, what, remedy, cause))
    }
}
