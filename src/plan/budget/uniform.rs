//! The same share of every layer.

use super::{Allocator, Levels, Spread, anything};

pub(super) const UNIFORM: Allocator = Allocator {
    name: "uniform",
    words: "the same share of every layer",
    needs: &[],
    suits: anything,
    spread: Spread::Levels(|_| Ok(Levels { most: 1.0, share: Box::new(|level, _| level) })),
};
