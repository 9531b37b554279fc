//! Weights that are computed from several tensors when the model runs: weight norm, spectral norm, pruning masks and
//! torch's parametrisations.

use super::{Coded, Found, Names, Scheme};
use crate::model::TensorId;
use std::collections::BTreeMap;

/// Suffixes of a parameter's parts in the older functions of torch (`NAME_orig`, `NAME_mask`).
const PARTS: &[&str] = &["_g", "_v", "_u", "_orig", "_mask", "_bar"];

const BETWEEN: &str = ".parametrizations.";

/// Weights of several tensors, each one layer.
pub fn collect(names: &Names, taken: &[bool]) -> Vec<Found> {
    let mut groups: BTreeMap<String, Vec<(&str, TensorId)>> = BTreeMap::new();
    for (id, name) in names.names.iter().enumerate().filter(|(id, _)| !taken[*id]) {
        if let Some((base, part)) = parametrised(name).or_else(|| hooked(name)) {
            groups.entry(base).or_default().push((part, id));
        }
    }
    groups.into_iter().filter_map(|(base, parts)| found(names, base, &parts)).collect()
}

/// `conv.parametrizations.weight.original0` is a part of `conv.weight`.
fn parametrised(name: &str) -> Option<(String, &str)> {
    let at = name.find(BETWEEN).or_else(|| name.starts_with(&BETWEEN[1..]).then_some(0))?;
    let (parameter, part) = name[at..].trim_start_matches('.').strip_prefix("parametrizations.")?.split_once('.')?;
    let module = &name[..at];
    Some((if module.is_empty() { parameter.to_owned() } else { format!("{module}.{parameter}") }, part))
}

/// `conv.weight_g` is a part of `conv.weight`.
fn hooked(name: &str) -> Option<(String, &str)> {
    let suffix = PARTS.iter().find(|s| name.ends_with(**s))?;
    let base = name.strip_suffix(suffix)?;
    let last = base.rsplit('.').next()?;
    // Parameters only: `pos_bias_u` and `attn_mask` are other things.
    let parameter = last.contains("weight") || (*suffix == "_orig" || *suffix == "_mask") && last == "bias";
    parameter.then(|| (base.to_owned(), &name[base.len()..]))
}

fn found(names: &Names, base: String, parts: &[(&str, TensorId)]) -> Option<Found> {
    let get = |word: &str| parts.iter().find(|p| p.0 == word).map(|p| p.1);
    let vectors = parts.iter().any(|p| matches!(p.0, "_u") || p.0.ends_with("._u"));
    let (scheme, words, main) = if let (Some(_), Some(direction)) = (get("_g"), get("_v")) {
        (Scheme::WeightNorm, "a weight norm", direction)
    } else if let (Some(_), Some(direction)) = (get("original0"), get("original1")) {
        (Scheme::WeightNorm, "a weight norm", direction)
    } else if let Some(raw) = get("_orig").or(get("_bar")).filter(|_| vectors) {
        (Scheme::SpectralNorm, "a spectral norm", raw)
    } else if let Some(raw) = get("_orig").filter(|_| get("_mask").is_some()) {
        (Scheme::Masked, "a weight and its pruning mask", raw)
    } else if let Some(raw) = get("original").filter(|_| vectors) {
        (Scheme::SpectralNorm, "a spectral norm", raw)
    } else if let Some(raw) = get("original") {
        (Scheme::Parametrised, "a parametrised weight", raw)
    } else {
        return None;
    };
    let module = base.strip_suffix(".weight").unwrap_or(&base).to_owned();
    let shape = &names.tensors[main].shape;
    let matrix = match shape.as_slice() {
        [out, rest @ ..] if !rest.is_empty() => Some([*out, rest.iter().product()]),
        _ => None,
    };
    let weight = names.tensors[main].len() as u64;
    let mut ids: Vec<TensorId> = parts.iter().map(|p| p.1).collect();
    ids.sort_by_key(|&id| id != main);
    let lengths = if scheme == Scheme::WeightNorm {
        parts.iter().filter(|p| p.1 != main).map(|p| names.tensors[p.1].len() as u64).sum()
    } else {
        0
    };
    let coded = Coded { scheme, words: words.to_owned(), parts: ids };
    Some(Found { base: module, coded, matrix, params: weight + lengths, adapter: false })
}
