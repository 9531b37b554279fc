use super::*;
use crate::model::Kind;
use std::sync::Arc;

fn facts(sigma: &[f64], rows: usize, cols: usize) -> LayerFacts {
    let spectrum = Arc::new(Spectrum::from_sigma(sigma.to_vec(), rows, cols, 1e-7, 1e-15));
    LayerFacts { spectrum: Some(spectrum), ..LayerFacts::default() }
}

fn rank(rule: &str, sigma: &[f64]) -> Option<usize> {
    let n = sigma.len();
    let layer = Layer::alone(Kind::Linear, &[n, n]);
    parse(rule).unwrap().unwrap().rank(&layer, &facts(sigma, n, n), Factors::Matrix)
}

#[test]
fn worked_spectra_have_their_ranks() {
    // Cumulative σ²: .632, .912, .982, 1.
    let sigma = [3.0, 2.0, 1.0, 0.5];
    for (rule, want) in [("energy 90%", 2), ("trp", 2), ("energy .95", 3), ("energy:99", 4), ("energy 60%", 1)] {
        assert_eq!(rank(rule, &sigma), Some(want), "{rule}");
    }
    // Effective rank 3.117, stable rank 1.328.
    let sigma = [4.0, 2.0, 1.0, 0.5];
    assert_eq!((rank("effective", &sigma), rank("stable", &sigma)), (Some(4), Some(2)));
    assert_eq!(rank("break-even", &sigma), Some(1));
    // A flat bulk and two spikes far above it.
    let spiked: Vec<f64> = [50.0, 30.0].into_iter().chain((0..18).map(|i| 1.0 - f64::from(i) / 20.0)).collect();
    assert_eq!((rank("gd", &spiked), rank("mp", &spiked)), (Some(2), Some(2)));
    assert_eq!(rank("gd", &[0.0; 8]), None, "nothing stands out of nothing");
}

#[test]
fn rules_are_read_and_mistakes_told() {
    assert_eq!(parse("energy 95%").unwrap().unwrap().name(), "energy 95%");
    assert_eq!(parse("gavish-donoho").unwrap().unwrap().name(), "gd");
    assert_eq!(parse("lord 20").unwrap().unwrap().share, 0.2);
    assert!(parse("64").is_none() && parse("x").is_none());
    for wrong in ["gd 20%", "energy 0", "energy 120%", "lord x"] {
        assert!(parse(wrong).unwrap().is_err(), "{wrong}");
    }
    let names: Vec<String> = Chosen::cycle().into_iter().map(Chosen::name).collect();
    assert_eq!(names.len(), 9, "{names:?}");
    let layer = Layer::alone(Kind::Linear, &[4, 4]);
    assert_eq!(parse("gd").unwrap().unwrap().rank(&layer, &LayerFacts::default(), Factors::Matrix), None);
}
