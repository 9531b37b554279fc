//! A shell script that runs llama.cpp's `llama-quantize`: blocks left out, and a type for each tensor that is rounded.
//!
//! Types of single tensors count there only where the whole file has a quantised type, so the commonest of the plan is
//! the file's, and everything else is named to stay. The first pattern that matches decides. Names are those *after*
//! blocks were left out and the rest numbered anew.

use super::regex::escape;
use super::whole::{Blocks, MEANING, blocks, language, number};
use super::{ExportError, Exported, Exporter, Lost, Recipe, origin};
use crate::export::lint::Target;
use crate::model::{DType, Layer, Role};
use crate::treat::{Granularity, Quantise};
use std::collections::{HashMap, HashSet};

/// The format.
pub static FORMAT: Exporter = Exporter {
    name: "llama-cpp",
    words: "blocks left out whole and types of tensors, as a script for llama-quantize; sh FILE IN.gguf OUT.gguf",
    file: "quantize.sh",
    spectra: false,
    target: Target::LlamaCpp,
    write,
};

/// Bits of an entry, the nearest type of a file, and that of a tensor.
const TYPES: &[(u8, &str, &str)] = &[
    (2, "Q2_K", "q2_k"),
    (3, "Q3_K_S", "q3_k"),
    (4, "Q4_0", "q4_0"),
    (5, "Q5_0", "q5_0"),
    (6, "Q6_K", "q6_k"),
    (7, "Q8_0", "q8_0"),
    (8, "Q8_0", "q8_0"),
];

fn write(recipe: &Recipe) -> Result<Exported, ExportError> {
    // Other rows of blocks, such as a vision tower's, are numbered apart and lie in a file of their own.
    let row = language(recipe).unwrap_or_default();
    let mut found = blocks(recipe, row);
    if found.kept.is_empty() {
        found = Blocks { kept: std::mem::take(&mut found.dropped), dropped: Vec::new() };
    }
    let names = Names::new(recipe, row, &found);
    let of = |layer: &Layer| number(layer, row);
    let (mut lost, mut rounded) = (Lost::default(), Vec::new());
    let gone = |layer: &Layer| of(layer).is_some_and(|b| found.dropped.contains(&b));
    let treated = recipe.modules(&mut lost);
    for (layer, treatment) in treated.into_iter().filter(|(l, _)| !gone(l)) {
        if layer.block.is_some() && of(layer).is_none() {
            lost.add(
                layer,
                "left out: not one of the language model's blocks, which alone are in the file (json and csv carry it)",
            );
            continue;
        }
        if treatment.rank.is_some() || treatment.prune.is_some() {
            lost.add(layer, "the rank or share is left out: GGUF knows whole blocks alone (json and csv carry it)");
        }
        let Some(how) = treatment.quantise else { continue };
        match (names.gguf(layer), kind(how)) {
            (Some(name), Some((_, file, tensor))) => rounded.push((layer, how, name, *file, *tensor)),
            _ => lost
                .add(layer, "rounding is left out: no tensor of a GGUF file is known for it (json and csv carry it)"),
        }
    }
    if found.dropped.is_empty() && rounded.is_empty() {
        return Err(ExportError::Cannot {
            format: FORMAT.name,
            why: "knows blocks left out whole and tensors that are rounded, and this plan has neither".to_owned(),
            remedy:
                "`prune = { remove = 1.0 }` for every layer of a block leaves it out; llm-compressor, json and csv \
                     carry shares of layers"
                    .to_owned(),
        });
    }
    let mut notes = Vec::new();
    let mut options = String::new();
    if !found.dropped.is_empty() {
        let list: Vec<String> = found.dropped.iter().map(ToString::to_string).collect();
        options.push_str(&format!("  --prune-layers {} \\\n", list.join(",")));
        notes.push(MEANING.to_owned());
    }
    let plain = if recipe.model.layers.iter().any(|l| l.dtype == DType::BF16) { "bf16" } else { "f16" };
    let mut file = "COPY";
    if let Some(first) = commonest(&rounded) {
        file = first;
        options.push_str("  --pure \\\n");
        for (_, _, name, _, tensor) in &rounded {
            options.push_str(&format!("  --tensor-type '^{}$={tensor}' \\\n", escape(name)));
        }
        // What is not named above stays; the file's own type would round it.
        options.push_str(&format!("  --tensor-type '.*={plain}' \\\n"));
        notes.push(format!(
            "types are the nearest that llama.cpp has, with scales of 32 or 256 entries of its own{}; tensors whose \
             columns are no multiple of these become another type there",
            if rounded.iter().all(|r| r.1.per == Granularity::Group(32)) { "" } else { ", which are not the plan's" }
        ));
        notes.push(format!(
            "llama-quantize knows single types only in a quantised file: {file}, and all else is named {plain}"
        ));
    }
    lost.of_the_plan(recipe, false);
    notes.extend(lost.notes());
    let text = format!(
        "#!/bin/sh\n# {}\n# Usage: sh {} IN.gguf OUT.gguf, IN converted from the checkpoint without rounding.\n# Blocks are \
         numbered as in the checkpoint after --prune-layers, tensors as they are in the result.\nset -eu\n\
         \"${{LLAMA_QUANTIZE:-llama-quantize}}\" \\\n{options}  \"$1\" \"$2\" {file}\n",
        origin(recipe),
        FORMAT.file
    );
    Ok(Exported { bytes: text.into_bytes(), notes, ..Exported::default() })
}

/// The types nearest to a rounding.
fn kind(how: Quantise) -> Option<&'static (u8, &'static str, &'static str)> {
    TYPES.iter().find(|t| t.0 == how.bits)
}

/// A layer that is rounded: how, its name in the file, the types.
type Rounded<'a> = (&'a Layer, Quantise, String, &'static str, &'static str);

/// The file type of most of what is rounded.
fn commonest(rounded: &[Rounded]) -> Option<&'static str> {
    let size = |file: &str| rounded.iter().filter(|r| r.3 == file).map(|r| r.0.params).sum::<u64>();
    rounded.iter().map(|r| r.3).max_by_key(|file| (size(file), *file))
}

/// What names in a GGUF file depend on besides the layer, gathered once: a model may have tens of thousands of layers.
struct Names<'a> {
    row: &'a str,
    /// Place in the result of each block that is kept.
    places: HashMap<usize, usize>,
    /// Modules of state-space mixers: those that hold `A_log`.
    mixers: HashSet<&'a str>,
    /// Layers of a role in a block, those of mixers left out.
    twins: HashMap<(Role, usize), usize>,
}

impl<'a> Names<'a> {
    fn new(recipe: &Recipe<'a>, row: &'a str, found: &Blocks) -> Self {
        let model = recipe.model;
        let tensors = model.tensors.iter().map(|t| t.name.as_str());
        let all = tensors.chain(model.layers.iter().map(|l| l.name.as_str()));
        let mut names = Self {
            row,
            places: found.kept.iter().enumerate().map(|(place, block)| (*block, place)).collect(),
            mixers: all.filter_map(|name| name.strip_suffix(".A_log")).collect(),
            twins: HashMap::new(),
        };
        for layer in model.layers.iter().filter(|l| names.mixer_part(l).is_none()).collect::<Vec<_>>() {
            if let Some(block) = number(layer, row) {
                *names.twins.entry((layer.role, block)).or_default() += 1;
            }
        }
        names
    }

    /// The last part of the name of a layer that belongs to a state-space mixer.
    fn mixer_part<'l>(&self, layer: &'l Layer) -> Option<&'l str> {
        let (module, part) = layer.name.rsplit_once('.')?;
        let named = module.rsplit('.').next().is_some_and(|last| matches!(last, "mamba" | "ssm"));
        (named || self.mixers.contains(module)).then_some(part)
    }

    /// Name of a layer's tensor in the file, its block numbered as in the result.
    fn gguf(&self, layer: &Layer) -> Option<String> {
        if layer.block.is_none() {
            return (layer.role == Role::Head).then(|| "output.weight".to_owned());
        }
        let block = number(layer, self.row)?;
        let place = self.places.get(&block)?;
        let word = match self.mixer_part(layer) {
            Some("in_proj") => "ssm_in",
            Some("x_proj") => "ssm_x",
            Some("dt_proj") => "ssm_dt",
            Some("out_proj") => "ssm_out",
            // Other parts of a mixer stay as they are there.
            Some(_) => return None,
            // Experts are stored as one tensor there.
            None if self.twins.get(&(layer.role, block)) != Some(&1) => return None,
            None => word(layer.role)?,
        };
        Some(format!("blk.{place}.{word}.weight"))
    }
}

/// Name of the only layer of a role in a block.
fn word(role: Role) -> Option<&'static str> {
    Some(match role {
        Role::Query => "attn_q",
        Role::Key => "attn_k",
        Role::Value => "attn_v",
        Role::QueryKeyValue => "attn_qkv",
        Role::Output => "attn_output",
        Role::Gate => "ffn_gate",
        Role::Up | Role::GateUp => "ffn_up",
        Role::Down => "ffn_down",
        Role::SsmIn => "ssm_in",
        Role::SsmX => "ssm_x",
        Role::SsmDt => "ssm_dt",
        Role::SsmOut => "ssm_out",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{block, layer, recipe_of};
    use super::*;
    use crate::export::recipe::regex::tests::matched;
    use crate::plan::{Prune, Treatment};

    fn int(bits: u8) -> Treatment {
        Treatment { quantise: Some(Quantise { bits, per: Granularity::Row }), ..Treatment::default() }
    }

    #[test]
    fn blocks_are_left_out_and_the_rest_is_named_as_numbered_anew() {
        let mut layers: Vec<_> = (0..4).flat_map(block).collect();
        layers.push(layer("lm_head", &[8, 8]));
        let at = recipe_of(layers, |i| match i {
            2 | 3 => Treatment::prune(Prune::unstructured(1.0)),
            4 => int(4),
            7 => int(8),
            5 => int(4),
            _ => Treatment::default(),
        });
        let text = String::from_utf8(write(&at.recipe()).unwrap().bytes).unwrap();
        assert!(text.contains("--prune-layers 1 \\\n"), "{text}");
        let types: Vec<&str> = text.lines().filter_map(|l| l.trim().strip_prefix("--tensor-type '")).collect();
        let (last, named) = types.split_last().unwrap();
        assert!(last.starts_with(".*=f16'"), "{last}");
        let read: Vec<(String, &str)> = named
            .iter()
            .map(|t| {
                let (pattern, kind) = t.split_once('=').unwrap();
                (matched(pattern)[0].clone(), kind.split('\'').next().unwrap())
            })
            .collect();
        // Block 2 is block 1 of the result, block 3 is 2.
        let want =
            [("blk.1.attn_q.weight", "q4_0"), ("blk.1.ffn_down.weight", "q4_0"), ("blk.2.ffn_down.weight", "q8_0")];
        assert_eq!(read, want.map(|(n, k)| (n.to_owned(), k)));
        assert!(text.trim_end().ends_with("\"$1\" \"$2\" Q4_0"), "{text}");
    }

    #[test]
    fn blocks_of_other_towers_are_left_out_and_the_language_models_keep_their_numbers() {
        for (tower, own) in [
            ("vision_tower.encoder.layers", "model.layers"),
            ("model.audio_tower.layers", "language_model.model.layers"),
        ] {
            let name = |row: &str, n: usize| format!("{row}.{n}.self_attn.q_proj");
            let mut layers: Vec<_> = (0..3).map(|n| layer(&name(tower, n), &[8, 8])).collect();
            layers.extend((0..2).map(|n| layer(&name(own, n), &[8, 8])));
            // However blocks are numbered over the checkpoint.
            layers.iter_mut().enumerate().for_each(|(i, l)| l.block = Some(i));
            let at = recipe_of(layers, |i| if i == 1 || i == 4 { int(4) } else { Treatment::default() });
            let out = write(&at.recipe()).unwrap();
            let text = String::from_utf8(out.bytes).unwrap();
            assert!(text.contains("blk\\.1\\.attn_q") && !text.contains("blk\\.4"), "{text}");
            assert_eq!(text.matches("attn_q").count(), 1, "{text}");
            assert!(out.notes.iter().any(|n| n.contains(&name(tower, 1)) && n.contains("left out")), "{:?}", out.notes);
        }
    }

    #[test]
    fn parts_of_a_state_space_mixer_have_their_own_names() {
        let parts = ["in_proj", "x_proj", "dt_proj", "out_proj", "conv1d", "A_log"];
        let mut layers: Vec<_> =
            parts.iter().map(|p| layer(&format!("backbone.layers.0.mixer.{p}"), &[8, 8])).collect();
        layers[0].role = Role::QueryKeyValue;
        layers[3].role = Role::Output;
        let at = recipe_of(layers, |_| int(4));
        let out = write(&at.recipe()).unwrap();
        let text = String::from_utf8(out.bytes).unwrap();
        for word in ["ssm_in", "ssm_x", "ssm_dt", "ssm_out"] {
            assert_eq!(text.matches(word).count(), 1, "{word}: {text}");
        }
        assert!(!text.contains("attn_") && !text.contains("conv1d"), "{text}");
        assert!(out.notes.iter().any(|n| n.contains("conv1d")), "{:?}", out.notes);
    }

    #[test]
    fn shares_alone_are_refused() {
        let at = recipe_of((0..2).flat_map(block).collect(), |_| Treatment::prune(Prune::unstructured(0.5)));
        assert!(write(&at.recipe()).unwrap_err().to_string().contains("llm-compressor"));
    }
}
