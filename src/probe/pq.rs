//! PQ index: how unequally magnitude is spread (Diao et al. 2023, "Pruning from a Sparsity Perspective").

/// The two sums that p = ½, q = 1 needs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    /// Σ√|w|.
    pub roots: f64,
    /// Σ|w|.
    pub absolute: f64,
}

impl Sums {
    /// I = 1 − d^{1/q−1/p}·‖w‖_p/‖w‖_q = 1 − (Σ√|w|)²/(d·Σ|w|); 0 for zeros, as in the authors' code.
    pub fn index(self, entries: u64) -> f64 {
        if self.absolute <= 0.0 {
            return 0.0;
        }
        (1.0 - self.roots * self.roots / (entries as f64 * self.absolute)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(w: &[f64]) -> f64 {
        let sums = Sums { roots: w.iter().map(|x| x.sqrt()).sum(), absolute: w.iter().sum() };
        sums.index(w.len() as u64)
    }

    #[test]
    fn the_published_examples_come_out() {
        assert!((index(&[3.0, 1.0, 0.0, 0.0]) - 0.533_493_649_0).abs() < 1e-9);
        assert!((index(&[4.0, 3.0, 2.0, 1.0]) - 0.055_585_857_4).abs() < 1e-9);
        assert!((index(&[3.0, 0.0, 4.0, 5.0]) - 0.257_949_13).abs() < 1e-8);
        assert!((index(&[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]) - 0.75).abs() < 1e-12);
        assert_eq!(index(&[0.0; 4]), 0.0);
    }
}
