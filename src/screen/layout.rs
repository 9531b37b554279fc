//! Where the parts of the frame lie.

use crate::app::{App, Shape};
use crate::plan::Knob;
use ratatui::layout::Rect;

/// Rows of the knobs where they have no frame.
pub const COMPACT: u16 = 4;

/// Rectangles of the frame.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The division of the window.
    pub shape: Shape,
    /// Title and tabs.
    pub head: Rect,
    /// List and lens together.
    pub body: Rect,
    /// The layer list.
    pub list: Rect,
    /// The lens.
    pub lens: Rect,
    /// The knobs, frame included.
    pub knobs: Rect,
    /// Model, work, keys.
    pub foot: Rect,
}

impl Layout {
    /// The layout of the window; `None` when it is too small.
    pub fn of(app: &App) -> Option<Self> {
        let shape = app.shape()?;
        let (w, _) = shape.size;
        let row = |y: u16, height: u16| Rect { x: 0, y, width: w, height };
        let body = row(shape.head, shape.body);
        let knobs = row(shape.head + shape.body, shape.knobs);
        Some(Self {
            shape,
            head: row(0, shape.head),
            body,
            list: Rect { width: shape.list, ..body },
            lens: Rect { x: shape.list, width: w - shape.list, ..body },
            knobs,
            foot: row(knobs.bottom(), shape.foot),
        })
    }

    /// The row of a knob.
    pub fn knob_row(&self, knob: Knob) -> u16 {
        let place = Knob::ALL.iter().position(|k| *k == knob).unwrap_or(0) as u16;
        // Without a frame where there is little room.
        self.knobs.y + place + u16::from(self.knobs.height > COMPACT)
    }

    /// Where a knob's slider is drawn.
    pub fn slider(&self, knob: Knob) -> Rect {
        let (x, wide) = match self.shape.size.0 {
            w @ ..=71 => (7, w - 38),
            w @ 72..=99 => (7, w - 41),
            w => (9, w - 63),
        };
        Rect { x, y: self.knob_row(knob), width: wide, height: 1 }
    }
}
