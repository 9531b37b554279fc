//! Depth by role: which layers share a cell.

use crate::app::App;
use crate::model::{Layer, LayerId};
use std::collections::HashMap;
use std::hash::Hash;

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
    /// The grid of a model with blocks: a column for each name where they fit into `most`; else for each role, with those of
    /// one role in a block side by side (`q`, `q2`) where they fit. Linear in the layers.
    pub fn of(app: &App, most: usize) -> Option<Self> {
        let layers: Vec<&Layer> = app.model.layers.iter().filter(|l| l.block.is_some() && l.measurable()).collect();
        let mut blocks: Vec<usize> = layers.iter().filter_map(|l| l.block).collect();
        blocks.dedup();
        blocks.sort_unstable();
        blocks.dedup();
        if blocks.is_empty() {
            return None;
        }
        let roles = || layers.iter().map(|l| l.role.short());
        let names = || layers.iter().map(|l| l.label.as_str());
        let by_role = Columns::of(roles(), usize::MAX)?;
        let by_name = Columns::of(names(), most).filter(|c| c.heads.len() != by_role.heads.len());
        if let Some(by_name) = by_name {
            return Some(by_name.grid(&layers, names(), blocks, str::to_owned));
        }
        let head = |(role, place): (&str, usize)| if place == 1 { role.to_owned() } else { format!("{role}{place}") };
        Some(match Columns::of(numbered(&layers), most) {
            Some(apart) => apart.grid(&layers, numbered(&layers), blocks, head),
            None => by_role.grid(&layers, roles(), blocks, str::to_owned),
        })
    }

    /// The layers of a cell, in module order.
    pub fn at(&self, row: usize, column: usize) -> &[LayerId] {
        let cell = (column < self.heads.len()).then_some(row * self.heads.len() + column);
        cell.and_then(|i| self.cells.get(i)).map_or(&[], Vec::as_slice)
    }
}

/// The role of each layer, and its place among those of the same role in its block, from 1.
fn numbered<'a>(layers: &'a [&'a Layer]) -> impl Iterator<Item = (&'a str, usize)> {
    let mut seen: HashMap<(Option<usize>, &str), usize> = HashMap::new();
    layers.iter().map(move |layer| {
        let count = seen.entry((layer.block, layer.role.short())).or_default();
        *count += 1;
        (layer.role.short(), *count)
    })
}

/// Distinct heads in order of first appearance, and where each stands.
struct Columns<K> {
    heads: Vec<K>,
    at: HashMap<K, usize>,
}

impl<K: Copy + Eq + Hash> Columns<K> {
    /// `None` as soon as there are more than `most`.
    fn of(keys: impl Iterator<Item = K>, most: usize) -> Option<Self> {
        let mut columns = Self { heads: Vec::new(), at: HashMap::new() };
        for key in keys {
            if !columns.at.contains_key(&key) {
                if columns.heads.len() == most {
                    return None;
                }
                columns.at.insert(key, columns.heads.len());
                columns.heads.push(key);
            }
        }
        Some(columns)
    }

    /// Puts each layer into the cell of its block and its key.
    fn grid(
        self,
        layers: &[&Layer],
        keys: impl Iterator<Item = K>,
        blocks: Vec<usize>,
        head: impl Fn(K) -> String,
    ) -> Grid {
        let mut cells = vec![Vec::new(); blocks.len() * self.heads.len()];
        for (layer, key) in layers.iter().zip(keys) {
            let row = layer.block.and_then(|b| blocks.binary_search(&b).ok());
            if let (Some(row), Some(column)) = (row, self.at.get(&key))
                && let Some(cell) = cells.get_mut(row * self.heads.len() + column)
            {
                cell.push(layer.id);
            }
        }
        Grid { blocks, heads: self.heads.into_iter().map(head).collect(), cells }
    }
}
