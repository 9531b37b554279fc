//! What was done to the plan, for undo and redo: without limit, so it is kept small. A step holds each distinct entry
//! once and three numbers for a layer.

use super::{Edit, Entry, Knob};
use crate::model::LayerId;
use std::collections::HashMap;
use std::time::Duration;

/// What happened to a plan, in the order in which it happened.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// An edit of its own.
    Edit(Edit),
    /// An edit that goes on with the gesture of the last one.
    Amend(Edit),
    /// The last edit was taken back.
    Undo,
    /// It was made again.
    Redo,
}

/// An edit, packed.
#[derive(Debug, Clone)]
pub(super) struct Step {
    label: Box<str>,
    pub(super) gesture: Option<(Knob, usize)>,
    pub(super) at: Duration,
    entries: Box<[Entry]>,
    /// Layer, and its entries before and after.
    changes: Box<[(u32, u32, u32)]>,
}

/// Entries are looked for among so many of the last: layers of one edit mostly share a few.
const RECENT: usize = 16;

/// The distinct entries of a step.
#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
}

impl Table {
    fn number(&mut self, entry: Entry) -> u32 {
        let recent = self.entries.len().saturating_sub(RECENT);
        let known = self.entries.iter().skip(recent).rposition(|e| *e == entry).map(|i| i + recent);
        known.unwrap_or_else(|| {
            self.entries.push(entry);
            self.entries.len() - 1
        }) as u32
    }
}

impl Step {
    pub(super) fn pack(edit: &Edit) -> Self {
        let mut table = Table::default();
        let changes = edit.changes.iter().map(|(id, a, b)| (id.0 as u32, table.number(*a), table.number(*b))).collect();
        Self {
            label: edit.label.as_str().into(),
            gesture: edit.gesture,
            at: edit.at,
            entries: table.entries.into(),
            changes,
        }
    }

    pub(super) fn unpack(&self) -> Edit {
        let entry = |i: u32| self.entries.get(i as usize).copied().unwrap_or_default();
        let changes = self.changes.iter().map(|(id, a, b)| (LayerId(*id as usize), entry(*a), entry(*b))).collect();
        Edit { changes, label: self.label.to_string(), gesture: self.gesture, at: self.at }
    }

    /// Folds a later edit of the same gesture into this one: first `before`, last `after`.
    pub(super) fn merge(&mut self, later: &Edit) {
        if self.touches_the_layers_of(later) {
            return self.go_on(later);
        }
        let mut edit = self.unpack();
        let at: HashMap<LayerId, usize> = edit.changes.iter().enumerate().map(|(i, c)| (c.0, i)).collect();
        for change in &later.changes {
            match at.get(&change.0).and_then(|i| edit.changes.get_mut(*i)) {
                Some(known) => known.2 = change.2,
                None => edit.changes.push(*change),
            }
        }
        edit.label.clone_from(&later.label);
        edit.at = later.at;
        *self = Self::pack(&edit);
    }

    fn touches_the_layers_of(&self, edit: &Edit) -> bool {
        self.changes.len() == edit.changes.len()
            && self.changes.iter().zip(&edit.changes).all(|(ours, theirs)| ours.0 as usize == theirs.0.0)
    }

    /// A gesture goes on over the very same layers: the common case, and one step of a held key.
    fn go_on(&mut self, later: &Edit) {
        let entry = |i: u32| self.entries.get(i as usize).copied().unwrap_or_default();
        let mut table = Table::default();
        let steps = self.changes.iter().zip(&later.changes);
        let changes = steps.map(|(c, l)| (c.0, table.number(entry(c.1)), table.number(l.2))).collect();
        *self = Self {
            label: later.label.as_str().into(),
            gesture: self.gesture,
            at: later.at,
            entries: table.entries.into(),
            changes,
        };
    }

    /// Bytes that it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.label.len() + size_of_val(&*self.entries) + size_of_val(&*self.changes)
    }
}
