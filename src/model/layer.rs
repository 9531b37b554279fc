//! A layer: one weight tensor seen as the matrix that compression works on.

use super::{Coded, DType, Inputs, Tensor, TensorId};
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;

/// Position of a layer in [`super::Model::layers`]; module order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayerId(pub usize);

/// What a weight does in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Token, patch or type embedding.
    Embedding,
    /// Learned positions.
    Position,
    /// Attention query.
    Query,
    /// Attention key.
    Key,
    /// Attention value.
    Value,
    /// Query, key and value stored as one matrix.
    QueryKeyValue,
    /// Key and value stored as one matrix.
    KeyValue,
    /// Attention output.
    Output,
    /// Gate of a gated feed-forward part.
    Gate,
    /// Gate and up stored as one matrix.
    GateUp,
    /// First (widening) matrix of a feed-forward part.
    Up,
    /// Second (narrowing) matrix of a feed-forward part.
    Down,
    /// Router of a mixture of experts.
    Router,
    /// Convolution.
    Convolution,
    /// Input projection of a state-space model.
    SsmIn,
    /// Convolution along time of a state-space model, one filter a channel.
    SsmConv,
    /// Projection to a state-space model's step, input and output matrices.
    SsmX,
    /// Projection to a state-space model's step.
    SsmDt,
    /// Output projection of a state-space model.
    SsmOut,
    /// A projection of RWKV's time mixing.
    TimeMix,
    /// A projection of RWKV's channel mixing.
    ChannelMix,
    /// A recurrent layer's matrix.
    Recurrent,
    /// Normalisation gain (and its statistics).
    Norm,
    /// Language-model or classification head.
    Head,
    /// Fully connected layer outside the patterns above.
    Dense,
    /// Anything else.
    Other,
}

impl Role {
    /// The word used in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Position => "position",
            Self::Query => "query",
            Self::Key => "key",
            Self::Value => "value",
            Self::QueryKeyValue => "query_key_value",
            Self::KeyValue => "key_value",
            Self::Output => "output",
            Self::Gate => "gate",
            Self::GateUp => "gate_up",
            Self::Up => "up",
            Self::Down => "down",
            Self::Router => "router",
            Self::Convolution => "convolution",
            Self::SsmIn => "ssm_in",
            Self::SsmConv => "ssm_conv",
            Self::SsmX => "ssm_x",
            Self::SsmDt => "ssm_dt",
            Self::SsmOut => "ssm_out",
            Self::TimeMix => "time_mix",
            Self::ChannelMix => "channel_mix",
            Self::Recurrent => "recurrent",
            Self::Norm => "norm",
            Self::Head => "head",
            Self::Dense => "dense",
            Self::Other => "other",
        }
    }
    /// At most five letters for table heads.
    pub fn short(self) -> &'static str {
        match self {
            Self::Embedding => "embed",
            Self::Position => "pos",
            Self::Query => "q",
            Self::Key => "k",
            Self::Value => "v",
            Self::QueryKeyValue => "qkv",
            Self::KeyValue => "kv",
            Self::Output => "o",
            Self::Gate => "gate",
            Self::GateUp => "g+up",
            Self::Up => "up",
            Self::Down => "down",
            Self::Router => "route",
            Self::Convolution => "conv",
            Self::SsmIn => "s_in",
            Self::SsmConv => "s_cnv",
            Self::SsmX => "s_x",
            Self::SsmDt => "s_dt",
            Self::SsmOut => "s_out",
            Self::TimeMix => "time",
            Self::ChannelMix => "chan",
            Self::Recurrent => "recur",
            Self::Norm => "norm",
            Self::Head => "head",
            Self::Dense => "dense",
            Self::Other => "other",
        }
    }
}

/// What operation the weight belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// y = W x.
    Linear,
    /// One-dimensional convolution.
    Conv1d,
    /// Two-dimensional convolution.
    Conv2d,
    /// A convolution over more than two axes.
    Conv3d,
    /// Table look-up.
    Embedding,
    /// Gain of a normalisation.
    Norm,
    /// Matrix of a recurrent cell.
    Recurrent,
    /// Factors of a change of a weight that is not in the checkpoint.
    Adapter,
    /// Anything else.
    Other,
}

impl Kind {
    /// The word used in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Conv1d => "conv1d",
            Self::Conv2d => "conv2d",
            Self::Conv3d => "conv3d",
            Self::Embedding => "embedding",
            Self::Norm => "norm",
            Self::Recurrent => "recurrent",
            Self::Adapter => "adapter",
            Self::Other => "other",
        }
    }
    /// Whether the weight is a convolution kernel.
    pub fn is_conv(self) -> bool {
        matches!(self, Self::Conv1d | Self::Conv2d | Self::Conv3d)
    }
}

/// How the stored axes map to the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Orientation {
    /// Stored `[out_features, in_features, …]`, as `PyTorch`'s `Linear` and convolutions are.
    #[serde(rename = "out,in")]
    OutIn,
    /// Stored `[in_features, out_features]`, as GPT-2's `Conv1D` is; transposed when decoded.
    #[serde(rename = "in,out")]
    InOut,
}

/// Geometry of a convolution, where config.json gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Output height and width.
    pub output: [usize; 2],
    /// Input height and width.
    pub input: [usize; 2],
    /// Stride along height and width.
    pub stride: [usize; 2],
    /// Padding on each side.
    pub padding: [usize; 2],
    /// Dilation.
    pub dilation: [usize; 2],
    /// Groups.
    pub groups: usize,
    /// Whether the padding wraps around.
    pub circular: bool,
}

/// One weight tensor with its meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Position in module order.
    pub id: LayerId,
    /// Module name: the tensor's without `.weight`.
    pub name: String,
    /// The module as the file names it, where that differs from `name`; see [`Layer::stored`].
    pub stored: Option<Box<str>>,
    /// Last parts of the name that tell it apart within its block, such as `q_proj`.
    pub label: String,
    /// The weight; for a tied copy that is not stored, the tensor it shares.
    pub tensor: TensorId,
    /// The bias, when stored.
    pub bias: Option<TensorId>,
    /// Block number, when the name holds one.
    pub block: Option<usize>,
    /// Role in the block.
    pub role: Role,
    /// Kind of operation.
    pub kind: Kind,
    /// Axis order in the file.
    pub orientation: Orientation,
    /// Shape as stored.
    pub shape: Vec<usize>,
    /// `[rows, columns]` of the matrix view, `out_features` × `in_features`; a convolution is o × (i·kh·kw).
    pub matrix: [usize; 2],
    /// Element type.
    pub dtype: DType,
    /// Parameters of the weight; 0 for a tied copy.
    pub params: u64,
    /// Parameters stored with it (bias, batch-norm shift), never compressed.
    pub extra_params: u64,
    /// Bytes of the weight; 0 for a tied copy.
    pub bytes: u64,
    /// Multiply-accumulates per token (per example for images), dense; `None` where the geometry is unknown.
    pub macs: Option<u64>,
    /// How often each weight is used per token: 1 for a linear layer, output positions for a convolution.
    pub uses: Option<u64>,
    /// How it is stored where that is not one plain matrix, and the tensors that belong to it.
    pub coded: Option<Arc<Coded>>,
    /// Groups of a convolution; 1 for all else, `None` where they are not known.
    pub groups: Option<usize>,
    /// Whether it was asked for by name: see [`Self::by_name_only`].
    pub asked: bool,
    /// `[k, E]`: one of E experts, of which a token uses k.
    pub chosen: Option<[u64; 2]>,
    /// Convolution geometry, when known.
    pub conv: Option<ConvGeometry>,
    /// The layer that this one shares its tensor with and that counts it.
    pub tied_to: Option<LayerId>,
    /// The gain of the batch normalisation that follows a convolution, where there is one.
    pub norm: Option<TensorId>,
    /// Its numbers, one for each output; read when the checkpoint is opened.
    pub gains: Option<Arc<[f32]>>,
    /// What a calibration pass saw at its input, where a file of it was opened.
    pub inputs: Option<Arc<Inputs>>,
    /// Why it cannot be compressed; `None` when it can.
    pub why_not: Option<String>,
}

impl Layer {
    /// Whether the plan may treat it.
    pub fn eligible(&self) -> bool {
        self.why_not.is_none()
    }
    /// Whether it is treated only where it is asked for by name: routers decide which expert runs, and a small change
    /// of theirs changes which. Budgets and settings for all layers leave them as they are.
    pub fn by_name_only(&self) -> bool {
        self.role == Role::Router && !self.asked
    }
    /// Whether settings of bits for all layers leave it as it is: heads, and weights stored inputs first, which the
    /// common quantised formats do not hold.
    pub fn keeps_bits(&self) -> bool {
        self.role == Role::Head || self.orientation == Orientation::InOut
    }
    /// Whether it can be measured as a matrix: one plain floating-point tensor of two or more axes, not empty, that
    /// multiplies or is looked up.
    pub fn measurable(&self) -> bool {
        self.dtype.is_float()
            && self.coded.is_none()
            && self.shape.len() >= 2
            && !matches!(self.kind, Kind::Other | Kind::Norm)
            && self.matrix.iter().all(|&e| e > 0)
    }
    /// The element type, or what it is stored as in words: `GPTQ int4 g128`.
    pub fn stored_as(&self) -> Cow<'static, str> {
        match &self.coded {
            Some(coded) if coded.quantised() => Cow::Owned(coded.words.clone()),
            _ => Cow::Borrowed(self.dtype.name()),
        }
    }
    /// Bits of a weight with everything that belongs to it counted.
    pub fn bits_per_weight(&self) -> f64 {
        if self.params == 0 { self.dtype.bits() as f64 } else { self.bytes as f64 * 8.0 / self.params as f64 }
    }
    /// All tensors of its weight, the one that holds the codes first.
    pub fn parts(&self) -> &[TensorId] {
        self.coded.as_ref().map_or(std::slice::from_ref(&self.tensor), |c| &c.parts)
    }
    /// Multiply-accumulates per token of so many per use: a chosen expert counts with its share.
    pub fn work(&self, whole: u64) -> u64 {
        self.chosen.map_or(whole, |[few, all]| (u128::from(whole) * u128::from(few) / u128::from(all.max(1))) as u64)
    }
    /// A tensor as a layer outputs first, with nothing known of what it does.
    pub fn of_tensor(name: &str, id: TensorId, tensor: &Tensor) -> Self {
        let matrix = match tensor.shape.as_slice() {
            [] => [0, 0],
            [n] => [1, *n],
            [out, rest @ ..] => [*out, rest.iter().product()],
        };
        Self {
            id: LayerId(0),
            name: name.to_owned(),
            stored: Some(tensor.name.strip_suffix(".weight").unwrap_or(&tensor.name))
                .filter(|stored| *stored != name)
                .map(Into::into),
            label: name.to_owned(),
            tensor: id,
            bias: None,
            block: None,
            role: Role::Other,
            kind: Kind::Linear,
            orientation: Orientation::OutIn,
            shape: tensor.shape.clone(),
            matrix,
            dtype: tensor.dtype,
            params: tensor.len() as u64,
            extra_params: 0,
            bytes: tensor.bytes() as u64,
            macs: None,
            uses: None,
            coded: None,
            groups: Some(1),
            asked: false,
            chosen: None,
            conv: None,
            tied_to: None,
            norm: None,
            gains: None,
            inputs: None,
            why_not: None,
        }
    }
    /// The module as the file names it, with the wrappers of training tools: a written tensor is named after it.
    pub fn stored(&self) -> &str {
        self.stored.as_deref().unwrap_or(&self.name)
    }
    /// Rows of the matrix view (`out_features`).
    pub fn rows(&self) -> usize {
        self.matrix[0]
    }
    /// Columns of the matrix view (`in_features`).
    pub fn cols(&self) -> usize {
        self.matrix[1]
    }
    /// Columns of the matrix view that belong to one input: 1, or the kernel's taps of an input channel.
    pub fn input_columns(&self) -> usize {
        if self.kind.is_conv() { self.shape.iter().skip(2).product::<usize>().max(1) } else { 1 }
    }
    /// The largest possible rank, `min(rows, columns)`.
    pub fn full_rank(&self) -> usize {
        self.rows().min(self.cols())
    }
    /// ⌊mn/(m+n)⌋: at or above this rank two factors hold no fewer parameters than the matrix.
    pub fn break_even_rank(&self) -> usize {
        let (m, n) = (self.rows(), self.cols());
        if m + n == 0 { 0 } else { ((m as u128 * n as u128) / (m + n) as u128) as usize }
    }
    /// Bytes of one stored element.
    pub fn element_bytes(&self) -> f64 {
        self.dtype.bits() as f64 / 8.0
    }
}

#[cfg(test)]
impl Layer {
    /// A layer of its own, stored as `f32`, its shape outputs first.
    pub fn alone(kind: Kind, shape: &[usize]) -> Self {
        let entries: usize = shape.iter().product();
        let tensor = Tensor {
            name: "fc.weight".into(),
            dtype: DType::F32,
            shape: shape.to_vec(),
            file: 0,
            range: 0..entries * 4,
        };
        Self { role: Role::Dense, kind, macs: Some(entries as u64), uses: Some(1), ..Self::of_tensor("fc", 0, &tensor) }
    }
}
