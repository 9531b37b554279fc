//! A number together with what it is: exact, a bound, an estimate, or still to come.

use serde::{Deserialize, Serialize};

/// How a value relates to the true one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Computed to the accuracy that the tests check (`=`).
    Exact,
    /// The true value is not larger (`≤`).
    Upper,
    /// The true value is not smaller (`≥`).
    Lower,
    /// Near the true value, on no certain side (`≈`).
    Estimate,
}

impl Bound {
    /// The badge drawn before the number.
    pub fn badge(self) -> char {
        match self {
            Self::Exact => '=',
            Self::Upper => '≤',
            Self::Lower => '≥',
            Self::Estimate => '≈',
        }
    }

    /// The word used in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Upper => "upper",
            Self::Lower => "lower",
            Self::Estimate => "estimate",
        }
    }

    /// What a sum or a monotone increasing combination of two such values is.
    pub fn and(self, other: Self) -> Self {
        use Bound::{Estimate, Exact};
        match (self, other) {
            (Exact, b) | (b, Exact) => b,
            (a, b) if a == b => a,
            _ => Estimate,
        }
    }
}

/// A number that says what it is. The only kind of measured number that is drawn or written.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The value itself; finite.
    pub value: f64,
    /// How it relates to the true value.
    pub bound: Bound,
}

impl Known {
    /// A value computed to the tested accuracy.
    pub fn exact(value: f64) -> Self {
        Self { value, bound: Bound::Exact }
    }
    /// A value the true one does not exceed.
    pub fn upper(value: f64) -> Self {
        Self { value, bound: Bound::Upper }
    }
    /// A value the true one reaches at least.
    pub fn lower(value: f64) -> Self {
        Self { value, bound: Bound::Lower }
    }
    /// A value near the true one.
    pub fn estimate(value: f64) -> Self {
        Self { value, bound: Bound::Estimate }
    }
    /// The same badge on a value transformed by a monotone increasing function.
    pub fn map(self, f: impl FnOnce(f64) -> f64) -> Self {
        Self { value: f(self.value), bound: self.bound }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_part_does_not_spoil_a_bound_and_opposite_bounds_make_an_estimate() {
        assert_eq!(Bound::Exact.and(Bound::Upper), Bound::Upper);
        assert_eq!(Bound::Lower.and(Bound::Lower), Bound::Lower);
        assert_eq!(Bound::Upper.and(Bound::Lower), Bound::Estimate);
        assert_eq!(Bound::Exact.and(Bound::Exact), Bound::Exact);
    }

    #[test]
    fn json_names_the_bound_in_words() {
        let text = serde_json::to_string(&Known::upper(2.5)).unwrap();
        assert_eq!(text, r#"{"value":2.5,"bound":"upper"}"#);
    }
}
