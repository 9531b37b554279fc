//! Times singular values on request, so that another program can let its own runs take turns with ours.
//!
//! Reads a command a line and answers a line: `open FILE` loads all weights of a checkpoint as `f32` and answers their
//! number; `each THREADS` decomposes one after the other on so many threads, `spread THREADS` spreads them over the
//! threads, and both answer seconds; `values` answers the singular values of the first. See `spectra.py`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that cannot go on must fail")]

use rayon::prelude::*;
use slimscope::model::Matrix;
use slimscope::numerics::svd::singular_values;
use slimscope::source;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

fn open(path: &str) -> Vec<Matrix> {
    let (model, weights) = source::open(Path::new(path)).unwrap();
    let layers = model.layers.iter().filter(|l| l.measurable());
    layers.map(|l| weights.matrix(&model, l).unwrap()).collect()
}

fn main() {
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let values = |m: &Matrix, threads: usize| singular_values(m.view(), &|| true, threads).unwrap();
    let mut matrices = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (command, rest) = line.split_once(' ').unwrap_or((line.as_str(), ""));
        let answer = match command {
            "open" => {
                matrices = open(rest);
                matrices.len().to_string()
            }
            "values" => values(&matrices[0], 1).iter().map(f64::to_string).collect::<Vec<_>>().join(" "),
            _ => {
                let threads = rest.parse().unwrap();
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let start = Instant::now();
                pool.install(|| match command {
                    "spread" => matrices.par_iter().with_max_len(1).for_each(|m| drop(values(m, 1))),
                    _ => matrices.iter().for_each(|m| drop(values(m, threads))),
                });
                start.elapsed().as_secs_f64().to_string()
            }
        };
        println!("{answer}");
        std::io::stdout().flush().unwrap();
    }
}
