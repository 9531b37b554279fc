//! Which proxies rank the visited plans as the measured loss does.

use super::super::state::say;
use super::Look;
use crate::plan::predict::{PREDICTORS, tau, verdict};
use crate::widgets::meter::meter;
use crate::widgets::number::ratio;
use crate::widgets::{Ink, fit, put, put_right};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Fewer plans say nothing.
const ENOUGH: usize = 5;

pub fn draw(look: &Look, area: Rect, buf: &mut Buffer) {
    let quality = &look.app.quality;
    let seen = quality.visits.len();
    if seen < ENOUGH {
        let text =
            format!("{seen} of at least {ENOUGH} plans are measured: move a knob and rest, each plan becomes a point");
        say(look, &text, Rect { y: area.y, ..area }, buf);
        return;
    }
    let mut found: Vec<(usize, Option<f64>, usize)> = (0..PREDICTORS.len())
        .map(|i| {
            let pairs = quality.pairs(i);
            let enough = pairs.len() >= ENOUGH;
            (i, tau(&pairs).filter(|_| enough), pairs.len())
        })
        .collect();
    found.sort_by(|a, b| b.1.unwrap_or(-2.0).total_cmp(&a.1.unwrap_or(-2.0)).then(a.0.cmp(&b.0)));
    let theme = look.theme;
    for ((i, tau, pairs), y) in found.into_iter().zip(area.y..area.bottom()) {
        let Some(predictor) = PREDICTORS.get(i) else { continue };
        let right = area.right().saturating_sub(1);
        put(buf, area.x + 1, y, right, &fit(predictor.name, 18), theme.style(Ink::Text));
        let x = area.x + 20;
        let Some(tau) = tau else {
            let why = if pairs == 0 { "not known here" } else { "too few plans" };
            put(buf, x, y, right, why, theme.style(Ink::Quiet));
            continue;
        };
        put_right(buf, x, x + 9, y, &format!("τ {:>4}", signed(tau)), theme.style(Ink::Text));
        let ink = if tau >= 0.5 { Ink::Text } else { Ink::Warn };
        let end = put(buf, x + 10, y, right, verdict(tau), theme.style(ink));
        let room = right.saturating_sub(end + 2).min(16);
        if room >= 6 {
            put(buf, x + 20, y, right, &meter(tau.max(0.0), room.saturating_sub(2) as usize), theme.style(Ink::Quiet));
        }
    }
    if area.height as usize > PREDICTORS.len() {
        let note = format!("Kendall's τ over {seen} visited plans: 1 the same order, 0 chance");
        let y = area.y + PREDICTORS.len() as u16;
        put(buf, area.x + 1, y, area.right(), &note, theme.style(Ink::Quiet));
    }
}

/// `.93`, `-.20`.
fn signed(tau: f64) -> String {
    if tau < 0.0 { format!("-{}", ratio(-tau)) } else { ratio(tau) }
}
