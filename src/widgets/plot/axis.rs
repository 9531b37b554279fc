//! A scale: values to shares of a length and back, and round values to label.

/// A linear or logarithmic scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// The value at share 0.
    pub from: f64,
    /// The value at share 1.
    pub to: f64,
    /// Whether equal ratios take equal lengths.
    pub log: bool,
}

impl Axis {
    /// A scale that shows something even of a single value: an empty range is widened around it.
    pub fn new(from: f64, to: f64, log: bool) -> Self {
        let (mut from, mut to) = (from.min(to), from.max(to));
        if !from.is_finite() || !to.is_finite() {
            (from, to) = (if log { 1.0 } else { 0.0 }, if log { 10.0 } else { 1.0 });
        }
        if log {
            to = if to > 0.0 { to } else { 1.0 };
            from = if from > 0.0 { from } else { to / 10.0 };
            if to / from < 1.0 + 1e-9 {
                (from, to) = (from / 1.5, to * 1.5);
            }
        } else if to - from <= from.abs() * 1e-9 {
            let half = if from == 0.0 { 1.0 } else { from.abs() / 2.0 };
            (from, to) = (from - half, to + half);
        }
        Self { from, to, log }
    }

    /// Where a value lies; `None` outside and for what the scale cannot hold.
    pub fn place(self, value: f64) -> Option<f64> {
        let share = if self.log {
            if value <= 0.0 {
                return None;
            }
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        // A hair of slack, so that the ends themselves are inside.
        (-1e-9..=1.0 + 1e-9).contains(&share).then(|| share.clamp(0.0, 1.0))
    }

    /// The value at a share of the length.
    pub fn at(self, share: f64) -> f64 {
        if self.log { self.from * (self.to / self.from).powf(share) } else { self.from + (self.to - self.from) * share }
    }

    /// Round values in range, about `most` of them at the most.
    pub fn ticks(self, most: usize) -> Vec<f64> {
        let most = most.max(2);
        if self.log {
            let sets: [&[f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
            for set in sets {
                let found = self.decades(set, 1);
                if found.len() <= most && (found.len() >= 2 || set.len() == 1) {
                    return found;
                }
            }
            let decades = (self.to / self.from).log10();
            let found = self.decades(&[1.0], (decades / most as f64).ceil().max(1.0) as i32);
            if found.len() >= 2 {
                return found;
            }
        }
        self.even(most)
    }

    fn decades(self, multiples: &[f64], step: i32) -> Vec<f64> {
        let (low, high) = (self.from.log10().floor() as i32, self.to.log10().ceil() as i32);
        let powers = (low..=high).filter(|p| p.rem_euclid(step) == 0);
        let all = powers.flat_map(|p| multiples.iter().map(move |m| m * 10f64.powi(p)));
        all.filter(|v| self.place(*v).is_some()).collect()
    }

    fn even(self, most: usize) -> Vec<f64> {
        let rough = (self.to - self.from) / most as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough * 0.999);
        let step = step.unwrap_or(power * 10.0);
        let first = (self.from / step).ceil() as i64;
        (0..=most as i64 + 1).map(|i| (first + i) as f64 * step).filter(|v| self.place(*v).is_some()).collect()
    }
}
