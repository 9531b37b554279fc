use super::*;
use proptest::prelude::*;

/// E\[x xᵀ\] straight from the definition.
fn direct(rows: &[f32], columns: usize) -> Vec<f64> {
    let count = (rows.len() / columns) as f64;
    let mut out = vec![0.0; columns * columns];
    for row in rows.chunks(columns) {
        for i in 0..columns {
            for j in 0..columns {
                out[i * columns + j] += f64::from(row[i]) * f64::from(row[j]) / count;
            }
        }
    }
    out
}

fn whole(moments: &Moments) -> Vec<f64> {
    (0..moments.columns()).flat_map(|r| moments.gram_row(r)).collect()
}

fn close(a: &[f64], b: &[f64], size: f64) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() <= 1e-12 * size)
}

#[test]
fn two_rows_by_hand() {
    let mut moments = Moments::new(3, 8192);
    moments.add(&[1.0, -2.0, 0.0, 3.0, 4.0, -1.0]).unwrap();
    assert_eq!(moments.rows(), 2);
    assert_eq!(whole(&moments), [5.0, 5.0, -1.5, 5.0, 10.0, -2.0, -1.5, -2.0, 0.5]);
    assert_eq!(moments.diagonal(), [5.0, 10.0, 0.5]);
    assert_eq!(moments.mean(), [2.0, 1.0, -0.5]);
    assert_eq!(moments.abs_mean(), [2.0, 3.0, 0.5]);
}

#[test]
fn beyond_the_limit_there_is_only_the_diagonal() {
    let mut moments = Moments::new(3, 2);
    moments.add(&[1.0, -2.0, 0.0, 3.0, 4.0, -1.0]).unwrap();
    assert!(!moments.has_gram() && moments.gram_row(0).is_empty());
    assert_eq!(moments.diagonal(), [5.0, 10.0, 0.5]);
    assert!(Moments::new(2, 2).has_gram());
}

#[test]
fn nothing_heard_is_nothing_and_what_is_not_finite_is_told() {
    let mut moments = Moments::new(2, 2);
    moments.add(&[]).unwrap();
    assert_eq!((moments.rows(), moments.mean()), (0, vec![0.0, 0.0]));
    for (wrong, column) in [(f32::NAN, 1), (f32::INFINITY, 1), (f32::NEG_INFINITY, 1)] {
        assert_eq!(Moments::new(2, 2).add(&[0.0, 0.0, 1.0, wrong]), Err(NotFinite { column }));
        assert_eq!(Moments::new(2, 0).add(&[0.0, wrong]), Err(NotFinite { column }));
    }
    // The largest numbers are still finite.
    let mut large = Moments::new(1, 1);
    large.add(&[f32::MAX; 8]).unwrap();
    assert!(large.diagonal()[0].is_finite());
}

#[test]
fn sums_of_a_million_rows_keep_their_last_digits() {
    // In f32 a sum of so many small numbers beside a large one would stand still.
    let mut moments = Moments::new(1, 1);
    moments.add(&[4096.0]).unwrap();
    let rows = vec![0.5f32; 1_000_000];
    moments.add(&rows).unwrap();
    let want = (4096.0f64 * 4096.0 + 0.25e6) / 1_000_001.0;
    assert!((moments.diagonal()[0] / want - 1.0).abs() < 1e-12);
}

proptest! {
    #[test]
    fn any_split_gives_what_the_definition_does(
        columns in 1usize..40,
        count in 1usize..400,
        seed in 0u32..1000,
        cuts in prop::collection::vec(0usize..400, 0..4),
    ) {
        let scale = |i: usize| 10f32.powi((i % 5) as i32 - 2);
        let entry = |i: usize| {
            let bits = (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(97_003)) >> 8;
            (bits as f32 / 8_388_608.0 - 1.0) * scale(i % columns)
        };
        let rows: Vec<f32> = (0..columns * count).map(entry).collect();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(count)).chain([0, count]).collect();
        cuts.sort_unstable();
        let (mut split, mut at_once, mut diagonal) =
            (Moments::new(columns, 64), Moments::new(columns, 64), Moments::new(columns, 0));
        at_once.add(&rows).unwrap();
        diagonal.add(&rows).unwrap();
        for pair in cuts.windows(2) {
            split.add(&rows[pair[0] * columns..pair[1] * columns]).unwrap();
        }
        let (want, got) = (direct(&rows, columns), whole(&split));
        let size = want.iter().fold(1e-30f64, |a, b| a.max(b.abs()));
        prop_assert!(close(&got, &want, size) && close(&got, &whole(&at_once), size));
        prop_assert!(close(&diagonal.diagonal(), &split.diagonal(), size));
        for i in 0..columns {
            for j in 0..columns {
                prop_assert_eq!(got[i * columns + j].to_bits(), got[j * columns + i].to_bits());
            }
        }
        // Positive semidefinite: no eigenvalue below what rounding explains.
        let matrix = faer::Mat::from_fn(columns, columns, |i, j| got[i * columns + j]);
        let values = matrix.self_adjoint_eigenvalues(faer::Side::Lower).unwrap();
        let trace: f64 = (0..columns).map(|i| got[i * columns + i]).sum();
        prop_assert!(values.iter().all(|&v| v >= -1e-13 * trace), "{:?} of {}", values.first(), trace);
    }
}
