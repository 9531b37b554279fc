//! Running a model on data: what it scores, and what its layers hear.

pub mod data;
pub mod data_error;
pub mod tokenise;

pub use data::{Data, Slice, Unit};
pub use data_error::DataError;
pub use tokenise::{Token, Tokeniser};
