//! Writes a plan in another tool's format, and says what a runtime will not do with it.

use super::args::{Common, ExportArgs, InspectFormat};
use super::error::CliError;
use super::gather::Gather;
use super::output::{line, open_noted, settings, to_stdout};
use super::plan;
use crate::engine::Settings;
use crate::export::lint::{Finding, Severity, Target, findings, lines};
use crate::export::recipe::linears;
use crate::export::recipe::{EXPORTERS, ExportError, Exported, Exporter, Recipe, exporter};
use crate::export::save;
use crate::model::Model;
use crate::plan::project;
use crate::probe::book::FactBook;
use crate::probe::{PROBES, Probe, ProbeId};
use crate::source::Weights;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Exports, or only says what is to be said.
pub fn run(common: &Common, args: &ExportArgs) -> Result<(), CliError> {
    let format = format(args)?;
    let target = target(args, format);
    let (model, weights) = open_noted(Some(&args.model), args.calibration.as_deref())?;
    let model = Arc::new(model);
    let (plan, made) = plan::read_made(&args.plan, &model, args.force)?;
    // Sizes alone: nothing of a weight is needed for what rules look at.
    let outcome = project(&model, &FactBook::new(model.layers.len()), &vec![None; model.layers.len()], &plan);
    let found = findings(&model, &plan, &outcome, target);
    let Some((format, output)) = format else {
        match args.format {
            InspectFormat::Json => line(&object(&found, target).to_string())?,
            InspectFormat::Table => lines(&found, target).iter().try_for_each(|l| line(l))?,
        }
        return strict(args, &found);
    };
    if args.format == InspectFormat::Table || output.is_none() {
        found.iter().for_each(|f| remark!("{}", f.line()));
    }
    strict(args, &found)?;
    if let Some(path) = output {
        place(path, args, &model, format)?;
    }
    let facts = if format.spectra { spectra(common, &model, weights)? } else { FactBook::new(model.layers.len()) };
    let recipe = Recipe { model: &model, plan: &plan, made: &made, facts: &facts, path: output };
    let exported = format.write(&recipe).map_err(|e| match e {
        ExportError::Place(_) => CliError::Usage(e.to_string()),
        ExportError::Cannot { .. } => CliError::Input(anyhow::anyhow!("{}: {e}", args.plan.display())),
    })?;
    let written = write(&exported, output)?;
    let mut notes = exported.notes;
    if output.is_none() && !exported.beside.is_empty() {
        let file = Path::new(format.file);
        let names: Vec<String> =
            exported.beside.iter().map(|(end, _)| save::beside(file, end).display().to_string()).collect();
        notes.push(format!("{} is written beside a file only: -o {}", names.join(", "), format.file));
    }
    if args.format == InspectFormat::Json && output.is_some() {
        let mut summary = object(&found, target);
        summary["to"] = json!(format.name);
        summary["written"] = json!(written);
        summary["notes"] = json!(notes);
        return line(&summary.to_string());
    }
    notes.iter().for_each(|n| remark!("{}: {n}", format.name));
    if output.is_some() { line(&format!("written: {}", written.join(", "))) } else { Ok(()) }
}

/// A format, and where it goes: `None` for standard output.
type Wanted<'a> = (&'static Exporter, Option<&'a Path>);

/// What is asked for; `None` where only remarks are.
fn format(args: &ExportArgs) -> Result<Option<Wanted<'_>>, CliError> {
    if args.lint {
        return Ok(None);
    }
    let known = || EXPORTERS.iter().map(|e| format!("\n  {}: {}", e.name, e.words)).collect::<Vec<_>>().concat();
    let Some(format) = args.to.as_deref().and_then(exporter) else {
        return Err(CliError::Usage(format!(
            "--to NAME says the format, --lint writes nothing; formats are{}",
            known()
        )));
    };
    match args.output.as_deref() {
        None => {
            Err(CliError::Usage(format!("-o FILE says where, such as -o {}; -o - is standard output", format.file)))
        }
        Some(path) if to_stdout(path) => Ok(Some((format, None))),
        Some(path) => Ok(Some((format, Some(path)))),
    }
}

/// For which runtime.
fn target(args: &ExportArgs, format: Option<Wanted>) -> Target {
    args.target.as_deref().and_then(Target::parse).unwrap_or_else(|| format.map_or(Target::Any, |(f, _)| f.target))
}

/// Refuses to take the place of what is read.
fn place(path: &Path, args: &ExportArgs, model: &Model, format: &Exporter) -> Result<(), CliError> {
    if path.is_dir() {
        return Err(CliError::Usage(format!(
            "{}: is a folder; name a file in it, such as {}",
            path.display(),
            path.join(format.file).display()
        )));
    }
    let same = |other: &Path| matches!((path.canonicalize(), other.canonicalize()), (Ok(a), Ok(b)) if a == b);
    let config = model.files.first().and_then(|f| f.path.parent()).map(|dir| dir.join("config.json"));
    if same(&args.plan) || model.files.iter().any(|f| same(&f.path)) || config.is_some_and(|c| same(&c)) {
        return Err(CliError::Usage(format!("{}: is read for this export; choose another name", path.display())));
    }
    Ok(())
}

/// Writes the file and those beside it; their names.
fn write(exported: &Exported, output: Option<&Path>) -> Result<Vec<String>, CliError> {
    let Some(path) = output else {
        std::io::stdout().lock().write_all(&exported.bytes).map_err(super::output::unwritten)?;
        return Ok(Vec::new());
    };
    save::write(exported, path).map_err(|e| {
        let what = format!("{}: cannot be written; choose a folder that exists", path.display());
        CliError::Input(anyhow::Error::new(e).context(what))
    })
}

fn strict(args: &ExportArgs, found: &[Finding]) -> Result<(), CliError> {
    let problems = found.iter().filter(|f| f.severity == Severity::Problem).count();
    if !args.strict || problems == 0 {
        return Ok(());
    }
    Err(CliError::Input(anyhow::anyhow!(
        "{}: {problems} {} found, and --strict allows none",
        args.plan.display(),
        if problems == 1 { "problem" } else { "problems" }
    )))
}

fn object(found: &[Finding], target: Target) -> Value {
    let findings: Vec<Value> = found
        .iter()
        .map(|f| {
            json!({"severity": f.severity.word(), "rule": f.rule, "layers": f.layers, "text": f.text, "remedy": f.remedy})
        })
        .collect();
    json!({"target": target.name(), "findings": findings})
}

/// Singular values of the layers that the format is about.
fn spectra(common: &Common, model: &Arc<Model>, weights: Weights) -> Result<FactBook, CliError> {
    let layers = linears(model);
    let probes: Vec<&'static dyn Probe> = PROBES.iter().copied().filter(|p| p.id() == ProbeId::Spectrum).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = Settings { threads: common.threads.unwrap_or(cores).max(1), ..settings(common) };
    Gather { model, weights, layers: &layers, probes, certify: false, settings }.run(&mut |_, _| Ok(()))
}
