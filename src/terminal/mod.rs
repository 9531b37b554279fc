//! The terminal: borrowed, drawn on in whole frames, and given back on every way out.

mod input;
pub mod panic;
mod run;
pub mod session;
mod signals;

pub use run::{Outcome, Setup, run};
