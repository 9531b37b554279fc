//! Layer-adaptive ratios under a budget of multiply-accumulates: what loses least energy a multiply-accumulate goes first.
//!
//! After LAPP (Zhai et al. 2023), whose thresholds are learned in training and cannot be read from a checkpoint: this is
//! its post-hoc counterpart, units sorted by ‖W_u‖²/MACs.

use super::{Allocator, Ask, Loss, Spread, Unit};

pub(super) const FLOPS: Allocator = Allocator {
    name: "flops",
    words: "least total squared error a multiply-accumulate, budgets of MACs only (after LAPP, post hoc)",
    needs: &[],
    suits: |ask: &Ask| match ask.of {
        Unit::Macs => Ok(()),
        _ => Err("spreads multiply-accumulates: ask for a share of macs".to_owned()),
    },
    spread: Spread::Hulls(Loss::Absolute),
};
