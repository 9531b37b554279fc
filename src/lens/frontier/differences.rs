//! Where the plan and one put aside differ.

use super::super::short_name;
use super::{Look, state};
use crate::known::Known;
use crate::model::Layer;
use crate::plan::Treatment;
use crate::plan::outcome::project_layer;
use crate::widgets::number::{known, percent, ratio};
use crate::widgets::{Ink, fit, put, put_right};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// The layers that are treated differently.
fn layers<'a>(look: &Look<'a>) -> Vec<(&'a Layer, Treatment, Treatment)> {
    let app = look.app;
    let Some(other) = app.frontier.compared(&app.plan) else { return Vec::new() };
    let pairs = app.model.layers.iter().map(|l| (l, other.plan.treatment(l.id), app.plan.treatment(l.id)));
    pairs.filter(|(_, a, b)| a != b).collect()
}

/// `A against now: 9 layers differ`.
pub fn title(look: &Look) -> String {
    let Some(other) = look.app.frontier.compared(&look.app.plan) else { return "Frontier".to_owned() };
    let n = layers(look).len();
    format!("Frontier  {} → now: {n} {}", other.name, if n == 1 { "layer differs" } else { "layers differ" })
}

/// A treatment in a few letters.
fn brief(treatment: Treatment) -> String {
    let mut parts = Vec::new();
    if let Some(rank) = treatment.rank {
        parts.push(format!("r {rank}"));
    }
    if let Some(how) = treatment.prune {
        parts.push(format!("−{}", how.short()));
    }
    if let Some(how) = treatment.quantise {
        parts.push(how.short());
    }
    if parts.is_empty() { "dense".to_owned() } else { parts.join(" ") }
}

pub fn draw(look: &Look, area: Rect, buf: &mut Buffer) {
    let found = layers(look);
    let Some(other) = look.app.frontier.compared(&look.app.plan) else { return };
    if found.is_empty() {
        let text = format!("plan {} is this very plan", other.name);
        for (line, y) in state::wrap(&text, area.width.saturating_sub(4) as usize).iter().zip(area.y + 1..) {
            put(buf, area.x + 2, y, area.right(), line, look.theme.style(Ink::Text));
        }
        return;
    }
    let columns = Columns::of(area);
    columns.line(look, area.y, ["layer", &other.name.to_string(), "now", "keep", "err"], Ink::Quiet, buf);
    let room = area.height.saturating_sub(2) as usize;
    // The selected layer is in sight.
    let here = found.iter().position(|(l, ..)| l.id >= look.app.selected).unwrap_or(found.len() - 1);
    let top = here.saturating_sub(room / 2).min(found.len().saturating_sub(room));
    for ((layer, before, now), y) in found.iter().skip(top).take(room).zip(area.y + 1..) {
        let facts = look.app.facts.of(layer.id);
        let of = |t: Treatment| project_layer(layer, facts, t, None);
        let (a, b) = (of(*before), of(*now));
        let error = |e: Option<Known>| known(e, ratio);
        let keep = format!("{}→{}", percent(a.keep()), percent(b.keep()));
        let errors = format!("{}→{}", error(a.relative_error()), error(b.relative_error()));
        let ink = if layer.id == look.app.selected { Ink::Accent } else { Ink::Text };
        columns.line(look, y, [&short_name(layer), &brief(*before), &brief(*now), &keep, &errors], ink, buf);
    }
    if found.len() > room {
        let more = format!("{} of {}: ↑↓ move through them", room.min(found.len()), found.len());
        put(buf, area.x + 1, area.bottom() - 1, area.right(), &more, look.theme.style(Ink::Quiet));
    }
}

/// Columns of the table: those of least worth go first where there is little room.
struct Columns {
    area: Rect,
    name: u16,
    treatment: u16,
    keep: u16,
    error: u16,
}

impl Columns {
    fn of(area: Rect) -> Self {
        let w = area.width;
        let (keep, error) = match w {
            ..=43 => (0, 0),
            44..=59 => (0, 12),
            _ => (14, 14),
        };
        let left = w.saturating_sub(keep + error + 1);
        let treatment = (left / 3).min(14);
        Self { area, name: left.saturating_sub(2 * treatment), treatment, keep, error }
    }

    fn line(&self, look: &Look, y: u16, texts: [&str; 5], ink: Ink, buf: &mut Buffer) {
        let style = look.theme.style(ink);
        let [name, before, now, keep, error] = texts;
        let mut x = self.area.x + 1;
        for (text, wide) in [(name, self.name), (before, self.treatment), (now, self.treatment)] {
            put(buf, x, y, x + wide, &fit(text, wide.saturating_sub(1) as usize), style);
            x += wide;
        }
        for (text, wide) in [(keep, self.keep), (error, self.error)] {
            if wide > 0 {
                put_right(buf, x, x + wide - 1, y, &fit(text, wide as usize - 1), style);
            }
            x += wide;
        }
    }
}
