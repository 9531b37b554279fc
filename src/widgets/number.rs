//! Numbers as people write them: three significant digits, units, badges.

use crate::known::Known;
use std::time::Duration;

/// What stands where a number will come.
pub const PENDING: &str = "…";

/// Three significant digits: `3.90`, `41.2`, `.620`, `1234`, `10^9.4` past six digits, `2.1e-5` for the tiny.
pub fn number(x: f64) -> String {
    let a = x.abs();
    let sign = if x < 0.0 { "-" } else { "" };
    match a {
        _ if !x.is_finite() => "?".to_owned(),
        0.0 => "0".to_owned(),
        _ if a >= 999_999.5 => format!("{sign}10^{:.1}", a.log10()),
        _ if a >= 99.95 => format!("{sign}{a:.0}"),
        _ if a >= 9.995 => format!("{sign}{a:.1}"),
        _ if a >= 0.9995 => format!("{sign}{a:.2}"),
        _ if a >= 0.000_999_5 => format!("{sign}{}", strip_zero(&format!("{a:.*}", decimals(a)))),
        _ => format!("{sign}{a:.1e}"),
    }
}

/// Decimals that show three significant digits of a number below one.
fn decimals(a: f64) -> usize {
    match a {
        _ if a >= 0.099_95 => 3,
        _ if a >= 0.009_995 => 4,
        _ => 5,
    }
}

fn strip_zero(text: &str) -> String {
    text.strip_prefix('0').unwrap_or(text).to_owned()
}

/// A round value on an axis: `4`, `.5`, `1e7`.
pub fn tick(x: f64) -> String {
    if x.fract() == 0.0 && x.abs() < 1e6 {
        return format!("{x:.0}");
    }
    let text = number(x);
    if text.contains('.') && !text.contains(['e', '^']) {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text.replace(".0e", "e").replace("10^", "1e").replace(".0", "")
}

/// A ratio for tables: `.31`, `.003`, `1.00`, `0`.
pub fn ratio(x: f64) -> String {
    let a = x.abs();
    match a {
        _ if !x.is_finite() => "?".to_owned(),
        0.0 => "0".to_owned(),
        _ if a >= 99.5 => number(x),
        _ if a >= 0.995 => format!("{x:.2}"),
        _ if a >= 0.0095 => strip_zero(&format!("{x:.2}")),
        _ if a >= 0.000_95 => strip_zero(&format!("{x:.3}")),
        _ => format!("{x:.0e}"),
    }
}

/// A share with one decimal: `71.3%`, `100%`, `0%`; above all of it without one, so that five columns hold it: `117%`.
pub fn percent(x: f64) -> String {
    let p = x * 100.0;
    match p {
        _ if !p.is_finite() => "?".to_owned(),
        _ if p.fract().abs() < 1e-9 => format!("{p:.0}%"),
        // Never claim all or nothing of what is not.
        _ if p > 99.95 && p < 100.0 => "99.9%".to_owned(),
        _ if p > 100.0 && p < 100.5 => ">100%".to_owned(),
        _ if p > 100.0 => format!("{p:.0}%"),
        _ if p > 0.0 && p < 0.05 => "<.1%".to_owned(),
        _ => format!("{p:.1}%"),
    }
}

/// The same with no choice of decimals, for places that scripts read: `keep 71.3%`.
pub fn percent1(x: f64) -> String {
    format!("{:.1}%", x * 100.0)
}

/// A count in short: `999`, `37.9k`, `1.32 M`, `405 G`.
pub fn count(n: u64) -> String {
    scaled(n as f64, &["", "k", " M", " G", " T"])
}

/// A size in bytes, decimal units: `512 B`, `138 kB`, `1.88 MB`.
pub fn bytes(n: u64) -> String {
    scaled(n as f64, &[" B", " kB", " MB", " GB", " TB"])
}

fn scaled(mut x: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while x >= 999.5 && unit + 1 < units.len() {
        x /= 1000.0;
        unit += 1;
    }
    let digits = match x {
        _ if unit == 0 || x >= 99.95 => 0,
        _ if x >= 9.995 => 1,
        _ => 2,
    };
    format!("{x:.digits$}{}", units.get(unit).unwrap_or(&""))
}

/// `a→b` of two counts in one unit: `1.32→0.94 M`.
pub fn change(a: u64, b: u64, units: &[&str; 5], arrow: &str) -> String {
    let largest = a.max(b) as f64;
    let power = (0..4).find(|p| largest < 999.5 * 1000f64.powi(*p)).unwrap_or(4);
    let unit = 1000f64.powi(power);
    let digits = match largest / unit {
        _ if power == 0 => 0,
        x if x >= 99.95 => 0,
        x if x >= 9.995 => 1,
        _ => 2,
    };
    let suffix = units.get(power as usize).unwrap_or(&"");
    let (a, b) = (format!("{:.digits$}", a as f64 / unit), format!("{:.digits$}", b as f64 / unit));
    if a == b { format!("{a}{suffix}") } else { format!("{a}{arrow}{b}{suffix}") }
}

/// Units of counts, for [`change`].
pub const COUNTS: [&str; 5] = ["", "k", " M", " G", " T"];
/// Units of bytes, for [`change`].
pub const BYTES: [&str; 5] = [" B", " kB", " MB", " GB", " TB"];

/// Every digit, grouped: `69,120`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A number with its badge, or `…` where it is still to come.
pub fn known(value: Option<Known>, write: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| PENDING.to_owned(), |k| format!("{}{}", k.bound.badge(), write(k.value)))
}

/// A time left: `.3 s`, `12 s`, `4 min`, `2 h 05`.
pub fn duration(d: Duration) -> String {
    let s = d.as_secs_f64();
    match s {
        _ if s < 0.95 => format!("{} s", strip_zero(&format!("{s:.1}"))),
        _ if s < 99.5 => format!("{s:.0} s"),
        _ if s < 5970.0 => format!("{:.0} min", s / 60.0),
        _ => {
            let minutes = (s / 60.0).round() as u64;
            format!("{} h {:02}", minutes / 60, minutes % 60)
        }
    }
}

/// Digits as subscripts: `σ₆₄`.
pub fn subscript(n: usize) -> String {
    n.to_string().bytes().filter_map(|b| char::from_u32(0x2080 + u32::from(b - b'0'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_significant_digits() {
        for (x, want) in [
            (3.9, "3.90"),
            (41.23, "41.2"),
            (0.62, ".620"),
            (1234.4, "1234"),
            (2.5e9, "10^9.4"),
            (2.14e-5, "2.1e-5"),
            (0.0, "0"),
            (9.996, "10.0"),
            (0.99996, "1.00"),
            (-0.5, "-.500"),
            (0.0123, ".0123"),
            (99.96, "100"),
        ] {
            assert_eq!(number(x), want, "{x}");
        }
        assert_eq!(number(f64::NAN), "?");
    }

    #[test]
    fn ticks_are_short() {
        for (x, want) in
            [(4.0, "4"), (0.5, ".5"), (0.05, ".05"), (1.5, "1.5"), (1e7, "1e7"), (2e-5, "2e-5"), (100.0, "100")]
        {
            assert_eq!(tick(x), want);
        }
    }

    #[test]
    fn ratios_and_shares() {
        for (x, want) in
            [(0.314, ".31"), (1.0, "1.00"), (0.0031, ".003"), (0.0, "0"), (0.996, "1.00"), (12.34, "12.34")]
        {
            assert_eq!(ratio(x), want, "{x}");
        }
        let below = [(0.713, "71.3%"), (1.0, "100%"), (0.99999, "99.9%"), (0.5, "50%"), (0.0001, "<.1%"), (0.0, "0%")];
        for (x, want) in below.into_iter().chain([(1.167, "117%"), (1.0004, ">100%"), (11.67, "1167%")]) {
            assert_eq!(percent(x), want, "{x}");
        }
        assert_eq!(percent1(1.0), "100.0%");
    }

    #[test]
    fn counts_and_bytes() {
        for (n, want) in [
            (0, "0"),
            (999, "999"),
            (37_888, "37.9k"),
            (1_320_000, "1.32 M"),
            (999_600, "1.00 M"),
            (405_000_000_000, "405 G"),
        ] {
            assert_eq!(count(n), want, "{n}");
        }
        assert_eq!(bytes(1_880_000), "1.88 MB");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(grouped(69_120), "69,120");
        assert_eq!(grouped(120), "120");
        assert_eq!(change(1_320_000, 940_000, &COUNTS, "→"), "1.32→0.94 M");
        assert_eq!(change(138_240, 138_240, &BYTES, " → "), "138 kB");
        assert_eq!(subscript(640), "₆₄₀");
    }

    #[test]
    fn every_number_says_what_it_is() {
        assert_eq!(known(Some(Known::upper(0.314)), ratio), "≤.31");
        assert_eq!(known(None, ratio), "…");
    }

    #[test]
    fn times() {
        for (s, want) in [(0.3, ".3 s"), (12.2, "12 s"), (240.0, "4 min"), (7500.0, "2 h 05")] {
            assert_eq!(duration(Duration::from_secs_f64(s)), want);
        }
    }
}
