//! By what it is chosen what goes: one file and one line in [`CRITERIA`] for each way.
//!
//! A criterion that looks at more than the matrix gets it from the [`Layer`], as batch normalisation does; one that needs
//! activations gets them the same way and says in `applies` what is missing.

pub mod batch_norm;
pub mod leverage;
mod magnitude;
pub mod obs;
pub mod obs_refit;
mod relative_importance;
pub mod ria;
pub mod wanda;

use super::error::{NO_GRAM, NO_INPUTS};
use super::{Pattern, Prune};
use crate::model::{Layer, Matrix};
use crate::numerics::KeepGoing;
use crate::probe::ProbeError;
use serde::{Deserialize, Serialize};

/// Names a way to choose what goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Criterion {
    /// What holds the least energy: the smallest |w|, units of the smallest ‖·‖.
    #[default]
    Magnitude,
    /// See `relative_importance`.
    RelativeImportance,
    /// See [`batch_norm`].
    BatchNormScale,
    /// See [`leverage`].
    Leverage,
    /// See [`wanda`].
    Wanda,
    /// See [`ria`].
    Ria,
    /// See [`obs`].
    Obs,
    /// See [`obs_refit`].
    ObsRefit,
}

/// How important each entry, or each row, is; the least important go first.
#[derive(Debug, Clone, PartialEq)]
pub enum Scores {
    /// Nothing but the entries' own magnitudes.
    Magnitudes,
    /// One for each entry, none negative.
    Entries(Vec<f32>),
    /// One for each row.
    Rows(Vec<f64>),
}

/// How a way to choose goes about it; asked only where it applies.
pub enum Act {
    /// It scores; the least important go, the others stay as they are.
    Scores(fn(&Layer, &Matrix, KeepGoing<'_>) -> Result<Scores, ProbeError>),
    /// It sets what goes to zero itself, and changes what stays.
    Rewrite(fn(&Layer, &mut Matrix, Prune, KeepGoing<'_>) -> Result<(), ProbeError>),
}

/// A way to choose.
pub struct Way {
    /// Which.
    pub criterion: Criterion,
    /// Its name in plan files and on the command line.
    pub name: &'static str,
    /// What it goes by and where that comes from, in a line.
    pub words: &'static str,
    /// In a few words, for the knob: `least |γ|`.
    pub short: &'static str,
    /// Why it cannot choose in a layer and a pattern.
    pub applies: fn(&Layer, Pattern) -> Result<(), String>,
    /// The pattern to take where none was asked for, or one that it cannot choose in.
    pub pattern: Pattern,
    /// Whether it goes by activations.
    pub weighs: bool,
    /// How it goes about it.
    pub act: Act,
}

/// All of them, in the order in which a key goes through them.
pub static CRITERIA: [&Way; 8] = [
    &magnitude::WAY,
    &relative_importance::WAY,
    &batch_norm::WAY,
    &leverage::WAY,
    &wanda::WAY,
    &ria::WAY,
    &obs::WAY,
    &obs_refit::WAY,
];

impl Criterion {
    /// Everything about it.
    pub fn way(self) -> &'static Way {
        CRITERIA.into_iter().find(|w| w.criterion == self).unwrap_or(&magnitude::WAY)
    }
    /// Its name in plan files and on the command line.
    pub fn name(self) -> &'static str {
        self.way().name
    }
    /// Whether it goes by activations.
    pub fn weighs(self) -> bool {
        self.way().weighs
    }
    /// Whether it changes entries that stay.
    pub fn rewrites(self) -> bool {
        matches!(self.way().act, Act::Rewrite(_))
    }
    /// The criterion of a name.
    pub fn parse(name: &str) -> Option<Self> {
        CRITERIA.into_iter().find(|w| w.name == name).map(|w| w.criterion)
    }
    /// The pattern in which it can choose: this one, or its own.
    pub fn fitting(self, layer: &Layer, pattern: Pattern) -> Pattern {
        if self.applies(layer, pattern).is_ok() { pattern } else { self.way().pattern }
    }
    /// The pattern in which it goes on where another criterion chose before: what was that one's own gives way to its own.
    pub fn after(self, before: Self, layer: &Layer, pattern: Pattern) -> Pattern {
        let left_open = pattern == before.way().pattern && self != before;
        self.fitting(layer, if left_open { self.way().pattern } else { pattern })
    }
    /// What goes, in words for the knob: `smallest |w| of each row`.
    pub fn goes(self, pattern: Pattern) -> String {
        match (self, pattern) {
            (Self::Magnitude, pattern) => pattern.words(),
            (_, Pattern::Groups(m)) => format!("{} of every {m}", self.way().short),
            (_, Pattern::PerRow) => format!("{}, each row", self.way().short),
            _ => self.way().short.to_owned(),
        }
    }
    /// Why it cannot choose in a layer and a pattern.
    pub fn applies(self, layer: &Layer, pattern: Pattern) -> Result<(), String> {
        (self.way().applies)(layer, pattern)
    }
}

/// For criteria that score rows.
fn rows_only(pattern: Pattern) -> Result<(), String> {
    if pattern == Pattern::Rows { Ok(()) } else { Err("it chooses whole rows: pattern row".to_owned()) }
}

/// For criteria that score single entries.
fn entries_only(pattern: Pattern) -> Result<(), String> {
    match pattern {
        Pattern::Unstructured | Pattern::PerRow | Pattern::Groups(_) => Ok(()),
        _ => Err("it chooses single entries: pattern unstructured, per-row or N:M".to_owned()),
    }
}

/// E\[x_j²\] of the layer's inputs, for criteria that go by them.
fn seen(layer: &Layer) -> Result<&[f32], String> {
    layer.inputs.as_ref().map(|i| i.diagonal()).ok_or_else(|| NO_INPUTS.to_owned())
}

/// Whether all second moments of the inputs are known, for criteria that go by them.
fn gram_seen(layer: &Layer) -> Result<(), String> {
    seen(layer)?;
    let whole = layer.inputs.as_ref().is_some_and(|i| i.has_gram());
    if whole { Ok(()) } else { Err(NO_GRAM.to_owned()) }
}

#[cfg(test)]
mod tests;
