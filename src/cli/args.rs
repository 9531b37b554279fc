//! The words on the command line.

mod calibrate;

pub use calibrate::CalibrateArgs;

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Explore in the terminal how far a neural network can be compressed, and what it costs.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  slimscope                      the bundled sample\n  slimscope model.safetensors    a checkpoint\n  slimscope org/name             a model of the local Hugging Face cache\n  slimscope MODEL --resume       go on where the last session of it ended\n\nIn the dashboard ? lists the keys. Every change of the plan is saved when it is made."
)]
pub struct Cli {
    /// A .safetensors file, a folder, or org/name of the local Hugging Face cache; without it the bundled sample
    pub model: Option<PathBuf>,
    /// Open with this plan
    #[arg(long, value_name = "PLAN.toml")]
    pub plan: Option<PathBuf>,
    /// Open with these activations (not built yet)
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Go on with the newest session of this model, without asking
    #[arg(long, conflicts_with_all = ["plan", "replay", "fresh"])]
    pub resume: bool,
    /// Offer no earlier session
    #[arg(long)]
    pub fresh: bool,
    /// Open where this log of a session ends; the log stays as it is
    #[arg(long, value_name = "LOG.jsonl", conflicts_with_all = ["plan", "fresh"])]
    pub replay: Option<PathBuf>,
    /// Take a plan or a log that was made for another checkpoint
    #[arg(long)]
    pub force: bool,
    /// Options of every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do; without it the dashboard opens.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Worker threads [default: all cores; in the dashboard all but one]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Bytes that running jobs may hold together, such as 2G: fewer run at once, and what needs more is left out
    /// [default: a quarter of the free memory]
    #[arg(long, global = true, value_name = "LIMIT", value_parser = bytes)]
    pub memory: Option<u64>,
    /// Neither read nor write cached measurements
    #[arg(long, global = true)]
    pub no_cache: bool,
    /// When to use colour; `NO_COLOR` is obeyed
    #[arg(long, global = true, value_enum, default_value_t = When::Auto, value_name = "WHEN")]
    pub color: When,
    /// Characters to draw with [default: by locale and terminal]
    #[arg(long, global = true, value_enum, value_name = "SET")]
    pub glyphs: Option<GlyphSet>,
}

/// A number of bytes: `500M`, `1.5G`, `2GiB`, `1000000`. K, M, G and T are powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match text[digits.len()..].to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err("a number of bytes such as 500M or 2G".to_owned()),
    };
    match digits.trim().parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok((number * 1024f64.powi(power)) as u64),
        _ => Err("a number of bytes such as 500M or 2G".to_owned()),
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal that shows colours.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Characters to draw with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GlyphSet {
    /// Braille dots and box drawing.
    Braille,
    /// Blocks and box drawing.
    Blocks,
    /// ASCII alone.
    Ascii,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists layers, roles, shapes and sizes; reads headers only
    Inspect(Inspect),
    /// Measures layers: spectra, sparsity, norms
    Measure(Measure),
    /// Prints the frame that the dashboard would show after some keys
    Frame(Frame),
    /// Makes a plan, or shows what one amounts to
    Plan(Box<PlanArgs>),
    /// Writes the compressed checkpoint of a plan and checks it
    Apply(Box<ApplyArgs>),
    /// Writes a plan in another tool's format, and says what a runtime will not do with it
    Export(Box<ExportArgs>),
    /// Runs the model on data and writes what its layers hear
    Calibrate(Box<CalibrateArgs>),
    /// Measures quality (not built yet)
    Evaluate(Rest),
    /// Bounds the Lipschitz constant (not built yet)
    Bound(Rest),
    /// Writes a report (not built yet)
    Report(Rest),
    /// Compares two checkpoints (not built yet)
    Compare(Rest),
}

/// Arguments of a command that is not built yet.
#[derive(Debug, Args)]
pub struct Rest {
    /// Anything
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub rest: Vec<String>,
}

/// Forms of `inspect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InspectFormat {
    /// Columns of text.
    Table,
    /// One JSON object.
    Json,
}

/// Forms of `measure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MeasureFormat {
    /// Columns of text.
    Table,
    /// One JSON object a line.
    Json,
    /// Comma-separated values.
    Csv,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  slimscope inspect model.safetensors --format json | jq .layers[0]")]
pub struct Inspect {
    /// The checkpoint
    pub model: PathBuf,
    /// Form of the result
    #[arg(long, value_enum, default_value_t = InspectFormat::Table)]
    pub format: InspectFormat,
}

/// Arguments of `measure`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  slimscope measure model.safetensors --layers '*.mlp.*' --format json --with spectrum"
)]
pub struct Measure {
    /// The checkpoint
    pub model: PathBuf,
    /// Only layers whose name matches; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub layers: Vec<String>,
    /// Form of the result
    #[arg(long, value_enum, default_value_t = MeasureFormat::Table)]
    pub format: MeasureFormat,
    /// Add all singular values, or a proven upper bound on the largest; may be repeated
    #[arg(long, value_enum, value_name = "WHAT")]
    pub with: Vec<With>,
    /// Stop at the first cheap estimate: magnitudes and norms, σ₁ from below, the spectrum's density
    #[arg(long)]
    pub sketch: bool,
    /// Singular values in double precision throughout: slower, right to the last few digits
    #[arg(long, conflicts_with = "sketch")]
    pub double: bool,
    /// Measure the I-th of N parts of equal cost (I from 1) into the shared cache: for job arrays and xargs
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
}

/// What `measure` can add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum With {
    /// All singular values.
    Spectrum,
    /// A proven upper bound on σ₁.
    Certificate,
}

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

/// Arguments of `plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slimscope plan MODEL -o half.toml --budget .5 --allocator waterfill\n  slimscope plan MODEL -o ranks.toml --budget .6 --by rank --multiple 8 --pin '*lm_head=dense'\n  slimscope plan MODEL -o 24.toml --pattern 2:4 --layers '*.mlp.*'\n  slimscope plan MODEL -o int4.toml --bits 4 --bits-per group:64\n  slimscope plan MODEL --plan half.toml          what it amounts to\n  slimscope plan MODEL --replay LOG.jsonl -o mine.toml   the plan at the end of a session of the dashboard\n\nAllocators: uniform, global, erk, lamp, waterfill, alphapruning, stable-rank, flops."
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
    /// Of what ranks are: matrix, or spatial for the convolutions that have such factors
    #[arg(long, value_name = "FORM", default_value = "matrix", value_parser = ["matrix", "spatial"])]
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
    /// By what the budget is met
    #[arg(long, value_enum, default_value_t = Treat::Prune)]
    pub by: Treat,
    /// What is removed together: unstructured, per-row, N:M, row, column, block:RxC
    #[arg(long, value_name = "PATTERN", default_value = "unstructured")]
    pub pattern: String,
    /// By what it is chosen what goes: magnitude, relative-importance, batch-norm-scale, leverage
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
    /// Activations (not built yet)
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Time for measured trials (not built yet)
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,
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
    /// Activations (not built yet)
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
    /// Form of what is said
    #[arg(long, value_enum, default_value_t = InspectFormat::Table)]
    pub format: InspectFormat,
}

/// Forms of `frame`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FrameFormat {
    /// Characters alone.
    Text,
    /// With the escape sequences of a terminal.
    Ansi,
    /// A picture.
    Svg,
}

/// Arguments of `frame`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  slimscope frame model.safetensors --size 120x40 --keys '2 <tab> L L j'\n\nWith --log the keys become the log of a session, which --replay, also of the dashboard and of `plan`, takes up."
)]
pub struct Frame {
    /// The checkpoint; without it the bundled sample
    pub model: Option<PathBuf>,
    /// With this plan
    #[arg(long, value_name = "PLAN.toml")]
    pub plan: Option<PathBuf>,
    /// Begin where this log of a session ends
    #[arg(long, value_name = "LOG.jsonl", conflicts_with = "plan")]
    pub replay: Option<PathBuf>,
    /// Write the log of the session that the keys make
    #[arg(long, value_name = "LOG.jsonl")]
    pub log: Option<PathBuf>,
    /// Take a plan or a log that was made for another checkpoint
    #[arg(long)]
    pub force: bool,
    /// Columns and rows
    #[arg(long, default_value = "120x40", value_name = "WxH")]
    pub size: String,
    /// Keys, separated by blanks: characters, or <enter> <esc> <tab> <up> <c-r> …
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub keys: String,
    /// Form of the result
    #[arg(long, value_enum, default_value_t = FrameFormat::Text)]
    pub format: FrameFormat,
}

/// A share as people write it: `.5`, `50%`.
fn share(text: &str) -> Result<f64, String> {
    let (digits, scale) = text.strip_suffix('%').map_or((text, 1.0), |t| (t.trim_end(), 100.0));
    let number: f64 = digits.parse().map_err(|_| "a share such as .5 or 50%".to_owned())?;
    if number.is_finite() { Ok(number / scale) } else { Err("a share such as .5 or 50%".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(bytes("1000"), Ok(1000));
        assert_eq!(bytes("500M"), Ok(500 << 20));
        assert_eq!(bytes("1.5g"), Ok(3 << 29));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        for wrong in ["", "G", "-1", "0", "inf", "2 apples", "1e400"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
