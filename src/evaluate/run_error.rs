//! Why a model was not run.

use crate::source::OpenError;

/// Why a model could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Something of the model that is not known here; the reason names it.
    #[error("{model} cannot be run: {why}")]
    NotRunnable {
        /// The model's name or path.
        model: String,
        /// What is not known.
        why: String,
    },
    /// Its weights could not be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A part or a batch that does not fit the network.
    #[error("{0}")]
    Misfit(String),
    /// The arithmetic failed: out of memory on a device, or numbers that are none.
    #[error("{model}: the arithmetic failed; the cause says where")]
    Arithmetic {
        /// The model's name.
        model: String,
        /// What candle says.
        #[source]
        cause: Box<candle_core::Error>,
    },
    /// A layer that could not be treated.
    #[error("{layer}: could not be treated as the plan says; the cause says why")]
    Treatment {
        /// Its name.
        layer: String,
        /// What came of it.
        #[source]
        cause: crate::probe::ProbeError,
    },
    /// A device that is not there.
    #[error("{0}")]
    Device(String),
}
