//! Curves over a numbered sequence, on linear or logarithmic axes. Long curves are thinned to what the dots can show;
//! values that an axis cannot place leave a gap.

mod axis;
mod curve;

pub use axis::Axis;
pub use curve::Curve;

use super::dots::Dots;
use super::{Ink, Theme, put, put_right, width};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// A vertical line.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Where.
    pub x: f64,
    /// What is written at its top, to the left of it.
    pub before: String,
    /// What is written at its top, to the right of it.
    pub after: String,
    /// How it is drawn.
    pub ink: Ink,
    /// Whether the x axis points at it.
    pub pointed: bool,
    /// Whether it is only its `before` at the foot of the plot.
    pub short: bool,
}

/// A plot with its axes.
#[derive(Debug, Clone)]
pub struct Plot<'a> {
    /// The axis across.
    pub x: Axis,
    /// The axis up.
    pub y: Axis,
    /// Drawn in this order, the last on top.
    pub curves: Vec<Curve<'a>>,
    /// Vertical lines.
    pub marks: Vec<Mark>,
    /// A horizontal dashed line with its name.
    pub level: Option<(f64, String)>,
    /// From here on shaded: nothing is gained there.
    pub dead_from: Option<f64>,
    /// What is written in the shaded part.
    pub dead_label: &'a str,
    /// A point on a curve.
    pub cursor: Option<(f64, f64)>,
    /// Points with a name: where, what is written there, how.
    pub points: Vec<(f64, f64, String, Ink)>,
    /// Writes a tick of the axis up.
    pub write_y: fn(f64) -> String,
    /// Writes a tick of the axis across.
    pub write_x: fn(f64) -> String,
}

/// Columns that the labels of the y axis take, its line included.
const GUTTER: u16 = 7;

impl Plot<'_> {
    /// The part of `area` that the curves are drawn in.
    pub fn inside(area: Rect) -> Rect {
        Rect {
            x: area.x + GUTTER.min(area.width),
            width: area.width.saturating_sub(GUTTER + 1),
            height: area.height.saturating_sub(2),
            ..area
        }
    }

    /// Draws it. An area too small for axes stays empty.
    pub fn draw(&self, area: Rect, buf: &mut Buffer, theme: Theme) {
        let inside = Self::inside(area);
        if inside.width < 4 || inside.height < 2 {
            return;
        }
        self.draw_dead(inside, buf, theme);
        self.draw_level(inside, buf, theme);
        self.draw_axes(area, inside, buf, theme);
        self.draw_marks(inside, buf, theme);
        // Upper right, where a falling curve has nothing.
        let room = self.dead_from.and_then(|x| self.column(inside, x)).map_or(0, |from| inside.right() - from);
        if width(self.dead_label) < room as usize {
            put_right(buf, inside.x, inside.right(), inside.y + 1, self.dead_label, theme.style(Ink::Quiet));
        }
        let mut dots = Dots::new(inside.width as usize, inside.height as usize);
        for curve in &self.curves {
            curve.trace(self.x, self.y, &mut dots);
        }
        dots.draw(inside, buf, theme);
        self.draw_short_marks(inside, buf, theme);
        self.draw_mark_words(inside, buf, theme);
        for (x, y, text, ink) in &self.points {
            if let (Some(x), Some(mut y)) = (self.column(inside, *x), self.row(inside, *y)) {
                // The cursor shall not stand in a word.
                let taken = self.cursor.and_then(|(cx, cy)| Some((self.column(inside, cx)?, self.row(inside, cy)?)));
                if taken.is_some_and(|(cx, cy)| cy == y && cx > x) && y > inside.y {
                    y -= 1;
                }
                // What does not fit to the right ends at the point.
                let wide = width(text) as u16;
                let start = if x + wide <= inside.right() { x } else { (x + 1).saturating_sub(wide).max(inside.x) };
                put(buf, start, y, inside.right(), text, theme.style(*ink));
            }
        }
        if let Some((x, y)) = self.cursor
            && let (Some(cx), Some(cy)) = (self.column(inside, x), self.row(inside, y))
        {
            put(buf, cx, cy, inside.right(), "●", theme.style(Ink::Accent));
        }
    }

    fn column(&self, inside: Rect, x: f64) -> Option<u16> {
        let dots = f64::from(inside.width) * 2.0 - 1.0;
        self.x.place(x).map(|s| inside.x + ((s * dots).round() as u16 / 2).min(inside.width - 1))
    }

    fn row(&self, inside: Rect, y: f64) -> Option<u16> {
        let dots = f64::from(inside.height) * 4.0 - 1.0;
        self.y.place(y).map(|s| inside.y + (((1.0 - s) * dots).round() as u16 / 4).min(inside.height - 1))
    }

    fn draw_dead(&self, inside: Rect, buf: &mut Buffer, theme: Theme) {
        let Some(from) = self.dead_from.and_then(|x| self.column(inside, x)) else { return };
        for y in inside.top()..inside.bottom() {
            for x in (from..inside.right()).filter(|x| (x + y * 2) % 4 == 0) {
                put(buf, x, y, inside.right(), "░", theme.style(Ink::Quiet));
            }
        }
    }

    fn draw_level(&self, inside: Rect, buf: &mut Buffer, theme: Theme) {
        let Some((level, name)) = &self.level else { return };
        let Some(y) = self.row(inside, *level) else { return };
        for x in (inside.x..inside.right()).step_by(2) {
            put(buf, x, y, inside.right(), "╌", theme.style(Ink::Mark));
        }
        // Below the line at the left, where a falling curve has nothing.
        let at = if y + 1 < inside.bottom() { y + 1 } else { y };
        put(buf, inside.x + 1, at, inside.right(), name, theme.style(Ink::Mark));
    }

    fn draw_axes(&self, area: Rect, inside: Rect, buf: &mut Buffer, theme: Theme) {
        let quiet = theme.style(Ink::Quiet);
        let mut last = None;
        for tick in self.y.ticks((inside.height / 3).max(2) as usize) {
            let Some(y) = self.row(inside, tick) else { continue };
            if last == Some(y) {
                continue;
            }
            last = Some(y);
            let label = (self.write_y)(tick);
            let start = (inside.x - 2).saturating_sub(width(&label) as u16).max(area.x);
            put(buf, start, y, inside.x - 2, &label, theme.style(Ink::Text));
            put(buf, inside.x - 1, y, inside.x, "┤", quiet);
        }
        let y = inside.bottom();
        put(buf, inside.x - 1, y, inside.x, "└", quiet);
        for x in inside.x..inside.right() {
            put(buf, x, y, inside.right(), "─", quiet);
        }
        let mut free = inside.x;
        for tick in self.x.ticks((inside.width / 7).max(2) as usize) {
            let Some(x) = self.column(inside, tick) else { continue };
            put(buf, x, y, inside.right(), "┴", quiet);
            let label = (self.write_x)(tick);
            let start = x.saturating_sub(width(&label) as u16 / 2).max(inside.x);
            if start >= free && start + width(&label) as u16 <= area.right() {
                free = put(buf, start, y + 1, area.right(), &label, theme.style(Ink::Text)) + 1;
            }
        }
        for mark in self.marks.iter().filter(|m| m.pointed) {
            if let Some(x) = self.column(inside, mark.x) {
                put(buf, x, y, inside.right(), "▲", theme.style(mark.ink));
            }
        }
    }

    /// Labels at the foot, where neither a curve nor another label is.
    fn draw_short_marks(&self, inside: Rect, buf: &mut Buffer, theme: Theme) {
        let y = inside.bottom() - 1;
        for mark in self.marks.iter().filter(|m| m.short) {
            let Some(x) = self.column(inside, mark.x) else { continue };
            let end = x + width(&mark.before) as u16;
            let free = |x: u16| buf.cell((x, y)).is_some_and(|c| matches!(c.symbol(), " " | "░"));
            if end <= inside.right() && (x.saturating_sub(1)..=end.min(inside.right() - 1)).all(free) {
                put(buf, x, y, inside.right(), &mark.before, theme.style(mark.ink));
            }
        }
    }

    fn draw_marks(&self, inside: Rect, buf: &mut Buffer, theme: Theme) {
        for mark in self.marks.iter().filter(|m| !m.short) {
            let Some(x) = self.column(inside, mark.x) else { continue };
            let style = theme.style(mark.ink);
            for y in inside.top()..inside.bottom() {
                put(buf, x, y, inside.right(), "┆", style);
            }
        }
    }

    /// The words of the vertical lines, over the curves: half a word is none.
    fn draw_mark_words(&self, inside: Rect, buf: &mut Buffer, theme: Theme) {
        for mark in self.marks.iter().filter(|m| !m.short) {
            let Some(x) = self.column(inside, mark.x) else { continue };
            let before = width(&mark.before) as u16 + 1;
            if x >= inside.x + before {
                put(buf, x - before, inside.y, x, &mark.before, theme.style(mark.ink));
            }
            if x + 2 + width(&mark.after) as u16 <= inside.right() {
                put(buf, x + 2, inside.y, inside.right(), &mark.after, theme.style(Ink::Cut));
            }
        }
    }
}

#[cfg(test)]
mod tests;
