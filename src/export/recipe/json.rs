//! Everything that the plan says, as one JSON object.

use super::{ExportError, Exported, Exporter, Recipe};
use crate::export::lint::Target;
use crate::model::Layer;
use crate::plan::file::fingerprint;
use crate::plan::outcome::project_layer;
use crate::plan::{LayerOutcome, Treatment};
use crate::probe::book::LayerFacts;
use serde_json::{Value, json};

/// The format.
pub static FORMAT: Exporter = Exporter {
    name: "json",
    words: "everything, as JSON; scripts",
    file: "plan.json",
    spectra: false,
    target: Target::Any,
    write,
};

/// What follows from the plan's own arithmetic: nothing measured.
pub fn projected(layer: &Layer, treatment: Treatment) -> LayerOutcome {
    project_layer(layer, &LayerFacts::default(), treatment, None)
}

/// In a word what is done to a layer.
pub fn action(treatment: &Treatment) -> &'static str {
    match (treatment.rank, treatment.prune, treatment.quantise) {
        (None, None, None) => "dense",
        (None, None, Some(_)) => "quantise",
        (Some(_), None, _) => "lowrank",
        (None, Some(_), _) => "prune",
        (Some(_), Some(_), _) => "lowrank+prune",
    }
}

/// What two factors are of, where there are two.
pub fn factors(treatment: &Treatment) -> Option<&'static str> {
    treatment.rank.map(|_| treatment.form.name())
}

#[expect(clippy::unnecessary_wraps, reason = "all formats have one signature")]
fn write(recipe: &Recipe) -> Result<Exported, ExportError> {
    let layers: Vec<Value> = recipe.model.layers.iter().map(|l| layer(recipe, l)).collect();
    let object = json!({
        "format": "slimscope-plan",
        "version": 1,
        "made_by": recipe.made.by,
        "model": {
            "name": recipe.model.name,
            "fingerprint": fingerprint(recipe.model),
            "files": recipe.model.files.iter().map(|f| json!({"name": f.name, "bytes": f.bytes})).collect::<Vec<_>>(),
        },
        "allocator": recipe.made.allocator,
        "budget": recipe.made.budget.as_ref().map(|b| json!({"of": b.of, "keep": b.keep})),
        "units": {
            "remove": "share of the entries, or of the rows, columns or blocks of the pattern, that is removed",
            "keep_param_ratio": "parameters kept / parameters before, by the plan's arithmetic; above 1 where two factors are larger",
            "rank": "singular values kept",
        },
        "layers": layers,
    });
    let text = serde_json::to_string_pretty(&object).unwrap_or_default();
    Ok(Exported { bytes: format!("{text}\n").into_bytes(), ..Exported::default() })
}

fn layer(recipe: &Recipe, layer: &Layer) -> Value {
    let treatment = recipe.plan.treatment(layer.id);
    let out = projected(layer, treatment);
    let prune = treatment.prune;
    json!({
        "name": layer.name,
        "tensor": recipe.model.tensors.get(layer.tensor).map(|t| t.name.as_str()),
        "block": layer.block,
        "role": layer.role.word(),
        "kind": layer.kind.word(),
        "shape": layer.shape,
        "matrix": layer.matrix,
        "dtype": layer.dtype.name(),
        "params": out.before.params,
        "eligible": layer.eligible(),
        "action": action(&treatment),
        "remove": prune.map(|p| p.remove),
        "pattern": prune.map(|p| p.pattern.name(p.remove)),
        "criterion": prune.map(|p| p.criterion.name()),
        "rank": treatment.rank,
        "factors": factors(&treatment),
        "quantise": treatment.quantise.map(|q| json!({"bits": q.bits, "per": q.per.name()})),
        "keep_param_ratio": out.keep(),
        "params_after": out.after.params,
        "pinned": recipe.pinned(layer),
    })
}
