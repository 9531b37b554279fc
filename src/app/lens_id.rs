//! The names of the lenses.

/// A way of looking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LensId {
    /// Singular values.
    Spectrum,
    /// Magnitudes.
    Sparsity,
    /// Norms and bounds.
    Lipschitz,
    /// The whole model by depth and role.
    Map,
    /// Size against error.
    Frontier,
    /// Measured loss.
    Quality,
}

impl LensId {
    /// All, in the order of their keys.
    pub const ALL: [Self; 6] =
        [Self::Spectrum, Self::Sparsity, Self::Lipschitz, Self::Map, Self::Frontier, Self::Quality];

    /// The key: 1 to 6.
    pub fn number(self) -> usize {
        Self::ALL.iter().position(|l| *l == self).map_or(0, |i| i + 1)
    }

    /// The full name.
    pub fn title(self) -> &'static str {
        match self {
            Self::Spectrum => "Spectrum",
            Self::Sparsity => "Sparsity",
            Self::Lipschitz => "Lipschitz",
            Self::Map => "Map",
            Self::Frontier => "Frontier",
            Self::Quality => "Quality",
        }
    }
}
