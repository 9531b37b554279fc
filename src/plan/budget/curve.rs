//! What every allocator makes of every budget: curves of error over size.

use super::scene::Cell;
use super::{ALLOCATORS, Allocator, Ask, BudgetError, Levels, Loss, Menu, Scene, Spread, knee};
use crate::known::Bound;
use crate::model::Model;
use crate::plan::allocate::path;
use crate::plan::{Plan, Treatment};
use crate::probe::book::FactBook;
use crate::treat::Factors;

/// A plan of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Share of the model that stays, in the unit asked for.
    pub keep: f64,
    /// √(Σ‖ΔW‖²/Σ‖W‖²) over the eligible layers.
    pub error: f64,
    /// √(mean of the layers' squared relative errors), each layer of equal weight.
    pub mean: f64,
}

/// The plans of one allocator, by what they keep, ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The allocator's name.
    pub allocator: &'static str,
    /// Its plans; empty where there are none.
    pub points: Vec<Point>,
    /// Why there are none.
    pub why: Option<String>,
    /// Number of the point at the knee of the error.
    pub knee: Option<usize>,
    /// What the errors are: exact, or built from estimates.
    pub bound: Bound,
}

impl Curve {
    /// The plan that keeps a share, between those of the curve; `None` where it does not reach.
    pub fn at(&self, keep: f64) -> Option<Point> {
        let after = self.points.partition_point(|p| p.keep < keep - 1e-12);
        let right = *self.points.get(after)?;
        let Some(left) = after.checked_sub(1).and_then(|i| self.points.get(i)) else {
            return (right.keep <= keep + 1e-9).then_some(right);
        };
        let share = if right.keep > left.keep { (keep - left.keep) / (right.keep - left.keep) } else { 1.0 };
        let mix = |a: f64, b: f64| a + (b - a) * share.clamp(0.0, 1.0);
        Some(Point { keep, error: mix(left.error, right.error), mean: mix(left.mean, right.mean) })
    }
}

/// Points of a curve, about.
const POINTS: usize = 72;

/// The curves of all allocators, in the order of [`ALLOCATORS`].
pub fn curves(model: &Model, facts: &FactBook, plan: &Plan, ask: Ask) -> Vec<Curve> {
    let scene = Scene::new(model, facts, plan, ask);
    let cells = scene.cells();
    ALLOCATORS
        .iter()
        .map(|allocator| {
            let drawn = cells.as_ref().map_err(Clone::clone).and_then(|cells| draw(allocator, &scene, cells));
            let bound = if scene.exact() { Bound::Exact } else { Bound::Estimate };
            match drawn {
                Ok(points) => {
                    let knee = knee::knee(&points.iter().map(|p| (p.keep, p.error)).collect::<Vec<_>>());
                    Curve { allocator: allocator.name, points, why: None, knee, bound }
                }
                Err(why) => {
                    let why = Some(why.to_string());
                    Curve { allocator: allocator.name, points: Vec::new(), why, knee: None, bound }
                }
            }
        })
        .collect()
}

fn draw(allocator: &Allocator, scene: &Scene, cells: &[Vec<Cell>]) -> Result<Vec<Point>, BudgetError> {
    allocator.suits(&scene.ask)?;
    let sums = Sums::of(scene);
    let mut points = match allocator.spread {
        Spread::Levels(levels) => by_level(scene, cells, &levels(scene)?, &sums),
        Spread::Hulls(loss) => by_hull(scene, cells, loss, &sums)?,
    };
    points.sort_by(|a, b| a.keep.total_cmp(&b.keep));
    points.dedup_by(|a, b| (a.keep - b.keep).abs() < 1e-9);
    Ok(points)
}

/// Energies that errors are relative to.
struct Sums {
    energies: Vec<f64>,
    whole: f64,
}

impl Sums {
    fn of(scene: &Scene) -> Self {
        let energies: Vec<f64> = (0..scene.free.len()).map(|i| scene.energy(i)).collect();
        let whole = energies.iter().sum::<f64>() + scene.fixed_error.1;
        Self { energies, whole }
    }

    fn point(&self, scene: &Scene, chosen: impl Iterator<Item = Cell>) -> Point {
        let (mut cost, mut loss, mut relative) = (scene.fixed, scene.fixed_error.0, 0.0);
        for (cell, energy) in chosen.zip(&self.energies) {
            cost += cell.cost;
            loss += cell.loss;
            relative += if *energy > 0.0 { cell.loss / energy } else { 0.0 };
        }
        Point {
            keep: cost / scene.whole.max(1.0),
            error: if self.whole > 0.0 { (loss / self.whole).sqrt() } else { 0.0 },
            mean: (relative / self.energies.len().max(1) as f64).sqrt(),
        }
    }
}

/// Plans of levels, set so that they lie about evenly: the widest gap is halved until there are enough.
fn by_level(scene: &Scene, cells: &[Vec<Cell>], levels: &Levels, sums: &Sums) -> Vec<Point> {
    let at = |level: f64| {
        let shares = scene.shares(levels, level);
        let chosen = shares.iter().zip(cells).map(|(share, cells)| {
            let after = cells.partition_point(|c| c.share <= share + 1e-9);
            cells.get(after.saturating_sub(1)).copied().unwrap_or(NOTHING)
        });
        (level, sums.point(scene, chosen))
    };
    let mut found = vec![at(0.0), at(levels.most)];
    while found.len() < POINTS {
        let gap =
            |w: &[(f64, Point)]| if w[1].0 - w[0].0 > levels.most * 1e-9 { w[1].1.keep - w[0].1.keep } else { 0.0 };
        let Some((i, wide)) = found.windows(2).map(gap).enumerate().max_by(|a, b| a.1.total_cmp(&b.1)) else { break };
        if wide < 2e-3 {
            break;
        }
        let middle = f64::midpoint(found[i].0, found[i + 1].0);
        found.insert(i + 1, at(middle));
    }
    found.into_iter().map(|(_, point)| point).collect()
}

const NOTHING: Cell = Cell {
    share: 0.0,
    treatment: Treatment { rank: None, prune: None, form: Factors::Matrix, quantise: None },
    cost: 0.0,
    loss: 0.0,
};

/// Every plan on the merged hulls, thinned.
fn by_hull(scene: &Scene, cells: &[Vec<Cell>], loss: Loss, sums: &Sums) -> Result<Vec<Point>, BudgetError> {
    let menus: Vec<Menu> = scene.parties.iter().map(|p| scene.menu(p, cells, loss)).collect::<Result<_, _>>()?;
    let (start, steps) = path(&menus);
    let mut of_party = vec![0usize; scene.free.len()];
    for (party, members) in scene.parties.iter().enumerate() {
        members.iter().for_each(|&i| of_party[i] = party);
    }
    let mut chosen = start;
    let point = |chosen: &[usize]| {
        let cells = cells.iter().zip(&of_party).map(|(c, &p)| c.get(chosen[p]).copied().unwrap_or(NOTHING));
        sums.point(scene, cells)
    };
    let mut points = vec![point(&chosen)];
    let all: f64 = steps.iter().map(|s| s.cost).sum();
    let mut gone = 0.0;
    let mut told = 0.0;
    for (n, step) in steps.iter().enumerate() {
        chosen[step.menu] = step.choice;
        gone += step.cost;
        if gone - told >= all / POINTS as f64 || n + 1 == steps.len() {
            points.push(point(&chosen));
            told = gone;
        }
    }
    Ok(points)
}
