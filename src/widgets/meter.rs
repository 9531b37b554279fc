//! A bar of progress in eighths of a character.

const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// `▕███▌  ▏` of `columns` characters in all, filled to `share`.
pub fn meter(share: f64, columns: usize) -> String {
    let inner = columns.saturating_sub(2);
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let eighths = (share * inner as f64 * 8.0).floor() as usize;
    let (full, part) = (eighths / 8, eighths % 8);
    let mut out = String::from("▕");
    for i in 0..inner {
        out.push(match i.cmp(&full) {
            std::cmp::Ordering::Less => '█',
            std::cmp::Ordering::Equal => EIGHTHS[part],
            std::cmp::Ordering::Greater => ' ',
        });
    }
    out.push('▏');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fills_in_eighths_and_never_overflows() {
        assert_eq!(meter(0.0, 6), "▕    ▏");
        assert_eq!(meter(1.0, 6), "▕████▏");
        assert_eq!(meter(0.5 + 1.0 / 32.0, 6), "▕██▏ ▏");
        assert_eq!(meter(7.0, 4), "▕██▏");
        assert_eq!(meter(f64::NAN, 4), "▕  ▏");
    }
}
