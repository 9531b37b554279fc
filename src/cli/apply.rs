//! Writes the compressed checkpoint of a plan, reads it back and checks it.

use super::args::{ApplyArgs, Common, Form, InspectFormat};
use super::error::CliError;
use super::output::{Meter, line, open_noted, stop_on_interrupt, to_stdout};
use super::plan;
use crate::engine::{Progress, Settings};
use crate::export::{self, Apply, ApplyError, Check, Limits, Written};
use crate::model::Model;
use crate::plan::file::fingerprint;
use crate::plan::{Plan, Treatment};
use crate::report::plan::{Summary, json};
use crate::report::table::Table;
use crate::widgets::number::{percent, ratio};
use std::sync::Arc;
use std::time::Instant;

/// Said of factors.
const NOTE: &str = "layers in rank_dict of config.json are stored as two factors, Ŵ = mod_b·mod_a (+ mod_s where the rest \
                    was pruned): code of one's own that builds such layers is needed to run the result";

/// Writes and checks.
pub fn run(common: &Common, args: &ApplyArgs) -> Result<(), CliError> {
    if to_stdout(&args.output) {
        return Err(CliError::Usage("-o -: a checkpoint is a folder; name one, such as -o MODEL-half".to_owned()));
    }
    let (model, weights) = open_noted(Some(&args.model), args.calibration.as_deref())?;
    let model = Arc::new(model);
    let (plan, made) = plan::read_made(&args.plan, &model, args.force)?;
    let treatments: Vec<Treatment> = model.layers.iter().map(|l| plan.treatment(l.id)).collect();
    if plan.is_dense() {
        return Err(CliError::Input(anyhow::anyhow!("{}: treats no layer: nothing to write", args.plan.display())));
    }
    let facts = plan::measured(common, &model, weights.clone(), &plan)?;
    let outcome = crate::plan::project(&model, &facts, &vec![None; model.layers.len()], &plan);
    let mark = format!("{} {plan:?} {:?} {}", fingerprint(&model), args.form, activations(&model, &plan)?);
    let mark = blake3::hash(mark.as_bytes()).to_hex().to_string();
    let form = match args.form {
        Form::Dense => export::Form::Dense,
        Form::Factored => export::Form::Factored,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = common.memory.unwrap_or_else(|| Settings::default().memory);
    let limits = Limits { threads: common.threads.unwrap_or(cores), memory };
    let apply = Apply { model: &model, weights: &weights, plan: &plan, out: &args.output, form, mark, limits };
    let asked = stop_on_interrupt();
    let keep_going = || !asked();
    let written = metered("writing", |progress| apply.run(progress, &keep_going))?;
    let checks = metered("checking", |progress| apply.check(&outcome, &written, progress, &keep_going))?;
    let bad: Vec<String> = checks.iter().filter_map(|c| Some(format!("{}: {}", c.layer, c.wrong.as_ref()?))).collect();
    let summary = Summary {
        model: &model,
        fingerprint: fingerprint(&model),
        made: &made,
        plan: &plan,
        binding: &[],
        by_calibration: &[],
        outcome: &outcome,
    };
    match args.format {
        InspectFormat::Json => {
            let mut object = json(&summary);
            object["written"] = serde_json::json!(written.files);
            object["verified"] = serde_json::json!(bad.is_empty());
            if checks.iter().any(|c| c.rank.is_some()) {
                object["note"] = serde_json::json!(NOTE);
            }
            line(&object.to_string())?;
        }
        InspectFormat::Table => tell(&checks, &written, args, &treatments)?,
    }
    if bad.is_empty() {
        return Ok(());
    }
    Err(CliError::Input(anyhow::anyhow!("{}: not what the plan says: {}", args.output.display(), bad.join("; "))))
}

/// What the plan's treatments go by beside the weights: what was made with other activations is another result.
fn activations(model: &Model, plan: &Plan) -> Result<String, CliError> {
    let mut out = String::new();
    for layer in model.layers.iter().filter(|l| plan.treatment(l.id).weighs()) {
        let Some(inputs) = &layer.inputs else { continue };
        let digest = inputs.digest().map_err(|e| CliError::Input(anyhow::anyhow!("layer {}: {e}", layer.name)))?;
        out.push_str(&blake3::Hash::from_bytes(digest).to_hex());
    }
    Ok(out)
}

/// Runs with a bar that shows how far it is.
fn metered<T>(
    title: &'static str,
    work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> Result<T, ApplyError>,
) -> Result<T, CliError> {
    let (mut meter, start) = (Meter::default(), Instant::now());
    let result = work(&mut |done, total| {
        let (seconds, share) = (start.elapsed(), done as f64 / total.max(1) as f64);
        meter.show(&Progress {
            share,
            bytes_per_second: done as f64 / seconds.as_secs_f64().max(1e-9),
            left: (share > 0.0).then(|| seconds.mul_f64((1.0 - share) / share)),
            title,
            ..Progress::default()
        });
    });
    meter.clear();
    result.map_err(|e| match e {
        ApplyError::Stopped { .. } | ApplyError::Unchecked(_) => CliError::Interrupted(e.to_string()),
        ApplyError::Open(e) => e.into(),
        e => CliError::Input(e.into()),
    })
}

fn tell(checks: &[Check], written: &Written, args: &ApplyArgs, treatments: &[Treatment]) -> Result<(), CliError> {
    let factored = checks.iter().any(|c| c.rank.is_some());
    let mut table = Table::new(&["layer", "stored as", ">zeros", ">err", "read back"]);
    for check in checks {
        let verdict = check.wrong.clone().unwrap_or_else(|| "as planned".to_owned());
        let stored = check.rank.map_or_else(|| "one matrix".to_owned(), |r| format!("factors of rank {r}"));
        let error = format!("={}", ratio(check.error));
        table.row(vec![check.layer.clone(), stored, percent(check.zeros), error, verdict]);
    }
    table.lines().try_for_each(|l| line(&l))?;
    let kept = if written.kept > 0 { format!(", {} of them finished before", written.kept) } else { String::new() };
    line("")?;
    let files = if written.files.len() == 1 { "1 file".to_owned() } else { format!("{} files", written.files.len()) };
    let rest = if factored { "all else as it was but the header, index and config.json" } else { "all else as it was" };
    line(&format!("{files} in {}{kept}; {rest}", args.output.display()))?;
    if !written.left_out.is_empty() {
        line(&format!("Not copied: {}; they hold uncompressed weights", written.left_out.join(", ")))?;
    }
    if factored {
        line(&format!("Note: {NOTE}."))?;
    }
    if treatments.iter().any(|t| t.quantise.is_some()) {
        line(
            "Rounded entries are stored in the type they had: the file is as large as before, and shows what rounding does.",
        )?;
    }
    if treatments.iter().any(|t| t.prune.is_some()) {
        line("Zeros save nothing by themselves: a sparse format or a runtime that skips them does.")?;
    }
    Ok(())
}
