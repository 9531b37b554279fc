//! Layers against settings: the measured excess loss of each layer treated alone.

use super::super::short_name;
use super::super::state::say;
use super::Look;
use crate::app::Action;
use crate::app::keymap;
use crate::model::Layer;
use crate::widgets::heatmap::{self, Heat};
use crate::widgets::number::{percent, ratio};
use crate::widgets::{Ink, fit, put, put_right};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Columns of a setting.
const CELL: u16 = 9;

pub fn draw(look: &Look, area: Rect, buf: &mut Buffer) {
    let app = look.app;
    let key = keymap::key_of(Action::Sweep).unwrap_or_default();
    let Some(sweeping) = &app.quality.sweeping else {
        let text =
            format!("{key} measures it by the knob at hand ({}), layer by layer, in the background", app.knob.word());
        say(look, &text, area, buf);
        return;
    };
    let theme = look.theme;
    let layers: Vec<&Layer> = app.model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none()).collect();
    let names = (area.width.saturating_sub(2 + CELL * sweeping.steps.len() as u16)).clamp(8, 22);
    let columns = ((area.width.saturating_sub(names + 2)) / CELL).max(1) as usize;
    for (i, step) in sweeping.steps.iter().take(columns).enumerate() {
        let x = area.x + names + 1 + i as u16 * CELL;
        put_right(buf, x, x + CELL - 1, area.y, &fit(&step.words, CELL as usize - 1), theme.style(Ink::Quiet));
    }
    let [done, all] = sweeping.done;
    let state = match (&sweeping.failed, sweeping.running) {
        (Some(why), _) => format!("! {why}"),
        (None, true) => format!("{done}/{all} {}", percent(done as f64 / all.max(1) as f64)),
        (None, false) if done < all => format!("{done}/{all}, {key} goes on"),
        (None, false) => format!("all {all} measured"),
    };
    put(buf, area.x + 1, area.y, area.x + names + 1, &fit(&state, names as usize), theme.style(Ink::Quiet));
    let known = |layer: &Layer, step: usize| {
        let treatment = sweeping.steps[step].treatments.get(layer.id.0).copied().flatten()?;
        app.facts.of(layer.id).sensitivity.as_ref()?.of(treatment).copied()
    };
    let values = layers.iter().flat_map(|l| (0..sweeping.steps.len()).filter_map(|s| known(l, s)).map(|f| f.excess));
    let most = values.fold(1e-12, f64::max);
    let room = area.height.saturating_sub(1) as usize;
    let here = layers.iter().position(|l| l.id == app.selected).unwrap_or(0);
    let top = here.saturating_sub(room / 2).min(layers.len().saturating_sub(room));
    for (layer, y) in layers.iter().skip(top).take(room).zip(area.y + 1..) {
        let ink = if layer.id == app.selected { Ink::Accent } else { Ink::Text };
        put(buf, area.x + 1, y, area.right(), &fit(&short_name(layer), names as usize - 1), theme.style(ink));
        for step in 0..sweeping.steps.len().min(columns) {
            let x = area.x + names + 1 + step as u16 * CELL;
            let applies = sweeping.steps[step].treatments.get(layer.id.0).is_some_and(Option::is_some);
            let felt = known(layer, step);
            let heat = match felt {
                // Shades follow the square root: the few layers that lose most would leave all others blank.
                Some(f) => Heat::Share((f.excess.max(0.0) / most).sqrt()),
                None if applies => Heat::Pending,
                None => Heat::Absent,
            };
            heatmap::cell(buf, (x, y), 2, heat, theme);
            if let Some(f) = felt {
                // What lies within twice its error is told from nothing by nobody.
                let sure = f.excess.abs() > 2.0 * f.standard_error;
                let text = if f.excess < 0.0 { format!("-{}", ratio(-f.excess)) } else { ratio(f.excess) };
                let ink = if sure { ink } else { Ink::Quiet };
                put_right(buf, x + 2, x + CELL - 1, y, &text, theme.style(ink));
            }
        }
    }
}
