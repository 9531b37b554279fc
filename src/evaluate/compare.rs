//! Two measurements on the same slice: how much one is worse, and how sure that is.

use super::{Measured, Metric};

/// By how much a plan is worse than another, on the same slice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Of the metric: bits per byte, or share of examples; positive where the first measures higher.
    pub value: f64,
    /// Its standard error, from the differences unit by unit: most of what makes a slice hard is hard for both.
    pub value_error: f64,
    /// Of the loss, nats per token or example.
    pub nats: f64,
    /// Its standard error.
    pub nats_error: f64,
}

/// How much `a` measures above `b`. Both must be whole and of one slice: units are paired in order.
pub fn difference(a: &Measured, b: &Measured) -> Difference {
    let pairs = || a.parts.iter().zip(&b.parts);
    let nats = spread(pairs().map(|(x, y)| (x.nats - y.nats, x.count)));
    let value = match a.metric {
        Metric::BitsPerByte => spread(pairs().map(|(x, y)| ((x.nats - y.nats) / std::f64::consts::LN_2, x.bytes))),
        Metric::Accuracy => spread(pairs().map(|(x, y)| (x.hits - y.hits, x.count))),
    };
    Difference { value: value[0], value_error: value[1], nats: nats[0], nats_error: nats[1] }
}

/// Σx/Σn over units and its standard error, √(k/(k−1) · Σ(x − r·n)²) / Σn: the ratio estimator of Cochran, Sampling Techniques
/// (1977), section 6.4, with the k units as a sample; NaN where one unit tells nothing of it.
pub(super) fn spread(units: impl Iterator<Item = (f64, f64)> + Clone) -> [f64; 2] {
    let (mut sum, mut size, mut count) = (0.0, 0.0, 0.0);
    for (x, n) in units.clone() {
        (sum, size, count) = (sum + x, size + n, count + 1.0);
    }
    if size <= 0.0 {
        return [0.0, f64::NAN];
    }
    let ratio = sum / size;
    let squares: f64 = units.map(|(x, n)| (x - ratio * n).powi(2)).sum();
    let error = if count > 1.0 { (squares * count / (count - 1.0)).sqrt() / size } else { f64::NAN };
    [ratio, error]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_ratio_is_that_of_its_residuals() {
        // Equal sizes: the standard error of a mean. Values 1, 2, 3, 6: mean 3, variance 14/3.
        let [mean, error] = spread([1.0, 2.0, 3.0, 6.0].into_iter().map(|x| (x, 1.0)));
        assert!((mean - 3.0).abs() < 1e-12);
        assert!((error - (14.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12, "{error}");
        // Proportional to their size, units say the same: nothing is uncertain.
        let [rate, none] = spread([1.0, 2.0, 5.0].into_iter().map(|n| (3.0 * n, n)));
        assert!((rate - 3.0).abs() < 1e-12 && none < 1e-9);
        assert!(spread([(1.0, 1.0)].into_iter())[1].is_nan(), "one unit says nothing of spread");
    }
}
