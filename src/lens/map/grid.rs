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
    cells: HashMap<(usize, usize), Vec<LayerId>>,
}

impl Grid {
    /// The grid of a model with blocks: a column for each name where they fit into `most`, else for each role.
    pub fn of(app: &App, most: usize) -> Option<Self> {
        let layers: Vec<&Layer> = app.model.layers.iter().filter(|l| l.block.is_some() && l.measurable()).collect();
        let mut blocks: Vec<usize> = layers.iter().filter_map(|l| l.block).collect();
        blocks.dedup();
        blocks.sort_unstable();
        blocks.dedup();
        if blocks.is_empty() {
            return None;
        }
        let by_name = columns(&layers, |l| l.label.clone());
        let by_role = columns(&layers, |l| l.role.short().to_owned());
        let same = by_name.len() == by_role.len();
        let named = !same && by_name.len() <= most;
        let head = |l: &Layer| if named { l.label.clone() } else { l.role.short().to_owned() };
        let heads = if named { by_name } else { by_role };
        let mut cells: HashMap<(usize, usize), Vec<LayerId>> = HashMap::new();
        for layer in layers {
            let row = layer.block.and_then(|b| blocks.binary_search(&b).ok());
            let column = heads.iter().position(|h| *h == head(layer));
            if let (Some(row), Some(column)) = (row, column) {
                cells.entry((row, column)).or_default().push(layer.id);
            }
        }
        Some(Self { blocks, heads, cells })
    }

    /// The layers of a cell, in module order.
    pub fn at(&self, row: usize, column: usize) -> &[LayerId] {
        self.cells.get(&(row, column)).map_or(&[], Vec::as_slice)
    }
}

/// Distinct heads in order of first appearance.
fn columns(layers: &[&Layer], head: impl Fn(&Layer) -> String) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for layer in layers {
        let head = head(layer);
        if !out.contains(&head) {
            out.push(head);
        }
    }
    out
}
