//! Forward passes against numpy in float64 (tests/golden/forward.py).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]

use candle_core::{Device, Tensor};
use serde_json::Value;
use slimscope::evaluate::{Batch, Data, Metric, Network, RunError, measure, runnable, treat};
use slimscope::model::{LayerId, Matrix, Model};
use slimscope::source::{self, Weights};
use slimscope::treat::{Parts, Pattern, Prune, Treatment};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(root().join("tests/golden").join(name)).unwrap()).unwrap()
}

fn counts(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    let row = |r: &Value| r.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    value.as_array().unwrap().iter().map(row).collect()
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

/// Writes a small model of the golden file and opens it.
fn small(case: &Value, folder: &Path) -> (Model, Weights) {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = case["tensors"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, how)| {
            let shape = counts(&how[0]);
            let (seed, scale, offset) = (how[1].as_u64().unwrap(), how[2].as_f64().unwrap(), how[3].as_f64().unwrap());
            let numbers = uniform(shape.iter().product(), seed);
            let bytes = numbers.iter().flat_map(|u| ((u * scale + offset) as f32).to_le_bytes()).collect();
            (name.clone(), shape, bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    std::fs::write(folder.join("config.json"), case["config"].to_string()).unwrap();
    source::open(folder).unwrap()
}

fn network(model: &Model, weights: &Weights) -> Network {
    runnable(model).unwrap();
    Network::load(model, weights, &Device::Cpu).unwrap()
}

/// The largest difference, next to the largest right number.
fn difference(found: &[f32], right: &[f64]) -> f64 {
    assert_eq!(found.len(), right.len());
    assert!(found.iter().all(|f| f.is_finite()));
    let most = right.iter().fold(0f64, |m, r| m.max(r.abs()));
    let off = found.iter().zip(right).map(|(f, r)| (f64::from(*f) - r).abs()).fold(0.0, f64::max);
    off / most.max(1.0)
}

/// Logits of some positions of one row of tokens.
fn at(logits: &Tensor, position: usize) -> Vec<f32> {
    logits.get(0).unwrap().get(position).unwrap().to_vec1().unwrap()
}

fn tokens(case: &Value) -> Batch {
    Batch::Tokens(vec![counts(&case["tokens"]).into_iter().map(|t| t as u32).collect()])
}

fn check_positions(what: &str, network: &Network, batch: &Batch, case: &Value, step: usize) {
    let logits = network.logits(batch, None).unwrap();
    for (position, right) in counts(&case["positions"]).into_iter().zip(rows(&case["logits"])) {
        let found: Vec<f32> = at(&logits, position).into_iter().step_by(step).collect();
        let off = difference(&found, &right);
        println!("{what}, position {position}: {off:.1e}");
        assert!(off < 1e-3, "{what} at {position}: {off}");
    }
}

#[test]
fn small_models_of_every_form_agree_with_numpy_also_where_derivatives_can_be_taken() {
    let golden = golden("forward.json");
    for (name, case) in golden["small"].as_object().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let (model, weights) = small(case, folder.path());
        let fast = network(&model, &weights);
        for network in [fast.clone(), fast.differentiable(true)] {
            if name == "sequential" {
                let count = case["examples"].as_u64().unwrap() as usize;
                let pixels: Vec<f32> =
                    uniform(count * 2 * 9 * 11, case["seed"].as_u64().unwrap()).iter().map(|&p| p as f32).collect();
                let logits = network.logits(&Batch::Images { pixels, count }, None).unwrap();
                for (row, right) in logits.to_vec2::<f32>().unwrap().iter().zip(rows(&case["logits"])) {
                    let off = difference(row, &right);
                    println!("{name}: {off:.1e}");
                    assert!(off < 1e-4, "{name}: {off}");
                }
            } else {
                check_positions(name, &network, &tokens(case), case, 1);
            }
        }
    }
}

fn sample(name: &str) -> (Model, Weights) {
    source::open(&root().join("sample_models").join(name)).unwrap()
}

#[test]
fn sample_models_agree_with_numpy_in_logits_and_quality() {
    let golden = golden("forward.json");
    for (name, case) in golden["samples"].as_object().unwrap() {
        let (model, weights) = sample(name);
        let network = network(&model, &weights);
        let data = Data::beside(&model).unwrap().unwrap();
        let amount = if name == "bytelm" { &case["bytes"] } else { &case["examples"] };
        let slice = data.slice(&model, 0..amount.as_u64().unwrap() as usize, None).unwrap();
        let (mut told, mut share) = (0, 0.0);
        let measured = measure(&network, &slice, &mut |running| {
            assert!(running.share > share);
            (told, share) = (told + 1, running.share);
            true
        });
        let measured = measured.unwrap().unwrap();
        assert!(told > 0 && (share - 1.0).abs() < 1e-12);
        if name == "bytelm" {
            let first = match &slice.units[0] {
                slimscope::evaluate::Unit::Window { tokens, .. } => tokens.clone(),
                slimscope::evaluate::Unit::Images { .. } => panic!("images"),
            };
            check_positions(name, &network, &Batch::Tokens(vec![first]), case, 1);
            assert_eq!(measured.metric, Metric::BitsPerByte);
            let (bits, perplexity) = (case["bits_per_byte"].as_f64().unwrap(), case["perplexity"].as_f64().unwrap());
            assert!((measured.value / bits - 1.0).abs() < 1e-3, "{} for {bits}", measured.value);
            assert!((measured.perplexity.unwrap() / perplexity - 1.0).abs() < 1e-3);
            assert!(measured.standard_error > 0.0 && measured.standard_error < 0.3);
            // Eight windows, the first token of each not predicted.
            assert_eq!((measured.tokens, measured.bytes, measured.parts.len()), (992, 992, 8));
        } else {
            let slimscope::evaluate::Unit::Images { pixels, labels } = &slice.units[0] else { panic!("text") };
            let batch = Batch::Images { pixels: pixels.clone(), count: labels.len() };
            let logits = network.logits(&batch, None).unwrap().to_vec2::<f32>().unwrap();
            for (row, right) in logits.iter().zip(rows(&case["logits"])) {
                let off = difference(row, &right);
                println!("{name}: {off:.1e}");
                assert!(off < 1e-3, "{name}: {off}");
            }
            assert_eq!(measured.value, case["accuracy"].as_f64().unwrap(), "{name}");
            let error = (measured.value * (1.0 - measured.value) / measured.examples as f64).sqrt();
            assert_eq!(measured.standard_error, error);
        }
        assert_eq!(measure(&network, &slice, &mut |_| false).unwrap(), None);
    }
}

#[test]
fn downloaded_models_agree_with_numpy() {
    let golden = golden("forward_large.json");
    for (name, variable) in [("smollm2", "SLIMSCOPE_SMOLLM2"), ("minilm", "SLIMSCOPE_MINILM")] {
        let Some(folder) = std::env::var_os(variable).map(PathBuf::from) else {
            println!("{name} skipped: {variable} does not name its folder");
            continue;
        };
        let (model, weights) = source::open(&folder).unwrap();
        let network = network(&model, &weights);
        let case = &golden[name];
        check_positions(name, &network, &tokens(case), case, case["step"].as_u64().unwrap() as usize);
        let tokeniser = slimscope::evaluate::Tokeniser::of(&model).unwrap();
        let text = golden["text"].as_str().unwrap();
        let ids: Vec<usize> =
            tokeniser.encode(text.as_bytes(), &folder, 0).unwrap().iter().map(|t| t.id as usize).collect();
        assert_eq!(ids, counts(&case["tokens"]));
    }
}

/// Up times down plus entries.
fn multiplied_out(parts: &Parts) -> Parts {
    let mut sum = parts.entries.clone();
    if let Some([up, down]) = &parts.factors {
        let product = up.view().dot(&down.view());
        let data: Vec<f32> = match &sum {
            Some(entries) => product.iter().zip(&entries.data).map(|(a, b)| a + b).collect(),
            None => product.iter().copied().collect(),
        };
        sum = Matrix::new(up.rows, down.cols, data);
    }
    Parts { factors: None, entries: sum }
}

fn run(network: &Network, batch: &Batch) -> Vec<f32> {
    network.logits(batch, None).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn factors_run_as_their_product_does_and_restoring_gives_back_the_model() {
    let golden = golden("forward.json");
    let folder = tempfile::tempdir().unwrap();
    let grouped = small(&golden["small"]["sequential"], folder.path());
    let cases = [sample("bytelm"), sample("fashion_cnn"), grouped];
    for (model, weights) in &cases {
        let mut apart = network(model, weights);
        let mut whole = apart.clone();
        let batch = match Data::beside(model) {
            Ok(Some(data)) => match &data.slice(model, 0..64, None).unwrap().units[0] {
                slimscope::evaluate::Unit::Window { tokens, .. } => Batch::Tokens(vec![tokens.clone()]),
                slimscope::evaluate::Unit::Images { pixels, labels } => {
                    Batch::Images { pixels: pixels.clone(), count: labels.len() }
                }
            },
            _ => Batch::Images { pixels: uniform(2 * 9 * 11, 5).iter().map(|&p| p as f32).collect(), count: 1 },
        };
        let before = run(&apart, &batch);
        let prune = Prune::of(0.5, Pattern::Unstructured);
        let layers: Vec<LayerId> = apart.layers();
        assert!(layers.len() >= 5);
        for &id in &layers {
            let layer = model.layer(id).unwrap();
            let treatment = Treatment::both(layer.full_rank().div_ceil(2), prune);
            let matrix = weights.matrix(model, layer).unwrap();
            let parts = slimscope::treat::parts(layer, &matrix, treatment, &|| true).unwrap();
            assert!(parts.factors.is_some() && parts.entries.is_some());
            apart.swap(id, &parts).unwrap();
            whole.swap(id, &multiplied_out(&parts)).unwrap();
        }
        let (a, b) = (run(&apart, &batch), run(&whole, &batch));
        let right: Vec<f64> = b.iter().map(|&x| f64::from(x)).collect();
        let off = difference(&a, &right);
        println!("{}: factors {off:.1e}", model.name);
        assert!(off < 1e-4, "{}: {off}", model.name);
        assert_ne!(a, before);
        layers.iter().for_each(|&id| apart.restore(id));
        assert_eq!(run(&apart, &batch), before);
        let misfit = Parts { factors: None, entries: Matrix::new(1, 2, vec![0.0; 2]) };
        assert!(matches!(apart.swap(layers[0], &misfit), Err(RunError::Misfit(_))));
    }
}

#[test]
fn what_layers_hear_gives_what_they_answer() {
    let golden = golden("forward.json");
    let folder = tempfile::tempdir().unwrap();
    let (model, weights) = small(&golden["small"]["sequential"], folder.path());
    let network = network(&model, &weights);
    let pixels: Vec<f32> = uniform(2 * 9 * 11, 5).iter().map(|&p| p as f32).collect();
    let batch = Batch::Images { pixels, count: 1 };
    let mut heard: Vec<(LayerId, Tensor)> = Vec::new();
    let mut answers: Vec<(LayerId, Tensor)> = Vec::new();
    let mut listen = |id: LayerId, x: &Tensor| {
        heard.push((id, x.clone()));
        Ok(())
    };
    let mut outputs = |id: LayerId, y: Tensor| {
        answers.push((id, y.clone()));
        Ok(y)
    };
    network.logits_through(&batch, Some(&mut listen), Some(&mut outputs)).unwrap();
    assert_eq!(heard.len(), network.layers().len());
    for ((id, x), (other, y)) in heard.iter().zip(&answers) {
        assert_eq!(id, other);
        let layer = model.layer(*id).unwrap();
        assert_eq!(x.dims()[1], layer.cols(), "{}", layer.name);
        let groups = x.dims()[0] / y.dims()[0];
        let (x, y) = (x.to_vec2::<f32>().unwrap(), y.to_vec2::<f32>().unwrap());
        let matrix = weights.matrix(&model, layer).unwrap();
        let each = layer.rows() / groups;
        for (row, answer) in y.iter().enumerate() {
            for (o, found) in answer.iter().enumerate() {
                let input = &x[o / each * y.len() + row];
                let weight = &matrix.data[o * layer.cols()..(o + 1) * layer.cols()];
                let right: f64 = input.iter().zip(weight).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                assert!((f64::from(*found) - right).abs() < 1e-4, "{} {row} {o}", layer.name);
            }
        }
    }
}

#[test]
fn pruning_costs_what_it_costs_and_threads_change_nothing() {
    let (model, weights) = sample("bytelm");
    let data = Data::beside(&model).unwrap().unwrap();
    let slice = data.slice(&model, 0..8192, None).unwrap();
    let pool = |n| std::sync::Arc::new(rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
    let one = network(&model, &weights).on(pool(1));
    let mut two = network(&model, &weights).on(pool(2));
    let score = |network: &Network| measure(network, &slice, &mut |_| true).unwrap().unwrap().value;
    let dense = score(&one);
    assert!((score(&two) - dense).abs() < 1e-6);
    let mut bits = Vec::new();
    for remove in [0.3, 0.5, 0.9] {
        let how = Treatment::prune(Prune::of(remove, Pattern::Unstructured));
        let treatments: Vec<Treatment> =
            model.layers.iter().map(|l| if l.eligible() { how } else { Treatment::default() }).collect();
        assert!(treat(&mut two, &model, &weights, &treatments, &|| true, &mut |_| {}).unwrap().is_empty());
        bits.push(score(&two) - dense);
    }
    println!("dense {dense:.3}, at 30, 50 and 90 % +{bits:.3?}");
    assert!(dense > 1.2 && dense < 2.2);
    assert!(bits[0] > 0.0 && bits[0] < 0.3 && bits[1] > bits[0] && bits[1] < 3.0 && bits[2] > 2.0, "{bits:?}");
}

#[test]
fn what_is_not_known_is_named() {
    let golden = golden("forward.json");
    let folder = tempfile::tempdir().unwrap();
    let refused = |case: &str, change: &dyn Fn(&mut Value)| {
        let mut case = golden["small"][case].clone();
        change(&mut case["config"]);
        let (model, _) = small(&case, folder.path());
        runnable(&model).unwrap_err()
    };
    let told = refused("llama3", &|c| c["model_type"] = "mamba".into());
    assert!(told.contains("mamba"), "{told}");
    let told = refused("llama3", &|c| c["rope_scaling"]["rope_type"] = "yarn".into());
    assert!(told.contains("yarn") && told.contains("llama3"), "{told}");
    let told = refused("llama3", &|c| c["hidden_act"] = "relu6".into());
    assert!(told.contains("relu6"), "{told}");
    let told = refused("llama3", &|c| c["num_hidden_layers"] = 3.into());
    assert!(told.contains("model.layers.2"), "{told}");
    let told = refused("llama3", &|c| c["intermediate_size"] = 41.into());
    assert!(told.contains("40 × 24") && told.contains("41 × 24"), "{told}");
    let told = refused("sequential", &|c| c["layers"][1]["type"] = "mish".into());
    assert!(told.contains("mish"), "{told}");
    let told = refused("sequential", &|c| c["layers"][0]["padding_mode"] = "reflect".into());
    assert!(told.contains("reflect"), "{told}");
    let told = refused("gpt2", &|c| c["scale_attn_by_inverse_layer_idx"] = true.into());
    assert!(told.contains("scale_attn_by_inverse_layer_idx"), "{told}");
}
