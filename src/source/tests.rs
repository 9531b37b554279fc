//! Good files, and files that lie.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;

/// A safetensors file of these tensors; `data` is repeated to fill them.
fn file_of(tensors: &[(&str, &str, &[usize], usize)]) -> Vec<u8> {
    let (mut header, mut at) = (serde_json::Map::new(), 0);
    for (name, dtype, shape, width) in tensors {
        let bytes = shape.iter().product::<usize>() * width;
        header.insert(
            (*name).to_owned(),
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [at, at + bytes]}),
        );
        at += bytes;
    }
    raw(&serde_json::Value::Object(header).to_string(), at)
}

fn raw(header: &str, data: usize) -> Vec<u8> {
    let mut text = header.as_bytes().to_vec();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend(text);
    out.extend((0..data).map(|i| (i * 37 % 61) as u8));
    out
}

fn at(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn error(path: &std::path::Path) -> String {
    let error = open(path).map(|(m, _)| m.name).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "names the file: {error}");
    error.to_string()
}

#[test]
fn a_good_file_opens_and_decodes_one_layer() {
    let dir = tempfile::tempdir().unwrap();
    let path = at(&dir, "m.safetensors", &file_of(&[("a.weight", "F32", &[3, 2], 4), ("b.weight", "F64", &[2], 8)]));
    let (model, weights) = open(&path).unwrap();
    assert_eq!((model.name.as_str(), model.layers.len(), model.bytes()), ("m", 2, 40));
    let layer = model.layers.iter().find(|l| l.name == "a").unwrap();
    let matrix = weights.matrix(&model, layer).unwrap();
    assert_eq!((matrix.rows, matrix.cols, matrix.data.len()), (3, 2, 6));
    let first = f32::from_le_bytes([0, 37, 74 - 61, 111 - 61]);
    assert_eq!(matrix.data[0], first);
}

#[test]
fn a_sharded_folder_is_one_model() {
    let dir = tempfile::tempdir().unwrap();
    at(&dir, "x-1.safetensors", &file_of(&[("model.layers.0.mlp.up_proj.weight", "F32", &[4, 2], 4)]));
    at(&dir, "x-2.safetensors", &file_of(&[("model.layers.1.mlp.up_proj.weight", "F16", &[4, 2], 2)]));
    let index =
        |map: &str| at(&dir, "model.safetensors.index.json", format!("{{\"weight_map\":{{{map}}}}}").as_bytes());
    let both = "\"model.layers.0.mlp.up_proj.weight\":\"x-1.safetensors\",\"model.layers.1.mlp.up_proj.weight\":\"x-2.safetensors\"";
    index(both);
    at(&dir, "config.json", br#"{"model_type":"llama"}"#);
    let (model, weights) = open(dir.path()).unwrap();
    assert_eq!((model.files.len(), model.blocks(), model.architecture()), (2, 2, Some("llama")));
    for layer in &model.layers {
        assert_eq!(weights.matrix(&model, layer).unwrap().data.len(), 8);
    }
    let told = |map: &str| {
        let path = index(map);
        let error = open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        error
    };
    assert!(told(&format!("{both},\"c\":\"x-3.safetensors\"")).contains("x-3.safetensors"));
    assert!(told(&format!("{both},\"c.weight\":\"x-2.safetensors\"")).contains("c.weight"));
    assert!(told("\"a\":\"../../etc/passwd\"").contains("outside the folder"));
    assert!(told("").contains("names no shard"));
    at(&dir, "model.safetensors.index.json", b"{");
    assert!(open(dir.path()).unwrap_err().to_string().contains("is not JSON"));
}

#[test]
fn files_that_lie_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let good = file_of(&[("a.weight", "F32", &[4, 4], 4)]);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "is empty"),
        (vec![1, 2, 3], "only 3 bytes"),
        (good[..good.len() - 9].to_vec(), "truncated: 9 of"),
        ([good.clone(), vec![0; 5]].concat(), "5 bytes after its last tensor"),
        (good[..30].to_vec(), "truncated"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n".to_vec(), "git lfs pull"),
        (b"<html><body>404 not found, sign in first</body></html>".to_vec(), "is text"),
        (raw(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9]}}"#, 9), "contradict"),
        (
            raw(
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#,
                12,
            ),
            "offsets",
        ),
        (
            raw(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}}"#, 8),
            "larger than any file",
        ),
        (raw("{\"a\":", 8), "damaged"),
        ([u64::MAX.to_le_bytes().to_vec(), vec![0; 100]].concat(), "header is longer"),
    ];
    for (i, (bytes, says)) in cases.into_iter().enumerate() {
        let path = at(&dir, &format!("case{i}.safetensors"), &bytes);
        let told = error(&path);
        assert!(told.contains(says), "case {i}: {told:?} does not say {says:?}");
    }
}

#[test]
fn what_was_named_wrongly_is_told_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    assert!(error(&dir.path().join("nothing")).contains("no such file or folder"));
    assert!(error(dir.path()).contains("holds no .safetensors file"));
    at(&dir, "m.bin", b"x");
    assert!(matches!(open(dir.path()), Err(OpenError::Unsupported { .. })));
    assert!(matches!(open(&dir.path().join("m.bin")), Err(OpenError::Unsupported { .. })));
    at(&dir, "a.safetensors", &file_of(&[("a", "F32", &[1], 4)]));
    at(&dir, "b.safetensors", &file_of(&[("b", "F32", &[1], 4)]));
    assert!(error(dir.path()).contains("2 .safetensors files and no index"));
    let absent = open(std::path::Path::new("org-that-is-not/model-that-is-not")).unwrap_err().to_string();
    assert!(absent.contains("local Hugging Face cache"), "{absent}");
}

#[test]
fn odd_tensors_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = at(
        &dir,
        "odd.safetensors",
        &file_of(&[
            ("empty.weight", "F32", &[0, 4], 4),
            ("flag", "BOOL", &[3], 1),
            ("n.num_batches_tracked", "I64", &[], 8),
            ("scalar", "F32", &[], 4),
            ("w8.weight", "F8_E4M3", &[4, 4], 1),
            ("q.weight", "I8", &[4, 4], 1),
            ("é\u{1F600}.weight", "BF16", &[2, 2], 2),
        ]),
    );
    let (model, weights) = open(&path).unwrap();
    let layer = |name: &str| model.layers.iter().find(|l| l.name == name).unwrap();
    assert_eq!(weights.matrix(&model, layer("w8")).unwrap().data.len(), 16);
    assert!(weights.matrix(&model, layer("q")).is_err());
    assert_eq!(weights.matrix(&model, layer("é\u{1F600}")).unwrap().data.len(), 4);
    at(&dir, "config.json", b"[1]");
    let (model, _) = open(&path).unwrap();
    assert!(model.notes.iter().any(|n| n.contains("config.json")), "{:?}", model.notes);
}

#[test]
fn a_header_that_is_not_utf8_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for header in [
        r#"{"__metadata__":{"by":"Jos?"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#,
        r#"{"a?":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#,
    ] {
        let mut bytes = raw(header, 8);
        let at_mark = bytes.iter().position(|b| *b == b'?').unwrap();
        bytes[at_mark] = 0xe9;
        assert!(error(&at(&dir, "latin.safetensors", &bytes)).contains(&format!("not UTF-8 from byte {at_mark} on")));
    }
}

#[test]
fn headers_that_lie_name_the_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!("{{\"a.weight\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}")
    };
    let good = r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let cases = [
        (one("F32", "[2]", "[8,0]"), "tensor a.weight: its offsets 8 and 0 are reversed"),
        (one("F32", "[2]", "[4,12]"), "tensor a.weight: its offsets overlap another's or leave a gap"),
        (one("F32", "[2]", "[0,4]"), "tensor a.weight: shape [2] of F32 and its 4 bytes contradict each other"),
        (one("F4", "[3]", "[0,1]"), "tensor a.weight: shape [3] of F4"),
        (one("F32", "[4294967296,4294967296]", "[0,8]"), "tensor a.weight: its shape"),
        (one("Q9", "[2]", "[0,8]"), "tensor a.weight: elements of type Q9 are not known"),
        (one("F32", "[-1]", "[0,8]"), "its header is damaged"),
        (one("F32", "[1e3]", "[0,8]"), "its header is damaged"),
        (one("F32", "[2]", "[0,8,9]"), "its header is damaged"),
        (one("F32", "[2]", "[0,18446744073709551615]"), "tensor a.weight"),
        (one("F32", "2", "[0,8]"), "its header is damaged"),
        (format!("{{\"a\":{good},\"a\":{good}}}"), "tensor a: stands twice in the header"),
        (format!("{{\"__metadata__\":{{\"x\":1}},\"a\":{good}}}"), "its header is damaged"),
        (format!("{{\"__metadata__\":[],\"a\":{good}}}"), "its header is damaged"),
        (format!("[{good}]"), "its header is damaged"),
        ("null".to_owned(), "its header is damaged"),
        ("[".repeat(100_000), "its header is damaged"),
        (format!("{{\"a\":{}1{}}}", "{\"a\":".repeat(10_000), "}".repeat(10_000)), "its header is damaged"),
        ("{\"\\ud800\":1}".to_owned(), "its header is damaged"),
    ];
    for (header, says) in cases {
        let told = error(&at(&dir, "x.safetensors", &raw(&header, 8)));
        assert!(told.contains(says) && told.lines().count() == 1, "{told:?} does not say {says:?}");
    }
    let lengths: [(u64, &str); 4] =
        [(0, "is empty"), (1 << 63, "longer"), (u64::MAX, "longer"), (100_000_001, "longer")];
    for (length, says) in lengths {
        let told = error(&at(&dir, "x.safetensors", &[length.to_le_bytes().to_vec(), vec![b'{'; 64]].concat()));
        assert!(told.contains(says), "{told}");
    }
}

#[test]
fn a_folder_is_opened_as_transformers_does_and_says_what_it_left_out() {
    let whole = file_of(&[("whole.weight", "F32", &[4, 2], 4)]);
    let part = |name: &str| file_of(&[(name, "F32", &[4, 2], 4)]);
    let opened = |files: &[(&str, Vec<u8>)]| {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let opened = open(dir.path()).map_err(|e| e.to_string());
        opened.map(|(model, _)| {
            let names = model.tensors.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
            (names.join(" "), model.notes.join("\n"))
        })
    };
    let index = |map: &str| format!("{{\"weight_map\":{{{map}}}}}").into_bytes();
    let (single, plain) = ("model.safetensors", "model.safetensors.index.json");
    // A stale index, with and without its shards.
    let stale = index("\"a.weight\":\"model-00001-of-00001.safetensors\"");
    let (names, notes) = opened(&[(single, whole.clone()), (plain, stale.clone())]).unwrap();
    assert!(names == "whole.weight" && notes.contains("as transformers does") && notes.contains(plain), "{notes}");
    let shard = ("model-00001-of-00001.safetensors", part("a.weight"));
    let (names, notes) = opened(&[(single, whole.clone()), (plain, stale.clone()), shard.clone()]).unwrap();
    assert!(names == "whole.weight" && notes.contains("model-00001-of-00001"), "{notes}");
    // Two indexes.
    let (names, notes) = opened(&[(plain, stale), ("model.fp16.safetensors.index.json", index("")), shard]).unwrap();
    assert!(names == "a.weight" && notes.contains("model.fp16.safetensors.index.json"), "{notes}");
    // Shards without an index.
    let shards =
        [("x-00001-of-00002.safetensors", part("a.weight")), ("x-00002-of-00002.safetensors", part("b.weight"))];
    let (names, notes) = opened(&shards).unwrap();
    assert!(names == "a.weight b.weight" && notes.contains("2 shards of one numbering"), "{notes}");
    let lost = opened(&[shards[0].clone(), ("y.safetensors", whole.clone())]).unwrap_err();
    assert!(lost.contains("x-00002-of-00002 is missing"), "{lost}");
    // Paths below the folder.
    let below = index("\"a.weight\":\"./x.safetensors\",\"b.weight\":\"sub/y.safetensors\"");
    let files = [(plain, below), ("x.safetensors", part("a.weight")), ("sub/y.safetensors", part("b.weight"))];
    assert_eq!(opened(&files).unwrap().0, "b.weight a.weight");
    for outside in ["../x.safetensors", "/etc/passwd", "sub/../../x", "."] {
        let told = opened(&[(plain, index(&format!("\"a\":\"{outside}\"")))]).unwrap_err();
        assert!(told.contains("points outside the folder"), "{told}");
    }
    // Folders with parts of their own.
    let (_, notes) = opened(&[(single, whole.clone()), ("2_Dense/model.safetensors", part("linear.weight"))]).unwrap();
    assert!(notes.contains("left out: 2_Dense/"), "{notes}");
    let pipeline = opened(&[
        ("model_index.json", b"{}".to_vec()),
        ("unet/d.safetensors", part("a")),
        ("vae/d.safetensors", part("b")),
    ]);
    let told = pipeline.unwrap_err();
    assert!(told.contains("its folders do: unet/, vae/") && told.contains("name one of them"), "{told}");
}

#[test]
fn a_tensor_in_two_shards_is_read_from_the_one_that_the_index_names() {
    let dir = tempfile::tempdir().unwrap();
    at(&dir, "base.safetensors", &file_of(&[("a.weight", "F32", &[4, 2], 4), ("b.weight", "F32", &[4, 2], 4)]));
    at(&dir, "overlay.safetensors", &file_of(&[("b.weight", "F32", &[4, 2], 4)]));
    for owner in ["base.safetensors", "overlay.safetensors"] {
        let map = format!(
            "{{\"weight_map\":{{\"a.weight\":\"base.safetensors\",\"b.weight\":\"{owner}\",\"c\":\"overlay.safetensors\"}}}}"
        );
        // Both files are named, so both are read.
        at(&dir, "model.safetensors.index.json", map.replace(",\"c\":\"overlay.safetensors\"", "").as_bytes());
        let (model, _) = open(dir.path()).unwrap();
        let b = model.tensors.iter().find(|t| t.name == "b.weight").unwrap();
        assert_eq!((model.files[b.file].name.as_str(), model.tensors.len()), (owner, 2));
        if owner == "overlay.safetensors" {
            assert!(model.notes[0].contains("read from overlay.safetensors, as the index says"), "{:?}", model.notes);
        }
    }
}

#[test]
fn many_shards_hold_no_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    for i in 1..=20 {
        let name = format!("t{i}.weight");
        at(&dir, &format!("m-{i:05}-of-00020.safetensors"), &file_of(&[(&name, "F32", &[4, 2], 4)]));
    }
    let count = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let before = count();
    let opened = open(dir.path()).unwrap();
    assert_eq!(opened.0.files.len(), 20);
    assert!(count() < before + 15, "{before} descriptors became {}", count());
}

#[test]
fn a_file_cut_short_while_open_is_an_error_and_no_crash() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = file_of(&[("a.weight", "F32", &[64, 64], 4)]);
    let path = at(&dir, "m.safetensors", &bytes);
    let (model, weights) = open(&path).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(200).unwrap();
    let told = weights.matrix(&model, &model.layers[0]).unwrap_err();
    let cause = std::error::Error::source(&told).map(ToString::to_string).unwrap_or_default();
    assert!(format!("{told} {cause}").contains("cut short"), "{told} {cause}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_damage_makes_opening_or_reading_panic(cut in 0usize..700, flips in prop::collection::vec((0usize..700, any::<u8>()), 0..6)) {
        let mut bytes = file_of(&[
            ("model.layers.0.mlp.up_proj.weight", "F32", &[6, 4], 4), ("model.layers.0.mlp.up_proj.bias", "F32", &[6], 4),
            ("conv.weight", "F16", &[2, 2, 3, 3], 2),
        ]);
        for (i, x) in flips {
            if let Some(byte) = bytes.get_mut(i) {
                *byte ^= x;
            }
        }
        bytes.truncate(cut.max(1));
        let dir = tempfile::tempdir().unwrap();
        let path = at(&dir, "m.safetensors", &bytes);
        if let Ok((model, weights)) = open(&path) {
            for layer in model.layers.iter().filter(|l| l.measurable()) {
                let _ = weights.matrix(&model, layer);
            }
        }
    }
}
