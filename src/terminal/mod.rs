//! The terminal: borrowed, drawn on in whole frames, and given back on every way out.

mod inflow;
mod input;
mod log;
pub mod panic;
mod run;
pub mod session;
mod signals;

pub use log::Begin;
pub use run::{Outcome, Setup, run};
