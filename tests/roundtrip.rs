//! A plan is made, applied and measured: what was written is what the plan said, to the rounding of the stored type.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]

use serde_json::Value;
use slimscope::model::{Layer, Matrix, Model, decode};
use slimscope::numerics::svd::singular_values;
use slimscope::plan::file::{Made, PlanFile};
use slimscope::plan::{Entry, Pattern, Plan, Prune, Treatment};
use slimscope::source::{self, Weights};
use slimscope::treat::{Granularity, Quantise, treated};
use std::path::{Path, PathBuf};
use std::process::Command;

const MODELS: [&str; 4] = ["digits_mlp", "fashion_mlp", "fashion_cnn", "bytelm"];

/// A treatment of every kind.
fn kinds(layer: &Layer) -> Vec<Treatment> {
    let prune = |remove, pattern| Treatment::prune(Prune::of(remove, pattern));
    let rounded = |bits, per, t: Treatment| Treatment { quantise: Some(Quantise { bits, per }), ..t };
    let rank = (layer.full_rank() / 3).max(1);
    let (half, none) = (Prune::unstructured(0.5), Treatment::default());
    vec![
        prune(0.5, Pattern::Unstructured),
        Treatment::rank(rank),
        prune(0.5, Pattern::Groups(4)),
        rounded(4, Granularity::Row, none),
        prune(0.875, Pattern::Groups(8)),
        Treatment::both(rank, half),
        prune(0.4, Pattern::Rows),
        rounded(8, Granularity::Tensor, none),
        prune(0.3, Pattern::Columns),
        rounded(3, Granularity::Group(32), none),
        prune(0.6, Pattern::Blocks(16, 16)),
        rounded(8, Granularity::Row, Treatment::rank(rank)),
        rounded(4, Granularity::Row, prune(0.5, Pattern::Unstructured)),
    ]
}

struct Place {
    cache: tempfile::TempDir,
    dir: tempfile::TempDir,
}

impl Place {
    fn slimscope(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
        let out = command.args(args).env("SLIMSCOPE_CACHE_DIR", self.cache.path()).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }
    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
    /// Applies a plan; what it told, and what measuring the result tells of each layer.
    fn apply(&self, model: &Model, path: &Path, plan: &Plan, form: &str) -> (Value, Vec<Value>) {
        let (file, out) = (self.path("plan.toml"), self.path("out"));
        std::fs::write(&file, PlanFile::of(model, plan, Made::default()).text()).unwrap();
        let path = path.to_str().unwrap();
        let told = self.slimscope(&["apply", &file, path, "-o", &out, "--as", form, "--format", "json"]);
        let measured = self.slimscope(&["measure", &out, "--format", "json", "--with", "spectrum"]);
        let lines = measured.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        (serde_json::from_str(&told).unwrap(), lines)
    }
}

fn sample(name: &str) -> (PathBuf, Model, Weights) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "sample_models", name].iter().collect();
    let (model, weights) = source::open(&path).unwrap();
    (path, model, weights)
}

/// Plans in which every layer gets every kind of treatment once; where there are many layers, every kind comes once.
fn plans(model: &Model) -> Vec<Plan> {
    let layers: Vec<&Layer> = model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none()).collect();
    let count = kinds(layers[0]).len();
    let turns = if layers.len() >= count { 1 } else { count.div_ceil(layers.len()) };
    let mut plans = vec![Plan::new(model.layers.len()); turns];
    for (turn, plan) in plans.iter_mut().enumerate() {
        for (i, layer) in layers.iter().enumerate() {
            let treatment = kinds(layer)[(turn * layers.len() + i) % count];
            plan.set(layer.id, Entry { treatment, pinned: false });
        }
    }
    plans
}

fn norm(data: impl Iterator<Item = f64>) -> f64 {
    data.map(|w| w * w).sum::<f64>().sqrt()
}

fn off(a: &Matrix, b: &Matrix) -> f64 {
    norm(a.data.iter().zip(&b.data).map(|(a, b)| f64::from(*a) - f64::from(*b)))
}

fn sigma(of: &Matrix) -> Vec<f64> {
    singular_values(of.view(), &|| true, 1).unwrap()
}

/// Singular values move by at most the norm of what is added to a matrix (Weyl).
fn same_spectrum(found: &[f64], want: &[f64], slack: f64, what: &str) {
    for (i, want) in want.iter().enumerate() {
        let found = found.get(i).copied().unwrap_or(0.0);
        assert!((found - want).abs() <= slack, "{what}: singular value {i} is {found}, not {want} ± {slack:e}");
    }
}

#[test]
fn dense_results_measure_as_planned() {
    for name in MODELS {
        let (path, model, weights) = sample(name);
        for plan in plans(&model) {
            let place = Place { cache: tempfile::tempdir().unwrap(), dir: tempfile::tempdir().unwrap() };
            let (told, measured) = place.apply(&model, &path, &plan, "dense");
            assert_eq!((&told["verified"], told.get("note")), (&true.into(), None));
            let (result, stored) = source::open(Path::new(&place.path("out"))).unwrap();
            for layer in model.layers.iter().filter(|l| !plan.treatment(l.id).is_dense()) {
                let treatment = plan.treatment(layer.id);
                let what = format!("{name} {} {treatment:?}", layer.name);
                let before = weights.matrix(&model, layer).unwrap();
                let want = treated(layer, &before, treatment, &|| true).unwrap();
                let got = stored.matrix(&result, &result.layers[layer.id.0]).unwrap();
                let size = norm(before.data.iter().map(|w| f64::from(*w)));
                let slack = (layer.dtype.epsilon() + 2e-6) * size;
                assert!(off(&want, &got) <= slack, "{what}: entries");
                let find = |list: &[Value]| list.iter().find(|l| l["layer"] == layer.name).unwrap().clone();
                let measured = find(&measured);
                let values: Vec<f64> =
                    measured["singular_values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
                same_spectrum(&values, &sigma(&want), slack, &what);
                let told = find(told["layers"].as_array().unwrap());
                let said = &told["relative_error"];
                // What is rounded besides may not be projected yet.
                if said["bound"] == "exact" && treatment.quantise.is_none() {
                    let (said, found) = (said["value"].as_f64().unwrap(), off(&before, &got) / size);
                    assert!((said - found).abs() <= slack / size + 2e-3 * said, "{what}: error {found}, not {said}");
                }
                let zeros = measured["zero_fraction"]["value"].as_f64().unwrap();
                let exact = want.data.iter().filter(|w| **w == 0.0).count() as f64 / want.data.len() as f64;
                if treatment.rank.is_none() {
                    assert!((zeros - exact).abs() < 1e-9, "{what}: {zeros} of it are zeros, not {exact}");
                }
            }
        }
    }
}

#[test]
fn factored_results_multiply_out_as_planned() {
    for name in MODELS {
        let (path, model, weights) = sample(name);
        for plan in plans(&model) {
            if model.layers.iter().all(|l| plan.treatment(l.id).rank.is_none()) {
                continue;
            }
            let place = Place { cache: tempfile::tempdir().unwrap(), dir: tempfile::tempdir().unwrap() };
            let (told, measured) = place.apply(&model, &path, &plan, "factored");
            assert_eq!((&told["verified"], told["note"].is_string()), (&true.into(), true));
            let (result, stored) = source::open(Path::new(&place.path("out"))).unwrap();
            place.slimscope(&["inspect", &place.path("out")]);
            for layer in model.layers.iter().filter(|l| !plan.treatment(l.id).is_dense()) {
                let treatment = plan.treatment(layer.id);
                let what = format!("{name} {} {treatment:?}", layer.name);
                let before = weights.matrix(&model, layer).unwrap();
                let want = treated(layer, &before, treatment, &|| true).unwrap();
                let part = |part: &str| {
                    // The factors are parts of one layer: they are read as the tensors that they are.
                    let name = format!("{}{part}.weight", layer.name);
                    let tensor = result.tensors.iter().find(|t| t.name == name)?;
                    let data = decode::decode(tensor.dtype, stored.bytes(&result, tensor).unwrap()).unwrap();
                    let rows = tensor.shape[0];
                    Matrix::new(rows, data.len() / rows, data)
                };
                let slack = 2.0 * (layer.dtype.epsilon() + 2e-6) * norm(before.data.iter().map(|w| f64::from(*w)));
                let Some(rank) = treatment.rank else {
                    assert!(off(&want, &part("").unwrap()) <= slack, "{what}");
                    continue;
                };
                assert!(part("").is_none(), "{what}");
                let (a, b) = (part(".mod_a").unwrap(), part(".mod_b").unwrap());
                assert_eq!(
                    ([a.rows, a.cols], [b.rows, b.cols]),
                    ([rank, layer.cols()], [layer.rows(), rank]),
                    "{what}"
                );
                let product = b.view().dot(&a.view());
                let mut got = Matrix::new(b.rows, a.cols, product.into_raw_vec_and_offset().0).unwrap();
                if let Some(s) = part(".mod_s") {
                    got.data.iter_mut().zip(&s.data).for_each(|(w, s)| *w += s);
                }
                assert!(off(&want, &got) <= slack, "{what}: {} of {slack}", off(&want, &got));
                same_spectrum(&sigma(&got), &sigma(&want), slack, &what);
                // A factor has the roots of the singular values; two factors have no figures of their own.
                let measured = measured.iter().find(|l| l["layer"] == *layer.name).unwrap();
                assert!(measured["spectral_norm"]["value"].is_null() && measured["note"].is_string(), "{measured}");
                let first = sigma(&b)[0].powi(2);
                let top = sigma(&before)[0];
                let loose = if treatment.quantise.is_some() { 0.05 } else { 2e-2 };
                assert!((first / top - 1.0).abs() < loose, "{what}: {first} {top}");
            }
        }
    }
}
