//! The ladder of answers: each rung's time for a BF16 matrix, one thread, and as a share of all singular values.
//!
//! `cargo bench --bench ladder -- [ROUNDS] [MxN …]`. Under `cargo test` it does nothing.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that cannot go on must fail")]

use slimscope::model::{DType, Orientation, Stored};
use slimscope::numerics::density::{density, largest};
use slimscope::numerics::svd::singular_values;
use slimscope::numerics::{certificate, gram};
use slimscope::probe::{Ask, magnitude, sketch};
use std::time::Instant;

/// Noise with a few strong directions, as trained weights have, in BF16.
fn weights(m: usize, n: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    let (u, v): (Vec<f32>, Vec<f32>) = ((0..m).map(|_| next()).collect(), (0..n).map(|_| next()).collect());
    let mut out = Vec::with_capacity(m * n * 2);
    for x in &u {
        for y in &v {
            let w = 0.02 * (next() + next() + next()) + 0.01 * x * y;
            out.extend(((w.to_bits() >> 16) as u16).to_le_bytes());
        }
    }
    out
}

fn seconds<T>(rounds: usize, mut f: impl FnMut() -> T) -> f64 {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(f());
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let rounds = args.first().and_then(|a| a.parse().ok()).unwrap_or(3);
    let shapes: Vec<(usize, usize)> =
        args.iter().filter_map(|a| a.split_once('x')).map(|(m, n)| (m.parse().unwrap(), n.parse().unwrap())).collect();
    let shapes = if shapes.is_empty() { vec![(1024, 1024), (2048, 2048), (2048, 5632), (5632, 2048)] } else { shapes };
    println!(
        "{:>12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "shape",
        "sum ms",
        "pass ms",
        "sketch ms",
        "warm ms",
        "exact ms",
        "prove ms",
        "pass/sum",
        "G w/s",
        "sk/exact",
        "pr/exact"
    );
    for (m, n) in shapes {
        let bytes = weights(m, n);
        let entries = || Stored::new(DType::BF16, [m, n], Orientation::OutIn, &bytes).unwrap();
        let ask = Ask { keep_going: &|| true, threads: 1 };
        let stored = entries();
        let matrix = entries().into_matrix();
        // Reading and adding up the bytes: what no pass can beat.
        let sum = seconds(rounds, || {
            let words = bytes.as_chunks::<8>().0;
            words.iter().fold(0u64, |s, w| s.wrapping_add(u64::from_le_bytes(*w)))
        });
        let pass = seconds(rounds, || magnitude::magnitude(&stored, &ask).unwrap());
        let whole = sketch::sparse(&stored, 0.0);
        let sketched = seconds(rounds, || density(&whole, &|| true).unwrap());
        let first = density(&whole, &|| true).unwrap();
        let cut = gram::Sparse { threshold: 0.01, ..whole };
        let warm = seconds(rounds, || largest(&cut, &first.vector, &|| true).unwrap());
        let exact = seconds(rounds, || singular_values(matrix.view(), &|| true, 1).unwrap());
        let proof = seconds(rounds, || certificate::upper(matrix.view(), 1, &|| true).unwrap());
        println!(
            "{:>12} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>9.1} {:>9.1} {:>9.2} {:>9.2} {:>8.3} {:>8.2}",
            format!("{m}x{n}"),
            sum * 1e3,
            pass * 1e3,
            sketched * 1e3,
            warm * 1e3,
            exact * 1e3,
            proof * 1e3,
            pass / sum,
            (m * n) as f64 / pass / 1e9,
            sketched / exact,
            proof / exact
        );
    }
}
