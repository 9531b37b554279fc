//! Shades and colours for a table of values.

use super::{Ink, Theme, put};
use ratatui::buffer::Buffer;

/// A value in a heat map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Heat {
    /// No such layer.
    Absent,
    /// Not known yet.
    Pending,
    /// Could not be measured.
    Failed,
    /// A share of the scale, 0 to 1.
    Share(f64),
}

/// The glyph of a shade: the same order as the colours.
pub fn shade(share: f64) -> char {
    const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    if share == 0.0 { SHADES[0] } else { SHADES[((share * 4.0).ceil() as usize).clamp(1, 4)] }
}

/// Draws one value over `columns` cells of a row.
pub fn cell(buf: &mut Buffer, (x, y): (u16, u16), columns: u16, heat: Heat, theme: Theme) {
    let (symbol, ink) = match heat {
        Heat::Absent => return,
        Heat::Pending => ('…', Ink::Quiet),
        Heat::Failed => ('!', Ink::Bad),
        Heat::Share(share) => (shade(share), Ink::Heat(share)),
    };
    let columns = if matches!(heat, Heat::Share(s) if s > 0.0) { columns } else { 1 };
    let text: String = std::iter::repeat_n(symbol, columns as usize).collect();
    put(buf, x, y, x + columns, &text, theme.style(ink));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_rise_and_only_zero_is_a_dot() {
        let order: String = [0.0, 1e-9, 0.25, 0.26, 0.6, 0.9, 1.0, 9.0].iter().map(|&s| shade(s)).collect();
        assert_eq!(order, "·░░▒▓███");
        assert_eq!(shade(f64::NAN), '·');
    }
}
