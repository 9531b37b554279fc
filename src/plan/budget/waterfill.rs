//! Energy water-filling: the least sum of squared relative errors on the convex hulls of the layers' curves.

use super::{Allocator, Loss, Spread, anything};

pub(super) const WATERFILL: Allocator = Allocator {
    name: "waterfill",
    words: "least sum of squared relative errors, optimal on the convex hull of each layer's curve",
    needs: &[],
    suits: anything,
    spread: Spread::Hulls(Loss::Relative),
};
