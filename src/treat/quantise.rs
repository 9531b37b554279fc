//! What-if quantisation: entries rounded to the nearest of a few evenly spaced levels, symmetric about zero.

use crate::model::{Layer, Matrix};
use crate::numerics::{KeepGoing, Stopped, interrupt::check};
use serde::{Deserialize, Serialize};

/// Which entries share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Granularity {
    /// All of the tensor.
    Tensor,
    /// Those of a row (an output feature).
    #[default]
    Row,
    /// So many consecutive ones of a row; the last group of a row may be smaller.
    Group(usize),
}

/// Sizes of groups that are measured.
pub const GROUPS: [usize; 3] = [32, 64, 128];

impl Granularity {
    /// Its name in plan files and on the command line.
    pub fn name(self) -> String {
        match self {
            Self::Tensor => "tensor".to_owned(),
            Self::Row => "row".to_owned(),
            Self::Group(g) => format!("group:{g}"),
        }
    }
    /// In words.
    pub fn describe(self) -> String {
        match self {
            Self::Tensor => "one for the whole tensor".to_owned(),
            Self::Row => "one a row".to_owned(),
            Self::Group(g) => format!("one for every {g} entries of a row"),
        }
    }
    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "tensor" => Some(Self::Tensor),
            "row" => Some(Self::Row),
            _ => name.strip_prefix("group:")?.parse().ok().filter(|g| GROUPS.contains(g)).map(Self::Group),
        }
    }
    /// Scales that a matrix needs.
    pub fn scales(self, rows: usize, cols: usize) -> u64 {
        match self {
            Self::Tensor => 1,
            Self::Row => rows as u64,
            Self::Group(g) => rows as u64 * cols.div_ceil(g.max(1)) as u64,
        }
    }
}

/// Smallest and largest number of bits.
pub const BITS: std::ops::RangeInclusive<u8> = 2..=8;

/// Bits that a scale is counted with.
pub const SCALE_BITS: u64 = 16;

/// Rounding to so many bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Quantise {
    /// Bits of an entry, [`BITS`].
    pub bits: u8,
    /// Which entries share a scale.
    pub per: Granularity,
}

impl Quantise {
    /// In words for a title: `int4 row`, `int4 g64`.
    pub fn short(self) -> String {
        let per = match self.per {
            Granularity::Tensor => "tensor".to_owned(),
            Granularity::Row => "row".to_owned(),
            Granularity::Group(g) => format!("g{g}"),
        };
        format!("int{} {per}", self.bits)
    }
    /// Largest level: 2^(bits−1) − 1.
    pub fn top(self) -> f32 {
        f32::from((1u16 << (self.bits.clamp(2, 8) - 1)) - 1)
    }
    /// Bytes of so many entries of a matrix and of its scales.
    pub fn bytes(self, entries: u64, rows: usize, cols: usize) -> u64 {
        (entries * u64::from(self.bits)).div_ceil(8) + self.per.scales(rows, cols) * SCALE_BITS / 8
    }
}

/// Rounds every entry: `s · round(w/s)`, s = max|w| / (2^(bits−1) − 1) over those that share a scale, ties to even. Zeros
/// stay zeros.
pub fn quantise(matrix: &mut Matrix, how: Quantise, keep_going: KeepGoing<'_>) -> Result<(), Stopped> {
    let cols = matrix.cols.max(1);
    let whole = matrix.data.len().max(1);
    let (span, width) = match how.per {
        Granularity::Tensor => (whole, whole),
        Granularity::Row => (cols, cols),
        Granularity::Group(g) => (cols, g.clamp(1, cols)),
    };
    for (i, row) in matrix.data.chunks_mut(span).enumerate() {
        if (i * span) % (1 << 18) < span {
            check(keep_going)?;
        }
        for group in row.chunks_mut(width) {
            round(group, how.top());
        }
    }
    Ok(())
}

fn round(group: &mut [f32], top: f32) {
    let largest = group.iter().fold(0f32, |m, w| m.max(w.abs()));
    let scale = largest / top;
    if scale == 0.0 || !scale.is_finite() {
        return;
    }
    for w in group {
        *w = (*w / scale).round_ties_even().clamp(-top, top) * scale;
    }
}

/// Bytes of a layer's entries when all are kept.
pub fn bytes(layer: &Layer, how: Quantise) -> u64 {
    how.bytes(layer.params, layer.rows(), layer.cols())
}
