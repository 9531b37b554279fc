//! `plan --allocator measured`: choices weighed by activations, spread, and improved by measured trials.

use super::args::{Common, Measuring, PlanArgs, Treat};
use super::error::CliError;
use super::output::{Meter, settings, stop_on_interrupt};
use crate::engine::quality::KeptInCache;
use crate::evaluate::data::Wanted;
use crate::evaluate::{
    Data, Families, Found, Goal, Kept, Metric, Network, RunError, SearchError, Slice, Trials, device::device,
    difference, menus, scorable, search,
};
use crate::model::{LayerId, Model};
use crate::plan::budget::Unit;
use crate::plan::{Entry, Pattern, Plan, Treatment, project};
use crate::probe::book::FactBook;
use crate::source::Weights;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is asked for.
pub struct Wish {
    /// The share that stays, and of what.
    pub keep: f64,
    /// Of what.
    pub of: Unit,
    families: Families,
    time: Duration,
    measuring: Measuring,
}

impl Wish {
    /// From the command line.
    pub fn of(args: &PlanArgs, keep: f64) -> Result<Self, CliError> {
        let of = super::plan::unit(args.of);
        let (pattern, own) = args.pattern_or(Pattern::Unstructured);
        let refuse = |what: &str| Err(CliError::Usage(format!("--allocator measured: {what}")));
        if own.is_some() {
            return refuse("for a budget name only the group of a pattern, such as 0:4, or leave it out");
        }
        if args.floor > 0.0 || args.ceiling < 1.0 || !args.group.is_empty() || args.multiple.is_some() {
            return refuse("trials take no floor, ceiling, group or multiple");
        }
        if args.criterion.is_some() {
            return refuse(
                "it chooses the criterion itself: obs-refit where there are activations; leave out --criterion",
            );
        }
        let families = match args.by {
            Some(Treat::Bits) => return refuse("bits are not searched"),
            Some(Treat::Rank) => Families { prune: None, rank: true, both: false },
            Some(Treat::Prune) => Families { prune: Some(pattern), rank: false, both: false },
            Some(Treat::Either) => Families { prune: Some(pattern), rank: true, both: false },
            None => Families { prune: Some(pattern), rank: true, both: true },
        };
        let time = args.time.unwrap_or(Duration::from_secs(60));
        Ok(Self { keep, of, families, time, measuring: args.measuring.clone() })
    }
}

/// Finds the plan. What was found is told on standard error.
pub fn improve(
    common: &Common,
    model: &Arc<Model>,
    weights: &Weights,
    plan: &mut Plan,
    wish: &Wish,
) -> Result<Found, CliError> {
    scorable(model).map_err(|why| {
        CliError::Usage(format!("{}: --allocator measured measures the model: {why}", model.path.display()))
    })?;
    let slice = slice(model, &wish.measuring)?;
    let device = device(None).map_err(failed)?;
    let free: Vec<LayerId> = model
        .layers
        .iter()
        .filter(|l| l.eligible() && l.tied_to.is_none() && !plan.entry(l.id).pinned && !l.by_name_only())
        .map(|l| l.id)
        .collect();
    let asked = stop_on_interrupt();
    let wanted = || !asked();
    let settings = settings(common);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(common.threads.unwrap_or(cores).max(1)).build();
    let pool = Arc::new(pool.map_err(|e| CliError::Usage(format!("--threads: {e}")))?);
    let (begun, all) = (Instant::now(), free.len().max(1));
    let meter = std::sync::Mutex::new(Meter::default());
    let told = |done: usize| {
        if let Ok(mut meter) = meter.lock() {
            meter.share("weighing choices", done as f64 / all as f64, begun.elapsed());
        }
    };
    let menus = pool.install(|| menus(model, weights, &free, (wish.of, wish.families), &wanted, &told));
    let mut meter = meter.into_inner().unwrap_or_default();
    meter.clear();
    let menus = menus.map_err(failed)?;
    let fixed: Vec<Treatment> = model.layers.iter().map(|l| plan.treatment(l.id)).collect();
    let fixed: Vec<Treatment> = fixed
        .into_iter()
        .enumerate()
        .map(|(i, t)| if free.contains(&LayerId(i)) { Treatment::default() } else { t })
        .collect();
    let budget = budget(model, &fixed, &menus, wish);
    let network = Network::load(model, weights, &device).map_err(failed)?.on(pool);
    let kept = settings.cache.clone().map(|cache| Arc::new(KeptInCache(cache)) as Arc<dyn Kept>);
    let mut trials = Trials::new(Arc::clone(model), weights.clone(), network, settings.memory, kept).map_err(failed)?;
    // The time is for all of it.
    let weighing = begun.elapsed();
    let time = wish.time.saturating_sub(weighing);
    if time < wish.time / 2 {
        let told = |t: Duration| crate::widgets::number::duration(t);
        remark!(
            "note: weighing what could be done took {} of {}: give --time more for trials",
            told(weighing),
            told(wish.time)
        );
    }
    let goal = Goal { model, menus: &menus, budget, fixed, slice: &slice, time, seed: 1 };
    let begun = Instant::now();
    let found = search(&mut trials, &goal, &wanted, &mut |p| {
        let title =
            format!("{} trials, {} better, loss {:.4} (dense {:.4})", p.trials, p.improved, p.nats[1], p.nats[0]);
        meter.share(&title, p.share, begun.elapsed());
    });
    meter.clear();
    let found = found.map_err(|error| match error {
        SearchError::OutOfReach(why) => {
            let whole = whole(model, wish.of).max(1.0);
            let least = 100.0 * (wish.keep * whole - budget + why.least) / whole;
            CliError::Input(anyhow::anyhow!(
                "{}: keeping {:.1}% of the {} is out of reach; the least that can be kept is {least:.1}%",
                model.path.display(),
                wish.keep * 100.0,
                wish.of.word()
            ))
        }
        SearchError::Run(error) => failed(error),
        SearchError::Stopped => CliError::Interrupted("stopped before a plan was measured".to_owned()),
    })?;
    for (layer, treatment) in model.layers.iter().zip(&found.plan) {
        let entry = plan.entry(layer.id);
        if free.contains(&layer.id) {
            plan.set(layer.id, Entry { treatment: *treatment, ..entry });
        }
    }
    tell(&found, &slice);
    Ok(found)
}

/// What trials are measured on.
fn slice(model: &Model, measuring: &Measuring) -> Result<Slice, CliError> {
    let named = |e: crate::evaluate::DataError| CliError::Input(e.into());
    let data = match &measuring.data {
        Some(path) => Data::open(path, model).map_err(named)?,
        None => Data::beside(model).map_err(named)?.ok_or_else(|| {
            let path = model.path.display();
            CliError::Usage(format!(
                "{path}: no eval.safetensors lies beside it: --data FILE names what trials are measured on"
            ))
        })?,
    };
    let range = data.range(measuring.slice.unwrap_or(Wanted::ALL)).map_err(named)?;
    data.slice(model, range, measuring.context).map_err(named)
}

/// What everything takes untreated.
fn whole(model: &Model, of: Unit) -> f64 {
    let dense = Plan::new(model.layers.len());
    of.after(&outcome(model, &dense))
}

fn outcome(model: &Model, plan: &Plan) -> crate::plan::Totals {
    project(model, &FactBook::new(model.layers.len()), &vec![None; model.layers.len()], plan).totals
}

/// What the free layers may take together.
fn budget(model: &Model, fixed: &[Treatment], menus: &[crate::evaluate::LayerMenu], wish: &Wish) -> f64 {
    let mut plan = Plan::new(model.layers.len());
    for (layer, treatment) in model.layers.iter().zip(fixed) {
        plan.set(layer.id, Entry { treatment: *treatment, pinned: false });
    }
    let free: f64 = menus.iter().filter_map(|m| m.options.first()).map(|dense| dense.cost).sum();
    wish.keep * whole(model, wish.of) - (wish.of.after(&outcome(model, &plan)) - free)
}

/// Says what was found, and how far to trust it.
fn tell(found: &Found, slice: &Slice) {
    let d = difference(&found.measured, &found.dense);
    let unit = if found.dense.metric == Metric::Accuracy { "accuracy" } else { "bits/byte" };
    let [trials, better] = found.trials;
    remark!(
        "measured on {}: {unit} {:.4} dense, {:.4} under the plan; {trials} trials, {better} better than all before",
        slice.name,
        found.dense.value,
        found.measured.value
    );
    remark!(
        "excess loss {:.4} ±{:.4} nats, from {:.4} where the search began ({})",
        d.nats,
        d.nats_error,
        found.began.1.nats,
        found.began.0
    );
    if let Some(predicted) = found.predicted {
        remark!("the layers' expected losses add up to {predicted:.4} nats: the rest is how they act on each other");
    }
    remark!("this slice chose the plan, so its loss is optimistic: run `slimscope evaluate --plan` on other data");
}

fn failed(error: RunError) -> CliError {
    match error {
        RunError::NotRunnable { .. } | RunError::Device(_) => CliError::Usage(error.to_string()),
        RunError::Stopped => CliError::Interrupted("stopped: no plan was measured".to_owned()),
        RunError::Open(error) => error.into(),
        error => CliError::Input(error.into()),
    }
}
