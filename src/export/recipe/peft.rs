//! Ranks as a LoRA configuration for PEFT: `adapter_config.json` with a rank and an alpha for each module.
//!
//! PEFT matches its keys as `(.*\.)?(key)$`: dots are escaped, and a leading `^` keeps `layers.1` from meaning every
//! module whose name ends so. Alpha is twice the rank everywhere, so that all layers are scaled alike.

use super::{ExportError, Exported, Exporter, Lost, Recipe, regex};
use crate::export::lint::Target;
use crate::model::{Kind, Orientation};
use crate::treat::Factors;
use serde_json::{Map, Value, json};

/// The format.
pub static FORMAT: Exporter = Exporter {
    name: "peft",
    words: "ranks as a LoRA configuration; peft.LoraConfig",
    file: "adapter_config.json",
    spectra: false,
    target: Target::Any,
    write,
};

/// LoRA's alpha for each rank.
const ALPHA: usize = 2;

fn write(recipe: &Recipe) -> Result<Exported, ExportError> {
    let mut lost = Lost::default();
    let mut ranks: Vec<(&str, usize)> = Vec::new();
    let mut transposed = (0, 0);
    for (layer, treatment) in recipe.modules(&mut lost) {
        if treatment.prune.is_some() {
            lost.add(layer, "pruning is left out (llm-compressor carries it)");
        }
        let Some(rank) = treatment.rank else { continue };
        if treatment.form == Factors::Spatial || !matches!(layer.kind, Kind::Linear | Kind::Conv2d) {
            lost.add(layer, "the rank is left out: LoRA has no such factors (json and csv carry them)");
            continue;
        }
        transposed.0 += usize::from(layer.orientation == Orientation::InOut);
        transposed.1 += 1;
        ranks.push((&layer.name, rank));
    }
    if ranks.is_empty() {
        return Err(ExportError::Cannot {
            format: FORMAT.name,
            why: "holds ranks, and this plan has none that LoRA knows".to_owned(),
            remedy: "llm-compressor carries pruning, json and csv everything".to_owned(),
        });
    }
    let default = commonest(&ranks);
    let (mut rank_pattern, mut alpha_pattern) = (Map::new(), Map::new());
    let mut distinct: Vec<usize> = ranks.iter().map(|r| r.1).collect();
    distinct.sort_unstable();
    distinct.dedup();
    for rank in distinct {
        let of: Vec<&str> = ranks.iter().filter(|r| r.1 == rank).map(|r| r.0).collect();
        for key in regex::compact(&of) {
            rank_pattern.insert(format!("^{key}"), json!(rank));
            alpha_pattern.insert(format!("^{key}"), json!(ALPHA * rank));
        }
    }
    let every: Vec<&str> = ranks.iter().map(|r| r.0).collect();
    let architecture = recipe.model.config.as_ref().and_then(|c| c.pointer("/architectures/0")).and_then(Value::as_str);
    let task = architecture.filter(|a| a.ends_with("ForCausalLM")).map(|_| "CAUSAL_LM");
    let config = json!({
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": null,
        "r": default,
        "lora_alpha": ALPHA * default,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": transposed.0 > 0 && transposed.0 == transposed.1,
        "target_modules": regex::compact(&every).join("|"),
        "rank_pattern": rank_pattern,
        "alpha_pattern": alpha_pattern,
    });
    lost.of_the_plan(recipe, true);
    let mut notes = vec![
        "a LoRA rank is the size of what is trained beside the layer, not what is kept of it: the kept rank stands for \
         how much room the layer gets, the weights stay whole"
            .to_owned(),
    ];
    notes.extend(lost.notes());
    let text = serde_json::to_string_pretty(&config).unwrap_or_default();
    Ok(Exported { bytes: format!("{text}\n").into_bytes(), notes, ..Exported::default() })
}

/// The rank that most layers have, the smaller of equals.
fn commonest(ranks: &[(&str, usize)]) -> usize {
    let count = |rank: usize| ranks.iter().filter(|r| r.1 == rank).count();
    ranks.iter().map(|r| r.1).max_by_key(|r| (count(*r), std::cmp::Reverse(*r))).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{layer, recipe_of};
    use super::*;
    use crate::export::recipe::regex::tests::matched;
    use crate::plan::Treatment;

    #[test]
    fn each_key_means_its_modules_and_no_other() {
        let blocks = [0, 1, 2, 10, 11];
        let layers: Vec<_> =
            blocks.iter().map(|b| layer(&format!("model.layers.{b}.self_attn.q_proj"), &[32, 32])).collect();
        let ranks = [4, 8, 4, 8, 4];
        let at = recipe_of(layers, |i| Treatment::rank(ranks[i]));
        let config: Value = serde_json::from_slice(&write(&at.recipe()).unwrap().bytes).unwrap();
        assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(4), &json!(8)));
        let mut found = 0;
        for (key, rank) in config["rank_pattern"].as_object().unwrap() {
            assert!(key.starts_with('^') && !key.ends_with('$'), "{key}");
            assert_eq!(config["alpha_pattern"][key].as_u64(), rank.as_u64().map(|r| 2 * r));
            for name in matched(key) {
                let block: usize = name.split('.').nth(2).unwrap().parse().unwrap();
                let at = blocks.iter().position(|b| *b == block).unwrap();
                assert_eq!((name.as_str(), Some(ranks[at] as u64)), (at_name(block).as_str(), rank.as_u64()));
                found += 1;
            }
        }
        assert_eq!(found, 5);
        let all = matched(config["target_modules"].as_str().unwrap());
        assert_eq!(all, blocks.map(at_name));
    }

    fn at_name(block: usize) -> String {
        format!("model.layers.{block}.self_attn.q_proj")
    }
}
