//! Words of the commands that make plans and carry them out.

use super::InspectFormat;
use crate::evaluate::data::Wanted;
use crate::treat::Pattern;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Of {
    /// Parameters stored.
    Params,
    /// Bytes stored.
    Bytes,
    /// Bytes of values and of what says where they are.
    Stored,
    /// Multiply-accumulates.
    Macs,
}

/// By what a budget is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Treat {
    /// Removing entries in a pattern.
    Prune,
    /// Keeping a lower rank.
    Rank,
    /// One or the other, whichever loses less in a layer.
    Either,
    /// Rounding to fewer bits, on top of what the plan does.
    Bits,
}

/// Layers that share a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Query, key and value of a block.
    Qkv,
    /// Gate and up of a block.
    GateUp,
}

/// Of what errors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Errors {
    /// Of the weights alone.
    Weights,
    /// Of the layers' outputs on what a calibration saw.
    Outputs,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slimscope plan MODEL -o half.toml --budget .5 --allocator waterfill\n  slimscope plan MODEL -o ranks.toml --budget .6 --by rank --multiple 8 --pin '*lm_head=dense'\n  slimscope plan MODEL -o 24.toml --pattern 2:4 --layers '*.mlp.*'\n  slimscope plan MODEL -o int4.toml --bits 4 --bits-per group:64\n  slimscope plan MODEL --plan half.toml          what it amounts to\n  slimscope plan MODEL --replay LOG.jsonl -o mine.toml   the plan at the end of a session of the dashboard\n\nAllocators: uniform, global, erk, lamp, waterfill, alphapruning, stable-rank, flops, measured; with --calibration owl, dlp."
)]
pub struct PlanArgs {
    /// The checkpoint
    pub model: PathBuf,
    /// Write the plan here; without it only say what it amounts to
    #[arg(short, long, value_name = "PLAN.toml")]
    pub output: Option<PathBuf>,
    /// Remove this share of every layer
    #[arg(long, value_name = "R", value_parser = share, allow_hyphen_values = true)]
    pub prune: Option<f64>,
    /// Keep this share of the full rank of every layer
    #[arg(long, value_name = "F", value_parser = share, allow_hyphen_values = true)]
    pub keep_rank: Option<f64>,
    /// Give each layer a rank by a rule: 'energy 95%', trp, 'lord 20%', gd, mp, effective, stable, break-even
    #[arg(long, value_name = "RULE")]
    pub rank_rule: Option<String>,
    /// Of what ranks are: matrix; spatial for the convolutions that have such factors; with --calibration whitened or asvd
    #[arg(long, value_name = "FORM", default_value = "matrix", value_parser = ["matrix", "spatial", "whitened", "asvd"])]
    pub factors: String,
    /// Keep this rank of every layer
    #[arg(long, value_name = "K")]
    pub rank: Option<usize>,
    /// Round the stored entries to so many bits, 2 to 8; alone or with what is removed or kept
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u8).range(2..=8))]
    pub bits: Option<u8>,
    /// Which entries share a scale: tensor, row, group:32, group:64, group:128
    #[arg(long, value_name = "SCOPE", default_value = "row")]
    pub bits_per: String,
    /// Keep this share of the whole model
    #[arg(long, value_name = "F", value_parser = share, allow_hyphen_values = true)]
    pub budget: Option<f64>,
    /// What the budget counts
    #[arg(long, value_enum, default_value_t = Of::Params)]
    pub of: Of,
    /// How the budget is spread over the layers
    #[arg(long, value_name = "NAME", default_value = "waterfill")]
    pub allocator: String,
    /// By what the budget is met [default: prune; with the allocator `measured` whatever loses least]
    #[arg(long, value_enum)]
    pub by: Option<Treat>,
    /// By which errors a budget is spread: of weights, or, with --calibration, of the layers' outputs
    #[arg(long, value_enum, default_value_t = Errors::Weights)]
    pub errors: Errors,
    /// What is removed together: unstructured, per-row, N:M, row, column, block:RxC [default: the criterion's own; by
    /// magnitude unstructured]
    #[arg(long, value_name = "PATTERN")]
    pub pattern: Option<String>,
    /// By what it is chosen what goes: magnitude, relative-importance, batch-norm-scale, leverage; with --calibration
    /// wanda, ria, obs, obs-refit
    #[arg(long, value_name = "NAME", default_value = "magnitude")]
    pub criterion: String,
    /// With a budget every layer keeps at least this share of itself
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = share)]
    pub floor: f64,
    /// With a budget every layer keeps at most this share of itself
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = share)]
    pub ceiling: f64,
    /// With a budget these share a setting within a block; tied layers always do
    #[arg(long, value_enum, value_delimiter = ',')]
    pub group: Vec<Group>,
    /// Ranks are multiples of this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub multiple: usize,
    /// Only layers whose name matches; the others stay as they are; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub layers: Vec<String>,
    /// Keep matching layers dense, whatever is asked; may be repeated
    #[arg(long, value_name = "GLOB=dense")]
    pub pin: Vec<String>,
    /// Start from this plan; alone, say what it amounts to
    #[arg(long, value_name = "PLAN.toml")]
    pub plan: Option<PathBuf>,
    /// Start from the plan at the end of this log of a session; alone, say what it amounts to
    #[arg(long, value_name = "LOG.jsonl", conflicts_with = "plan")]
    pub replay: Option<PathBuf>,
    /// Take a plan or a log that was made for another checkpoint
    #[arg(long)]
    pub force: bool,
    /// Form of the result
    #[arg(long, value_enum, default_value_t = InspectFormat::Table)]
    pub format: InspectFormat,
    /// What `slimscope calibrate` saw at the layers' inputs: for what goes by activations, and for errors of outputs
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// With the allocator `measured`: how long plans are tried out, such as 30s, 10m, 1h [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub time: Option<Duration>,
    /// On what plans are tried out.
    #[command(flatten)]
    pub measuring: Measuring,
}

impl PlanArgs {
    /// The pattern asked for and the share that its name says, or `open` where none was.
    pub fn pattern_or(&self, open: Pattern) -> Result<(Pattern, Option<f64>), String> {
        let Some(name) = &self.pattern else { return Ok((open, None)) };
        let known = "unstructured, per-row, N:M, row, column or block:RxC";
        Pattern::parse(name).ok_or_else(|| format!("--pattern {name}: {known}"))
    }
}

/// On what quality is measured.
#[derive(Debug, Clone, Args)]
pub struct Measuring {
    /// With the allocator `measured`: what plans are tried out on [default: eval.safetensors beside the model]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Bytes of text or examples of it: the first N, or from A on and before B [default: all]
    #[arg(long, value_name = "N|A..B")]
    pub slice: Option<Wanted>,
    /// Tokens of a window [default: as the model says, at most 1024]
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
}

/// A time: `30s`, `10m`, `1.5h`.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "a time such as 30s, 10m or 1h".to_owned();
    let (digits, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    if number > 0.0 && number < 1e6 { Ok(Duration::from_secs_f64(number * seconds)) } else { Err(wrong()) }
}

/// How low ranks are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Multiplied out, zeros stored: anything loads it.
    Dense,
    /// As two factors, `<layer>.mod_a.weight` and `<layer>.mod_b.weight`: smaller; needs code that builds such layers.
    Factored,
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  slimscope apply half.toml MODEL -o MODEL-half")]
pub struct ApplyArgs {
    /// The plan
    #[arg(value_name = "PLAN.toml")]
    pub plan: PathBuf,
    /// The checkpoint
    pub model: PathBuf,
    /// The folder to write into: empty, new, or left by an interrupted run of the same plan
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// How low ranks are stored
    #[arg(long = "as", value_enum, default_value_t = Form::Dense)]
    pub form: Form,
    /// Take a plan that was made for another checkpoint
    #[arg(long)]
    pub force: bool,
    /// Form of the result
    #[arg(long, value_enum, default_value_t = InspectFormat::Table)]
    pub format: InspectFormat,
    /// What `slimscope calibrate` saw at the layers' inputs, for plans that go by it
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slimscope export half.toml MODEL --to llm-compressor -o recipe.yaml\n  slimscope export half.toml MODEL --lint --target vllm       only what is to be said\n\nFormats: llm-compressor, lems, peft, torch-pruning, alphapruning, aimet, mergekit, llama-cpp, json, csv.\nTargets: any, torch, transformers, vllm, tensorrt, llama-cpp."
)]
pub struct ExportArgs {
    /// The plan
    #[arg(value_name = "PLAN.toml")]
    pub plan: PathBuf,
    /// The checkpoint
    pub model: PathBuf,
    /// The format
    #[arg(long, value_name = "NAME")]
    pub to: Option<String>,
    /// Write the file here; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Only say what the target will not do with the plan; write nothing
    #[arg(long, conflicts_with_all = ["to", "output"])]
    pub lint: bool,
    /// Where the compressed model is to run [default: any, or the runtime that reads the format]
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// End with status 1, and write nothing, when a problem is found
    #[arg(long)]
    pub strict: bool,
    /// Take a plan that was made for another checkpoint
    #[arg(long)]
    pub force: bool,
    /// What `slimscope calibrate` saw at the layers' inputs, for plans that go by it
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Form of what is said
    #[arg(long, value_enum, default_value_t = InspectFormat::Table)]
    pub format: InspectFormat,
}

/// A share as people write it: `.5`, `50%`.
fn share(text: &str) -> Result<f64, String> {
    let (digits, scale) = text.strip_suffix('%').map_or((text, 1.0), |t| (t.trim_end(), 100.0));
    let number: f64 = digits.parse().map_err(|_| "a share such as .5 or 50%".to_owned())?;
    if number.is_finite() { Ok(number / scale) } else { Err("a share such as .5 or 50%".to_owned()) }
}
