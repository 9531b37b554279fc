//! What a key press costs while everything is being computed, and what measuring the samples costs.
//!
//! `cargo bench` prints medians; compare within one run. `scrub/layers/*` grows with the layers, `scrub/size/*` must
//! not grow with the weights.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test that cannot go on must fail"
)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use slimscope::app::{Key, Msg};
use slimscope::drive::{Drive, keys};
use slimscope::engine::Settings;
use slimscope::model::Model;
use slimscope::plan::budget::curve::curves;
use slimscope::plan::budget::{ALLOCATORS, Ask, Means, Unit};
use slimscope::plan::{Pattern, Plan};
use slimscope::screen::{self, Skin};
use slimscope::source::{self, Weights};
use slimscope::widgets::{Depth, Glyphs, Theme};
use std::hint::black_box;
use std::path::Path;

const SKIN: Skin = Skin { theme: Theme { depth: Depth::Ansi256 }, glyphs: Glyphs::Braille };

/// A model of square layers, seven to a block, in memory.
fn model(layers: usize, n: usize) -> (Model, Weights) {
    let names = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ];
    let (mut header, size) = (serde_json::Map::new(), n * n * 2);
    for i in 0..layers {
        let name = format!("model.layers.{}.{}.weight", i / 7, names[i % 7]);
        let tensor = serde_json::json!({"dtype": "BF16", "shape": [n, n], "data_offsets": [i * size, (i + 1) * size]});
        header.insert(name, tensor);
    }
    let mut text = serde_json::Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    let mut state = 1u64;
    for _ in 0..layers * n * n {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let w = (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0;
        bytes.extend(((w.to_bits() >> 16) as u16).to_le_bytes());
    }
    source::open_embedded("bench", Box::leak(bytes.into_boxed_slice()), r#"{"model_type":"llama"}"#).unwrap()
}

fn sample(name: &str) -> (Model, Weights) {
    source::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_models").join(name)).unwrap()
}

/// One key and the frame that follows it.
fn key_to_frame(drive: &mut Drive, key: Key, buf: &mut Buffer) {
    drive.send(Msg::Key(key));
    screen::draw(&drive.app, SKIN, buf);
}

fn scrub(c: &mut Criterion) {
    let area = Rect::new(0, 0, 200, 60);
    let mut group = c.benchmark_group("scrub");
    for (kind, layers, n) in
        [("layers", 56, 32), ("layers", 224, 32), ("layers", 896, 32), ("size", 56, 128), ("size", 56, 512)]
    {
        let (model, weights) = model(layers, n);
        // A long debounce: the exact run is not what is measured here.
        let settings = Settings { debounce: std::time::Duration::from_secs(3600), ..Settings::default() };
        let mut drive = Drive::start(model, weights, settings, (200, 60)).unwrap();
        drive.settle();
        drive.press(&keys("g g g <tab>").unwrap());
        let mut buf = Buffer::empty(area);
        let mut right = false;
        let id = BenchmarkId::new(kind, format!("{layers}x{n}x{n}"));
        group.bench_function(id, |b| {
            b.iter(|| {
                right = !right;
                key_to_frame(&mut drive, Key::char(if right { 'L' } else { 'H' }), black_box(&mut buf));
            });
        });
    }
    group.finish();
}

/// The same key while every worker decomposes matrices that take seconds each, against an idle pool.
fn saturated(c: &mut Criterion) {
    let area = Rect::new(0, 0, 120, 40);
    let mut group = c.benchmark_group("key_to_frame");
    for busy in [false, true] {
        let (model, weights) = if busy { model(28, 2048) } else { model(28, 16) };
        let settings = Settings { debounce: std::time::Duration::from_secs(3600), ..Settings::default() };
        let mut drive = Drive::start(model, weights, settings, (120, 40)).unwrap();
        if !busy {
            drive.settle();
        }
        drive.press(&keys("<s-tab>").unwrap());
        let mut buf = Buffer::empty(area);
        let mut down = false;
        group.bench_function(if busy { "pool saturated" } else { "pool idle" }, |b| {
            b.iter(|| {
                down = !down;
                key_to_frame(&mut drive, Key::char('l'), black_box(&mut buf));
                key_to_frame(&mut drive, Key::char(if down { 'j' } else { 'k' }), black_box(&mut buf));
            });
        });
    }
    group.finish();
}

fn measure(c: &mut Criterion) {
    let mut group = c.benchmark_group("measure");
    group.sample_size(10);
    for name in ["digits_mlp", "fashion_mlp", "fashion_cnn", "bytelm"] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let (model, weights) = sample(name);
                let mut drive = Drive::start(model, weights, Settings::default(), (120, 40)).unwrap();
                drive.settle();
                black_box(drive.app.outcome.totals.measured)
            });
        });
    }
    group.finish();
}

/// A budget spread over 224 measured layers, and the curves of all allocators.
fn budget(c: &mut Criterion) {
    let (model, weights) = model(224, 128);
    let mut drive = Drive::start(model, weights, Settings::default(), (120, 40)).unwrap();
    drive.settle();
    let (model, facts) = (&drive.app.model, &drive.app.facts);
    let plan = Plan::new(model.layers.len());
    let mut group = c.benchmark_group("budget");
    group.sample_size(10);
    for (by, means) in [("prune", Means::Prune(Pattern::Unstructured)), ("rank", Means::Rank(8))] {
        for allocator in ALLOCATORS {
            let of = if allocator.name == "flops" { Unit::Macs } else { Unit::Params };
            let ask = Ask { of, ..Ask::new(0.5, means) };
            if allocator.suits(&ask).is_ok() {
                group.bench_function(BenchmarkId::new(by, allocator.name), |b| {
                    b.iter(|| black_box(allocator.plan(model, facts, &plan, ask).unwrap()));
                });
            }
        }
        group.bench_function(BenchmarkId::new(by, "all curves"), |b| {
            b.iter(|| black_box(curves(model, facts, &plan, Ask::new(0.5, means))));
        });
    }
    group.finish();
}

/// Experts of every block, as large mixtures of experts have: nothing at a key or a frame may be worse than linear in the
/// layers. The goal is 16 ms for a key and its frame at 18,720 layers, and 50 ms at 89,437.
fn many_layers(c: &mut Criterion) {
    let area = Rect::new(0, 0, 200, 60);
    let mut group = c.benchmark_group("many_layers");
    group.sample_size(10);
    for layers in [18_720, 89_437] {
        let (model, weights) = model(layers, 4);
        let settings = Settings { debounce: std::time::Duration::from_secs(3600), ..Settings::default() };
        let mut drive = Drive::start(model, weights, settings, (200, 60)).unwrap();
        drive.settle();
        let mut buf = Buffer::empty(area);
        // Name, keys that prepare, and the two keys that are pressed in turn.
        for (name, before, turn) in [
            ("map, nothing treated", "4", "j k"),
            ("move", "1 <home>", "j k"),
            ("scrub one layer", "1 <s-tab>", "h l"),
            ("scrub all layers", "1 g g g", "H L"),
            ("undo and redo", "", "u <c-r>"),
            ("map", "4", "j k"),
            ("sorted by error", "s", "j k"),
            ("filter", "s s s /", "q <backspace>"),
        ] {
            drive.press(&keys(before).unwrap());
            let turn = keys(turn).unwrap();
            let mut n = 0;
            group.bench_function(BenchmarkId::new(name, layers), |b| {
                b.iter(|| {
                    n += 1;
                    key_to_frame(&mut drive, turn[n % turn.len()], black_box(&mut buf));
                });
            });
        }
        drive.press(&keys("<esc> <esc>").unwrap());
        let facts = &drive.app.facts;
        let plan = Plan::new(layers);
        let ask = Ask::new(0.5, Means::Prune(Pattern::Unstructured));
        let allocator = ALLOCATORS.iter().find(|a| a.name == "waterfill").unwrap();
        group.bench_function(BenchmarkId::new("waterfill, off the interface", layers), |b| {
            b.iter(|| black_box(allocator.plan(&drive.app.model, facts, &plan, ask).unwrap()));
        });
    }
    group.finish();
}

criterion_group!(benches, scrub, saturated, measure, budget, many_layers);
criterion_main!(benches);
