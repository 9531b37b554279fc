//! Depth by role: which layers share a cell.

use crate::app::App;
use crate::model::{Layer, LayerId};
use std::collections::HashMap;

/// Blocks down, names or roles across.
pub struct Grid {
    /// Block numbers, top to bottom.
    pub blocks: Vec<usize>,
    /// Heads, left to right.
    pub heads: Vec<String>,
    /// Layers of each cell, row by row.
    cells: Vec<Vec<LayerId>>,
}

impl Grid {
    /// The grid of a model with blocks: a column for each name where they fit into `most`, else for each role. Linear in the
    /// layers.
    pub fn of(app: &App, most: usize) -> Option<Self> {
        let layers = || app.model.layers.iter().filter(|l| l.block.is_some() && l.measurable());
        let mut blocks: Vec<usize> = layers().filter_map(|l| l.block).collect();
        blocks.dedup();
        blocks.sort_unstable();
        blocks.dedup();
        if blocks.is_empty() {
            return None;
        }
        let by_role = Columns::of(layers(), role, usize::MAX)?;
        let by_name = Columns::of(layers(), name, most).filter(|c| c.heads.len() != by_role.heads.len());
        let (columns, head): (_, fn(&Layer) -> &str) = match by_name {
            Some(by_name) => (by_name, name),
            None => (by_role, role),
        };
        let mut cells = vec![Vec::new(); blocks.len() * columns.heads.len()];
        for layer in layers() {
            let row = layer.block.and_then(|b| blocks.binary_search(&b).ok());
            let column = columns.at.get(head(layer));
            if let (Some(row), Some(column)) = (row, column)
                && let Some(cell) = cells.get_mut(row * columns.heads.len() + column)
            {
                cell.push(layer.id);
            }
        }
        let heads = columns.heads.into_iter().map(str::to_owned).collect();
        Some(Self { blocks, heads, cells })
    }

    /// The layers of a cell, in module order.
    pub fn at(&self, row: usize, column: usize) -> &[LayerId] {
        let cell = (column < self.heads.len()).then_some(row * self.heads.len() + column);
        cell.and_then(|i| self.cells.get(i)).map_or(&[], Vec::as_slice)
    }
}

fn name(layer: &Layer) -> &str {
    &layer.label
}

fn role(layer: &Layer) -> &str {
    layer.role.short()
}

/// Distinct heads in order of first appearance, and where each stands.
struct Columns<'a> {
    heads: Vec<&'a str>,
    at: HashMap<&'a str, usize>,
}

impl<'a> Columns<'a> {
    /// `None` as soon as there are more than `most`.
    fn of(layers: impl Iterator<Item = &'a Layer>, head: fn(&Layer) -> &str, most: usize) -> Option<Self> {
        let mut columns = Self { heads: Vec::new(), at: HashMap::new() };
        for layer in layers {
            let head = head(layer);
            if !columns.at.contains_key(head) {
                if columns.heads.len() == most {
                    return None;
                }
                columns.at.insert(head, columns.heads.len());
                columns.heads.push(head);
            }
        }
        Some(columns)
    }
}
