//! How far two orders agree: Kendall's rank correlation.

/// τ_b of pairs (Kendall 1945): (concordant − discordant) / √((n₀−n₁)(n₀−n₂)), n₀ all pairs, n₁ and n₂ those tied in one of the
/// two. 1: the same order; −1: the opposite; `None` for fewer than two pairs, or where one of the two never varies.
pub fn tau(pairs: &[[f64; 2]]) -> Option<f64> {
    let (mut agree, mut differ, mut tied) = (0i64, 0i64, [0i64; 2]);
    for (i, a) in pairs.iter().enumerate() {
        for b in &pairs[i + 1..] {
            let [x, y] = [0, 1].map(|k| a[k].partial_cmp(&b[k]));
            let (x, y) = (x? as i64, y? as i64);
            match x * y {
                1 => agree += 1,
                -1 => differ += 1,
                _ => {}
            }
            tied[0] += i64::from(x == 0);
            tied[1] += i64::from(y == 0);
        }
    }
    let all = (pairs.len() * pairs.len().saturating_sub(1) / 2) as i64;
    let scale = ((all - tied[0]) as f64 * (all - tied[1]) as f64).sqrt();
    (scale > 0.0).then(|| (agree - differ) as f64 / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn worked_examples() {
        assert_eq!(tau(&[[1.0, 2.0], [2.0, 4.0], [3.0, 9.0]]), Some(1.0));
        assert_eq!(tau(&[[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]]), Some(-1.0));
        // Two of three pairs agree.
        assert!((tau(&[[1.0, 1.0], [2.0, 3.0], [3.0, 2.0]]).unwrap() - 1.0 / 3.0).abs() < 1e-12);
        // scipy.stats.kendalltau([12, 2, 1, 12, 2], [1, 4, 7, 1, 0]) = -0.47140452079103173
        let pairs = [[12.0, 1.0], [2.0, 4.0], [1.0, 7.0], [12.0, 1.0], [2.0, 0.0]];
        assert!((tau(&pairs).unwrap() + 0.471_404_520_791_031_73).abs() < 1e-12);
        assert_eq!(tau(&[[1.0, 1.0]]), None);
        assert_eq!(tau(&[[1.0, 1.0], [1.0, 2.0]]), None, "one never varies");
        assert_eq!(tau(&[[1.0, f64::NAN], [1.0, 2.0]]), None);
    }

    proptest! {
        #[test]
        fn orders_alone_count(values in prop::collection::vec((-5i32..5, -5i32..5), 2..30)) {
            let pairs: Vec<[f64; 2]> = values.iter().map(|(a, b)| [f64::from(*a), f64::from(*b)]).collect();
            let bent: Vec<[f64; 2]> = pairs.iter().map(|[a, b]| [a.exp(), b.powi(3)]).collect();
            let turned: Vec<[f64; 2]> = pairs.iter().map(|[a, b]| [-a, *b]).collect();
            prop_assert_eq!(tau(&pairs), tau(&bent));
            prop_assert_eq!(tau(&pairs).map(|t| -t), tau(&turned));
        }
    }
}
