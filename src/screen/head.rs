//! The first two lines: which model, what the plan makes of it, which lens.

use super::layout::Layout;
use crate::app::{App, LensId};
use crate::lens::{self, Look};
use crate::widgets::number::{BYTES, COUNTS, change, known, percent1, ratio};
use crate::widgets::{Ink, Phrase, fit_end, put, put_right, width};
use ratatui::buffer::Buffer;

pub fn draw(look: &Look, layout: &Layout, buf: &mut Buffer) {
    let (app, theme, right) = (look.app, look.theme, layout.head.right());
    let totals = &app.outcome.totals;
    let (letter, changed) = app.plan_name();
    let star = if changed { "*" } else { "" };
    let keep = Phrase::new().caption("plan").and(format!("{letter}{star}")).inked("keep", Ink::Quiet);
    let keep = keep.and_inked(percent1(totals.keep()), if app.plan.is_dense() { Ink::Text } else { Ink::Accent });
    let keep = if look.compact {
        if app.activations {
            keep.caption("out err").and(known(app.outcome.output_error(&app.model), ratio))
        } else {
            keep.caption("err").and(known(totals.error, ratio))
        }
    } else {
        keep.caption("params").and(change(totals.params.0, totals.params.1, &COUNTS, "→")).group(change(
            totals.bytes.0,
            totals.bytes.1,
            &BYTES,
            "→",
        ))
    };
    // Drawn once to learn its width, then at the right.
    let mut scratch = Buffer::empty(ratatui::layout::Rect::new(0, 0, right, 1));
    let wide = keep.draw(&mut scratch, 0, 0, right, 2, theme);
    let start = right.saturating_sub(wide + 1);
    keep.draw(buf, start, 0, right, 2, theme);
    let x = put(buf, 1, 0, start, "slimscope", theme.style(Ink::Quiet));
    let room = start.saturating_sub(x + 4) as usize;
    let x = put(buf, x + 2, 0, start, &fit_end(&app.model.name, room), theme.style(Ink::Title));
    Phrase::new().caption(&describe(app)).draw(buf, x + 2, 0, start.saturating_sub(2), 2, theme);
    tabs(look, layout, buf);
}

/// `llama 4×160  bf16`: what kind of model.
fn describe(app: &App) -> String {
    let model = &app.model;
    let kind = model.architecture().unwrap_or(model.format);
    let hidden =
        ["hidden_size", "n_embd", "d_model", "dim"].iter().find_map(|k| model.config.as_ref()?.get(*k)?.as_u64());
    let size = match (app.index.block_count, hidden) {
        (0, _) => String::new(),
        (b, Some(h)) => format!(" {b}×{h}"),
        (b, None) => format!(" {b} blocks"),
    };
    format!("{kind}{size}  {}", app.index.dtype)
}

/// Name of each tab, shorter where there is little room.
fn tab(look: &Look, lens: LensId) -> String {
    let title = lens.title();
    let name: String = match look.app.size.0 {
        ..=71 if lens != look.app.lens => title.chars().take(3).collect(),
        72..=99 if lens != look.app.lens => title.chars().take(5).collect(),
        _ => title.to_owned(),
    };
    format!("{} {name}", lens.number())
}

/// Tabs with the columns they take.
fn placed(look: &Look) -> Vec<(LensId, u16, String)> {
    let mut x = 1;
    let gap = u16::from(look.app.size.0 >= 100);
    LensId::ALL
        .into_iter()
        .map(|lens| {
            let text =
                if lens == look.app.lens { format!("[{}]", tab(look, lens)) } else { format!(" {} ", tab(look, lens)) };
            let at = x;
            x += width(&text) as u16 + gap;
            (lens, at, text)
        })
        .collect()
}

fn tabs(look: &Look, layout: &Layout, buf: &mut Buffer) {
    let (y, right) = (layout.head.y + 1, layout.head.right());
    let mut end = 0;
    for (lens, x, text) in placed(look) {
        let ink = if lens == look.app.lens { Ink::Accent } else { Ink::Quiet };
        end = put(buf, x, y, right, &text, look.theme.style(ink));
    }
    if let Some(gauge) = lens::gauge(look) {
        // Drawn once to learn its width, then at the right; what does not fit is left to the lens.
        let mut scratch = Buffer::empty(ratatui::layout::Rect::new(0, 0, right, 1));
        let wide = gauge.draw(&mut scratch, 0, 0, right, 1, look.theme);
        gauge.draw(buf, right.saturating_sub(wide + 1).max(end + 1), y, right, 1, look.theme);
        return;
    }
    // What is not measured is said in the place where it will stand.
    let quality = ["loss not measured: errors are of the weights alone", "loss not measured"];
    if let Some(text) = quality.into_iter().find(|t| end as usize + 3 + width(t) < right as usize) {
        put_right(buf, end, right - 1, y, text, look.theme.style(Ink::Quiet));
    }
}

/// The lens whose tab lies under a cell.
pub fn tab_at(look: &Look, layout: &Layout, x: u16, y: u16) -> Option<LensId> {
    if y != layout.head.y + 1 {
        return None;
    }
    placed(look).into_iter().find(|(_, at, text)| x >= *at && x < at + width(text) as u16).map(|(lens, ..)| lens)
}
