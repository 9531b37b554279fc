//! The words on the command line.

mod calibrate;
mod plan;
mod run;

pub use calibrate::CalibrateArgs;
pub use plan::{ApplyArgs, Errors, ExportArgs, Form, Group, Measuring, Of, PlanArgs, Treat};
pub use run::{Begins, EvaluateArgs};

use crate::report::figures::{self, Figure};
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
    /// Open with what `slimscope calibrate` saw at the layers' inputs
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// Measure quality on this text or these labelled images [default: eval.safetensors beside the model]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
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
    /// Measures quality: bits per byte of text, accuracy on images
    Evaluate(Box<EvaluateArgs>),
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
    /// Compute and print nothing but this figure, a field of the JSON object; may be repeated. With --sketch singular
    /// values are estimated. Figures: zero_fraction, frobenius_norm, spectral_norm, spectral_norm_certified, nuclear_norm,
    /// l12_nuclear_norm, stable_rank, effective_rank, condition_number, numerical_rank, rank_for_energy, power_law,
    /// marchenko_pastur, magnitude, prune_error, pq_index, nm_error, lipschitz, singular_values
    #[arg(long, value_name = "NAME", value_parser = figure)]
    pub only: Vec<&'static Figure>,
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

/// A figure by its name.
fn figure(name: &str) -> Result<&'static Figure, String> {
    figures::find(name).ok_or_else(|| format!("no such figure; there are {}", figures::names()))
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
#[command(
    after_help = "Example:\n  slimscope frame model.safetensors --size 120x40 --keys '2 <tab> L L j'\n\nWith --log the keys become the log of a session, which --replay, also of the dashboard and of `plan`, takes up."
)]
pub struct Frame {
    /// The checkpoint; without it the bundled sample
    pub model: Option<PathBuf>,
    /// With this plan
    #[arg(long, value_name = "PLAN.toml")]
    pub plan: Option<PathBuf>,
    /// Measure quality on this text or these labelled images [default: eval.safetensors beside the model]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// With what `slimscope calibrate` saw at the layers' inputs
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
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
    /// Keys, separated by blanks: characters, or <enter> <esc> <tab> <up> <c-r> …; <rest> waits for what is being measured
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub keys: String,
    /// Form of the result
    #[arg(long, value_enum, default_value_t = FrameFormat::Text)]
    pub format: FrameFormat,
}

#[cfg(test)]
mod tests {
    use super::{bytes, figure, figures};
    use clap::CommandFactory;

    #[test]
    fn help_lists_every_figure_and_an_unknown_one_is_an_error_that_lists_them() {
        let mut command = super::Cli::command();
        let measure = command.find_subcommand_mut("measure").unwrap();
        let help: String = measure.render_long_help().to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        for known in figures::FIGURES {
            assert!(help.contains(known.name), "{}", known.name);
            assert_eq!(figure(known.name).unwrap().name, known.name);
        }
        assert!(figure("norm").unwrap_err().contains("spectral_norm, spectral_norm_certified, nuclear_norm"));
    }

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
