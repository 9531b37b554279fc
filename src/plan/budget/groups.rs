//! Layers that share a setting.

use crate::model::{Layer, Role};
use std::collections::HashMap;

/// Which layers of a block share a setting: kernels and runtimes that fuse them want it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct Groups {
    /// Query, key and value.
    pub qkv: bool,
    /// Gate and up.
    pub gate_up: bool,
}

impl Groups {
    /// In words: `q·k·v, gate·up`.
    pub fn words(self) -> String {
        let named = [(self.qkv, "q·k·v"), (self.gate_up, "gate·up")];
        let words: Vec<&str> = named.into_iter().filter(|(on, _)| *on).map(|(_, w)| w).collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }

    /// None, q·k·v, gate·up, both.
    pub fn next(self) -> Self {
        match (self.qkv, self.gate_up) {
            (false, false) => Self { qkv: true, gate_up: false },
            (true, false) => Self { qkv: false, gate_up: true },
            (false, true) => Self { qkv: true, gate_up: true },
            (true, true) => Self::default(),
        }
    }

    /// Numbers of the layers that share a setting, alone or together; in the order of their first.
    pub fn parties(self, layers: &[&Layer]) -> Vec<Vec<usize>> {
        let mut parties: Vec<Vec<usize>> = Vec::new();
        let mut known: HashMap<(&str, bool), usize> = HashMap::new();
        for (i, layer) in layers.iter().enumerate() {
            let attention = match layer.role {
                Role::Query | Role::Key | Role::Value if self.qkv => Some(true),
                Role::Gate | Role::Up if self.gate_up => Some(false),
                _ => None,
            };
            // Of the same module: an expert's gate goes with its own up.
            let key = attention.map(|a| (layer.name.rsplit_once('.').map_or("", |(parent, _)| parent), a));
            if let Some(&at) = key.and_then(|k| known.get(&k)) {
                parties[at].push(i);
            } else {
                known.extend(key.map(|k| (k, parties.len())));
                parties.push(vec![i]);
            }
        }
        parties
    }
}
