//! The smallest entries, the units of least energy: what errs least in ‖W − Ŵ‖_F.

use super::{Act, Criterion, Scores, Way};
use crate::treat::Pattern;

/// See the module.
pub static WAY: Way = Way {
    criterion: Criterion::Magnitude,
    name: "magnitude",
    words: "smallest |w|, units of least energy",
    short: "smallest |w|",
    applies: |_, _| Ok(()),
    pattern: Pattern::Unstructured,
    weighs: false,
    act: Act::Scores(|_, _, _| Ok(Scores::Magnitudes)),
};
