//! What allocators see: the layers that are free, what they may take, and what is laid down.

use super::{Ask, BudgetError, Loss, Means, Unit, unmeasured};
use crate::model::{Layer, Model};
use crate::plan::allocate::{Choice, Menu};
use crate::plan::outcome::{cost_of, project_layer};
use crate::plan::{Pattern, Plan, Prune, Treatment};
use crate::probe::book::{FactBook, LayerFacts};
use crate::treat::quantise::BITS;
use crate::treat::{Criterion, Granularity, Quantise};

/// Steps of a layer's curve at the most.
const GRID: usize = 400;

/// Steps of all curves together, about: with very many layers each has fewer, and a plan is no coarser for it.
const STEPS: usize = 2_000_000;

/// Steps of each of so many layers' curves.
fn grid(layers: usize) -> usize {
    (STEPS / layers.max(1)).clamp(24, GRID)
}

/// The free layers, and what they may take together.
pub(crate) struct Scene<'a> {
    pub free: Vec<(&'a Layer, &'a LayerFacts)>,
    /// Steps of each layer's curve.
    grid: usize,
    /// Numbers of free layers that share a setting.
    pub parties: Vec<Vec<usize>>,
    pub ask: Ask,
    /// What the free layers may take together.
    pub budget: f64,
    /// What all the others take.
    pub fixed: f64,
    /// What everything takes untreated.
    pub whole: f64,
    /// Error energy and energy of the eligible layers that are not free, as far as they are known.
    pub fixed_error: (f64, f64),
    /// What the plan does to the free layers now.
    now: Vec<Treatment>,
    pinned: Vec<String>,
}

/// A share of each free layer that grows with a level from 0 to `most`.
pub(crate) struct Levels<'a> {
    pub most: f64,
    pub share: Box<dyn Fn(f64, usize) -> f64 + 'a>,
}

/// One step of a layer's curve.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    /// Share of the layer that it stands for.
    pub share: f64,
    pub treatment: Treatment,
    /// What it takes.
    pub cost: f64,
    /// ‖W − Ŵ‖_F².
    pub loss: f64,
}

impl<'a> Scene<'a> {
    pub fn new(model: &'a Model, facts: &'a FactBook, plan: &Plan, ask: Ask) -> Self {
        let (mut free, mut now, mut pinned) = (Vec::new(), Vec::new(), Vec::new());
        let (mut fixed, mut whole, mut fixed_error) = (0.0, 0.0, (0.0, 0.0));
        for layer in &model.layers {
            let known = facts.of(layer.id);
            whole += ask.of.of(cost_of(layer, known, Treatment::default()));
            let entry = plan.entry(layer.id);
            if layer.eligible() && layer.tied_to.is_none() && !entry.pinned && !layer.by_name_only() {
                free.push((layer, known));
                now.push(entry.treatment);
                continue;
            }
            if entry.pinned {
                pinned.push(layer.name.clone());
            }
            fixed += ask.of.of(cost_of(layer, known, entry.treatment));
            let out = project_layer(layer, known, entry.treatment, None);
            if let (true, Some(energy), Some(error)) = (layer.eligible(), out.energy, out.error_energy) {
                fixed_error = (fixed_error.0 + error.value, fixed_error.1 + energy);
            }
        }
        // What is stored beside the layers: biases, gains, buffers.
        let beside = match ask.of {
            Unit::Params => model.params() as f64 - whole,
            Unit::Bytes | Unit::Stored => model.bytes() as f64 - whole,
            Unit::Macs => 0.0,
        };
        whole += beside;
        fixed += beside;
        let layers: Vec<&Layer> = free.iter().map(|f| f.0).collect();
        let parties = ask.groups.parties(&layers);
        let (grid, budget) = (grid(free.len()), ask.keep * whole - fixed);
        Self { free, grid, parties, ask, budget, fixed, whole, fixed_error, now, pinned }
    }

    /// What a treatment of a layer takes.
    fn after(&self, i: usize, treatment: Treatment) -> f64 {
        let (layer, facts) = self.free[i];
        self.ask.of.of(cost_of(layer, facts, treatment))
    }

    /// The treatment of a layer that keeps a share of itself, within floor and ceiling.
    pub fn keeping(&self, i: usize, share: f64) -> Treatment {
        match self.ask.means {
            Means::Prune(pattern) => self.pruned(i, pattern, share),
            Means::Bits(per) => self.rounded(i, per, share),
            Means::Rank(multiple) | Means::Either(_, multiple) => self.ranked(i, multiple, share),
        }
    }

    fn clamped(&self, share: f64) -> f64 {
        share.clamp(self.ask.floor, self.ask.ceiling.max(self.ask.floor))
    }

    fn pruned(&self, i: usize, pattern: Pattern, share: f64) -> Treatment {
        let remove = match pattern {
            // The nearest step may keep less than the floor, or more than the ceiling.
            Pattern::Groups(m) => {
                let step = 1.0 / m as f64;
                let remove = pattern.on_grid(1.0 - self.clamped(share));
                let most = ((1.0 - self.ask.floor) / step + 1e-9).floor() * step;
                let least = ((1.0 - self.ask.ceiling) / step - 1e-9).ceil().max(0.0) * step;
                pattern.on_grid(remove.min(most).max(least))
            }
            _ => 1.0 - self.clamped(share),
        };
        let named = self.ask.criterion;
        let fits = named.applies(self.free[i].0, pattern).is_ok();
        let criterion = if fits || !self.ask.or_magnitude { named } else { Criterion::Magnitude };
        let applies = fits || self.ask.or_magnitude;
        let prune = (remove > 0.0 && applies).then_some(Prune { remove, pattern, criterion });
        Treatment { prune, quantise: self.now[i].quantise, ..Treatment::default() }
    }

    fn ranked(&self, i: usize, multiple: usize, share: f64) -> Treatment {
        let (layer, share) = (self.free[i].0, self.clamped(share));
        let (m, n) = (layer.rows() as f64, layer.cols() as f64);
        let exact = share * m * n / (m + n) / multiple as f64;
        let rank = (exact + 1e-9).floor() as usize * multiple;
        let mut rank = rank.max(multiple.min(layer.full_rank())).max(1);
        if rank as f64 * (m + n) < self.ask.floor * m * n {
            rank += multiple;
        }
        let rank = (share < 1.0 && rank < layer.break_even_rank()).then_some(rank);
        let form = Some(self.ask.form).filter(|f| rank.is_some() && f.weighs() && f.apply_to(layer));
        Treatment { rank, form: form.unwrap_or_default(), quantise: self.now[i].quantise, ..Treatment::default() }
    }

    /// What the plan does already, rounded to at most so much of the stored bits.
    fn rounded(&self, i: usize, per: Granularity, share: f64) -> Treatment {
        let share = self.clamped(share);
        let whole = self.free[i].0.dtype.bits() as f64;
        let bits = ((share * whole + 1e-9).floor() as u8).clamp(*BITS.start(), *BITS.end());
        let quantise = (share < 1.0 && f64::from(bits) < whole).then_some(Quantise { bits, per });
        Treatment { quantise, ..self.now[i] }
    }

    /// The shares that layers keep at a level: those of a party are averaged, by parameters.
    pub fn shares(&self, levels: &Levels, level: f64) -> Vec<f64> {
        let mut shares: Vec<f64> = (0..self.free.len()).map(|i| self.clamped((levels.share)(level, i))).collect();
        for party in self.parties.iter().filter(|p| p.len() > 1) {
            let weight = |i: usize| self.free[i].0.params.max(1) as f64;
            let whole: f64 = party.iter().map(|&i| weight(i)).sum();
            let mean = party.iter().map(|&i| shares[i] * weight(i)).sum::<f64>() / whole;
            party.iter().for_each(|&i| shares[i] = mean);
        }
        shares
    }

    fn at(&self, levels: &Levels, level: f64) -> Vec<Treatment> {
        self.shares(levels, level).into_iter().enumerate().map(|(i, s)| self.keeping(i, s)).collect()
    }

    /// The treatments of the highest level that stays within the budget.
    pub fn solve(&self, levels: &Levels) -> Result<Vec<Treatment>, BudgetError> {
        let total = |t: &[Treatment]| t.iter().enumerate().map(|(i, t)| self.after(i, *t)).sum::<f64>();
        let fits = |t: &[Treatment]| total(t) <= self.budget + self.whole * 1e-12;
        let (mut low, mut high) = (0.0, levels.most);
        let least = self.at(levels, low);
        if !fits(&least) {
            return Err(self.out_of_reach(total(&least)));
        }
        let all = self.at(levels, high);
        if fits(&all) {
            return Ok(all);
        }
        let mut best = least;
        for _ in 0..50 {
            let middle = f64::midpoint(low, high);
            let tried = self.at(levels, middle);
            if fits(&tried) {
                (low, best) = (middle, tried);
            } else {
                high = middle;
            }
            if (high - low) <= 1e-12 * levels.most {
                break;
            }
        }
        Ok(best)
    }

    pub fn out_of_reach(&self, smallest: f64) -> BudgetError {
        let mut binding = Vec::new();
        if !self.pinned.is_empty() {
            let named = self.pinned.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
            let more = self.pinned.len().saturating_sub(3);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            binding.push(format!("{named}{more} pinned"));
        }
        if self.ask.floor > 0.0 {
            binding.push(format!("every layer keeps {:.0}%", self.ask.floor * 100.0));
        }
        match self.ask.means {
            Means::Prune(Pattern::Groups(m)) => binding.push(format!("one of every {m} stays")),
            Means::Bits(_) => binding.push(format!("{} bits are the fewest", BITS.start())),
            Means::Rank(multiple) if multiple > 1 => binding.push(format!("ranks are at least {multiple}")),
            _ => {}
        }
        binding.extend(self.inapplicable());
        binding.push(format!("{:.1}% lie in what is not compressed", 100.0 * self.fixed / self.whole.max(1.0)));
        BudgetError::OutOfReach {
            keep: self.ask.keep * 100.0,
            of: self.ask.of.word(),
            binding: binding.join("; "),
            least: 100.0 * (self.fixed + smallest) / self.whole.max(1.0),
            within: 100.0 * smallest / (self.whole - self.fixed).max(1.0),
        }
    }

    /// The layers in which the criterion cannot choose: they stay as they are.
    fn inapplicable(&self) -> Option<String> {
        let (Means::Prune(pattern) | Means::Either(pattern, _)) = self.ask.means else { return None };
        let criterion = self.ask.criterion;
        let count = self.free.iter().filter(|(l, _)| criterion.applies(l, pattern).is_err()).count();
        let by = if self.ask.or_magnitude { ", by magnitude" } else { "" };
        (count > 0).then(|| format!("{} does not apply{by}: {}", criterion.name(), layers(count)))
    }

    /// Which constraints hold the treatments back.
    pub fn binding(&self, found: &[Treatment]) -> Vec<String> {
        let mut out: Vec<String> = self.pinned.iter().map(|name| format!("pinned: {name}")).collect();
        let count =
            |test: &dyn Fn(usize, Treatment) -> bool| found.iter().enumerate().filter(|(i, t)| test(*i, **t)).count();
        let share = |i: usize, t: Treatment| {
            let dense = self.free[i].0.params.max(1) as f64;
            cost_of(self.free[i].0, self.free[i].1, t).params as f64 / dense
        };
        let floor = self.ask.floor;
        let low = count(&|i, t| floor > 0.0 && share(i, t) <= floor + 1.5 / self.grid as f64);
        if low > 0 {
            out.push(format!("floor {:.0}%: {}", floor * 100.0, layers(low)));
        }
        let ceiling = self.ask.ceiling;
        let high = count(&|i, t| ceiling < 1.0 && share(i, t) >= ceiling - 1.5 / self.grid as f64);
        if high > 0 {
            out.push(format!("ceiling {:.0}%: {}", ceiling * 100.0, layers(high)));
        }
        out.extend(self.inapplicable());
        let unseen = self.free.iter().filter(|(l, _)| self.ask.weighted && l.inputs.is_none()).count();
        if unseen > 0 {
            out.push(format!("errors of weights, no activations: {}", layers(unseen)));
        }
        if let Means::Rank(multiple) | Means::Either(_, multiple) = self.ask.means {
            let ranked = count(&|_, t| t.rank.is_some());
            if multiple > 1 && ranked > 0 {
                out.push(format!("ranks are multiples of {multiple}: {}", layers(ranked)));
            }
        }
        let shared: usize = self.parties.iter().filter(|p| p.len() > 1).map(Vec::len).sum();
        if shared > 0 {
            out.push(format!("one setting for {}: {}", self.ask.groups.words(), layers(shared)));
        }
        out
    }

    /// Whether what the curves are made of is exact.
    pub fn exact(&self) -> bool {
        let exact = |(_, facts): &(&Layer, &LayerFacts)| match self.ask.means {
            Means::Prune(_) => facts.magnitude.is_some(),
            Means::Rank(_) | Means::Either(..) => facts.spectrum.is_some(),
            Means::Bits(_) => facts.rounding.is_some(),
        };
        let plain = self.now.iter().all(|t| match self.ask.means {
            Means::Bits(_) => t.rank.is_none() && t.prune.is_none(),
            _ => t.quantise.is_none(),
        });
        plain && !self.ask.weighted && self.ask.criterion == Criterion::Magnitude && self.free.iter().all(exact)
    }

    /// Whether errors of a layer are of its outputs.
    fn weighs(&self, layer: &Layer) -> bool {
        self.ask.weighted && layer.inputs.is_some()
    }

    /// What errors of a layer are relative to: ‖W‖_F², or the energy of its outputs.
    pub fn energy(&self, i: usize) -> f64 {
        let (layer, facts) = self.free[i];
        if self.weighs(layer) {
            return facts.weighted().spectrum.as_ref().map_or(0.0, |s| s.energy());
        }
        facts.magnitude.as_ref().map_or(0.0, |m| m.sum_squares)
    }

    /// Each free layer's curve; the same steps for all.
    pub fn cells(&self) -> Result<Vec<Vec<Cell>>, BudgetError> {
        (0..self.free.len()).map(|i| self.curve(i)).collect()
    }

    fn curve(&self, i: usize) -> Result<Vec<Cell>, BudgetError> {
        let (layer, facts) = self.free[i];
        let mut out: Vec<Cell> = Vec::with_capacity(self.grid + 1);
        for (share, treatment) in self.steps(i) {
            let again = out.last().filter(|c: &&Cell| c.treatment == treatment).copied();
            let cell = if let Some(same) = again {
                Cell { share, ..same }
            } else {
                let projected = project_layer(layer, facts, treatment, None);
                let loss = if self.weighs(layer) {
                    let missing = || {
                        let how = "what it makes of outputs is known once it was run: choose by magnitude or wanda";
                        let waits = facts.weighted.is_none() || treatment.prune.is_none();
                        unmeasured(layer, facts, if waits { "its activations are not weighed yet" } else { how })
                    };
                    let error = projected.weighed.ok_or_else(missing)?.output_error.value;
                    error * error * self.energy(i)
                } else {
                    let missing = || unmeasured(layer, facts, "its curve is not there yet");
                    projected.error_energy.ok_or_else(missing)?.value.max(0.0)
                };
                Cell { share, treatment, cost: self.ask.of.of(projected.after), loss }
            };
            out.push(cell);
        }
        Ok(out)
    }

    /// The treatments of a layer that are weighed, by the share they keep.
    fn steps(&self, i: usize) -> Vec<(f64, Treatment)> {
        let prune = |pattern: Pattern| -> Vec<(f64, Treatment)> {
            let (steps, first) = if let Pattern::Groups(m) = pattern { (m, 1) } else { (self.grid, 0) };
            let shares = (first..=steps).map(|k| k as f64 / steps as f64);
            shares.map(|s| (s, self.pruned(i, pattern, s))).collect()
        };
        let rank = |multiple: usize| -> Vec<(f64, Treatment)> {
            let shares = (0..=self.grid).map(|k| k as f64 / self.grid as f64);
            shares.map(|s| (s, self.ranked(i, multiple, s))).collect()
        };
        match self.ask.means {
            Means::Prune(pattern) => prune(pattern),
            Means::Bits(per) => {
                // A step for each number of bits, whatever the layer is stored in.
                let whole = self.free[i].0.dtype.bits() as f64;
                let bits = BITS.map(|b| f64::from(b) / whole).filter(|s| *s < 1.0);
                bits.chain([1.0]).map(|s| (s, self.rounded(i, per, s))).collect()
            }
            Means::Rank(multiple) => rank(multiple),
            Means::Either(pattern, multiple) => prune(pattern).into_iter().chain(rank(multiple)).collect(),
        }
    }

    /// The choices of a party: one step for all its layers.
    pub fn menu(&self, party: &[usize], cells: &[Vec<Cell>], loss: Loss) -> Result<Menu, BudgetError> {
        let steps = party.first().map_or(0, |&i| cells[i].len());
        let mut choices = vec![Choice { cost: 0.0, loss: 0.0 }; steps];
        for &i in party {
            let (layer, facts) = self.free[i];
            let energy = self.energy(i);
            let scale = if loss != Loss::Absolute && energy > 0.0 { 1.0 / energy } else { 1.0 };
            for (choice, cell) in choices.iter_mut().zip(&cells[i]) {
                choice.cost += cell.cost;
                choice.loss += match loss {
                    Loss::Measured if !cell.treatment.is_dense() => {
                        let felt = facts.sensitivity.as_ref().and_then(|s| s.excess(cell.treatment, cell.loss * scale));
                        felt.ok_or_else(|| {
                            unmeasured(layer, facts, "what it loses alone is not measured by these means")
                        })?
                    }
                    _ => cell.loss * scale,
                };
            }
        }
        Ok(Menu { choices })
    }
}

/// So many layers, in words.
fn layers(n: usize) -> String {
    if n == 1 { "1 layer".to_owned() } else { format!("{n} layers") }
}
