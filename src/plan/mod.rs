//! What the user proposes: a treatment for each layer, edits as values, undo and redo.

pub mod allocate;
pub mod budget;
pub mod file;
pub mod outcome;
pub mod rule;

use crate::model::LayerId;
pub use crate::treat::criterion::CRITERIA;
pub use crate::treat::size::{cost, rounded_share};
pub use crate::treat::{Criterion, Factors, Granularity, Pattern, Prune, Quantise, Treatment};
pub use outcome::{LayerOutcome, Outcome, Totals, project};
use std::time::Duration;

/// The quantities that a key or the mouse moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Knob {
    /// Rank kept.
    Rank,
    /// Share of the entries removed.
    Prune,
    /// Bits that entries are rounded to.
    Bits,
}

impl Knob {
    /// All of them, from the top of the screen.
    pub const ALL: [Self; 3] = [Self::Rank, Self::Prune, Self::Bits];

    /// The next one.
    pub fn next(self) -> Self {
        match self {
            Self::Rank => Self::Prune,
            Self::Prune => Self::Bits,
            Self::Bits => Self::Rank,
        }
    }
    /// Its word on screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rank => "rank",
            Self::Prune => "prune",
            Self::Bits => "bits",
        }
    }
}

/// What the plan holds for one layer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Entry {
    /// What is done to it.
    pub treatment: Treatment,
    /// Whether scopes larger than the layer itself leave it alone.
    pub pinned: bool,
}

/// One change of the plan: what each touched layer was and becomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// Changes, one for each layer touched.
    pub changes: Vec<(LayerId, Entry, Entry)>,
    /// What it was, for the status line: `prune 40%`, `pin`.
    pub label: String,
    /// Edits with an equal key that follow quickly are undone as one.
    pub gesture: Option<(Knob, usize)>,
    /// When it was made.
    pub at: Duration,
}

/// Edits closer together than this, of one knob over one scope, are one gesture (a held key, a drag).
const GESTURE: Duration = Duration::from_millis(350);

/// The plan, with its history.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    entries: Vec<Entry>,
    undo: Vec<Edit>,
    redo: Vec<Edit>,
}

impl Plan {
    /// All layers dense.
    pub fn new(layers: usize) -> Self {
        Self { entries: vec![Entry::default(); layers], ..Self::default() }
    }
    /// What is planned for a layer.
    pub fn entry(&self, layer: LayerId) -> Entry {
        self.entries.get(layer.0).copied().unwrap_or_default()
    }
    /// The treatment of a layer.
    pub fn treatment(&self, layer: LayerId) -> Treatment {
        self.entry(layer).treatment
    }
    /// Sets what is planned for a layer, with nothing to undo: where a plan begins.
    pub fn set(&mut self, layer: LayerId, entry: Entry) {
        if let Some(slot) = self.entries.get_mut(layer.0) {
            *slot = entry;
        }
    }
    /// Whether nothing is treated.
    pub fn is_dense(&self) -> bool {
        self.entries.iter().all(|e| e.treatment.is_dense())
    }
    /// Number of treated layers.
    pub fn treated(&self) -> usize {
        self.entries.iter().filter(|e| !e.treatment.is_dense()).count()
    }
    /// Makes an edit and remembers it. Edits that change nothing are not remembered.
    pub fn edit(&mut self, mut edit: Edit) -> bool {
        edit.changes.retain(|(_, before, after)| before != after);
        if edit.changes.is_empty() {
            return false;
        }
        self.write(&edit, |c| c.2);
        self.redo.clear();
        match self.undo.last_mut() {
            Some(last)
                if last.gesture.is_some()
                    && last.gesture == edit.gesture
                    && edit.at.saturating_sub(last.at) < GESTURE =>
            {
                merge(last, edit);
            }
            _ => self.undo.push(edit),
        }
        true
    }
    /// Takes the last edit back; its label, or `None` when there is none.
    pub fn undo(&mut self) -> Option<String> {
        let edit = self.undo.pop()?;
        self.write(&edit, |c| c.1);
        let label = edit.label.clone();
        self.redo.push(edit);
        Some(label)
    }
    /// Makes the edit that was last taken back again.
    pub fn redo(&mut self) -> Option<String> {
        let mut edit = self.redo.pop()?;
        self.write(&edit, |c| c.2);
        let label = edit.label.clone();
        // A redone edit is finished: what follows it is a gesture of its own.
        edit.gesture = None;
        self.undo.push(edit);
        Some(label)
    }
    /// How many edits can be undone and redone.
    pub fn depth(&self) -> (usize, usize) {
        (self.undo.len(), self.redo.len())
    }
    fn write(&mut self, edit: &Edit, side: impl Fn(&(LayerId, Entry, Entry)) -> Entry) {
        for change in &edit.changes {
            if let Some(entry) = self.entries.get_mut(change.0.0) {
                *entry = side(change);
            }
        }
    }
}

/// Folds a later edit of the same gesture into the earlier one: first `before`, last `after`.
fn merge(earlier: &mut Edit, later: Edit) {
    for (layer, before, after) in later.changes {
        match earlier.changes.iter_mut().find(|c| c.0 == layer) {
            Some(change) => change.2 = after,
            None => earlier.changes.push((layer, before, after)),
        }
    }
    earlier.label = later.label;
    earlier.at = later.at;
}

#[cfg(test)]
mod tests;
