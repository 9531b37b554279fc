//! What treating a layer alone does to the measured loss, as far as it was measured.

use crate::treat::Treatment;

/// One measured treatment of one layer, all others dense.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Felt {
    /// What was done to the layer.
    pub treatment: Treatment,
    /// ‖W − Ŵ‖_F²/‖W‖_F², as a projection says it.
    pub error: f64,
    /// Measured loss minus that of the dense model: nats per token or example.
    pub excess: f64,
    /// Standard error of that, from the differences unit by unit.
    pub standard_error: f64,
}

/// What is known of a layer's sensitivity.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sensitivity {
    points: Vec<Felt>,
}

/// Whether two treatments differ in how much alone: their errors are then of one kind.
fn alike(a: Treatment, b: Treatment) -> bool {
    let choice = |t: Treatment| t.prune.map(|p| (p.pattern, p.criterion));
    (a.rank.is_some(), a.form, choice(a)) == (b.rank.is_some(), b.form, choice(b))
        && a.quantise.is_some() == b.quantise.is_some()
}

impl Sensitivity {
    /// Takes in a measurement; one of the same treatment is replaced.
    pub fn feel(&mut self, felt: Felt) {
        self.points.retain(|p| p.treatment != felt.treatment);
        self.points.push(felt);
    }

    /// What was measured.
    pub fn points(&self) -> &[Felt] {
        &self.points
    }

    /// What was measured of a treatment.
    pub fn of(&self, treatment: Treatment) -> Option<&Felt> {
        self.points.iter().find(|p| p.treatment == treatment)
    }

    /// Excess loss that a treatment of this relative error (squared) has, by the measurements of treatments that differ from
    /// it in how much alone.
    ///
    /// Measurements are made monotone in the error first (pool adjacent violators: noise makes none of them better than
    /// dense), then joined by straight lines from nothing at no error; beyond the last the line through the origin goes on, or
    /// the last piece where that is steeper. `None` without a measurement.
    pub fn excess(&self, treatment: Treatment, error: f64) -> Option<f64> {
        let mut points: Vec<[f64; 2]> =
            self.points.iter().filter(|p| alike(p.treatment, treatment)).map(|p| [p.error, p.excess]).collect();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let points = monotone(&points);
        let [last_error, last] = *points.last()?;
        if error <= 0.0 {
            return Some(0.0);
        }
        let mut before = [0.0, 0.0];
        for point in &points {
            if error <= point[0] {
                let span = point[0] - before[0];
                let share = if span > 0.0 { (error - before[0]) / span } else { 1.0 };
                return Some(before[1] + share * (point[1] - before[1]));
            }
            if point[0] < last_error {
                before = *point;
            }
        }
        let through_origin = if last_error > 0.0 { last / last_error } else { 0.0 };
        let piece = if last_error > before[0] { (last - before[1]) / (last_error - before[0]) } else { 0.0 };
        Some(last + (error - last_error) * through_origin.max(piece))
    }
}

/// The closest that never falls and is never negative: pool adjacent violators.
fn monotone(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for point in points {
        let mut pool = (point[1].max(0.0), 1);
        while let Some(&(value, count)) = pools.last()
            && value > pool.0
        {
            pools.pop();
            pool = ((value * count as f64 + pool.0 * pool.1 as f64) / (count + pool.1) as f64, count + pool.1);
        }
        pools.push(pool);
    }
    let values = pools.iter().flat_map(|(value, count)| std::iter::repeat_n(*value, *count));
    points.iter().zip(values).map(|(p, v)| [p[0], v]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::treat::Prune;

    fn pruned(remove: f64) -> Treatment {
        Treatment::prune(Prune::unstructured(remove))
    }

    #[test]
    fn between_measurements_lines_are_straight_and_noise_is_pooled() {
        let mut known = Sensitivity::default();
        assert_eq!(known.excess(pruned(0.5), 0.1), None);
        for (remove, error, excess) in [(0.3, 0.1, 0.2), (0.5, 0.2, 0.1), (0.7, 0.4, 0.75), (0.1, 0.01, -0.02)] {
            known.feel(Felt { treatment: pruned(remove), error, excess, standard_error: 0.0 });
        }
        let at = |known: &Sensitivity, e| known.excess(pruned(0.6), e).unwrap();
        // .2 and .1 are pooled to .15; what seemed better than dense is nothing.
        for (error, want) in [(0.0, 0.0), (0.01, 0.0), (0.1, 0.15), (0.15, 0.15), (0.2, 0.15), (0.3, 0.45), (0.4, 0.75)]
        {
            assert!((at(&known, error) - want).abs() < 1e-12, "{error}: {}", at(&known, error));
        }
        // The last piece is steeper than the line through the origin.
        assert!((at(&known, 0.5) - (0.75 + 0.1 * 3.0)).abs() < 1e-12);
        assert_eq!(known.excess(Treatment::rank(3), 0.1), None, "of another kind");
        known.feel(Felt { treatment: pruned(0.7), error: 0.4, excess: 0.15, standard_error: 0.0 });
        assert_eq!(known.points().len(), 4, "measured anew");
        assert!((at(&known, 0.8) - 0.3).abs() < 1e-12, "along the line through the origin");
    }
}
