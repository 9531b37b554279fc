//! Labels: the shortest end of a name that tells a layer apart within its block.

use super::layer::Layer;
use std::collections::{BTreeMap, HashMap};

/// Shortens `self_attn.q_proj` to `q_proj` wherever the short form tells the layers of a block apart.
///
/// Each round takes one more segment for those that still look alike; linear in the names' segments.
pub fn unique(layers: &mut [Layer]) {
    let mut groups: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (i, layer) in layers.iter().enumerate() {
        groups.entry(layer.block).or_default().push(i);
    }
    for members in groups.values() {
        let full: Vec<String> = members.iter().map(|&i| layers[i].label.clone()).collect();
        let mut open: Vec<usize> = (0..full.len()).collect();
        let mut segments = 1;
        while !open.is_empty() {
            let mut seen: HashMap<&str, usize> = HashMap::new();
            for name in &full {
                *seen.entry(tail(name, segments)).or_default() += 1;
            }
            open.retain(|&at| {
                let short = tail(&full[at], segments);
                let told = seen.get(short) == Some(&1) && !vague(short);
                if told || short.len() == full[at].len() {
                    // A string of its own: writing over the full name would keep that one's capacity.
                    layers[members[at]].label = String::from(short);
                    return false;
                }
                true
            });
            segments += 1;
        }
    }
}

/// The last so many segments of a name.
fn tail(name: &str, segments: usize) -> &str {
    let cut = name.rmatch_indices('.').nth(segments - 1);
    cut.map_or(name, |(at, _)| &name[at + 1..])
}

/// Whether an end of a name says nothing by itself.
fn vague(label: &str) -> bool {
    label.chars().all(|c| c.is_ascii_digit()) || matches!(label, "dense" | "proj" | "LayerNorm" | "linear" | "layer")
}
