//! The frame: [`draw`] paints everything from the state, [`hit`] finds what the pointer touches in the same layout.

mod foot;
mod head;
mod help;
mod knobs;
mod layers;
mod layout;
mod leaving;
mod sessions;

use crate::app::{Action, App, LensId, Overlay, Target};
use crate::lens::{self, Look};
use crate::plan::Knob;
use crate::widgets::panel::Panel;
use crate::widgets::slider::Slider;
use crate::widgets::{Glyphs, Ink, Theme, put, width};
use layout::Layout;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// How the screen looks, decided once at the start.
#[derive(Debug, Clone, Copy)]
pub struct Skin {
    /// Colours.
    pub theme: Theme,
    /// Characters.
    pub glyphs: Glyphs,
}

/// Paints the whole frame.
pub fn draw(app: &App, skin: Skin, buf: &mut Buffer) {
    let area = buf.area;
    buf.reset();
    match (Layout::of(app), Look::at(app, skin.theme)) {
        (Some(layout), Some(look)) if (area.width, area.height) == app.size => paint(&look, &layout, buf),
        (Some(_), None) => {
            centred(buf, &["this checkpoint holds no tensors".to_owned(), "q quits".to_owned()], skin.theme);
        }
        _ => too_small(buf, skin.theme),
    }
    skin.glyphs.reduce(buf);
}

fn too_small(buf: &mut Buffer, theme: Theme) {
    let (w, h) = crate::app::shape::SMALLEST;
    let long = format!("slimscope needs {w}×{h}, this window has {}×{}", buf.area.width, buf.area.height);
    let short = format!("too small: {}×{} < {w}×{h}", buf.area.width, buf.area.height);
    let room = buf.area.width as usize;
    let text = match () {
        () if width(&long) + 11 < room => format!("too small: {long}"),
        () if width(&short) <= room => short,
        () if room > 10 => format!("needs {w}×{h}"),
        // Half a number would be another one.
        () => format!("{w}×{h}"),
    };
    centred(buf, &[text], theme);
}

fn centred(buf: &mut Buffer, lines: &[String], theme: Theme) {
    let area = buf.area;
    let top = area.y + area.height.saturating_sub(lines.len() as u16) / 2;
    for (line, y) in lines.iter().zip(top..area.bottom()) {
        let x = area.x + (area.width.saturating_sub(width(line) as u16)) / 2;
        put(buf, x, y, area.right(), line, theme.style(Ink::Text));
    }
}

fn paint(look: &Look, layout: &Layout, buf: &mut Buffer) {
    head::draw(look, layout, buf);
    if layout.list.width > 0 {
        layers::draw(look, layout.list, buf);
    }
    match &look.app.overlay {
        Some(Overlay::Sessions { cursor }) => {
            lens_panel(look, layout.lens, buf);
            sessions::draw(look, *cursor, layout, buf);
        }
        Some(overlay) => {
            let body = layout.body;
            for y in body.top()..body.bottom() {
                for x in body.left()..body.right() {
                    if let Some(cell) = buf.cell_mut((x, y)) {
                        cell.reset();
                    }
                }
            }
            match overlay {
                Overlay::Help { search, cursor } => help::keys(look, &search.text, *cursor, body, buf),
                Overlay::Explain { scroll } => help::explain(look, *scroll, body, buf),
                Overlay::Leaving(page) => leaving::draw(look, page, body, buf),
                Overlay::Sessions { .. } => {}
            }
        }
        None => lens_panel(look, layout.lens, buf),
    }
    knobs::draw(look, layout, buf);
    foot::draw(look, layout, buf);
}

fn lens_panel(look: &Look, area: Rect, buf: &mut Buffer) {
    let lens = lens::of(look.app.lens);
    let (title, remark) = (lens.title(look), lens.remark(look));
    let keys: Vec<String> = lens
        .keys()
        .iter()
        .map(|a| {
            let shrinks = (look.app.expanded && *a == Action::Expand).then_some("shrink");
            crate::app::keymap::hint_as(*a, lens.word(*a).or(shrinks))
        })
        .collect();
    let inside = Panel { title: &title, remark: &remark, keys: &keys }.draw(area, buf, look.theme);
    if inside.width > 0 && inside.height > 0 {
        lens.draw(look, inside, buf);
    }
}

/// What lies under a cell of the screen.
pub fn hit(app: &App, theme: Theme, x: u16, y: u16) -> Target {
    let (Some(layout), Some(look)) = (Layout::of(app), Look::at(app, theme)) else { return Target::Nothing };
    let at = ratatui::layout::Position { x, y };
    if let Some(lens) = head::tab_at(&look, &layout, x, y) {
        return Target::Lens(lens);
    }
    for knob in Knob::ALL {
        let slider = layout.slider(knob);
        if slider.contains(at) {
            return Target::Slider(knob, Slider::hit(slider, x));
        }
    }
    if app.overlay.is_some() {
        return Target::Nothing;
    }
    if layout.list.contains(at) {
        return layers::row_at(app, layout.list, y).map_or(Target::Nothing, Target::Row);
    }
    let inside = Rect {
        x: layout.lens.x + 1,
        y: layout.lens.y + 1,
        width: layout.lens.width.saturating_sub(2),
        height: layout.lens.height.saturating_sub(2),
    };
    if inside.contains(at) {
        return match app.lens {
            LensId::Map => lens::map_layer_at(app, inside, x, y).map_or(Target::Nothing, Target::Layer),
            LensId::Spectrum => {
                let plot = lens::spectrum_plot_area(&look, inside);
                if plot.contains(at) { Target::Plot(Slider::hit(plot, x)) } else { Target::Nothing }
            }
            LensId::Frontier => {
                let slider = lens::frontier_slider_area(&look, inside);
                let row = || lens::frontier_row_at(&look, inside, x, y).map_or(Target::Nothing, Target::Plan);
                if slider.contains(at) { Target::Budget(Slider::hit(slider, x)) } else { row() }
            }
            _ => Target::Nothing,
        };
    }
    Target::Nothing
}

#[cfg(test)]
mod tests;
