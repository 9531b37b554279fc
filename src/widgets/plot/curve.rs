//! One curve: values at x = 1, 2, 3, …, thinned to the dots that can show them.

use super::super::Ink;
use super::super::dots::Dots;
use super::Axis;

/// Values over their numbers, counted from 1.
#[derive(Debug, Clone, Copy)]
pub struct Curve<'a> {
    /// The values.
    pub values: &'a [f64],
    /// How it is drawn.
    pub ink: Ink,
    /// Beyond this number it is drawn as cut.
    pub kept: Option<usize>,
}

/// The extent of the values that fall into one column of dots.
struct Stretch {
    first: Option<usize>,
    last: Option<usize>,
    low: usize,
    high: usize,
}

impl Curve<'_> {
    /// Sets the dots of the curve.
    pub fn trace(&self, x: Axis, y: Axis, dots: &mut Dots) {
        let (width, height) = (dots.width(), dots.height());
        if width < 2 || height < 2 {
            return;
        }
        let mut previous: Option<(usize, usize)> = None;
        for column in 0..width {
            let Some((from, to)) = self.numbers(x, column, width) else { continue };
            let ink = self.ink_at(to);
            let Some(stretch) = self.stretch(y, height, from, to) else {
                previous = None;
                continue;
            };
            dots.column(column, stretch.low, stretch.high, ink);
            if let (Some((at, row)), Some(first)) = (previous, stretch.first) {
                connect(dots, (at, row), (column, first), ink);
            }
            previous = stretch.last.map(|row| (column, row));
        }
    }

    fn ink_at(&self, number: usize) -> Ink {
        if self.kept.is_some_and(|k| number > k) { Ink::Cut } else { self.ink }
    }

    /// The numbers (from 1, both included) that fall into a column of dots; `None` when none does.
    fn numbers(&self, x: Axis, column: usize, width: usize) -> Option<(usize, usize)> {
        let last = (width - 1) as f64;
        // A number belongs to the column its place rounds to.
        let low = x.at((column as f64 - 0.5) / last);
        let high = x.at((column as f64 + 0.5) / last);
        let from = (low.ceil().max(1.0)) as usize;
        let to = (high.ceil() as usize).saturating_sub(1).min(self.values.len());
        (from <= to).then_some((from, to))
    }

    fn stretch(&self, y: Axis, height: usize, from: usize, to: usize) -> Option<Stretch> {
        let rows = (height - 1) as f64;
        let row = |v: f64| y.place(v).map(|s| ((1.0 - s) * rows).round() as usize);
        let values = self.values.get(from - 1..to)?;
        let placed = values.iter().copied().filter(|v| y.place(*v).is_some());
        // Places are monotone in the values, so the extremes of the values are those of the rows.
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for v in placed {
            low = low.min(v);
            high = high.max(v);
        }
        let first = values.first().and_then(|v| row(*v));
        let last = values.last().and_then(|v| row(*v));
        Some(Stretch { first, last, low: row(high)?, high: row(low)? })
    }
}

/// Joins two dots by a line without gaps.
fn connect(dots: &mut Dots, (x0, y0): (usize, usize), (x1, y1): (usize, usize), ink: Ink) {
    let mut before = y0;
    for x in x0 + 1..=x1 {
        let share = (x - x0) as f64 / (x1 - x0) as f64;
        let y = (y0 as f64 + (y1 as f64 - y0 as f64) * share).round() as usize;
        // The step itself is drawn in the new column, one dot short of the old height.
        let from = match before.cmp(&y) {
            std::cmp::Ordering::Less => before + 1,
            std::cmp::Ordering::Equal => y,
            std::cmp::Ordering::Greater => before - 1,
        };
        dots.column(x, from, y, ink);
        before = y;
    }
}
