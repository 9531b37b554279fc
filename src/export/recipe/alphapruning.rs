//! Exponents of spectra for the AlphaPruning scripts: a flat array of float64 as numpy stores it, one for each linear
//! layer of the blocks, in module order; beside it the plan's own shares in the same form.
//!
//! The exponent is Hill's over λ = σ², as those scripts compute it from the middle of the spectrum (`alpha_mid`): the
//! smallest value counts among the n above the edge, where its logarithm adds nothing.

use super::{ExportError, Exported, Exporter, Lost, Recipe, is_linear, share};
use crate::export::lint::Target;
use crate::model::{Layer, LayerId, Model, naming};
use crate::treat::Pattern;

/// The format.
pub static FORMAT: Exporter = Exporter {
    name: "alphapruning",
    words: "exponents of the layers' spectra, as .npy; AlphaPruning with --ww_metric_cache",
    file: "alpha_mid.npy",
    spectra: true,
    target: Target::Any,
    write,
};

/// Linear layers of the blocks, in module order: those that the scripts see.
pub fn linears(model: &Model) -> Vec<LayerId> {
    model.layers.iter().filter(|l| seen(l)).map(|l| l.id).collect()
}

fn seen(layer: &Layer) -> bool {
    is_linear(layer) && layer.measurable() && naming::block_of(&layer.name).is_some()
}

fn write(recipe: &Recipe) -> Result<Exported, ExportError> {
    let cannot =
        |why: String, remedy: &str| ExportError::Cannot { format: FORMAT.name, why, remedy: remedy.to_owned() };
    let layers: Vec<&Layer> = recipe.model.layers.iter().filter(|l| seen(l)).collect();
    if layers.is_empty() {
        return Err(cannot(
            "reads linear layers of blocks, and this model has none".to_owned(),
            "llm-compressor, json and csv carry shares of any layer",
        ));
    }
    let mut alphas = Vec::with_capacity(layers.len());
    for layer in &layers {
        let facts = recipe.facts.of(layer.id);
        let Some(spectrum) = facts.spectrum.as_deref() else {
            let why = facts.failure.clone().unwrap_or_else(|| "its singular values were not measured".to_owned());
            return Err(cannot(
                format!("needs the spectrum of {}: {why}", layer.name),
                "`slimscope measure` says more",
            ));
        };
        alphas.push(alpha(&spectrum.sigma).ok_or_else(|| {
            cannot(
                format!(
                    "has no exponent for {}: its upper singular values are equal, or zero from the middle on",
                    layer.name
                ),
                "llm-compressor carries the plan's shares",
            )
        })?);
    }
    let mut notes = vec![
        "the file holds exponents of the spectra, not the plan's shares: AlphaPruning makes shares of them, with \
         `--ww_metric alpha_mid --ww_metric_cache FOLDER --epsilon 0.3` where FILE is FOLDER/alpha_mid.npy"
            .to_owned(),
        "the order inside a block is that of a Llama (q k v o gate up down); block means do not depend on it"
            .to_owned(),
    ];
    let mut lost = Lost::default();
    let beside = shares(recipe, &layers, &mut lost, &mut notes);
    lost.of_the_plan(recipe, true);
    notes.extend(lost.notes());
    Ok(Exported { bytes: npy(&alphas), beside: beside.into_iter().map(|b| ("_shares.npy", b)).collect(), notes })
}

/// The plan's shares as a metric that AlphaPruning maps to themselves: its mapping is linear from 1 − ε to 1 + ε and
/// scaled to the mean, so ε = (max − min)/(max + min) gives back what goes in.
fn shares(recipe: &Recipe, layers: &[&Layer], lost: &mut Lost, notes: &mut Vec<String>) -> Option<Vec<u8>> {
    let cut = |l: &Layer| {
        let t = recipe.plan.treatment(l.id);
        t.prune
            .filter(|p| t.rank.is_none() && matches!(p.pattern, Pattern::Unstructured | Pattern::PerRow))
            .map(|p| share(p.remove))
    };
    for (layer, treatment) in recipe.treated() {
        // `layers` are in module order.
        let whole = layers.binary_search_by_key(&layer.id, |l| l.id).is_ok() && cut(layer).is_some();
        if !whole && (treatment.rank.is_some() || treatment.prune.is_some()) {
            lost.add(
                layer,
                "left out: shares of single entries in the blocks' linear layers alone (json and csv carry it)",
            );
        }
    }
    let of: Vec<f64> = layers.iter().map(|l| cut(l).unwrap_or(0.0)).collect();
    let (low, high) = of.iter().fold((f64::INFINITY, 0.0f64), |(l, h), r| (l.min(*r), h.max(*r)));
    if high <= 0.0 {
        return None;
    }
    let size: u64 = layers.iter().map(|l| l.params).sum();
    let mean = layers.iter().zip(&of).map(|(l, r)| l.params as f64 * r).sum::<f64>() / size.max(1) as f64;
    if high - low < 1e-12 {
        notes.push(format!(
            "the plan's shares are all {low}: `--prune_method wanda --sparsity_ratio {low}` needs no file"
        ));
        return None;
    }
    notes.push(format!(
        "the file beside, …_shares.npy, holds the plan's own shares: as FOLDER/shares.npy, `--ww_metric shares \
         --ww_metric_cache FOLDER --mapping_type layer_wise --epsilon {} --sparsity_ratio {}` gives them back",
        share((high - low) / (high + low)),
        share(mean)
    ));
    Some(npy(&of))
}

/// 1 + n / Σ ln(λᵢ/λ_edge) over the n = ⌈N/2⌉ largest of N, the edge among them.
fn alpha(sigma: &[f64]) -> Option<f64> {
    let n = sigma.len() - sigma.len() / 2;
    let edge = *sigma.get(n.checked_sub(1)?)?;
    if edge <= 0.0 {
        return None;
    }
    let sum: f64 = sigma[..n].iter().map(|s| 2.0 * (s / edge).ln()).sum();
    (sum > 0.0).then(|| 1.0 + n as f64 / sum).filter(|a| a.is_finite())
}

/// A flat array of float64 in numpy's format, version 1.0.
fn npy(values: &[f64]) -> Vec<u8> {
    let mut head = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({},), }}", values.len());
    // Magic, version, length and the header with its line end fill a multiple of 64 bytes.
    while (10 + head.len() + 1) % 64 != 0 {
        head.push(' ');
    }
    head.push('\n');
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((head.len() as u16).to_le_bytes());
    out.extend(head.as_bytes());
    values.iter().for_each(|v| out.extend(v.to_le_bytes()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponent_counts_its_edge() {
        // λ = 2⁷ … 2⁰: 1 + 4/(6 ln 2); without the edge in n it would be 1.577.
        let sigma: Vec<f64> = (0..8).rev().map(|e| 2f64.powi(e).sqrt()).collect();
        assert!((alpha(&sigma).unwrap() - 1.961_796_693_9).abs() < 1e-9);
        // An odd number: the three largest of five.
        let five: Vec<f64> = (0..5).rev().map(|e| 2f64.powi(e).sqrt()).collect();
        assert!((alpha(&five).unwrap() - (1.0 + 3.0 / (3.0 * 2f64.ln()))).abs() < 1e-9);
        assert_eq!(alpha(&[1.0, 1.0, 1.0, 1.0]), None);
        assert_eq!(alpha(&[1.0, 0.0, 0.0, 0.0]), None);
        assert_eq!(alpha(&[]), None);
    }

    #[test]
    fn the_array_has_numpys_header() {
        let bytes = npy(&[1.5, -2.0]);
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
        assert_eq!((10 + length) % 64, 0);
        let head = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
        assert!(head.contains("'shape': (2,)") && head.ends_with('\n'), "{head}");
        assert_eq!(bytes[10 + length..], [1.5f64.to_le_bytes(), (-2.0f64).to_le_bytes()].concat());
    }
}
