//! Measures what a model scores, as it is or as a plan leaves it.

use super::args::{Common, EvaluateArgs, InspectFormat};
use super::error::CliError;
use super::output::{Meter, line, open_noted, stop_on_interrupt};
use super::plan;
use crate::evaluate::data::Wanted;
use crate::evaluate::{
    Data, DataError, Measured, Metric, Network, RunError, Slice, device, measure, runnable, scorable, treat,
};
use crate::model::{LayerId, Model};
use crate::plan::{Plan, Treatment, project};
use crate::probe::book::FactBook;
use crate::widgets::number::{grouped, percent};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// Runs the model and says what it scores.
pub fn run(common: &Common, args: &EvaluateArgs) -> Result<(), CliError> {
    let place = device::device(args.device.as_deref()).map_err(failed)?;
    let (model, weights) = open_noted(Some(&args.model), args.calibration.as_deref())?;
    let path = model.path.display();
    runnable(&model).map_err(|why| CliError::Usage(format!("{path}: slimscope does not run it: {why}")))?;
    scorable(&model).map_err(|why| CliError::Input(anyhow::anyhow!("{path}: nothing to measure: {why}")))?;
    let plan = args.plan.as_deref().map(|path| plan::read(path, &model, args.force)).transpose()?;
    let data = data(&model, args)?;
    let slice = data.range(args.slice.unwrap_or(Wanted::ALL)).and_then(|r| data.slice(&model, r, args.context));
    let slice = slice.map_err(told)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(common.threads.unwrap_or(cores).max(1)).build();
    let pool = pool.map_err(|e| CliError::Usage(format!("--threads: {e}")))?;
    let mut network = Network::load(&model, &weights, &place).map_err(failed)?.on(Arc::new(pool));
    let asked = stop_on_interrupt();
    let stopped = || CliError::Interrupted("stopped: nothing was measured to the end".to_owned());
    let (mut meter, start) = (Meter::default(), Instant::now());
    let unheard = match &plan {
        None => Vec::new(),
        Some(plan) => {
            let treatments: Vec<Treatment> = model.layers.iter().map(|l| plan.treatment(l.id)).collect();
            let all = treatments.iter().filter(|t| !t.is_dense()).count().max(1);
            let mut tell = |done: usize| meter.share("treating", done as f64 / all as f64, start.elapsed());
            let done = treat(&mut network, &model, &weights, &treatments, &|| !asked(), &mut tell);
            meter.clear();
            if asked() {
                return Err(stopped());
            }
            done.map_err(failed)?
        }
    };
    let start = Instant::now();
    let measured = measure(&network, &slice, &mut |running| {
        meter.share("measuring", running.share, start.elapsed());
        !asked()
    });
    meter.clear();
    let measured = measured.map_err(failed)?.ok_or_else(stopped)?;
    if !unheard.is_empty() {
        remark!("note: {}", not_run(&model, &unheard));
    }
    match args.format {
        InspectFormat::Json => {
            let mut object = object(&measured, &slice, args, &model, plan.as_ref());
            object["device"] = json!(device::named(&place));
            line(&object.to_string())
        }
        InspectFormat::Table => {
            table(&measured, &slice, args, &model, plan.as_ref())?;
            line(&format!("device  {}", device::named(&place)))
        }
    }
}

fn data(model: &Model, args: &EvaluateArgs) -> Result<Data, CliError> {
    let begun = |data: Data| Data { begin: args.begin.into(), ..data };
    if let Some(path) = &args.data {
        return Data::open(path, model).map(begun).map_err(told);
    }
    Data::beside(model).map_err(told)?.map(begun).ok_or_else(|| {
        CliError::Usage(format!(
            "{}: no eval.safetensors lies beside it; name what it is to be measured on with --data FILE",
            model.path.display()
        ))
    })
}

fn told(error: DataError) -> CliError {
    CliError::Input(error.into())
}

fn failed(error: RunError) -> CliError {
    match error {
        RunError::NotRunnable { .. } | RunError::Device(_) => CliError::Usage(error.to_string()),
        RunError::Open(error) => error.into(),
        error => CliError::Input(error.into()),
    }
}

/// Layers that the plan treats and the model does not run.
fn not_run(model: &Model, layers: &[LayerId]) -> String {
    let names: Vec<&str> = layers.iter().filter_map(|&id| model.layer(id)).map(|l| l.name.as_str()).collect();
    let what = "the plan treats them, and what is measured does not depend on them";
    match names.as_slice() {
        [first, rest @ ..] if rest.len() > 2 => format!("{first} and {} other layers: {what}", rest.len()),
        few => format!("{}: {what}", few.join(", ")),
    }
}

/// Share of the parameters that a plan keeps; sizes alone, no weight is read.
fn kept(model: &Model, plan: &Plan) -> f64 {
    let blank = vec![None; model.layers.len()];
    project(model, &FactBook::new(model.layers.len()), &blank, plan).totals.keep()
}

/// Why there is no standard error.
const ONE_WINDOW: &str = "one window tells nothing of the spread; take a longer --slice or a shorter --context";

fn object(measured: &Measured, slice: &Slice, args: &EvaluateArgs, model: &Model, plan: Option<&Plan>) -> Value {
    let mut object = json!({
        "metric": measured.metric.word(),
        "value": measured.value,
        "standard_error": measured.standard_error.is_finite().then_some(measured.standard_error),
        "slice": slice.name,
        "seconds": measured.seconds,
        "cross_entropy": measured.nats,
        "model": model.name,
    });
    let rate = |count: usize| count as f64 / measured.seconds.max(1e-9);
    match measured.metric {
        Metric::BitsPerByte => {
            object["bytes"] = json!(measured.bytes);
            object["tokens"] = json!(measured.tokens);
            object["perplexity"] = json!(measured.perplexity.filter(|p| p.is_finite()));
            object["tokens_per_second"] = json!(rate(measured.tokens));
            object["context"] = json!(slice.context);
            object["begins_with"] = json!(slice.begin);
            if !measured.standard_error.is_finite() {
                object["note"] = json!(ONE_WINDOW);
            }
        }
        Metric::Accuracy => {
            object["examples"] = json!(measured.examples);
            object["examples_per_second"] = json!(rate(measured.examples));
        }
    }
    if let (Some(plan), Some(path)) = (plan, &args.plan) {
        object["plan"] = json!(path.display().to_string());
        object["keep"] = json!({ "params": kept(model, plan) });
    }
    object
}

fn table(
    measured: &Measured,
    slice: &Slice,
    args: &EvaluateArgs,
    model: &Model,
    plan: Option<&Plan>,
) -> Result<(), CliError> {
    let error = measured.standard_error;
    match measured.metric {
        Metric::BitsPerByte => {
            let perplexity = measured.perplexity.map_or(String::new(), |p| format!(", perplexity {p:.4} a token"));
            let sure = if error.is_finite() { format!(" ± {error:.4}") } else { String::new() };
            line(&format!("bits per byte  {:.4}{sure}{perplexity}", measured.value))?;
            if !error.is_finite() {
                line(&format!("error  not known: {ONE_WINDOW}"))?;
            }
        }
        Metric::Accuracy => {
            let (value, error) = (measured.value * 100.0, error * 100.0);
            line(&format!("accuracy  {value:.2} % ± {error:.2} %, cross-entropy {:.4} nats", measured.nats))?;
        }
    }
    let run = match (plan, &args.plan) {
        (Some(plan), Some(path)) => {
            let treated = model.layers.iter().filter(|l| !plan.treatment(l.id).is_dense()).count();
            format!("as {} leaves it: {treated} layers treated, keep {}", path.display(), percent(kept(model, plan)))
        }
        _ => "as it is stored".to_owned(),
    };
    line(&format!("model  {}, {run}", model.name))?;
    let (count, unit, rate) = match slice.context {
        Some(context) => {
            let begin = slice.begin.map_or_else(String::new, |id| format!(", each begun with token {id}"));
            (measured.tokens, "tokens", format!(", windows of {context}{begin}"))
        }
        None => (measured.examples, "examples", String::new()),
    };
    let second = grouped((count as f64 / measured.seconds.max(1e-9)) as u64);
    let took = format!("{:.2} s, {second} {unit} a second", measured.seconds);
    line(&format!("on  {}: {} {unit}{rate}, in {took}", slice.name, grouped(count as u64)))
}
