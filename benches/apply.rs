//! Writing a compressed checkpoint against copying its files, in one run.
//!
//! `cargo bench --bench apply -- [LAYERS [ROUNDS]]`: a synthetic checkpoint of so many 1024×1024 and 2816×1024 layers in
//! a temporary folder, copied and applied in turn; medians. Under `cargo test` it does nothing.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that cannot go on must fail")]

use slimscope::export::{Apply, Form, Limits};
use slimscope::plan::{Entry, Pattern, Plan, Prune, Treatment};
use slimscope::source;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

/// Writes a checkpoint of BF16 layers, two files of it.
fn write(folder: &Path, layers: usize) {
    let mut map = serde_json::Map::new();
    let mut state = 1u64;
    for file in 0..2 {
        let name = format!("model-{file}.safetensors");
        let (mut header, mut at, mut shapes) = (serde_json::Map::new(), 0, Vec::new());
        for i in (file..layers).step_by(2) {
            let (tensor, rows) = if i % 2 == 0 { ("self_attn.q_proj", 1024) } else { ("mlp.up_proj", 2816) };
            let tensor = format!("model.layers.{i}.{tensor}.weight");
            let end = at + rows * 1024 * 2;
            let entry = serde_json::json!({"dtype": "BF16", "shape": [rows, 1024], "data_offsets": [at, end]});
            header.insert(tensor.clone(), entry);
            map.insert(tensor, name.clone().into());
            shapes.push(rows * 1024);
            at = end;
        }
        let text = serde_json::Value::Object(header).to_string();
        let mut out = BufWriter::new(File::create(folder.join(&name)).unwrap());
        out.write_all(&(text.len() as u64).to_le_bytes()).unwrap();
        out.write_all(text.as_bytes()).unwrap();
        for _ in 0..shapes.into_iter().sum::<usize>() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let w = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
            out.write_all(&((w.to_bits() >> 16) as u16).to_le_bytes()).unwrap();
        }
        out.flush().unwrap();
    }
    let index = serde_json::json!({"weight_map": map});
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    fs::write(folder.join("config.json"), r#"{"model_type":"llama"}"#).unwrap();
}

/// Copies every file and brings it to the disk, as `apply` does.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let path = to.join(entry.file_name());
        fs::copy(entry.path(), &path).unwrap();
        File::open(path).unwrap().sync_all().unwrap();
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let args: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let (layers, rounds) = (args.first().copied().unwrap_or(24), args.get(1).copied().unwrap_or(3));
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("model"), dir.path().join("out"));
    fs::create_dir(&from).unwrap();
    write(&from, layers);
    let (model, weights) = source::open(&from).unwrap();
    let bytes: u64 = model.files.iter().map(|f| f.bytes).sum();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cases = [
        ("prune 50 %", Treatment::prune(Prune::unstructured(0.5)), Form::Dense),
        ("2:4", Treatment::prune(Prune::of(0.5, Pattern::Groups(4))), Form::Dense),
        ("rank 25 %", Treatment::rank(256), Form::Dense),
        ("rank 25 %, factors", Treatment::rank(256), Form::Factored),
    ];
    let mut times = vec![Vec::new(); cases.len() + 1];
    let seconds = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        let taken = start.elapsed().as_secs_f64();
        fs::remove_dir_all(&to).unwrap();
        taken
    };
    for _ in 0..rounds {
        times[0].push(seconds(&mut || copy(&from, &to)));
        for (i, (name, treatment, form)) in cases.iter().enumerate() {
            let mut plan = Plan::new(model.layers.len());
            for layer in model.layers.iter().filter(|l| l.eligible()) {
                plan.set(layer.id, Entry { treatment: *treatment, pinned: false });
            }
            let limits = Limits { threads: cores, memory: 1 << 30 };
            let mark = (*name).to_owned();
            let apply = Apply { model: &model, weights: &weights, plan: &plan, out: &to, form: *form, mark, limits };
            times[i + 1].push(seconds(&mut || drop(apply.run(&mut |_, _| (), &|| true).unwrap())));
        }
    }
    let times: Vec<f64> = times.into_iter().map(median).collect();
    println!("{layers} layers, {:.0} MB, {cores} threads, medians of {rounds}", bytes as f64 / 1e6);
    println!("{:>20} {:>9} {:>8} {:>10}", "", "seconds", "MB/s", "× copying");
    for (name, time) in ["copying"].into_iter().chain(cases.iter().map(|c| c.0)).zip(&times) {
        println!("{name:>20} {time:>9.2} {:>8.0} {:>10.2}", bytes as f64 / 1e6 / time, time / times[0]);
    }
}
