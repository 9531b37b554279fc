//! Shares of channels for Torch-Pruning: a JSON object, and beside it a Python loader that turns names into modules.
//!
//! A ratio there is the share of a module's *output* channels removed, and `int(channels · (1 − ratio))` of them stay.
//! Rows are that; columns are rows of the layer before, where that is known; anything else becomes a share of channels.

use super::{ExportError, Exported, Exporter, Lost, Recipe, share};
use crate::export::lint::Target;
use crate::model::architecture::Sequential;
use crate::model::{Layer, Role};
use crate::treat::Pattern;
use serde_json::{Map, Value, json};

/// The format.
pub static FORMAT: Exporter = Exporter {
    name: "torch-pruning",
    words: "shares of channels removed, as JSON with a Python loader; torch_pruning's MetaPruner",
    file: "channels.json",
    spectra: false,
    target: Target::Any,
    write,
};

fn write(recipe: &Recipe) -> Result<Exported, ExportError> {
    let mut lost = Lost::default();
    let mut ratios: Vec<(&Layer, f64)> = Vec::new();
    for (layer, treatment) in recipe.modules(&mut lost) {
        if treatment.rank.is_some() {
            lost.add(layer, "the rank is left out: channels alone are removed (lems and peft carry ranks)");
            continue;
        }
        let Some(prune) = treatment.prune else { continue };
        let targets = match prune.pattern {
            _ if prune.remove >= 1.0 => {
                lost.add(layer, "left out: no layer goes without channels (mergekit and llama-cpp leave blocks out)");
                continue;
            }
            Pattern::Columns => before(recipe, layer),
            Pattern::Rows => vec![layer],
            _ if layer.block.is_some() && matches!(layer.role, Role::Output | Role::Down) => {
                lost.add(
                    layer,
                    "its share of entries is left out: its channels are the residual stream, which goes only as a whole \
                     (llm-compressor carries unstructured and N:M)",
                );
                continue;
            }
            _ => {
                lost.add(
                    layer,
                    "its share of entries becomes a share of channels, which is another thing: only rows and columns are \
                     said exactly (llm-compressor carries unstructured and N:M)",
                );
                vec![layer]
            }
        };
        if targets.is_empty() {
            lost.add(layer, "columns are left out: they are the channels of the layer before, which is not known here");
        }
        for target in targets.into_iter().filter(|l| recipe.is_module(l)) {
            let ratio = ratio(target.rows(), prune.remove);
            match ratios.iter().find(|r| r.0.id == target.id) {
                Some((_, other)) if (other - ratio).abs() > 1e-9 => lost.add(
                    layer,
                    format!("columns are left out: they are channels of {}, of which another share goes", target.name),
                ),
                Some(_) => {}
                None => ratios.push((target, ratio)),
            }
        }
    }
    if ratios.is_empty() {
        return Err(ExportError::Cannot {
            format: FORMAT.name,
            why: "holds shares of channels, and this plan has none".to_owned(),
            remedy: "lems, peft and aimet carry ranks, json and csv everything".to_owned(),
        });
    }
    ratios.sort_by_key(|r| r.0.id);
    let heads =
        recipe.model.layers.iter().filter(|l| (l.role == Role::Head || recipe.pinned(l)) && recipe.is_module(l));
    let last = Sequential::from_config(recipe.model.config.as_ref().unwrap_or(&Value::Null), &|_| None).ok().flatten();
    let last = last.and_then(|s| s.last_linear());
    let mut ignored: Vec<&str> = heads.map(|l| l.name.as_str()).collect();
    ignored.extend(last.as_deref().filter(|l| !ignored.contains(l)));
    for (layer, _) in ratios.iter().filter(|(l, _)| ignored.contains(&l.name.as_str())) {
        lost.add(layer, "pinned or the output of the model: ignored by the loader, its outputs are counted elsewhere");
    }
    ratios.retain(|(l, _)| !ignored.contains(&l.name.as_str()));
    let by_eight = ratios.iter().all(|(l, r)| kept(l.rows(), *r).is_multiple_of(8));
    let dict: Map<String, Value> = ratios.iter().map(|(l, r)| (l.name.clone(), json!(r))).collect();
    let object = json!({
        "pruning_ratio_dict": dict,
        "pruning_ratio": 0.0,
        "round_to": by_eight.then_some(8),
        "ignored": ignored,
    });
    lost.of_the_plan(recipe, true);
    let mut notes = vec![
        "ratios are shares removed; channels that are added together (gate and up, the residual stream, heads of \
         attention) go together, with the ratio of the first of them"
            .to_owned(),
    ];
    if !by_eight {
        notes.push("round_to is null, so that the counts are the plan's; 8 is faster on most devices".to_owned());
    }
    notes.extend(lost.notes());
    let text = serde_json::to_string_pretty(&object).unwrap_or_default();
    Ok(Exported { bytes: format!("{text}\n").into_bytes(), beside: vec![("_loader.py", LOADER.into())], notes })
}

/// How many channels stay at a ratio, in the arithmetic of Torch-Pruning.
fn kept(channels: usize, ratio: f64) -> usize {
    (channels as f64 * (1.0 - ratio)) as usize
}

/// The ratio at which as many channels go as the plan says.
fn ratio(channels: usize, remove: f64) -> f64 {
    let stay = channels - ((remove * channels as f64).round() as usize).min(channels);
    let plain = share(remove);
    if kept(channels, plain) == stay {
        return plain;
    }
    let exact = 1.0 - stay as f64 / channels.max(1) as f64;
    if kept(channels, exact) == stay { exact } else { exact - 1e-9 }
}

/// Layers whose outputs are the inputs of this one.
fn before<'a>(recipe: &Recipe<'a>, layer: &Layer) -> Vec<&'a Layer> {
    let layers = &recipe.model.layers;
    if let Some(Ok(Some(chain))) = recipe.model.config.as_ref().map(|c| Sequential::from_config(c, &|_| None)) {
        let eligible = |name: &&String| layers.iter().any(|l| l.name == **name && l.eligible());
        let modules = chain.weight_modules();
        let modules: Vec<&String> = modules.iter().filter(eligible).collect();
        let at = modules.iter().position(|m| **m == layer.name).filter(|at| *at > 0 && chain.is_chain());
        let found = at.and_then(|at| layers.iter().find(|l| l.name == *modules[at - 1]));
        // Behind a flattening an input is one pixel of a channel.
        return found.filter(|l| l.rows() as u64 == Pattern::Columns.units(layer)).into_iter().collect();
    }
    let feeds = |l: &&Layer| match layer.role {
        Role::Down => matches!(l.role, Role::Up | Role::Gate),
        _ => false,
    };
    let same = |l: &&Layer| l.block.is_some() && l.block == layer.block && l.rows() == layer.cols();
    layers.iter().filter(same).filter(feeds).collect()
}

const LOADER: &str = r#"# Turns the JSON file beside this one into arguments of a pruner of Torch-Pruning.
import json
import os


def load(model, path=None):
    """pruning_ratio_dict, pruning_ratio, round_to and ignored_layers for torch_pruning.pruner.MetaPruner(model, inputs,
    importance, **load(model)). Ratios are shares of output channels removed; a name that the model lacks is an error.
    """
    with open(path or os.path.abspath(__file__).replace("_loader.py", ".json")) as file:
        plan = json.load(file)
    modules = dict(model.named_modules())
    return {
        "pruning_ratio_dict": {modules[name]: ratio for name, ratio in plan["pruning_ratio_dict"].items()},
        "pruning_ratio": plan["pruning_ratio"],
        "round_to": plan["round_to"],
        "ignored_layers": [modules[name] for name in plan["ignored"]],
    }
"#;

#[cfg(test)]
mod tests {
    use super::super::tests::{block, layer, recipe_of};
    use super::*;
    use crate::plan::{Prune, Treatment};

    #[test]
    fn as_many_channels_go_as_the_plan_says() {
        for channels in [7usize, 8, 10, 64, 432, 4096] {
            for percent in 0..=100 {
                let remove = f64::from(percent) / 100.0;
                let stay = channels - (remove * channels as f64).round() as usize;
                assert_eq!(kept(channels, ratio(channels, remove)), stay, "{channels} {percent}");
            }
        }
    }

    #[test]
    fn rows_are_channels_and_columns_those_of_the_layer_before() {
        let mut layers = block(0);
        layers.insert(1, layer("model.layers.0.mlp.up_proj", &[8, 8]));
        let cut = |p| Treatment::prune(Prune::of(0.25, p));
        let at = recipe_of(layers, |i| match i {
            0 => cut(Pattern::Columns),
            2 => cut(Pattern::Columns),
            _ => Treatment::default(),
        });
        let out = write(&at.recipe()).unwrap();
        let read: Value = serde_json::from_slice(&out.bytes).unwrap();
        assert_eq!(read["pruning_ratio_dict"], json!({"model.layers.0.mlp.up_proj": 0.25}));
        assert!(out.notes.iter().any(|n| n.starts_with("model.layers.0.self_attn.q_proj: columns are left out")));
        assert_eq!(out.beside[0].0, "_loader.py");
    }
}
