//! What the options of `plan` ask for, read and checked before anything is opened.

use super::super::args::{Errors, Group, Of, PlanArgs, Treat};
use super::super::error::CliError;
use super::super::measured;
use crate::model::{Layer, Model};
use crate::plan::budget::{Allocator, Ask, Groups, Means, Unit, allocator};
use crate::plan::rule::Chosen;
use crate::plan::setting::Rank;
use crate::plan::{Criterion, Factors, Pattern, Plan, Prune, Quantise};
use crate::probe::ProbeId;
use crate::treat::pattern::CYCLE;

/// What the options ask for.
pub enum Wish {
    /// Nothing beyond the plan that was given.
    Nothing,
    /// The same for every layer.
    Same(Same),
    /// A budget.
    Budget(&'static Allocator, Ask),
    /// A budget met by measured trials.
    Search(Box<measured::Wish>),
}

/// The same for every layer; what is `None` stays as the plan has it.
#[derive(Debug, Clone, Copy)]
pub struct Same {
    /// A rank.
    pub rank: Option<Rank>,
    /// How it is factored.
    pub form: Factors,
    /// Pruning.
    pub prune: Option<Prune>,
    /// Whether magnitudes decide where the criterion does not apply: it was not named.
    pub or_magnitude: bool,
    /// Bits.
    pub bits: Option<Quantise>,
}

impl Same {
    /// The rule for ranks among it.
    pub fn rule(&self) -> Option<Chosen> {
        if let Some(Rank::Rule(rule)) = self.rank { Some(rule) } else { None }
    }
    /// Pruning of one layer.
    pub fn pruning(&self, layer: &Layer) -> Option<Prune> {
        let how = self.prune?;
        let fits = !self.or_magnitude || how.criterion.applies(layer, how.pattern).is_ok();
        Some(if fits { how } else { Prune { criterion: Criterion::Magnitude, ..how } })
    }
}

fn usage<T>(text: String) -> Result<T, CliError> {
    Err(CliError::Usage(text))
}

fn share(name: &str, share: f64) -> Result<f64, CliError> {
    if share > 0.0 && share <= 1.0 { Ok(share) } else { usage(format!("{name} {share}: a share above 0, at most 1")) }
}

impl Wish {
    /// Reads the options.
    ///
    /// # Errors
    /// Options that cannot be together, need another one, or would have no effect.
    pub fn of(args: &PlanArgs) -> Result<Self, CliError> {
        needed(args)?;
        effective(args)?;
        let same = same(args)?;
        let Some(keep) = args.budget else {
            if same.rank.is_some() || same.prune.is_some() || same.bits.is_some() {
                return Ok(Self::Same(same));
            }
            if args.plan.is_none() && args.replay.is_none() {
                return usage(
                    "what to do? --prune R, --keep-rank F, --rank K, --rank-rule RULE, --bits B, --budget F, or --plan PLAN.toml to look at"
                        .to_owned(),
                );
            }
            if !args.layers.is_empty() {
                return usage("--layers: selects which layers change, but no setting is given: add --prune, --rank, --keep-rank or --bits".to_owned());
            }
            return Ok(Self::Nothing);
        };
        if same.rank.is_some() || same.prune.is_some() {
            return usage("one of --budget and --prune, --keep-rank, --rank, --rank-rule".to_owned());
        }
        if same.bits.is_some() {
            return usage(
                "--budget spreads what is removed or kept: quantise its plan with --plan PLAN.toml --bits B".to_owned(),
            );
        }
        let keep = share("--budget", keep)?;
        if args.allocator == "measured" {
            if args.errors.is_some() {
                return usage("--allocator measured: uses the measured loss: leave out --errors".to_owned());
            }
            return Ok(Self::Search(Box::new(measured::Wish::of(args, keep)?)));
        }
        budget(args, keep)
    }

    /// What the options left open and a calibration decided, in words; nothing where all was said.
    pub fn by_calibration(&self, args: &PlanArgs, model: &Model, plan: &Plan) -> Vec<String> {
        let mut out = Vec::new();
        if args.calibration.is_none() {
            return out;
        }
        let treatments = || model.layers.iter().map(|l| plan.treatment(l.id));
        let left_open = args.factors.is_none() && matches!(self, Self::Same(_) | Self::Budget(..));
        if left_open && treatments().any(|t| t.rank.is_some() && t.form == Factors::Whitened) {
            out.push("factors whitened (--factors matrix: of the weights alone)".to_owned());
        }
        let criterion = match self {
            Self::Same(same) => same.prune.map(|p| p.criterion),
            Self::Budget(_, ask) if matches!(ask.means, Means::Prune(_) | Means::Either(..)) => Some(ask.criterion),
            _ => None,
        };
        if let Some(criterion) = criterion.filter(|c| args.criterion.is_none() && c.weighs()) {
            let others = treatments().filter(|t| t.prune.is_some_and(|p| p.criterion == Criterion::Magnitude)).count();
            let where_not = if others > 0 { format!(", magnitude in {others} without inputs") } else { String::new() };
            out.push(format!("criterion {}{where_not} (--criterion magnitude: by weights alone)", criterion.name()));
        }
        if let Self::Budget(allocator, ask) = self
            && args.errors.is_none()
            && ask.weighted
            && allocator.compares_errors()
        {
            out.push("errors of outputs (--errors weights: of the weights)".to_owned());
        }
        out
    }

    /// What has to be known of each layer.
    pub fn probes(&self, plan: &Plan, model: &Model) -> Vec<ProbeId> {
        let given = model.layers.iter().map(|l| plan.treatment(l.id));
        let (mut patterns, mut ranks, mut rounds, mut shares) = (false, false, false, false);
        let mut more = Vec::new();
        let mut pruned = |p: Prune| {
            patterns |= p.pattern != Pattern::Unstructured;
            shares |= p.criterion == Criterion::RelativeImportance;
        };
        for t in given {
            rounds |= t.quantise.is_some();
            ranks |= t.rank.is_some();
            t.prune.into_iter().for_each(&mut pruned);
        }
        match self {
            // A budget or a search checks its own choices.
            Self::Nothing | Self::Search(_) => {}
            Self::Same(same) => {
                rounds |= same.bits.is_some();
                ranks |= same.rank.is_some();
                same.prune.into_iter().for_each(&mut pruned);
                let holds = same.rule().is_some_and(|r| r.rule.holds) && same.form == Factors::Whitened;
                more.extend(holds.then_some(ProbeId::Weighted));
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

/// Refuses what needs a calibration where there is none.
fn needed(args: &PlanArgs) -> Result<(), CliError> {
    let named = |what: &str, name: &Option<String>| name.as_ref().map(|n| format!("{what} {n}"));
    let weighs = args.criterion.as_deref().and_then(Criterion::parse).is_some_and(Criterion::weighs);
    let allocates = allocator(&args.allocator).is_some_and(|a| a.needs.contains(&ProbeId::Activations));
    let needing = [
        named("--criterion", &args.criterion).filter(|_| weighs),
        named("--factors", &args.factors).filter(|_| args.form().is_some_and(Factors::weighs)),
        (args.errors == Some(Errors::Outputs)).then(|| "--errors outputs".to_owned()),
        allocates.then(|| format!("--allocator {}", args.allocator)),
    ];
    match needing.into_iter().flatten().next() {
        Some(what) if args.calibration.is_none() => {
            usage(format!("{what}: needs activations: --calibration FILE, made by `slimscope calibrate`"))
        }
        _ => Ok(()),
    }
}

/// Refuses options that would have no effect.
fn effective(args: &PlanArgs) -> Result<(), CliError> {
    let ranks = [args.keep_rank.is_some(), args.rank.is_some(), args.rank_rule.is_some()];
    if ranks.iter().filter(|r| **r).count() > 1 {
        return usage("one of --keep-rank, --rank and --rank-rule".to_owned());
    }
    let (budget, by) = (args.budget.is_some(), args.by.unwrap_or(Treat::Prune));
    let searched = budget && args.allocator == "measured";
    let spread = |wanted: &[Treat]| budget && !searched && wanted.contains(&by);
    let own = args.pattern.is_some_and(|(_, own)| own.is_some());
    let pruned = args.prune.is_some() || own || spread(&[Treat::Prune, Treat::Either]);
    let ranked = ranks.contains(&true) || spread(&[Treat::Rank, Treat::Either]);
    let rounded = args.bits.is_some() || spread(&[Treat::Bits]);
    let said = |what: &str, name: &Option<String>| format!("{what} {}", name.as_deref().unwrap_or_default());
    if args.criterion.is_some() && !pruned && !searched {
        let what = said("--criterion", &args.criterion);
        return usage(format!("{what}: say how much goes with --prune R or --budget F --by prune"));
    }
    if args.pattern.is_some() && !pruned && !searched {
        return usage("--pattern: has an effect only on pruning: add --prune R or --budget F --by prune".to_owned());
    }
    if args.factors.is_some() && !ranked {
        let what = said("--factors", &args.factors);
        return usage(format!(
            "{what}: has an effect only on ranks: add --keep-rank F, --rank K or --budget F --by rank"
        ));
    }
    if budget && args.form() == Some(Factors::Spatial) {
        return usage(
            "--factors spatial: budgets are met by ranks of the matrix; take --rank or --keep-rank".to_owned(),
        );
    }
    if args.bits_per.is_some() && !rounded {
        return usage(
            "--bits-per: has an effect only on quantisation: add --bits B or --budget F --by bits".to_owned(),
        );
    }
    if args.multiple == Some(0) {
        return usage("--multiple 0: at least 1".to_owned());
    }
    if args.multiple.is_some() && !searched && !spread(&[Treat::Rank, Treat::Either]) {
        return usage(
            "--multiple: has an effect only on ranks chosen by a budget: add --by rank or --by either".to_owned(),
        );
    }
    let trials = [
        (args.time.is_some(), "--time"),
        (args.measuring.data.is_some(), "--data"),
        (args.measuring.slice.is_some(), "--slice"),
        (args.measuring.context.is_some(), "--context"),
    ];
    match trials.iter().find(|(given, _)| *given && !searched) {
        Some((_, what)) => usage(format!("{what}: is of trials: --budget F --allocator measured")),
        None => Ok(()),
    }
}

/// What is asked of every layer alike.
fn same(args: &PlanArgs) -> Result<Same, CliError> {
    let default = default_criterion(args);
    let criterion = args.criterion.as_deref().and_then(Criterion::parse).unwrap_or(default);
    let (pattern, own) = args.pattern_or(criterion.way().pattern);
    let remove = args.prune.or(own.filter(|_| args.budget.is_none()));
    let prune = match remove {
        // Nothing goes: the pruning of the plan is taken away.
        Some(0.0) if args.plan.is_some() || args.replay.is_some() => {
            Some(Prune { criterion: Criterion::Magnitude, ..Prune::of(0.0, pattern) })
        }
        Some(remove) => {
            let remove = pattern.on_grid(share("--prune", remove)?);
            if own.is_some_and(|own| (own - remove).abs() > 1e-9) {
                return usage(format!(
                    "--pattern {} already sets how much is pruned: leave out --prune",
                    pattern.name(remove)
                ));
            }
            Some(Prune { criterion, ..Prune::of(remove, pattern) })
        }
        None => None,
    };
    let rank = match (args.keep_rank, args.rank, args.rank_rule) {
        (Some(keep), ..) => Some(Rank::Share(share("--keep-rank", keep)?)),
        (_, Some(0), _) => return usage("--rank 0: at least 1".to_owned()),
        (_, Some(rank), _) => Some(Rank::Of(rank)),
        (.., rule) => rule.map(Rank::Rule),
    };
    let bits = args.bits.map(|bits| Quantise { bits, per: args.bits_per.unwrap_or_default() });
    Ok(Same { rank, form: form(args), prune, or_magnitude: args.criterion.is_none(), bits })
}

/// The criterion where none is named: by activations where there are any and the pattern is one of single entries.
fn default_criterion(args: &PlanArgs) -> Criterion {
    let entries = |p: Pattern| matches!(p, Pattern::Unstructured | Pattern::PerRow | Pattern::Groups(_));
    let suits = args.calibration.is_some() && args.pattern.is_none_or(|(p, _)| entries(p));
    if suits { Criterion::Wanda } else { Criterion::Magnitude }
}

/// How ranks are factored.
fn form(args: &PlanArgs) -> Factors {
    let open = if args.calibration.is_some() { Factors::Whitened } else { Factors::Matrix };
    args.form().unwrap_or(open)
}

/// The unit of a budget.
pub fn unit(of: Of) -> Unit {
    match of {
        Of::Params => Unit::Params,
        Of::Bytes => Unit::Bytes,
        Of::Macs => Unit::Macs,
        Of::Stored => Unit::Stored,
    }
}

/// A budget spread by an allocator.
fn budget(args: &PlanArgs, keep: f64) -> Result<Wish, CliError> {
    let Some(chosen) = allocator(&args.allocator) else { return usage(format!("--allocator {}", args.allocator)) };
    let by = args.by.unwrap_or(Treat::Prune);
    let named = args.criterion.as_deref().and_then(Criterion::parse);
    let criterion = named.unwrap_or_else(|| default_criterion(args));
    // What an allocator compares over the whole model is not cut row by row unless that is asked for.
    let open = if named.is_none() { Pattern::Unstructured } else { criterion.way().pattern };
    let (pattern, own) = args.pattern_or(open);
    if let Some(own) = own.filter(|_| by != Treat::Rank) {
        return usage(format!(
            "--pattern {} removes {own} of every layer: for a budget name only the group, or leave out --budget",
            pattern.name(own)
        ));
    }
    let multiple = args.multiple.unwrap_or(1);
    let means = match by {
        Treat::Prune => Means::Prune(pattern),
        Treat::Rank => Means::Rank(multiple),
        Treat::Either => Means::Either(pattern, multiple),
        Treat::Bits => Means::Bits(args.bits_per.unwrap_or_default()),
    };
    let (floor, ceiling) = (args.floor, args.ceiling);
    if !(0.0..=1.0).contains(&floor) || !(0.0..=1.0).contains(&ceiling) || floor > ceiling {
        return usage(format!("--floor {floor} --ceiling {ceiling}: shares between 0 and 1, the floor below"));
    }
    let groups = Groups { qkv: args.group.contains(&Group::Qkv), gate_up: args.group.contains(&Group::GateUp) };
    // Errors of outputs are known beforehand of these; of others they are compared when asked for, or refused.
    let known = matches!(criterion, Criterion::Magnitude | Criterion::Wanda) && CYCLE.contains(&pattern);
    let open = args.calibration.is_some() && chosen.compares_errors() && known;
    let weighted = args.errors.map_or(open, |e| e == Errors::Outputs);
    let or_magnitude = named.is_none();
    let of = unit(args.of);
    let ask = Ask { keep, of, means, floor, ceiling, groups, criterion, or_magnitude, form: form(args), weighted };
    chosen.suits(&ask).map_err(|why| CliError::Usage(format!("--allocator {why}")))?;
    Ok(Wish::Budget(chosen, ask))
}
