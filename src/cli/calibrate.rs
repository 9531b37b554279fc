//! Runs a model on data and writes what its layers hear.

use super::args::{CalibrateArgs, Common, InspectFormat};
use super::error::CliError;
use super::output::{Meter, line, matching, open, stop_on_interrupt, to_stdout};
use crate::engine::default_memory;
use crate::evaluate::calibrate::{CalibrateError, Calibration, Options, calibrate};
use crate::evaluate::data::Wanted;
use crate::evaluate::{Data, DataError, Network, RunError, device, runnable};
use crate::model::{LayerId, Model};
use crate::report::table::Table;
use crate::widgets::number::{bytes, grouped, number};
use serde_json::json;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Runs, writes and says what was written.
pub fn run(common: &Common, args: &CalibrateArgs) -> Result<(), CliError> {
    if to_stdout(&args.output) && (std::io::stdout().is_terminal() || args.format == InspectFormat::Json) {
        let what = "-o -: is a binary file on standard output";
        return Err(CliError::Usage(format!("{what}; send it somewhere, without --format json")));
    }
    let place = device::device(args.device.as_deref()).map_err(|e| failed(e.into()))?;
    let (model, weights) = open(Some(&args.model))?;
    for note in &model.notes {
        remark!("note: {note}");
    }
    runnable(&model).map_err(|why| not_run(&model, &why))?;
    let data = data(&model, args)?;
    writable(&model, &data, &args.output)?;
    let layers = if args.layers.is_empty() { None } else { Some(chosen(&model, &args.layers)?) };
    let slice = data.range(args.slice.unwrap_or(Wanted::ALL)).and_then(|r| data.slice(&model, r, args.context));
    let slice = slice.map_err(told)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(common.threads.unwrap_or(cores).max(1)).build();
    let pool = pool.map_err(|e| CliError::Usage(format!("--threads: {e}")))?;
    let network = Network::load(&model, &weights, &place).map_err(|e| failed(e.into()))?.on(Arc::new(pool));
    if let Some(idle) = layers.as_ref().filter(|chosen| !chosen.iter().any(|id| network.layers().contains(id))) {
        let first = idle.first().and_then(|&id| model.layer(id)).map_or("", |l| l.name.as_str());
        let what = format!("{}: runs without the layers of --layers, such as {first}", model.path.display());
        return Err(CliError::Input(anyhow::anyhow!("{what}; leave --layers out to see which it hears")));
    }
    // Three quarters of what is free once the network is there, less what its gradients will take.
    let gradients = if args.no_gradients { 0 } else { 4 * model.params() };
    let room = common.memory.unwrap_or_else(|| (3 * default_memory()).saturating_sub(gradients));
    let options = Options { layers, room, gradients: !args.no_gradients, ..Options::default() };
    let asked = stop_on_interrupt();
    let (mut meter, start) = (Meter::default(), Instant::now());
    let result = calibrate(&network, &model, &slice, &options, &mut |share| {
        meter.share("calibrating", share, start.elapsed());
        !asked()
    });
    meter.clear();
    let stopped = || CliError::Interrupted(format!("stopped; {} was not written", args.output.display()));
    let calibration = result.map_err(failed)?.ok_or_else(stopped)?;
    let piped = to_stdout(&args.output);
    let into = if piped {
        std::env::temp_dir().join(format!("slimscope-{}", std::process::id()))
    } else {
        args.output.clone()
    };
    let size = calibration.write(&model, &into, &mut || !asked()).map_err(told)?.ok_or_else(stopped)?;
    for remark in &calibration.remarks {
        remark!("note: {remark}");
    }
    if piped {
        // Only the file goes to standard output: a report would end up inside it.
        let copied = std::fs::File::open(&into).and_then(|mut f| std::io::copy(&mut f, &mut std::io::stdout().lock()));
        let _ = std::fs::remove_file(&into);
        return Ok(copied.map(drop)?);
    }
    match args.format {
        InspectFormat::Json => line(&object(&calibration, size, &args.output, &device::named(&place)).to_string()),
        InspectFormat::Table => table(&calibration, size, &args.output, &device::named(&place)),
    }
}

/// The data; those that quality is measured on only when asked for, with a note.
fn data(model: &Model, args: &CalibrateArgs) -> Result<Data, CliError> {
    let Some(path) = &args.data else {
        return Err(CliError::Usage(format!(
            "{}: name the data to run on with --data FILE: a text, or images with labels, other than what quality is \
             measured on",
            args.model.display()
        )));
    };
    let data = Data { begin: args.begin.into(), ..Data::open(path, model).map_err(told)? };
    let beside = Data::beside(model).ok().flatten();
    if beside.is_some_and(|b| same(&b.path, path)) {
        remark!("note: {} is what quality is measured on: results will look better than they are", path.display());
    }
    Ok(data)
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Told before the work rather than after it.
fn writable(model: &Model, data: &Data, path: &Path) -> Result<(), CliError> {
    let refuse = |why: &str| Err(CliError::Input(anyhow::anyhow!("{}: {why}", path.display())));
    if path.is_dir() {
        return refuse("is a folder; name a file in it");
    }
    if model.files.iter().any(|f| same(&f.path, path)) || same(&data.path, path) {
        return refuse("holds the model or the data; choose another name");
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() { Ok(()) } else { refuse("cannot be written; choose a folder that exists") }
}

/// Layers that multiply and match.
fn chosen(model: &Model, globs: &[String]) -> Result<Vec<LayerId>, CliError> {
    matching(model, "--layers", globs, |l| l.kind.is_conv() || l.kind == crate::model::Kind::Linear)
}

fn told(error: DataError) -> CliError {
    CliError::Input(error.into())
}

fn failed(error: CalibrateError) -> CliError {
    match error {
        CalibrateError::Run(error @ (RunError::NotRunnable { .. } | RunError::Device(_))) => {
            CliError::Usage(error.to_string())
        }
        CalibrateError::Run(RunError::Open(error)) => error.into(),
        error => CliError::Input(error.into()),
    }
}

fn not_run(model: &Model, why: &str) -> CliError {
    let path = model.path.display();
    CliError::Usage(format!("{path}: slimscope does not run it: {why}; assets/calibrate.py does the same with PyTorch"))
}

fn object(calibration: &Calibration, size: u64, path: &Path, device: &str) -> serde_json::Value {
    let gradients = calibration.layers.iter().filter(|l| l.gradient.is_some()).count();
    let mut object = json!({
        "layers": calibration.layers.len(),
        "tokens": calibration.tokens,
        "seconds": calibration.seconds,
        "written": path.display().to_string(),
        "bytes": size,
        "gradients": gradients,
        "data": calibration.data,
        "context": calibration.context,
        "device": device,
    });
    if !calibration.remarks.is_empty() {
        object["note"] = json!(calibration.remarks.join("; "));
    }
    object
}

fn table(calibration: &Calibration, size: u64, path: &Path, device: &str) -> Result<(), CliError> {
    let root_mean = |values: &[f64]| (values.iter().sum::<f64>() / values.len().max(1) as f64).sqrt();
    let mut table = Table::new(&["layer", ">inputs", ">rows", ">rms input", ">largest", ">rms gradient", "kept"]);
    for (heard, moments) in calibration.moments() {
        let diagonal = moments.diagonal();
        let largest = diagonal.iter().fold(0.0f64, |a, &b| a.max(b)).sqrt();
        let gradient = heard.gradient.as_ref();
        table.row(vec![
            heard.name.clone(),
            moments.columns().to_string(),
            grouped(moments.rows()),
            number(root_mean(&diagonal)),
            number(largest),
            gradient.map_or_else(|| "–".to_owned(), |g| number(root_mean(&g.diagonal()))),
            if moments.has_gram() { "gram" } else { "diagonal" }.to_owned(),
        ]);
    }
    table.lines().try_for_each(|l| line(&l))?;
    line("")?;
    let unit = if calibration.context.is_some() { "tokens" } else { "examples" };
    let seconds = calibration.seconds;
    line(&format!("{} {unit} of {}, in {seconds:.1} s on {device}", grouped(calibration.tokens), calibration.data))?;
    line(&format!("written: {}, {}", path.display(), bytes(size)))
}
