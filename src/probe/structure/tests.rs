use super::*;
use crate::model::{Kind, Matrix};
use crate::treat::pattern::CYCLE;
use crate::treat::prune::prune;
use proptest::prelude::*;

const GO: Ask = Ask { keep_going: &|| true, threads: 1 };

fn measured(layer: &Layer, data: &[f32]) -> Structure {
    let matrix = Matrix::new(layer.rows(), layer.cols(), data.to_vec()).unwrap();
    structure(layer, &matrix.into(), &GO).unwrap()
}

#[test]
fn the_worked_example_keeps_3_4_8_7() {
    let mut w = vec![1.0, 2.0, 3.0, 4.0, -8.0, 7.0, 6.0, 5.0];
    let found = measured(&Layer::alone(Kind::Linear, &[1, 8]), &w);
    assert!((found.group_error(2, 4).unwrap() - 0.568_796_459_0).abs() < 1e-9);
    assert_eq!(found.group_error(3, 5), None);
    // A column that fills no group stays.
    w.push(100.0);
    let found = measured(&Layer::alone(Kind::Linear, &[1, 9]), &w);
    assert!((found.group_error(2, 4).unwrap() - (66f64 / 10_204.0).sqrt()).abs() < 1e-12);
}

#[test]
fn entries_whose_squares_leave_the_range_are_measured_all_the_same() {
    for scale in [1e-30f32, 1e25] {
        let w: Vec<f32> = [1.0, 2.0, 3.0, 4.0, -8.0, 7.0, 6.0, 5.0].iter().map(|w| w * scale).collect();
        let found = measured(&Layer::alone(Kind::Linear, &[1, 8]), &w);
        assert!((found.group_error(2, 4).unwrap() - 0.568_796_459_0).abs() < 1e-6, "{scale}");
    }
}

#[test]
fn what_is_not_finite_is_counted_and_refused() {
    let layer = Layer::alone(Kind::Linear, &[1, 3]);
    let matrix = Matrix::new(1, 3, vec![1.0, f32::NAN, f32::INFINITY]).unwrap();
    let error = structure(&layer, &matrix.into(), &GO).unwrap_err();
    assert!(matches!(error, ProbeError::Unfit(u) if (u.row, u.col, u.count) == (0, 1, 2)), "{error}");
}

proptest! {
    #[test]
    fn a_projection_is_what_pruning_the_matrix_gives(
        rows in 1usize..70, cols in 1usize..70, seed in 0usize..1000, share in 0.0f64..=1.0, taps in 1usize..4,
    ) {
        let shape = if cols % taps == 0 && taps > 1 { vec![rows, cols / taps, taps] } else { vec![rows, cols] };
        let kind = if shape.len() == 3 { Kind::Conv1d } else { Kind::Linear };
        let layer = Layer::alone(kind, &shape);
        let data: Vec<f32> = (0..rows * cols).map(|i| (((i + seed) * 7919) % 211) as f32 - 100.0).collect();
        let known = measured(&layer, &data);
        for pattern in CYCLE.into_iter().chain([Pattern::Groups(2), Pattern::Blocks(32, 32)]) {
            let how = Prune::of(share, pattern);
            let mut matrix = Matrix::new(rows, cols, data.clone()).unwrap();
            let done = prune(&mut matrix, &layer, how, &|| true).unwrap();
            let Some(projected) = known.prune(&layer, how) else {
                prop_assert_eq!(pattern, Pattern::Unstructured);
                continue;
            };
            prop_assert!((projected.energy.value - done.energy).abs() <= 1e-6 * (1.0 + done.energy), "{pattern:?}");
            prop_assert_eq!(projected.stored, done.stored, "{:?}", pattern);
            prop_assert_eq!(projected.energy.bound, crate::known::Bound::Exact);
        }
    }
}
