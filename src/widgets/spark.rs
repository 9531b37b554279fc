//! A curve in a few characters.

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A descending curve from its largest value: each column shows the largest value of its stretch, relative to the
/// first. Values that are not positive show as the lowest level; an all-zero curve as dots.
pub fn spark(values: &[f64], columns: usize) -> String {
    let top = values.iter().copied().filter(|v| v.is_finite()).fold(0.0, f64::max);
    if top <= 0.0 || columns == 0 {
        return "·".repeat(columns);
    }
    (0..columns)
        .map(|c| {
            let (from, to) = (c * values.len() / columns, (c + 1) * values.len() / columns);
            let from = from.min(values.len() - 1);
            let stretch = &values[from..to.max(from + 1)];
            let v = stretch.iter().copied().filter(|v| v.is_finite()).fold(0.0, f64::max);
            LEVELS[((v / top * 7.0).round() as usize).min(7)]
        })
        .collect()
}

/// Shades by value, each column the mean of its stretch; `full` is the value of `█`.
pub fn strip(values: &[f32], columns: usize, full: f32) -> String {
    const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
    if values.is_empty() || columns == 0 || full <= 0.0 {
        return " ".repeat(columns);
    }
    (0..columns)
        .map(|c| {
            let from = (c * values.len() / columns).min(values.len() - 1);
            let to = ((c + 1) * values.len() / columns).max(from + 1);
            let mean = values[from..to].iter().sum::<f32>() / (to - from) as f32;
            SHADES[((mean / full * 4.0).round().max(0.0) as usize).min(4)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_line_falls() {
        let values: Vec<f64> = (0..64).map(|i| 64.0 - f64::from(i)).collect();
        assert_eq!(spark(&values, 8), "█▇▆▅▅▄▃▂");
        assert_eq!(spark(&[3.0], 4), "████");
        assert_eq!(spark(&[0.0, 0.0], 3), "···");
        assert_eq!(spark(&[], 2), "··");
        assert_eq!(spark(&[1.0, f64::NAN], 2).chars().count(), 2);
    }

    #[test]
    fn a_strip_shows_dead_stretches() {
        assert_eq!(strip(&[1.0, 1.0, 0.0, 0.5], 4, 1.0), "██ ▒");
        assert_eq!(strip(&[], 3, 1.0), "   ");
    }
}
