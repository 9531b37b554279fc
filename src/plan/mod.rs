//! What the user proposes: a treatment for each layer, edits as values, undo and redo.

pub mod allocate;
pub mod budget;
pub mod file;
mod history;
pub mod outcome;
pub mod predict;
pub mod rule;
pub mod setting;

use crate::model::LayerId;
pub use crate::treat::criterion::CRITERIA;
pub use crate::treat::refine::Ran;
pub use crate::treat::size::{cost, rounded_share};
pub use crate::treat::{Criterion, Factors, Granularity, Pattern, Prune, Quantise, Treatment};
pub use history::News;
use history::Step;
pub use outcome::{LayerOutcome, Outcome, Totals, project, project_layer};
use std::time::Duration;

/// The quantities that a key or the mouse moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    undo: Vec<Step>,
    redo: Vec<Step>,
    news: Vec<News>,
}

impl Plan {
    /// All layers dense.
    pub fn new(layers: usize) -> Self {
        Self { entries: vec![Entry::default(); layers], ..Self::default() }
    }
    /// The plan without its history.
    pub fn bare(&self) -> Self {
        Self { entries: self.entries.clone(), ..Self::default() }
    }
    /// Whether both plan the same.
    pub fn same(&self, other: &Self) -> bool {
        self.entries == other.entries
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
        let goes_on = self.undo.last().is_some_and(|last| {
            last.gesture.is_some() && last.gesture == edit.gesture && edit.at.saturating_sub(last.at) < GESTURE
        });
        if goes_on {
            self.amend(edit);
        } else {
            self.redo.clear();
            self.write(&edit, |c| c.2);
            self.undo.push(Step::pack(&edit));
            self.news.push(News::Edit(edit));
        }
        true
    }
    /// Makes an edit that goes on with the gesture of the last one: both are undone as one.
    pub fn amend(&mut self, edit: Edit) {
        self.redo.clear();
        self.write(&edit, |c| c.2);
        match self.undo.last_mut() {
            Some(last) => last.merge(&edit),
            None => self.undo.push(Step::pack(&edit)),
        }
        self.news.push(News::Amend(edit));
    }
    /// Takes the last edit back; its label, or `None` when there is none.
    pub fn undo(&mut self) -> Option<String> {
        let step = self.undo.pop()?;
        let edit = step.unpack();
        self.write(&edit, |c| c.1);
        self.redo.push(step);
        self.news.push(News::Undo);
        Some(edit.label)
    }
    /// Makes the edit that was last taken back again.
    pub fn redo(&mut self) -> Option<String> {
        let mut step = self.redo.pop()?;
        let edit = step.unpack();
        self.write(&edit, |c| c.2);
        // A redone edit is finished: what follows it is a gesture of its own.
        step.gesture = None;
        self.undo.push(step);
        self.news.push(News::Redo);
        Some(edit.label)
    }
    /// How many edits can be undone and redone.
    pub fn depth(&self) -> (usize, usize) {
        (self.undo.len(), self.redo.len())
    }
    /// The edits that can be undone, first made first.
    pub fn past(&self) -> impl Iterator<Item = Edit> {
        self.undo.iter().map(Step::unpack)
    }
    /// The edits that can be made again, the next one last.
    pub fn future(&self) -> impl Iterator<Item = Edit> {
        self.redo.iter().map(Step::unpack)
    }
    /// What happened since this was last asked.
    pub fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }
    fn write(&mut self, edit: &Edit, side: impl Fn(&(LayerId, Entry, Entry)) -> Entry) {
        for change in &edit.changes {
            if let Some(entry) = self.entries.get_mut(change.0.0) {
                *entry = side(change);
            }
        }
    }
}

#[cfg(test)]
mod tests;
