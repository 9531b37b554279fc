//! Measured sensitivity: the least sum of what each layer was measured to lose alone. Between measurements the loss goes by
//! the relative error (see [`crate::probe::Sensitivity`]). Losses of single layers are not additive at high ratios: the plan
//! as a whole has to be measured to know.

use super::{Allocator, Ask, Loss, Means, Spread};

pub(super) const MEASURED: Allocator = Allocator {
    name: "measured",
    words: "least sum of measured losses, each layer treated alone; needs data to measure on",
    needs: &[],
    suits: |ask: &Ask| match ask.means {
        Means::Bits(_) => Err("sensitivity is measured of pruning and of ranks".to_owned()),
        _ => Ok(()),
    },
    spread: Spread::Hulls(Loss::Measured),
};
