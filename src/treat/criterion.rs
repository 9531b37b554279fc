//! By what it is chosen what goes: one entry in [`CRITERIA`] for each way.

use serde::{Deserialize, Serialize};

/// Names a way to choose what goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Criterion {
    /// What holds the least energy: the smallest |w|, units of the smallest ‖·‖.
    #[default]
    Magnitude,
}

/// All of them, with their names in plan files and on the command line, and what they go by.
pub const CRITERIA: &[(Criterion, &str, &str)] =
    &[(Criterion::Magnitude, "magnitude", "smallest |w|, units of least energy")];

impl Criterion {
    /// Its name in plan files and on the command line.
    pub fn name(self) -> &'static str {
        CRITERIA.iter().find(|c| c.0 == self).map_or("", |c| c.1)
    }
    /// The criterion of a name.
    pub fn parse(name: &str) -> Option<Self> {
        CRITERIA.iter().find(|c| c.1 == name).map(|c| c.0)
    }
}
