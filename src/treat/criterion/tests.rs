use super::*;
use crate::model::Kind;
use crate::treat::Prune;
use crate::treat::prune::prune;
use std::sync::Arc;

fn removed(layer: &Layer, data: &[f32], how: Prune) -> Vec<f32> {
    let mut matrix = Matrix::new(layer.rows(), layer.cols(), data.to_vec()).unwrap();
    let energy: f64 = prune(&mut matrix, layer, how, &|| true).unwrap().energy;
    let lost: f64 = data.iter().zip(&matrix.data).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    assert!((energy - lost).abs() < 1e-9 * (1.0 + lost));
    matrix.data
}

#[test]
fn relative_importance_of_the_worked_matrix() {
    let data = [4.0, 0.0, 1.0, -1.0, 3.0, -2.0, -1.0, -3.0];
    let found = relative_importance::scores(&Matrix::new(2, 4, data.to_vec()).unwrap(), &|| true).unwrap();
    let want = [
        1.238_095_238_1,
        0.0,
        0.666_666_666_7,
        0.416_666_666_7,
        0.761_904_761_9,
        1.222_222_222_2,
        0.611_111_111_1,
        1.083_333_333_3,
    ];
    assert!(found.iter().zip(want).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{found:?}");
    let layer = Layer::alone(Kind::Linear, &[2, 4]);
    let how = |pattern| Prune { criterion: Criterion::RelativeImportance, ..Prune::of(0.5, pattern) };
    assert_eq!(removed(&layer, &data, how(Pattern::PerRow)), [4.0, 0.0, 1.0, 0.0, 0.0, -2.0, 0.0, -3.0]);
    assert_eq!(removed(&layer, &data, how(Pattern::Groups(4))), [4.0, 0.0, 1.0, 0.0, 0.0, -2.0, 0.0, -3.0]);
    // Of all eight the least four: 0, .417, .611, .667.
    assert_eq!(removed(&layer, &data, how(Pattern::Unstructured)), [4.0, 0.0, 0.0, 0.0, 3.0, -2.0, 0.0, -3.0]);
    assert!(Criterion::RelativeImportance.applies(&layer, Pattern::Rows).is_err());
    let zeros = Matrix::new(2, 2, vec![0.0, 0.0, 0.0, 3.0]).unwrap();
    assert_eq!(relative_importance::scores(&zeros, &|| true).unwrap(), [0.0, 0.0, 0.0, 2.0], "0/0 is 0");
}

/// A layer whose inputs have these norms.
fn seen(shape: &[usize], norms: &[f32]) -> Layer {
    let inputs = crate::model::Inputs::of_diagonal(10, norms.iter().map(|x| x * x).collect());
    Layer { inputs: Some(Arc::new(inputs)), ..Layer::alone(Kind::Linear, shape) }
}

#[test]
fn wanda_and_ria_of_the_worked_matrix() {
    let data = [4.0, 0.0, 1.0, -1.0, 3.0, -2.0, -1.0, -3.0];
    let layer = seen(&[2, 4], &[1.0, 2.0, 8.0, 3.0]);
    let matrix = Matrix::new(2, 4, data.to_vec()).unwrap();
    let found = wanda::scores(&layer, &matrix, &|| true).unwrap();
    assert_eq!(found, [4.0, 0.0, 8.0, 3.0, 3.0, 4.0, 8.0, 9.0]);
    let how = |criterion, pattern| Prune { criterion, ..Prune::of(0.5, pattern) };
    let want = [4.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0, -3.0];
    assert_eq!(removed(&layer, &data, how(Criterion::Wanda, Pattern::PerRow)), want);
    assert_eq!(removed(&layer, &data, how(Criterion::Wanda, Pattern::Groups(4))), want);
    assert_eq!(Criterion::Wanda.way().pattern, Pattern::PerRow);
    let found = ria::scores(&layer, &matrix, &|| true).unwrap();
    let want = [0.761_904_761_9, 1.728_483_242_9, 1.728_483_242_9, 1.876_388_374_9];
    assert!(found[4..].iter().zip(want).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{found:?}");
    // Entries 1 and 2 of the second row are level: the first goes.
    assert_eq!(removed(&layer, &data, how(Criterion::Ria, Pattern::PerRow))[4..], [0.0, 0.0, -1.0, -3.0]);
}

#[test]
fn wanda_is_magnitude_of_the_matrix_times_its_inputs() {
    let draw = |i: usize| (((i * 7919 + 13) % 1009) as f32 / 500.0 - 1.0) * if i.is_multiple_of(5) { 3.0 } else { 1.0 };
    let (m, n) = (7, 30);
    let norms: Vec<f32> = (0..n).map(|j| 0.25 * (1 + j % 8) as f32).collect();
    let layer = seen(&[m, n], &norms);
    let data: Vec<f32> = (0..m * n).map(draw).collect();
    let scaled: Vec<f32> = data.iter().enumerate().map(|(k, w)| w * norms[k % n]).collect();
    for pattern in [Pattern::PerRow, Pattern::Unstructured, Pattern::Groups(4)] {
        let of = Prune { criterion: Criterion::Wanda, ..Prune::of(0.6, pattern) };
        let ours = removed(&layer, &data, of);
        let theirs = removed(&layer, &scaled, Prune::of(0.6, pattern));
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (*a == 0.0) == (*b == 0.0)), "{pattern:?}");
    }
}

#[test]
fn filters_go_by_their_scales() {
    // Cumulative γ²: 5.3e-9, 5.3e-7, 2.7e-6, .13 of all: three go, halfway between .002 and .5.
    let gains = [1e-4, 1e-3, 2e-3, 0.5, 0.8, 1.0];
    let (line, below) = batch_norm::threshold(&gains);
    assert!((line - 0.251).abs() < 1e-6 && below == 3, "{line} {below}");
    assert_eq!(batch_norm::threshold(&[1e-4, -5e-4]).1, 1, "one channel stays");
    assert_eq!(batch_norm::threshold(&[]), (0.0, 0));
    let line = batch_norm::global_threshold([&gains[..], &[0.1, 0.3]], 0.5);
    assert!((line - 0.2).abs() < 1e-6, "{line}");
    let mut layer = Layer::alone(Kind::Conv2d, &[3, 1, 1, 2]);
    assert!(Criterion::BatchNormScale.applies(&layer, Pattern::Rows).unwrap_err().contains("no batch"));
    layer.gains = Some(Arc::from(vec![0.5f32, -0.1, 0.2]));
    Criterion::BatchNormScale.applies(&layer, Pattern::Rows).unwrap();
    let how = Prune { criterion: Criterion::BatchNormScale, ..Prune::of(1.0 / 3.0, Pattern::Rows) };
    assert_eq!(removed(&layer, &[1.0, 1.0, 9.0, 9.0, 1.0, 2.0], how), [1.0, 1.0, 0.0, 0.0, 1.0, 2.0]);
}

#[test]
fn rows_that_others_can_replace_go_by_leverage() {
    // The small row is the only one in its direction; one of the large ones is the other's double.
    let data = [1.0, 0.0, 2.0, 0.0, 0.0, 0.1];
    let layer = Layer::alone(Kind::Linear, &[3, 2]);
    let how = Prune { criterion: Criterion::Leverage, ..Prune::of(0.34, Pattern::Rows) };
    assert_eq!(removed(&layer, &data, how), [0.0, 0.0, 2.0, 0.0, 0.0, 0.1]);
    let wide = Layer::alone(Kind::Linear, &[2, 2]);
    assert!(Criterion::Leverage.applies(&wide, Pattern::Rows).unwrap_err().contains("leverage 1"));
    assert!((leverage::rows_to_sample(10, 0.5, 0.1) - 8.0 / 3.0 * 10.0 * 200f64.ln() / 0.25).abs() < 1e-9);
}

#[test]
fn names_are_found_again() {
    for way in CRITERIA {
        assert_eq!(Criterion::parse(way.name), Some(way.criterion));
        assert_eq!(way.criterion.name(), way.name);
    }
    assert_eq!(Criterion::parse("none"), None);
}
