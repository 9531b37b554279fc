//! Against numpy in float64, from the same float32 data (tests/golden/make.py).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]

use ndarray::Array2;
use serde_json::Value;
use slimscope::known::Bound;
use slimscope::model::Matrix;
use slimscope::numerics::{density, svd};
use slimscope::probe::book::FactBook;
use slimscope::probe::{Ask, PROBES};
use slimscope::source;
use slimscope::treat::Prune;
use slimscope::treat::prune::prune;
use std::path::Path;

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// The recurrence of make.py.
fn uniform(n: usize, mut state: u64) -> Vec<f64> {
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 23) - 1.0
        })
        .collect()
}

fn family(name: &str, m: usize, n: usize) -> Matrix {
    let mut a = uniform(m * n, 1);
    let of_columns = uniform(n, 2);
    for (k, w) in a.iter_mut().enumerate() {
        let (i, j) = (k / n, k % n);
        match name {
            "power_law" => *w /= (i + 1) as f64,
            "graded" => *w *= 10f64.powf(-6.0 * j as f64 / (n.max(2) - 1) as f64),
            "low_rank" => {
                *w = ((i % 3 + 1) as f64) * (j % 5) as f64 - 2.0 * (i % 3 + 1) as f64 + ((i % 2) * (j % 3)) as f64;
            }
            "outlier" if (i, j) == (m / 2, n / 3) => *w = 1e4,
            "zero" => *w = 0.0,
            "pruned" if w.abs() <= 0.98 => *w = 0.0,
            "tiny" => *w *= 1e-30,
            "pruned_999" if w.abs() <= 0.999 => *w = 0.0,
            "constant" => *w = 0.37,
            "rank_one_noise" => *w = 1.0 + 1e-4 * *w,
            "equal_rows" => *w = of_columns[j] + 1e-4 * *w,
            "mean" => *w += 10.0 * of_columns[j],
            "signs" => *w = if *w < 0.0 { -1.0 } else { 1.0 },
            "four_bits" => *w = 0.013 * (7.0 * *w + 0.5).floor(),
            _ => {}
        }
    }
    if name == "deficient" {
        let base = a.clone();
        a.iter_mut().enumerate().for_each(|(k, w)| *w = base[k / n * n + (k % n) % (n / 4)] * (1 + (k % n) % 3) as f64);
    }
    let k = m.min(n);
    let level: Option<&dyn Fn(usize) -> f64> = match name {
        "orthogonal" => Some(&|_| 1.0),
        "two_levels" => Some(&|j| if j % 2 == 0 { 1.0 } else { 1.0 - 1e-6 }),
        "rank_quarter" => Some(&|j| if j < k / 4 { 1.0 } else { 0.0 }),
        "halving" => Some(&|j| 0.5f64.powi((6 * j / k) as i32)),
        "one_above" => Some(&|j| if j == 0 { 1.0 } else { 0.5 }),
        _ => None,
    };
    if let Some(level) = level {
        let left = Array2::from_shape_fn((m, k), |(i, j)| cosine(m, i, j) * level(j));
        let product = left.dot(&Array2::from_shape_fn((k, n), |(i, j)| cosine(n, j, i)));
        let signs = uniform(m, 3);
        a = product.indexed_iter().map(|((i, _), w)| if signs[i] < 0.0 { -w } else { *w }).collect();
    }
    Matrix::new(m, n, a.into_iter().map(|w| w as f32).collect()).unwrap()
}

/// Entry (i, j) of the orthogonal matrix of the discrete cosine transform.
fn cosine(n: usize, i: usize, j: usize) -> f64 {
    let norm = (if j == 0 { 1.0 } else { 2.0 } / n as f64).sqrt();
    norm * (std::f64::consts::PI * ((2 * i + 1) * j) as f64 / (2 * n) as f64).cos()
}

/// A weight of a sample model, pruned.
fn pruned_sample(case: &Value) -> Matrix {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_models").join(case["sample"].as_str().unwrap());
    let (model, weights) = source::open(&path).unwrap();
    let layer = model.layers.iter().find(|l| model.tensors[l.tensor].name == case["tensor"].as_str().unwrap()).unwrap();
    let mut matrix = weights.matrix(&model, layer).unwrap();
    prune(&mut matrix, layer, Prune::unstructured(case["share"].as_f64().unwrap()), &|| true).unwrap();
    matrix
}

#[test]
fn large_and_heavily_pruned_matrices_agree_to_a_millionth_of_the_largest() {
    compare_some_values("large.json");
}

#[test]
fn clustered_values_and_coinciding_entries_agree_to_a_millionth_of_the_largest() {
    compare_some_values("clustered.json");
}

fn compare_some_values(file: &str) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for case in golden(file)["cases"].as_array().unwrap() {
        let shape: Vec<usize> = floats(&case["shape"]).iter().map(|x| *x as usize).collect();
        let (m, n) = (shape[0], shape[1]);
        let matrix = case["family"].as_str().map_or_else(|| pruned_sample(case), |name| family(name, m, n));
        let what = format!("{} {} {m}x{n}", case["family"], case["share"]);
        let want = floats(&case["sigma"]);
        let places: Vec<usize> = floats(&case["places"]).iter().map(|x| *x as usize).collect();
        let check = |sigma: &[f64], accuracy: f64| {
            assert_eq!(sigma.len(), m.min(n));
            assert!(sigma.windows(2).all(|w| w[0] >= w[1]) && sigma.iter().all(|s| s.is_finite() && *s >= 0.0));
            let worst = places.iter().zip(&want).map(|(&i, w)| (sigma[i] - w).abs()).fold(0.0, f64::max);
            assert!(worst <= accuracy * want[0], "{what}: off by {:e} of the largest", worst / want[0]);
            let energy: f64 = sigma.iter().map(|s| s * s).sum();
            assert!((energy / case["energy"].as_f64().unwrap() - 1.0).abs() < 1e-5, "{what}: energy");
        };
        let sigma = pool.install(|| svd::singular_values(matrix.view(), &|| true, 2)).unwrap();
        check(&sigma, 1e-6);
        // Doubles take several times longer: smaller ones only.
        if m * n <= 1_300_000 {
            // Entries of clustered families are sums, which numpy adds in another order before they are cut to f32: the last
            // bit of a few may differ.
            let accuracy = if file == "clustered.json" { 1e-9 } else { 1e-11 };
            check(&pool.install(|| svd::singular_values_f64(matrix.view(), &|| true, 2)).unwrap(), accuracy);
        }
    }
}

#[test]
fn singular_values_agree_to_a_millionth_of_the_largest() {
    for case in golden("spectra.json")["spectra"].as_array().unwrap() {
        let (name, shape) = (case["family"].as_str().unwrap(), floats(&case["shape"]));
        let want = floats(&case["sigma"]);
        let matrix = family(name, shape[0] as usize, shape[1] as usize);
        let got = svd::singular_values(matrix.view(), &|| true, 1).unwrap();
        assert_eq!(got.len(), want.len());
        assert!(got.windows(2).all(|w| w[0] >= w[1]) && got.iter().all(|s| *s >= 0.0), "{name} {shape:?}");
        let top = want[0];
        for (i, (g, w)) in got.iter().zip(&want).enumerate() {
            assert!((g - w).abs() <= 1e-6 * top, "{name} {shape:?} σ{}: {g} {w}", i + 1);
        }
        let largest = density::norm(&matrix.data, matrix.rows, matrix.cols, &|| true).unwrap();
        assert!(largest <= top * (1.0 + 1e-12), "{name} {shape:?}: a lower bound, {largest} of {top}");
        assert!(largest >= top * 0.999, "{name} {shape:?}: {largest} of {top}");
    }
}

#[test]
fn every_figure_of_the_sample_models_agrees() {
    let golden = golden("sample_layers.json");
    let expected = golden["layers"].as_array().unwrap();
    let mut seen = 0;
    for name in ["bytelm", "digits_mlp", "fashion_cnn", "fashion_mlp"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_models").join(name);
        let (model, weights) = source::open(&path).unwrap();
        for layer in model.layers.iter().filter(|l| l.measurable()) {
            let tensor = &model.tensors[layer.tensor].name;
            let want = expected.iter().find(|e| e["model"] == name && e["tensor"] == tensor.as_str()).unwrap();
            let matrix = weights.stored(&model, layer).unwrap();
            let mut book = FactBook::new(model.layers.len());
            let ask = Ask { keep_going: &|| true, threads: 1 };
            for probe in PROBES.iter().filter(|p| p.applies(layer)) {
                for fact in probe.measure(layer, &matrix, &ask).unwrap() {
                    book.merge(layer.id, fact);
                }
            }
            let facts = book.of(layer.id);
            let (m, s, l) = (
                facts.magnitude.as_ref().unwrap(),
                facts.spectrum.as_ref().unwrap(),
                facts.lipschitz.as_ref().unwrap(),
            );
            let close = |what: &str, got: f64, want: f64| {
                assert!((got - want).abs() <= 1e-6 * want.abs().max(1e-9), "{name} {tensor} {what}: {got} {want}");
            };
            let field = |key: &str| want[key].as_f64().unwrap();
            close("spectral norm", s.norm(), field("spectral_norm"));
            close("nuclear norm", s.nuclear, field("nuclear_norm"));
            close("Frobenius norm", m.frobenius(), field("frobenius_norm"));
            close("stable rank", s.stable_rank.unwrap(), field("stable_rank"));
            close("effective rank", s.effective_rank.unwrap(), field("effective_rank"));
            assert_eq!(
                s.rank_for_energy.map(|r| r as f64).to_vec(),
                floats(&want["rank_for_energy"]),
                "{name} {tensor}"
            );
            for ((_, got), want) in m.prune_error.iter().zip(floats(&want["prune_error"])) {
                close("prune error", *got, want);
            }
            if let Some(want) = want["two_of_four"].as_f64() {
                close("2:4", facts.structure.as_ref().unwrap().group_error(2, 4).unwrap(), want);
            }
            if layer.kind.is_conv() {
                let lower = l.l2_lower.unwrap().value;
                assert!(lower <= l.l2_upper.value, "{tensor}");
                assert!(l.l2_upper.value / lower < 1.3, "{tensor}: {} {lower}", l.l2_upper.value);
            } else {
                close("ℓ∞", l.linf.value, field("linf"));
                close("ℓ1", l.l1.value, field("l1"));
                let slack = svd::accuracy(layer.rows(), layer.cols());
                assert!(l.l2_upper.value >= s.norm() * (1.0 - slack));
                assert_eq!(l.l2_upper.bound, Bound::Upper);
            }
            // Bounds from below and the proven one from above, with no slack but that of the exact value.
            let slack = svd::accuracy(layer.rows(), layer.cols());
            let (below, above) = (facts.sketch.as_ref().unwrap().norm.value, facts.certificate.unwrap().value);
            let exact = field("spectral_norm");
            assert!(below <= exact * (1.0 + 1e-13) && below > exact * 0.99, "{name} {tensor}: {below} {exact}");
            assert!(above >= exact * (1.0 - 1e-13) && above < exact * (1.0 + 1e-7), "{name} {tensor}: {above} {exact}");
            assert!((s.norm() - exact).abs() <= slack * exact, "{name} {tensor}");
            seen += 1;
        }
    }
    assert_eq!(seen, expected.len(), "every matrix of the samples is compared");
}
