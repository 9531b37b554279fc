//! Tokens per second of slimscope's own forward pass and of candle-transformers' Llama: the same checkpoint, the same
//! windows of a text, `f32`, the same threads and allocator.
//!
//! In this folder, for the CPU and for an NVIDIA GPU (which needs the CUDA toolkit to build):
//!
//! ```sh
//! cargo run --release -- MODEL_FOLDER TEXT [--length 512] [--rows 2] [--batches 4] [--rounds 5] [--device cpu]
//! cargo run --release --features cuda -- MODEL_FOLDER TEXT --device cuda
//! ```
//!
//! `RAYON_NUM_THREADS` limits the cores of both. Every number of tokens a second is a median over the rounds; in a round
//! all take turns on the same batches of `rows` windows, and both give the logits of each window's last token, so that
//! the head weighs the same. The round that warms up checks that these logits agree.

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama, LlamaConfig};
use rayon::prelude::*;
use slimscope::evaluate::{Batch, Data, Network, Slice, Unit, device::device, measure};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

// The one that slimscope runs with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "MODEL_FOLDER TEXT [--length N] [--rows N] [--batches N] [--rounds N] [--device cpu|cuda|cuda:N]";
/// Furthest that two logits of the same token may be apart, in multiples of the largest logit.
const CLOSE: f32 = 1e-3;

/// The words on the command line.
struct Wanted {
    folder: PathBuf,
    text: PathBuf,
    /// Tokens of a window.
    length: usize,
    /// Windows of a batch; slimscope measures with as many as make 1024 tokens.
    rows: usize,
    batches: usize,
    rounds: usize,
    device: Device,
}

fn wanted() -> Result<Wanted> {
    let (mut paths, mut options) = (Vec::new(), HashMap::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.strip_prefix("--") {
            Some(name) => drop(options.insert(name.to_owned(), words.next().context(USAGE)?)),
            None => paths.push(PathBuf::from(word)),
        }
    }
    let device = device(Some(options.remove("device").as_deref().unwrap_or("cpu")))?;
    let mut number = |name: &str, default: usize| options.remove(name).map_or(Ok(default), |n| n.parse());
    let (length, rows) = (number("length", 512)?, number("rows", 2)?);
    let (batches, rounds) = (number("batches", 4)?, number("rounds", 5)?);
    let [folder, text] = <[PathBuf; 2]>::try_from(paths).ok().context(USAGE)?;
    ensure!(options.is_empty() && length > 1 && rows > 0 && batches > 0 && rounds > 0, USAGE);
    Ok(Wanted { folder, text, length, rows, batches, rounds, device })
}

/// candle-transformers' model of the folder, with all weights as `f32`.
fn peer(folder: &Path, device: &Device) -> Result<(Llama, Config)> {
    let text = std::fs::read_to_string(folder.join("config.json"))?;
    let config = serde_json::from_str::<LlamaConfig>(&text)?.into_config(false);
    let mut tensors = HashMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let named = |part: &str| path.file_name().is_some_and(|n| n.to_string_lossy().contains(part));
        if named(".safetensors") && !named("index") && !named("eval") {
            for (name, tensor) in candle_core::safetensors::load(&path, &Device::Cpu)? {
                tensors.insert(name, tensor.to_dtype(DType::F32)?.to_device(device)?);
            }
        }
    }
    Ok((Llama::load(VarBuilder::from_tensors(tensors, DType::F32, device), &config)?, config))
}

/// Batches of full windows from the start of the text, and what they are cut from.
fn batches(wanted: &Wanted, model: &slimscope::model::Model) -> Result<(Vec<Vec<Vec<u32>>>, Slice)> {
    let data = Data::open(&wanted.text, model)?;
    let count = wanted.rows * wanted.batches;
    // No token is longer than 16 bytes on average.
    let range = 0..data.len().min(count * wanted.length * 16);
    let mut slice = data.slice(model, range, Some(wanted.length))?;
    slice.units.retain(|u| u.len() == wanted.length);
    ensure!(slice.units.len() >= count, "{}: too short for {count} windows", wanted.text.display());
    slice.units.truncate(count);
    let windows: Vec<Vec<u32>> = slice
        .units
        .iter()
        .filter_map(|u| if let Unit::Window { tokens, .. } = u { Some(tokens.clone()) } else { None })
        .collect();
    Ok((windows.chunks(wanted.rows).map(<[_]>::to_vec).collect(), slice))
}

fn main() -> Result<()> {
    let wanted = wanted()?;
    let (length, rows, device) = (wanted.length, wanted.rows, &wanted.device);
    let (theirs, config) = peer(&wanted.folder, device)?;
    let (model, weights) = slimscope::source::open(&wanted.folder)?;
    let ours = Network::load(&model, &weights, device)?;
    let (batches, slice) = batches(&wanted, &model)?;

    let cache = Cache::new(false, DType::F32, &config, device)?;
    let peer = |batch: &Vec<Vec<u32>>| -> Result<Tensor> {
        let input = Tensor::new(batch.concat(), device)?.reshape((rows, length))?;
        // Its tables of angles are made once; nothing is kept from window to window.
        Ok(theirs.forward(&input, 0, &mut cache.clone())?)
    };
    let own = |batch: &Vec<Vec<u32>>| Ok(ours.last_logits(&Batch::Tokens(batch.clone()))?);
    let one_by_one = |run: &dyn Fn(&Vec<Vec<u32>>) -> Result<Tensor>| batches.iter().map(run).collect();
    let runs: [(&str, Box<dyn Fn() -> Result<Vec<Tensor>> + '_>); 4] = [
        ("candle-transformers, a batch after the other", Box::new(|| one_by_one(&peer))),
        ("slimscope, a batch after the other", Box::new(|| one_by_one(&own))),
        ("candle-transformers, a batch a thread", Box::new(|| batches.par_iter().map(peer).collect())),
        ("slimscope, a batch a thread", Box::new(|| batches.par_iter().map(own).collect())),
    ];

    let tokens = rows * length * batches.len();
    let threads = rayon::current_num_threads();
    println!("{}, {} batches of {rows} x {length} tokens, f32, {device:?}, {threads} threads", model.name, batches.len());
    let mut seconds = [const { Vec::new() }; 4];
    for round in 0..=wanted.rounds {
        let mut all = Vec::new();
        for (i, (_, run)) in runs.iter().enumerate() {
            let start = Instant::now();
            let logits = run()?;
            device.synchronize()?;
            let took = start.elapsed().as_secs_f64();
            if round == 0 { all.push(Tensor::cat(&logits, 0)?) } else { seconds[i].push(took) }
        }
        if let Some((first, others)) = all.split_first() {
            let largest = first.abs()?.max_all()?.to_scalar::<f32>()?;
            for ((name, _), logits) in runs.iter().skip(1).zip(others) {
                let off = (first - logits)?.abs()?.max_all()?.to_scalar::<f32>()?;
                println!("{name}: logits at most {off:.2e} from candle-transformers' (largest {largest:.1})");
                ensure!(off <= CLOSE * largest, "the logits disagree: nothing to compare");
            }
        }
    }
    let medians = seconds.map(|mut s| {
        s.sort_by(f64::total_cmp);
        s[s.len() / 2]
    });
    for (i, (name, _)) in runs.iter().enumerate() {
        let (rate, ratio) = (tokens as f64 / medians[i], medians[i - i % 2] / medians[i]);
        println!("{name:46} {rate:9.0} tokens a second  x {ratio:.2}");
    }
    let mut last = None;
    for _ in 0..2 {
        last = measure(&ours, &slice, &mut |_| true)?;
    }
    let measured = last.context("nothing was measured")?;
    let rate = tokens as f64 / measured.seconds;
    println!("{:46} {rate:9.0} tokens a second", "slimscope evaluate, logits of all tokens");
    println!("{:.4} bits a byte", measured.value);
    Ok(())
}
