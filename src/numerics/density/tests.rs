use super::*;
use crate::numerics::svd::singular_values;
use ndarray::{Array2, arr2};

fn of(a: &Array2<f32>) -> Density {
    let (rows, cols) = a.dim();
    density(&Sparse::new(Held::F32(a.as_slice().unwrap()), rows, cols), &|| true).unwrap()
}

/// Normal numbers from sums of a linear congruence.
fn noise(rows: usize, cols: usize) -> Array2<f32> {
    let mut state = 7u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 24) as f32
    };
    Array2::from_shape_fn((rows, cols), |_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0)
}

/// Noise with a power law of spikes on top, as trained layers have.
fn spiked(rows: usize, cols: usize) -> Array2<f32> {
    let mut a = noise(rows, cols);
    for k in 1..=12 {
        let (u, v) = (noise(rows + k, 1), noise(cols + k, 1));
        let scale = 3.0 / (k as f32 * (rows.max(cols) as f32).sqrt());
        for ((i, j), w) in a.indexed_iter_mut() {
            *w += scale * u[(i + k, 0)] * v[(j + k, 0)];
        }
    }
    a
}

#[test]
fn the_largest_is_found_from_below() {
    let m = of(&arr2(&[[3.0f32, 0.0], [4.0, 5.0]]));
    assert!((m.largest - 45f64.sqrt()).abs() < 1e-5);
    assert_eq!(of(&Array2::zeros((5, 3))).largest, 0.0);
    assert!((of(&arr2(&[[1.0f32, 2.0, 2.0]])).largest - 3.0).abs() < 1e-6);
    for a in [noise(300, 500), spiked(640, 256), spiked(200, 900)] {
        let exact = singular_values(a.view(), &|| true, 1).unwrap()[0];
        let found = of(&a);
        assert!(found.largest <= exact * (1.0 + 2e-6) && found.largest > exact * 0.99, "{} {exact}", found.largest);
    }
}

#[test]
fn the_sketch_is_close_and_its_bounds_hold() {
    let deficient = {
        let thin = noise(600, 150);
        thin.dot(&noise(150, 400))
    };
    for (name, a) in [
        ("noise", noise(700, 700)),
        ("wide", noise(400, 1100)),
        ("spiked", spiked(900, 500)),
        ("deficient", deficient),
        ("small", spiked(90, 70)),
    ] {
        let exact = singular_values(a.view(), &|| true, 1).unwrap();
        let found = of(&a);
        let curve = found.values();
        let n = exact.len();
        // Kolmogorov distance between the two distributions.
        let rank = |values: &[f64], line: f64| values.partition_point(|&v| v > line) as f64 / n as f64;
        // Below a thousandth of σ₁ the squares drown in the rounding of f32.
        let lines = exact.iter().filter(|s| **s > 1e-3 * exact[0]);
        let distance = lines.map(|&s| (rank(&exact, s) - rank(&curve.sigma, s)).abs()).fold(0.0, f64::max);
        assert!(distance < if n < 100 { 0.08 } else { 0.032 }, "{name}: {distance}");
        let top = exact[0];
        let outside =
            (0..n).filter(|&i| exact[i] < curve.low[i] - 1e-3 * top || exact[i] > curve.high[i] + 1e-3 * top).count();
        assert!(outside * 50 <= n, "{name}: {outside} of {n} outside");
        assert!(curve.sigma.windows(2).all(|w| w[0] >= w[1] - 1e-9), "{name} descends");
        let weights: f64 = found.rule.iter().map(|r| r.1).sum();
        assert!((weights - 1.0).abs() < 1e-9);
    }
}

#[test]
fn a_warm_start_finds_the_norm_after_a_small_cut() {
    let a = spiked(500, 400);
    let first = of(&a);
    for threshold in [0.3f32, 0.6] {
        let data = a.as_slice().unwrap();
        let sparse = Sparse { threshold, ..Sparse::new(Held::F32(data), 500, 400) };
        let (found, vector) = largest(&sparse, &first.vector, &|| true).unwrap();
        let cut = a.mapv(|w| if w.abs() > threshold { w } else { 0.0 });
        let exact = singular_values(cut.view(), &|| true, 1).unwrap()[0];
        assert!(found <= exact * (1.0 + 2e-6) && found > exact * 0.995, "{found} {exact}");
        assert_eq!(vector.len(), 400);
    }
}

#[test]
fn entries_whose_squares_leave_the_range_of_f32_are_scaled() {
    let plain = noise(120, 80);
    let want = of(&plain);
    for exponent in [-110, -60, 60, 110] {
        let factor = 2f32.powi(exponent);
        let a = plain.mapv(|w| w * factor);
        let back = 2f64.powi(-exponent);
        let got = of(&a);
        assert!((got.largest * back / want.largest - 1.0).abs() < 1e-4, "{exponent}: {} {}", got.largest, want.largest);
        let data = a.as_slice().unwrap();
        let sparse = Sparse::new(Held::F32(data), 120, 80);
        let (warm, vector) = largest(&sparse, &got.vector, &|| true).unwrap();
        assert!((warm * back / want.largest - 1.0).abs() < 1e-4, "{exponent}: {warm}");
        let sure = sparse.stretch(&vector, &|| true).unwrap();
        assert!((sure * back / want.largest - 1.0).abs() < 1e-4, "{exponent}: {sure}");
        assert!(norm(data, 120, 80, &|| true).unwrap() * back > 0.999 * want.largest);
    }
}
