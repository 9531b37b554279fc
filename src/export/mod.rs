//! Leaving: the compressed checkpoint of a plan, written and checked; the plan in the formats of other tools.

mod apply;
pub mod lint;
pub mod recipe;

pub use apply::{Apply, ApplyError, Check, Form, Limits, Written};
