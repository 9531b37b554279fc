//! Why nothing, or not all, was written.

use crate::source::OpenError;
use std::io;
use std::path::{Path, PathBuf};

/// Why nothing, or not all, was written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The result would take the place of what it is made from.
    #[error("{0}: that is where the checkpoint itself lies; choose another folder")]
    Itself(PathBuf),
    /// Something else lies there.
    #[error("{0}: is not empty; choose an empty folder")]
    Occupied(PathBuf),
    /// What another run left unfinished lies there.
    #[error(
        "{0}: holds what an interrupted run of another plan, model or form left; run that again, delete it, or choose \
         another folder"
    )]
    Unfinished(PathBuf),
    /// There is a file of that name.
    #[error("{0}: is a file; choose a folder")]
    NoFolder(PathBuf),
    /// No room.
    #[error("{path}: needs {needs} MB, {free} MB are free; make room or choose another place")]
    Space {
        /// Where.
        path: PathBuf,
        /// Megabytes needed.
        needs: u64,
        /// Megabytes free.
        free: u64,
    },
    /// Ranks cannot be noted in it.
    #[error(
        "{path}: cannot be read as a configuration ({why}), so the ranks of factors cannot be noted in it; repair it, or apply with --as dense"
    )]
    Config {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file could not be read.
    #[error(
        "{path}: cannot be read; {}, then give the same command: what is finished is kept",
        crate::source::regular::remedy(source)
    )]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("{path}: cannot be written; {remedy}, then give the same command: what is finished is kept")]
    Write {
        /// Which.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The checkpoint could not be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A layer that is to be treated holds NaN or infinity.
    #[error(
        "layer {layer}: tensor {tensor} is not finite: {what} at {at:?}; repair the checkpoint, or leave the layer out of the \
         plan"
    )]
    NotFinite {
        /// The layer.
        layer: String,
        /// Its tensor.
        tensor: String,
        /// NaN or an infinity.
        what: &'static str,
        /// The first such entry, as the tensor is stored.
        at: Vec<usize>,
    },
    /// A layer could not be treated or written.
    #[error("layer {layer}: {why}")]
    Layer {
        /// Which.
        layer: String,
        /// Why.
        why: String,
    },
    /// What was written is something else.
    #[error("{path}: {what}; delete the folder and apply again")]
    Changed {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Told to stop.
    #[error("interrupted: {done} of {all} files are finished in {path}; the same command goes on from there")]
    Stopped {
        /// Where.
        path: PathBuf,
        /// Files with weights that are finished.
        done: usize,
        /// Of how many.
        all: usize,
    },
    /// Told to stop while the result, which is whole, was read back.
    #[error("interrupted while checking: {0} is whole, but not all of it was read back")]
    Unchecked(PathBuf),
}

/// Names the file that could not be read.
pub fn reading(path: &Path) -> impl FnOnce(io::Error) -> ApplyError {
    let path = path.to_owned();
    move |source| ApplyError::Read { path, source }
}

/// Names the file that could not be written.
pub fn writing(path: &Path) -> impl FnOnce(io::Error) -> ApplyError {
    let path = path.to_owned();
    move |source| {
        let remedy = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room",
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "choose a folder that may be written"
            }
            _ => crate::source::regular::remedy(&source),
        };
        ApplyError::Write { path, remedy, source }
    }
}
