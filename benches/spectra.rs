//! All singular values: ours against faer's own, alternating in one run, medians.
//!
//! `cargo bench --bench spectra -- [ROUNDS] [MxN …]`; without arguments a quick table. Under `cargo test` it does
//! nothing.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that cannot go on must fail")]

use faer::Mat;
use ndarray::Array2;
use slimscope::numerics::isa::Isa;
use slimscope::numerics::svd::{singular_values, two_stage};
use std::time::Instant;

fn noise(m: usize, n: usize) -> Array2<f32> {
    let mut state = 1u64;
    Array2::from_shape_fn((m, n), |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    })
}

fn seconds<T>(f: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    std::hint::black_box(f());
    start.elapsed().as_secs_f64()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The longest time, in seconds, for which a decomposition would not notice that nobody wants it any more.
fn longest_wait(a: &Array2<f32>) -> f64 {
    let state = std::sync::Mutex::new((Instant::now(), 0f64));
    let keep_going = || {
        let mut state = state.lock().unwrap();
        let wait = state.0.elapsed().as_secs_f64();
        *state = (Instant::now(), state.1.max(wait));
        true
    };
    singular_values(a.view(), &keep_going, 1).unwrap();
    keep_going();
    state.into_inner().unwrap().1
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let rounds = args.first().and_then(|a| a.parse().ok()).unwrap_or(3);
    let shapes: Vec<(usize, usize)> =
        args.iter().filter_map(|a| a.split_once('x')).map(|(m, n)| (m.parse().unwrap(), n.parse().unwrap())).collect();
    let shapes =
        if shapes.is_empty() { vec![(384, 384), (1536, 384), (576, 1536), (1024, 1024), (1024, 4096)] } else { shapes };
    let pool = |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (one, two) = (pool(1), pool(2));
    println!(
        "{:>12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8} {:>8}",
        "shape", "1 thread", "2 threads", "portable", "faer f32", "faer f64", "f32/ours", "f64/ours", "wait ms"
    );
    for (m, n) in shapes {
        let a = noise(m, n);
        let f32s = Mat::<f32>::from_fn(m, n, |i, j| a[(i, j)]);
        let f64s = Mat::<f64>::from_fn(m, n, |i, j| f64::from(a[(i, j)]));
        let mut times: [Vec<f64>; 5] = Default::default();
        for _ in 0..rounds {
            times[0].push(seconds(|| one.install(|| singular_values(a.view(), &|| true, 1))));
            times[1].push(seconds(|| two.install(|| two_stage(a.view(), &|| true, 2, Isa::Best))));
            times[2].push(seconds(|| one.install(|| two_stage(a.view(), &|| true, 1, Isa::Portable))));
            faer::set_global_parallelism(faer::Par::Seq);
            times[3].push(seconds(|| f32s.singular_values()));
            times[4].push(seconds(|| f64s.singular_values()));
        }
        let wait = longest_wait(&a) * 1e3;
        let [a, b, c, d, e] = times.map(median);
        println!(
            "{:>12} {a:>9.4} {b:>9.4} {c:>9.4} {d:>9.4} {e:>9.4} {:>8.2} {:>8.2} {wait:>8.0}",
            format!("{m}x{n}"),
            d / a,
            e / a
        );
    }
}
