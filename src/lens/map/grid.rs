//! Depth by role: which layers share a cell.

use crate::app::App;
use crate::model::{Layer, LayerId};
use std::collections::{HashMap, HashSet};

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
        let names: Vec<String> = layers.iter().map(|l| l.label.clone()).collect();
        let roles: Vec<String> = layers.iter().map(|l| l.role.short().to_owned()).collect();
        let (by_name, by_role) = (columns(&names), columns(&roles));
        let same = by_name.len() == by_role.len();
        let (heads, of) = if !same && by_name.len() <= most {
            (by_name, names)
        } else {
            // Two layers of one role in a block have a column each where they fit: `q`, `q2`.
            let numbered = numbered(&layers, &roles);
            let apart = columns(&numbered);
            if apart.len() <= most { (apart, numbered) } else { (by_role, roles) }
        };
        let places: HashMap<&str, usize> = heads.iter().enumerate().map(|(i, h)| (h.as_str(), i)).collect();
        let mut cells: HashMap<(usize, usize), Vec<LayerId>> = HashMap::new();
        for (layer, head) in layers.iter().zip(&of) {
            let row = layer.block.and_then(|b| blocks.binary_search(&b).ok());
            let column = places.get(head.as_str()).copied();
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

/// Roles with the number of their place among those of the same role in a block.
fn numbered(layers: &[&Layer], roles: &[String]) -> Vec<String> {
    let mut seen: HashMap<(Option<usize>, &str), usize> = HashMap::new();
    let place = |(layer, role): (&&Layer, &String)| {
        let count = seen.entry((layer.block, layer.role.short())).or_default();
        *count += 1;
        if *count == 1 { role.clone() } else { format!("{role}{count}") }
    };
    layers.iter().zip(roles).map(place).collect()
}

/// Distinct heads in order of first appearance.
fn columns(heads: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    heads.iter().filter(|head| seen.insert(head.as_str())).cloned().collect()
}
