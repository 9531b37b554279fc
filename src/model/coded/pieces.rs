//! Names of the tensors that stand beside codes: scales, zero points, permutations, packed shapes.

use super::Names;

/// What a piece is to its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Codes under a name of their own.
    Codes,
    /// A scale, zero point or permutation under a name that nothing else has.
    Scale,
    /// The same under a name that ordinary weights have too.
    Generic,
    /// A scale of activations or of the key-value cache.
    Activation,
}

impl Piece {
    /// What it is where no coded layer takes it; `None` for an ordinary tensor.
    pub fn alone(self) -> Option<&'static str> {
        match self {
            Self::Generic => None,
            Self::Activation => Some("a scale of activations or of the key-value cache: not a weight"),
            Self::Scale | Self::Codes => Some("belongs to a quantised weight that is not in the checkpoint"),
        }
    }
}

/// Suffixes after a layer's name, the longest match counts.
const SUFFIXES: &[(Piece, &[&str])] = &[
    (
        Piece::Codes,
        &[
            ".qweight",
            ".weight_packed",
            ".W_q",
            ".q_weight",
            ".trellis",
            ".Qidxs",
            ".quantized_weight",
            "_blocks",
            "_packed",
            "_qweight",
            ".weight_int8",
            ".weight_int4",
            ".int_weight",
        ],
    ),
    (
        Piece::Scale,
        &[
            ".weight_scale_inv",
            ".weight_scale",
            ".weight_scales",
            ".weight_scale_2",
            ".weight_global_scale",
            ".weight_zero_point",
            ".weight_shape",
            ".weight_g_idx",
            ".g_idx",
            ".qzeros",
            ".scale_weight",
            ".SCB",
            ".weight_format",
            ".weight_zeros",
            ".q_invperm",
            ".q_perm",
            ".q_scale_max",
            ".q_groups",
            ".q_group_map",
            ".suh",
            ".svh",
            ".mcg",
            ".mul1",
            ".codebooks",
            ".Wscale",
            ".codebook_id",
            ".centroids",
            ".smooth_scale",
            ".weight_scale_cols",
            ".weight_quantizer._scale",
            ".weight_quantizer._amax",
            ".pre_quant_scale",
            "_scale_inv",
            "_scale",
            "_scale_2",
            "_scales",
            "_weight_scale",
            "_weight_scale_2",
            "_global_scale",
            "_weight_scale_inv",
            "_zero_point",
            "_shape",
            "_qzeros",
            "_g_idx",
            ".weight_scale_and_zero",
            ".scale_zero",
            ".scale_b",
            ".scale_w",
        ],
    ),
    (
        Piece::Generic,
        &[
            ".scale",
            ".scales",
            ".zero",
            ".zeros",
            ".biases",
            ".codes",
            ".indices",
            ".zero_point",
            ".scaling_factor",
            ".meta",
            ".W_q_meta",
            ".nbits",
            ".group_size",
            ".packing",
            ".axis",
            ".su",
            ".sv",
            ".SU",
            ".SV",
        ],
    ),
    (
        Piece::Activation,
        &[
            ".input_scale",
            ".input_scale_ub",
            ".input_global_scale",
            ".output_scale",
            ".k_scale",
            ".v_scale",
            ".q_scale",
            ".prob_scale",
            ".act_scale",
            ".scale_input",
            "_input_scale",
            "_input_global_scale",
            ".input_zero_point",
            ".output_zero_point",
            ".k_zero_point",
            ".v_zero_point",
            ".kv_scale",
            ".input_quantizer._amax",
            ".output_quantizer._amax",
            ".input_quantizer._pre_quant_scale",
            ".kv_cache_scale",
        ],
    ),
];

/// What follows `weight` in the names of bitsandbytes, Quanto and torchao.
const AFTER_WEIGHT: &[&str] = &[
    "absmax",
    "quant_map",
    "nested_absmax",
    "nested_quant_map",
    "quant_state",
    "_data",
    "_scale",
    "_shift",
    "_packed",
    "_zero",
    "_qdata",
    "qdata",
    "scale",
    "zero",
    "int_data",
    "packed_weight",
    "block_size",
    "float8_data",
    "data",
    "layout_tensor",
    "tensor_impl",
    "original_weight_tensor",
    "group_size",
    "per_tensor_scale",
];

/// The layer that a tensor stands beside, its suffix and what it is; `None` for an ordinary tensor.
pub fn piece<'a>(name: &'a str, names: &Names) -> Option<(&'a str, &'a str, Piece)> {
    if let Some(found) = after_weight(name) {
        return Some(found);
    }
    let fits = |suffix: &&str| {
        let base = name.strip_suffix(*suffix).filter(|base| !base.is_empty());
        // An underscore continues the name of a bare parameter, which must be there.
        base.is_some_and(|base| {
            suffix.starts_with('.')
                || *suffix == "_blocks" && names.get(&format!("{base}_scales")).is_some()
                || names.get(base).is_some()
                || ["_blocks", "_packed", "_qweight"].iter().any(|c| names.get(&format!("{base}{c}")).is_some())
        })
    };
    let all = SUFFIXES.iter().flat_map(|(piece, list)| list.iter().map(move |s| (*piece, *s)));
    let (piece, suffix) = all.filter(|(_, s)| fits(s)).max_by_key(|(_, s)| s.len())?;
    let at = name.len() - suffix.len();
    Some((&name[..at], &name[at..], piece))
}

fn after_weight(name: &str) -> Option<(&str, &str, Piece)> {
    let marks = [".weight.", ".weight:", "._weight_", "._weight:"];
    let (at, mark) = marks.iter().find_map(|m| name.find(m).map(|at| (at, *m)))?;
    let rest = &name[at + mark.len()..];
    let known = AFTER_WEIGHT.iter().any(|word| rest.starts_with(word));
    let piece = if rest.contains("data") || rest.starts_with("packed_weight") { Piece::Codes } else { Piece::Scale };
    known.then_some((&name[..at], &name[at..], piece))
}
