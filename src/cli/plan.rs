//! Makes a plan, or shows what one amounts to.

mod ask;

use super::args::{Common, InspectFormat, PlanArgs};
use super::error::CliError;
use super::gather::Gather;
use super::measured;
use super::output::{Meter, line, matching, open_noted, settings, stop_on_interrupt, to_stdout, write_whole};
use super::sessions;
use crate::engine::{Settings, weigh};
use crate::model::{Layer, LayerId, Model};
use crate::plan::budget::BudgetError;
use crate::plan::file::{Budget, Made, PlanFile, fingerprint};
use crate::plan::rule::Chosen;
use crate::plan::setting::{Rank, Setting};
use crate::plan::{Entry, Plan, Treatment, project};
use crate::probe::book::{FactBook, LayerFacts};
use crate::probe::{PROBES, Probe};
use crate::report::plan::{Summary, json, table};
pub use ask::unit;
use ask::{Same, Wish};

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Makes a plan.
pub fn run(common: &Common, args: &PlanArgs) -> Result<(), CliError> {
    let wish = Wish::of(args)?;
    if args.format == InspectFormat::Json && args.output.as_deref().is_some_and(to_stdout) {
        return Err(CliError::Usage("-o - and --format json: both are standard output; leave one out".to_owned()));
    }
    let (mut model, weights) = open_noted(Some(&args.model), args.calibration.as_deref())?;
    named(&mut model, &args.layers);
    let model = Arc::new(model);
    let (mut plan, before) = match (&args.plan, &args.replay) {
        (Some(path), _) => read_made(path, &model, args.force)?,
        (None, Some(path)) => (sessions::replay(path, &model, args.force)?.plan, Made::default()),
        (None, None) => (Plan::new(model.layers.len()), Made::default()),
    };
    let given = plan.bare();
    for pin in &args.pin {
        let glob = pin.strip_suffix("=dense").ok_or_else(|| {
            CliError::Usage(format!("--pin {pin}: a layer is pinned as GLOB=dense, such as '*.lm_head=dense'"))
        })?;
        for id in matching(&model, "--pin", &[glob.to_owned()], Layer::eligible)? {
            plan.set(id, Entry { treatment: Treatment::default(), pinned: true });
        }
    }
    let pins: Vec<LayerId> = model.layers.iter().map(|l| l.id).filter(|id| plan.entry(*id).pinned).collect();
    let chosen = matching(&model, "--layers", &args.layers, |l| l.eligible() && l.tied_to.is_none())?;
    if !args.layers.is_empty() {
        // The others stay as they are: pinned until this plan is made.
        for layer in model.layers.iter().filter(|l| l.eligible() && !chosen.contains(&l.id)) {
            plan.set(layer.id, Entry { pinned: true, ..plan.entry(layer.id) });
        }
    }
    if let Wish::Search(wish) = &wish {
        measured::improve(common, &model, &weights, &mut plan, wish)?;
    }
    let facts = measure(common, &model, weights.clone(), &plan, &wish)?;
    // What holds NaN or infinity has no errors and cannot be applied: said by name.
    for layer in model.layers.iter().filter(|l| l.eligible() && !plan.entry(l.id).pinned) {
        if let Some(why) = &facts.of(layer.id).failure {
            remark!("note: {}: {why}", layer.name);
        }
    }
    let (mut made, mut binding) = apply(&model, &facts, &mut plan, &wish)?;
    if plan.same(&given) {
        // Looked at, not changed: it was made as it was made.
        (made.allocator, made.budget) = (before.allocator, before.budget);
    }
    if !args.layers.is_empty() {
        binding.retain(|b| !b.starts_with("pinned: ") || pins.iter().any(|id| b.ends_with(&model.layers[id.0].name)));
        binding.push(format!("--layers: {} of {} layers", chosen.len(), eligible(&model)));
    }
    if !args.layers.is_empty() {
        for layer in model.layers.iter().filter(|l| l.eligible() && !chosen.contains(&l.id)) {
            plan.set(layer.id, Entry { pinned: pins.contains(&layer.id), ..plan.entry(layer.id) });
        }
    }
    binding.extend(untouched(&model, &wish));
    let file = PlanFile::of(&model, &plan, made.clone());
    match &args.output {
        Some(path) if to_stdout(path) => return Ok(std::io::stdout().lock().write_all(file.text().as_bytes())?),
        Some(path) => write_whole(path, file.text().as_bytes())?,
        None => {}
    }
    let mut outcome = project(&model, &facts, &vec![None; model.layers.len()], &plan);
    if args.calibration.is_some() {
        outcome.settle(&model, &plan, &weighed(common, &model, &weights, &plan)?);
    }
    let summary = Summary {
        model: &model,
        fingerprint: fingerprint(&model),
        made: &made,
        plan: &plan,
        binding: &binding,
        by_calibration: &wish.by_calibration(args, &model, &plan),
        outcome: &outcome,
    };
    match args.format {
        InspectFormat::Json => line(&json(&summary).to_string()),
        InspectFormat::Table => table(&summary).iter().try_for_each(|l| line(l)),
    }
}

/// Runs the plan for what it does to the layers' outputs.
fn weighed(
    common: &Common,
    model: &Model,
    weights: &crate::source::Weights,
    plan: &Plan,
) -> Result<Vec<(LayerId, crate::plan::Ran)>, CliError> {
    let asked = stop_on_interrupt();
    let (meter, start) = (std::sync::Mutex::new(Meter::default()), std::time::Instant::now());
    let mut settings = settings(common);
    settings.threads = common.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let tell = |done: usize, all: usize| {
        if let Ok(mut meter) = meter.lock() {
            meter.share("weighing", done as f64 / all.max(1) as f64, start.elapsed());
        }
    };
    let found = weigh(model, weights, plan, &settings, &tell, &|| !asked());
    if let Ok(mut meter) = meter.lock() {
        meter.clear();
    }
    if asked() {
        return Err(CliError::Interrupted("stopped: the plan was not weighed to the end".to_owned()));
    }
    found.map_err(|why| CliError::Input(anyhow::anyhow!("{}: {why}", model.path.display())))
}

/// Marks layers that are asked for by name, as routers, heads and bits of `Conv1D` have to be.
fn named(model: &mut Model, globs: &[String]) {
    let patterns: Vec<glob::Pattern> = globs.iter().filter_map(|g| glob::Pattern::new(g).ok()).collect();
    // A pattern for everything names nothing.
    let names = |p: &glob::Pattern, name: &str| !p.as_str().trim_matches('*').is_empty() && p.matches(name);
    for layer in &mut model.layers {
        layer.asked = patterns.iter().any(|p| names(p, &layer.name));
    }
}

/// What a setting for all layers left as it was, in words.
fn untouched(model: &Model, wish: &Wish) -> Vec<String> {
    let free = || model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none() && !l.asked);
    let words = |n: usize| if n == 1 { "1 layer".to_owned() } else { format!("{n} layers") };
    let mut out = Vec::new();
    let routers = free().filter(|l| l.by_name_only()).count();
    if routers > 0 && !matches!(wish, Wish::Nothing) {
        out.push(format!("routers stay dense unless --layers names them: {}", words(routers)));
    }
    let bits = free().filter(|l| l.keeps_bits() && !l.by_name_only()).count();
    if bits > 0 && matches!(wish, Wish::Same(same) if same.bits.is_some()) {
        out.push(format!("bits of heads and Conv1D stay unless --layers names them: {}", words(bits)));
    }
    out
}

/// Layers that may be treated.
fn eligible(model: &Model) -> usize {
    model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none()).count()
}

/// Reads a plan for a model.
pub fn read(path: &Path, model: &Model, force: bool) -> Result<Plan, CliError> {
    read_made(path, model, force).map(|(plan, _)| plan)
}

/// Reads a plan for a model, and how it was made.
pub fn read_made(path: &Path, model: &Model, force: bool) -> Result<(Plan, Made), CliError> {
    let named = |e: &dyn std::fmt::Display| CliError::Input(anyhow::anyhow!("{}: {e}", path.display()));
    let text = crate::source::regular::text(path, 256 << 20).map_err(|e| named(&e))?;
    let file = PlanFile::parse(&text).map_err(|e| named(&e))?;
    let plan = file.plan(model, force).map_err(|e| named(&e))?;
    Ok((plan, file.made.unwrap_or_default()))
}

/// Measures what a plan's outcome hangs on.
pub fn measured(
    common: &Common,
    model: &Arc<Model>,
    weights: crate::source::Weights,
    plan: &Plan,
) -> Result<FactBook, CliError> {
    measure(common, model, weights, plan, &Wish::Nothing)
}

fn measure(
    common: &Common,
    model: &Arc<Model>,
    weights: crate::source::Weights,
    plan: &Plan,
    wish: &Wish,
) -> Result<FactBook, CliError> {
    let wanted = wish.probes(plan, model);
    let probes: Vec<&'static dyn Probe> = PROBES.iter().copied().filter(|p| wanted.contains(&p.id())).collect();
    let layers: Vec<LayerId> =
        model.layers.iter().filter(|l| l.eligible() && l.measurable() && l.tied_to.is_none()).map(|l| l.id).collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = Settings { threads: common.threads.unwrap_or(cores).max(1), ..settings(common) };
    Gather { model, weights, layers: &layers, probes, certify: false, settings }.run(&mut |_, _| Ok(()))
}

/// Applies the settings given for every layer to one layer. A setting that does not apply is reported and left out.
fn set(layer: &Layer, facts: &LayerFacts, entry: Entry, same: &Same) -> Entry {
    let full = same.form.full_rank(layer);
    // At the full rank two factors hold more than the matrix, and nothing is lost by it: that is dense.
    let rank = same.rank.map(|rank| match rank {
        Rank::Of(rank) if rank >= full => Rank::Dense,
        Rank::Share(share) if (share * full as f64).round() as usize >= full => Rank::Dense,
        rank => rank,
    });
    let settings = [
        rank.map(|rank| Setting::Rank(rank, same.form)),
        same.pruning(layer).map(|how| Setting::Prune(Some(how))),
        same.bits.filter(|_| layer.asked || !layer.keeps_bits()).map(|how| Setting::Bits(Some(how))),
    ];
    settings.into_iter().flatten().fold(entry, |entry, setting| match setting.on(layer, facts, entry) {
        Ok(made) => made,
        Err(why) => {
            remark!("note: {}: {why}: it stays as it is", layer.name);
            entry
        }
    })
}

/// Puts what was asked for into the plan; how it was made.
fn apply(model: &Model, facts: &FactBook, plan: &mut Plan, wish: &Wish) -> Result<(Made, Vec<String>), CliError> {
    let mut made = Made { by: format!("slimscope {}", env!("CARGO_PKG_VERSION")), ..Made::default() };
    let mut binding = Vec::new();
    match wish {
        Wish::Nothing => {}
        Wish::Same(same) => {
            for layer in model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none()) {
                let entry = plan.entry(layer.id);
                if !entry.pinned && !layer.by_name_only() {
                    plan.set(layer.id, set(layer, facts.of(layer.id), entry, same));
                }
            }
            made.allocator = Some(same.rule().map_or_else(|| "uniform".to_owned(), Chosen::name));
        }
        Wish::Budget(allocator, ask) => {
            let spread = allocator.plan(model, facts, plan, *ask).map_err(|e| match e {
                BudgetError::Unsuited(why) => CliError::Usage(format!("--allocator {why}")),
                other => CliError::Input(anyhow::anyhow!("{}: {other}", model.path.display())),
            })?;
            for (id, treatment) in spread.treatments {
                plan.set(id, Entry { treatment, ..plan.entry(id) });
            }
            made.allocator = Some(allocator.name.to_owned());
            binding = spread.binding;
            made.budget = Some(Budget { of: ask.of.word().to_owned(), keep: ask.keep });
        }
        // The plan was found already.
        Wish::Search(wish) => {
            made.allocator = Some("measured".to_owned());
            made.budget = Some(Budget { of: wish.of.word().to_owned(), keep: wish.keep });
        }
    }
    Ok((made, binding))
}
