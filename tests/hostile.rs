//! Files that mislead: names with control characters, things that are no files, headers and folders that lie. Each ends
//! in a one-line error or a marked layer, at once, and no raw control character is ever written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]

use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs with an empty cache; must end by itself within 20 seconds.
fn slimscope(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
    command.args(args).env("NO_COLOR", "1").env_remove("TERM").env("LANG", "C.UTF-8").stdin(Stdio::null());
    command.env("SLIMSCOPE_CACHE_DIR", folder.join("cache")).env("SLIMSCOPE_STATE_DIR", folder.join("state"));
    command.env("HF_HOME", folder.join("hub")).env_remove("HF_HUB_CACHE");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let reader = |mut from: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).unwrap();
            bytes
        })
    };
    let stdout = reader(Box::new(child.stdout.take().unwrap()));
    let stderr = reader(Box::new(child.stderr.take().unwrap()));
    let end = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("{args:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn file_of(tensors: &[(String, Vec<usize>)], metadata: &[(&str, &str)]) -> Vec<u8> {
    let (mut header, mut at) = (Map::new(), 0);
    if !metadata.is_empty() {
        let words: Map<String, Value> = metadata.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        header.insert("__metadata__".to_owned(), words.into());
    }
    for (name, shape) in tensors {
        let bytes = shape.iter().product::<usize>() * 4;
        header.insert(name.clone(), json!({"dtype": "F32", "shape": shape, "data_offsets": [at, at + bytes]}));
        at += bytes;
    }
    raw(&Value::Object(header).to_string(), at)
}

fn raw(header: &str, data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    // Finite numbers of F32.
    out.extend((0..data).map(|i| if i % 4 == 3 { 60 } else { (i * 37 % 61) as u8 }));
    out
}

/// Control characters, direction marks and zero-width characters, but line ends.
fn hidden(text: &str) -> Option<char> {
    let marks =
        |c: char| matches!(c as u32, 0xad | 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff);
    text.chars().find(|c| *c != '\n' && (c.is_control() || marks(*c)))
}

const NAMES: [&str; 8] = [
    "esc\u{1b}[2J\u{1b}]0;title\u{7}",
    "c1\u{9b}31m\u{9d}0;title\u{9c}",
    "bell\u{7}\u{8}\u{8}\u{7f}",
    "two\nlines\r\tand",
    "bidi\u{202e}drow\u{2066}\u{200f}",
    "wide\u{200b}\u{feff}\u{2060}\u{ad}",
    "zero\u{0}byte",
    "quote'\"`$(x);\u{2028}#",
];

#[test]
fn no_control_character_of_a_name_reaches_the_output_of_any_command() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let model = at("model\u{1b}[31m\u{202e}");
    std::fs::create_dir(&model).unwrap();
    let tensors: Vec<_> = NAMES.iter().map(|n| (format!("model.layers.0.{n}.weight"), vec![8, 8])).collect();
    let bytes = file_of(&tensors, &[("format\u{1b}", "\u{9b}pt"), ("x", "\u{7}")]);
    std::fs::write(Path::new(&model).join("model.safetensors"), bytes).unwrap();
    std::fs::write(
        Path::new(&model).join("config.json"),
        json!({"model_type": "ll\u{1b}[7mama\u{9b}\u{202e}"}).to_string(),
    )
    .unwrap();
    let mut plan = String::from("version = 1\n[model]\nname = \"x\"\nfingerprint = \"\"\n");
    for (name, _) in &tensors {
        let name = toml_text(name.trim_end_matches(".weight"));
        plan.push_str(&format!("[[layer]]\nname = {name}\nprune = {{ remove = 0.5, criterion = \"magnitude\", pattern = \"unstructured\" }}\n"));
    }
    std::fs::write(at("plan.toml"), &plan).unwrap();
    std::fs::write(at("bad.toml"), plan.replace("layers.0", "layers.9")).unwrap();
    std::fs::write(at("torn.toml"), "version = 1\nna\u{1b}me = \u{9b}\n").unwrap();
    let (plan, out) = (at("plan.toml"), at("out"));
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut add = |args: &[&str]| commands.push(args.iter().map(|a| (*a).to_owned()).collect());
    for format in ["table", "json"] {
        add(&["inspect", &model, "--format", format]);
        add(&["plan", &model, "--prune", "0.5", "--format", format]);
        add(&["evaluate", &model, "--format", format]);
    }
    for format in ["table", "json", "csv"] {
        add(&["measure", &model, "--format", format]);
    }
    for keys in ["1", "2", "3", "4", "5", "6", "/", "? ", "i", "j j m", "x", "e"] {
        add(&["frame", &model, "--format", "text", "--keys", keys]);
    }
    add(&["frame", &model, "--format", "svg", "--plan", &plan, "--force"]);
    for to in ["llm-compressor", "lems", "peft", "torch-pruning", "aimet", "mergekit", "llama-cpp", "json", "csv"] {
        add(&["export", &plan, &model, "--to", to, "--force"]);
    }
    add(&["apply", &plan, &model, "-o", &out, "--force"]);
    add(&["apply", &plan, &model, "-o", &out, "--force"]);
    add(&["apply", &at("bad.toml"), &model, "-o", &at("no"), "--force"]);
    add(&["apply", &at("torn.toml"), &model, "-o", &at("no"), "--force"]);
    add(&["apply", &plan, &model, "-o", &at("no")]);
    add(&["calibrate", &model, "--data", &at("data\u{1b}.txt"), "-o", &at("c.safetensors")]);
    add(&["measure", &model, "--layers", "none\u{1b}[1m"]);
    add(&["measure", &model, "--lay\u{1b}ers", "none"]);
    add(&["inspect", &at("no\u{1b}thing\u{9b}")]);
    let mut shown = 0;
    for args in &commands {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let result = slimscope(folder.path(), &args);
        assert!(result.status.code().is_some_and(|c| c <= 2), "{args:?}: {result:?}");
        for bytes in [&result.stdout, &result.stderr] {
            let text = std::str::from_utf8(bytes).unwrap_or_else(|e| panic!("{args:?}: {e}"));
            assert_eq!(hidden(text), None, "{args:?}: {text}");
            shown += usize::from(text.contains("\\u001b") || text.contains("\\U0000001b"));
        }
    }
    assert!(shown > 15, "the names were to be seen in {shown} outputs");
    let json = slimscope(folder.path(), &["inspect", &model, "--format", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let names: Vec<&str> = json["layers"].as_array().unwrap().iter().filter_map(|l| l["tensor"].as_str()).collect();
    assert!(
        tensors.iter().all(|(name, _)| names.contains(&name.as_str())),
        "JSON gives back the very names: {names:?}"
    );
    let written = std::fs::read(Path::new(&out).join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(written[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&written[8..8 + length]).unwrap();
    assert!(tensors.iter().all(|(name, _)| header.get(name).is_some()), "the checkpoint keeps its names");
}

fn toml_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\U{:08x}", c as u32)),
            c => out.push(c),
        }
    }
    out + "\""
}

/// One line of standard error, status 1.
fn refused(folder: &Path, args: &[&str]) -> String {
    let begun = Instant::now();
    let out = slimscope(folder, args);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{args:?}: {text}");
    assert!(out.stdout.is_empty() && text.starts_with("slimscope: "), "{text}");
    assert!(text.lines().skip(1).all(|l| l.starts_with("caused by: ")), "{text}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{args:?} took {:?}", begun.elapsed());
    text
}

#[cfg(unix)]
#[test]
fn pipes_sockets_and_devices_are_refused_wherever_a_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let pipe = |path: &str| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let good = file_of(&[("a.weight".to_owned(), vec![8, 8])], &[]);
    std::fs::write(at("good.safetensors"), &good).unwrap();
    pipe(&at("pipe.safetensors"));
    assert!(refused(folder.path(), &["inspect", &at("pipe.safetensors")]).contains("a named pipe, not a regular file"));
    assert!(refused(folder.path(), &["inspect", "/dev/zero"]).contains("a device"));
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.safetensors")).unwrap();
    assert!(refused(folder.path(), &["measure", &at("socket.safetensors")]).contains("a socket"));
    for (case, pipes) in [("single", "model.safetensors"), ("index", "model.safetensors.index.json")] {
        std::fs::create_dir(at(case)).unwrap();
        pipe(&at(&format!("{case}/{pipes}")));
        assert!(refused(folder.path(), &["inspect", &at(case)]).contains("a named pipe"));
    }
    std::fs::create_dir(at("shard")).unwrap();
    std::fs::write(at("shard/model.safetensors.index.json"), r#"{"weight_map":{"a":"x.safetensors"}}"#).unwrap();
    pipe(&at("shard/x.safetensors"));
    assert!(refused(folder.path(), &["inspect", &at("shard")]).contains("a named pipe"));
    std::fs::create_dir_all(at("folder/model.safetensors")).unwrap();
    assert!(refused(folder.path(), &["inspect", &at("folder")]).contains("is a folder"));
    pipe(&at("plan.toml"));
    assert!(
        refused(folder.path(), &["apply", &at("plan.toml"), &at("good.safetensors"), "-o", &at("o")]).contains("pipe")
    );
    // The configuration is not needed for a look.
    std::fs::create_dir(at("config")).unwrap();
    std::fs::write(at("config/model.safetensors"), &good).unwrap();
    pipe(&at("config/config.json"));
    let out = slimscope(folder.path(), &["inspect", &at("config")]);
    assert!(
        out.status.success() && String::from_utf8_lossy(&out.stdout).contains("config.json cannot be read"),
        "{out:?}"
    );
    std::os::unix::fs::symlink(at("loop"), at("loop")).unwrap();
    assert!(refused(folder.path(), &["inspect", &at("loop")]).contains("cannot be read"));
}

#[test]
fn a_configuration_of_python_is_read_and_one_that_cannot_be_parsed_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let model = at("m");
    std::fs::create_dir(&model).unwrap();
    let bytes = file_of(&[("fc1.weight".to_owned(), vec![16, 16]), ("fc2.weight".to_owned(), vec![16, 16])], &[]);
    std::fs::write(at("m/model.safetensors"), bytes).unwrap();
    let plan = "version = 1\n[model]\nname = \"m\"\nfingerprint = \"\"\n[[layer]]\nname = \"fc1\"\nrank = 2\n";
    std::fs::write(at("plan.toml"), plan).unwrap();
    let apply = |out: &str| {
        slimscope(folder.path(), &["apply", &at("plan.toml"), &model, "-o", &at(out), "--as", "factored", "--force"])
    };
    let config = "\u{feff}{\"model_type\": \"mamba2\", \"time_step_limit\": [0.0, Infinity], \"x\": NaN}";
    std::fs::write(at("m/config.json"), config).unwrap();
    let json: Value =
        serde_json::from_slice(&slimscope(folder.path(), &["inspect", &model, "--format", "json"]).stdout).unwrap();
    assert_eq!(json["architecture"], "mamba2");
    let done = apply("fine");
    assert!(done.status.success(), "{done:?}");
    let written = std::fs::read_to_string(at("fine/config.json")).unwrap();
    assert!(written.starts_with(config.strip_suffix('}').unwrap()) && written.contains("rank_dict"), "{written}");
    for (i, broken) in ["{\"model_type\": \"llama\", // note\n}", "[1]", "{", ""].into_iter().enumerate() {
        std::fs::write(at("m/config.json"), broken).unwrap();
        let out = format!("no{i}");
        let told = apply(&out);
        let words = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(
            told.status.code() == Some(1) && words.contains("config.json: cannot be read as a configuration"),
            "{words}"
        );
        assert!(words.contains("--as dense") && !Path::new(&at(&out)).exists(), "{words}");
    }
}

#[test]
fn a_file_written_again_while_it_is_measured_is_named_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.safetensors");
    let tensors: Vec<_> = (0..60).map(|i| (format!("layer{i}.weight"), vec![512, 512])).collect();
    std::fs::write(&path, file_of(&tensors, &[])).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
    command.args(["measure", path.to_str().unwrap(), "--format", "json", "--no-cache"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut first).unwrap();
    // As torch.save and safetensors do: cut to nothing, then written anew.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    let mut words = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut words).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{words}");
    assert!(words.contains("big.safetensors") || rest.contains("big.safetensors"), "{words} {rest}");
}

#[test]
fn a_partial_download_says_so_and_a_snapshot_has_the_name_of_its_repository() {
    let folder = tempfile::tempdir().unwrap();
    let base = |name: &str| folder.path().join("hub/hub").join(name).join("snapshots/0123456789abcdef");
    let (old, part) = (base("models--gpt2"), base("models--org--part"));
    for snapshot in [&old, &part] {
        std::fs::create_dir_all(snapshot).unwrap();
        std::fs::write(snapshot.join("config.json"), "{}").unwrap();
    }
    std::fs::write(old.join("model.safetensors"), file_of(&[("a.weight".to_owned(), vec![8, 8])], &[])).unwrap();
    for name in ["gpt2", "hf://gpt2", "https://huggingface.co/gpt2/tree/0123456", old.to_str().unwrap()] {
        let out = slimscope(folder.path(), &["inspect", name]);
        assert!(String::from_utf8_lossy(&out.stdout).starts_with("gpt2  "), "{name}: {out:?}");
    }
    let told = refused(folder.path(), &["inspect", "org/part"]);
    assert!(told.contains("only config.json") && told.contains("hf download org/part"), "{told}");
    std::fs::write(part.join("model.safetensors.index.json"), r#"{"weight_map":{"a":"x.safetensors"}}"#).unwrap();
    let told = refused(folder.path(), &["inspect", "org/part"]);
    assert!(told.contains("x.safetensors") && told.contains("hf download org/part"), "{told}");
}

#[test]
fn shards_below_the_folder_are_applied_in_place_and_copies_for_other_runtimes_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["m/sub", "m/onnx", "m/openvino", "m/1_Pooling"] {
        std::fs::create_dir_all(at(name)).unwrap();
    }
    let tensor = |name: &str| (format!("{name}.weight"), vec![16, 16]);
    std::fs::write(at("m/x.safetensors"), file_of(&[tensor("fc1"), tensor("fc2")], &[])).unwrap();
    std::fs::write(at("m/sub/y.safetensors"), file_of(&[tensor("fc2"), tensor("fc3")], &[])).unwrap();
    let map =
        json!({"fc1.weight": "./x.safetensors", "fc2.weight": "sub/y.safetensors", "fc3.weight": "sub/y.safetensors"});
    let index = json!({"metadata": {"total_size": 3072}, "weight_map": map}).to_string();
    std::fs::write(at("m/model.safetensors.index.json"), index).unwrap();
    for name in ["m/onnx/model.onnx", "m/onnx/config.json", "m/openvino/openvino_model.xml", "m/model.onnx"] {
        std::fs::write(at(name), "{}").unwrap();
    }
    std::fs::write(at("m/1_Pooling/config.json"), "{}").unwrap();
    let layer = |name: &str, what: &str| format!("[[layer]]\nname = \"{name}\"\n{what}\n");
    let prune = "prune = { remove = 0.5, criterion = \"magnitude\", pattern = \"unstructured\" }";
    let plan = format!(
        "version = 1\n[model]\nname = \"m\"\nfingerprint = \"\"\n{}{}",
        layer("fc1", "rank = 2"),
        layer("fc3", prune)
    );
    std::fs::write(at("plan.toml"), plan).unwrap();
    for form in ["dense", "factored"] {
        let args = ["apply", &at("plan.toml"), &at("m"), "-o", &at(form), "--as", form, "--force"];
        let out = slimscope(folder.path(), &args);
        let told = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "{told}");
        assert!(told.contains("read from sub/y.safetensors, as the index says"), "{told}");
        let there = |name: &str| Path::new(&at(form)).join(name).exists();
        assert!(there("x.safetensors") && there("sub/y.safetensors") && there("1_Pooling/config.json"), "{told}");
        assert!(!there("onnx") && !there("openvino") && !there("model.onnx") && told.contains("onnx/"), "{told}");
        let again = slimscope(folder.path(), &["measure", &at(form), "--format", "json"]);
        assert!(again.status.success(), "{again:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_hundred_thousand_tensors_are_read_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.safetensors");
    let name = |i: usize| format!("model.layers.{}.mlp.experts.{}.up_proj.weight", i / 1000, i % 1000);
    let tensors: Vec<_> = (0..100_000).map(|i| (name(i), vec![2, 2])).collect();
    std::fs::write(&path, file_of(&tensors, &[])).unwrap();
    for format in ["json", "table"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slimscope"));
        command.args(["inspect", path.to_str().unwrap(), "--format", format]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()).unwrap());
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        while child.try_wait().unwrap().is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0");
            let kilobytes: u64 = line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0);
            peak = peak.max(kilobytes >> 10);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(reader.join().unwrap() > 1_000_000);
        assert!(peak < 150, "{format}: {peak} MB");
    }
}
