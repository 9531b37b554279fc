//! What a checkpoint of a training run holds besides the model: optimiser state, gradients, averaged copies of all
//! weights, states of random generators.

use super::TensorId;
use super::coded::Names;
use std::collections::HashMap;

/// Segments that mark the state of an optimiser, wherever they stand.
const OPTIMISER: &[&str] = &[
    "exp_avg",
    "exp_avg_sq",
    "optimizer",
    "optimizer_state",
    "optimizer_states",
    "optim",
    "momentum_buffer",
    "max_exp_avg_sq",
    "square_avg",
    "grad_avg",
    "exp_inf",
    "adam_m",
    "adam_v",
    "first_moment",
    "second_moment",
];

/// Segments that mark a second set of tensors named like the weights; `(segments, what they are)`. They count only
/// where such weights are in the checkpoint too.
const SETS: &[(&[&str], &str)] = &[
    (
        &[
            "ema",
            "model_ema",
            "ema_model",
            "ema_state_dict",
            "module_ema",
            "shadow",
            "shadow_params",
            "averaged_model",
            "swa_model",
            "swa",
            "ema_params",
            "target",
            "target_network",
            "momentum_encoder",
            "teacher",
            "avg_model",
            "averaged",
        ],
        "an averaged copy of the weights (EMA)",
    ),
    (&["grad", "grads", "gradient", "gradients", "main_grad"], "gradients, not weights"),
    (
        &[
            "opt",
            "m",
            "v",
            "mu",
            "nu",
            "momentum",
            "velocity",
            "state",
            "slots",
            "moments",
            "moment1",
            "moment2",
            "rms",
            "acc",
            "accumulator",
            "adam",
            "mom",
        ],
        "optimiser state: not a weight",
    ),
];

/// Words in the last segment that mark the state of a random generator.
const RANDOM: &[&str] = &["rng_state", "random_state", "rng", "generator_state", "seed_state"];

/// Tensors that are no part of the model, and why.
pub fn collect(names: &Names) -> Vec<(TensorId, String)> {
    let mut out = Vec::new();
    let mut sets: HashMap<(&str, &str), Vec<(TensorId, bool)>> = HashMap::new();
    let index = index(names);
    for (id, name) in names.names.iter().enumerate() {
        if let Some((before, after)) = name.split_once(".original_module.")
            && names.get(&format!("{before}.{after}")).is_some()
        {
            out.push((id, "replaced by the trained copy in modules_to_save".to_owned()));
        } else if let Some(why) = state(name) {
            out.push((id, why.to_owned()));
        } else if let Some((mark, rest, why)) = marked(name) {
            let twin = twin(&index, names, id, &rest);
            sets.entry((mark, why)).or_default().push((id, twin));
        }
    }
    for ((_, why), set) in sets {
        // Half of them named and shaped like weights: a copy. Else it is a module of that name.
        let twins = set.iter().filter(|(_, twin)| *twin).count();
        if twins > 0 && 2 * twins >= set.len() {
            out.extend(set.into_iter().map(|(id, _)| (id, why.to_owned())));
        }
    }
    out.extend(whole_copy(names, &out));
    out.sort_unstable();
    out
}

fn state(name: &str) -> Option<&'static str> {
    let mut segments = name.split('.');
    let last = name.rsplit('.').next().unwrap_or(name);
    if segments.any(|s| OPTIMISER.contains(&s)) || numbered(name) {
        return Some("optimiser state: not a weight");
    }
    let random = |s: &str| RANDOM.iter().any(|w| s == *w || s.ends_with("rng_state") || s.ends_with("random_state"));
    if random(last) || name.split('.').any(|s| s.ends_with("rng_state") || s == "rng_states") {
        return Some("state of a random generator: not a weight");
    }
    (last == "n_averaged").then_some("a counter of an averaged model")
}

/// `state.3.momentum`: PyTorch's optimisers number their parameters.
fn numbered(name: &str) -> bool {
    let segments: Vec<&str> = name.split('.').collect();
    segments.windows(3).any(|w| w[0] == "state" && w[1].bytes().all(|b| b.is_ascii_digit()) && !w[1].is_empty())
}

/// The mark in a name, what remains without it and its dots, and what it marks.
fn marked(name: &str) -> Option<(&'static str, String, &'static str)> {
    let mut at = 0;
    for segment in name.split('.') {
        let end = (at + segment.len() + 1).min(name.len());
        if let Some((mark, rest, marks, why)) = mark(segment) {
            // A second mark (`opt.m.`, `state.v.`) is left out as well.
            let after = name[end..].split('.').skip_while(|s| marks.contains(s));
            let kept = name[..at].split('.').chain([rest]).chain(after);
            return Some((mark, kept.collect::<String>().replace('_', ""), why));
        }
        at = end;
    }
    None
}

/// The mark that a segment is, begins or ends with, and what remains of it.
fn mark(segment: &str) -> Option<(&'static str, &str, &'static [&'static str], &'static str)> {
    // Names are many: most segments are neither short nor of several words.
    SETS.iter().find_map(|(marks, why)| {
        let whole = marks.iter().find(|m| **m == segment).map(|m| (*m, ""));
        let affix = |m: &&'static str| {
            let rest = segment.strip_prefix(*m).and_then(|r| r.strip_prefix('_'));
            let rest = rest.or_else(|| segment.strip_suffix(*m).and_then(|r| r.strip_suffix('_')));
            rest.filter(|_| m.len() > 2).map(|rest| (*m, rest))
        };
        let found = whole.or_else(|| segment.contains('_').then(|| marks.iter().find_map(affix)).flatten());
        found.map(|(mark, rest)| (mark, rest, *marks, *why))
    })
}

/// Tensors by their names without dots, whole and without their first one or two segments.
fn index<'a>(names: &'a Names) -> HashMap<String, Vec<TensorId>> {
    let mut out: HashMap<String, Vec<TensorId>> = HashMap::new();
    if !names.names.iter().any(|n| marked(n).is_some()) {
        return out;
    }
    for (id, name) in names.names.iter().enumerate().filter(|(_, n)| marked(n).is_none() && state(n).is_none()) {
        let mut rest: Option<&'a str> = Some(name);
        for _ in 0..3 {
            let Some(text) = rest.filter(|t| !t.is_empty()) else { break };
            out.entry(text.replace(['.', '_'], "")).or_default().push(id);
            rest = text.split_once('.').map(|(_, r)| r);
        }
    }
    out
}

fn twin(index: &HashMap<String, Vec<TensorId>>, names: &Names, id: TensorId, rest: &str) -> bool {
    let shape = &names.tensors[id].shape;
    let fits = |key: &str| index.get(key).is_some_and(|ids| ids.iter().any(|&i| names.tensors[i].shape == *shape));
    let heads = ["", "model", "module", "statedict", "net", "shadow", "modelmodule"];
    heads.iter().any(|head| rest.strip_prefix(head).is_some_and(fits))
}

/// A set under one prefix that repeats every other weight of the checkpoint, name by name.
fn whole_copy(names: &Names, known: &[(TensorId, String)]) -> Vec<(TensorId, String)> {
    let out: std::collections::HashSet<TensorId> = known.iter().map(|k| k.0).collect();
    let matrices = |id: &TensorId| names.tensors[*id].shape.len() >= 2 && !out.contains(id);
    let all: Vec<TensorId> = (0..names.names.len()).filter(matrices).collect();
    let mut prefixes: HashMap<&str, Vec<TensorId>> = HashMap::new();
    for &id in &all {
        if let Some((prefix, rest)) = names.names[id].split_once('.') {
            let twin = names.get(rest).is_some_and(|t| names.tensors[t].shape == names.tensors[id].shape);
            if twin {
                prefixes.entry(prefix).or_default().push(id);
            }
        }
    }
    let copied = |(prefix, set): &(&str, Vec<TensorId>)| {
        let dotted = format!("{prefix}.");
        let rest = all.iter().filter(|&&id| !names.names[id].starts_with(&dotted)).count();
        let own = all.len() - rest;
        set.len() >= 2 && set.len() == rest && own == rest
    };
    let Some((prefix, _)) = prefixes.into_iter().find(copied) else { return Vec::new() };
    let dotted = format!("{prefix}.");
    let members = names.names.iter().enumerate().filter(|(id, n)| n.starts_with(&dotted) && !out.contains(id));
    members.map(|(id, _)| (id, format!("a second copy of all weights, under {prefix}"))).collect()
}
