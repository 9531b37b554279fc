use super::*;
use crate::model::Matrix;
use proptest::prelude::*;

const GO: Ask = Ask { keep_going: &|| true, threads: 1 };

fn measured(rows: usize, data: Vec<f32>) -> Magnitude {
    let cols = data.len() / rows;
    magnitude(&Matrix::new(rows, cols, data).unwrap().into(), &GO).unwrap()
}

#[test]
fn the_worked_example_has_its_closed_forms() {
    // W = [[3, 0], [4, 5]]
    let m = measured(2, vec![3.0, 0.0, 4.0, 5.0]);
    assert_eq!((m.entries, m.zeros, m.min_nonzero, m.max), (4, 1, 3.0, 5.0));
    assert!((m.sum_squares - 50.0).abs() < 1e-12);
    assert_eq!((m.linf, m.l1), (9.0, 7.0));
    assert!((m.l12_nuclear(2).value - 10.0).abs() < 1e-12, "columns 5 and 5");
    assert!((m.pq_index - 0.25794).abs() < 1e-5, "{}", m.pq_index);
    // 2 of 4 entries removed: the zero and the 3.
    assert!((m.prune(0.5).removed_energy.value - 9.0).abs() < 1e-12);
    assert_eq!(m.prune(0.5).nonzeros, 2);
}

#[test]
fn a_gaussian_matrix_follows_the_error_curve() {
    // ε(s) of a Gaussian: .2671 at 50 %, .4655 at 70 %, .7488 at 90 %; 2:4 keeps more than a random half.
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let data: Vec<f32> = (0..400 * 400)
        .map(|_| ((-2.0 * uniform().ln()).sqrt() * (2.0 * std::f64::consts::PI * uniform()).cos()) as f32)
        .collect();
    let m = measured(400, data);
    for (ratio, want) in [(0.5, 0.2671), (0.7, 0.4655), (0.9, 0.7488)] {
        let error = m.prune_error.iter().find(|(r, _)| *r == ratio).unwrap().1;
        assert!((error - want).abs() < 0.004, "{ratio}: {error}");
    }
}

#[test]
fn what_is_not_finite_is_counted_and_refused() {
    let matrix = Matrix::new(1, 4, vec![1.0, f32::NAN, f32::INFINITY, 2.0]).unwrap();
    let error = magnitude(&matrix.into(), &GO).unwrap_err();
    assert!(matches!(error, ProbeError::Unfit(u) if (u.row, u.col, u.count) == (0, 1, 2)), "{error}");
    let stopped = Ask { keep_going: &|| false, threads: 1 };
    let fine = Matrix::new(1, 1, vec![1.0]).unwrap();
    assert_eq!(magnitude(&fine.into(), &stopped).unwrap_err(), ProbeError::Stopped);
}

#[test]
fn a_zero_matrix_is_no_error() {
    let m = measured(2, vec![0.0; 6]);
    assert_eq!((m.zeros, m.min_nonzero, m.max, m.sum_squares), (6, 0.0, 0.0, 0.0));
    assert_eq!(m.prune(0.5).removed_energy.value, 0.0);
    assert!(m.histogram(10).is_empty());
    assert!(m.prune_error.iter().chain([&(0.0, 0.0)]).all(|(_, e)| *e == 0.0));
}

proptest! {
    #[test]
    fn every_projection_brackets_really_removing_the_smallest(
        mut data in prop::collection::vec(-3.0f32..3.0, 4..200), zeros in 0usize..20, ratio in 0.0f64..=1.0, coarse: bool,
    ) {
        for w in data.iter_mut().take(zeros) {
            *w = 0.0;
        }
        if coarse {
            // values of 8 bits of mantissa, as bfloat16 has
            data.iter_mut().for_each(|w| *w = f32::from_bits(w.to_bits() & 0xffff_0000));
        }
        let bytes: Vec<u8> = data.iter().flat_map(|w| half::bf16::from_f32(*w).to_le_bytes()).collect();
        let shape = [1, data.len()];
        let entries = if coarse {
            Stored::new(DType::BF16, shape, Orientation::OutIn, &bytes).unwrap()
        } else {
            Stored::from(Matrix::new(1, data.len(), data.clone()).unwrap())
        };
        let m = magnitude(&entries, &GO).unwrap();
        prop_assert!(!coarse || m.bins.exact);
        let p = m.prune(ratio);
        let mut sorted: Vec<f64> = data.iter().map(|w| f64::from(w.abs())).collect();
        sorted.sort_by(f64::total_cmp);
        let removed = (ratio * data.len() as f64).round() as usize;
        let energy: f64 = sorted[..removed].iter().map(|w| w * w).sum();
        prop_assert_eq!(p.removed, removed as u64);
        let slack = 1e-9 * (1.0 + m.sum_squares);
        prop_assert!(p.range.0 - slack <= energy && energy <= p.range.1 + slack, "{energy} outside {:?}", p.range);
        if p.removed_energy.bound == crate::known::Bound::Exact {
            prop_assert!((p.removed_energy.value - energy).abs() <= slack);
        }
        prop_assert_eq!(p.nonzeros, sorted[removed..].iter().filter(|w| **w != 0.0).count() as u64);
        let bars = m.histogram(17);
        prop_assert_eq!(bars.iter().map(|b| b.count).sum::<u64>() + m.zeros, m.entries);
    }

    #[test]
    fn errors_at_the_fixed_ratios_are_exact(data in prop::collection::vec(-3.0f32..3.0, 4..120)) {
        let m = measured(1, data.clone());
        let mut sorted: Vec<f64> = data.iter().map(|w| f64::from(*w).powi(2)).collect();
        sorted.sort_by(f64::total_cmp);
        for (ratio, error) in &m.prune_error {
            let removed = (ratio * data.len() as f64).round() as usize;
            let want = (sorted[..removed].iter().sum::<f64>() / m.sum_squares.max(1e-300)).sqrt();
            prop_assert!((error - want).abs() < 1e-9, "{ratio}: {error} {want}");
        }
    }
}

#[test]
fn tables_that_are_used_again_hold_nothing_of_the_matrix_before() {
    use crate::probe::bins::Counter;
    let count = |data: &[f32]| {
        let mut counter = Counter::new();
        counter.add(data);
        counter.finish(false)
    };
    let first = count(&[0.5, -2.0, 0.0, 1e-30]);
    for other in [&[0.0][..], &[], &[f32::MAX, 1e-40, 0.25], &[0.5; 100]] {
        count(other);
        assert_eq!(count(&[0.5, -2.0, 0.0, 1e-30]), first);
    }
    assert_eq!(first.count, [1, 2, 3]);
}
