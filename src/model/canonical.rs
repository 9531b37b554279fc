//! Canonical names: what a tensor would be called without the wrappers that training tools put around modules.
//!
//! `_orig_mod.model.layers.0…` (torch.compile), `module.…` (data parallel), `_fsdp_wrapped_module` and PEFT's
//! `base_layer` change a name and nothing else. Roles, order, forward passes and exports use the canonical name; the
//! stored name stays for writing.

use super::Tensor;
use std::collections::{HashMap, HashSet};

/// Segments that wrap a module wherever they stand.
const WRAPPERS: &[&str] = &[
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_fpw_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
    "base_layer",
];

/// Prefixes of whole checkpoints that name the wrapper of an adapter, not a module of the model.
const PREFIXES: &[&str] = &["base_model.model."];

/// What names of tensors that are no part of a module begin with: they are no siblings of `module`.
const BESIDE: &[&str] = &["optim", "optimizer", "ema", "rng_state", "n_averaged", "epoch", "step", "lr_scheduler"];

/// Canonical names of all tensors, in their order. Names that would meet stay as they are stored.
pub fn names(tensors: &[Tensor]) -> Vec<String> {
    let wrapping = wrapping(tensors);
    let mut out: Vec<String> = tensors.iter().map(|t| canonical(&t.name, &wrapping)).collect();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for name in &out {
        *seen.entry(name).or_default() += 1;
    }
    let twice: HashSet<String> = seen.into_iter().filter(|(_, n)| *n > 1).map(|(name, _)| name.to_owned()).collect();
    for (name, tensor) in out.iter_mut().zip(tensors).filter(|(name, _)| twice.contains(*name)) {
        name.clone_from(&tensor.name);
    }
    out
}

fn canonical(name: &str, wrapping: &HashSet<&str>) -> String {
    let start = PREFIXES.iter().find(|p| name.starts_with(**p)).map_or(0, |p| p.len());
    let mut out: Vec<&str> = Vec::new();
    let (mut at, mut skip) = (0, false);
    for segment in name.split('.') {
        let (from, before) = (at, &name[..at]);
        at += segment.len() + 1;
        if from < start || std::mem::take(&mut skip) {
            continue;
        }
        match segment {
            s if WRAPPERS.contains(&s) => {}
            "module" if wrapping.contains(before) => {}
            // PEFT keeps the trained copy of a module under its adapter's name.
            "modules_to_save" if at < name.len() => skip = true,
            other => out.push(other),
        }
    }
    out.join(".")
}

/// Names before a `module` segment (with the dot) under which nothing else lies: there it wraps.
fn wrapping(tensors: &[Tensor]) -> HashSet<&str> {
    let mut found: HashSet<&str> = HashSet::new();
    for tensor in tensors {
        let mut at = 0;
        for segment in tensor.name.split('.') {
            if segment == "module" && at + segment.len() < tensor.name.len() {
                found.insert(&tensor.name[..at]);
            }
            at += segment.len() + 1;
        }
    }
    for tensor in tensors {
        if found.is_empty() {
            break;
        }
        let name = tensor.name.as_str();
        for at in std::iter::once(0).chain(name.match_indices('.').map(|(i, _)| i + 1)) {
            let sibling = name[at..].split('.').next().unwrap_or("");
            let beside = tensor.shape.is_empty() || BESIDE.iter().any(|b| sibling.starts_with(b));
            if sibling != "module" && !beside {
                found.remove(&name[..at]);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DType;

    fn named(stored: &[&str]) -> Vec<String> {
        let tensor =
            |n: &&str| Tensor { name: (*n).into(), dtype: DType::F32, shape: vec![2, 2], file: 0, range: 0..16 };
        names(&stored.iter().map(tensor).collect::<Vec<_>>())
    }

    #[test]
    fn wrappers_are_left_out_wherever_they_stand() {
        assert_eq!(named(&["_orig_mod.a.weight", "_orig_mod.b.weight"]), ["a.weight", "b.weight"]);
        assert_eq!(named(&["module._orig_mod.a.weight", "module._orig_mod.b.weight"]), ["a.weight", "b.weight"]);
        assert_eq!(named(&["model._orig_mod.layers.0.a.weight", "lm_head.weight"])[0], "model.layers.0.a.weight");
        assert_eq!(named(&["layers.0._orig_mod.a.weight"]), ["layers.0.a.weight"]);
        assert_eq!(
            named(&["_fsdp_wrapped_module.layers.0._fsdp_wrapped_module._checkpoint_wrapped_module.a.weight"]),
            ["layers.0.a.weight"]
        );
        assert_eq!(named(&["base_model.model.a.q.base_layer.weight"]), ["a.q.weight"]);
        assert_eq!(named(&["score.modules_to_save.default.weight"]), ["score.weight"]);
    }

    #[test]
    fn a_module_of_that_name_with_siblings_is_no_wrapper() {
        assert_eq!(named(&["net.module.weight", "net.other.weight"]), ["net.module.weight", "net.other.weight"]);
        assert_eq!(named(&["module.a.weight", "optimizer.state"])[0], "a.weight");
    }

    #[test]
    fn names_that_would_meet_stay_as_stored() {
        assert_eq!(named(&["_orig_mod.a.weight", "a.weight"]), ["_orig_mod.a.weight", "a.weight"]);
    }
}
