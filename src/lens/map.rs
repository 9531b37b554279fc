//! The whole model at one glance: any metric by depth and role.

use super::explain::{self, Entry};
use super::{Lens, Look, short_name, state, write};
use crate::app::grid::Grid;
use crate::app::metric::{Form, METRICS, Metric, Source};
use crate::app::{Action, App, LensId};
use crate::known::Known;
use crate::model::{Layer, LayerId};
use crate::widgets::heatmap::{self, Heat};
use crate::widgets::{Ink, fit, put, put_right, width};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// See the module.
pub struct MapLens;

impl Lens for MapLens {
    fn id(&self) -> LensId {
        LensId::Map
    }
    fn title(&self, look: &Look) -> String {
        let here = look.short_name();
        format!("Map  {}  at {here}", metric(look.app).name)
    }
    fn remark(&self, look: &Look) -> String {
        if look.compact { "enter opens".to_owned() } else { "▸ the selected layer, enter opens it".to_owned() }
    }
    fn keys(&self) -> &'static [Action] {
        &[Action::Metric, Action::SameRole(1), Action::Sort, Action::Expand]
    }
    fn draw(&self, look: &Look, area: Rect, buf: &mut Buffer) {
        if area.height < 4 || area.width < 24 {
            return;
        }
        let field = Field::of(look.app, area);
        let Some(field) = field else {
            list(look, area, buf);
            return;
        };
        let scale = &Scale::of(look.app);
        field.draw(look, scale, buf);
        by_role(look, scale, &field, area, buf);
        foot(look, scale, area, buf);
    }
    fn explain(&self) -> &'static [Entry] {
        explain::MAP
    }
}

fn metric(app: &App) -> &'static Metric {
    METRICS.get(app.metric()).unwrap_or(&METRICS[0])
}

/// A metric and the scale of its shades: the smallest and largest value that matter. Made once a frame: which metric is
/// shown depends on the plan of all layers.
struct Scale {
    metric: &'static Metric,
    /// The metric of every layer.
    values: Vec<Option<Known>>,
    low: f64,
    high: f64,
    log: bool,
}

impl Scale {
    fn of(app: &App) -> Self {
        let metric = metric(app);
        let mut values = Vec::with_capacity(app.model.layers.len());
        let (mut high, mut positive) = (0.0, f64::INFINITY);
        for layer in &app.model.layers {
            let value = app.source(layer.id).and_then(|s: Source| (metric.value)(s));
            if let Some(known) = value.filter(|_| layer.measurable() && layer.tied_to.is_none()) {
                high = f64::max(high, known.value);
                positive = if known.value > 0.0 { f64::min(positive, known.value) } else { positive };
            }
            values.push(value);
        }
        let log = metric.log && positive.is_finite() && high > positive * 100.0;
        Self { metric, values, low: if log { positive / 1.5 } else { 0.0 }, high, log }
    }
    fn value(&self, id: LayerId) -> Option<Known> {
        self.values.get(id.0).copied().flatten()
    }
    fn written(&self, layer: &Layer) -> String {
        crate::widgets::number::known(self.value(layer.id), |v| write(self.metric.form, v))
    }
    fn heat(&self, value: Option<Known>, failed: bool) -> Heat {
        match value {
            _ if failed => Heat::Failed,
            None => Heat::Pending,
            Some(_) if self.high <= 0.0 => Heat::Share(0.0),
            Some(k) if self.log && k.value > 0.0 => {
                Heat::Share((k.value / self.low).ln() / (self.high / self.low).ln())
            }
            Some(k) => Heat::Share(k.value / self.high),
        }
    }
}

/// A value in at most so many columns, with as many digits as fit.
fn brief(form: Form, value: f64, room: u16) -> String {
    let full = write(form, value);
    let rounded = [format!("{value:.1}"), format!("{value:.0}")];
    let short = if full.contains(['e', '%', '^', 'k', 'M']) { &rounded[..0] } else { &rounded[..] };
    let fits = |t: &&String| width(t) <= room as usize;
    std::iter::once(&full).chain(short).find(fits).cloned().unwrap_or_else(|| fit(&full, room as usize))
}

/// Where the cells lie: shared by drawing and the pointer.
struct Field<'a> {
    grid: &'a Grid,
    area: Rect,
    columns: u16,
    rows: u16,
    top: usize,
    lines: u16,
}

/// Columns of the block numbers.
const MARGIN: u16 = 6;

impl<'a> Field<'a> {
    fn of(app: &'a App, area: Rect) -> Option<Self> {
        let room = area.width.saturating_sub(MARGIN);
        let grid = app.index.grids(&app.model)?.fitting((room / 7).max(1) as usize);
        let wide = (room / grid.heads.len().max(1) as u16).clamp(3, 11);
        let height = area.height.saturating_sub(5);
        // A line for the number, the rest shade.
        let lines = (height / grid.blocks.len().max(1) as u16).clamp(1, 4);
        let rows = (height / lines).max(1);
        let here = app.block_of(app.selected).and_then(|b| grid.blocks.iter().position(|x| *x == b)).unwrap_or(0);
        let top = here.saturating_sub(rows as usize / 2).min(grid.blocks.len().saturating_sub(rows as usize));
        Some(Self { grid, area, columns: wide, rows, top, lines })
    }

    fn cell(&self, row: usize, column: usize) -> (u16, u16) {
        let x = self.area.x + MARGIN + column as u16 * self.columns;
        (x, self.area.y + 1 + (row - self.top) as u16 * self.lines)
    }

    fn draw(&self, look: &Look, scale: &Scale, buf: &mut Buffer) {
        let theme = look.theme;
        put(buf, self.area.x + 1, self.area.y, self.area.right(), "blk", theme.style(Ink::Quiet));
        for (c, head) in self.grid.heads.iter().enumerate() {
            let x = self.area.x + MARGIN + c as u16 * self.columns;
            put(buf, x, self.area.y, self.area.right(), &fit(head, self.columns as usize - 1), theme.style(Ink::Quiet));
        }
        for row in self.top..(self.top + self.rows as usize).min(self.grid.blocks.len()) {
            let y = self.cell(row, 0).1;
            put_right(buf, self.area.x, self.area.x + 4, y, &self.grid.blocks[row].to_string(), theme.style(Ink::Text));
            for column in 0..self.grid.heads.len() {
                self.draw_cell(look, scale, row, column, buf);
            }
        }
        if self.top + (self.rows as usize) < self.grid.blocks.len() {
            let more = format!("{} more blocks below", self.grid.blocks.len() - self.top - self.rows as usize);
            let y = self.area.bottom().saturating_sub(4);
            put(buf, self.area.x + 1, y, self.area.right(), &more, theme.style(Ink::Quiet));
        }
    }

    fn draw_cell(&self, look: &Look, scale: &Scale, row: usize, column: usize, buf: &mut Buffer) {
        let app = look.app;
        let ids = self.grid.at(row, column);
        let Some(first) = ids.first() else { return };
        let values: Vec<Option<Known>> = ids.iter().map(|id| scale.value(*id)).collect();
        // Of several layers in one cell the largest value is shown.
        let shown = if values.iter().any(Option::is_none) && !values.iter().any(Option::is_some) {
            None
        } else {
            values.into_iter().flatten().max_by(|a, b| a.value.total_cmp(&b.value))
        };
        let failed = ids.iter().all(|id| app.facts.of(*id).failure.is_some()) && shown.is_none();
        let (x, y) = self.cell(row, column);
        let selected = ids.contains(&app.selected);
        let pinned = app.plan.entry(*first).pinned;
        let dense = scale.metric.name == "error" && ids.iter().all(|id| app.plan.treatment(*id).is_dense());
        let heat = scale.heat(shown, failed);
        let style = look.theme.style(if selected { Ink::Accent } else { Ink::Text });
        let text = |room: u16| match shown {
            _ if dense => {
                if room >= 5 {
                    "dense".to_owned()
                } else {
                    String::new()
                }
            }
            Some(k) => format!(
                "{}{}",
                if pinned { "⊗" } else { "" },
                brief(scale.metric.form, k.value, room - u16::from(pinned))
            ),
            None => "…".to_owned(),
        };
        // Glyphs alone where numbers would not fit.
        let (glyphs, room, below) = match (self.lines, self.columns) {
            (_, ..=4) => (self.columns - 1, 0, 0),
            (1, ..=7) => (1, self.columns - 2, 0),
            (1, _) => (2, self.columns - 4, 0),
            (lines, columns) => (columns - 2, columns - 1, (lines - 1).min(2)),
        };
        for line in 0..below.max(1) {
            heatmap::cell(buf, (x, y + line), glyphs, heat, look.theme);
        }
        if room > 0 {
            let text = text(room);
            let at = match below {
                0 => x + glyphs + u16::from(self.columns > 7),
                _ => x + u16::from(width(&text) < room as usize),
            };
            put(buf, at, y + below, x + self.columns - 1, &text, style);
        }
        if selected {
            put(buf, x - 1, y, x, "▸", look.theme.style(Ink::Accent));
        }
    }
}

/// The layer that a cell of the screen shows.
pub fn layer_at(app: &App, area: Rect, x: u16, y: u16) -> Option<LayerId> {
    let field = Field::of(app, area)?;
    let column = x.checked_sub(area.x + MARGIN)? / field.columns;
    let row = field.top + (y.checked_sub(area.y + 1)? / field.lines) as usize;
    if row >= field.top + field.rows as usize {
        return None;
    }
    field.grid.at(row, column as usize).first().copied()
}

/// The mean of each column, where there is room beside the grid.
fn by_role(look: &Look, scale: &Scale, field: &Field, area: Rect, buf: &mut Buffer) {
    let x = area.x + MARGIN + field.columns * field.grid.heads.len() as u16 + 2;
    let room = area.right().saturating_sub(x + 1);
    if room < 30 {
        return;
    }
    put(buf, x, area.y, area.right(), "mean by role", look.theme.style(Ink::Quiet));
    for ((column, head), y) in field.grid.heads.iter().enumerate().zip(area.y + 1..area.bottom() - 4) {
        let ids = (0..field.grid.blocks.len()).flat_map(|row| field.grid.at(row, column));
        let values: Vec<Known> = ids.filter_map(|id| scale.value(*id)).collect();
        put(buf, x, y, area.right(), &fit(head, 8), look.theme.style(Ink::Text));
        if values.is_empty() {
            put(buf, x + 9, y, area.right(), "…", look.theme.style(Ink::Quiet));
            continue;
        }
        let mean = values.iter().map(|k| k.value).sum::<f64>() / values.len() as f64;
        let bound = values.iter().map(|k| k.bound).reduce(crate::known::Bound::and);
        let mean = Known { value: mean, bound: bound.unwrap_or(crate::known::Bound::Exact) };
        let bar = room.saturating_sub(9 + 9).min(40);
        if let Heat::Share(share) = scale.heat(Some(mean), false) {
            let filled = (share.clamp(0.0, 1.0) * f64::from(bar)).round() as u16;
            heatmap::cell(buf, (x + 9, y), filled.max(1), Heat::Share(share), look.theme);
            let text = crate::widgets::number::known(Some(mean), |v| write(scale.metric.form, v));
            put(buf, x + 10 + filled.max(1), y, area.right(), &text, look.theme.style(Ink::Text));
        }
    }
}

/// Layers outside the blocks, and the largest values.
fn foot(look: &Look, scale: &Scale, area: Rect, buf: &mut Buffer) {
    let app = look.app;
    let outside: Vec<String> = app
        .model
        .layers
        .iter()
        .filter(|l| l.block.is_none() && l.measurable())
        .map(|l| format!("{}{} {}", marker(app, l), l.label, scale.written(l)))
        .collect();
    let y = area.bottom() - 2;
    legend(look, scale, area, y - 1, buf);
    line(look, area, y, "outside", &outside, buf);
    let largest: Vec<String> =
        largest(app, scale).iter().map(|(l, _)| format!("{} {}", short_name(l), scale.written(l))).collect();
    line(look, area, y + 1, "largest", &largest, buf);
}

/// The layers with the largest positive values, largest first; of equal ones the first in module order. Linear: nothing is
/// sorted but the few that are shown.
fn largest<'a>(app: &'a App, scale: &Scale) -> Vec<(&'a Layer, f64)> {
    const SHOWN: usize = 8;
    let mut found: Vec<(&Layer, f64)> = Vec::with_capacity(SHOWN + 1);
    for layer in app.model.layers.iter().filter(|l| l.eligible()) {
        let Some(value) = scale.value(layer.id).map(|k| k.value).filter(|v| *v > 0.0) else { continue };
        let at = found.partition_point(|f| f.1 >= value);
        if at < SHOWN {
            found.insert(at, (layer, value));
            found.truncate(SHOWN);
        }
    }
    found
}

/// What the shades stand for.
fn legend(look: &Look, scale: &Scale, area: Rect, y: u16, buf: &mut Buffer) {
    let form = scale.metric.form;
    let mut phrase = crate::widgets::Phrase::new().caption("shades").and(write(form, scale.low));
    for share in [0.2, 0.4, 0.7, 1.0] {
        phrase = phrase.and_inked(heatmap::shade(share).to_string().repeat(2), Ink::Heat(share));
    }
    phrase = phrase.and(write(form, scale.high));
    if scale.log {
        phrase = phrase.and_inked("(log)", Ink::Quiet);
    }
    phrase.caption("… to come").caption("! failed").draw(buf, area.x + 1, y, area.right(), 2, look.theme);
}

fn marker(app: &App, layer: &Layer) -> &'static str {
    if layer.id == app.selected { "▸" } else { "" }
}

fn line(look: &Look, area: Rect, y: u16, caption: &str, items: &[String], buf: &mut Buffer) {
    let mut phrase = crate::widgets::Phrase::new().caption(caption);
    for item in items {
        phrase = phrase.group(item.clone());
    }
    if items.is_empty() {
        phrase = phrase.caption("none");
    }
    phrase.draw(buf, area.x + 1, y, area.right(), 2, look.theme);
}

/// A model without blocks: one bar a layer.
fn list(look: &Look, area: Rect, buf: &mut Buffer) {
    let (app, theme) = (look.app, look.theme);
    let layers: Vec<&Layer> = app.model.layers.iter().filter(|l| l.measurable()).collect();
    if layers.is_empty() {
        state::absent(look, "metric", area, buf);
        return;
    }
    let scale = &Scale::of(app);
    let rows = area.height as usize - 2;
    let here = layers.iter().position(|l| l.id == app.selected).unwrap_or(0);
    let top = here.saturating_sub(rows / 2).min(layers.len().saturating_sub(rows));
    let label = layers.iter().map(|l| width(&l.name)).max().unwrap_or(8).clamp(8, 24) as u16;
    put(buf, area.x + 1, area.y, area.right(), scale.metric.words, theme.style(Ink::Quiet));
    for (layer, y) in layers.iter().skip(top).take(rows).zip(area.y + 1..) {
        let ink = if layer.id == app.selected { Ink::Accent } else { Ink::Text };
        put(buf, area.x + 1, y, area.right(), marker(app, layer), theme.style(Ink::Accent));
        put(buf, area.x + 3, y, area.right(), &fit(&layer.name, label as usize), theme.style(ink));
        let field = area.width.saturating_sub(label + 16);
        let heat = scale.heat(scale.value(layer.id), app.facts.of(layer.id).failure.is_some());
        let columns = match heat {
            Heat::Share(s) => (s.clamp(0.0, 1.0) * f64::from(field)).round() as u16,
            _ => 1,
        };
        heatmap::cell(buf, (area.x + 5 + label, y), columns.max(1), heat, theme);
        put_right(buf, area.x, area.right() - 1, y, &scale.written(layer), theme.style(ink));
    }
}
