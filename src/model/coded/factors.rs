//! Factor pairs: LoRA and its relatives, kohya's and diffusers' names, and the factors that `apply` writes.

use super::{Coded, Found, Names, Scheme};
use crate::model::TensorId;
use std::collections::BTreeMap;

/// A family of names: what the factors are called after the layer's name. `down` is applied first.
struct Family {
    words: &'static str,
    down: &'static [&'static str],
    up: &'static [&'static str],
    /// Further tensors that belong to the pair.
    more: &'static [&'static str],
    /// Whether the factors are stored inputs first.
    turned: bool,
    /// Whether the product is the whole weight, not a change of one.
    whole: bool,
}

const FAMILIES: &[Family] = &[
    Family {
        words: "a LoRA pair",
        down: &[".lora_A", ".lora_embedding_A"],
        up: &[".lora_B", ".lora_embedding_B"],
        more: &[".lora_magnitude_vector", ".lora_bias"],
        turned: false,
        whole: false,
    },
    Family {
        words: "a LoRA pair",
        down: &[".lora_down", ".lora.down", "_lora.down", ".lora_linear_layer.down", ".processor.down"],
        up: &[".lora_up", ".lora.up", "_lora.up", ".lora_linear_layer.up", ".processor.up"],
        more: &[".alpha", ".lora_mid", ".dora_scale", ".lora.alpha"],
        turned: false,
        whole: false,
    },
    Family {
        words: "a LoRA pair",
        down: &[".lora_a"],
        up: &[".lora_b"],
        more: &[".lora_m", ".m"],
        turned: true,
        whole: false,
    },
    Family {
        words: "factors mod_a and mod_b",
        down: &[".mod_a"],
        up: &[".mod_b"],
        more: &[".mod_s"],
        turned: false,
        whole: true,
    },
    Family {
        words: "a LoHa or LoKr adapter",
        down: &[".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".oft_blocks", ".oft_r", ".vera_lambda_b", ".ia3_l"],
        up: &[],
        more: &[
            ".hada_w1_b",
            ".hada_w2_a",
            ".hada_w2_b",
            ".hada_t1",
            ".hada_t2",
            ".lokr_w1_b",
            ".lokr_w2",
            ".lokr_w2_a",
            ".lokr_w2_b",
            ".lokr_t2",
            ".vera_lambda_d",
            ".alpha",
            ".dora_scale",
        ],
        turned: false,
        whole: false,
    },
];

/// What the name of some factor contains.
const MARKS: &[&str] = &["lora", ".mod_a", "hada_w", "lokr_w", "oft_", "vera_lambda", "ia3_l", ".processor."];

#[derive(Default)]
struct Pair {
    down: Vec<TensorId>,
    up: Vec<TensorId>,
    more: Vec<TensorId>,
}

/// Factor pairs, each one layer named like the one that it is a weight of or changes. A base weight in the same
/// checkpoint is a part too: what runs is base + B·A.
pub fn collect(names: &Names, taken: &[bool]) -> Vec<Found> {
    let mut out = Vec::new();
    // Most checkpoints hold no pair, and names are many.
    if !names.names.iter().any(|n| MARKS.iter().any(|m| n.contains(m))) {
        return out;
    }
    let mut bases: BTreeMap<&str, usize> = BTreeMap::new();
    for family in FAMILIES {
        let mut pairs: BTreeMap<&str, Pair> = BTreeMap::new();
        for (id, name) in names.names.iter().enumerate().filter(|(id, _)| !taken[*id]) {
            for (side, suffixes) in [family.down, family.up, family.more].into_iter().enumerate() {
                let Some(at) = suffixes.iter().find_map(|s| ends(name, s)) else { continue };
                let pair = pairs.entry(&name[..at]).or_default();
                [&mut pair.down, &mut pair.up, &mut pair.more][side].push(id);
                break;
            }
        }
        for (base, pair) in pairs {
            // `alpha` and the like are other things where no factor stands beside them.
            if pair.down.is_empty() && pair.up.is_empty() || bases.contains_key(base) {
                continue;
            }
            bases.insert(base, out.len());
            out.push(found(names, family, base, &pair));
        }
    }
    out
}

/// Where a factor's suffix begins in its name: `….lora_A.weight`, `….lora_A.default.weight`, `….lora_A`.
fn ends(name: &str, suffix: &str) -> Option<usize> {
    let at = name.rfind(suffix)?;
    let rest = &name[at + suffix.len()..];
    let own = rest.is_empty() || rest == ".weight" || rest == ".bias";
    let adapter = rest.strip_prefix('.').and_then(|r| r.strip_suffix(".weight").or(Some(r)));
    let adapter = adapter.is_some_and(|a| !a.is_empty() && !a.contains('.')) && suffix.contains("lora_");
    ((own || adapter) && at > 0).then_some(at)
}

fn found(names: &Names, family: &Family, base: &str, pair: &Pair) -> Found {
    let shape = |ids: &[TensorId]| ids.first().map(|&id| names.tensors[id].shape.clone()).unwrap_or_default();
    let (down, up) = (shape(&pair.down), shape(&pair.up));
    let rest = |s: &[usize]| s.iter().skip(1).product::<usize>();
    let matrix = match (family.turned, down.as_slice(), up.as_slice()) {
        (true, [inputs, r], [q, out]) if r == q => Some([*out, *inputs]),
        (false, [_, ..], [out, q, ..]) if down[0] == *q => Some([*out, rest(&down)]),
        _ => None,
    };
    let rank = match (family.turned, down.as_slice()) {
        (true, [_, r]) | (false, [r, ..]) => Some(*r),
        _ => None,
    };
    let weight = names.get(&format!("{base}.weight")).or_else(|| names.get(base));
    let mut parts: Vec<TensorId> = weight.into_iter().chain(pair.down.iter().copied()).collect();
    parts.extend(pair.up.iter().chain(&pair.more));
    let of = rank.filter(|_| !family.up.is_empty()).map_or(String::new(), |r| format!(" of rank {r}"));
    let words = match weight {
        Some(_) => format!("a base weight and {}{of}", family.words),
        None => format!("{}{of}", family.words),
    };
    let params = parts.iter().map(|&id| names.tensors[id].len() as u64).sum();
    let matrix = weight
        .and_then(|id| match names.tensors[id].shape.as_slice() {
            [m, n] => Some([*m, *n]),
            _ => None,
        })
        .or(matrix);
    let adapter = weight.is_none() && !family.whole;
    Found { base: base.to_owned(), coded: Coded { scheme: Scheme::Factors, words, parts }, matrix, params, adapter }
}
