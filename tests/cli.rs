//! The commands as scripts see them: fields, exit statuses, errors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs with an empty cache: not the user's own, and no values of an earlier version.
fn slimscope(args: &[&str]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
    command.args(args).env("NO_COLOR", "").env("SLIMSCOPE_CACHE_DIR", cache.path()).env_remove("TERM").output().unwrap()
}

fn sample(name: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "sample_models", name].iter().collect();
    path.to_str().unwrap().to_owned()
}

fn stdout(args: &[&str]) -> String {
    let out = slimscope(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(String::from_utf8_lossy(&out.stderr), "", "progress only where standard error is a terminal");
    String::from_utf8(out.stdout).unwrap()
}

/// Status and standard error of a command that fails.
fn failure(args: &[&str]) -> (i32, String) {
    let out = slimscope(args);
    assert!(out.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&out.stdout));
    (out.status.code().unwrap(), String::from_utf8(out.stderr).unwrap())
}

#[test]
fn inspect_tells_the_header_in_json() {
    let json: Value = serde_json::from_str(&stdout(&["inspect", &sample("bytelm"), "--format", "json"])).unwrap();
    assert_eq!(json["model"], "bytelm");
    assert_eq!(json["architecture"], "llama");
    assert_eq!(json["blocks"], 4);
    assert_eq!(json["files"][0], "model.safetensors");
    assert_eq!(json["dtypes"]["BF16"], 39);
    let layers = json["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 39);
    let sum: u64 = layers.iter().map(|l| l["params"].as_u64().unwrap()).sum();
    assert_eq!(json["params"].as_u64(), Some(sum));
    let down = layers.iter().find(|l| l["layer"] == "model.layers.2.mlp.down_proj").unwrap();
    assert_eq!(
        (down["role"].as_str(), down["kind"].as_str(), down["block"].as_u64()),
        (Some("down"), Some("linear"), Some(2))
    );
    assert_eq!(down["matrix"], serde_json::json!([160, 432]));
    assert_eq!(down["eligible"], true);
    assert!(down.get("why_not").is_none());
    assert!(layers.iter().filter(|l| l["eligible"] == false).all(|l| l["why_not"].is_string()));
    assert!(stdout(&["inspect", &sample("bytelm")]).contains("model.layers.2.mlp.down_proj"));
}

#[test]
fn measure_gives_a_line_a_layer_with_its_documented_fields() {
    let text = stdout(&[
        "measure",
        &sample("bytelm"),
        "--format",
        "json",
        "--layers",
        "*.0.*",
        "--layers",
        "lm_head",
        "--with",
        "spectrum",
        "--threads",
        "2",
    ]);
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[0]["layer"], "model.layers.0.self_attn.q_proj");
    assert_eq!(lines[7]["layer"], "lm_head", "module order");
    for line in &lines {
        for field in [
            "zero_fraction",
            "frobenius_norm",
            "spectral_norm",
            "nuclear_norm",
            "l12_nuclear_norm",
            "stable_rank",
            "effective_rank",
            "condition_number",
            "numerical_rank",
            "pq_index",
        ] {
            assert!(line[field]["value"].is_number(), "{field}: {line}");
            assert!(["exact", "upper", "lower", "estimate"].contains(&line[field]["bound"].as_str().unwrap()));
        }
        for norm in ["l2", "linf", "l1", "rms"] {
            assert!(line["lipschitz"][norm]["value"].is_number(), "{norm}");
        }
        for key in ["0.90", "0.95", "0.99"] {
            assert!(line["rank_for_energy"][key].as_u64().unwrap() >= 1);
        }
        for key in ["0.3", "0.5", "0.7", "0.9"] {
            assert!(line["prune_error"][key].is_number(), "{key}");
        }
        assert!(line["nm_error"]["2:4"].is_number() && line["nm_error"]["4:8"].is_number());
        assert!(line["magnitude"]["quantiles"]["0.99"].is_number());
        assert!(line["power_law"]["alpha"].is_number() && line["marchenko_pastur"]["edge"].is_number());
        let sigma: Vec<f64> = line["singular_values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert_eq!(sigma.len(), 160);
        assert!(sigma.windows(2).all(|w| w[0] >= w[1]));
        assert_eq!(Some(sigma[0]), line["spectral_norm"]["value"].as_f64());
        let energy: f64 = sigma.iter().map(|s| s * s).sum();
        let norm = line["frobenius_norm"]["value"].as_f64().unwrap();
        assert!((energy.sqrt() / norm - 1.0).abs() < 1e-6);
    }
}

#[test]
fn sketch_csv_and_table() {
    let text = stdout(&["measure", &sample("digits_mlp"), "--sketch", "--format", "json"]);
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["spectral_norm"]["bound"], "lower");
    assert_eq!(first["lipschitz"]["l2"]["bound"], "upper");
    assert_eq!(first["nuclear_norm"]["bound"], "estimate");
    assert_eq!(first["effective_rank"]["bound"], "estimate");
    assert_eq!(first["condition_number"], Value::Null);
    let note = first["note"].as_str().unwrap();
    assert!(note.contains("condition_number: not measured"), "{note}");
    assert!(note.contains("rank_for_energy: estimated from a sketch"), "{note}");
    let exact = stdout(&["measure", &sample("digits_mlp"), "--format", "json"]);
    let exact: Value = serde_json::from_str(exact.lines().next().unwrap()).unwrap();
    let value = |line: &Value, name: &str| line[name]["value"].as_f64().unwrap();
    assert_eq!(exact["nuclear_norm"]["bound"], "exact");
    assert!((value(&first, "nuclear_norm") / value(&exact, "nuclear_norm") - 1.0).abs() < 0.1, "{first} {exact}");
    let (below, norm) = (value(&first, "spectral_norm"), value(&exact, "spectral_norm"));
    assert!(below <= norm * (1.0 + 1e-6) && below > 0.99 * norm, "{below} {norm}");
    let csv = stdout(&["measure", &sample("digits_mlp"), "--format", "csv"]);
    let rows: Vec<Vec<&str>> = csv.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(rows.len(), 4);
    assert!(rows.iter().all(|r| r.len() == rows[0].len()));
    let column = |name: &str| rows[0].iter().position(|h| *h == name).unwrap();
    assert_eq!(rows[1][column("layer")], "fc1");
    assert!(rows[1][column("spectral_norm")].parse::<f64>().unwrap() > 1.0);
    assert_eq!(rows[1][column("spectral_norm.bound")], "exact");
    let table = stdout(&["measure", &sample("digits_mlp")]);
    assert_eq!(table.lines().count(), 4);
    assert!(table.lines().nth(1).unwrap().starts_with("fc1"));
}

#[test]
fn only_named_figures_are_computed_and_printed() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
        let command = command.args(["measure", &sample("digits_mlp"), "--format"]).args(args);
        command.env("SLIMSCOPE_CACHE_DIR", dir.path()).env_remove("TERM").output().unwrap()
    };
    let out = run(&["json", "--only", "pq_index", "--only", "prune_error"]);
    assert!(out.status.success() && out.stderr.is_empty());
    let layers: Vec<Value> =
        String::from_utf8(out.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for layer in &layers {
        assert!(layer["pq_index"]["value"].is_number() && layer["prune_error"]["0.5"].is_number(), "{layer}");
        assert!(layer["prune_error_bound"] == "exact" && layer["matrix"].is_array(), "{layer}");
        for other in ["nm_error", "spectral_norm", "singular_values", "lipschitz", "magnitude", "note"] {
            assert!(layer.get(other).is_none(), "{other}: {layer}");
        }
    }
    // What was computed is in the cache: of each layer the place of its content and one answer, to one probe.
    let kept = std::fs::read_dir(dir.path()).unwrap().flatten().flat_map(|v| std::fs::read_dir(v.path()).unwrap());
    let kept: usize = kept.flatten().map(|folder| std::fs::read_dir(folder.path()).unwrap().count()).sum();
    assert_eq!(kept, 2 * layers.len());
    let csv = String::from_utf8(run(&["csv", "--only", "pq_index"]).stdout).unwrap();
    assert!(csv.lines().next().unwrap().ends_with("eligible,break_even_rank,pq_index,pq_index.bound,note"), "{csv}");
    let table = String::from_utf8(run(&["table", "--only", "zero_fraction"]).stdout).unwrap();
    let heads: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["layer", "matrix", "even", "zeros"]);
    let unknown = run(&["json", "--only", "norm"]);
    let told = String::from_utf8(unknown.stderr).unwrap();
    assert!(unknown.status.code() == Some(2) && told.contains("frobenius_norm, spectral_norm"), "{told}");
}

#[test]
fn a_zero_matrix_is_null_with_a_note_and_never_nan() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("odd.safetensors");
    let header = r#"{"nan.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"zero.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[16,40]}}"#;
    let mut text = header.as_bytes().to_vec();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    for w in [1.0, f32::NAN, f32::INFINITY, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0] {
        bytes.extend(w.to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let text = stdout(&["measure", path.to_str().unwrap(), "--format", "json"]);
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let named = |name: &str| lines.iter().find(|l| l["layer"] == name).unwrap();
    let nan = named("nan");
    assert_eq!((&nan["frobenius_norm"], &nan["spectral_norm"]), (&Value::Null, &Value::Null));
    assert!(
        nan["note"]
            .as_str()
            .unwrap()
            .contains("row 0, column 1 (counted from 0) is NaN; 2 entries are NaN or infinite"),
        "{nan}"
    );
    let zero = named("zero");
    assert_eq!(zero["spectral_norm"]["value"], 0.0);
    assert_eq!((&zero["stable_rank"], &zero["condition_number"]), (&Value::Null, &Value::Null));
    assert!(zero["note"].as_str().unwrap().contains("zero"), "{zero}");
}

#[test]
fn errors_name_the_file_and_the_remedy_and_have_their_status() {
    let (code, told) = failure(&["inspect", "/nowhere/model.safetensors"]);
    assert_eq!(code, 1);
    assert!(told.contains("/nowhere/model.safetensors: no such file or folder; "), "{told}");
    assert_eq!(told.lines().count(), 1);

    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(Path::new(&sample("digits_mlp")).join("model.safetensors")).unwrap();
    let path = dir.path().join("cut.safetensors");
    std::fs::write(&path, &whole[..whole.len() - 1000]).unwrap();
    for command in ["inspect", "measure", "frame"] {
        let (code, told) = failure(&[command, path.to_str().unwrap()]);
        assert_eq!(code, 1, "{told}");
        assert!(told.contains("cut.safetensors: is truncated: 1000 of"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    // Without an argument for the dashboard, too: before any terminal is touched.
    let (code, told) = failure(&[path.to_str().unwrap()]);
    assert_eq!(code, 1, "{told}");
    let (code, told) = failure(&["measure", &sample("digits_mlp"), "--layers", "nothing.*"]);
    assert_eq!(code, 1);
    assert!(told.contains("nothing.*") && told.contains("fc1"), "{told}");
}

#[test]
fn what_is_not_built_or_wrong_ends_with_2() {
    for command in ["bound", "report", "compare"] {
        let (code, told) = failure(&[command, "x", "--flag", "y"]);
        assert_eq!(code, 2, "{command}");
        assert!(told.contains(&format!("`slimscope {command}` is not built yet")), "{told}");
    }
    let digits = sample("digits_mlp");
    for args in [
        &["measure", &digits, "--shard", "3/2"][..],
        &["measure", &digits, "--shard", "1/2", "--no-cache"],
        &["measure", &digits, "--sketch", "--with", "spectrum"],
        &["measure", &digits, "--layers", "[z-"],
        &["frame", &digits, "--size", "wide"],
        &["frame", &digits, "--keys", "<nothing>"],
        &["frame", &digits, "--format", "png"],
        &["inspect"],
        &[&digits],
        &["inspect", "Cargo.toml.gguf"],
    ] {
        let (code, told) = failure(args);
        if args[0] == "inspect" && args.len() == 2 {
            assert_eq!(code, 1, "{args:?}: {told}");
        } else {
            assert_eq!(code, 2, "{args:?}: {told}");
        }
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    assert!(stdout(&["--help"]).contains("Examples:"));
    for command in ["inspect", "measure", "frame"] {
        assert!(stdout(&[command, "--help"]).contains("Example:"), "{command}");
    }
    assert!(stdout(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_frame_comes_as_text_escapes_and_a_picture() {
    let digits = sample("digits_mlp");
    let text = stdout(&["frame", &digits, "--size", "80x24", "--keys", "= 1 6 <enter>"]);
    assert_eq!(text.lines().count(), 24);
    assert!(text.contains("digits_mlp") && text.contains("r 16/64") && text.contains("keep "), "{text}");
    let ansi = stdout(&["frame", &digits, "--format", "ansi", "--color", "always"]);
    assert!(ansi.contains("\x1b[0;"));
    assert!(stdout(&["frame", &digits, "--format", "svg", "--color", "always"]).starts_with("<svg"));
    let plain = stdout(&["frame", &digits, "--format", "ansi", "--color", "never"]);
    assert!(!plain.contains("38;5"), "{plain}");
    assert!(stdout(&["frame"]).contains("bytelm"), "without a model the bundled sample");
    let quit = stdout(&["frame", &digits, "--keys", "= 1 6 <enter> q = 3 2 <enter>"]);
    assert!(quit.contains("r 16 of 64"), "keys after leaving are not pressed");
}

#[test]
fn a_hub_name_is_looked_up_in_the_local_cache() {
    let home = tempfile::tempdir().unwrap();
    let base = home.path().join("hub/models--org--tiny");
    let snapshot = base.join("snapshots/abc123");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(base.join("refs")).unwrap();
    std::fs::write(base.join("refs/main"), "abc123").unwrap();
    for file in ["model.safetensors", "config.json"] {
        std::fs::copy(Path::new(&sample("digits_mlp")).join(file), snapshot.join(file)).unwrap();
    }
    let run = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
        command.args(["inspect", name]).env("HF_HOME", home.path()).env_remove("HF_HUB_CACHE").output().unwrap()
    };
    let found = run("org/tiny");
    assert!(String::from_utf8_lossy(&found.stdout).starts_with("org/tiny  sequential"), "{found:?}");
    let absent = run("org/other");
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("local Hugging Face cache"));
}

#[test]
fn shards_meet_in_the_cache_and_the_second_run_measures_nothing_anew() {
    let cache = tempfile::tempdir().unwrap();
    let model = sample("bytelm");
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
        command.args(["measure", &model, "--format", "json", "--with", "spectrum"]).args(args);
        let out = command.env("SLIMSCOPE_CACHE_DIR", cache.path()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let kept = || {
        let version = std::fs::read_dir(cache.path()).unwrap().flatten();
        let folder = version.flat_map(|v| std::fs::read_dir(v.path()).unwrap().flatten());
        folder.flat_map(|f| std::fs::read_dir(f.path()).unwrap().flatten()).map(|f| f.path()).collect::<Vec<_>>()
    };
    let apart = run(&["--no-cache"]);
    assert!(kept().is_empty(), "--no-cache writes nothing");
    let mut lines: Vec<String> = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let part = run(&["--shard", shard]);
        assert!((8..=13).contains(&part.lines().count()), "{shard}: {}", part.lines().count());
        lines.extend(part.lines().map(str::to_owned));
    }
    let mut want: Vec<String> = apart.lines().map(str::to_owned).collect();
    lines.sort();
    want.sort();
    assert_eq!(lines, want, "every layer once, with the figures of a single run");
    let files = kept().len();
    assert!(files >= 2 * want.len(), "{files}");
    let mut again: Vec<String> = run(&[]).lines().map(str::to_owned).collect();
    again.sort();
    assert_eq!(again, want);
    assert_eq!(kept().len(), files);
    // A kept value that was changed on purpose, and signed, is what the next run shows: nothing was computed.
    let first: Value = serde_json::from_str(&want[0]).unwrap();
    let norm = first["spectral_norm"]["value"].as_f64().unwrap().to_le_bytes();
    let (path, mut bytes, at) = kept()
        .into_iter()
        .find_map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            let at = bytes.windows(8).position(|w| w == norm)?;
            (bytes.len() > 1000).then_some((path, bytes, at))
        })
        .unwrap();
    let body = bytes.len() - 32;
    bytes[at..at + 8].copy_from_slice(&12345.0f64.to_le_bytes());
    let hash = blake3::hash(&bytes[..body]);
    bytes[body..].copy_from_slice(hash.as_bytes());
    std::fs::write(path, bytes).unwrap();
    assert!(run(&[]).contains("12345.0"));
    assert!(!run(&["--no-cache"]).contains("12345.0"));
}

#[test]
fn what_does_not_fit_the_memory_limit_is_left_out_and_says_so() {
    let model = sample("digits_mlp");
    let text = stdout(&["measure", &model, "--format", "json", "--no-cache", "--memory", "200K"]);
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    let note = lines[1]["note"].as_str().unwrap();
    assert!(note.contains("of memory, at most 0.2 MiB may be taken here"), "{note}");
    let enough = stdout(&["measure", &model, "--format", "json", "--no-cache", "--memory", "50M"]);
    assert_eq!(enough, stdout(&["measure", &model, "--format", "json", "--no-cache"]));
}

#[test]
fn a_proven_bound_and_double_precision_for_those_who_ask() {
    let lines = |args: &[&str]| -> Vec<Value> {
        let model = sample("digits_mlp");
        let text = stdout(&[&["measure", &model, "--format", "json"], args].concat());
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let (plain, proven) = (lines(&[]), lines(&["--with", "certificate"]));
    let double = lines(&["--double", "--with", "spectrum"]);
    for ((plain, proven), double) in plain.iter().zip(&proven).zip(&double) {
        assert_eq!(plain.get("spectral_norm_certified"), None);
        let bound = &proven["spectral_norm_certified"];
        assert_eq!(bound["bound"], "upper");
        let norm = double["spectral_norm"]["value"].as_f64().unwrap();
        let bound = bound["value"].as_f64().unwrap();
        assert!(bound >= norm && bound < norm * (1.0 + 1e-7), "{bound} {norm}");
        let sigma: Vec<f64> =
            double["singular_values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let energy: f64 = sigma.iter().map(|s| s * s).sum();
        let frobenius = double["frobenius_norm"]["value"].as_f64().unwrap();
        assert!((energy.sqrt() / frobenius - 1.0).abs() < 1e-7, "{} {frobenius}", energy.sqrt());
    }
    let csv = stdout(&["measure", &sample("digits_mlp"), "--format", "csv", "--with", "certificate"]);
    let (head, row) = (csv.lines().next().unwrap(), csv.lines().nth(1).unwrap());
    let column = head.split(',').position(|h| h == "spectral_norm_certified").unwrap();
    assert!(row.split(',').nth(column).unwrap().parse::<f64>().unwrap() > 0.0);
}

#[test]
fn closed_output_is_no_error() {
    use std::io::Read;
    let mut child = Command::new(env!("CARGO_BIN_EXE_slimscope"))
        .args(["measure", &sample("bytelm"), "--format", "json", "--with", "spectrum"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
    assert_eq!(out.status.code(), Some(0));
}

#[test]
fn a_shard_whose_cache_cannot_be_written_fails_and_a_plain_run_only_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let model = sample("digits_mlp");
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
        command.args(["measure", &model]).args(args).env("SLIMSCOPE_CACHE_DIR", file.path());
        let out = command.output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let (status, said) = run(&["--shard", "1/2"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("SLIMSCOPE_CACHE_DIR") && said.contains("cannot be"), "{said}");
    let (status, said) = run(&[]);
    assert_eq!(status, Some(0));
    assert!(said.contains("could not be kept"), "{said}");
}

#[test]
fn a_plan_is_made_written_looked_at_and_opened() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("half.toml");
    let file = file.to_str().unwrap();
    let model = sample("bytelm");
    let json = |args: &[&str]| -> Value {
        let all: Vec<&str> = ["plan", &model, "--format", "json"].iter().chain(args).copied().collect();
        serde_json::from_str(&stdout(&all)).unwrap()
    };
    let made = json(&["-o", file, "--budget", ".5", "--allocator", "global", "--pin", "lm_head=dense"]);
    for field in [
        "model",
        "fingerprint",
        "allocator",
        "budget",
        "before",
        "after",
        "keep",
        "relative_error",
        "binding",
        "layers",
    ] {
        assert!(!made[field].is_null(), "{field}");
    }
    assert_eq!(made["binding"][0], "pinned: lm_head");
    let keep = made["keep"]["params"].as_f64().unwrap();
    assert!(keep <= 0.5 && keep > 0.499, "{keep}");
    assert_eq!(made["before"]["params"], 1_322_400);
    let layer = &made["layers"][0];
    assert_eq!(
        (&layer["treatment"], &layer["pattern"], &layer["criterion"]),
        (&"prune".into(), &"unstructured".into(), &"magnitude".into())
    );
    assert_eq!(layer["relative_error"]["bound"], "exact");
    // Looked at again, it amounts to the same.
    let seen = json(&["--plan", file]);
    assert_eq!(
        (&seen["after"], &seen["layers"], &seen["relative_error"]),
        (&made["after"], &made["layers"], &made["relative_error"])
    );
    let frame = stdout(&["frame", &model, "--plan", file, "--size", "120x40"]);
    assert!(frame.contains("keep 50.0%"), "{frame}");
    // Ranks, a pattern, one role only.
    let ranks = json(&["--keep-rank", ".5"]);
    assert_eq!(ranks["layers"][0]["rank"], 80);
    let pattern = json(&["--pattern", "2:4", "--layers", "*.mlp.*"]);
    let of = |name: &str| pattern["layers"].as_array().unwrap().iter().find(|l| l["layer"] == name).unwrap().clone();
    assert_eq!(of("model.layers.1.mlp.up_proj")["pattern"], "2:4");
    assert_eq!(of("model.layers.1.self_attn.q_proj")["treatment"], "dense");
}

#[test]
fn a_plan_rounds_follows_rules_and_other_criteria() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plan.toml");
    let file = file.to_str().unwrap();
    let (bytelm, cnn) = (sample("bytelm"), sample("fashion_cnn"));
    let json = |model: &str, args: &[&str]| -> Value {
        let made: Value =
            serde_json::from_str(&stdout(&[&["plan", model, "--format", "json", "-o", file], args].concat())).unwrap();
        let seen: Value = serde_json::from_str(&stdout(&["plan", model, "--format", "json", "--plan", file])).unwrap();
        assert_eq!(made["layers"], seen["layers"], "the file says the same: {args:?}");
        made
    };
    let of = |plan: &Value, name: &str| -> Value {
        plan["layers"].as_array().unwrap().iter().find(|l| l["layer"] == name).unwrap().clone()
    };
    let rounded = of(&json(&bytelm, &["--bits", "4", "--bits-per", "group:32"]), "model.layers.0.self_attn.q_proj");
    assert_eq!((&rounded["treatment"], &rounded["bits"]), (&"quantise".into(), &4.into()));
    assert_eq!(rounded["bits_per"], "group:32");
    assert_eq!(rounded["params_after"], 25_600);
    // Half a byte an entry, two bytes for every 32.
    assert_eq!(rounded["bytes_after"], 12_800 + 1_600);
    assert_eq!(rounded["relative_error"]["bound"], "exact");
    let both = json(&bytelm, &["--bits", "3", "--prune", ".5"]);
    let layer = of(&both, "model.layers.0.self_attn.q_proj");
    assert_eq!((&layer["treatment"], &layer["index_bytes"]), (&"prune+quantise".into(), &3_200.into()));
    assert_eq!(layer["relative_error"]["bound"], "estimate");
    assert!(both["after"]["index_bytes"].as_u64().unwrap() > 100_000);
    let ruled = json(&bytelm, &["--rank-rule", "energy 95%"]);
    assert_eq!(ruled["allocator"], "energy 95%");
    assert!(of(&ruled, "model.layers.0.mlp.down_proj")["rank"] == 113, "{ruled}");
    // Where nothing follows it says so and stays as it is.
    let out = slimscope(&["plan", &cnn, "--format", "json", "--criterion", "batch-norm-scale", "--prune", ".25"]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("fc1: batch-norm-scale: it is no convolution"));
    let rows: Value = serde_json::from_slice(&out.stdout).unwrap();
    let conv = of(&rows, "conv2");
    assert_eq!((&conv["criterion"], &conv["pattern"]), (&"batch-norm-scale".into(), &"row".into()));
    assert_eq!(conv["relative_error"]["bound"], "exact");
    assert_eq!(of(&rows, "fc1")["treatment"], "dense");
    let shares = of(&json(&cnn, &["--criterion", "relative-importance", "--prune", ".5"]), "fc1");
    assert_eq!(shares["relative_error"]["bound"], "estimate");
    let spatial = json(&cnn, &["--factors", "spatial", "--rank", "8"]);
    assert_eq!(of(&spatial, "conv2")["relative_error"]["bound"], "exact");
    assert!(std::fs::read_to_string(file).unwrap().contains("factors = \"spatial\""));
    let entries = json(&cnn, &["--pattern", "per-row", "--prune", ".5"]);
    assert_eq!(of(&entries, "conv2")["pattern"], "per-row");
    assert_eq!(of(&entries, "conv2")["relative_error"]["bound"], "exact");
}

#[test]
fn a_plan_goes_to_standard_output_and_lists_come_from_the_registries() {
    let dir = tempfile::tempdir().unwrap();
    let digits = sample("digits_mlp");
    let run = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_slimscope"))
            .args(args)
            .current_dir(dir.path())
            .env("SLIMSCOPE_CACHE_DIR", dir.path().join("cache"))
            .output()
            .unwrap()
    };
    let out = run(&["plan", &digits, "--prune", ".5", "-o", "-"]);
    assert!(out.status.success() && !dir.path().join("-").exists());
    let file = dir.path().join("plan.toml");
    assert!(run(&["plan", &digits, "--prune", ".5", "-o", file.to_str().unwrap()]).status.success());
    assert_eq!(out.stdout, std::fs::read(&file).unwrap());
    let eval = format!("{digits}/eval.safetensors");
    let piped = run(&["calibrate", &digits, "--data", &eval, "-o", "-"]);
    assert!(piped.status.success() && !dir.path().join("-").exists());
    let header = u64::from_le_bytes(piped.stdout[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&piped.stdout[8..8 + header]).unwrap();
    assert!(header["fc1.gram"].is_object(), "{header}");
    for (command, words) in [
        ("export", &["llm-compressor:", "json:", "csv:", "llama-cpp:", "tensorrt"][..]),
        ("plan", &["waterfill:", "owl:", "obs-refit:", "whitened:", "group:64", "energy", "block:RxC"]),
    ] {
        let help = stdout(&[command, "--help"]);
        words.iter().for_each(|w| assert!(help.contains(w), "{command} {w}: {help}"));
    }
}

#[test]
fn pruning_and_ranks_go_together_and_keep_what_a_plan_has() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plan.toml");
    let file = file.to_str().unwrap();
    let digits = sample("digits_mlp");
    let of = |args: &[&str]| -> Value {
        let all: Vec<&str> = ["plan", &digits, "--format", "json"].iter().chain(args).copied().collect();
        let made: Value = serde_json::from_str(&stdout(&all)).unwrap();
        made["layers"].as_array().unwrap().iter().find(|l| l["layer"] == "fc1").unwrap().clone()
    };
    let both = of(&["--prune", ".5", "--keep-rank", ".25", "-o", file]);
    assert_eq!((&both["treatment"], &both["rank"], &both["remove"]), (&"rank+prune".into(), &16.into(), &0.5.into()));
    let with_bits = of(&["--plan", file, "--bits", "4", "-o", file]);
    assert_eq!(with_bits["treatment"], "rank+prune+quantise");
    let more = of(&["--plan", file, "--prune", ".7"]);
    assert_eq!((&more["rank"], &more["bits"], &more["remove"]), (&16.into(), &4.into(), &0.7.into()));
    let other = of(&["--plan", file, "--rank", "8"]);
    assert_eq!((&other["rank"], &other["bits"], &other["remove"]), (&8.into(), &4.into(), &0.5.into()));
    // The dashboard makes the same plan of the same settings.
    let frame = stdout(&["frame", &digits, "--keys", "= 2 5 % <enter> <tab> = 5 0 % <enter> <rest>"]);
    assert!(frame.contains("r 16 p 50%"), "{frame}");
}

#[test]
fn a_budget_below_what_the_model_can_reach_ends_where_it_can_still_go() {
    let bytelm = sample("bytelm");
    let (code, why) = failure(&["plan", &bytelm, "--budget", ".01"]);
    assert!(code == 1 && why.contains("% of what can be compressed)"), "{why}");
    let least = why.rsplit_once("can be kept is ").unwrap().1.split('%').next().unwrap().to_owned();
    // The embedding, gains and nothing else.
    assert_eq!(least, "3.2", "{why}");
    let frame = stdout(&["frame", &bytelm, "--keys", "B <rest> = 1 % <enter>", "--size", "160x45"]);
    assert!(frame.contains("the least that can be kept is 3.2% of params (0.0%"), "{frame}");
    assert!(frame.contains("keep 3.2%"), "{frame}");
    let made: Value = serde_json::from_str(&stdout(&["plan", &bytelm, "--prune", ".5", "--format", "json"])).unwrap();
    let (of_all, within) = (&made["keep"]["params"], &made["keep_compressible"]["params"]);
    assert!(of_all.as_f64().unwrap() > 0.5 && (within.as_f64().unwrap() - 0.5).abs() < 1e-3, "{of_all} {within}");
}

#[test]
fn plans_that_cannot_be_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plan.toml");
    let file = file.to_str().unwrap();
    let (bytelm, digits) = (sample("bytelm"), sample("digits_mlp"));
    stdout(&["plan", &bytelm, "-o", file, "--prune", ".3"]);
    for (status, said, args) in [
        (1, "--force", vec!["plan", &digits, "--plan", file]),
        (1, "--force", vec!["frame", &digits, "--plan", file]),
        (1, "out of reach", vec!["plan", &bytelm, "--budget", ".01"]),
        (2, "waterfill", vec!["plan", &bytelm, "--budget", ".5", "--allocator", "best"]),
        (2, "obs-refit", vec!["plan", &bytelm, "--prune", ".5", "--criterion", "best"]),
        (2, "what to do?", vec!["plan", &bytelm]),
        (2, "GLOB=dense", vec!["plan", &bytelm, "--prune", ".3", "--pin", "lm_head"]),
        (1, "no layer that can be compressed", vec!["plan", &bytelm, "--prune", ".3", "--pin", "nothing=dense"]),
        (2, "per-row, N:M", vec!["plan", &bytelm, "--prune", ".3", "--pattern", "4:4"]),
        (2, "--plan PLAN.toml --bits", vec!["plan", &bytelm, "--budget", ".5", "--bits", "4"]),
        (2, "group:128, group:64", vec!["plan", &bytelm, "--bits", "4", "--bits-per", "column"]),
        (2, "break-even:", vec!["plan", &bytelm, "--rank-rule", "best"]),
        (2, "leave out", vec!["plan", &bytelm, "--rank-rule", "gd 20%"]),
        (2, "say how much", vec!["plan", &bytelm, "--criterion", "leverage"]),
        (2, "--calibration FILE", vec!["plan", &bytelm, "--prune", ".3", "--criterion", "wanda"]),
        (2, "--calibration FILE", vec!["plan", &bytelm, "--rank", "8", "--factors", "whitened"]),
        (2, "--calibration FILE", vec!["plan", &bytelm, "--budget", ".5", "--allocator", "owl"]),
        (2, "--calibration FILE", vec!["plan", &bytelm, "--budget", ".5", "--errors", "outputs"]),
        (2, "--pattern: has an effect only on pruning", vec!["plan", &bytelm, "--rank", "8", "--pattern", "per-row"]),
        // Options that would have no effect.
        (2, "--budget <F>", vec!["plan", &bytelm, "--prune", ".5", "--allocator", "lamp"]),
        (2, "--budget <F>", vec!["plan", &bytelm, "--prune", ".5", "--floor", ".1"]),
        (2, "--budget <F>", vec!["plan", &bytelm, "--keep-rank", ".5", "--multiple", "8"]),
        (2, "--multiple: has an effect only on ranks", vec!["plan", &bytelm, "--budget", ".5", "--multiple", "8"]),
        (2, "has an effect only on ranks", vec!["plan", &bytelm, "--prune", ".5", "--factors", "matrix"]),
        (
            2,
            "--bits-per: has an effect only on quantisation",
            vec!["plan", &bytelm, "--prune", ".5", "--bits-per", "tensor"],
        ),
        (2, "is of trials", vec!["plan", &bytelm, "--budget", ".5", "--time", "5s"]),
        (2, "is of trials", vec!["plan", &bytelm, "--budget", ".5", "--context", "64"]),
        (2, "which layers change", vec!["plan", &bytelm, "--plan", file, "--layers", "*.mlp.*"]),
        (2, "both are standard output", vec!["plan", &bytelm, "--prune", ".3", "-o", "-", "--format", "json"]),
        (2, "a checkpoint is a folder", vec!["apply", file, &bytelm, "-o", "-"]),
        (1, "cannot be opened", vec!["plan", &bytelm, "--prune", ".3", "--calibration", "no.safetensors"]),
        (2, "one of", vec!["plan", &bytelm, "--rank", "3", "--keep-rank", ".4"]),
        (2, "one of", vec!["plan", &bytelm, "--prune", ".3", "--budget", ".4"]),
        (2, "a share", vec!["plan", &bytelm, "--budget", "50"]),
        (1, "cannot be written", vec!["plan", &bytelm, "--prune", ".3", "-o", "/dev/null/plan.toml"]),
    ] {
        let (code, told) = failure(&args);
        assert_eq!(code, status, "{args:?}: {told}");
        assert!(told.contains(said), "{args:?}: {told}");
    }
    std::fs::write(file, "version = 1\n[model]\nname = 3\n").unwrap();
    let (code, told) = failure(&["plan", &bytelm, "--plan", file]);
    assert!(code == 1 && told.contains("plan.toml") && told.contains("line 3"), "{told}");
}

#[test]
fn a_plan_is_applied_and_what_was_written_measures_as_planned() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (plan, out) = (path("plan.toml"), path("out"));
    for (model, how) in [
        ("bytelm", vec!["--budget", ".5", "--allocator", "global"]),
        ("bytelm", vec!["--pattern", "2:4"]),
        ("fashion_cnn", vec!["--prune", ".4", "--pattern", "row"]),
        ("fashion_mlp", vec!["--keep-rank", ".4"]),
        ("digits_mlp", vec!["--prune", ".7"]),
    ] {
        let model = sample(model);
        stdout(&[&["plan", &model, "-o", &plan], &how[..]].concat());
        let applied: Value =
            serde_json::from_str(&stdout(&["apply", &plan, &model, "-o", &out, "--format", "json"])).unwrap();
        assert_eq!((&applied["verified"], &applied["written"][0]), (&true.into(), &"model.safetensors".into()));
        let measured = stdout(&["measure", &out, "--format", "json", "--no-cache"]);
        let measured: Vec<Value> = measured.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        for layer in applied["layers"].as_array().unwrap() {
            let found = measured.iter().find(|m| m["layer"] == layer["layer"]).unwrap();
            let (params, after) = (found["params"].as_f64().unwrap(), layer["params_after"].as_f64().unwrap());
            let zeros = found["zero_fraction"]["value"].as_f64().unwrap();
            match layer["treatment"].as_str().unwrap() {
                "prune" => assert!((params * (1.0 - zeros) - after).abs() < 1.5, "{layer} {found}"),
                "rank" => {
                    // All but the kept values are what rounding to the stored type leaves of them.
                    let rank = layer["rank"].as_u64().unwrap();
                    assert!(found["numerical_rank"]["value"].as_f64().unwrap() <= rank as f64 + 2.0, "{layer} {found}");
                }
                _ => {}
            }
        }
        std::fs::remove_dir_all(&out).unwrap();
    }
    let (code, told) = failure(&["apply", &plan, &sample("bytelm"), "-o", &out]);
    assert!(code == 1 && told.contains("--force"), "{told}");
    let (code, told) = failure(&["apply", &plan, &sample("digits_mlp"), "-o", &sample("digits_mlp")]);
    assert!(code == 1 && told.contains("the checkpoint itself"), "{told}");
}

#[test]
fn factors_are_written_opened_and_noted() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (plan, out, model) = (path("plan.toml"), path("out"), sample("fashion_mlp"));
    stdout(&["plan", &model, "-o", &plan, "--keep-rank", ".25"]);
    let text = stdout(&["apply", &plan, &model, "-o", &out, "--as", "factored"]);
    assert!(text.contains("factors of rank 64") && text.contains("rank_dict"), "{text}");
    let inspected: Value = serde_json::from_str(&stdout(&["inspect", &out, "--format", "json"])).unwrap();
    let planned: Value = serde_json::from_str(&stdout(&["plan", &model, "--plan", &plan, "--format", "json"])).unwrap();
    assert_eq!(inspected["params"], planned["after"]["params"], "as many parameters as the plan said");
    let layers = inspected["layers"].as_array().unwrap();
    // Two factors are one layer, of the shape that they multiply out to.
    let fc1 = layers.iter().find(|l| l["layer"] == "fc1").unwrap();
    assert_eq!(fc1["parts"], serde_json::json!(["fc1.mod_a.weight", "fc1.mod_b.weight"]));
    assert_eq!((&fc1["shape"], &fc1["params"]), (&serde_json::json!([256, 784]), &(64 * (256 + 784)).into()));
    assert!(fc1["eligible"] == false && fc1["why_not"].as_str().unwrap().contains("rank 64"), "{fc1}");
    // The other form does not go into the folder of this one.
    let (code, told) = failure(&["apply", &plan, &model, "-o", &out]);
    assert!(code == 1 && told.contains("is not empty"), "{told}");
}

/// ctrl-c in the middle: status 130, no half file, and the same command goes on.
#[cfg(unix)]
#[test]
fn an_interrupted_apply_says_how_to_go_on_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (plan, out, model) = (path("plan.toml"), path("out"), path("model"));
    // Two files, the second of which takes a while.
    std::fs::create_dir(&model).unwrap();
    let mut map = serde_json::Map::new();
    for (number, n) in [(1usize, 8usize), (2, 1100)] {
        let name = format!("model.layers.{number}.mlp.up_proj.weight");
        let file = format!("model-{number}.safetensors");
        let header = serde_json::json!({&name: {"dtype": "F32", "shape": [n, n], "data_offsets": [0, n * n * 4]}});
        let text = header.to_string();
        let mut bytes = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let mut state = 1u32;
        bytes.extend((0..n * n).flat_map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32 / (1u32 << 23) as f32 - 1.0).to_le_bytes()
        }));
        std::fs::write(Path::new(&model).join(&file), bytes).unwrap();
        map.insert(name, file.into());
    }
    let index = serde_json::json!({"weight_map": map}).to_string();
    std::fs::write(Path::new(&model).join("model.safetensors.index.json"), index).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let command = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
        command.args(args).env("SLIMSCOPE_CACHE_DIR", cache.path()).env_remove("TERM");
        command
    };
    assert!(command(&["plan", &model, "-o", &plan, "--keep-rank", ".4"]).output().unwrap().status.success());
    let apply = ["apply", &plan, &model, "-o", &out];
    let mut child =
        command(&apply).stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let start = std::time::Instant::now();
    let first = Path::new(&out).join("model-1.safetensors");
    while !first.exists() {
        assert!(start.elapsed().as_secs() < 120 && child.try_wait().unwrap().is_none(), "the first file comes first");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let interrupted = child.wait_with_output().unwrap();
    let told = String::from_utf8(interrupted.stderr).unwrap();
    assert_eq!(interrupted.status.code(), Some(130), "{told}");
    assert!(told.contains("1 of 2 files are finished") && told.contains("the same command goes on"), "{told}");
    let mut names: Vec<String> =
        std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".slimscope-apply", "model-1.safetensors"]);
    let written = std::fs::metadata(&first).unwrap().modified().unwrap();
    // Another plan does not go there; the same does, and keeps what was finished.
    let other = path("other.toml");
    assert!(command(&["plan", &model, "-o", &other, "--prune", ".4"]).output().unwrap().status.success());
    let refused = command(&["apply", &other, &model, "-o", &out]).output().unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && told.contains("interrupted run of another plan"), "{told}");
    let again = command(&apply).output().unwrap();
    let told = String::from_utf8(again.stdout).unwrap();
    assert!(
        again.status.success() && told.contains("2 files in") && told.contains("1 of them finished before"),
        "{told}"
    );
    assert_eq!(std::fs::metadata(&first).unwrap().modified().unwrap(), written);
    assert!(!Path::new(&out).join(".slimscope-apply").exists());
}

/// Names an error gives for places that cannot be written to.
#[cfg(unix)]
#[test]
fn places_that_cannot_be_written_are_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (plan, model) = (path("plan.toml"), sample("digits_mlp"));
    stdout(&["plan", &model, "-o", &plan, "--prune", ".5"]);
    std::fs::write(path("file"), "a file").unwrap();
    std::os::unix::fs::symlink(&model, path("link")).unwrap();
    for (out, said) in [
        (path("file"), "is a file; choose a folder"),
        (path("file/out"), "cannot be written"),
        (path("link"), "where the checkpoint itself lies"),
        ("/proc/nowhere/out".to_owned(), "cannot be written"),
    ] {
        let (code, told) = failure(&["apply", &plan, &model, "-o", &out]);
        assert!(code == 1 && told.contains(&out) && told.contains(said), "{told}");
    }
    assert_eq!(std::fs::read_to_string(path("file")).unwrap(), "a file");
}

#[test]
fn a_session_is_logged_replayed_gone_on_with_and_made_a_plan() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (first, second, toml) = (at("first.jsonl"), at("second.jsonl"), at("mine.toml"));
    let frame = |more: &[&str]| stdout(&[&["frame", &sample("digits_mlp"), "--size", "100x32"], more].concat());
    let shown = frame(&["--keys", "j = 3 0 <enter> 2 <tab> = 4 0 <enter> u", "--log", &first]);
    assert!(shown.contains("r 30 of") && shown.contains("[2 Sparsity]"), "{shown}");
    let lines = std::fs::read_to_string(&first).unwrap();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["do"].is_string(), "{line}");
    }
    let again = frame(&["--replay", &first]);
    let view = |text: &str| text.lines().take_while(|l| !l.starts_with(" model")).collect::<Vec<_>>().join("\n");
    assert_eq!(view(&again), view(&shown), "plan and view are back");
    let on = frame(&["--replay", &first, "--keys", "<c-r> q", "--log", &second]);
    assert!(on.contains("remove 40%"), "{on}");
    assert!(std::fs::read_to_string(&second).unwrap().starts_with(&lines), "the first goes on in the second");
    assert!(frame(&["--replay", &second, "--keys", "u u"]).contains("undone: rank 30"));

    let plan: Value = serde_json::from_str(&stdout(&[
        "plan",
        &sample("digits_mlp"),
        "--replay",
        &second,
        "-o",
        &toml,
        "--format",
        "json",
    ]))
    .unwrap();
    let treated: Vec<&Value> =
        plan["layers"].as_array().unwrap().iter().filter(|l| l["treatment"] != "dense").collect();
    assert_eq!((treated.len(), treated[0]["rank"].as_u64(), treated[0]["remove"].as_f64()), (1, Some(30), Some(0.4)));
    assert!(std::fs::read_to_string(&toml).unwrap().contains("rank = 30"));

    let (status, told) = failure(&["frame", &sample("bytelm"), "--replay", &first]);
    assert_eq!(status, 1);
    for needed in [first.as_str(), "a session of digits_mlp (blake3:", "not of bytelm (blake3:", "--force"] {
        assert!(told.contains(needed), "{needed}: {told}");
    }
    let (status, told) = failure(&["plan", &sample("bytelm"), "--replay", &first, "--force"]);
    assert!(status == 1 && told.contains("line 3: the model has no layer"), "{told}");
    std::fs::write(&first, [lines.as_str(), "{\"do\":\"und"].concat()).unwrap();
    assert_eq!(view(&frame(&["--replay", &first])), view(&shown), "a torn line is left out");
    std::fs::write(&first, "a letter\n").unwrap();
    let (status, told) = failure(&["plan", &sample("digits_mlp"), "--replay", &first]);
    assert!(status == 1 && told.contains("first.jsonl: line 1:"), "{told}");
    let (status, _) = failure(&["plan", &sample("digits_mlp"), "--replay", &first, "--plan", &toml]);
    assert_eq!(status, 2);
}

#[test]
fn evaluate_tells_quality_in_json_and_of_a_plan() {
    let run = |args: &[&str]| -> Value { serde_json::from_str(&stdout(args)).unwrap() };
    let (bytelm, digits) = (sample("bytelm"), sample("digits_mlp"));
    let json = run(&["evaluate", &bytelm, "--slice", "2048", "--format", "json", "--threads", "1"]);
    assert_eq!(json["metric"], "bits_per_byte");
    assert_eq!(json["slice"], "eval.safetensors[0..2048]");
    assert_eq!((json["bytes"].as_u64(), json["tokens"].as_u64()), (Some(2032), Some(2032)));
    let (bits, perplexity) = (json["value"].as_f64().unwrap(), json["perplexity"].as_f64().unwrap());
    // A byte a token: the one follows from the other.
    assert!((2f64.powf(bits) - perplexity).abs() < 1e-9 && bits > 1.2 && bits < 2.4, "{bits}");
    for field in ["standard_error", "seconds", "tokens_per_second"] {
        assert!(json[field].as_f64().unwrap() > 0.0, "{field}");
    }
    let short = run(&["evaluate", &bytelm, "--slice", "100..300", "--context", "64", "--format", "json"]);
    // Windows of 64, 64, 64 and 8.
    assert_eq!((short["tokens"].as_u64(), short["context"].as_u64()), (Some(196), Some(64)));
    let dense = run(&["evaluate", &digits, "--format", "json"]);
    assert_eq!((dense["metric"].as_str(), dense["examples"].as_u64()), (Some("accuracy"), Some(360)));
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.toml");
    let plan = plan.to_str().unwrap();
    stdout(&["plan", &digits, "--rank", "2", "-o", plan]);
    let cut = run(&["evaluate", &digits, "--plan", plan, "--format", "json"]);
    assert!(cut["value"].as_f64().unwrap() < dense["value"].as_f64().unwrap() - 0.2, "{cut}");
    assert!(cut["keep"]["params"].as_f64().unwrap() < 0.2 && cut["plan"] == plan);
    let table = stdout(&["evaluate", &digits, "--plan", plan, "--device", "cpu"]);
    assert!(table.contains("device  cpu"), "{table}");
    assert!(table.contains("accuracy") && table.contains("3 layers treated, keep"), "{table}");
}

#[test]
fn evaluate_says_what_it_cannot_run() {
    let (bytelm, digits) = (sample("bytelm"), sample("digits_mlp"));
    let (code, told) = failure(&["evaluate", &digits, "--slice", "361"]);
    assert!(code == 1 && told.contains("360"), "{code} {told}");
    let (code, told) = failure(&["evaluate", &bytelm, "--context", "4096"]);
    assert!(code == 1 && told.contains("128"), "{code} {told}");
    let (code, told) = failure(&["evaluate", &bytelm, "--device", "tpu"]);
    assert!(code == 2 && told.contains("cuda:N"), "{code} {told}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(format!("{digits}/model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    let alone = folder.path().to_str().unwrap();
    let (code, told) = failure(&["evaluate", alone]);
    assert!(code == 2 && told.contains("no config.json"), "{code} {told}");
    let config = std::fs::read_to_string(format!("{digits}/config.json")).unwrap();
    std::fs::write(folder.path().join("config.json"), &config).unwrap();
    let (code, told) = failure(&["evaluate", alone]);
    assert!(code == 2 && told.contains("--data FILE"), "{code} {told}");
    std::fs::write(folder.path().join("config.json"), config.replace("relu", "mish")).unwrap();
    let (code, told) = failure(&["evaluate", alone]);
    assert!(code == 2 && told.contains("mish"), "{code} {told}");
}

#[test]
fn what_layers_hear_is_written_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (text, out, bytelm) = (at("some.txt"), at("calibration.safetensors"), sample("bytelm"));
    std::fs::write(&text, "In the beginning God created the heaven and the earth. ".repeat(4)).unwrap();
    let heard = |more: &[&str]| stdout(&[&["calibrate", &bytelm, "-o", &out, "--data", &text], more].concat());
    let told = heard(&["--slice", "100", "--context", "40", "--format", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((told["layers"].as_u64(), told["tokens"].as_u64()), (Some(29), Some(100)));
    assert_eq!((told["written"].as_str(), told["data"].as_str()), (Some(out.as_str()), Some("some.txt[0..100]")));
    assert!(told["seconds"].as_f64().unwrap() > 0.0);
    let bytes = std::fs::read(&out).unwrap();
    assert_eq!(told["bytes"].as_u64(), Some(bytes.len() as u64));
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("model.layers.3.mlp.down_proj.gram").unwrap().shape(), [432, 432]);
    assert_eq!(file.tensor("lm_head.gradient").unwrap().shape(), [256]);
    let shown = heard(&["--layers", "*down_proj", "--no-gradients"]);
    let row: Vec<&str> =
        shown.lines().find(|l| l.starts_with("model.layers.0.mlp.down_proj")).unwrap().split_whitespace().collect();
    assert_eq!(row[1..3], ["432", "220"], "{shown}");
    assert!(shown.contains("220 tokens of some.txt[0..220]") && !shown.contains("q_proj"), "{shown}");
    let eval = format!("{bytelm}/eval.safetensors");
    let noted = slimscope(&["calibrate", &bytelm, "-o", &out, "--data", &eval, "--slice", "64", "--no-gradients"]);
    assert!(noted.status.success());
    assert!(String::from_utf8_lossy(&noted.stderr).contains("is what quality is measured on"));
    let (digits, images) = (sample("digits_mlp"), format!("{}/eval.safetensors", sample("digits_mlp")));
    for (status, needed, args) in [
        (2, "name the data to run on with --data FILE", vec!["calibrate", &bytelm, "-o", &out]),
        (2, "not a whole number", vec!["calibrate", &bytelm, "-o", &out, "--data", &text, "--slice", "x"]),
        (
            1,
            "has 220 bytes, and the slice 0..500",
            vec!["calibrate", &bytelm, "-o", &out, "--data", &text, "--slice", "500"],
        ),
        (
            1,
            "longer than bytelm takes; at most 128",
            vec!["calibrate", &bytelm, "-o", &out, "--data", &text, "--context", "500"],
        ),
        (1, "matches *nothing", vec!["calibrate", &bytelm, "-o", &out, "--data", &text, "--layers", "*nothing"]),
        (1, "is a folder; name a file in it", vec!["calibrate", &bytelm, "-o", "/", "--data", &text]),
        (1, "holds the model or the data", vec!["calibrate", &bytelm, "-o", &text, "--data", &text]),
        (1, "choose a folder that exists", vec!["calibrate", &bytelm, "-o", "/nowhere/x", "--data", &text]),
        (1, "is text, and digits_mlp takes images", vec!["calibrate", &digits, "-o", &out, "--data", &text]),
        (1, "has no tensor `text`", vec!["calibrate", &bytelm, "-o", &out, "--data", &images]),
    ] {
        let (code, told) = failure(&args);
        assert!(code == status && told.contains(needed), "{code} {told}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing half written is left");
}

#[test]
fn plans_that_go_by_activations_are_made_shown_and_carried_out_with_a_calibration() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let digits = sample("digits_mlp");
    let (calibration, eval) = (at("calibration.safetensors"), format!("{digits}/eval.safetensors"));
    let made = slimscope(&["calibrate", &digits, "--data", &eval, "-o", &calibration]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let plans: [&[&str]; 6] = [
        &["--prune", ".5", "--criterion", "obs-refit"],
        &["--rank", "8", "--factors", "whitened"],
        &["--budget", ".5", "--allocator", "owl", "--criterion", "wanda", "--pattern", "per-row"],
        &["--budget", ".6", "--by", "rank", "--factors", "asvd"],
        &["--budget", ".5", "--allocator", "waterfill", "--errors", "outputs", "--criterion", "wanda"],
        &["--rank-rule", "energy 95%", "--factors", "whitened"],
    ];
    for (i, options) in plans.into_iter().enumerate() {
        let (plan, out) = (at(&format!("{i}.toml")), at(&format!("out{i}")));
        let base = ["plan", &digits, "-o", &plan, "--calibration", &calibration, "--format", "json"];
        let told: Value = serde_json::from_str(&stdout(&[&base[..], options].concat())).unwrap();
        let layers = told["layers"].as_array().unwrap();
        let treated: Vec<&Value> = layers.iter().filter(|l| l["treatment"] != "dense").collect();
        assert!(!treated.is_empty(), "{told}");
        for layer in treated {
            let error = &layer["output_error"];
            let value = error["value"].as_f64().unwrap();
            // Entries of inputs that are always 0 go for nothing.
            let least = if options.contains(&"outputs") { 0.0 } else { f64::MIN_POSITIVE };
            assert!(error["bound"] == "exact" && (least..1.0).contains(&value), "{layer}");
            assert_eq!(layer["relative_error"]["bound"], "exact", "{layer}");
        }
        let (code, why) = failure(&["apply", &plan, &digits, "-o", &out]);
        assert!(code == 1 && why.contains("--calibration FILE"), "{code} {why}");
        let (code, why) = failure(&["export", &plan, &digits, "--to", "json", "-o", "-"]);
        assert!(code == 1 && why.contains("--calibration FILE"), "{code} {why}");
        let exported = slimscope(&["export", &plan, &digits, "--to", "json", "-o", "-", "--calibration", &calibration]);
        assert!(exported.status.success() && !exported.stdout.is_empty());
        let with = ["apply", &plan, &digits, "-o", &out, "--calibration", &calibration, "--format", "json"];
        let told: Value = serde_json::from_str(&stdout(&with)).unwrap();
        assert_eq!(told["verified"], true, "{told}");
    }
    // What is left open goes by activations, and is said.
    let told = |options: &[&str]| -> Value {
        let base = ["plan", &digits, "--calibration", &calibration, "--format", "json"];
        serde_json::from_str(&stdout(&[&base[..], options].concat())).unwrap()
    };
    let said = |plan: &Value| plan["by_calibration"].to_string();
    let ranks = told(&["--keep-rank", ".5"]);
    assert!(ranks["layers"].as_array().unwrap().iter().all(|l| l["rank"].is_null() || l["factors"] == "whitened"));
    assert!(said(&ranks).contains("factors whitened"), "{ranks}");
    let pruned = told(&["--prune", ".5"]);
    assert!(
        pruned["layers"].as_array().unwrap().iter().all(|l| l["criterion"] == "wanda" && l["pattern"] == "per-row")
    );
    assert!(said(&pruned).contains("criterion wanda"), "{pruned}");
    let named = told(&["--prune", ".5", "--criterion", "magnitude", "--keep-rank", ".5", "--factors", "matrix"]);
    assert_eq!(said(&named), "[]");
    // Bits by errors of outputs, with every allocator that spreads bits.
    for allocator in ["waterfill", "global", "uniform", "alphapruning", "stable-rank", "owl"] {
        let bits =
            told(&["--budget", ".2", "--of", "bytes", "--by", "bits", "--errors", "outputs", "--allocator", allocator]);
        let keep = bits["keep"]["bytes"].as_f64().unwrap();
        assert!(keep <= 0.2 && keep > 0.1, "{allocator}: {keep}");
    }
    let (code, why) = failure(&["plan", &sample("fashion_mlp"), "--prune", ".5", "--calibration", &calibration]);
    assert!(code == 1 && why.contains("another model") || why.contains("the layer's would be"), "{code} {why}");
}

/// A Llama of one block over bytes, written to a folder; `change` may rewrite tensors and config.
fn tiny_llama(change: impl Fn(&mut Vec<(String, Vec<usize>, Vec<f32>)>, &mut Value)) -> tempfile::TempDir {
    let (width, inner, words) = (8usize, 16usize, 256usize);
    let block = "model.layers.0";
    let shapes = [
        ("model.embed_tokens.weight".to_owned(), vec![words, width]),
        (format!("{block}.self_attn.q_proj.weight"), vec![width, width]),
        (format!("{block}.self_attn.k_proj.weight"), vec![width, width]),
        (format!("{block}.self_attn.v_proj.weight"), vec![width, width]),
        (format!("{block}.self_attn.o_proj.weight"), vec![width, width]),
        (format!("{block}.mlp.gate_proj.weight"), vec![inner, width]),
        (format!("{block}.mlp.up_proj.weight"), vec![inner, width]),
        (format!("{block}.mlp.down_proj.weight"), vec![width, inner]),
        (format!("{block}.input_layernorm.weight"), vec![width]),
        (format!("{block}.post_attention_layernorm.weight"), vec![width]),
        ("model.norm.weight".to_owned(), vec![width]),
        ("lm_head.weight".to_owned(), vec![words, width]),
    ];
    let mut state = 5u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((state >> 40) as f32 / 8_388_608.0 - 1.0) * 0.5
    };
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let count = shape.iter().product();
            let data = (0..count).map(|_| if shape.len() == 1 { 1.0 } else { next() }).collect();
            (name, shape, data)
        })
        .collect();
    let mut config = serde_json::json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "tokenizer": "bytes", "hidden_size": width,
        "intermediate_size": inner, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": words,
        "max_position_embeddings": 64, "tie_word_embeddings": false
    });
    change(&mut tensors, &mut config);
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, shape, values) in &tensors {
        let from = data.len();
        data.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        header.insert(
            name.clone(),
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [from, data.len()]}),
        );
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("model.safetensors"), bytes).unwrap();
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    std::fs::write(dir.path().join("text.txt"), "the quick brown fox jumps over the lazy dog ".repeat(4)).unwrap();
    dir
}

#[test]
fn a_layer_with_nan_or_infinity_is_refused_by_tensor_and_position() {
    for (bad, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "an infinity"), (f32::NEG_INFINITY, "an infinity")] {
        let dir = tiny_llama(|tensors, _| tensors[6].2[8 * 3 + 5] = bad);
        let (model, plan, out) = (dir.path(), dir.path().join("plan.toml"), dir.path().join("out"));
        let (model, plan, out) = (model.to_str().unwrap(), plan.to_str().unwrap(), out.to_str().unwrap());
        for treatment in [&["--prune", ".5"][..], &["--rank", "2"], &["--bits", "4"], &["--pattern", "2:4"]] {
            let made = slimscope(&[&["plan", model, "-o", plan], treatment].concat());
            let said = String::from_utf8_lossy(&made.stderr);
            assert!(made.status.success() && said.contains("model.layers.0.mlp.up_proj"), "{said}");
            assert!(!String::from_utf8_lossy(&made.stdout).contains('…'), "nothing is waited for");
            for form in ["dense", "factored"] {
                let (code, why) = failure(&["apply", plan, model, "-o", out, "--as", form]);
                let place = "model.layers.0.mlp.up_proj.weight is not finite";
                assert!(code == 1 && why.contains(place) && why.contains(word) && why.contains("[3, 5]"), "{why}");
                assert!(!Path::new(out).exists(), "nothing is written");
            }
        }
        let text = format!("{model}/text.txt");
        let (code, why) = failure(&["evaluate", model, "--data", &text]);
        assert!(code == 1 && why.contains("model.layers.0.mlp.up_proj") && why.contains("[3, 5]"), "{why}");
        // What does not touch it can be applied.
        let made = slimscope(&["plan", model, "-o", plan, "--prune", ".5", "--pin", "*.mlp.up_proj=dense"]);
        assert!(made.status.success());
        assert!(slimscope(&["apply", plan, model, "-o", out]).status.success());
    }
}

#[test]
fn finite_weights_that_overflow_are_not_blamed() {
    let dir = tiny_llama(|tensors, _| (5..7).for_each(|i| tensors[i].2.iter_mut().for_each(|w| *w *= 1e25)));
    let model = dir.path().to_str().unwrap();
    let (code, why) = failure(&["evaluate", model, "--data", &format!("{model}/text.txt")]);
    assert!(code == 1 && why.contains("every weight is one") && why.contains("overflows"), "{why}");
}

#[test]
fn a_loss_is_measured_only_where_there_is_a_head() {
    let evaluate = |dir: &tempfile::TempDir, more: &[&str]| {
        let model = dir.path().to_str().unwrap().to_owned();
        let text = format!("{model}/text.txt");
        slimscope(&[&["evaluate", &model, "--data", &text, "--format", "json"], more].concat())
    };
    let refused = |dir: &tempfile::TempDir| {
        let out = evaluate(dir, &[]);
        assert_eq!(out.status.code(), Some(1));
        String::from_utf8(out.stderr).unwrap()
    };
    let classifier = tiny_llama(|tensors, config| {
        let last = tensors.last_mut().unwrap();
        *last = ("score.weight".to_owned(), vec![2, 8], vec![0.1; 16]);
        config["architectures"] = serde_json::json!(["LlamaForSequenceClassification"]);
    });
    assert!(refused(&classifier).contains("classes"));
    let headless = tiny_llama(|tensors, _| drop(tensors.pop()));
    assert!(refused(&headless).contains("has no head"));
    // Tied, the embedding is the head.
    let tied = tiny_llama(|tensors, config| {
        tensors.pop();
        config["tie_word_embeddings"] = true.into();
    });
    assert!(evaluate(&tied, &[]).status.success());
    // One window tells nothing of the spread.
    let whole = tiny_llama(|_, _| ());
    let out = evaluate(&whole, &["--slice", "40"]);
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(told["standard_error"].is_null() && told["note"].as_str().unwrap().contains("one window"), "{told}");
    let several: Value = serde_json::from_slice(&evaluate(&whole, &[]).stdout).unwrap();
    assert!(several["standard_error"].is_f64() && several.get("note").is_none(), "{several}");
    let model = whole.path().to_str().unwrap();
    let table = stdout(&["evaluate", model, "--data", &format!("{model}/text.txt"), "--slice", "40"]);
    assert!(!table.contains("NaN") && table.contains("one window"), "{table}");
}
