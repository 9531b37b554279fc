//! Ranks for the low-rank search framework LEMS (`search=loadconfig`): a JSON object from layer to rank.
//!
//! There an integer above 1 is a rank, a float a share of the break-even rank, and 1 dense; a rank above break-even is
//! skipped. Rank 1 is therefore written as a share that rounds down to it.

use super::{ExportError, Exported, Exporter, Lost, Recipe, float, is_linear};
use crate::export::lint::Target;
use crate::treat::Factors;

/// The format.
pub static FORMAT: Exporter = Exporter {
    name: "lems",
    words: "ranks of linear layers, as JSON; LEMS with search=loadconfig",
    file: "ranks.json",
    spectra: false,
    target: Target::Any,
    write,
};

fn write(recipe: &Recipe) -> Result<Exported, ExportError> {
    if let Some(path) = recipe.path.map(|p| p.to_string_lossy()).filter(|p| p.contains("dobi")) {
        return Err(ExportError::Place(format!(
            "{path}: LEMS doubles and rounds the values of a file whose path holds \"dobi\"; choose another name"
        )));
    }
    let (mut lines, mut lost) = (Vec::new(), Lost::default());
    for (layer, treatment) in recipe.modules(&mut lost) {
        let Some(rank) = treatment.rank else {
            if treatment.prune.is_some() {
                lost.add(layer, "pruning is left out, the layer stays dense (llm-compressor carries pruning)");
            }
            continue;
        };
        let even = layer.break_even_rank();
        if !is_linear(layer) || treatment.form == Factors::Spatial {
            lost.add(layer, "the rank is left out: LEMS takes torch.nn.Linear alone (aimet, json and csv carry it)");
            continue;
        }
        if treatment.prune.is_some() {
            lost.add(layer, "the sparse part beside the low rank is left out (json and csv carry both)");
        }
        if rank > even || even < 2 {
            lost.add(layer, "the rank saves nothing, and LEMS keeps the layer dense");
            continue;
        }
        let value = if rank >= 2 { rank.to_string() } else { float(1.5 / even as f64) };
        lines.push(format!("  {}: {value}", serde_json::Value::from(layer.name.as_str())));
    }
    if lines.is_empty() {
        return Err(ExportError::Cannot {
            format: FORMAT.name,
            why: "holds ranks of linear layers up to break-even, and this plan has none".to_owned(),
            remedy: "llm-compressor carries pruning, aimet ranks of convolutions, json and csv everything".to_owned(),
        });
    }
    lost.of_the_plan(recipe, true);
    let mut notes = lost.notes();
    notes.push(
        "for `run.py search=loadconfig search.layer_compression_json_path=FILE`; integers are ranks, layers not named \
         stay dense, and those of the run's name_omit as well"
            .to_owned(),
    );
    Ok(Exported { bytes: format!("{{\n{}\n}}\n", lines.join(",\n")).into_bytes(), notes, ..Exported::default() })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{layer, recipe_of};
    use super::*;
    use crate::plan::{Prune, Treatment};

    /// The rank that LEMS reads, or none where it keeps the layer dense.
    fn reads(value: &str, even: usize) -> Option<usize> {
        if value.contains('.') {
            let f: f64 = value.parse().unwrap();
            return if f == 1.0 { None } else { Some((f * even as f64) as usize) };
        }
        let k: usize = value.parse().unwrap();
        (k > 1 && k <= even).then_some(k)
    }

    #[test]
    fn every_rank_is_read_back_and_none_as_a_flag() {
        for (rows, cols) in [(8, 8), (160, 432), (3, 12), (4, 4)] {
            let even = rows * cols / (rows + cols);
            for rank in 1..=even {
                let at = recipe_of(vec![layer("fc", &[rows, cols])], |_| Treatment::rank(rank));
                let text = String::from_utf8(write(&at.recipe()).unwrap().bytes).unwrap();
                let value = text.split(": ").nth(1).unwrap().split('\n').next().unwrap().to_owned();
                assert!(value != "0" && value != "1" && value != "1.0", "{value}");
                assert_eq!(reads(&value, even), Some(rank), "{rows}×{cols} rank {rank}: {value}");
            }
        }
    }

    #[test]
    fn what_is_no_rank_or_too_large_is_told() {
        let layers = || vec![layer("a", &[8, 8]), layer("b", &[8, 8]), layer("c", &[8, 8])];
        let at = recipe_of(layers(), |i| match i {
            0 => Treatment::rank(3),
            1 => Treatment::rank(5),
            _ => Treatment::prune(Prune::unstructured(0.5)),
        });
        let out = write(&at.recipe()).unwrap();
        assert_eq!(String::from_utf8(out.bytes).unwrap(), "{\n  \"a\": 3\n}\n");
        assert!(out.notes[0].starts_with("b: the rank saves nothing"), "{:?}", out.notes);
        assert!(out.notes[1].starts_with("c: pruning is left out"), "{:?}", out.notes);
        let pruned = recipe_of(layers(), |_| Treatment::prune(Prune::unstructured(0.5)));
        assert!(write(&pruned.recipe()).unwrap_err().to_string().contains("llm-compressor"));
        let path = std::path::Path::new("out/dobi/ranks.json");
        let there = Recipe { path: Some(path), ..at.recipe() };
        assert!(matches!(write(&there), Err(ExportError::Place(_))));
    }
}
