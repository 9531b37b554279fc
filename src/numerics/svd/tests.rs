use super::*;
use ndarray::Array2;
use proptest::prelude::*;

const GO: KeepGoing<'static> = &|| true;

/// Numbers in (−1, 1) from a linear congruence.
fn noise(n: usize, seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    (0..n).map(move |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    })
}

fn family(name: &str, m: usize, n: usize) -> Array2<f32> {
    let base: Vec<f32> = noise(m * n, 7).collect();
    let power = |x: f32, j: usize, decades: f64| x * 10f64.powf(-decades * j as f64 / n.max(2) as f64) as f32;
    Array2::from_shape_fn((m, n), |(i, j)| {
        let x = base[i * n + j];
        match name {
            "random" => x,
            "power law" => x / (j + 1) as f32,
            "graded" => power(x, j, 6.0),
            "rank deficient" => base[i * n + j % (n / 4).max(1)] * (1 + j % 3) as f32,
            "outlier" => x + if (i, j) == (m / 2, n / 3) { 1e4 } else { 0.0 },
            "zero" => 0.0,
            "99.9 % pruned" => {
                if x.abs() > 0.999 {
                    x
                } else {
                    0.0
                }
            }
            "99.9 % pruned and tiny" => {
                if x.abs() > 0.999 {
                    x * 1e-20
                } else {
                    0.0
                }
            }
            "half the columns zero" => {
                if j % 2 == 0 {
                    x
                } else {
                    0.0
                }
            }
            "single entry" => f32::from(u8::from((i, j) == (m - 1, n - 1))),
            _ => unreachable!(),
        }
    })
}

const FAMILIES: [&str; 10] = [
    "random",
    "power law",
    "graded",
    "rank deficient",
    "outlier",
    "zero",
    "99.9 % pruned",
    "99.9 % pruned and tiny",
    "half the columns zero",
    "single entry",
];

fn compare(name: &str, a: &Array2<f32>, isa: Isa, threads: usize) {
    let want = direct(a.view(), GO).unwrap();
    let got = two_stage(a.view(), GO, threads, isa).unwrap();
    assert_eq!(got.len(), want.len());
    assert!(got.windows(2).all(|w| w[0] >= w[1]) && got.iter().all(|s| s.is_finite() && *s >= 0.0), "{name}");
    let top = want.first().copied().unwrap_or(0.0);
    let worst = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
    assert!(worst <= 1e-6 * top, "{name} {:?}: off by {:e} of the largest", a.dim(), worst / top);
}

#[test]
fn every_family_is_within_a_millionth_of_the_largest() {
    for name in FAMILIES {
        for (m, n) in [(200, 200), (224, 224), (300, 210), (210, 300), (700, 200), (193, 1)] {
            compare(name, &family(name, m, n), Isa::Best, 1);
        }
    }
}

/// A matrix with these singular values: products of Householder reflectors on either side spread them over all entries.
fn with_values(m: usize, n: usize, seed: u64, values: impl Fn(usize) -> f64) -> Array2<f32> {
    let k = m.min(n);
    let mut a = Array2::from_shape_fn((m, n), |(i, j)| if i == j && i < k { values(i) } else { 0.0 });
    for turn in 0..4 {
        for side in 0..2 {
            let v: Vec<f64> = noise(a.nrows(), seed + 2 * turn + side).map(f64::from).collect();
            let square: f64 = v.iter().map(|x| x * x).sum();
            for mut column in a.columns_mut() {
                let s = 2.0 * column.iter().zip(&v).map(|(a, v)| a * v).sum::<f64>() / square;
                column.iter_mut().zip(&v).for_each(|(a, v)| *a -= s * v);
            }
            a = a.reversed_axes();
        }
    }
    a.mapv(|x| x as f32)
}

#[test]
fn equal_and_clustered_values_are_within_a_millionth_of_the_largest() {
    type Level = fn(usize) -> f64;
    let levels: [(&str, Level); 5] = [
        ("equal", |_| 1.0),
        ("a millionth apart", |j| if j % 2 == 0 { 1.0 } else { 1.0 - 1e-6 }),
        ("halving", |j| 0.5f64.powi(j as i32 / 40)),
        ("half of them zero", |j| if j % 2 == 0 { 1.0 } else { 0.0 }),
        ("one above", |j| if j == 0 { 1.0 } else { 0.7 }),
    ];
    for (name, level) in levels {
        for (m, n) in [(200, 200), (300, 200), (240, 500)] {
            compare(name, &with_values(m, n, 11, level), Isa::Best, 1);
        }
    }
}

#[test]
fn coinciding_entries_are_within_a_millionth_of_the_largest_and_not_slow() {
    let columns: Vec<f32> = noise(1024, 3).collect();
    for (m, n) in [(300, 200), (200, 300), (512, 512), (4000, 200)] {
        let of = |f: &dyn Fn(usize, usize) -> f32| Array2::from_shape_fn((m, n), |(i, j)| f(i, j));
        let small: Vec<f32> = noise(m * n, 5).collect();
        compare("constant", &of(&|_, _| 0.37), Isa::Best, 1);
        compare("rank one", &of(&|i, j| (i + 1) as f32 * (j + 7) as f32), Isa::Best, 1);
        compare("nearly equal rows", &of(&|i, j| columns[j] + 1e-4 * small[i * n + j]), Isa::Best, 1);
        compare("nearly constant", &of(&|i, j| 1.0 + 1e-4 * small[i * n + j]), Isa::Best, 1);
        compare("a large mean", &of(&|i, j| 30.0 * columns[j] + small[i * n + j]), Isa::Best, 1);
        compare("signs", &of(&|i, j| if (i & j).count_ones() % 2 == 0 { 1.0 } else { -1.0 }), Isa::Best, 1);
    }
}

#[test]
fn the_error_of_single_precision_stays_within_what_is_trusted() {
    // Orthogonal matrices show all of it: every value equals the largest.
    for (m, n) in [(200, 200), (400, 400), (900, 300), (600, 600)] {
        let a = with_values(m, n, 5, |_| 1.0);
        let got = reduced::<f32>(&a.view(), GO, 1, Isa::Best).unwrap();
        let worst = got.iter().map(|g| (g - 1.0).abs()).fold(0.0, f64::max);
        assert!(worst <= trust::reach(&got, m), "{m}x{n}: {worst:e}");
    }
}

#[test]
fn single_precision_does_for_matrices_dominated_by_few_directions() {
    // As trained weights are: a common direction, a power law of columns or rows, a few large columns.
    type Of = fn(f32, usize, usize) -> f32;
    let kinds: [(&str, Of); 6] = [
        ("power law of columns", |x, _, j| x / (j + 1) as f32),
        ("steeper", |x, _, j| x / ((j + 1) as f32).powf(1.7)),
        ("power law of rows", |x, i, _| x / (i + 1) as f32),
        ("power law of both", |x, i, j| x / ((i + 1) * (j + 1)) as f32),
        ("a common direction", |x, i, j| ((i * 7919) % 13) as f32 * ((j * 104_729) % 17) as f32 + 0.1 * x),
        ("three large columns", |x, _, j| if j % 100 == 7 { 20.0 * x } else { 0.01 * x }),
    ];
    for (seed, (name, of)) in (1..).zip(kinds) {
        for (m, n) in [(600, 600), (2048, 600), (900, 250), (3000, 260)] {
            let base: Vec<f32> = noise(m * n, seed).collect();
            let a = Array2::from_shape_fn((m, n), |(i, j)| of(base[i * n + j], i, j));
            let [got, want] =
                [reduced::<f32>(&a.view(), GO, 1, Isa::Best), singular_values_f64(a.view(), GO, 1)].map(|s| s.unwrap());
            let worst = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max) / want[0];
            assert!(trust::possible(m, n) && trust::trusted(&got, m), "{name} {m}x{n} is not trusted");
            assert!(worst <= 8e-7, "{name} {m}x{n}: off by {worst:e} of the largest");
        }
    }
}

#[test]
fn every_instruction_set_and_several_threads_agree() {
    for name in FAMILIES {
        compare(name, &family(name, 230, 200), Isa::Portable, 1);
        compare(name, &family(name, 230, 200), Isa::Avx2, 1);
        compare(name, &family(name, 260, 512), Isa::Best, 2);
        // Each thread its own rows, several stretches of them; the factors joined.
        compare(name, &family(name, 1500, 200), Isa::Best, 3);
    }
}

#[test]
fn wide_bands_are_right_too() {
    for name in ["graded", "99.9 % pruned"] {
        compare(name, &family(name, 2100, 2050), Isa::Best, 2);
    }
}

#[test]
fn sweeps_side_by_side_give_the_same_bits_as_one_after_the_other() {
    for (n, b) in [(33, 32), (200, 32), (700, 64), (1100, 64)] {
        let a = family("random", n, n);
        let one = two_stage(a.view(), GO, 1, Isa::Best).unwrap();
        let order = n.next_multiple_of(b);
        let band = |_| {
            let square = entries::copy::<f32>(&a.view(), false, 0..n, (order, order), 1.0, GO).unwrap();
            band::reduce(square, b, Isa::Best, Par::Seq, GO).unwrap()
        };
        let [(d, e), (d2, e2), (d3, e3)] = [1, 2, 5].map(|t| chase::bidiagonal(band(t), Isa::Best, t, GO).unwrap());
        assert!(d == d2 && e == e2 && d == d3 && e == e3, "{n}");
        assert_eq!(one.len(), n);
    }
}

#[test]
fn it_stops_between_panels() {
    let a = family("random", 600, 600);
    for limit in [0usize, 1, 5, 40] {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let keep_going = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < limit;
        assert_eq!(two_stage(a.view(), &keep_going, 1, Isa::Best), Err(SvdError::Stopped), "after {limit}");
    }
}

#[test]
fn what_is_not_finite_is_refused() {
    let mut a = family("random", 200, 200);
    a[(3, 4)] = f32::INFINITY;
    assert_eq!(two_stage(a.view(), GO, 1, Isa::Best), Err(SvdError::NotFinite));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn laws_of_singular_values(m in 1usize..90, n in 1usize..90, seed in 1u64..1000, scale in -30i32..30) {
        let factor = 2f32.powi(scale);
        let a = Array2::from_shape_vec((m, n), noise(m * n, seed).map(|x| x * factor).collect()).unwrap();
        let sigma = two_stage(a.view(), GO, 1, Isa::Best).unwrap();
        let top = sigma[0];
        // Σσ² = ‖W‖_F².
        let energy: f64 = a.iter().map(|w| f64::from(*w).powi(2)).sum();
        let sum: f64 = sigma.iter().map(|s| s * s).sum();
        prop_assert!((sum / energy - 1.0).abs() < 1e-5);
        // σ(Wᵀ) = σ(W).
        let transposed = two_stage(a.t(), GO, 1, Isa::Best).unwrap();
        prop_assert!(sigma.iter().zip(&transposed).all(|(a, b)| (a - b).abs() <= 2e-6 * top));
        // Dropping a column interlaces: σᵢ(W) ≥ σᵢ(W') ≥ σᵢ₊₁(W).
        if n > 1 {
            let fewer = two_stage(a.slice(ndarray::s![.., 1..]), GO, 1, Isa::Best).unwrap();
            for (i, s) in fewer.iter().enumerate() {
                prop_assert!(*s <= sigma[i] + 2e-6 * top);
                if let Some(next) = sigma.get(i + 1) {
                    prop_assert!(*s >= next - 2e-6 * top);
                }
            }
        }
        // A signed permutation of the rows changes nothing.
        let turned = Array2::from_shape_fn((m, n), |(i, j)| if i % 3 == 0 { -a[(m - 1 - i, j)] } else { a[(m - 1 - i, j)] });
        let same = two_stage(turned.view(), GO, 1, Isa::Best).unwrap();
        prop_assert!(sigma.iter().zip(&same).all(|(a, b)| (a - b).abs() <= 2e-6 * top));
    }
}
