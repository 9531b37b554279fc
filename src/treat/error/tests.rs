//! The worked numbers of treatments weighed by their inputs.

use super::*;
use crate::model::Kind;
use crate::treat::{Treatment, low_rank, parts, treated};
use std::sync::Arc;

/// A layer that saw these inputs, features × tokens, and its Gram matrix X Xᵀ.
pub(crate) fn seen(shape: &[usize], x: &[&[f32]]) -> Layer {
    let n = x.len();
    let dot = |i: usize, j: usize| x[i].iter().zip(x[j]).map(|(a, b)| a * b).sum::<f32>();
    let gram = Matrix::new(n, n, (0..n * n).map(|k| dot(k / n, k % n)).collect()).unwrap();
    let tokens = x[0].len() as u64;
    let abs = |row: &[f32]| row.iter().map(|e| e.abs()).sum::<f32>() / tokens as f32;
    let mut inputs = Inputs::of_gram(tokens, &gram);
    inputs.abs_mean = Some(x.iter().map(|row| abs(row)).collect());
    Layer { inputs: Some(Arc::new(inputs)), ..Layer::alone(Kind::Linear, shape) }
}

const X: [&[f32]; 3] = [&[1.0, 0.0, 2.0, 1.0], &[0.0, 1.0, 1.0, 1.0], &[3.0, 0.0, 0.0, 1.0]];
const W: [f32; 6] = [2.0, 1.0, 0.0, 0.0, 1.0, 1.0];

fn delta(w: &Matrix, of: &Matrix) -> Matrix {
    Matrix::new(w.rows, w.cols, w.data.iter().zip(&of.data).map(|(a, b)| a - b).collect()).unwrap()
}

#[test]
fn forms_of_factors_err_as_in_the_worked_example() {
    let layer = seen(&[2, 3], &X);
    let w = Matrix::new(2, 3, W.to_vec()).unwrap();
    let whole = output_energy(&layer, &w, &|| true).unwrap().unwrap();
    assert!(whole.exact && (whole.total() - 54.0).abs() < 1e-9, "{whole:?}");
    let rank = |form| Treatment { form, ..Treatment::rank(1) };
    for (form, energy, relative) in [
        (Factors::Whitened, 5.366_692_347_2, 0.315_250_997_8),
        (Factors::Asvd, 8.217_028_989_0, 0.390_086_148_3),
        (Factors::Matrix, 7.030_792_935_9, 0.360_832_189_8),
    ] {
        let best = treated(&layer, &w, rank(form), &|| true).unwrap();
        let found = output_energy(&layer, &delta(&w, &best), &|| true).unwrap().unwrap();
        assert!((found.total() - energy).abs() < 2e-6 * energy, "{form:?} {found:?}");
        let weighed = weigh(&layer, &w, &delta(&w, &best), &|| true).unwrap().unwrap();
        assert!((weighed.output_error.value - relative).abs() < 1e-6 && weighed.excess.is_none());
        assert_eq!(weighed.output_error.bound, crate::known::Bound::Exact);
        // As parts it is the same.
        let made = parts(&layer, &w, rank(form), &|| true).unwrap();
        let [up, down] = made.factors.unwrap();
        assert_eq!((up.rows, up.cols, down.cols), (2, 1, 3));
        let product = low_rank::multiplied(&up, &down);
        assert!(product.data.iter().zip(&best.data).all(|(a, b)| (a - b).abs() < 1e-6));
    }
    let sigma = losses(&layer, &w, &|| true).unwrap().sigma;
    assert!((sigma[1] - 2.316_612_256_6).abs() < 1e-9);
}

#[test]
fn a_diagonal_alone_weighs_by_it_and_says_so() {
    let full = seen(&[2, 3], &X);
    let inputs = full.inputs.clone().unwrap();
    let only = Inputs::of_diagonal(4, inputs.diagonal().to_vec());
    let layer = Layer { inputs: Some(Arc::new(only)), ..full.clone() };
    let w = Matrix::new(2, 3, W.to_vec()).unwrap();
    let whitened = Treatment { form: Factors::Whitened, ..Treatment::rank(1) };
    let best = treated(&layer, &w, whitened, &|| true).unwrap();
    // S = diag(√G_jj): by the whole Gram matrix that is worse than plain singular values here.
    let found = output_energy(&full, &delta(&w, &best), &|| true).unwrap().unwrap();
    assert!((found.total() - 8.879_712_265_3).abs() < 1e-5, "{found:?}");
    let estimate = weigh(&layer, &w, &delta(&w, &best), &|| true).unwrap().unwrap().output_error;
    assert_eq!(estimate.bound, crate::known::Bound::Estimate);
    assert!(Factors::Whitened.describe(&layer).contains("diagonal"));
    assert!(Factors::Asvd.fits(&layer).unwrap_err().contains("abs_mean"));
    let blind = Layer { inputs: None, ..full };
    assert_eq!(weigh(&blind, &w, &w, &|| true), Ok(None));
    let told = treated(&blind, &w, whitened, &|| true).unwrap_err().to_string();
    assert!(told.contains("--calibration FILE"), "{told}");
}

#[test]
fn the_expected_loss_counts_outputs_by_their_gradients() {
    let mut layer = seen(&[2, 3], &X);
    let w = Matrix::new(2, 3, W.to_vec()).unwrap();
    assert_eq!(excess(&layer, &w, &|| true), Ok(None));
    let inputs = layer.inputs.clone().unwrap();
    let gram = inputs.gram().unwrap().unwrap();
    let mut known = Inputs::of_gram(4, &gram);
    known.gradient = Some(vec![0.5, 3.0]);
    layer.inputs = Some(Arc::new(known));
    // Row 0: 4·6 + 4·3 + 3 = 39; row 1: 3 + 2·1 + 10 = 15.
    let found = output_energy(&layer, &w, &|| true).unwrap().unwrap();
    assert!((found.rows[0] - 39.0).abs() < 1e-9 && (found.rows[1] - 15.0).abs() < 1e-9, "{found:?}");
    let loss = excess(&layer, &w, &|| true).unwrap().unwrap();
    assert!((loss.value - 0.5 * (0.5 * 39.0 + 3.0 * 15.0)).abs() < 1e-9);
    assert_eq!(loss.bound, crate::known::Bound::Estimate);
    assert!(output_energy(&layer, &w, &|| false).is_err());
}
