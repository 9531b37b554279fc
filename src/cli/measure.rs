//! Measures layers without a screen.

use super::args::{Common, Measure, MeasureFormat, With};
use super::error::CliError;
use super::gather::Gather;
use super::output::{Meter, line, matching, open, settings};
use crate::engine::Settings;
use crate::engine::cache::Cache;
use crate::model::{Layer, LayerId, Model};
use crate::probe::book::{FactBook, LayerFacts};
use crate::probe::{PROBES, Probe, ProbeId, Spectrum, in_double};
use crate::report::figures::{self, Figure};
use crate::report::table::Table;
use crate::report::{csv, json};
use crate::widgets::number::{known, number, percent, ratio};
use std::sync::Arc;

/// Measures and prints.
pub fn run(common: &Common, args: &Measure) -> Result<(), CliError> {
    let shard = args.shard.as_deref().map(|text| shard(common, text)).transpose()?;
    let exact = |f: &&Figure| f.name == "singular_values" && args.sketch;
    if let Some(figure) = args.only.iter().find(|f| exact(f)) {
        return Err(CliError::Usage(format!("--sketch computes no spectra: leave out --only {}", figure.name)));
    }
    if args.sketch && args.with.contains(&With::Spectrum) {
        return Err(CliError::Usage("--sketch computes no spectra: leave out --with spectrum".to_owned()));
    }
    let (model, weights) = open(Some(&args.model))?;
    let mut chosen = choose(&model, &args.layers)?;
    for note in &model.notes {
        remark!("note: {note}");
    }
    let certify =
        args.with.contains(&With::Certificate) || args.only.iter().any(|f| f.probes == [ProbeId::Certificate]);
    let needed = |id: ProbeId| args.only.is_empty() || args.only.iter().any(|f| f.probes.contains(&id));
    let needed = |id: ProbeId| match id {
        // A sketch stands in for singular values.
        ProbeId::Sketch => needed(ProbeId::Spectrum),
        ProbeId::Spectrum => needed(id) || args.with.contains(&With::Spectrum),
        ProbeId::Certificate => certify,
        _ => needed(id),
    };
    let probes: Vec<&'static dyn Probe> = if args.double { in_double() } else { PROBES.to_vec() };
    // The exact spectrum makes a sketch of it needless.
    let left_out = if args.sketch { ProbeId::Spectrum } else { ProbeId::Sketch };
    let wanted = |p: &&dyn Probe| p.id() != left_out && needed(p.id());
    let probes: Vec<&'static dyn Probe> = probes.into_iter().filter(wanted).collect();
    if let Some((part, parts)) = shard {
        chosen = part_of(&model, &probes, chosen, part, parts);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = Settings { threads: common.threads.unwrap_or(cores).max(1), ..settings(common) };
    let cache = settings.cache.clone();
    if let Some(cache) = cache.as_ref().filter(|_| shard.is_some()) {
        // Parts meet there: better to know before the work than after.
        cache.try_out().map_err(|e| unkept(cache, &e.to_string()))?;
    }
    let model = Arc::new(model);
    let mut out = Output {
        model: &model,
        args,
        chosen: &chosen,
        next: 0,
        probes: probes.clone(),
        table: table(certify, &args.only),
        only: only(args),
        certify,
        heads: None,
    };
    let gather = Gather { model: &model, weights: weights.clone(), layers: &chosen, probes, certify, settings };
    let facts = gather.run(&mut |facts, meter| out.write_ready(facts, meter, false))?;
    out.write_ready(&facts, &mut Meter::default(), true)?;
    out.finish()?;
    weights.check(&model)?;
    let Some(cache) = cache else { return Ok(()) };
    match cache.lost() {
        (0, _) => Ok(()),
        (_, why) if shard.is_some() => Err(unkept(&cache, &why)),
        (lost, why) => {
            remark!("note: {lost} measurements could not be kept in {}: {why}", cache.folder().display());
            Ok(())
        }
    }
}

/// A part whose measurements nobody will find.
fn unkept(cache: &Cache, why: &str) -> CliError {
    CliError::Input(anyhow::anyhow!(
        "{}: measurements of --shard are kept here and cannot be: {why}; make room or set SLIMSCOPE_CACHE_DIR",
        cache.folder().display()
    ))
}

/// `I/N`, I from 1. Parts meet in the cache, so there must be one.
fn shard(common: &Common, text: &str) -> Result<(usize, usize), CliError> {
    if common.no_cache {
        return Err(CliError::Usage("--shard measures into the cache: leave out --no-cache".to_owned()));
    }
    let parsed = text.split_once('/').and_then(|(i, n)| Some((i.trim().parse().ok()?, n.trim().parse().ok()?)));
    parsed
        .filter(|(i, n)| (1..=*n).contains(i))
        .ok_or_else(|| CliError::Usage(format!("--shard {text}: a part such as 1/8, counted from 1")))
}

/// The layers of one of several parts of about equal cost: the most expensive first, each to the part that has least.
fn part_of(model: &Model, probes: &[&dyn Probe], chosen: Vec<LayerId>, part: usize, parts: usize) -> Vec<LayerId> {
    let cost = |id: &LayerId| {
        model.layer(*id).map_or(0.0, |l| probes.iter().filter(|p| p.applies(l)).map(|p| p.cost(l)).sum::<f64>())
    };
    let mut by_cost = chosen;
    by_cost.sort_by(|a, b| cost(b).total_cmp(&cost(a)).then(a.cmp(b)));
    let mut loads = vec![0.0f64; parts];
    let mut mine = Vec::new();
    for id in by_cost {
        let least = loads.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i);
        loads[least] += cost(&id);
        if least + 1 == part {
            mine.push(id);
        }
    }
    mine.sort_unstable();
    mine
}

/// Layers to measure, in module order.
fn choose(model: &Model, globs: &[String]) -> Result<Vec<LayerId>, CliError> {
    matching(model, "--layers", globs, |l| (l.measurable() || l.coded.is_some()) && l.tied_to.is_none())
}

/// The figures that are printed: those of `--only`, and with them what `--with` adds; none where all are.
fn only(args: &Measure) -> Vec<&'static Figure> {
    let mut only = args.only.clone();
    if !only.is_empty() {
        let added = args.with.iter().map(|with| match with {
            With::Spectrum => "singular_values",
            With::Certificate => "spectral_norm_certified",
        });
        only.extend(added.filter_map(figures::find));
    }
    only
}

/// The figure in each column of the table after the layer and its shape; none where it is always shown.
const COLUMNS: [Option<&str>; 12] = [
    Some("spectral_norm"),
    Some("stable_rank"),
    Some("effective_rank"),
    Some("rank_for_energy"),
    Some("rank_for_energy"),
    Some("rank_for_energy"),
    None,
    Some("power_law"),
    Some("zero_fraction"),
    Some("prune_error"),
    Some("nm_error"),
    Some("lipschitz"),
];

/// Leaves out the columns of figures that are not wanted.
fn keep_wanted<T>(cells: Vec<T>, only: &[&Figure]) -> Vec<T> {
    let wanted =
        |i: usize| i < 2 || COLUMNS.get(i - 2).copied().flatten().is_none_or(|name| figures::wanted(only, name));
    cells.into_iter().enumerate().filter(|(i, _)| wanted(*i)).map(|(_, cell)| cell).collect()
}

fn table(certified: bool, only: &[&Figure]) -> Table {
    let mut heads = vec![
        "layer",
        "matrix",
        ">σ₁",
        ">stable",
        ">effective",
        ">r90",
        ">r95",
        ">r99",
        ">even",
        ">α",
        ">zeros",
        ">err 50%",
        ">err 2:4",
        ">ℓ2",
    ];
    heads = keep_wanted(heads, only);
    if certified {
        heads.insert(if only.is_empty() { 3 } else { 2 }, ">proven");
    }
    Table::new(&heads)
}

struct Output<'a> {
    model: &'a Model,
    args: &'a Measure,
    chosen: &'a [LayerId],
    /// The first layer not yet written.
    next: usize,
    probes: Vec<&'static dyn Probe>,
    table: Table,
    /// The figures that are printed; all where none is named.
    only: Vec<&'static Figure>,
    certify: bool,
    heads: Option<Vec<String>>,
}

impl Output<'_> {
    /// Writes the layers that are complete, in order; at the end all.
    fn write_ready(&mut self, facts: &FactBook, meter: &mut Meter, end: bool) -> Result<(), CliError> {
        while let Some(id) = self.chosen.get(self.next) {
            let found = facts.of(*id);
            let complete = self
                .model
                .layer(*id)
                .is_none_or(|l| self.probes.iter().filter(|p| p.applies(l)).all(|p| found.has(p.id())));
            if !complete && !end {
                return Ok(());
            }
            if let Some(layer) = self.model.layer(*id) {
                meter.clear();
                self.write(layer, found)?;
            }
            self.next += 1;
        }
        Ok(())
    }

    fn write(&mut self, layer: &Layer, facts: &LayerFacts) -> Result<(), CliError> {
        let with_spectrum =
            self.args.with.contains(&With::Spectrum) || self.only.iter().any(|f| f.name == "singular_values");
        match self.args.format {
            MeasureFormat::Json => {
                line(&json::measured(self.model, layer, facts, with_spectrum, &self.only).to_string())
            }
            MeasureFormat::Csv => self.write_csv(layer, facts, with_spectrum),
            MeasureFormat::Table => {
                let cells = cells(layer, facts);
                // The reason for a failure stands in the place of all figures.
                let mut cells = if facts.failure.is_some() { cells } else { keep_wanted(cells, &self.only) };
                if self.certify && facts.failure.is_none() {
                    cells.insert(
                        if self.only.is_empty() { 3 } else { 2 },
                        facts.certificate.map_or("·".to_owned(), |k| known(Some(k), number)),
                    );
                }
                self.table.row(cells);
                Ok(())
            }
        }
    }

    fn write_csv(&mut self, layer: &Layer, facts: &LayerFacts, with_spectrum: bool) -> Result<(), CliError> {
        let flat = csv::flatten(&json::measured(self.model, layer, facts, with_spectrum, &self.only));
        if self.heads.is_none() {
            let heads = csv::heads(with_spectrum, self.certify, &self.only);
            line(&csv::line(heads.iter().map(String::as_str)))?;
            self.heads = Some(heads);
        }
        // One set of columns for all layers: what a layer lacks stays empty.
        let cell = |head: &String| flat.iter().find(|(name, _)| name == head).map_or("", |(_, v)| v.as_str());
        line(&csv::line(self.heads.iter().flatten().map(cell)))
    }

    fn finish(&self) -> Result<(), CliError> {
        if self.args.format == MeasureFormat::Table {
            self.table.lines().try_for_each(|l| line(&l))?;
        }
        Ok(())
    }
}

fn cells(layer: &Layer, facts: &LayerFacts) -> Vec<String> {
    let matrix = format!("{}×{}", layer.rows(), layer.cols());
    if let Some(why) = &facts.failure {
        return vec![layer.name.clone(), matrix, format!("! {why}")];
    }
    if let Some(why) = layer.why_not.as_ref().filter(|_| layer.coded.is_some()) {
        return vec![layer.name.clone(), matrix, format!("– {why}")];
    }
    let (m, s, l) = (facts.magnitude.as_deref(), facts.spectrum.as_deref(), facts.lipschitz.as_deref());
    let best = facts.best_spectrum();
    let exact = |v: Option<f64>| v.map_or("·".to_owned(), |v| format!("={}", number(v)));
    let from = |f: fn(&Spectrum) -> Option<f64>| {
        best.and_then(|s| Some(s.known(f(s)?))).map_or("·".to_owned(), |k| known(Some(k), number))
    };
    let rank = |i: usize| {
        let badge = if best.is_some_and(Spectrum::is_exact) { "" } else { "≈" };
        best.map_or("·".to_owned(), |s| format!("{badge}{}", s.rank_for_energy[i]))
    };
    let norm = facts.norm_below().map_or("·".to_owned(), |k| known(Some(k), number));
    let l2 = match (s, l) {
        (Some(s), _) if !layer.kind.is_conv() => exact(Some(s.norm())),
        (_, Some(l)) => known(Some(l.l2_upper), number),
        _ => "·".to_owned(),
    };
    let error = m.and_then(|m| m.prune_error.iter().find(|(r, _)| *r == 0.5)).map(|(_, e)| *e);
    let pattern = facts.structure.as_deref().and_then(|s| s.group_error(2, 4));
    let two = |v: Option<f64>| v.map_or("·".to_owned(), |v| format!("={}", ratio(v)));
    vec![
        layer.name.clone(),
        matrix,
        norm,
        from(|s| s.stable_rank),
        from(|s| s.effective_rank),
        rank(0),
        rank(1),
        rank(2),
        layer.break_even_rank().to_string(),
        s.and_then(|s| s.power_law.as_ref()).map_or("·".to_owned(), |f| format!("≈{}", number(f.alpha))),
        m.map_or("·".to_owned(), |m| percent(m.zeros as f64 / m.entries.max(1) as f64)),
        two(error),
        two(pattern),
        l2,
    ]
}
