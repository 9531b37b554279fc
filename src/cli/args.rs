//! The words on the command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Explore in the terminal how far a neural network can be compressed, and what it costs.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  slimscope                      the bundled sample\n  slimscope model.safetensors    a checkpoint\n  slimscope org/name             a model of the local Hugging Face cache\n\nIn the dashboard ? lists the keys."
)]
pub struct Cli {
    /// A .safetensors file, a folder, or org/name of the local Hugging Face cache; without it the bundled sample
    pub model: Option<PathBuf>,
    /// Open with this plan (not built yet)
    #[arg(long, value_name = "PLAN.toml")]
    pub plan: Option<PathBuf>,
    /// Open with these activations (not built yet)
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
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
    /// Makes a plan (not built yet)
    Plan(Rest),
    /// Writes the compressed checkpoint of a plan (not built yet)
    Apply(Rest),
    /// Writes a plan in another tool's format (not built yet)
    Export(Rest),
    /// Measures activations (not built yet)
    Calibrate(Rest),
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
#[command(after_help = "Example:\n  slimscope frame model.safetensors --size 120x40 --keys '2 <tab> L L j'")]
pub struct Frame {
    /// The checkpoint; without it the bundled sample
    pub model: Option<PathBuf>,
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
