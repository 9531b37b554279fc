//! Brushes: know ratatui and numbers, nothing of models.

pub mod apart;
pub mod bars;
pub mod dots;
pub mod glyphs;
pub mod heatmap;
pub mod meter;
pub mod number;
pub mod panel;
pub mod phrase;
pub mod plot;
pub mod slider;
pub mod spark;
pub mod theme;
pub mod transcript;

pub use glyphs::Glyphs;
pub use phrase::Phrase;
pub use theme::{Depth, Ink, Theme};

use crate::text::shown;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

/// Columns a text takes on screen, hidden characters escaped.
pub fn width(text: &str) -> usize {
    shown(text).width()
}

/// Writes `text` at a cell, hidden characters escaped, cut at `right`; returns the column after it. Outside the buffer nothing happens.
pub fn put(buf: &mut Buffer, x: u16, y: u16, right: u16, text: &str, style: Style) -> u16 {
    if y < buf.area.top() || y >= buf.area.bottom() || x < buf.area.left() || x >= right.min(buf.area.right()) {
        return x;
    }
    let room = (right.min(buf.area.right()) - x) as usize;
    buf.set_stringn(x, y, shown(text), room, style).0
}

/// Writes `text` so that it ends before column `right`, not beginning before `left`.
pub fn put_right(buf: &mut Buffer, left: u16, right: u16, y: u16, text: &str, style: Style) {
    let start = right.saturating_sub(width(text) as u16).max(left);
    put(buf, start, y, right, text, style);
}

/// Writes styled pieces one after the other; returns the column after the last.
pub fn put_all(buf: &mut Buffer, area: Rect, pieces: &[(String, Style)]) -> u16 {
    let mut x = area.x;
    for (text, style) in pieces {
        x = put(buf, x, area.y, area.right(), text, *style);
    }
    x
}

/// Cuts a text to `room` columns, marking the cut with `…`.
pub fn fit(text: &str, room: usize) -> String {
    let text = &*shown(text);
    if width(text) <= room {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = width(c.encode_utf8(&mut [0; 4]));
        if used + w + 1 > room {
            break;
        }
        out.push(c);
        used += w;
    }
    if room > 0 {
        out.push('…');
    }
    out
}

/// Cuts a path-like name to `room` columns at its front, where it tells least.
pub fn fit_end(text: &str, room: usize) -> String {
    let text = &*shown(text);
    if width(text) <= room || room == 0 {
        return fit(text, room);
    }
    let mut tail: Vec<char> = Vec::new();
    let mut used = 1;
    for c in text.chars().rev() {
        let w = width(c.encode_utf8(&mut [0; 4]));
        if used + w > room {
            break;
        }
        tail.push(c);
        used += w;
    }
    std::iter::once('…').chain(tail.into_iter().rev()).collect()
}

#[cfg(test)]
mod tests;
