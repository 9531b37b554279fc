//! Commands on checkpoints with quantised layers, wrapped names, routers and tied heads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn slimscope(args: &[&str]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
    command.args(args).env("NO_COLOR", "").env("SLIMSCOPE_CACHE_DIR", cache.path()).env_remove("TERM").output().unwrap()
}

fn stdout(args: &[&str]) -> String {
    let out = slimscope(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

fn write(folder: &Path, tensors: &Tensors, config: &str) -> String {
    let views = tensors.iter().map(|(n, d, s, b)| (n.clone(), TensorView::new(*d, s.clone(), b).unwrap()));
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    std::fs::write(folder.join("config.json"), config).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn floats(count: usize) -> Vec<u8> {
    (0..count).flat_map(|i| ((i as f32 * 1.7).sin() * 0.3).to_le_bytes()).collect()
}

/// A block with an FP8 layer, a plain one, a router and a bias of two axes.
fn mixed() -> Tensors {
    let name = |n: &str| format!("model.layers.0.{n}");
    vec![
        (name("self_attn.q_proj.weight"), Dtype::F8_E4M3, vec![64, 64], (0..4096).map(|i| (i % 120) as u8).collect()),
        (name("self_attn.q_proj.weight_scale_inv"), Dtype::F32, vec![2, 2], floats(4)),
        (name("self_attn.o_proj.weight"), Dtype::F32, vec![64, 64], floats(4096)),
        (name("mlp.gate.weight"), Dtype::F32, vec![4, 64], floats(256)),
        (name("mlp.experts.down_proj_bias"), Dtype::F32, vec![4, 64], floats(256)),
    ]
}

fn layer<'a>(read: &'a Value, name: &str) -> &'a Value {
    read["layers"].as_array().unwrap().iter().find(|l| l["layer"] == name).unwrap()
}

#[test]
fn inspect_shows_a_quantised_layer_with_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &mixed(), "{}");
    let read: Value = serde_json::from_str(&stdout(&["inspect", &path, "--format", "json"])).unwrap();
    let q = layer(&read, "model.layers.0.self_attn.q_proj");
    assert_eq!(q["dtype"], "FP8 blocks 32x32");
    assert_eq!(q["eligible"], false);
    assert!(q["why_not"].as_str().unwrap().contains("not decoded"), "{q}");
    let parts = ["model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.weight_scale_inv"];
    assert_eq!(q["parts"], serde_json::json!(parts));
    assert_eq!((q["bytes"].as_u64(), q["params"].as_u64()), (Some(4112), Some(4096)));
    assert!((q["bits_per_weight"].as_f64().unwrap() - 8.03125).abs() < 1e-12);
    assert_eq!(layer(&read, "model.layers.0.self_attn.o_proj")["eligible"], true);
    assert!(read["layers"].as_array().unwrap().iter().all(|l| !l["layer"].as_str().unwrap().contains("scale")));
}

#[test]
fn a_quantised_layer_has_no_figures() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &mixed(), "{}");
    let text = stdout(&["measure", &path, "--format", "json", "--layers", "*q_proj"]);
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    for field in ["spectral_norm", "frobenius_norm", "zero_fraction", "prune_error", "lipschitz", "magnitude"] {
        assert!(line[field].is_null(), "{field}: {line}");
    }
    assert!(line["note"].as_str().unwrap().contains("not decoded"), "{line}");
}

#[test]
fn no_part_of_a_quantised_layer_is_changed_and_routers_stay_unless_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), &mixed(), "{}");
    let (plan, out) = (folder.path().join("plan.toml"), folder.path().join("out"));
    let (plan, out) = (plan.to_str().unwrap(), out.to_str().unwrap());
    let words = stdout(&["plan", &path, "--prune", ".5", "-o", plan]);
    assert!(words.contains("routers stay dense"), "{words}");
    stdout(&["apply", plan, &path, "-o", out]);
    let (old, new) = (std::fs::read(folder.path().join("model.safetensors")).unwrap(), PathBuf::from(out));
    let new = std::fs::read(new.join("model.safetensors")).unwrap();
    let (old, new) = (SafeTensors::deserialize(&old).unwrap(), SafeTensors::deserialize(&new).unwrap());
    for (name, tensor) in old.tensors() {
        let changed = new.tensor(&name).unwrap().data() != tensor.data();
        assert_eq!(changed, name.contains("o_proj"), "{name}");
    }
    let named = stdout(&["plan", &path, "--prune", ".5", "--layers", "*mlp.gate", "-o", plan]);
    assert!(!named.contains("routers stay dense"), "{named}");
    assert!(std::fs::read_to_string(plan).unwrap().contains("mlp.gate"));
    let budget = stdout(&["plan", &path, "--budget", ".7", "--of", "params", "-o", plan]);
    assert!(!std::fs::read_to_string(plan).unwrap().contains("mlp.gate"), "{budget}");
}

/// The sample with every name under a wrapper.
fn wrapped(folder: &Path) -> (String, String) {
    let sample: PathBuf = [env!("CARGO_MANIFEST_DIR"), "sample_models", "bytelm"].iter().collect();
    let bytes = std::fs::read(sample.join("model.safetensors")).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = read.tensors().into_iter().map(|(name, t)| {
        let name = name.replace(".mlp.", "._fsdp_wrapped_module.mlp.");
        (format!("_orig_mod.{name}"), t.dtype(), t.shape().to_vec(), t.data().to_vec())
    });
    let config = std::fs::read_to_string(sample.join("config.json")).unwrap();
    let path = write(folder, &tensors.collect(), &config);
    std::fs::copy(sample.join("eval.safetensors"), folder.join("eval.safetensors")).unwrap();
    (path, sample.to_str().unwrap().to_owned())
}

#[test]
fn wrapped_names_run_and_are_written_as_they_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (path, plain) = wrapped(folder.path());
    let loss = |model: &str| -> Value {
        let text = stdout(&["evaluate", model, "--slice", "2048", "--format", "json"]);
        serde_json::from_str(text.lines().next().unwrap()).unwrap()
    };
    assert_eq!(loss(&path)["value"], loss(&plain)["value"]);
    let (plan, out) = (folder.path().join("plan.toml"), folder.path().join("out"));
    let (plan, out) = (plan.to_str().unwrap(), out.to_str().unwrap());
    stdout(&["plan", &path, "--rank", "16", "--layers", "*.0.mlp.up_proj", "-o", plan]);
    assert!(std::fs::read_to_string(plan).unwrap().contains("\"model.layers.0.mlp.up_proj\""));
    stdout(&["apply", plan, &path, "-o", out, "--as", "factored"]);
    let bytes = std::fs::read(Path::new(out).join("model.safetensors")).unwrap();
    let names: Vec<String> = SafeTensors::deserialize(&bytes).unwrap().names().into_iter().map(str::to_owned).collect();
    let factor = "_orig_mod.model.layers.0._fsdp_wrapped_module.mlp.up_proj.mod_a.weight";
    assert!(names.iter().any(|n| n == factor), "{names:?}");
    let again: Value = serde_json::from_str(&stdout(&["inspect", out, "--format", "json"])).unwrap();
    let up = layer(&again, "model.layers.0.mlp.up_proj");
    assert_eq!((up["eligible"].as_bool(), up["parts"].as_array().map(Vec::len)), (Some(false), Some(2)));
    assert!(up["why_not"].as_str().unwrap().contains("mod_a"), "{up}");
}

#[test]
fn a_stored_head_that_differs_is_kept_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let head = |value: f32| (0..4096).flat_map(|_| value.to_le_bytes()).collect::<Vec<u8>>();
    let tensors = |other: f32| {
        vec![
            ("model.embed_tokens.weight".to_owned(), Dtype::F32, vec![64, 64], head(1.0)),
            ("lm_head.weight".to_owned(), Dtype::F32, vec![64, 64], head(other)),
        ]
    };
    let config = r#"{"model_type": "llama", "tie_word_embeddings": true}"#;
    let inspect = |tensors: &Tensors| -> Value {
        let path = write(folder.path(), tensors, config);
        serde_json::from_str(&stdout(&["inspect", &path, "--format", "json"])).unwrap()
    };
    assert_eq!(inspect(&tensors(1.0))["params"], 4096);
    let differs = inspect(&tensors(2.0));
    assert_eq!(differs["params"], 8192);
    assert!(differs["notes"].to_string().contains("differs"), "{differs}");
}
