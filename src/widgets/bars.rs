//! A histogram in eighths of a character: upright bars, some of them dimmed.

use super::{Ink, Theme};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Draws one bar per column; `heights` are shares of the area's height. `ink` tells how each column is drawn.
pub fn bars(buf: &mut Buffer, area: Rect, heights: &[f64], ink: impl Fn(usize) -> Ink, theme: Theme) {
    for (i, &height) in heights.iter().enumerate().take(area.width as usize) {
        let height = if height.is_finite() { height.clamp(0.0, 1.0) } else { 0.0 };
        let mut eighths = (height * f64::from(area.height) * 8.0).round() as u16;
        if height > 0.0 {
            // What is there is seen.
            eighths = eighths.max(1);
        }
        for row in 0..area.height {
            let part = eighths.saturating_sub(row * 8).min(8);
            if part == 0 {
                break;
            }
            if let Some(cell) = buf.cell_mut((area.x + i as u16, area.bottom() - 1 - row)) {
                cell.set_symbol(EIGHTHS[part as usize]).set_style(theme.style(ink(i)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Depth;
    use super::*;

    #[test]
    fn bars_have_their_heights_and_nothing_vanishes() {
        let area = Rect::new(0, 0, 5, 2);
        let mut buf = Buffer::empty(area);
        bars(&mut buf, area, &[0.0, 1e-6, 0.5, 0.75, 1.0, 1.0], |_| Ink::Text, Theme { depth: Depth::None });
        let row = |y: u16| (0..5).map(|x| buf[(x, y)].symbol()).collect::<String>();
        assert_eq!([row(0), row(1)], ["   ▄█".to_owned(), " ▁███".to_owned()]);
    }
}
