//! One threshold for all entries of the model: the least total ‖W − Ŵ‖_F².

use super::{Allocator, Spread, single_entries};

pub(super) const GLOBAL: Allocator = Allocator {
    name: "global",
    words: "one threshold for all entries: least total squared error, unstructured pruning only",
    needs: &[],
    suits: single_entries,
    spread: Spread::Hulls { relative: false },
};
