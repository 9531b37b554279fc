//! The worked examples, and Eckart–Young with inputs.

use super::super::root::root;
use super::*;
use ndarray::{Array2, array};
use proptest::prelude::*;

fn gram(x: &Array2<f32>) -> Array2<f32> {
    x.dot(&x.t())
}

/// ‖(W − Ŵ)X‖² and Ŵ.
fn treated(w: &Array2<f32>, x: &Array2<f32>, rank: usize) -> (f64, Array2<f64>, Vec<f64>) {
    let root = root(gram(x).view(), &|| true).unwrap();
    let found = leading(w.view(), &root, rank, &|| true).unwrap();
    let (up, down) = projected(w.view(), &found.vectors, &|| true).unwrap();
    let product = &up * &down;
    let best = Array2::from_shape_fn(w.dim(), |(i, j)| product[(i, j)]);
    let delta = w.mapv(f64::from) - &best;
    let image = delta.dot(&x.mapv(f64::from));
    (image.iter().map(|e| e * e).sum(), best, found.sigma)
}

#[test]
fn the_worked_example_of_whitening() {
    let w = array![[2.0f32, 1.0, 0.0], [0.0, 1.0, 1.0]];
    let x = array![[1.0f32, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, 1.0], [3.0, 0.0, 0.0, 1.0]];
    let (error, best, sigma) = treated(&w, &x, 1);
    assert!((sigma[0] - 6.973_758_502_6).abs() < 1e-9 && (sigma[1] - 2.316_612_256_6).abs() < 1e-9, "{sigma:?}");
    assert!((error - 5.366_692_347_2).abs() < 1e-9, "{error}");
    let want = [1.554_700_196_2, 1.193_375_245_3, 0.416_025_147_2, 0.832_050_294_3, 0.638_675_049_1, 0.222_649_901_9];
    assert!(best.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9), "{best}");
    // W = diag(2, 1), G = diag(1, 9): the second row stays.
    let (error, best, _) = treated(&array![[2.0f32, 0.0], [0.0, 1.0]], &array![[1.0f32, 0.0], [0.0, 3.0]], 1);
    assert!((error - 4.0).abs() < 1e-12 && (best[(1, 1)] - 1.0).abs() < 1e-12 && best[(0, 0)].abs() < 1e-12);
}

#[test]
fn fewer_tokens_than_features_leave_the_best_of_the_matrix() {
    let w = array![[2.0f32, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 3.0]];
    let x = array![[1.0f32, 2.0], [1.0, 2.0], [0.0, 1.0]];
    let (error, best, sigma) = treated(&w, &x, 1);
    assert!((sigma[0] - 8.934_337_439_5).abs() < 1e-6 && (sigma[1] - 1.085_179_486_5).abs() < 1e-6, "{sigma:?}");
    assert!((error - 1.177_614_517_9).abs() < 1e-8, "{error}");
    let frobenius: f64 = (w.mapv(f64::from) - &best).iter().map(|e| e * e).sum();
    assert!((frobenius - 7.384_506_564_2).abs() < 1e-6, "not the pseudo-inverse's 7.8418: {frobenius}");
    // The two directions that inputs reach, and one that they do not: then nothing of W is missing.
    let (error, best, _) = treated(&w, &x, 3);
    assert!(error < 1e-20 && (w.mapv(f64::from) - &best).iter().all(|e| e.abs() < 1e-9));
    // No input at all: as without weights.
    let (_, best, _) = treated(&w, &Array2::zeros((3, 2)), 1);
    let plain = super::super::svd::truncated(w.view(), 1, &|| true).unwrap();
    assert!(best.iter().zip(&plain).all(|(a, b)| (a - f64::from(*b)).abs() < 1e-6));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_error_is_the_tail_and_no_more_than_without_weights(
        m in 2usize..14, n in 2usize..14, tokens in 1usize..20, seed in any::<u64>(), share in 0.0f64..1.0,
    ) {
        let mut state = seed | 1;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * 2.0
        };
        let w = Array2::from_shape_fn((m, n), |_| draw());
        let x = Array2::from_shape_fn((n, tokens), |_| draw());
        let rank = 1 + (share * (m.min(n) - 1) as f64) as usize;
        let (error, best, sigma) = treated(&w, &x, rank);
        let all: f64 = sigma.iter().map(|s| s * s).sum();
        let tail: f64 = sigma.iter().skip(rank).map(|s| s * s).sum();
        // The Gram matrix was rounded to f32: a millionth of all energy.
        prop_assert!((error - tail).abs() <= 1e-5 * all, "{} {}", error, tail);
        let plain = super::super::svd::truncated(w.view(), rank, &|| true).unwrap();
        let lost: f64 = (&w - &plain).dot(&x).iter().map(|e| f64::from(*e).powi(2)).sum();
        prop_assert!(error <= lost + 1e-5 * all, "{} {}", error, lost);
        let svd = Mat::<f64>::from_fn(m, n, |i, j| best[(i, j)]).singular_values().unwrap();
        prop_assert!(svd.iter().skip(rank).all(|s| *s < 1e-9), "rank {}: {:?}", rank, svd);
    }
}

#[test]
fn large_ones_go_by_the_squared_matrix_and_agree() {
    let draw = |i: usize, j: usize, k: f64| (((i * 7919 + j * 104_729) % 9973) as f64 * k).sin() as f32;
    for (m, n) in [(260, 200), (200, 300)] {
        let w = Array2::from_shape_fn((m, n), |(i, j)| draw(i, j, 0.7));
        let x = Array2::from_shape_fn((n, 400), |(i, j)| draw(i, j, 1.3) * if i % 17 == 0 { 30.0 } else { 1.0 });
        let (error, _, sigma) = treated(&w, &x, 40);
        let all: f64 = sigma.iter().map(|s| s * s).sum();
        let tail: f64 = sigma.iter().skip(40).map(|s| s * s).sum();
        assert!((error - tail).abs() < 1e-6 * all, "{error} {tail}");
        let root = root(gram(&x).view(), &|| true).unwrap();
        let direct = product(w.view(), &root, &|| true).unwrap().singular_values().unwrap();
        assert!(sigma.iter().zip(&direct).all(|(a, b)| (a - b).abs() < 1e-7 * direct[0]));
    }
    let w = Array2::from_elem((3, 3), f32::NAN);
    assert!(matches!(leading(w.view(), &Root::Diagonal(vec![1.0; 3]), 1, &|| true), Err(SvdError::NotFinite)));
}
