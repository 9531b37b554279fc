//! Leaving: the compressed checkpoint of a plan, written and checked.

mod apply;

pub use apply::{Apply, ApplyError, Check, Form, Limits, Written};
