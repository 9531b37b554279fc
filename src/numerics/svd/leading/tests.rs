use super::squared::agree;
use super::*;
use crate::numerics::svd::singular_values_f64;
use std::sync::atomic::{AtomicUsize, Ordering};

const GO: KeepGoing<'static> = &|| true;

/// Entries that look random.
fn noise(m: usize, n: usize, seed: u64) -> Array2<f32> {
    let mut state = seed;
    Array2::from_shape_fn((m, n), |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    })
}

/// A matrix with about these singular values: random sides, one of them orthonormal.
fn with(m: usize, n: usize, sigma: impl Fn(usize) -> f64) -> Array2<f32> {
    let k = m.min(n);
    let side = |rows: usize, seed| {
        let x = noise(rows, k, seed);
        let x = Mat::<f64>::from_fn(rows, k, |i, j| f64::from(x[(i, j)]));
        x.qr().compute_thin_Q()
    };
    let (u, v) = (side(m, 1), side(n, 2));
    let scaled = Mat::<f64>::from_fn(m, k, |i, j| u[(i, j)] * sigma(j));
    let product = &scaled * v.transpose();
    Array2::from_shape_fn((m, n), |(i, j)| product[(i, j)] as f32)
}

fn families(m: usize, n: usize) -> Vec<(&'static str, Array2<f32>)> {
    let k = m.min(n);
    vec![
        ("random", noise(m, n, 5)),
        ("decaying", with(m, n, |j| 1.0 / (j + 1) as f64)),
        ("clustered", with(m, n, |j| [4.0, 2.0, 1.0][(j * 3 / k).min(2)])),
        ("equal", with(m, n, |_| 3.0)),
        ("rank-deficient", with(m, n, |j| if j < k / 3 { 1.0 + j as f64 } else { 0.0 })),
        ("graded", with(m, n, |j| 1e3 * 10f64.powf(-12.0 * j as f64 / k as f64))),
        ("one outlier", with(m, n, |j| if j == 0 { 1e4 } else { 1.0 })),
        ("tiny", noise(m, n, 6) * 1e-22),
        ("huge", noise(m, n, 7) * 1e18),
    ]
}

fn energy(a: &Array2<f32>) -> f64 {
    a.iter().map(|&w| f64::from(w).powi(2)).sum()
}

#[test]
fn no_approximation_of_the_rank_is_closer() {
    for (m, n) in [(260, 230), (230, 260), (700, 200), (200, 700), (256, 256)] {
        let k = m.min(n);
        for (name, a) in families(m, n) {
            let sigma = singular_values_f64(a.view(), GO, 1).unwrap();
            let total = energy(&a);
            for rank in [1, k / 8, k / 2, k - 1, k] {
                let best: f64 = sigma[rank..].iter().map(|s| s * s).sum();
                let loss = |of: &Array2<f32>| energy(&(&a - of));
                let approximation = truncated(a.view(), rank, GO).unwrap();
                let lost = loss(&approximation);
                // Entries are rounded to `f32` in any case.
                let slack = 1e-6 * best.sqrt() * total.sqrt() + 1e-11 * total;
                assert!(
                    (lost - best).abs() <= slack,
                    "{name} {m}×{n} rank {rank}: {lost:e}, not {best:e} of {total:e}"
                );
                let (left, right) = factors(a.view(), rank, GO).unwrap();
                assert_eq!((left.dim(), right.dim()), ((m, rank), (rank, n)));
                let lost = loss(&left.dot(&right));
                assert!((lost - best).abs() <= slack, "{name} {m}×{n} rank {rank}, factors: {lost:e}, not {best:e}");
                // σ is split evenly.
                let (l, r) = (energy(&left), energy(&right));
                assert!((l - r).abs() <= 1e-3 * l, "{name} {m}×{n} rank {rank}: {l} {r}");
            }
        }
    }
}

#[test]
fn the_gram_matrix_gives_what_the_full_decomposition_gives() {
    fn check<T: Real>(m: usize, n: usize, tolerance: f64) -> Vec<&'static str> {
        let mut refused = Vec::new();
        for (name, a) in families(m, n) {
            let largest = a.iter().fold(0f32, |t, w| t.max(w.abs()));
            let Some(pair) = squared::<T>(a.view(), 40, largest, GO).unwrap() else {
                refused.push(name);
                continue;
            };
            let want = full(a.view(), 40, GO).unwrap();
            for (j, (found, want)) in pair.sigma.iter().zip(&want.sigma).enumerate() {
                let off = (found - want).abs() / (1e-300 + pair.sigma[0]);
                assert!(off < tolerance, "{name}: value {j} is {found}, not {want}");
            }
        }
        refused
    }
    for (m, n) in [(260, 230), (230, 260), (9000, 200)] {
        assert_eq!(check::<f64>(m, n, 1e-7), [""; 0]);
        // Where little is left over, `f32` could lose too much of it.
        assert_eq!(check::<f32>(m, n, 1e-6), ["decaying", "graded", "one outlier"]);
    }
}

#[test]
fn vectors_that_do_not_hold_what_the_values_say_are_refused() {
    fn check<T: Real>() {
        let agree = agree::<T>;
        assert!(agree(1.0, 1.0, 1.0) && agree(0.0, 0.0, 0.0));
        assert!(!agree(1.0, 1.001, 1.0) && !agree(f64::NAN, 1.0, 1.0));
        assert!(!agree(f64::INFINITY, f64::INFINITY, f64::INFINITY));
    }
    check::<f32>();
    check::<f64>();
    let mut a = noise(210, 220, 3);
    a[(7, 9)] = f32::NAN;
    assert_eq!(truncated(a.view(), 5, GO).unwrap_err(), SvdError::NotFinite);
}

#[test]
fn it_stops_when_told() {
    let a = noise(400, 300, 1);
    for limit in 0..4 {
        let asked = AtomicUsize::new(0);
        let keep_going = || asked.fetch_add(1, Ordering::Relaxed) < limit;
        assert_eq!(factors(a.view(), 50, &keep_going).unwrap_err(), SvdError::Stopped, "after {limit}");
    }
}
