use super::*;
use crate::model::Kind;
use proptest::prelude::*;

const GO: KeepGoing<'static> = &|| true;

fn layer(rows: usize, cols: usize) -> Layer {
    Layer::alone(Kind::Linear, &[rows, cols])
}

fn pruned(rows: usize, data: &[f32], pattern: Pattern, remove: f64) -> (Vec<f32>, Pruned) {
    let cols = data.len() / rows;
    let mut matrix = Matrix::new(rows, cols, data.to_vec()).unwrap();
    let found = prune(&mut matrix, &layer(rows, cols), Prune::of(remove, pattern), GO).unwrap();
    (matrix.data, found)
}

#[test]
fn the_worked_examples_keep_what_they_should() {
    // 2:4 keeps {3, 4} and {−8, 7}; error² 66 of 204.
    let w = [1.0, 2.0, 3.0, 4.0, -8.0, 7.0, 6.0, 5.0];
    let (kept, found) = pruned(1, &w, Pattern::Groups(4), 0.5);
    assert_eq!(kept, [0.0, 0.0, 3.0, 4.0, -8.0, 7.0, 0.0, 0.0]);
    assert_eq!((found.energy, found.nonzeros, found.stored), (66.0, 4, 4));
    // Of two rows the second holds .30 of 14.55.
    let a = [3.0, -1.0, 0.5, 2.0, 0.1, 0.2, -0.3, 0.4];
    let (kept, found) = pruned(2, &a, Pattern::Rows, 0.5);
    assert_eq!(kept[4..], [0.0; 4]);
    assert!((found.energy - 0.30).abs() < 1e-7 && found.stored == 4);
    let (kept, found) = pruned(2, &a, Pattern::Columns, 0.25);
    assert_eq!(kept, [3.0, -1.0, 0.0, 2.0, 0.1, 0.2, 0.0, 0.4]);
    assert_eq!((found.stored, found.rows, found.cols), (6, vec![3, 3], vec![2, 2, 0, 2]));
    // The same number of each row, rounded down.
    assert_eq!(pruned(2, &a, Pattern::PerRow, 0.6).0, [3.0, 0.0, 0.0, 2.0, 0.0, 0.0, -0.3, 0.4]);
    assert_eq!(pruned(1, &[3.0, 1.0, -1.0, 2.0], Pattern::PerRow, 0.25).0, [3.0, 0.0, -1.0, 2.0]);
    // Three columns do not fill a group of four: they stay.
    assert_eq!(pruned(1, &w[..7], Pattern::Groups(4), 0.75).0, [0.0, 0.0, 0.0, 4.0, -8.0, 7.0, 6.0]);
}

#[test]
fn tiles_at_the_edge_are_judged_by_their_size() {
    // 3×3 in tiles of 2×2: energies 4, 18, 2·2.25, 9 of 4, 2, 2, 1 entries: means 1, 9, 2.25, 9.
    let w = [1.0, 1.0, 3.0, 1.0, 1.0, 3.0, 1.5, 1.5, 3.0];
    let (kept, found) = pruned(3, &w, Pattern::Blocks(2, 2), 0.5);
    assert_eq!(kept, [0.0, 0.0, 3.0, 0.0, 0.0, 3.0, 0.0, 0.0, 3.0]);
    assert_eq!((found.energy, found.stored), (8.5, 3));
}

#[test]
fn a_channel_of_a_convolution_goes_whole() {
    let conv = Layer::alone(Kind::Conv2d, &[2, 2, 1, 2]);
    let mut matrix = Matrix::new(2, 4, vec![9.0, 0.0, 1.0, 2.0, 0.0, 9.0, 2.0, 1.0]).unwrap();
    let how = Prune::of(0.5, Pattern::Columns);
    prune(&mut matrix, &conv, how, GO).unwrap();
    assert_eq!(matrix.data, [9.0, 0.0, 0.0, 0.0, 0.0, 9.0, 0.0, 0.0]);
}

#[test]
fn it_stops_when_told() {
    for pattern in super::super::pattern::CYCLE {
        let mut matrix = Matrix::new(2, 2, vec![1.0; 4]).unwrap();
        assert_eq!(
            prune(&mut matrix, &layer(2, 2), Prune::of(0.5, pattern), &|| false),
            Err(crate::probe::ProbeError::Stopped)
        );
    }
}

proptest! {
    #[test]
    fn exactly_the_smallest_go_ties_by_index(data in prop::collection::vec(-4i8..4, 1..120), share in 0.0f64..=1.0) {
        let data: Vec<f32> = data.into_iter().map(|x| f32::from(x) / 3.0).collect();
        let k = (share * data.len() as f64).round() as usize;
        let (kept, found) = pruned(1, &data, Pattern::Unstructured, share);
        let mut order: Vec<usize> = (0..data.len()).collect();
        order.sort_by(|&a, &b| data[a].abs().total_cmp(&data[b].abs()).then(a.cmp(&b)));
        let mut want = data.clone();
        order[..k].iter().for_each(|&i| want[i] = 0.0);
        prop_assert_eq!(&kept, &want);
        let energy: f64 = order[..k].iter().map(|&i| f64::from(data[i]).powi(2)).sum();
        prop_assert!((found.energy - energy).abs() < 1e-9);
        prop_assert_eq!(found.nonzeros as usize, want.iter().filter(|w| **w != 0.0).count());
        prop_assert_eq!(found.rows[0] as u64, found.nonzeros);
    }

    #[test]
    fn every_pattern_loses_the_energy_it_says_and_more_is_never_less(
        rows in 1usize..20, cols in 1usize..40, seed in 0usize..100, share in 0.0f64..=1.0,
    ) {
        let data: Vec<f32> = (0..rows * cols).map(|i| ((i * 7919 + seed * 31) % 101) as f32 - 50.0).collect();
        for pattern in super::super::pattern::CYCLE {
            let (kept, found) = pruned(rows, &data, pattern, share);
            let lost: f64 = data.iter().zip(&kept).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            prop_assert!((found.energy - lost).abs() <= 1e-9 * (1.0 + lost));
            prop_assert!(kept.iter().zip(&data).all(|(k, w)| *k == 0.0 || k == w));
            prop_assert!(found.stored >= found.nonzeros && found.stored <= data.len() as u64);
            let (_, more) = pruned(rows, &data, pattern, (share + 0.2).min(1.0));
            prop_assert!(more.energy >= found.energy);
        }
    }
}

proptest! {
    #[test]
    fn of_each_group_the_least_go_ties_by_index(
        rows in 1usize..5, cols in 1usize..1500, m in 1usize..80, seed in any::<u64>(), share in 0.0f64..=1.0,
        wide in any::<bool>(),
    ) {
        let mut state = seed;
        let data: Vec<f32> = (0..rows * cols).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bits = (state >> 32) as u32;
            if wide { f32::from_bits(bits) } else { (bits >> 29) as f32 - 3.0 }
        }).collect();
        for (pattern, size) in [(Pattern::Groups(m), m), (Pattern::PerRow, cols), (Pattern::Unstructured, rows * cols)] {
            let how = Prune::of(share, pattern);
            let (kept, found) = pruned(rows, &data, pattern, share);
            let removed = pattern.removed(how.remove, &layer(rows, cols)) as usize;
            let mut want = data.clone();
            let whole = if pattern == Pattern::Unstructured { rows * cols } else { cols };
            let mut energy = 0.0;
            for row in want.chunks_mut(whole) {
                for group in row.chunks_exact_mut(size) {
                    let mut order: Vec<usize> = (0..size).collect();
                    order.sort_by_key(|&i| (group[i].to_bits() & 0x7fff_ffff, i));
                    for &i in &order[..removed.min(size)] {
                        energy += f64::from(group[i]).powi(2);
                        group[i] = 0.0;
                    }
                }
            }
            let bits = |w: &[f32]| w.iter().map(|w| w.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&kept), bits(&want));
            prop_assert!(!energy.is_finite() || (found.energy - energy).abs() <= 1e-9 * energy);
            let count = |data: &[f32]| data.iter().filter(|w| **w != 0.0).count() as u64;
            prop_assert_eq!(found.nonzeros, count(&want));
            prop_assert_eq!(found.cols.iter().map(|&n| u64::from(n)).sum::<u64>(), found.nonzeros);
        }
    }
}
