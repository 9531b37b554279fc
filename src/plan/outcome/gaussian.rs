//! What pruning takes of a matrix of Gaussian entries: what is assumed where nothing was measured.

use std::sync::OnceLock;

/// Density of a standard normal.
fn density(x: f64) -> f64 {
    (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// The magnitude below which the share `s` of standard normal numbers lies: Φ⁻¹((1+s)/2).
pub fn quantile(s: f64) -> f64 {
    // Bisection on erf through its density's integral would be slow; a fixed Simpson rule on [0, t] is exact to 1e-9.
    let mass = |t: f64| {
        let (n, h) = (64, t / 64.0);
        let inner: f64 = (1..n).map(|i| density(f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        2.0 * h / 3.0 * (density(0.0) + inner + density(t))
    };
    let (mut lo, mut hi, mut t) = (0.0, 9.0, 1.0);
    for _ in 0..60 {
        let miss = mass(t) - s;
        if miss.abs() < 1e-12 {
            break;
        }
        if miss < 0.0 {
            lo = t;
        } else {
            hi = t;
        }
        // Newton's step where it stays inside the bracket, its middle otherwise.
        let step = t - miss / (2.0 * density(t)).max(1e-300);
        t = if step > lo && step < hi { step } else { f64::midpoint(lo, hi) };
    }
    t
}

/// Share of a Gaussian's energy in its smallest share `s` of magnitudes: s − 2tφ(t), t = Φ⁻¹((1+s)/2).
pub fn gaussian_removed_energy(s: f64) -> f64 {
    if s <= 0.0 {
        return 0.0;
    }
    if s >= 1.0 {
        return 1.0;
    }
    let t = quantile(s);
    (s - 2.0 * t * density(t)).max(0.0)
}

/// Steps of a distribution.
const POINTS: usize = 400;

/// Share of a Gaussian's energy in the `k` smallest magnitudes of every `m`: the means of order statistics, whose places
/// in the distribution follow Beta(i, m−i+1).
pub fn gaussian_group_energy(k: usize, m: usize) -> f64 {
    static SQUARES: OnceLock<Vec<f64>> = OnceLock::new();
    group_energy(SQUARES.get_or_init(|| steps(gaussian_removed_energy)), k, m)
}

/// The same of entries in any order whose smallest share s holds the energy `removed(s)`.
pub fn group_energy_of(removed: impl Fn(f64) -> f64, k: usize, m: usize) -> f64 {
    group_energy(&steps(removed), k, m)
}

/// The energy between two quantiles is what removing up to them takes.
fn steps(removed: impl Fn(f64) -> f64) -> Vec<f64> {
    let up_to: Vec<f64> = (0..=POINTS).map(|i| removed(i as f64 / POINTS as f64)).collect();
    up_to.windows(2).map(|w| w[1] - w[0]).collect()
}

fn group_energy(squares: &[f64], k: usize, m: usize) -> f64 {
    // Share of the entries at a quantile u that are among the k smallest of their group: at most k − 1 of the m − 1
    // others lie below u.
    let among = |u: f64| {
        let mut term = (1.0 - u).powi(m as i32 - 1);
        let mut sum = 0.0;
        for i in 0..k.min(m) {
            sum += term;
            term *= (m - 1 - i) as f64 / (i + 1) as f64 * u / (1.0 - u);
        }
        sum.min(1.0)
    };
    squares.iter().enumerate().map(|(i, e)| e * among((i as f64 + 0.5) / squares.len() as f64)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gaussian_curve_has_its_closed_form_values() {
        // of a standard normal: s=.5 → ε=.2670691, s=.7 → .4655029, s=.9 → .7488083
        for (s, want) in [(0.5, 0.267_069_1), (0.7, 0.465_502_9), (0.9, 0.748_808_3)] {
            assert!((gaussian_removed_energy(s).sqrt() - want).abs() < 1e-6, "{s}");
        }
        assert_eq!(gaussian_removed_energy(0.0), 0.0);
        assert_eq!(gaussian_removed_energy(1.0), 1.0);
    }

    #[test]
    fn quantiles_of_a_gaussian() {
        for (s, want) in [(0.5, 0.674_489_75), (0.682_689_492_1, 1.0), (0.997_300_203_9, 3.0)] {
            assert!((quantile(s) - want).abs() < 1e-6, "{s}: {}", quantile(s));
        }
    }

    #[test]
    fn groups_of_a_gaussian_have_the_means_of_their_order_statistics() {
        // ε²: 2:4 .1324474, 4:8 .1033067, 1:4 .3824474.
        for (k, m, want) in [(2, 4, 0.132_447_4), (4, 8, 0.103_306_7), (3, 4, 0.382_447_4), (0, 4, 0.0), (4, 4, 1.0)] {
            let found = gaussian_group_energy(k, m);
            assert!((found - want).abs() < 2e-4, "{k} of {m}: {found}");
        }
    }
}
