//! Size against error: what every allocator makes of every budget, the plan as a point, plans put aside.

mod differences;
mod measured;
mod table;

use super::explain::{self, Entry};
use super::quality::unit;
use super::{Lens, Look, state};
use crate::app::{Action, LensId, Measure};
use crate::known::Known;
use crate::plan::Totals;
use crate::plan::budget::{Curve, Point};
use crate::widgets::number::{known, percent, percent1, ratio};
use crate::widgets::plot::{Axis, Curve as Line, Mark, Plot};
use crate::widgets::slider::Slider;
use crate::widgets::{Ink, Phrase, put};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// See the module.
pub struct FrontierLens;

impl Lens for FrontierLens {
    fn id(&self) -> LensId {
        LensId::Frontier
    }
    fn title(&self, look: &Look) -> String {
        if look.app.frontier.differences {
            return differences::title(look);
        }
        let of = look.app.frontier.ask.of.word();
        match look.app.frontier.measure {
            _ if look.compact => format!("Frontier  {of}"),
            Measure::Measured => format!("Frontier  {of} against measured loss"),
            _ => format!("Frontier  {of} against predicted error"),
        }
    }
    fn remark(&self, look: &Look) -> String {
        match look.app.frontier.measure {
            _ if look.app.frontier.differences => String::new(),
            Measure::Total if look.app.activations => "outputs, all".to_owned(),
            Measure::Mean if look.app.activations => "out err per layer".to_owned(),
            Measure::Total => "mean err".to_owned(),
            Measure::Mean => "err per layer".to_owned(),
            Measure::Measured => {
                let quality = &look.app.quality;
                quality.offer.as_ref().map_or_else(String::new, |o| format!("measured {}", unit(o.metric)))
            }
        }
    }
    fn keys(&self) -> &'static [Action] {
        &[
            Action::Expand,
            Action::Cursor(1),
            Action::Allocator,
            Action::Means,
            Action::Unit,
            Action::Snapshot,
            Action::Differences,
            Action::Groups,
            Action::Multiple,
        ]
    }
    fn word(&self, action: Action) -> Option<&'static str> {
        match action {
            Action::Expand => Some("take"),
            Action::Cursor(_) => Some("row"),
            _ => None,
        }
    }
    fn draw(&self, look: &Look, area: Rect, buf: &mut Buffer) {
        let parts = Parts::of(look, area);
        if look.app.frontier.differences {
            differences::draw(look, parts.plot, buf);
        } else {
            match look.app.frontier.measure {
                Measure::Measured => measured::picture(look, parts.plot, buf),
                _ => picture(look, parts.plot, buf),
            }
        }
        budget_line(look, parts.slider, buf);
        words(look, parts.words, buf);
        table::draw(look, parts.table, buf);
    }
    fn explain(&self) -> &'static [Entry] {
        explain::FRONTIER
    }
}

/// Where the parts of the lens lie.
#[derive(Debug, Clone, Copy)]
struct Parts {
    plot: Rect,
    slider: Rect,
    words: Rect,
    table: Rect,
}

impl Parts {
    fn of(look: &Look, area: Rect) -> Self {
        let (left, table) = if look.aside > 0 {
            let wide = area.width.saturating_sub(look.aside + 6);
            (Rect { width: wide, ..area }, Rect { x: area.x + wide + 1, width: area.width - wide - 1, ..area })
        } else {
            let lines = (table::lines(look, area.width)).min(area.height / 2);
            let top = area.height - lines;
            (Rect { height: top, ..area }, Rect { y: area.y + top, height: lines, ..area })
        };
        let lines = if left.height >= 14 { 3 } else { 1 };
        let plot = Rect { height: left.height.saturating_sub(lines), ..left };
        let slider = Rect { y: plot.bottom(), height: lines.min(1), ..left };
        let words = Rect { y: slider.bottom(), height: lines.saturating_sub(1), ..left };
        Self { plot, slider, words, table }
    }
}

/// Where the budget's slider is drawn, for the pointer.
pub fn slider_area(look: &Look, area: Rect) -> Rect {
    slider(Parts::of(look, area).slider)
}

/// The row of the table that lies under a cell.
pub fn row_at(look: &Look, area: Rect, x: u16, y: u16) -> Option<usize> {
    table::row_at(look, Parts::of(look, area).table, x, y)
}

fn slider(line: Rect) -> Rect {
    let words = if line.width < 40 { 12 } else { 30 };
    Rect { x: line.x + 8, width: line.width.saturating_sub(8 + words + 1).max(4), height: line.height.min(1), ..line }
}

/// What a plan keeps, in the unit of the budget.
fn keep(look: &Look, totals: &Totals) -> f64 {
    look.app.frontier.ask.of.share(totals)
}

/// The error that is drawn, of a plan of a curve.
fn error(look: &Look, point: Point) -> f64 {
    match look.app.frontier.measure {
        Measure::Total => point.error,
        // What was measured stands beside predictions, never in their place.
        Measure::Mean | Measure::Measured => point.mean,
    }
}

/// The same of the plan as it stands.
fn error_now(look: &Look) -> Option<Known> {
    let outcome = &look.app.outcome;
    if look.app.frontier.measure == Measure::Total {
        return outcome.totals.error;
    }
    if look.app.activations {
        return outcome.output_error(&look.app.model);
    }
    outcome.mean_error(&look.app.model)
}

/// Budgets are drawn in steps of a thousandth.
const STEPS: usize = 1000;

fn picture(look: &Look, area: Rect, buf: &mut Buffer) {
    let frontier = &look.app.frontier;
    let Some(curves) = frontier.curves.as_deref().filter(|c| c.iter().any(|c| !c.points.is_empty())) else {
        absent(look, area, buf);
        return;
    };
    let drawn = || curves.iter().filter(|c| !c.points.is_empty());
    let least = drawn().filter_map(|c| c.points.first()).map(|p| p.keep).fold(1.0, f64::min);
    let top = drawn().flat_map(|c| &c.points).map(|p| error(look, *p)).fold(1e-6, f64::max);
    let sampled: Vec<(usize, Vec<f64>)> = curves
        .iter()
        .enumerate()
        .filter(|(_, c)| !c.points.is_empty())
        .map(|(i, curve)| {
            let at = |n: usize| curve.at(n as f64 / STEPS as f64).map_or(f64::NAN, |p| error(look, p));
            (i, (1..=STEPS).map(at).collect())
        })
        .collect();
    let under = frontier.row().checked_sub(frontier.snapshots.len());
    let mut lines: Vec<(u8, Line)> = sampled
        .iter()
        .map(|(i, values)| {
            let (order, ink) = match *i {
                i if i == frontier.allocator => (2, Ink::Accent),
                i if Some(i) == under => (1, Ink::Mark),
                _ => (0, Ink::Quiet),
            };
            (order, Line { values, ink, kept: None })
        })
        .collect();
    lines.sort_by_key(|(order, _)| *order);
    let mille = |keep: f64| keep * STEPS as f64;
    let chosen = curves.get(frontier.allocator);
    let mut points = Vec::new();
    // Where there is little room the table says it.
    if let Some(knee) = chosen.and_then(|c| c.points.get(c.knee?)).filter(|_| area.height >= 7) {
        points.push((mille(knee.keep), error(look, *knee), format!("◆ knee {}", percent(knee.keep)), Ink::Text));
    }
    points.extend(frontier.snapshots.iter().filter_map(|s| {
        Some((
            mille(s.keep(frontier.ask.of)),
            s.error(frontier.measure, look.app.activations)?.value,
            s.name.to_string(),
            Ink::Mark,
        ))
    }));
    let now = error_now(look).map(|e| (mille(keep(look, &look.app.outcome.totals)), e.value));
    let marks = vec![Mark {
        x: mille(frontier.ask.keep),
        before: format!("budget {}", percent(frontier.ask.keep)),
        after: String::new(),
        ink: if frontier.active { Ink::Accent } else { Ink::Text },
        pointed: true,
        short: false,
    }];
    let plot = Plot {
        x: Axis::new(mille((least - 0.01).max(0.0)), STEPS as f64, false),
        y: Axis::new(0.0, top.max(now.map_or(0.0, |n| n.1)), false),
        curves: lines.into_iter().map(|(_, line)| line).collect(),
        marks,
        level: None,
        dead_from: None,
        dead_label: "",
        cursor: now,
        points,
        write_y: ratio,
        write_x: |mille| percent(mille / STEPS as f64),
    };
    plot.draw(area, buf, look.theme);
}

/// Why there is no curve yet, or at all.
fn absent(look: &Look, area: Rect, buf: &mut Buffer) {
    let frontier = &look.app.frontier;
    let text = match frontier.curves.as_deref() {
        None => "curves … drawn as soon as the layers are measured".to_owned(),
        Some(curves) => {
            let chosen = curves.get(frontier.allocator).and_then(|c| c.why.clone());
            let eligible = || look.app.model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none());
            let measured = eligible().filter(|l| look.app.facts.of(l.id).magnitude.is_some()).count();
            match chosen {
                _ if measured < eligible().count() && look.app.progress.is_some() => {
                    format!("curves … {measured} of {} layers are measured", eligible().count())
                }
                Some(why) => why,
                None => "no curve".to_owned(),
            }
        }
    };
    state::say(look, &text, area, buf);
}

fn budget_line(look: &Look, line: Rect, buf: &mut Buffer) {
    if line.height == 0 {
        return;
    }
    let (frontier, theme) = (&look.app.frontier, look.theme);
    let ink = if frontier.active { Ink::Accent } else { Ink::Text };
    put(buf, line.x, line.y, line.right(), if frontier.active { "▌" } else { " " }, theme.style(ink));
    put(buf, line.x + 1, line.y, line.right(), "budget", theme.style(ink));
    let area = slider(line);
    let keep = frontier.ask.keep;
    Slider { at: keep, dead_from: None, active: frontier.active, enabled: true }.draw(area, buf, theme);
    // Where the model cannot go.
    let last = f64::from(area.width.saturating_sub(1));
    let column = |share: f64| (share * last).round() as u16;
    for x in 0..frontier.least().map_or(0, column).min(area.width).min(column(keep)) {
        put(buf, area.x + x, area.y, area.right(), "░", theme.style(Ink::Quiet));
    }
    let words = Phrase::new().group(format!("keep {}", percent1(keep))).and(format!("of {}", frontier.ask.of.word()));
    words.caption(&frontier.ask.means.words()).draw(buf, area.right() + 1, line.y, line.right(), 1, theme);
}

/// What the chosen allocator predicts at the budget, and what it has to keep to.
fn words(look: &Look, area: Rect, buf: &mut Buffer) {
    if area.height < 2 {
        return;
    }
    let frontier = &look.app.frontier;
    let ask = &frontier.ask;
    let mut phrase = Phrase::new().caption("floor").and(percent(ask.floor)).caption("ceiling");
    phrase = phrase.and(if ask.ceiling < 1.0 { percent(ask.ceiling) } else { "dense".to_owned() });
    phrase = phrase.caption("ranks").and(format!("×{}", frontier.multiple()));
    phrase = phrase.caption("groups").and(ask.groups.words());
    if let Some(within) = ask.of.of_compressible(&look.app.model, &look.app.outcome, ask.keep) {
        phrase = phrase.caption("of compressible").and(percent1(within.max(0.0)));
    }
    phrase.draw(buf, area.x + 1, area.y, area.right(), 2, look.theme);
    let second = match (&frontier.solved, frontier.is_solving()) {
        (_, true) => Phrase::new().caption("solving …"),
        (Some(solved), _) => {
            let took = frontier.solved_in.map(|t| format!(", solved in {:.1} ms", t.as_secs_f64() * 1e3));
            let phrase = Phrase::new().caption(&format!("{solved}{}", took.unwrap_or_default()));
            if frontier.binding.is_empty() { phrase } else { phrase.caption("binding").and(binding(&frontier.binding)) }
        }
        (None, _) => {
            let curve = frontier.curves.as_ref().and_then(|c| c.get(frontier.allocator));
            let phrase = predicted(look, curve);
            let held = curve.and_then(|c| limit(look, c)).is_some_and(|(end, _)| end == "min");
            let met = curve.is_some_and(|c| c.why.is_none() && !held);
            if met { phrase.caption("enter makes it the plan") } else { phrase }
        }
    };
    second.draw(buf, area.x + 1, area.y + 1, area.right(), 2, look.theme);
}

fn predicted(look: &Look, curve: Option<&Curve>) -> Phrase {
    let frontier = &look.app.frontier;
    let phrase = Phrase::new().caption(frontier.allocator());
    let Some(curve) = curve else { return phrase.and("…") };
    // A reason names the allocator itself.
    if let Some(why) = &curve.why {
        return Phrase::new().caption(why);
    }
    match (curve.at(frontier.ask.keep), &curve.why) {
        (Some(point), _) => phrase.and(format!("err {}", at(look, curve, point))),
        (None, Some(why)) => phrase.and(why.clone()),
        (None, None) => phrase.and(reach(look, curve)),
    }
}

/// Constraints in a line: pins are counted where there are several.
fn binding(all: &[String]) -> String {
    let pins = all.iter().filter(|b| b.starts_with("pinned: ")).count();
    let rest = all.iter().filter(|b| pins < 2 || !b.starts_with("pinned: ")).cloned();
    let counted = (pins > 1).then(|| format!("{pins} layers pinned"));
    counted.into_iter().chain(rest).collect::<Vec<_>>().join("; ")
}

/// The error of a point, with its badge: curves are drawn between steps.
fn at(look: &Look, curve: &Curve, point: Point) -> String {
    let bound = crate::known::Bound::Estimate.and(curve.bound);
    known(Some(Known { value: error(look, point), bound }), ratio)
}

/// The least or the most that an allocator can keep, where that is what stands in the way.
fn limit(look: &Look, curve: &Curve) -> Option<(&'static str, f64)> {
    let keep = look.app.frontier.ask.keep;
    let (first, last) = (curve.points.first()?.keep, curve.points.last()?.keep);
    if keep < first { Some(("min", first)) } else { (keep > last).then_some(("max", last)) }
}

fn reach(look: &Look, curve: &Curve) -> String {
    match limit(look, curve) {
        Some(("min", least)) => format!("cannot keep less than {}", percent(least)),
        Some((_, most)) => format!("keeps {} at the most", percent(most)),
        None => "…".to_owned(),
    }
}
