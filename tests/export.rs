//! What `slimscope export` writes and says, byte for byte. `UPDATE_GOLDEN=1 cargo test --test export` writes it anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn at(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), name].iter().collect();
    path.to_str().unwrap().to_owned()
}

fn plan(name: &str) -> String {
    at(&format!("tests/golden/export/{name}.toml"))
}

fn slimscope(args: &[&str]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
    command.args(args).env("NO_COLOR", "").env("SLIMSCOPE_CACHE_DIR", cache.path()).env_remove("TERM").output().unwrap()
}

/// Status, standard output and standard error.
fn run(args: &[&str]) -> (i32, String, String) {
    let out = slimscope(args);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

/// Compares with what is kept, or keeps it. The version of the program may change.
fn golden(name: &str, found: &str) {
    let found = found.replace(&format!("slimscope {}:", env!("CARGO_PKG_VERSION")), "slimscope VERSION:");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/export").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == found, "{name} is another: UPDATE_GOLDEN=1 cargo test --test export\n{found}");
}

/// Plans, their models, and the formats that can say something of them.
const CASES: &[(&str, &str, &[&str])] = &[
    ("blocks", "bytelm", &["llm-compressor", "torch-pruning", "json", "csv"]),
    ("mixed", "bytelm", &["llm-compressor", "lems", "peft", "torch-pruning", "aimet", "llama-cpp", "json", "csv"]),
    ("dropped", "bytelm", &["mergekit", "llama-cpp"]),
    ("cnn", "fashion_cnn", &["torch-pruning", "aimet", "peft", "json"]),
];

fn ending(format: &str) -> &'static str {
    match format {
        "llm-compressor" | "mergekit" => "yaml",
        "aimet" => "py",
        "llama-cpp" => "sh",
        "csv" => "csv",
        _ => "json",
    }
}

#[test]
fn every_format_writes_what_it_wrote() {
    for (name, model, formats) in CASES {
        for format in *formats {
            let args = ["export", &plan(name), &at(&format!("sample_models/{model}")), "--to", format, "-o", "-"];
            let (code, file, said) = run(&args);
            assert_eq!(code, 0, "{args:?}: {said}");
            golden(&format!("{name}.{format}.{}", ending(format)), &file);
            // Remarks about runtimes are kept once, below.
            let own: Vec<&str> = said.lines().filter(|l| l.starts_with(&format!("{format}: "))).collect();
            golden(
                &format!("{name}.{format}.said"),
                &own.iter().map(|l| format!("{l}\n")).collect::<Vec<_>>().concat(),
            );
        }
    }
}

/// The numbers of a flat float64 array of numpy.
fn npy(path: &Path) -> Vec<f64> {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    bytes[start..].chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn exponents_are_those_of_the_measured_spectra_and_shares_those_of_the_plan() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alpha_mid.npy");
    let model = at("sample_models/bytelm");
    let (code, out, said) =
        run(&["export", &plan("blocks"), &model, "--to", "alphapruning", "-o", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    assert!(out.contains("alpha_mid.npy") && out.contains("alpha_mid_shares.npy"), "{out}");
    let alphas = npy(&file);
    let (_, measured, _) =
        run(&["measure", &model, "--layers", "model.layers.*", "--format", "json", "--with", "spectrum"]);
    let layers: Vec<Value> = measured.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!((layers.len(), alphas.len()), (28, 28));
    for (layer, alpha) in layers.iter().zip(&alphas) {
        let sigma: Vec<f64> =
            layer["singular_values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        // As the scripts do: ascending, from the middle on, the edge among them.
        let mut eigs: Vec<f64> = sigma.iter().map(|s| s * s).collect();
        eigs.sort_by(f64::total_cmp);
        let i = eigs.len() / 2;
        let n = (eigs.len() - i) as f64;
        let want = 1.0 + n / (eigs[i..].iter().map(|e| e.ln()).sum::<f64>() - n * eigs[i].ln());
        assert!((alpha / want - 1.0).abs() < 1e-5, "{}: {alpha} {want}", layer["layer"]);
    }
    let shares = npy(&dir.path().join("alpha_mid_shares.npy"));
    assert_eq!((shares[0], shares[7], shares[13], shares[14], shares[27]), (0.3, 0.5, 0.0, 0.6, 0.4));
    // AlphaPruning's mapping, with the numbers that the note gives.
    let number = |option: &str| -> f64 {
        let rest = said.split(option).nth(2).or(said.split(option).nth(1)).unwrap();
        rest.split([' ', '`']).find(|w| !w.is_empty()).unwrap().parse().unwrap()
    };
    let (epsilon, ratio) = (number("--epsilon"), number("--sparsity_ratio"));
    let sizes: Vec<f64> = layers.iter().map(|l| l["params"].as_f64().unwrap()).collect();
    let (low, high) = (0.0, 0.6);
    let phi: Vec<f64> = shares.iter().map(|m| (m - low) / (high - low) * 2.0 * epsilon + 1.0 - epsilon).collect();
    let scale = sizes.iter().sum::<f64>() * ratio / sizes.iter().zip(&phi).map(|(n, p)| n * p).sum::<f64>();
    for (p, share) in phi.iter().zip(&shares) {
        assert!((p * scale - share).abs() < 1e-6, "{} {share}", p * scale);
    }
}

#[test]
fn files_lie_where_they_were_asked_for_and_nothing_is_said_on_standard_output_but_that() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.json");
    let (plan, model) = (plan("cnn"), at("sample_models/fashion_cnn"));
    let args = ["export", &plan, &model, "--to", "torch-pruning", "-o", file.to_str().unwrap()];
    let (code, out, said) = run(&args);
    assert_eq!((code, out.lines().count()), (0, 1), "{out} {said}");
    let loader = dir.path().join("rows_loader.py");
    assert!(file.is_file() && loader.is_file() && fs::read_dir(dir.path()).unwrap().count() == 2);
    golden("torch-pruning_loader.py", &fs::read_to_string(&loader).unwrap());
    let (_, piped, _) = run(&["export", &plan, &model, "--to", "torch-pruning", "-o", "-"]);
    assert_eq!(piped, fs::read_to_string(&file).unwrap(), "a second run writes over the first, and both are one");
    let summary = run(&[&args[..], &["--format", "json"]].concat());
    let summary: Value = serde_json::from_str(&summary.1).unwrap();
    assert_eq!((&summary["to"], summary["written"].as_array().unwrap().len()), (&"torch-pruning".into(), 2));
    assert!(!summary["notes"].as_array().unwrap().is_empty() && !summary["findings"].as_array().unwrap().is_empty());
}

#[test]
fn lint_alone_writes_nothing_and_strict_ends_with_1() {
    let (plan, model) = (plan("mixed"), at("sample_models/bytelm"));
    let lint = |more: &[&str]| run(&[&["export", &plan, &model, "--lint"], more].concat());
    for target in ["any", "torch", "transformers", "vllm", "tensorrt", "llama-cpp"] {
        let (code, out, said) = lint(&["--target", target]);
        assert_eq!((code, said.as_str()), (0, ""), "{target}");
        golden(&format!("mixed.lint.{target}.said"), &out);
    }
    let (code, out, _) = lint(&["--target", "vllm", "--format", "json", "--strict"]);
    assert_eq!(code, 1);
    let object: Value = serde_json::from_str(&out).unwrap();
    let first = &object["findings"][0];
    assert_eq!((&object["target"], &first["severity"]), (&"vllm".into(), &"problem".into()));
    for field in ["rule", "text", "remedy"] {
        assert!(first[field].is_string(), "{field}");
    }
    assert_eq!(lint(&["--strict"]).0, 0, "warnings are no problems");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("r.yaml");
    let args = ["--target", "vllm", "--strict", "--to", "llm-compressor", "-o", file.to_str().unwrap()];
    let (code, _, said) = run(&[&["export", &plan, &model], &args[..]].concat());
    assert!(code == 1 && said.contains("--strict") && !file.exists(), "{said}");
}

#[test]
fn wrong_words_end_with_2_and_what_cannot_be_said_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let inside = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (blocks, cnn, model) = (plan("blocks"), plan("cnn"), at("sample_models/bytelm"));
    let folder = dir.path().to_str().unwrap().to_owned();
    let own = inside("own.toml");
    fs::copy(&blocks, &own).unwrap();
    let config = at("sample_models/bytelm/config.json");
    for (status, said, args) in [
        (2, "possible values: llm-compressor, lems", vec![&blocks, &model, "--to", "onnx", "-o", "-"]),
        (2, "llm-compressor: shares", vec![&blocks, &model]),
        (2, "such as -o ranks.json", vec![&blocks, &model, "--to", "lems"]),
        (2, "possible values: any, torch", vec![&blocks, &model, "--lint", "--target", "gpu"]),
        (2, "cannot be used with", vec![&blocks, &model, "--lint", "--to", "json"]),
        (2, "is a folder", vec![&blocks, &model, "--to", "json", "-o", &folder]),
        (2, "is read for this export", vec![&own, &model, "--to", "json", "-o", &own]),
        (2, "is read for this export", vec![&blocks, &model, "--to", "json", "-o", &config]),
        (1, "choose a folder that exists", vec![&blocks, &model, "--to", "json", "-o", "/nowhere/plan.json"]),
        (1, "cannot be written", vec![&blocks, &model, "--to", "json", "-o", "/dev/null/plan.json"]),
        (1, "--force", vec![&cnn, &model, "--to", "json", "-o", "-"]),
        (1, "/nowhere/plan.toml", vec!["/nowhere/plan.toml", &model, "--to", "json", "-o", "-"]),
        (1, "/nowhere/model", vec![&blocks, "/nowhere/model", "--to", "json", "-o", "-"]),
        (1, "llm-compressor carries pruning", vec![&blocks, &model, "--to", "lems", "-o", "-"]),
        (1, "none away whole", vec![&blocks, &model, "--to", "mergekit", "-o", "-"]),
    ] {
        let (code, out, told) = run(&[&["export"], &args[..]].concat());
        assert_eq!((code, out.as_str()), (status, ""), "{args:?}: {told}");
        assert!(told.contains(said), "{args:?}: {told}");
    }
    let doubled = inside("dobi.json");
    let (code, _, told) = run(&["export", &plan("mixed"), &model, "--to", "lems", "-o", &doubled]);
    assert!(code == 2 && told.contains("dobi") && !Path::new(&doubled).exists(), "{told}");
}
