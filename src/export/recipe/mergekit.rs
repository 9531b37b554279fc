//! Blocks that stay, as a passthrough merge for mergekit. It knows whole blocks alone.

use super::whole::{MEANING, blocks, number, single};
use super::{ExportError, Exported, Exporter, Lost, Recipe, origin, quoted};
use crate::export::lint::Target;
use crate::model::DType;

/// The format.
pub static FORMAT: Exporter = Exporter {
    name: "mergekit",
    words: "blocks left out whole, as a passthrough merge; mergekit-yaml FILE DIR",
    file: "merge.yaml",
    spectra: false,
    target: Target::Any,
    write,
};

fn write(recipe: &Recipe) -> Result<Exported, ExportError> {
    let none = |why: String| ExportError::Cannot {
        format: FORMAT.name,
        why,
        remedy:
            "`prune = { remove = 1.0 }` for every layer of a block leaves it out; llm-compressor, json and csv carry \
                 shares of layers"
                .to_owned(),
    };
    let Some(row) = single(recipe) else {
        return Err(none("knows blocks alone, and this model has no single row of them".to_owned()));
    };
    let found = blocks(recipe, row);
    if found.dropped.is_empty() {
        return Err(none("knows whole blocks alone, and this plan takes none away whole".to_owned()));
    }
    if found.kept.is_empty() {
        return Err(none("would have nothing left: the plan takes every block away".to_owned()));
    }
    let mut lost = Lost::default();
    for (layer, treatment) in recipe.treated().filter(|(l, _)| number(l, row).is_none_or(|b| found.kept.contains(&b))) {
        if treatment.rank.is_some() || treatment.prune.is_some() {
            lost.add(layer, "stays as it is: mergekit knows whole blocks alone (json and csv carry the rest)");
        }
    }
    lost.of_the_plan(recipe, true);
    let slices: Vec<String> = found
        .runs()
        .iter()
        .map(|(from, to)| {
            format!(
                "  - sources:\n      - model: {}\n        layer_range: [{from}, {to}]\n",
                quoted(&recipe.model.name)
            )
        })
        .collect();
    let text = format!(
        "# {}\nslices:\n{}merge_method: passthrough\ndtype: {}\n",
        origin(recipe),
        slices.concat(),
        dtype(recipe)
    );
    let mut notes = vec![
        format!(
            "model: is {}, the checkpoint's name; put its path there where that is not a name of the hub",
            recipe.model.name
        ),
        MEANING.to_owned(),
    ];
    notes.extend(lost.notes());
    Ok(Exported { bytes: text.into_bytes(), notes, ..Exported::default() })
}

/// The type of most of the weights.
fn dtype(recipe: &Recipe) -> &'static str {
    let of = |dtype: DType| recipe.model.layers.iter().filter(|l| l.dtype == dtype).map(|l| l.params).sum::<u64>();
    let known = [(DType::BF16, "bfloat16"), (DType::F16, "float16"), (DType::F32, "float32")];
    known.into_iter().max_by_key(|(d, _)| of(*d)).map_or("bfloat16", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{block, layer, recipe_of};
    use super::*;
    use crate::plan::{Prune, Treatment};

    #[test]
    fn runs_of_what_stays() {
        let mut layers: Vec<_> = (0..12).flat_map(block).collect();
        layers.push(layer("lm_head", &[8, 8]));
        let gone = |i: usize| matches!(i / 2, 3 | 4 | 11) && i < 24;
        let at = recipe_of(layers, |i| match i {
            i if gone(i) => Treatment::prune(Prune::unstructured(1.0)),
            0 => Treatment::rank(2),
            _ => Treatment::default(),
        });
        let out = write(&at.recipe()).unwrap();
        let text = String::from_utf8(out.bytes).unwrap();
        let ranges: Vec<&str> = text.lines().filter_map(|l| l.trim().strip_prefix("layer_range: ")).collect();
        assert_eq!(ranges, ["[0, 3]", "[5, 11]"]);
        assert!(
            out.notes.iter().any(|n| n.starts_with("model.layers.0.self_attn.q_proj: stays as it is")),
            "{:?}",
            out.notes
        );
    }

    #[test]
    fn half_a_block_is_refused() {
        let at = recipe_of((0..2).flat_map(block).collect(), |i| {
            if i == 0 { Treatment::prune(Prune::unstructured(1.0)) } else { Treatment::default() }
        });
        assert!(write(&at.recipe()).unwrap_err().to_string().contains("none away whole"));
        let all = recipe_of((0..2).flat_map(block).collect(), |_| Treatment::prune(Prune::unstructured(1.0)));
        assert!(write(&all.recipe()).unwrap_err().to_string().contains("nothing left"));
        let plain = recipe_of(vec![layer("fc1", &[8, 8])], |_| Treatment::prune(Prune::unstructured(1.0)));
        assert!(write(&plain.recipe()).unwrap_err().to_string().contains("no single row"));
    }
}
