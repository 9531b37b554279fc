//! Everything that the plan says of its layers, as comma-separated values.

use super::json::{action, factors, projected};
use super::{ExportError, Exported, Exporter, Recipe};
use crate::export::lint::Target;
use crate::plan::file::fingerprint;
use crate::report::csv::line;

/// The format.
pub static FORMAT: Exporter = Exporter {
    name: "csv",
    words: "everything, a row for each layer; spreadsheets",
    file: "plan.csv",
    spectra: false,
    target: Target::Any,
    write,
};

/// Columns; units stand in brackets.
const HEADS: &[&str] = &[
    "layer",
    "tensor",
    "block",
    "role",
    "kind",
    "shape",
    "dtype",
    "params [entries]",
    "eligible",
    "action",
    "remove [share removed]",
    "pattern",
    "criterion",
    "rank [singular values kept]",
    "factors",
    "quantise [bits]",
    "quantise per",
    "keep_param_ratio [kept/before]",
    "params_after [entries]",
    "pinned",
    "model",
    "fingerprint",
    "allocator",
    "budget of",
    "budget [share kept]",
    "made by",
];

#[expect(clippy::unnecessary_wraps, reason = "all formats have one signature")]
fn write(recipe: &Recipe) -> Result<Exported, ExportError> {
    let of_model = fingerprint(recipe.model);
    let opt = |x: Option<String>| x.unwrap_or_default();
    let mut text = line(HEADS.iter().copied());
    text.push('\n');
    for layer in &recipe.model.layers {
        let treatment = recipe.plan.treatment(layer.id);
        let (out, prune) = (projected(layer, treatment), treatment.prune);
        let budget = recipe.made.budget.as_ref();
        let cells = [
            layer.name.clone(),
            opt(recipe.model.tensors.get(layer.tensor).map(|t| t.name.clone())),
            opt(layer.block.map(|b| b.to_string())),
            layer.role.word().to_owned(),
            layer.kind.word().to_owned(),
            layer.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            layer.dtype.name().to_owned(),
            out.before.params.to_string(),
            layer.eligible().to_string(),
            action(&treatment).to_owned(),
            opt(prune.map(|p| p.remove.to_string())),
            opt(prune.map(|p| p.pattern.name(p.remove))),
            opt(prune.map(|p| p.criterion.name().to_owned())),
            opt(treatment.rank.map(|r| r.to_string())),
            opt(factors(&treatment).map(str::to_owned)),
            opt(treatment.quantise.map(|q| q.bits.to_string())),
            opt(treatment.quantise.map(|q| q.per.name())),
            out.keep().to_string(),
            out.after.params.to_string(),
            recipe.pinned(layer).to_string(),
            recipe.model.name.clone(),
            of_model.clone(),
            opt(recipe.made.allocator.clone()),
            opt(budget.map(|b| b.of.clone())),
            opt(budget.map(|b| b.keep.to_string())),
            recipe.made.by.clone(),
        ];
        text.push_str(&line(cells.iter().map(String::as_str)));
        text.push('\n');
    }
    Ok(Exported { bytes: text.into_bytes(), ..Exported::default() })
}
