//! PQ index: how unequally magnitude is spread (Diao et al. 2023, "Pruning from a Sparsity Perspective").

/// I = 1 − d^{1/q−1/p}·‖w‖_p/‖w‖_q = 1 − (Σ√|w|)²/(d·Σ|w|) for p = ½, q = 1, from Σ√|w| and Σ|w|; 0 for zeros, as in
/// the authors' code.
pub fn index(roots: f64, absolute: f64, entries: u64) -> f64 {
    if absolute <= 0.0 {
        return 0.0;
    }
    (1.0 - roots * roots / (entries as f64 * absolute)).max(0.0)
}

#[cfg(test)]
mod tests {
    fn index(w: &[f64]) -> f64 {
        super::index(w.iter().map(|x| x.sqrt()).sum(), w.iter().sum(), w.len() as u64)
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
