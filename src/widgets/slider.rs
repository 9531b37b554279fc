//! A knob on a line, with a zone in which it gains nothing.

use super::{Ink, Theme};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// A slider from 0 at the left to 1 at the right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slider {
    /// Where the knob stands.
    pub at: f64,
    /// From here on nothing is gained.
    pub dead_from: Option<f64>,
    /// Whether keys move it.
    pub active: bool,
    /// Whether it can be moved at all.
    pub enabled: bool,
}

impl Slider {
    /// Draws it over one row.
    pub fn draw(&self, area: Rect, buf: &mut Buffer, theme: Theme) {
        if area.width == 0 || area.height == 0 {
            return;
        }
        let last = area.width.saturating_sub(1);
        let cell = |share: f64| (share.clamp(0.0, 1.0) * f64::from(last)).round() as u16;
        let knob = cell(self.at);
        let dead = self.dead_from.map(cell);
        for i in 0..area.width {
            let (symbol, ink) = if i == knob && self.enabled {
                ("●", if self.active { Ink::Accent } else { Ink::Text })
            } else if dead.is_some_and(|d| i >= d) {
                ("░", Ink::Quiet)
            } else if i < knob && self.enabled {
                ("━", if self.active { Ink::Accent } else { Ink::Text })
            } else {
                ("─", Ink::Quiet)
            };
            if let Some(cell) = buf.cell_mut((area.x + i, area.y)) {
                cell.set_symbol(symbol).set_style(theme.style(ink));
            }
        }
    }

    /// The share that a click at column `x` of `area` means.
    pub fn hit(area: Rect, x: u16) -> f64 {
        let last = area.width.saturating_sub(1).max(1);
        f64::from(x.saturating_sub(area.x).min(last)) / f64::from(last)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Depth;
    use super::*;

    fn drawn(slider: Slider) -> String {
        let area = Rect::new(0, 0, 11, 1);
        let mut buf = Buffer::empty(area);
        slider.draw(area, &mut buf, Theme { depth: Depth::None });
        buf.content.iter().map(ratatui::buffer::Cell::symbol).collect()
    }

    #[test]
    fn the_knob_stands_where_a_click_puts_it() {
        let area = Rect::new(3, 0, 41, 1);
        for x in 3..44 {
            let at = Slider::hit(area, x);
            let mut buf = Buffer::empty(Rect::new(0, 0, 60, 1));
            Slider { at, dead_from: None, active: true, enabled: true }.draw(
                area,
                &mut buf,
                Theme { depth: Depth::None },
            );
            assert_eq!(buf[(x, 0)].symbol(), "●", "{x}");
        }
        assert_eq!(Slider::hit(area, 0), 0.0);
        assert_eq!(Slider::hit(area, 200), 1.0);
    }

    #[test]
    fn the_dead_zone_is_seen_before_and_after_the_knob() {
        let s = Slider { at: 0.3, dead_from: Some(0.7), active: true, enabled: true };
        assert_eq!(drawn(s), "━━━●───░░░░");
        assert_eq!(drawn(Slider { at: 1.0, ..s }), "━━━━━━━░░░●");
        assert_eq!(drawn(Slider { enabled: false, dead_from: None, ..s }), "───────────");
    }
}
