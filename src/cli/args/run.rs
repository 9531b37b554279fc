//! Words of the commands that run models.

use super::InspectFormat;
use crate::evaluate::data::Begin;
use crate::evaluate::data::Wanted;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Whether windows begin with the beginning-of-text token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Begins {
    /// As the tokenizer does.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl From<Begins> for Begin {
    fn from(begins: Begins) -> Self {
        match begins {
            Begins::Auto => Self::Auto,
            Begins::Always => Self::Always,
            Begins::Never => Self::Never,
        }
    }
}

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slimscope evaluate MODEL\n  slimscope evaluate MODEL --plan half.toml --slice 32768\n  slimscope evaluate MODEL --data text.txt --context 512 --format json\n\nText is cut in windows that do not overlap; the first token of each is not predicted. Where the tokenizer puts a\nbeginning-of-text token before texts each window begins with it (--begin). Compare on one fixed slice:\na model scores differently on each."
)]
pub struct EvaluateArgs {
    /// The model
    pub model: PathBuf,
    /// What it is measured on: a .txt file, or a .safetensors file with `text`, or `images` and `labels`
    /// [default: eval.safetensors beside the model]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Measure the model as this plan leaves it
    #[arg(long, value_name = "PLAN.toml")]
    pub plan: Option<PathBuf>,
    /// What `slimscope calibrate` saw at the layers' inputs, for plans that go by it
    #[arg(long, value_name = "FILE", requires = "plan")]
    pub calibration: Option<PathBuf>,
    /// Bytes of text or examples: the first N, or from A on and before B [default: all]
    #[arg(long, value_name = "N|A..B")]
    pub slice: Option<Wanted>,
    /// Tokens of a window [default: as the model says, at most 1024]
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
    /// Whether each window begins with the model's beginning-of-text token: as its tokenizer does, always, or never
    #[arg(long, value_enum, default_value_t = Begins::Auto, value_name = "WHEN")]
    pub begin: Begins,
    /// Where it runs: cpu, cuda, cuda:N [default: cpu, or the first GPU of a program built for them]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Take a plan that was made for another checkpoint
    #[arg(long, requires = "plan")]
    pub force: bool,
    /// Form of the result
    #[arg(long, value_enum, default_value_t = InspectFormat::Table)]
    pub format: InspectFormat,
}
