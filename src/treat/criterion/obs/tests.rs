//! The worked example, and what is true of every matrix.

use super::super::{Criterion, obs_refit};
use super::*;
use crate::model::{Inputs, Kind};
use crate::treat::error::output_energy;
use crate::treat::prune::prune;
use proptest::prelude::*;
use std::sync::Arc;

fn worked() -> Mat<f64> {
    Mat::from_fn(3, 3, |i, j| [[3.0, 2.0, 1.0], [2.0, 3.0, 2.0], [1.0, 2.0, 6.0]][i][j])
}

fn swept(which: Which<'_>) -> (Vec<f32>, f64) {
    let mut w = Matrix::new(1, 3, vec![1.0, -2.0, 0.5]).unwrap();
    let lost = Curvature::damped(worked(), 0.0, &|| true).unwrap().sweep(&mut w, which, &|| true).unwrap();
    (w.data, lost)
}

fn close(found: &[f32], want: [f64; 3]) {
    assert!(found.iter().zip(want).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{found:?}");
}

#[test]
fn a_refit_on_fewer_tokens_than_inputs_stays_near_the_weights() {
    // Inputs nearly along a few directions: undamped, entries grow by hundreds.
    let (n, m, tokens) = (48, 6, 20);
    let mut state = 7u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    let common: Vec<f32> = (0..n).map(|_| next()).collect();
    let inputs: Vec<Vec<f32>> = (0..tokens).map(|_| common.iter().map(|c| c + 0.01 * next()).collect()).collect();
    let entry = |i: usize, j: usize| inputs.iter().map(|x| x[i] * x[j]).sum::<f32>() / tokens as f32;
    let gram = Matrix { rows: n, cols: n, data: (0..n * n).map(|k| entry(k / n, k % n)).collect() };
    let weights = Matrix { rows: m, cols: n, data: (0..m * n).map(|_| 0.4 * next()).collect() };
    let mut layer = Layer::alone(Kind::Linear, &[m, n]);
    layer.inputs = Some(Arc::new(Inputs::of_gram(tokens, &gram)));
    let how = Prune { criterion: Criterion::ObsRefit, ..Prune::of(0.5, Pattern::PerRow) };
    let mut out = weights.clone();
    crate::treat::prune::remove(&mut out, &layer, how, &|| true).unwrap();
    let largest = |m: &Matrix| m.data.iter().fold(0f32, |a, w| a.max(w.abs()));
    assert_eq!(out.data.iter().filter(|w| **w == 0.0).count(), m * n / 2);
    assert!(largest(&out) < 2.0 * largest(&weights), "{} from {}", largest(&out), largest(&weights));
    // And still better than leaving the entries as they were.
    let mut masked = weights.clone();
    masked.data.iter_mut().zip(&out.data).for_each(|(w, o)| *w = if *o == 0.0 { 0.0 } else { *w });
    let lost = |of: &Matrix| -> f32 {
        let one = |x: &Vec<f32>, r: usize| -> f32 {
            (0..n).map(|j| (weights.data[r * n + j] - of.data[r * n + j]) * x[j]).sum::<f32>().powi(2)
        };
        inputs.iter().map(|x| (0..m).map(|r| one(x, r)).sum::<f32>()).sum()
    };
    assert!(lost(&out) < lost(&masked), "{} {}", lost(&out), lost(&masked));
}

#[test]
fn the_worked_example_of_sparsegpt_and_its_refit() {
    let (w, lost) = swept(Which::Columns(&[0]));
    close(&w, [0.0, -1.285_714_285_7, 0.428_571_428_6]);
    assert!((lost - 1.642_857_142_9).abs() < 1e-9, "{lost}");
    let (w, lost) = swept(Which::Columns(&[2]));
    close(&w, [1.0, -2.0, 0.0]);
    assert!((lost - 1.5).abs() < 1e-9, "nothing after it makes up for the last column: {lost}");
    let (w, lost) = swept(Which::Columns(&[0, 2]));
    close(&w, [0.0, -1.285_714_285_7, 0.0]);
    assert!((lost - 2.744_897_959_2).abs() < 1e-9, "{lost}");
    let target = Matrix::new(1, 3, vec![1.0, -2.0, 0.5]).unwrap();
    let mut fitted = Matrix::new(1, 3, w).unwrap();
    obs_refit::refit(&target, &mut fitted, &worked(), &|| true).unwrap();
    close(&fitted.data, [0.0, -1.0, 0.0]);
    let mut fitted = Matrix::new(1, 3, vec![1.0, -2.0, 0.0]).unwrap();
    obs_refit::refit(&target, &mut fitted, &worked(), &|| true).unwrap();
    close(&fitted.data, [0.9, -1.6, 0.0]);
    // w²/U_jj² = 1.643, 9.33, 1.5: of one the last goes, of two the first as well.
    assert_eq!(swept(Which::PerRow(1)).0[2], 0.0);
    assert_eq!(swept(Which::Of(2)).0.map_zeros(), [true, false, true]);
}

trait Zeros {
    fn map_zeros(&self) -> Vec<bool>;
}

impl Zeros for Vec<f32> {
    fn map_zeros(&self) -> Vec<bool> {
        self.iter().map(|w| *w == 0.0).collect()
    }
}

/// Rows × columns, and inputs that go together, of so many tokens.
fn drawn(m: usize, n: usize, tokens: usize, seed: u64) -> (Layer, Matrix, Matrix) {
    let mut state = seed | 1;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let w = Matrix::new(m, n, (0..m * n).map(|_| draw()).collect()).unwrap();
    let mut gram = vec![0f32; n * n];
    for _ in 0..tokens {
        let shared = draw();
        let x: Vec<f32> = (0..n).map(|j| draw() + shared * (j % 3) as f32).collect();
        (0..n * n).for_each(|k| gram[k] += x[k / n] * x[k % n] / tokens as f32);
    }
    let gram = Matrix::new(n, n, gram).unwrap();
    let inputs = Some(Arc::new(Inputs::of_gram(tokens as u64, &gram)));
    (Layer { inputs, ..Layer::alone(Kind::Linear, &[m, n]) }, w, gram)
}

fn lost(layer: &Layer, w: &Matrix, by: Criterion, pattern: Pattern, share: f64) -> (f64, Matrix) {
    let mut out = w.clone();
    let how = Prune { criterion: by, ..Prune::of(share, pattern) };
    prune(&mut out, layer, how, &|| true).unwrap();
    let data = w.data.iter().zip(&out.data).map(|(a, b)| a - b).collect();
    let delta = Matrix::new(w.rows, w.cols, data).unwrap();
    (output_energy(layer, &delta, &|| true).unwrap().unwrap().total(), out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn undamped_the_sum_of_squares_is_the_error(m in 1usize..6, n in 2usize..12, seed in any::<u64>(), share in 0.0f64..1.0) {
        let (_, w, gram) = drawn(m, n, 4 * n, seed);
        let gram = Mat::<f64>::from_fn(n, n, |i, j| f64::from(gram.data[i.max(j) * n + i.min(j)]));
        let removed = (share * (m * n) as f64) as u64;
        let mut out = w.clone();
        let sum = Curvature::damped(gram.clone(), 0.0, &|| true).unwrap().sweep(&mut out, Which::Of(removed), &|| true).unwrap();
        prop_assert_eq!(out.data.iter().filter(|w| **w == 0.0).count() as u64, removed);
        let delta = Mat::<f64>::from_fn(m, n, |i, j| f64::from(w.data[i * n + j]) - f64::from(out.data[i * n + j]));
        let image = &delta * &gram;
        let error: f64 = (0..m).map(|i| (0..n).map(|j| delta[(i, j)] * image[(i, j)]).sum::<f64>()).sum();
        prop_assert!((sum - error).abs() < 1e-5 * (1.0 + error), "{} {}", sum, error);
    }

    #[test]
    fn each_step_loses_no_more_and_the_count_is_kept(
        m in 2usize..8, n in 8usize..40, few in any::<bool>(), seed in any::<u64>(),
    ) {
        let tokens = if few { n / 2 } else { 3 * n };
        let (layer, w, _) = drawn(m, n, tokens, seed);
        let dense = output_energy(&layer, &w, &|| true).unwrap().unwrap().total();
        for (pattern, share) in [(Pattern::Unstructured, 0.5), (Pattern::PerRow, 0.4), (Pattern::Groups(4), 0.5)] {
            let (swept, by_obs) = lost(&layer, &w, Criterion::Obs, pattern, share);
            let (refitted, by_refit) = lost(&layer, &w, Criterion::ObsRefit, pattern, share);
            prop_assert!(refitted <= swept + 1e-6 * dense, "{:?} {} {}", pattern, refitted, swept);
            let units = pattern.removed(share, &layer) as usize;
            let zeros = by_obs.data.map_zeros();
            let want = match pattern {
                Pattern::PerRow => units * m,
                Pattern::Groups(g) => units * m * (n / g),
                _ => units,
            };
            prop_assert_eq!(zeros.iter().filter(|z| **z).count(), want);
            if pattern == Pattern::PerRow {
                prop_assert!(zeros.chunks(n).all(|row| row.iter().filter(|z| **z).count() == units));
            }
            prop_assert_eq!(by_refit.data.map_zeros(), zeros);
        }
    }
}

#[test]
fn making_up_for_what_goes_pays_over_blocks_and_columns_that_no_input_reaches() {
    let (mut layer, w, gram) = drawn(24, 300, 900, 5);
    for (pattern, share) in [(Pattern::Unstructured, 0.5), (Pattern::PerRow, 0.5), (Pattern::Groups(4), 0.5)] {
        let [refit, obs, wanda] =
            [Criterion::ObsRefit, Criterion::Obs, Criterion::Wanda].map(|by| lost(&layer, &w, by, pattern, share).0);
        assert!(refit <= obs && obs < wanda, "{pattern:?} {refit} {obs} {wanda}");
    }
    let mut blind = gram.clone();
    for j in [3, 200] {
        (0..300).for_each(|i| (blind.data[i * 300 + j], blind.data[j * 300 + i]) = (0.0, 0.0));
    }
    layer.inputs = Some(Arc::new(Inputs::of_gram(900, &blind)));
    let (_, out) = lost(&layer, &w, Criterion::Obs, Pattern::PerRow, 0.1);
    let zeros = out.data.map_zeros();
    assert!(zeros.chunks(300).all(|row| row[3] && row[200] && row.iter().filter(|z| **z).count() == 30));
}

#[test]
fn without_all_second_moments_it_does_not_apply_and_says_why() {
    let (layer, w, gram) = drawn(2, 4, 9, 3);
    let diagonal = (0..4).map(|i| gram.data[i * 5]).collect();
    let only = Layer { inputs: Some(Arc::new(Inputs::of_diagonal(9, diagonal))), ..layer.clone() };
    let told = Criterion::Obs.applies(&only, Pattern::PerRow).unwrap_err();
    assert!(told.contains("Gram matrix") && told.contains("--calibration FILE"), "{told}");
    let none = Layer { inputs: None, ..layer.clone() };
    for by in [Criterion::Wanda, Criterion::Ria, Criterion::Obs, Criterion::ObsRefit] {
        assert!(by.weighs() && by.applies(&layer, Pattern::PerRow).is_ok());
        assert!(by.applies(&layer, Pattern::Rows).unwrap_err().contains("single entries"));
        let told = by.applies(&none, by.way().pattern).unwrap_err();
        assert!(told.contains("--calibration FILE"), "{told}");
        let how = Prune { criterion: by, ..Prune::of(0.5, Pattern::PerRow) };
        assert!(prune(&mut w.clone(), &none, how, &|| true).is_err(), "never passed over in silence");
    }
    let mut again = w.clone();
    let how = Prune { criterion: Criterion::ObsRefit, ..Prune::of(0.5, Pattern::PerRow) };
    assert_eq!(prune(&mut again, &layer, how, &|| false).unwrap_err(), ProbeError::Stopped);
}
