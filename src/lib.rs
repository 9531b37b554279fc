//! slimscope: explore in the terminal how far a neural network can be compressed, and what it costs.
//!
//! The one idea is three speeds. *Facts* (spectra, magnitudes, norms) are slow and depend on no knob; *projections*
//! are instant and pure; *refinements* are what only an exact run can tell. Every number carries what it is.
//!
//! Words: a *layer* is a weight tensor seen as a matrix; a *probe* measures *facts* of it; a *knob* edits the *plan*;
//! the *outcome* is what follows from facts and plan; a *lens* is a way of looking; a *ticket* says whether an answer
//! is still wanted; a *report* is an answer.

pub mod known;

pub mod app;
pub mod cli;
pub mod config;
pub mod drive;
pub mod engine;
pub mod evaluate;
pub mod export;
pub mod lens;
pub mod model;
pub mod numerics;
pub mod plan;
pub mod probe;
pub mod report;
pub mod screen;
pub mod session;
pub mod source;
pub mod terminal;
pub mod text;
pub mod treat;
pub mod widgets;
