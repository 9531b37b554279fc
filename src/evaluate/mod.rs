//! Running a model on data: what it scores, and what its layers hear.

pub mod calibrate;
pub mod data;
pub mod data_error;
pub mod moments;
pub mod tokenise;

pub use calibrate::Calibration;
pub use data::{Data, Slice, Unit};
pub use data_error::DataError;
pub use moments::Moments;
pub use tokenise::{Token, Tokeniser};
