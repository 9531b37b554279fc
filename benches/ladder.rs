//! The ladder of answers: each rung's time for a matrix in BF16 and in F32, as a share of all singular values, and against faer's
//! own, all in one run.
//!
//! `cargo bench --bench ladder -- [ROUNDS] [MxN …]`. Under `cargo test` it does nothing. "2 threads" of a rung that uses
//! one is the time of a matrix while two are worked on, as the dashboard does. "all passes" is what `measure` computes of a
//! linear layer besides singular values.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that cannot go on must fail")]

use faer::Mat;
use slimscope::model::{Layer, Stored};
use slimscope::numerics::certificate;
use slimscope::numerics::density::{density, largest};
use slimscope::numerics::gram::Sparse;
use slimscope::numerics::subspace::Subspace;
use slimscope::numerics::svd::{singular_values, singular_values_f64};
use slimscope::probe::importance::importance;
use slimscope::probe::rounding::rounding;
use slimscope::probe::structure::structure;
use slimscope::probe::{Ask, PROBES, ProbeId, magnitude, sketch};
use slimscope::source;
use std::time::Instant;

/// A checkpoint of one matrix: noise with a few strong directions, as trained weights have.
fn checkpoint(m: usize, n: usize, dtype: &str) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    let (u, v): (Vec<f32>, Vec<f32>) = ((0..m).map(|_| next()).collect(), (0..n).map(|_| next()).collect());
    let tensor = serde_json::json!({"dtype": dtype, "shape": [m, n], "data_offsets": [0, m * n * if dtype == "F32" { 4 } else { 2 }]});
    let mut header = serde_json::json!({"model.layers.0.mlp.up_proj.weight": tensor}).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header);
    for x in &u {
        for y in &v {
            let w = 0.02 * (next() + next() + next()) + 0.01 * x * y;
            let bytes = w.to_le_bytes();
            out.extend(if dtype == "F32" { &bytes } else { &bytes[2..] });
        }
    }
    out
}

fn seconds(rounds: usize, mut f: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A rung: its name, and whether it uses several threads itself.
type Rung<'a> = (&'static str, bool, Box<dyn Fn(usize) + Sync + 'a>);

/// `fresh` holds the same entries as `stored`, and is never decoded as a whole.
fn rungs<'a>(layer: &'a Layer, stored: &'a Stored<'a>, fresh: &'a Stored<'a>, bytes: &'a [u8]) -> Vec<Rung<'a>> {
    const GO: &(dyn Fn() -> bool + Sync) = &|| true;
    const PASSES: [ProbeId; 4] = [ProbeId::Magnitude, ProbeId::Structure, ProbeId::Rounding, ProbeId::Importance];
    let ask = |threads| Ask { keep_going: GO, threads };
    let whole = sketch::sparse(stored, 0.0);
    let first = density(&whole, GO).unwrap();
    let cut = Sparse { threshold: 0.01, ..whole };
    let [rows, cols] = stored.shape();
    let block = |from: usize, out: &mut [f32]| stored.rows_into(from, out);
    let f32s = Mat::<f32>::from_fn(rows, cols, |i, j| stored.matrix().data[i * cols + j]);
    vec![
        // What no pass can beat.
        (
            "reading",
            false,
            Box::new(move |_| {
                let words = bytes.as_chunks::<8>().0;
                std::hint::black_box(words.iter().fold(0u64, |s, w| s.wrapping_add(u64::from_le_bytes(*w))));
            }),
        ),
        ("magnitudes", true, Box::new(move |t| drop(magnitude::magnitude(fresh, &ask(t)).unwrap()))),
        ("patterns", true, Box::new(move |t| drop(structure(layer, fresh, &ask(t)).unwrap()))),
        ("quantisation", true, Box::new(move |t| drop(rounding(fresh, &ask(t)).unwrap()))),
        ("importance", true, Box::new(move |t| drop(importance(fresh, &ask(t)).unwrap()))),
        (
            "all passes",
            true,
            Box::new(move |t| {
                for probe in PROBES.iter().filter(|p| PASSES.contains(&p.id())) {
                    drop(probe.measure(layer, fresh, &ask(t)).unwrap());
                }
            }),
        ),
        ("sketch", false, Box::new(move |_| drop(density(&whole, GO).unwrap()))),
        ("pruned σ₁, warm", false, Box::new(move |_| drop(largest(&cut, &first.vector, GO).unwrap()))),
        (
            "first 64, warm",
            false,
            Box::new(move |_| drop(Subspace::new(cols).values(rows, &mut { block }, GO).unwrap())),
        ),
        (
            "proof",
            true,
            Box::new(move |t| assert!(certificate::upper(stored.matrix().view(), t, GO).unwrap().is_some())),
        ),
        ("exact", true, Box::new(move |t| drop(singular_values(stored.matrix().view(), GO, t).unwrap()))),
        ("exact, f64", true, Box::new(move |t| drop(singular_values_f64(stored.matrix().view(), GO, t).unwrap()))),
        (
            "faer f32",
            true,
            Box::new(move |t| {
                faer::set_global_parallelism(if t > 1 { faer::Par::rayon(t) } else { faer::Par::Seq });
                drop(f32s.singular_values().unwrap());
            }),
        ),
    ]
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let rounds = args.first().and_then(|a| a.parse().ok()).unwrap_or(3);
    let shapes: Vec<(usize, usize)> =
        args.iter().filter_map(|a| a.split_once('x')).map(|(m, n)| (m.parse().unwrap(), n.parse().unwrap())).collect();
    let shapes = if shapes.is_empty() {
        vec![(384, 384), (384, 1536), (1024, 1024), (2048, 2048), (2048, 5632)]
    } else {
        shapes
    };
    let pool = |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (one, two) = (pool(1), pool(2));
    for ((m, n), dtype) in shapes.into_iter().flat_map(|shape| [(shape, "BF16"), (shape, "F32")]) {
        let bytes: &'static [u8] = Box::leak(checkpoint(m, n, dtype).into_boxed_slice());
        let (model, weights) = source::open_embedded("bench", bytes, r#"{"model_type":"llama"}"#).unwrap();
        let layer = &model.layers[0];
        let [stored, fresh] = [(); 2].map(|()| weights.stored(&model, layer).unwrap());
        println!(
            "{:<18} {:>11} {:>11} {:>11} {:>11} {:>11}",
            format!("{m}x{n} {dtype}"),
            "1 thread ms",
            "2 threads",
            "of exact",
            "2 threads",
            "faer/this"
        );
        let times: Vec<(&str, f64, f64)> = rungs(layer, &stored, &fresh, bytes)
            .into_iter()
            .map(|(name, several, run)| {
                let alone = seconds(rounds, || one.install(|| run(1)));
                let together = if several {
                    seconds(rounds, || two.install(|| run(2)))
                } else {
                    seconds(rounds, || {
                        two.install(|| rayon::join(|| run(1), || run(1)));
                    }) / 2.0
                };
                (name, alone, together)
            })
            .collect();
        let of = |name: &str| times.iter().find(|t| t.0 == name).map(|t| (t.1, t.2)).unwrap();
        for (name, alone, together) in &times {
            println!(
                "  {name:<16} {:>11.2} {:>11.2} {:>10.1}% {:>10.1}% {:>11.2}",
                alone * 1e3,
                together * 1e3,
                100.0 * alone / of("exact").0,
                100.0 * together / of("exact").1,
                of("faer f32").0 / alone
            );
        }
    }
}
