//! Makes a plan, or shows what one amounts to.

use super::args::{Common, Errors, Group, InspectFormat, Of, PlanArgs, Treat};
use super::error::CliError;
use super::gather::Gather;
use super::measured;
use super::output::{Meter, line, matching, open_noted, settings, stop_on_interrupt, write_whole};
use super::sessions;
use crate::engine::{Settings, weigh};
use crate::model::{Layer, LayerId, Model};
use crate::plan::budget::{ALLOCATORS, Ask, BudgetError, Groups, Means, Unit, allocator};
use crate::plan::file::{Budget, Made, PlanFile, fingerprint};
use crate::plan::rule::{self, Chosen, RULES};
use crate::plan::{
    CRITERIA, Criterion, Entry, Factors, Granularity, Pattern, Plan, Prune, Quantise, Treatment, project,
};
use crate::probe::book::FactBook;
use crate::probe::{PROBES, Probe, ProbeId};
use crate::report::plan::{Summary, json, table};

use std::path::Path;
use std::sync::Arc;

/// Makes a plan.
pub fn run(common: &Common, args: &PlanArgs) -> Result<(), CliError> {
    let wish = Wish::of(args)?;
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
    let form = Factors::parse(&args.factors).unwrap_or_default();
    let (mut made, mut binding) = apply(&model, &facts, &mut plan, &wish, form)?;
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
    if let Some(path) = &args.output {
        write_whole(path, file.text().as_bytes())?;
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
    if bits > 0 && matches!(wish, Wish::Same(_, Some(_))) {
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

/// What the options ask for.
enum Wish {
    /// Nothing beyond the plan that was given.
    Nothing,
    /// The same for every layer.
    Same(Option<Same>, Option<Quantise>),
    /// A budget.
    Budget(&'static crate::plan::budget::Allocator, Ask),
    /// A budget met by measured trials.
    Search(Box<measured::Wish>),
}

enum Same {
    Prune(Prune),
    Share(f64),
    Rank(usize),
    Rule(Chosen, Factors),
}

impl Wish {
    #[allow(clippy::too_many_lines, reason = "one option after the other")]
    fn of(args: &PlanArgs) -> Result<Self, CliError> {
        let usage = |text: String| Err(CliError::Usage(text));
        let criterion = criterion(args)?;
        let form = Factors::parse(&args.factors).is_some_and(Factors::weighs);
        let needing = [
            (criterion.weighs(), format!("--criterion {}", args.criterion)),
            (form, format!("--factors {}", args.factors)),
            (args.errors == Errors::Outputs, "--errors outputs".to_owned()),
            (["owl", "dlp"].contains(&args.allocator.as_str()), format!("--allocator {}", args.allocator)),
        ];
        if let Some((_, what)) = needing.iter().find(|(needs, _)| *needs && args.calibration.is_none()) {
            return usage(format!("{what}: needs activations: --calibration FILE, made by `slimscope calibrate`"));
        }
        if args.errors == Errors::Outputs && args.budget.is_none() {
            return usage("--errors outputs: is what a budget is spread by: --budget F".to_owned());
        }
        let (pattern, own) = args.pattern_or(criterion.way().pattern).map_err(CliError::Usage)?;
        let share = |name: &str, s: f64| {
            if s > 0.0 && s <= 1.0 {
                Ok(s)
            } else {
                Err(CliError::Usage(format!("{name} {s}: a share above 0, at most 1")))
            }
        };
        let bits = bits(args)?;
        consistent(args)?;
        let ranks = [args.keep_rank.is_some(), args.rank.is_some(), args.rank_rule.is_some()];
        let given = [args.prune.is_some(), ranks[0], ranks[1], ranks[2], args.budget.is_some()];
        let asked = given.iter().filter(|g| **g).count();
        if asked > 1 {
            return usage("one of --prune, --keep-rank, --rank, --rank-rule and --budget".to_owned());
        }
        if let Some(remove) = args.prune.or(own.filter(|_| asked == 0)) {
            let remove = pattern.on_grid(share("--prune", remove)?);
            if own.is_some_and(|own| (own - remove).abs() > 1e-9) {
                return usage(format!("--pattern {} says what goes: leave out --prune", pattern.name(remove)));
            }
            return Ok(Self::Same(Some(Same::Prune(Prune { criterion, ..Prune::of(remove, pattern) })), bits));
        }
        if let Some(keep) = args.keep_rank {
            return Ok(Self::Same(Some(Same::Share(share("--keep-rank", keep)?)), bits));
        }
        if let Some(rank) = args.rank {
            return match rank {
                0 => usage("--rank 0: at least 1".to_owned()),
                _ => Ok(Self::Same(Some(Same::Rank(rank)), bits)),
            };
        }
        if let Some(text) = &args.rank_rule {
            return Ok(Self::Same(
                Some(Same::Rule(ruled(text)?, Factors::parse(&args.factors).unwrap_or_default())),
                bits,
            ));
        }
        let Some(keep) = args.budget else {
            if bits.is_some() {
                return Ok(Self::Same(None, bits));
            }
            if args.plan.is_none() && args.replay.is_none() {
                return usage(
                    "what to do? --prune R, --keep-rank F, --rank K, --rank-rule RULE, --bits B, --budget F, or --plan PLAN.toml to look at"
                        .to_owned(),
                );
            }
            return Ok(Self::Nothing);
        };
        if bits.is_some() {
            return usage(
                "--budget spreads what is removed or kept: round its plan with --plan PLAN.toml --bits B".to_owned(),
            );
        }
        if args.allocator == "measured" {
            return Ok(Self::Search(Box::new(measured::Wish::of(args, share("--budget", keep)?)?)));
        }
        let Some(chosen) = allocator(&args.allocator) else {
            let known: Vec<String> = ALLOCATORS.iter().map(|a| format!("{}: {}", a.name, a.words)).collect();
            let why = "not one of";
            return usage(format!("--allocator {}: {why}\n  {}", args.allocator, known.join("\n  ")));
        };
        let by = args.by.unwrap_or(Treat::Prune);
        if let Some(own) = own.filter(|_| by != Treat::Rank) {
            return usage(format!(
                "--pattern {} removes {own} of every layer: for a budget name only the group, or leave out --budget",
                pattern.name(own)
            ));
        }
        let of = match args.of {
            Of::Params => Unit::Params,
            Of::Bytes => Unit::Bytes,
            Of::Macs => Unit::Macs,
            Of::Stored => Unit::Stored,
        };
        let means = match by {
            Treat::Prune => Means::Prune(pattern),
            Treat::Rank => Means::Rank(args.multiple.max(1)),
            Treat::Either => Means::Either(pattern, args.multiple.max(1)),
            Treat::Bits => Means::Bits(Granularity::parse(&args.bits_per).unwrap_or_default()),
        };
        let (floor, ceiling) = (args.floor, args.ceiling);
        if !(0.0..=1.0).contains(&floor) || !(0.0..=1.0).contains(&ceiling) || floor > ceiling {
            return usage(format!("--floor {floor} --ceiling {ceiling}: shares between 0 and 1, the floor below"));
        }
        let groups = Groups { qkv: args.group.contains(&Group::Qkv), gate_up: args.group.contains(&Group::GateUp) };
        let keep = share("--budget", keep)?;
        let form = Factors::parse(&args.factors).unwrap_or_default();
        let ask =
            Ask { keep, of, means, floor, ceiling, groups, criterion, form, weighted: args.errors == Errors::Outputs };
        chosen.suits(&ask).map_err(|why| CliError::Usage(format!("--allocator {why}")))?;
        Ok(Self::Budget(chosen, ask))
    }

    /// What has to be known of each layer.
    fn probes(&self, plan: &Plan, model: &Model) -> Vec<ProbeId> {
        let given = model.layers.iter().map(|l| plan.treatment(l.id));
        let (mut patterns, mut ranks, mut rounds, mut shares) = (false, false, false, false);
        let mut more = Vec::new();
        for t in given {
            rounds |= t.quantise.is_some();
            patterns |= t.prune.is_some_and(|p| p.pattern != Pattern::Unstructured);
            shares |= t.prune.is_some_and(|p| p.criterion == Criterion::RelativeImportance);
            ranks |= t.rank.is_some();
        }
        match self {
            // What is chosen is weighed by itself.
            Self::Nothing | Self::Search(_) => {}
            Self::Same(same, bits) => {
                rounds |= bits.is_some();
                match same {
                    Some(Same::Prune(p)) => {
                        patterns |= p.pattern != Pattern::Unstructured;
                        shares |= p.criterion == Criterion::RelativeImportance;
                    }
                    Some(Same::Share(_) | Same::Rank(_)) => ranks = true,
                    Some(Same::Rule(rule, form)) => {
                        ranks = true;
                        more.extend((rule.rule.holds && *form == Factors::Whitened).then_some(ProbeId::Weighted));
                    }
                    None => {}
                }
            }
            Self::Budget(allocator, ask) => {
                patterns |= matches!(ask.means, Means::Prune(p) | Means::Either(p, _) if p != Pattern::Unstructured);
                rounds |= matches!(ask.means, Means::Bits(_));
                shares |= ask.criterion == Criterion::RelativeImportance;
                ranks |= matches!(ask.means, Means::Rank(_) | Means::Either(..));
                more.extend_from_slice(allocator.needs);
                more.extend(ask.weighted.then_some(ProbeId::Weighted));
            }
        }
        let mut out = vec![ProbeId::Magnitude, ProbeId::Lipschitz];
        out.extend(patterns.then_some(ProbeId::Structure));
        out.extend(rounds.then_some(ProbeId::Rounding));
        out.extend(shares.then_some(ProbeId::Importance));
        out.extend(ranks.then_some(ProbeId::Spectrum));
        out.extend(more);
        out.extend(ranks.then_some(ProbeId::Spatial));
        out
    }
}

/// By what it is to be chosen what goes.
fn criterion(args: &PlanArgs) -> Result<Criterion, CliError> {
    let usage = |text: String| Err(CliError::Usage(text));
    match Criterion::parse(&args.criterion) {
        Some(criterion) if criterion != Criterion::Magnitude && args.prune.is_none() && args.budget.is_none() => {
            usage(format!("--criterion {}: say how much goes with --prune R or --budget F", args.criterion))
        }
        Some(criterion) => Ok(criterion),
        None => {
            let known: Vec<String> = CRITERIA.iter().map(|w| format!("{}: {}", w.name, w.words)).collect();
            usage(format!("--criterion {}: not one of\n  {}", args.criterion, known.join("\n  ")))
        }
    }
}

/// The rule of a name.
fn ruled(text: &str) -> Result<Chosen, CliError> {
    match rule::parse(text) {
        Some(Ok(rule)) => Ok(rule),
        Some(Err(why)) => Err(CliError::Usage(format!("--rank-rule {text}: {why}"))),
        None => {
            let known: Vec<String> = RULES.iter().map(|r| format!("{}: {}", r.name, r.words)).collect();
            Err(CliError::Usage(format!("--rank-rule {text}: not one of\n  {}", known.join("\n  "))))
        }
    }
}

/// Refuses options that would be passed over.
fn consistent(args: &PlanArgs) -> Result<(), CliError> {
    let ranks = args.keep_rank.is_some() || args.rank.is_some() || args.rank_rule.is_some();
    if let Some(pattern) = args.pattern.as_ref().filter(|_| ranks) {
        return Err(CliError::Usage(format!("--pattern {pattern}: is of pruning; --prune R says how much")));
    }
    if args.multiple == 0 {
        return Err(CliError::Usage("--multiple 0: at least 1".to_owned()));
    }
    Ok(())
}

/// What entries are to be rounded to.
fn bits(args: &PlanArgs) -> Result<Option<Quantise>, CliError> {
    let per = Granularity::parse(&args.bits_per).ok_or_else(|| {
        CliError::Usage(format!("--bits-per {}: tensor, row, group:32, group:64 or group:128", args.bits_per))
    })?;
    Ok(args.bits.map(|bits| Quantise { bits, per }))
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

/// Puts what was asked for into the plan; how it was made.
fn apply(
    model: &Model,
    facts: &FactBook,
    plan: &mut Plan,
    wish: &Wish,
    form: Factors,
) -> Result<(Made, Vec<String>), CliError> {
    let mut made = Made { by: format!("slimscope {}", env!("CARGO_PKG_VERSION")), ..Made::default() };
    let mut binding = Vec::new();
    match wish {
        Wish::Nothing => {}
        Wish::Same(same, bits) => {
            for layer in model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none()) {
                let entry = plan.entry(layer.id);
                if entry.pinned || layer.by_name_only() {
                    continue;
                }
                let form = if form.apply_to(layer) { form } else { Factors::Matrix };
                let full = form.full_rank(layer);
                let mut treatment = match same {
                    Some(Same::Prune(prune)) => {
                        if let Err(why) = prune.criterion.applies(layer, prune.pattern) {
                            remark!("note: {}: {}: {why}: it stays as it is", prune.criterion.name(), layer.name);
                            continue;
                        }
                        Treatment { prune: (prune.remove > 0.0).then_some(*prune), ..Treatment::default() }
                    }
                    Some(Same::Share(share)) => {
                        let rank = ((share * full as f64).round() as usize).clamp(1, full);
                        Treatment { rank: (rank < full).then_some(rank), ..Treatment::default() }
                    }
                    Some(Same::Rank(rank)) => {
                        Treatment { rank: (*rank < full).then_some(*rank), ..Treatment::default() }
                    }
                    Some(Same::Rule(rule, _)) => {
                        let rank = rule.rank(layer, facts.of(layer.id), form);
                        if rank.is_none() {
                            remark!("note: {} finds no rank for {}: it stays dense", rule.name(), layer.name);
                        }
                        Treatment { rank, ..Treatment::default() }
                    }
                    None => entry.treatment,
                };
                treatment.quantise = bits.filter(|_| layer.asked || !layer.keeps_bits()).or(treatment.quantise);
                if same.is_some() && treatment.rank.is_some() {
                    treatment.form = form;
                }
                plan.set(layer.id, Entry { treatment, ..entry });
            }
            made.allocator = Some(match same {
                Some(Same::Rule(rule, _)) => rule.name(),
                _ => "uniform".to_owned(),
            });
        }
        Wish::Budget(allocator, ask) => {
            let spread = allocator.plan(model, facts, plan, *ask).map_err(|e| match e {
                BudgetError::Unsuited(why) => CliError::Usage(format!("--allocator {why}")),
                other => CliError::Input(anyhow::anyhow!("{}: {other}", model.path.display())),
            })?;
            for (id, mut treatment) in spread.treatments {
                // Weighed factors have the shapes of the matrix's own, and take as much.
                let weighs = form.weighs() && model.layer(id).is_some_and(|l| form.apply_to(l));
                if treatment.rank.is_some() && weighs {
                    treatment.form = form;
                }
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
