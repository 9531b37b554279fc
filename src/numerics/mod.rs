//! Mathematics on arrays: knows no layer, thread or colour.

pub mod conv;
mod detach;
pub mod interrupt;
pub mod lanczos;
pub mod norms;
pub mod svd;

pub use interrupt::{KeepGoing, Stopped};
