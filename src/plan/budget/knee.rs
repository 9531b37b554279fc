//! The knee of a curve of error over size.

/// Number of the point farthest below the chord from the first point to the last, both axes scaled to \[0, 1\]: where a
/// little less costs much more (Kneedle with one hump, Satopää et al. 2011). `None` for a curve that is no curve, or
/// nowhere clearly below its chord.
pub(super) fn knee(points: &[(f64, f64)]) -> Option<usize> {
    let (first, last) = (points.first()?, points.last()?);
    let (wide, high) = (last.0 - first.0, first.1 - last.1);
    if wide <= 0.0 || high <= 0.0 {
        return None;
    }
    let below = |p: &(f64, f64)| 1.0 - (p.0 - first.0) / wide - (p.1 - last.1) / high;
    let (at, depth) = points.iter().map(below).enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    (depth > 0.01).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knee_of_an_energy_curve_is_where_an_entry_has_the_mean_energy() {
        // y = ε², x = kept: the chord's slope is the mean of w², so the knee keeps what lies above it: of 1 … 7, 20 one.
        let squares: Vec<f64> = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 20.0].iter().map(|w: &f64| w * w).collect();
        let total: f64 = squares.iter().sum();
        let curve: Vec<(f64, f64)> =
            (0..=8).map(|k| (k as f64 / 8.0, squares[..8 - k].iter().sum::<f64>() / total)).collect();
        assert_eq!(knee(&curve), Some(1));
        let depth = 1.0 - 1.0 / 8.0 - curve[1].1;
        assert!((depth - 0.615_740_740_7).abs() < 1e-9);
        assert_eq!(knee(&[(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)]), None, "a straight line has none");
        assert_eq!(knee(&[(0.5, 1.0)]), None);
    }
}
