//! What is printed of single matrices against numpy in float64 (tests/golden/figures.py).

use super::json;
use crate::known::Bound;
use crate::model::{DType, Kind, Layer, Model, Orientation, Stored};
use crate::probe::book::LayerFacts;
use crate::probe::{Ask, PROBES};
use serde_json::Value;

/// The recurrence of make.py.
fn uniform(n: usize, mut state: u64) -> Vec<f64> {
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / f64::from(1 << 23) - 1.0
        })
        .collect()
}

/// The bytes of numbers in a type, by way of `f32` but for doubles.
fn stored_as(dtype: DType, numbers: &[f64]) -> Vec<u8> {
    let bytes = |w: &f64| match dtype {
        DType::F64 => w.to_le_bytes().to_vec(),
        DType::F32 => (*w as f32).to_le_bytes().to_vec(),
        DType::F16 => half::f16::from_f32(*w as f32).to_le_bytes().to_vec(),
        _ => half::bf16::from_f32(*w as f32).to_le_bytes().to_vec(),
    };
    numbers.iter().flat_map(bytes).collect()
}

/// The families of figures.py.
fn entries(case: &Value, count: usize) -> Vec<f64> {
    let scale = 2f64.powi(case["power"].as_i64().unwrap() as i32);
    let shaped = |a: f64| match case["family"].as_str().unwrap() {
        "heavy" => a / (1.0 - a.abs() + 2f64.powi(-12)),
        "zeros" if a.abs() < 0.4 => 0.0,
        "constant" => -0.75,
        "sparse" if a.abs() < 0.97 => 0.0,
        _ => a,
    };
    uniform(count, 7).into_iter().map(|a| shaped(a) * scale).collect()
}

#[test]
fn figures_of_every_type_and_scale_are_numpys_on_one_thread_and_on_two() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/figures.json")).unwrap();
    let cases = &golden["cases"];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for (case, threads) in cases.as_array().unwrap().iter().flat_map(|c| [(c, 1), (c, 2)]) {
        let [rows, cols] = [0, 1].map(|i| case["shape"][i].as_u64().unwrap() as usize);
        let dtype = [DType::F64, DType::F32, DType::F16, DType::BF16]
            .into_iter()
            .find(|d| d.name() == case["dtype"].as_str().unwrap())
            .unwrap();
        let bytes = stored_as(dtype, &entries(case, rows * cols));
        let layer = Layer { dtype, ..Layer::alone(Kind::Linear, &[rows, cols]) };
        let entries = Stored::new(dtype, [rows, cols], Orientation::OutIn, &bytes).unwrap();
        let ask = Ask { keep_going: &|| true, threads };
        let facts = pool.install(|| {
            let probes = PROBES.iter().filter(|p| p.applies(&layer) && !p.on_request());
            LayerFacts::of(probes.flat_map(|p| p.measure(&layer, &entries, &ask).unwrap()).collect())
        });
        let json = json::measured(&Model::default(), &layer, &facts, false, &[]);
        let what = format!("{} {} 2^{}", case["dtype"], case["family"], case["power"]);
        let close = |key: &str, got: &Value, want: &Value, accuracy: f64| {
            let (got, want) = (got.as_f64().unwrap_or(f64::NAN), want.as_f64().unwrap());
            assert!((got - want).abs() <= accuracy * want.abs(), "{what} {key}: {got} {want}");
        };
        let want = &case["figures"];
        for key in ["zero_fraction", "frobenius_norm"] {
            close(key, &json[key]["value"], &want[key], 1e-13);
        }
        for (key, field) in [("linf", "linf"), ("l1", "l1")] {
            close(key, &json["lipschitz"][field]["value"], &want[key], 1e-13);
        }
        for key in ["min_nonzero", "max", "median"] {
            close(key, &json["magnitude"][key], &want[key], 1e-15);
        }
        for (key, want) in ["0.5", "0.9", "0.99"].iter().zip(want["quantiles"].as_array().unwrap()) {
            close(key, &json["magnitude"]["quantiles"][key], want, 1e-15);
        }
        assert!(
            (json["pq_index"]["value"].as_f64().unwrap() - want["pq_index"].as_f64().unwrap()).abs() < 1e-13,
            "{what}"
        );
        for (ratio, want) in ["0.3", "0.5", "0.7", "0.9"].iter().zip(want["prune_error"].as_array().unwrap()) {
            close(ratio, &json["prune_error"][ratio], want, 1e-12);
        }
        // Patterns and spectra of doubles are of their `f32`.
        let (patterns, spectra) = if dtype == DType::F64 { (1e-7, 1e-6) } else { (1e-12, 1e-11) };
        for (pattern, want) in want["nm_error"].as_object().unwrap() {
            close(pattern, &json["nm_error"][pattern], want, patterns);
        }
        for key in ["spectral_norm", "nuclear_norm", "stable_rank", "effective_rank"] {
            close(key, &json[key]["value"], &want[key], spectra);
        }
        let l12 = json["l12_nuclear_norm"]["value"].as_f64().unwrap() / want["l12_nuclear_norm"].as_f64().unwrap();
        assert!((l12 - 1.0).abs() < 1e-12 && (cols > rows || l12 >= 1.0), "{what}: {l12}");
        for (e, want) in ["0.90", "0.95", "0.99"].iter().zip(want["rank_for_energy"].as_array().unwrap()) {
            let sure = json["rank_for_energy_bound"][e] == "exact";
            assert!(!sure || json["rank_for_energy"][e] == *want, "{what}: {} {want}", json["rank_for_energy"][e]);
        }
        bounds_hold(&facts, want, &what);
    }
}

/// What is called a bound is on the right side of numpy's figure, to the last digit but numpy's own rounding.
fn bounds_hold(facts: &LayerFacts, want: &Value, what: &str) {
    let of = |key: &str| want[key].as_f64().unwrap();
    let (sketch, m) = (facts.sketch.as_ref().unwrap(), facts.magnitude.as_ref().unwrap());
    let (norm, slack) = (of("spectral_norm"), 1.0 + 1e-14);
    assert!(sketch.norm.bound == Bound::Lower && sketch.norm.value <= norm * slack, "{what}: {:?} {norm}", sketch.norm);
    assert!(sketch.norm.value >= norm * 0.99, "{what}: {:?} {norm}", sketch.norm);
    let unsure = LayerFacts { spectrum: None, ..facts.clone() };
    let layer = Layer::alone(Kind::Linear, &[m.row_squares.len(), m.col_squares.len()]);
    let json = json::measured(&Model::default(), &layer, &unsure, false, &[]);
    assert_eq!(json["stable_rank"]["bound"], "upper");
    assert!(json["stable_rank"]["value"].as_f64().unwrap() * slack >= of("stable_rank"), "{what}");
    assert!(m.frobenius_above() >= of("frobenius_norm"), "{what}");
    assert!(
        m.norm_above() * slack >= norm && facts.lipschitz.as_ref().unwrap().l2_upper.value * slack >= norm,
        "{what}"
    );
}
