//! How the window's size divides: plain numbers, shared by the list's scrolling and the drawing.

/// The smallest window that is drawn.
pub const SMALLEST: (u16, u16) = (60, 20);

/// What fits into a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Columns and rows.
    pub size: (u16, u16),
    /// Whether frames shrink and words shorten.
    pub compact: bool,
    /// Rows of the title and the tabs.
    pub head: u16,
    /// Rows between head and knobs.
    pub body: u16,
    /// Rows of the knobs, frame included.
    pub knobs: u16,
    /// Rows below the knobs: model, work, keys.
    pub foot: u16,
    /// Columns of the layer list; 0 when the other panel is expanded.
    pub list: u16,
    /// Columns of numbers beside a plot.
    pub aside: u16,
}

impl Shape {
    /// Divides a window; `None` when it is too small. `expanded` gives the list's columns to the lens.
    pub fn of(size: (u16, u16), expanded: bool) -> Option<Self> {
        let (w, h) = size;
        if w < SMALLEST.0 || h < SMALLEST.1 {
            return None;
        }
        let compact = w < 100 || h < 32;
        let (knobs, foot) = match (compact, h) {
            (true, _) => (4, 3),
            (false, ..=35) => (6, 3),
            (false, _) => (7, 4),
        };
        let list = match w {
            _ if expanded => 0,
            ..=71 => 26,
            72..=99 => 36,
            100..=149 => 54,
            _ => 66,
        };
        let aside = if w - list >= 110 { 34 } else { 0 };
        Some(Self { size, compact, head: 2, body: h - 2 - knobs - foot, knobs, foot, list, aside })
    }

    /// Rows of the list that show layers.
    pub fn list_rows(&self) -> usize {
        // Frame and the line of column heads.
        self.body.saturating_sub(3) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_window_is_divided_without_rest() {
        for w in 60..220 {
            for h in 20..90 {
                for expanded in [false, true] {
                    let s = Shape::of((w, h), expanded).unwrap();
                    assert_eq!(s.head + s.body + s.knobs + s.foot, h);
                    assert!(s.body >= 10, "{w}×{h}");
                    assert!(w - s.list - s.aside >= 34, "{w}×{h}");
                }
            }
        }
        assert_eq!(Shape::of((59, 40), false), None);
        assert_eq!(Shape::of((100, 19), false), None);
    }
}
