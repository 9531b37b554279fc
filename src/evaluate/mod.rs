//! Running a model on data: what it scores, and what its layers hear.

pub mod calibrate;
mod compare;
pub mod data;
pub mod data_error;
pub mod device;
pub mod moments;
pub mod network;
pub mod quality;
pub mod run_error;
mod search;
pub mod tokenise;
pub mod treated;
mod trial;

pub use calibrate::{CalibrateError, Calibration, calibrate};
pub use candle_core::Device;
pub use compare::{Difference, difference};
pub use data::{Data, Kind, Slice, Unit};
pub use data_error::DataError;
pub use moments::Moments;
pub use network::{Network, runnable, scorable};
pub use quality::{Measured, Metric, Part, measure};
pub use run_error::RunError;
pub use search::{Choosable, Families, Found, Goal, LayerMenu, Progress, SearchError, menus, search};
pub use tokenise::{Token, Tokeniser};
pub use treated::treat;
pub use trial::{Kept, Trials};

use crate::model::LayerId;
use candle_core::Tensor;

/// Called with what each layer multiplies: rows × `in_features`, `f32`. Layers that multiply the same tensor are called
/// with the same one ([`Tensor::id`]). A convolution is called with its unfolded patches, one row a position, columns
/// in the order of the layer's matrix; of several groups, with the patches of the first, then of the second, ….
pub type Listener<'a> = dyn FnMut(LayerId, &Tensor) -> candle_core::Result<()> + 'a;

/// Called with each layer's output before its bias is added, rows × `out_features`; gives back what goes on.
pub type Outputs<'a> = dyn FnMut(LayerId, Tensor) -> candle_core::Result<Tensor> + 'a;

/// What a network takes at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Batch {
    /// Rows of tokens, all of one length.
    Tokens(Vec<Vec<u32>>),
    /// Images in the order and scale of the model's input.
    Images {
        /// Example after example.
        pixels: Vec<f32>,
        /// How many examples.
        count: usize,
    },
}
