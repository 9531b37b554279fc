//! Writes the compressed checkpoint of a plan, reads it back and checks it.

use super::args::{ApplyArgs, Common, Form, InspectFormat};
use super::error::CliError;
use super::output::{Meter, line, open};
use super::plan;
use crate::engine::Progress;
use crate::export::{Apply, Check, Written};
use crate::model::Model;
use crate::plan::Outcome;
use crate::plan::file::{Made, fingerprint};
use crate::report::plan::{Summary, json};
use crate::report::table::Table;
use crate::source;
use crate::widgets::number::{percent, ratio};
use std::sync::Arc;
use std::time::Instant;

/// Writes and checks.
pub fn run(common: &Common, args: &ApplyArgs) -> Result<(), CliError> {
    if args.form == Form::Factored {
        return Err(CliError::Usage(
            "--as factored is not built yet: --as dense multiplies the factors out".to_owned(),
        ));
    }
    if args.calibration.is_some() {
        return Err(CliError::Usage("--calibration is not built yet".to_owned()));
    }
    let (model, weights) = open(Some(&args.model))?;
    let model = Arc::new(model);
    let plan = plan::read(&args.plan, &model, args.force)?;
    if plan.is_dense() {
        return Err(CliError::Input(anyhow::anyhow!("{}: treats no layer: nothing to write", args.plan.display())));
    }
    let facts = plan::measured(common, &model, weights.clone(), &plan)?;
    let outcome = crate::plan::project(&model, &facts, &vec![None; model.layers.len()], &plan);
    let mark = format!("{} {plan:?}", fingerprint(&model));
    let mark = blake3::hash(mark.as_bytes()).to_hex().to_string();
    let apply = Apply { model: &model, weights: &weights, plan: &plan, out: &args.output, mark };
    let (mut meter, start) = (Meter::default(), Instant::now());
    let mut progress = |done: u64, total: u64| {
        let (seconds, share) = (start.elapsed(), done as f64 / total.max(1) as f64);
        meter.show(&Progress {
            share,
            bytes_per_second: done as f64 / seconds.as_secs_f64().max(1e-9),
            left: (share > 0.0).then(|| seconds.mul_f64((1.0 - share) / share)),
            title: "writing",
            ..Progress::default()
        });
    };
    let written = apply.run(&mut progress, &|| true).map_err(|e| CliError::Input(e.into()))?;
    meter.clear();
    let checks = verify(&apply, &model, &outcome, &written)?;
    let bad: Vec<String> = checks.iter().filter_map(|c| Some(format!("{}: {}", c.layer, c.wrong.as_ref()?))).collect();
    let made = Made::default();
    let summary = Summary {
        model: &model,
        fingerprint: fingerprint(&model),
        made: &made,
        plan: &plan,
        binding: &[],
        outcome: &outcome,
    };
    match args.format {
        InspectFormat::Json => {
            let mut object = json(&summary);
            object["written"] = serde_json::json!(written.files);
            object["verified"] = serde_json::json!(bad.is_empty());
            line(&object.to_string())?;
        }
        InspectFormat::Table => tell(&checks, &written, args)?,
    }
    if bad.is_empty() {
        return Ok(());
    }
    Err(CliError::Input(anyhow::anyhow!("{}: not what the plan says: {}", args.output.display(), bad.join("; "))))
}

/// Opens what was written and compares every treated layer, and that all else is what it was.
fn verify(apply: &Apply, model: &Model, outcome: &Outcome, written: &Written) -> Result<Vec<Check>, CliError> {
    let path = match written.files.as_slice() {
        [only] if !apply.model.path.is_dir() => apply.out.join(only),
        _ => apply.out.to_owned(),
    };
    let (result, stored) = source::open(&path)?;
    if fingerprint(&result) != fingerprint(model) {
        return Err(CliError::Input(anyhow::anyhow!("{}: holds other tensors than the checkpoint", path.display())));
    }
    let treated = model.layers.iter().filter(|l| l.tied_to.is_none() && !apply.plan.treatment(l.id).is_dense());
    let mut checks = Vec::new();
    for layer in treated {
        let Some(again) = result.layers.iter().find(|l| l.name == layer.name) else { continue };
        let matrix = stored.matrix(&result, again)?;
        let said = &outcome.layers[layer.id.0];
        checks.push(apply.check(layer, said, &matrix).map_err(|e| CliError::Input(e.into()))?);
        stored.release(&result, again);
    }
    Ok(checks)
}

fn tell(checks: &[Check], written: &Written, args: &ApplyArgs) -> Result<(), CliError> {
    let mut table = Table::new(&["layer", ">zeros", ">err", "read back"]);
    for check in checks {
        let verdict = check.wrong.clone().unwrap_or_else(|| "as planned".to_owned());
        table.row(vec![check.layer.clone(), percent(check.zeros), format!("={}", ratio(check.error)), verdict]);
    }
    table.lines().iter().try_for_each(|l| line(l))?;
    let kept = if written.kept > 0 { format!(", {} of them finished before", written.kept) } else { String::new() };
    line("")?;
    line(&format!("{} files in {}{kept}; all else as it was", written.files.len(), args.output.display()))?;
    line("Zeros save nothing by themselves: a sparse format or a runtime that skips them does.")
}
