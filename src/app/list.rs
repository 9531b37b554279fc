//! The layer list: which rows there are, in what order, and where the cursor stands.

use super::metric::{METRICS, Source};
use super::{App, metric};
use crate::model::{Layer, LayerId};
use std::collections::BTreeSet;

/// A row of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Heading of a block, with its layers when folded.
    Block {
        /// The block.
        block: usize,
        /// Whether its layers are hidden.
        folded: bool,
        /// How many layers it has in the list.
        layers: usize,
        /// The layer that stands for it: the first that can be treated, else the first.
        first: LayerId,
    },
    /// A layer.
    Layer(LayerId),
}

/// Order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// As the model runs.
    #[default]
    Module,
    /// Largest relative error first.
    Error,
    /// Most parameters first.
    Params,
    /// Largest value of the map's metric first.
    Metric,
}

impl Sort {
    /// The next one.
    pub fn next(self) -> Self {
        match self {
            Self::Module => Self::Error,
            Self::Error => Self::Params,
            Self::Params => Self::Metric,
            Self::Metric => Self::Module,
        }
    }
}

/// The list's state.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// Rows, all of them.
    pub rows: Vec<Row>,
    /// The row under the cursor.
    pub cursor: usize,
    /// The first row on screen.
    pub top: usize,
    /// Order.
    pub sort: Sort,
    /// Words that a layer must contain.
    pub filter: String,
    /// Folded blocks.
    pub folded: BTreeSet<usize>,
    /// Whether tensors that are never compressed are shown as well.
    pub all: bool,
}

impl App {
    /// Layers that pass the filter, in module order.
    fn listed(&self) -> Vec<LayerId> {
        let words: Vec<String> = self.list.filter.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let shown = self.index.layers.iter().enumerate().filter(|(_, l)| self.list.all || l.listed);
        let passes = |id: &LayerId| words.is_empty() || self.index.contains(*id, &words);
        shown.map(|(i, _)| LayerId(i)).filter(passes).collect()
    }

    /// Layers that the list shows without a filter, for "n of m".
    pub fn listable(&self) -> usize {
        if self.list.all { self.index.layers.len() } else { self.index.listed }
    }

    /// Layers that pass the filter.
    pub fn listed_count(&self) -> usize {
        let listed = |r: &Row| match r {
            Row::Block { folded: true, layers, .. } => *layers,
            Row::Block { .. } => 0,
            Row::Layer(_) => 1,
        };
        self.list.rows.iter().map(listed).sum()
    }

    /// Builds the rows anew and keeps the cursor on the selected layer where it can.
    pub(super) fn rebuild_rows(&mut self) {
        let listed = self.listed();
        self.list.rows = if self.list.sort == Sort::Module { self.grouped(&listed) } else { self.sorted(listed) };
        self.put_cursor_on(self.selected);
    }

    fn grouped(&self, listed: &[LayerId]) -> Vec<Row> {
        let traits = |id: &LayerId| self.index.layers.get(id.0);
        let block_of = |id: &LayerId| traits(id).and_then(|l| Some(l.block? as usize));
        let mut rows = Vec::new();
        for chunk in listed.chunk_by(|a, b| block_of(a) == block_of(b)) {
            if let Some((&head, block)) = chunk.first().and_then(|id| Some((id, block_of(id)?))) {
                // A filter looks into folded blocks.
                let folded = self.list.folded.contains(&block) && self.list.filter.is_empty();
                let eligible = |id: &&LayerId| traits(id).is_some_and(|l| l.eligible);
                let first = chunk.iter().find(eligible).copied().unwrap_or(head);
                rows.push(Row::Block { block, folded, layers: chunk.len(), first });
                if folded {
                    continue;
                }
            }
            rows.extend(chunk.iter().copied().map(Row::Layer));
        }
        rows
    }

    fn sorted(&self, listed: Vec<LayerId>) -> Vec<Row> {
        let metric = match self.list.sort {
            Sort::Params => METRICS.iter().find(|m| m.name == "parameters"),
            Sort::Metric => METRICS.get(self.metric()),
            _ => METRICS.first(),
        };
        let value = |id: LayerId| -> f64 {
            let found = metric.zip(self.source(id)).and_then(|(m, s)| (m.value)(s));
            found.map_or(f64::NEG_INFINITY, |k| k.value)
        };
        let mut keyed: Vec<(f64, LayerId)> = listed.into_iter().map(|id| (value(id), id)).collect();
        keyed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        keyed.into_iter().map(|(_, id)| Row::Layer(id)).collect()
    }

    /// What metrics of a layer are computed from.
    pub fn source(&self, id: LayerId) -> Option<Source<'_>> {
        let (layer, outcome) = (self.model.layer(id)?, self.outcome.layers.get(id.0)?);
        Some(metric::Source { layer, facts: self.facts.of(id), outcome, activations: self.activations })
    }

    /// The layer that a row stands for.
    pub fn layer_of(&self, row: Row) -> LayerId {
        match row {
            Row::Layer(id) | Row::Block { first: id, .. } => id,
        }
    }

    /// The block of a layer.
    pub fn block_of(&self, id: LayerId) -> Option<usize> {
        self.model.layer(id)?.block
    }

    fn selectable(&self, row: usize) -> bool {
        !matches!(self.list.rows.get(row), None | Some(Row::Block { folded: false, .. }))
    }

    /// Whether the cursor is on a folded block.
    pub fn on_block(&self) -> Option<usize> {
        match self.list.rows.get(self.list.cursor) {
            Some(Row::Block { block, .. }) => Some(*block),
            _ => None,
        }
    }

    /// Puts the cursor on a layer, or on the folded block that hides it; else on the nearest row.
    pub(super) fn put_cursor_on(&mut self, id: LayerId) {
        let block = self.block_of(id);
        let found = self.list.rows.iter().position(|r| match r {
            Row::Layer(l) => *l == id,
            Row::Block { block: b, folded, .. } => *folded && Some(*b) == block,
        });
        if let Some(row) = found {
            self.list.cursor = row;
        } else {
            // The next layer that is listed, in module order; else the last before.
            let next = self.list.rows.iter().position(|r| self.layer_of(*r) > id);
            self.list.cursor = next.unwrap_or(self.list.rows.len().saturating_sub(1));
            self.settle_cursor(1);
        }
        self.scroll();
    }

    /// Moves the cursor to a row that can be selected, looking first in the direction of `step`.
    fn settle_cursor(&mut self, step: i32) {
        let rows = self.list.rows.len();
        let forward = (self.list.cursor..rows).find(|r| self.selectable(*r));
        let backward = (0..self.list.cursor.min(rows)).rev().find(|r| self.selectable(*r));
        let found = if step >= 0 { forward.or(backward) } else { backward.or(forward) };
        if !self.selectable(self.list.cursor) {
            self.list.cursor = found.unwrap_or(0);
        }
        if let Some(row) = self.list.rows.get(self.list.cursor).copied() {
            self.selected = self.layer_of(row);
        }
    }

    /// Moves by so many rows.
    pub(super) fn move_cursor(&mut self, step: i32) {
        let last = self.list.rows.len().saturating_sub(1) as i64;
        let mut left = step.unsigned_abs();
        let mut at = self.list.cursor as i64;
        while left > 0 {
            let next = at + i64::from(step.signum());
            if !(0..=last).contains(&next) {
                break;
            }
            at = next;
            // Headings of unfolded blocks are stepped over, not counted.
            left -= u32::from(self.selectable(at as usize));
        }
        if self.selectable(at as usize) {
            self.list.cursor = at as usize;
        }
        self.settle_cursor(step);
        self.scroll();
    }

    /// Moves to a row.
    pub(super) fn go_to_row(&mut self, row: usize) {
        self.list.cursor = row.min(self.list.rows.len().saturating_sub(1));
        self.settle_cursor(1);
        self.scroll();
    }

    /// Selects a layer, unfolding its block; a filter that hides it is lifted.
    pub(super) fn select(&mut self, id: LayerId) {
        if !self.list.rows.contains(&Row::Layer(id)) {
            if let Some(block) = self.block_of(id) {
                self.list.folded.remove(&block);
            }
            self.selected = id;
            self.rebuild_rows();
            if !self.list.rows.contains(&Row::Layer(id)) {
                self.list.filter.clear();
                self.selected = id;
                self.rebuild_rows();
            }
        }
        self.selected = id;
        self.put_cursor_on(id);
    }

    /// The layer of the same role and name in the next or previous block that has one.
    pub(super) fn same_role(&mut self, step: i32) {
        let Some(here) = self.model.layer(self.selected) else { return };
        let alike = |l: &&Layer| l.role == here.role && l.label == here.label && l.id != here.id;
        let found = if step > 0 {
            self.model.layers.iter().filter(alike).find(|l| l.id > here.id)
        } else {
            self.model.layers.iter().rev().filter(alike).find(|l| l.id < here.id)
        };
        if let Some(id) = found.map(|l| l.id) {
            self.select(id);
        }
    }

    /// Folds or unfolds the block of the cursor.
    pub(super) fn fold(&mut self) {
        let Some(block) = self.on_block().or_else(|| self.block_of(self.selected)) else { return };
        if !self.list.folded.remove(&block) {
            self.list.folded.insert(block);
        }
        self.rebuild_rows();
    }

    /// Unfolds all blocks when any is folded, else folds all.
    pub(super) fn fold_all(&mut self) {
        if self.list.folded.is_empty() {
            self.list.folded = self.model.layers.iter().filter_map(|l| l.block).collect();
        } else {
            self.list.folded.clear();
        }
        self.rebuild_rows();
    }

    /// Keeps the cursor on screen, and a heading above it where there is room.
    pub(super) fn scroll(&mut self) {
        let rows = self.list_rows().max(1);
        let margin = usize::from(rows > 4);
        let list = &mut self.list;
        if list.cursor < list.top + margin {
            list.top = list.cursor.saturating_sub(margin);
        }
        if list.cursor + margin >= list.top + rows {
            list.top = list.cursor + margin + 1 - rows;
        }
        list.top = list.top.min(list.rows.len().saturating_sub(rows));
    }

    /// Layers on screen, the selected first, then by their distance from it.
    pub(super) fn by_interest(&self) -> Vec<LayerId> {
        let end = (self.list.top + self.list_rows()).min(self.list.rows.len());
        let mut near: Vec<(usize, LayerId)> = (self.list.top..end)
            .filter_map(|i| match self.list.rows.get(i)? {
                Row::Layer(id) => Some((i.abs_diff(self.list.cursor), *id)),
                Row::Block { .. } => None,
            })
            .collect();
        near.sort_unstable();
        let others = near.into_iter().map(|(_, id)| id).filter(|id| *id != self.selected);
        std::iter::once(self.selected).chain(others).collect()
    }
}
