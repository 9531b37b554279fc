//! The parts of the slice on which the plan loses most against the dense model.

use super::super::state::say;
use super::Look;
use crate::evaluate::{Measured, Metric, Part};
use crate::widgets::number::number;
use crate::widgets::{Ink, fit, put, put_right};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Loss of a part, in the metric's terms: bits a byte of a window, nats of an image.
fn loss(metric: Metric, part: &Part) -> f64 {
    match metric {
        Metric::BitsPerByte => part.nats / std::f64::consts::LN_2 / part.bytes.max(1.0),
        Metric::Accuracy => part.nats / part.count.max(1.0),
    }
}

pub fn draw(look: &Look, area: Rect, buf: &mut Buffer) {
    let quality = &look.app.quality;
    let (Some(offer), Some(dense), Some((now, true))) = (&quality.offer, quality.dense(), look.app.measured()) else {
        say(look, "shown once the plan is measured", area, buf);
        return;
    };
    let ranked = ranked(now, dense);
    let theme = look.theme;
    let head = if offer.metric == Metric::BitsPerByte { "bits/byte" } else { "loss, nats" };
    put(buf, area.x + 1, area.y, area.right(), head, theme.style(Ink::Quiet));
    for ((unit, before, after), y) in ranked.into_iter().zip(area.y + 1..area.bottom()) {
        let x = area.x + 1;
        put_right(buf, x, x + 5, y, &number(before), theme.style(Ink::Quiet));
        put(buf, x + 6, y, area.right(), "→", theme.style(Ink::Quiet));
        put_right(buf, x + 7, x + 13, y, &number(after), theme.style(Ink::Text));
        let words = offer.units.get(unit).map_or("", String::as_str);
        let room = area.right().saturating_sub(x + 16) as usize;
        put(buf, x + 15, y, area.right(), &fit(words, room), theme.style(Ink::Quiet));
    }
}

/// Units by what they lose, the most first: number, loss before and after.
fn ranked(now: &Measured, dense: &Measured) -> Vec<(usize, f64, f64)> {
    let pairs = now.parts.iter().zip(&dense.parts).enumerate();
    let mut all: Vec<_> = pairs.map(|(i, (a, b))| (i, loss(now.metric, b), loss(now.metric, a))).collect();
    all.sort_by(|a, b| (b.2 - b.1).total_cmp(&(a.2 - a.1)));
    all
}
