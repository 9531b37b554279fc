//! Words of the commands that make plans and carry them out.

use super::InspectFormat;
use crate::evaluate::data::Wanted;
use crate::export::lint::TARGETS;
use crate::export::recipe::EXPORTERS;
use crate::plan::budget::ALLOCATORS;
use crate::plan::rule::{self, Chosen, RULES};
use crate::plan::{CRITERIA, Factors, Granularity, Pattern};
use crate::probe::rounding::GRANULARITIES;
use clap::builder::{PossibleValue, PossibleValuesParser};
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
    after_help = "Examples:\n  slimscope plan MODEL -o half.toml --budget .5 --allocator waterfill\n  slimscope plan MODEL -o ranks.toml --budget .6 --by rank --multiple 8 --pin '*lm_head=dense'\n  slimscope plan MODEL -o 24.toml --pattern 2:4 --layers '*.mlp.*'\n  slimscope plan MODEL -o int4.toml --bits 4 --bits-per group:64\n  slimscope plan MODEL --plan half.toml          what it amounts to\n  slimscope plan MODEL --replay LOG.jsonl -o mine.toml   the plan at the end of a session of the dashboard\n  slimscope plan MODEL --prune .5 --keep-rank .25 -o both.toml   low rank plus sparse\n\nWith --calibration the defaults are activation-aware: whitened factors, the criterion wanda, and budgets by errors of outputs."
)]
pub struct PlanArgs {
    /// The checkpoint
    pub model: PathBuf,
    /// Write the plan here, and say what it amounts to; - is standard output, for the plan alone
    #[arg(short, long, value_name = "PLAN.toml")]
    pub output: Option<PathBuf>,
    /// Remove this share of every layer; with a rank, of what the rank leaves out (low rank plus sparse)
    #[arg(long, value_name = "R", value_parser = share, allow_hyphen_values = true)]
    pub prune: Option<f64>,
    /// Keep this share of the full rank of every layer
    #[arg(long, value_name = "F", value_parser = share, allow_hyphen_values = true)]
    pub keep_rank: Option<f64>,
    /// Give each layer a rank by a rule, such as gd or 'energy 95%'
    #[arg(long, value_name = "RULE", value_parser = rank_rule, long_help = rank_rules())]
    pub rank_rule: Option<Chosen>,
    /// How a low-rank layer is factored [default: matrix; with --calibration whitened, where inputs are known]
    #[arg(long, value_name = "FORM", value_parser = factors())]
    pub factors: Option<String>,
    /// Keep this rank of every layer
    #[arg(long, value_name = "K")]
    pub rank: Option<usize>,
    /// Quantise the stored entries to 2–8 bits; can be combined with pruning or a rank
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u8).range(2..=8))]
    pub bits: Option<u8>,
    /// Which entries share a scale, such as row or group:64 [default: row]
    #[arg(long, value_name = "SCOPE", value_parser = scope, long_help = scopes())]
    pub bits_per: Option<Granularity>,
    /// Keep this share of the whole model
    #[arg(long, value_name = "F", value_parser = share, allow_hyphen_values = true)]
    pub budget: Option<f64>,
    /// What the budget counts
    #[arg(long, value_enum, default_value_t = Of::Params, requires = "budget")]
    pub of: Of,
    /// How the budget is spread over the layers
    #[arg(long, value_name = "NAME", default_value = "waterfill", value_parser = allocators(), requires = "budget")]
    pub allocator: String,
    /// Compression method used to meet the budget [default: prune; with the allocator `measured` whatever loses least]
    #[arg(long, value_enum, requires = "budget")]
    pub by: Option<Treat>,
    /// Which errors a budget is spread by [default: weights; with --calibration outputs]
    #[arg(long, value_enum, requires = "budget")]
    pub errors: Option<Errors>,
    /// Pattern of pruning: unstructured, per-row, N:M, row, column or block:RxC [default: the criterion's own; for
    /// magnitude unstructured]
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub pattern: Option<(Pattern, Option<f64>)>,
    /// Pruning criterion [default: magnitude; with --calibration wanda, where it applies]
    #[arg(long, value_name = "NAME", value_parser = criteria())]
    pub criterion: Option<String>,
    /// With a budget every layer keeps at least this share of itself
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = share, requires = "budget")]
    pub floor: f64,
    /// With a budget every layer keeps at most this share of itself
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = share, requires = "budget")]
    pub ceiling: f64,
    /// With a budget these share a setting within a block; tied layers always do
    #[arg(long, value_enum, value_delimiter = ',', requires = "budget")]
    pub group: Vec<Group>,
    /// With a budget of ranks: ranks are multiples of this number [default: 1]
    #[arg(long, value_name = "N", requires = "budget")]
    pub multiple: Option<usize>,
    /// Only layers whose name matches; the others stay as they are; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub layers: Vec<String>,
    /// Keep matching layers dense, whatever the other options set; may be repeated
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
    /// Calibration file from `slimscope calibrate`: makes the defaults activation-aware and shows errors of outputs
    #[arg(long, value_name = "FILE")]
    pub calibration: Option<PathBuf>,
    /// With the allocator `measured`: how long plans are tried out, such as 30s, 10m, 1h [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = time, requires = "budget")]
    pub time: Option<Duration>,
    /// On what plans are tried out.
    #[command(flatten)]
    pub measuring: Measuring,
}

impl PlanArgs {
    /// The pattern asked for and the share that its name says, or `open` where none was.
    pub fn pattern_or(&self, open: Pattern) -> (Pattern, Option<f64>) {
        self.pattern.unwrap_or((open, None))
    }
    /// The form of factors asked for.
    pub fn form(&self) -> Option<Factors> {
        self.factors.as_deref().and_then(Factors::parse)
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

/// Names with a line on each, for help and errors: the registry is the one list there is.
fn named(names: impl Iterator<Item = (&'static str, String)>) -> PossibleValuesParser {
    names.map(|(name, words)| PossibleValue::new(name).help(words)).collect::<Vec<_>>().into()
}

fn criteria() -> PossibleValuesParser {
    named(CRITERIA.iter().map(|w| (w.name, w.words.to_owned())))
}

fn allocators() -> PossibleValuesParser {
    named(ALLOCATORS.iter().map(|a| (a.name, a.words.to_owned())))
}

fn factors() -> PossibleValuesParser {
    named(Factors::ALL.into_iter().map(|f| (f.name(), f.meaning().to_owned())))
}

fn scopes() -> String {
    let scopes: Vec<String> = GRANULARITIES.iter().map(|g| format!("  {}: {}", g.name(), g.describe())).collect();
    format!("Which entries share a scale [default: row]\n\n{}", scopes.join("\n"))
}

fn scope(text: &str) -> Result<Granularity, String> {
    let known = || GRANULARITIES.map(Granularity::name).join(", ");
    Granularity::parse(text).ok_or_else(|| format!("not one of {}", known()))
}

fn formats() -> PossibleValuesParser {
    named(EXPORTERS.iter().map(|e| (e.name, e.words.to_owned())))
}

fn targets() -> PossibleValuesParser {
    named(TARGETS.iter().map(|t| (t.1, t.0.word().to_owned())))
}

/// The rules for ranks, one a line.
fn rank_rules() -> String {
    let rules: Vec<String> = RULES.iter().map(|r| format!("  {}: {}", r.name, r.words)).collect();
    format!("Give each layer a rank by a rule; some take a share, as in 'energy 95%'\n\n{}", rules.join("\n"))
}

fn rank_rule(text: &str) -> Result<Chosen, String> {
    let known = || RULES.iter().map(|r| format!("\n  {}: {}", r.name, r.words)).collect::<Vec<_>>().concat();
    rule::parse(text).unwrap_or_else(|| Err(format!("not one of{}", known())))
}

/// A pattern, with the share that its name says.
fn pattern(text: &str) -> Result<(Pattern, Option<f64>), String> {
    Pattern::parse(text).ok_or_else(|| "unstructured, per-row, N:M, row, column or block:RxC".to_owned())
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
    after_help = "Examples:\n  slimscope export half.toml MODEL --to llm-compressor -o recipe.yaml\n  slimscope export half.toml MODEL --lint --target vllm       only what is to be said\n\n--help lists every format and target with a line on each."
)]
pub struct ExportArgs {
    /// The plan
    #[arg(value_name = "PLAN.toml")]
    pub plan: PathBuf,
    /// The checkpoint
    pub model: PathBuf,
    /// The format
    #[arg(long, value_name = "NAME", value_parser = formats())]
    pub to: Option<String>,
    /// Write the file here; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Only say what the target will not do with the plan; write nothing
    #[arg(long, conflicts_with_all = ["to", "output"])]
    pub lint: bool,
    /// Where the compressed model is to run [default: any, or the runtime that reads the format]
    #[arg(long, value_name = "NAME", value_parser = targets())]
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
