//! Power-law exponents of the upper tail of λ = σ² (Clauset, Shalizi, Newman 2009).

/// A power law fitted to the upper tail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerLaw {
    /// Exponent of the density.
    pub alpha: f64,
    /// Smallest λ of the tail.
    pub xmin: f64,
    /// Kolmogorov–Smirnov distance of the fit.
    pub ks: f64,
    /// Eigenvalues in the tail.
    pub tail: usize,
}

/// Tail starts that are tried on long spectra.
const CANDIDATES: usize = 200;
/// Values relative to the largest below which an eigenvalue counts as zero.
const RELATIVE_ZERO: f64 = 1e-12;

/// Fits λ = σ² of these singular values (descending): maximum likelihood for each tail start, the one with the
/// smallest Kolmogorov–Smirnov distance wins. `None` for fewer than ten positive values.
pub fn fit(sigma: &[f64]) -> Option<PowerLaw> {
    let largest = sigma.first()?.powi(2);
    let lambda: Vec<f64> = sigma.iter().map(|s| s * s).take_while(|&l| l > largest * RELATIVE_ZERO).collect();
    if lambda.len() < 10 {
        return None;
    }
    let mut logs = 0.0;
    let mut best: Option<PowerLaw> = None;
    let step = (lambda.len() / CANDIDATES).max(1);
    // Descending order: the tail above candidate i is lambda[..=i], and its sum of logs grows with i.
    for (i, &xmin) in lambda.iter().enumerate() {
        logs += xmin.ln();
        let tail = i + 1;
        if tail < 2 || (tail % step != 0 && tail != lambda.len()) {
            continue;
        }
        let spread = logs - tail as f64 * xmin.ln();
        if spread <= 0.0 {
            continue;
        }
        let alpha = 1.0 + tail as f64 / spread;
        let ks = distance(&lambda[..tail], xmin, alpha);
        if best.is_none_or(|b| ks < b.ks) {
            best = Some(PowerLaw { alpha, xmin, ks, tail });
        }
    }
    best
}

/// max |`F_fit` − `F_empirical`| over the tail, with the empirical distribution's step on both sides.
fn distance(descending: &[f64], xmin: f64, alpha: f64) -> f64 {
    let n = descending.len() as f64;
    descending.iter().enumerate().fold(0.0, |worst, (i, &x)| {
        let fitted = 1.0 - (x / xmin).powf(1.0 - alpha);
        let (above, at) = ((n - i as f64) / n, (n - 1.0 - i as f64) / n);
        worst.max((fitted - above).abs()).max((fitted - at).abs())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_quantiles_of_a_power_law_give_its_exponent_back() {
        // λ at quantiles (1−(i+.5)/n)^{−1/2}: density exponent 3
        let mut sigma: Vec<f64> = (0..1000).map(|i| (1.0 - (f64::from(i) + 0.5) / 1000.0).powf(-0.25)).collect();
        sigma.reverse();
        let fit = fit(&sigma).unwrap();
        assert!((fit.alpha - 3.0).abs() < 0.05, "{fit:?}");
        assert!(fit.ks < 0.02);
    }

    #[test]
    fn the_scale_does_not_matter() {
        let sigma: Vec<f64> = (1..60).map(|i| 1.0 / f64::from(i)).collect();
        let scaled: Vec<f64> = sigma.iter().map(|s| s * 1e-6).collect();
        let (a, b) = (fit(&sigma).unwrap(), fit(&scaled).unwrap());
        assert!((a.alpha - b.alpha).abs() < 1e-9 && a.tail == b.tail);
    }
}
