//! Mathematics on arrays: knows no layer, thread or colour.

pub mod batcher;
pub mod certificate;
pub mod conv;
pub mod density;
mod detach;
pub mod gram;
pub mod interrupt;
pub mod isa;
pub mod kendall;
pub mod lanczos;
pub mod leverage;
pub mod norms;
pub mod root;
pub mod subspace;
pub mod svd;
pub mod symbol;
pub mod weighted;

pub use interrupt::{KeepGoing, Stopped};
