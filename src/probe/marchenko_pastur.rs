//! The noise bulk of a spectrum, by the median rule: the median singular value against the law's own median.

use std::cell::RefCell;
use std::collections::HashMap;

/// The noise bulk by the median rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MarchenkoPastur {
    /// Estimated standard deviation of a noise entry.
    pub sigma: f64,
    /// Upper edge of the bulk, as a singular value: σ̂√N(1+√β).
    pub edge: f64,
    /// Singular values above the edge.
    pub spikes: usize,
}

/// Fits the bulk of a `rows × cols` matrix with these singular values (descending): σ̂ from the median, then once more
/// without the values above the edge. `None` for fewer than four values or a zero median.
pub fn fit(sigma: &[f64], rows: usize, cols: usize) -> Option<MarchenkoPastur> {
    let (small, large) = (rows.min(cols), rows.max(cols));
    if sigma.len() < 4 || large == 0 {
        return None;
    }
    let beta = small as f64 / large as f64;
    let scale = (large as f64 * median_of_law(beta)).sqrt();
    let edge_of = |s: f64| s * (large as f64).sqrt() * (1.0 + beta.sqrt());
    let mut skip = 0;
    let mut estimate = 0.0;
    for _ in 0..2 {
        estimate = median(&sigma[skip..])? / scale;
        skip = sigma.partition_point(|&s| s > edge_of(estimate)).min(sigma.len() / 2);
    }
    let edge = edge_of(estimate);
    (estimate > 0.0).then(|| MarchenkoPastur { sigma: estimate, edge, spikes: sigma.partition_point(|&s| s > edge) })
}

fn median(descending: &[f64]) -> Option<f64> {
    let n = descending.len();
    let (a, b) = (descending.get(n.checked_sub(1)? / 2)?, descending.get(n / 2)?);
    Some(f64::midpoint(*a, *b))
}

/// Median of the Marchenko–Pastur law of eigenvalues x = λ/(Nσ²), density √((b−x)(x−a))/(2πβx). It takes half a
/// millisecond and layers share a few shapes, so each thread keeps what it has computed.
pub fn median_of_law(beta: f64) -> f64 {
    const KEPT: usize = 256;
    thread_local! {
        static KNOWN: RefCell<HashMap<u64, f64>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        if known.len() == KEPT && !known.contains_key(&beta.to_bits()) {
            known.clear();
        }
        *known.entry(beta.to_bits()).or_insert_with(|| solve_median(beta))
    })
}

fn solve_median(beta: f64) -> f64 {
    let (a, b) = ((1.0 - beta.sqrt()).powi(2), (1.0 + beta.sqrt()).powi(2));
    // With x = (a+b)/2 − (b−a)/2·cosθ the square roots at both ends become smooth and Simpson converges fast.
    let (middle, half) = (f64::midpoint(a, b), (b - a) / 2.0);
    let mass = |to: f64| {
        let n = 400;
        let h = to / f64::from(n);
        let f = |i: i32| {
            let theta = h * f64::from(i);
            let x = middle - half * theta.cos();
            if x <= 1e-300 { 2.0 * half } else { (half * theta.sin()).powi(2) / x }
        };
        let inner: f64 = (1..n).map(|i| f(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        h / 3.0 * (f(0) + inner + f(n)) / (2.0 * std::f64::consts::PI * beta)
    };
    let (mut lo, mut hi) = (0.0, std::f64::consts::PI);
    for _ in 0..60 {
        let mid = f64::midpoint(lo, hi);
        if mass(mid) < 0.5 { lo = mid } else { hi = mid }
    }
    middle - half * f64::midpoint(lo, hi).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_law_has_its_known_values() {
        for (beta, want) in
            [(1.0, 0.652_775_941_6), (0.5, 0.830_465_881_6), (0.25, 0.916_004_070_7), (0.1, 0.966_565_147_4)]
        {
            assert!((median_of_law(beta) - want).abs() < 1e-7, "{beta}: {}", median_of_law(beta));
            assert_eq!(median_of_law(beta).to_bits(), solve_median(beta).to_bits(), "kept");
        }
    }

    #[test]
    fn a_spectrum_too_short_or_zero_has_no_bulk() {
        assert_eq!(fit(&[1.0, 1.0, 1.0], 3, 3), None);
        assert_eq!(fit(&[0.0; 8], 8, 8), None);
    }
}
