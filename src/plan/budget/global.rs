//! The least total ‖W − Ŵ‖_F² of the model: of single entries one threshold for all, of ranks the directions of most
//! energy a parameter (σ²/(m + n), Eckart–Young).

use super::{Allocator, Loss, Spread, anything};

pub(super) const GLOBAL: Allocator = Allocator {
    name: "global",
    words: "least total squared error: of single entries one threshold for all; large weights decide",
    needs: &[],
    suits: anything,
    spread: Spread::Hulls(Loss::Absolute),
};
