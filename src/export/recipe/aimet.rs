//! Compression ratios for AIMET in its manual mode, as a Python module.
//!
//! A ratio there is what is kept: cost after / cost before. Ranks are written as the smallest ratio of six digits that
//! rounds down to them. Weight SVD of a convolution is another factorisation there: only linear layers and 1×1 kernels
//! are said so.

use super::{ExportError, Exported, Exporter, Lost, Recipe, origin, share};
use crate::export::lint::Target;
use crate::model::{Kind, Layer};
use crate::treat::{Factors, Pattern};

/// The format.
pub static FORMAT: Exporter = Exporter {
    name: "aimet",
    words: "ratios kept of ranks and of channels, as a Python module; aimet_torch's ModelCompressor",
    file: "aimet_plan.py",
    spectra: false,
    target: Target::Any,
    write,
};

/// A layer and the ratio kept.
type Pair = (String, String);

fn write(recipe: &Recipe) -> Result<Exported, ExportError> {
    let mut lost = Lost::default();
    let (mut weight, mut spatial, mut channels): (Vec<Pair>, Vec<Pair>, Vec<Pair>) = (vec![], vec![], vec![]);
    let mut ranks = Vec::new();
    for (layer, treatment) in recipe.modules(&mut lost) {
        if let Some(rank) = treatment.rank {
            if treatment.prune.is_some() {
                lost.add(layer, "the sparse part beside the low rank is left out (json and csv carry both)");
            }
            if treatment.form != Factors::Spatial && layer.input_columns() > 1 {
                lost.add(
                    layer,
                    "the rank is left out: AIMET's weight SVD of a convolution keeps the kernel in its second factor, \
                     this plan in its first (spatial factors are the same in both)",
                );
                continue;
            }
            let ratio = ratio(layer, rank, treatment.form);
            if ratio > 1.0 {
                lost.add(layer, "the rank saves nothing, and AIMET takes ratios up to 1: the layer stays dense");
                continue;
            }
            ranks.push(rank);
            let list = if treatment.form == Factors::Spatial { &mut spatial } else { &mut weight };
            list.push((layer.name.clone(), six(ratio)));
        } else if let Some(prune) = treatment.prune {
            if prune.pattern == Pattern::Columns && layer.kind == Kind::Conv2d && prune.remove < 1.0 {
                channels.push((layer.name.clone(), share(1.0 - prune.remove).to_string()));
            } else {
                lost.add(
                    layer,
                    "pruning is left out: AIMET takes away input channels of convolutions alone (llm-compressor carries \
                     masks, torch-pruning rows)",
                );
            }
        }
    }
    if weight.len() + spatial.len() + channels.len() == 0 {
        return Err(ExportError::Cannot {
            format: FORMAT.name,
            why: "holds ranks and input channels of convolutions, and this plan has none".to_owned(),
            remedy: "llm-compressor carries pruning, torch-pruning rows, json and csv everything".to_owned(),
        });
    }
    lost.of_the_plan(recipe, true);
    let multiple = if ranks.iter().all(|r| r % 8 == 0) { 8 } else { 1 };
    let text = TEMPLATE
        .replace("{origin}", &origin(recipe))
        .replace("{weight}", &list(&weight))
        .replace("{spatial}", &list(&spatial))
        .replace("{channels}", &list(&channels))
        .replace("{multiple}", &multiple.to_string());
    let mut notes = vec!["ratios are what is kept of the parameters: use CostMetric.memory".to_owned()];
    if !channels.is_empty() {
        notes.push("channel pruning reconstructs weights from data: give parameters() a data loader".to_owned());
    }
    notes.extend(lost.notes());
    Ok(Exported { bytes: text.into_bytes(), notes, ..Exported::default() })
}

/// What two factors take of what the layer takes.
fn ratio(layer: &Layer, rank: usize, form: Factors) -> f64 {
    let (mut m, mut n) = (layer.rows() as f64, layer.cols() as f64);
    if let (Factors::Spatial, [outputs, inputs, height, width]) = (form, layer.shape.as_slice()) {
        (m, n) = ((inputs * height) as f64, (outputs * width) as f64);
    }
    rank as f64 * (m + n) / (m * n)
}

/// Six digits, rounded up: the rank is what is rounded down from it.
fn six(ratio: f64) -> String {
    format!("{:.6}", ((ratio * 1e6 - 1e-6).ceil() / 1e6).min(1.0))
}

fn list(pairs: &[Pair]) -> String {
    let lines: Vec<String> = pairs
        .iter()
        .map(|(name, r)| format!("    ({}, Decimal(\"{r}\")),\n", serde_json::Value::from(name.as_str())))
        .collect();
    if lines.is_empty() { "[]".to_owned() } else { format!("[\n{}]", lines.concat()) }
}

const TEMPLATE: &str = r#"# {origin}
# Ratios are what is kept of a layer's parameters: use them with CostMetric.memory.
from decimal import Decimal

WEIGHT_SVD = {weight}
SPATIAL_SVD = {spatial}
CHANNEL_PRUNING = {channels}
MULTIPLICITY = {multiple}


def pairs(model, plan):
    """AIMET's pairs of a module and its ratio; a name that the model lacks is an error."""
    from aimet_torch.defs import ModuleCompRatioPair

    modules = dict(model.named_modules())
    return [ModuleCompRatioPair(modules[name], ratio) for name, ratio in plan]


def parameters(model, data_loader=None, samples=500):
    """Parameters for aimet_torch.compress.ModelCompressor, one for each scheme that the plan uses."""
    from aimet_torch.defs import ChannelPruningParameters, SpatialSvdParameters, WeightSvdParameters

    found = {}
    if WEIGHT_SVD:
        manual = WeightSvdParameters.ManualModeParams(pairs(model, WEIGHT_SVD))
        found["weight_svd"] = WeightSvdParameters(
            mode=WeightSvdParameters.Mode.manual, params=manual, multiplicity=MULTIPLICITY
        )
    if SPATIAL_SVD:
        manual = SpatialSvdParameters.ManualModeParams(pairs(model, SPATIAL_SVD))
        found["spatial_svd"] = SpatialSvdParameters(
            mode=SpatialSvdParameters.Mode.manual, params=manual, multiplicity=MULTIPLICITY
        )
    if CHANNEL_PRUNING:
        manual = ChannelPruningParameters.ManualModeParams(pairs(model, CHANNEL_PRUNING))
        found["channel_pruning"] = ChannelPruningParameters(
            data_loader=data_loader,
            num_reconstruction_samples=samples,
            allow_custom_downsample_ops=True,
            mode=ChannelPruningParameters.Mode.manual,
            params=manual,
            multiplicity=1,
        )
    return found
"#;

#[cfg(test)]
mod tests {
    use super::super::tests::{layer, recipe_of};
    use super::*;
    use crate::plan::{Prune, Treatment};

    #[test]
    fn ratios_round_down_to_the_rank() {
        for (m, n) in [(160usize, 432usize), (64, 64), (128, 10), (4096, 11008)] {
            let l = layer("fc", &[m, n]);
            for rank in 1..m * n / (m + n) {
                let r: f64 = six(ratio(&l, rank, Factors::Matrix)).parse().unwrap();
                assert_eq!((r * (m * n) as f64 / (m + n) as f64) as usize, rank, "{m}×{n} {rank} {r}");
            }
        }
    }

    #[test]
    fn kept_not_removed() {
        let at = recipe_of(vec![layer("a", &[8, 8]), layer("conv", &[8, 8, 3, 3])], |i| match i {
            0 => Treatment::rank(1),
            _ => Treatment::prune(Prune::of(0.25, Pattern::Columns)),
        });
        let out = write(&at.recipe()).unwrap();
        let text = String::from_utf8(out.bytes).unwrap();
        assert!(
            text.contains("(\"a\", Decimal(\"0.250000\"))") && text.contains("(\"conv\", Decimal(\"0.75\"))"),
            "{text}"
        );
        let cut = recipe_of(vec![layer("a", &[8, 8])], |_| Treatment::prune(Prune::unstructured(0.5)));
        assert!(write(&cut.recipe()).unwrap_err().to_string().contains("llm-compressor"));
    }
}
