//! Depth by role: which layers share a cell of the map.

use crate::model::{Layer, LayerId, Model};
use std::collections::HashMap;
use std::hash::Hash;

/// Columns beyond which no map is wide enough.
const MOST: usize = 128;

/// Blocks down, names or roles across.
#[derive(Debug, Clone, Default)]
pub struct Grid {
    /// Block numbers, top to bottom.
    pub blocks: Vec<usize>,
    /// Heads, left to right.
    pub heads: Vec<String>,
    /// Layers of each cell, row by row.
    cells: Vec<Vec<LayerId>>,
}

/// The ways in which the layers of a model can be laid out; none depends on what is measured or planned.
#[derive(Debug, Clone)]
pub struct Grids {
    /// A column for each name.
    by_name: Option<Grid>,
    /// A column for each role, with those of one role in a block side by side (`q`, `q2`).
    apart: Option<Grid>,
    /// A column for each role.
    by_role: Grid,
}

impl Grids {
    /// Lays out a model; `None` without blocks. Linear in the layers.
    pub fn of(model: &Model) -> Option<Self> {
        let layers: Vec<&Layer> = model.layers.iter().filter(|l| l.block.is_some() && l.measurable()).collect();
        let mut blocks: Vec<usize> = layers.iter().filter_map(|l| l.block).collect();
        blocks.dedup();
        blocks.sort_unstable();
        blocks.dedup();
        if blocks.is_empty() {
            return None;
        }
        let roles = || layers.iter().map(|l| l.role.short());
        let names = || layers.iter().map(|l| l.label.as_str());
        let head = |(role, place): (&str, usize)| if place == 1 { role.to_owned() } else { format!("{role}{place}") };
        let by_role = Columns::of(roles(), usize::MAX)?.grid(&layers, roles(), blocks.clone(), str::to_owned);
        let by_name = Columns::of(names(), MOST).filter(|c| c.heads.len() != by_role.heads.len());
        let by_name = by_name.map(|c| c.grid(&layers, names(), blocks.clone(), str::to_owned));
        let apart = Columns::of(numbered(&layers), MOST).map(|c| c.grid(&layers, numbered(&layers), blocks, head));
        Some(Self { by_name, apart, by_role })
    }

    /// The grid that tells most layers apart in at most so many columns; at last a column for each role.
    pub fn fitting(&self, most: usize) -> &Grid {
        let fits = |grid: &&Grid| grid.heads.len() <= most;
        self.by_name.as_ref().filter(fits).or(self.apart.as_ref().filter(fits)).unwrap_or(&self.by_role)
    }
}

impl Grid {
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
