//! Arguments of `calibrate`.

use super::{Begins, InspectFormat};
use crate::evaluate::data::Wanted;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `calibrate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slimscope calibrate MODEL --data train.txt --slice 256_000 -o calibration.safetensors\n  slimscope calibrate MODEL --data train.safetensors --layers '*.mlp.*' -o calibration.safetensors\n\nText is cut in windows that do not overlap. Take data that the model was trained for, and other than what its quality\nis measured on. Held in memory: 8 bytes for each entry of in_features × in_features, once for layers that hear the\nsame; gradients need as much memory again as the weights. For models that slimscope does not run, the script\nassets/calibrate.py writes the same file with PyTorch."
)]
pub struct CalibrateArgs {
    /// The model
    pub model: PathBuf,
    /// What it runs on: a .txt file, or a .safetensors file with `text`, or `images` and `labels`
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// The file to write; - is standard output
    #[arg(short, long, value_name = "calibration.safetensors")]
    pub output: PathBuf,
    /// Bytes of text or examples to run: the first N, or from A on and before B [default: all]
    #[arg(long, value_name = "N|A..B")]
    pub slice: Option<Wanted>,
    /// Tokens of a window [default: as the model says, at most 1024]
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
    /// Whether each window begins with the model's beginning-of-text token: as its tokenizer does, always, or never
    #[arg(long, value_enum, default_value_t = Begins::Auto, value_name = "WHEN")]
    pub begin: Begins,
    /// Only layers whose name matches; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub layers: Vec<String>,
    /// Leave out gradients of the loss, which take a pass backward over 4096 tokens or images
    #[arg(long)]
    pub no_gradients: bool,
    /// Where it runs: cpu, cuda, cuda:N [default: cpu, or the first GPU of a program built for them]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Form of the result
    #[arg(long, value_enum, default_value_t = InspectFormat::Table)]
    pub format: InspectFormat,
}
