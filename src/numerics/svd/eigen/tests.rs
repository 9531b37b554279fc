use super::*;
use faer::Side;

const GO: KeepGoing<'static> = &|| true;

/// Numbers that look random, in [−1, 1).
fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1u32 << 23) - 1.0
    }
}

/// A symmetric matrix with these eigenvalues.
fn with(values: &[f64], seed: u64) -> Mat<f64> {
    let n = values.len();
    let mut next = noise(seed);
    let q = Mat::<f64>::from_fn(n, n, |_, _| next()).qr().compute_thin_Q();
    let scaled = Mat::<f64>::from_fn(n, n, |i, j| q[(i, j)] * values[j]);
    scaled * q.transpose()
}

fn families(n: usize) -> Vec<(&'static str, Mat<f64>)> {
    let of = |value: &dyn Fn(usize) -> f64| (0..n).map(value).collect::<Vec<f64>>();
    let mut next = noise(9);
    let a = Mat::<f64>::from_fn(n, n, |_, _| next());
    let diagonal = |value: &dyn Fn(usize) -> f64| Mat::from_fn(n, n, |i, j| if i == j { value(i) } else { 0.0 });
    vec![
        ("random", a.transpose() * &a),
        ("spread", with(&of(&|i| 1.0 + i as f64), 1)),
        ("equal", with(&of(&|_| 3.0), 2)),
        ("three levels", with(&of(&|i| [4.0, 2.0, 1.0][i * 3 / n]), 3)),
        ("clusters", with(&of(&|i| 1.0 + (i / 7) as f64 + 1e-9 * i as f64), 4)),
        ("graded", with(&of(&|i| 10f64.powf(-14.0 * i as f64 / n as f64)), 5)),
        ("rank-deficient", with(&of(&|i| if i < n / 3 { 1.0 + i as f64 } else { 0.0 }), 6)),
        ("indefinite", with(&of(&|i| (i as f64 * 0.7).sin()), 7)),
        ("tiny", with(&of(&|i| 1e-30 * (1.0 + i as f64)), 8)),
        ("identity", diagonal(&|_| 1.0)),
        ("diagonal", diagonal(&|i| (i % 5) as f64)),
        ("zero", diagonal(&|_| 0.0)),
    ]
}

/// What the vectors hold, and how far they are from orthonormal.
fn held(g: &Mat<f64>, vectors: &Mat<f64>) -> (Vec<f64>, f64) {
    let (image, gram) = (g * vectors, vectors.transpose() * vectors);
    let r = vectors.ncols();
    let held = (0..r).map(|j| (0..g.nrows()).map(|i| vectors[(i, j)] * image[(i, j)]).sum()).collect();
    let off = |i: usize, j: usize| (gram[(i, j)] - if i == j { 1.0 } else { 0.0 }).abs();
    (held, (0..r).flat_map(|j| (0..r).map(move |i| (i, j))).map(|(i, j)| off(i, j)).fold(0.0, f64::max))
}

/// The eigenvectors of faer's whole decomposition are the reference.
fn check<T: Real>(n: usize, count: usize, tolerance: f64, orthonormal: f64) {
    for (name, g) in families(n) {
        // faer's thresholds are absolute.
        let entries = (0..n).flat_map(|j| g.col(j).iter().copied());
        let largest = entries.fold(f64::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let g = Mat::<f64>::from_fn(n, n, |i, j| g[(i, j)] / largest);
        let reference = g.self_adjoint_eigen(Side::Lower).unwrap();
        let all = reference.S().column_vector();
        let size = all.iter().fold(f64::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let narrow = Mat::<T>::from_fn(n, n, |i, j| T::narrow(if i >= j { g[(i, j)] / size } else { f64::NAN }));
        let found =
            leading(&narrow, (count, count), |_| true, GO).unwrap().unwrap_or_else(|| panic!("{name}: nothing"));
        let vectors = Mat::<f64>::from_fn(n, count, |i, j| found.vectors[(i, j)].wide());
        let (held, off) = held(&g, &vectors);
        assert!(off < orthonormal, "{name} {n}, {count}: vectors off by {off:e}");
        for j in 0..count {
            let want = all[n - 1 - j] / size;
            assert!((found.values[j] - want).abs() < tolerance, "{name}: value {j} is {}, not {want}", found.values[j]);
            // Each vector belongs to its value, or is one of a cluster of them.
            assert!(
                (held[j] / size - want).abs() < tolerance,
                "{name}: vector {j} holds {}, not {want}",
                held[j] / size
            );
        }
    }
}

#[test]
fn vectors_are_orthonormal_and_hold_what_the_values_say() {
    for (n, count) in [(2, 1), (3, 3), (40, 1), (65, 16), (130, 40), (200, 199), (257, 64)] {
        check::<f64>(n, count, 1e-12, 1e-10);
        check::<f32>(n, count, 1e-5, 1e-5);
    }
}

#[test]
fn a_bound_on_what_is_wanted_saves_the_vectors() {
    let g = with(&[5.0, 1.0, 3.0, 2.0], 1);
    let all = |values: &[f64]| {
        assert!(values.iter().zip([5.0, 3.0, 2.0, 1.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{values:?}");
        true
    };
    let found = leading(&g, (4, 2), all, GO).unwrap().unwrap();
    assert_eq!((found.values.len(), found.vectors.ncols()), (4, 2));
    assert!(leading(&g, (4, 2), |_| false, GO).unwrap().is_none());
    let broken = Mat::from_fn(3, 3, |i, _| if i == 1 { f64::NAN } else { 1.0 });
    assert!(leading(&broken, (3, 1), |_| true, GO).unwrap().is_none());
}

#[test]
fn every_instruction_set_gives_the_same() {
    let mut next = noise(3);
    let diagonal: Vec<f64> = (0..150).map(|_| next()).collect();
    let beside: Vec<f64> = (0..149).map(|_| next()).collect();
    let of = |isa| {
        let t = Tridiagonal::new::<f64>(diagonal.clone(), beside.clone(), isa).unwrap();
        let values = t.values(100..150, GO).unwrap();
        let vectors = t.vectors(&values).unwrap();
        (values, vectors)
    };
    let (values, vectors) = of(Isa::Best);
    for isa in [Isa::Avx2, Isa::Portable] {
        let (v, w) = of(isa);
        assert!(values.iter().zip(&v).all(|(a, b)| (a - b).abs() < 1e-13));
        assert!((0..50).all(|j| (0..150).all(|i| (vectors[(i, j)].abs() - w[(i, j)].abs()).abs() < 1e-9)));
    }
}
