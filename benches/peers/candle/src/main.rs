//! Tokens per second of candle-transformers' Llama and of slimscope's on the same folder, in windows of the same shape.
//!
//! `cargo run --release -- MODEL_FOLDER [TOKENS [ROWS [ROUNDS]]]`: both run in turns, medians are told. Both give the
//! logits of one position for each row, so that the head weighs the same.

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Llama, LlamaConfig};
use slimscope::evaluate::{Batch, Network};
use std::path::PathBuf;
use std::time::Instant;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().context("MODEL_FOLDER [TOKENS [ROWS [ROUNDS]]]")?);
    let mut number = |default: usize| words.next().map_or(Ok(default), |w| w.parse());
    let (length, rows, rounds) = (number(128)?, number(8)?, number(5)?);
    let device = Device::Cpu;

    let text = std::fs::read_to_string(folder.join("config.json"))?;
    let config: LlamaConfig = serde_json::from_str(&text)?;
    let vocabulary = config.vocab_size;
    let config = config.into_config(false);
    let mut tensors = candle_core::safetensors::load(folder.join("model.safetensors"), &device)?;
    for tensor in tensors.values_mut() {
        *tensor = tensor.to_dtype(DType::F32)?;
    }
    let theirs = Llama::load(VarBuilder::from_tensors(tensors, DType::F32, &device), &config)?;
    let (model, weights) = slimscope::source::open(&folder)?;
    let ours = Network::load(&model, &weights, &device)?;

    let window = |row: usize| (0..length).map(|i| ((i * 7919 + row * 104_729) % vocabulary) as u32).collect();
    let batch: Vec<Vec<u32>> = (0..rows).map(window).collect();
    let input = Tensor::new(batch.concat(), &device)?.reshape((rows, length))?;
    let (mut peer, mut own) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let start = Instant::now();
        let mut cache = Cache::new(false, DType::F32, &config, &device)?;
        let a = theirs.forward(&input, 0, &mut cache)?;
        let took = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let b = ours.last_logits(&Batch::Tokens(batch.clone()))?;
        let spent = start.elapsed().as_secs_f64();
        let off = (a.to_dtype(DType::F32)?.reshape(b.shape())? - &b)?.abs()?.max_all()?.to_scalar::<f32>()?;
        if round == 0 {
            println!("largest difference of the last logits: {off:.2e}");
        } else {
            peer.push(took);
            own.push(spent);
        }
    }
    for (name, mut seconds) in [("candle-transformers", peer), ("slimscope", own)] {
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        println!("{name:20} {median:.3} s, {:.0} tokens a second", (rows * length) as f64 / median);
    }
    Ok(())
}
