//! Which scheme a group of codes and scales is, from the config first, then from names and shapes.

use super::pieces::Piece;
use super::{Coded, Found, Group, Names, Peek, QuantConfig, Scheme};
use crate::model::{DType, Tensor, TensorId};
use std::collections::BTreeMap;

/// What describes one layer.
struct Case<'a> {
    base: &'a str,
    group: &'a Group<'a>,
    names: &'a Names<'a>,
    config: &'a QuantConfig<'a>,
    peek: &'a dyn Peek,
}

/// A scheme with its words, the codes and the weight's shape.
struct Read {
    scheme: Scheme,
    words: String,
    codes: TensorId,
    matrix: Option<[usize; 2]>,
    params: u64,
}

/// The coded layer that a group is; `None` where its weight is plain, or is not there.
pub fn describe(base: &str, group: &Group, names: &Names, config: &QuantConfig, peek: &dyn Peek) -> Option<Found> {
    let case = Case { base, group, names, config, peek };
    let read = case.read()?;
    let coded = Coded { scheme: read.scheme, words: read.words, parts: group.parts(read.codes) };
    Some(Found { base: base.to_owned(), coded, matrix: read.matrix, params: read.params, adapter: false })
}

fn plain(dtype: DType) -> bool {
    matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16)
}

impl Case<'_> {
    fn tensor(&self, id: TensorId) -> &Tensor {
        &self.names.tensors[id]
    }
    fn shape(&self, id: TensorId) -> &[usize] {
        &self.tensor(id).shape
    }

    fn read(&self) -> Option<Read> {
        let own = self.group.pieces.iter().find(|p| p.2 == Piece::Codes).map(|p| p.1);
        let few = self.group.weight.filter(|&id| !plain(self.tensor(id).dtype));
        let scales = self.group.has(Piece::Scale) || self.group.has(Piece::Generic);
        let Some(codes) = own.or(few.filter(|_| scales)) else {
            // A plain weight with its scale beside it is quantised when it is loaded.
            let weight = self.group.weight?;
            let fake = self.group.pieces.iter().any(|p| p.2 == Piece::Scale && p.0.starts_with(".weight_scale"));
            let words = format!("{} with a scale of its quantisation", self.tensor(weight).dtype.name());
            return fake.then(|| self.whole(Scheme::Other, words, weight));
        };
        self.bits_and_bytes(codes)
            .or_else(|| self.qweight(codes))
            .or_else(|| self.packed(codes))
            .or_else(|| self.blocks(codes))
            .or_else(|| self.mlx(codes))
            .or_else(|| self.weight(codes))
            .or_else(|| Some(self.by_name(codes)))
    }

    /// Codes of one element each.
    fn whole(&self, scheme: Scheme, words: String, codes: TensorId) -> Read {
        let shape = self.shape(codes);
        let matrix = match shape {
            [out, inputs] => Some([*out, *inputs]),
            _ => None,
        };
        Read { scheme, words, codes, matrix, params: shape.iter().product::<usize>() as u64 }
    }

    /// `per` codes in each element along the last axis.
    fn along(&self, scheme: Scheme, words: String, codes: TensorId, per: usize) -> Read {
        let whole = self.whole(scheme, words, codes);
        let matrix = whole.matrix.map(|[m, n]| [m, n * per]);
        Read { matrix, params: whole.params * per as u64, ..whole }
    }

    /// LLM.int8 and the 4-bit types of bitsandbytes.
    fn bits_and_bytes(&self, codes: TensorId) -> Option<Read> {
        if self.group.any(&[".SCB"]).is_some() {
            return Some(self.whole(Scheme::BitsAndBytes8, "bitsandbytes int8".to_owned(), codes));
        }
        let state = self.group.pieces.iter().find(|p| p.0.contains("quant_state.bitsandbytes__"));
        if state.is_none() && self.group.get(".weight.absmax").is_none() {
            return None;
        }
        let kind = state.map_or("nf4", |p| p.0.rsplit("__").next().unwrap_or("nf4"));
        let stored = state.and_then(|p| self.peek.bytes(self.tensor(p.1)));
        let json = stored.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok());
        let axes = json.as_ref().and_then(|j| j.get("shape")?.as_array());
        let axes: Option<Vec<usize>> = axes.map(|l| l.iter().filter_map(|v| Some(v.as_u64()? as usize)).collect());
        let params = 2 * self.shape(codes).iter().product::<usize>() as u64;
        let matrix = match axes.as_deref() {
            Some([out, inputs]) => Some([*out, *inputs]),
            _ => None,
        };
        let params = matrix.map_or(params, |[m, n]| m as u64 * n as u64);
        Some(Read { scheme: Scheme::BitsAndBytes4, words: kind.to_uppercase(), codes, matrix, params })
    }

    /// GPTQ and AWQ, which use the same names: `quant_method` decides, then the shapes.
    fn qweight(&self, codes: TensorId) -> Option<Read> {
        self.group.any(&[".qweight", "_qweight"]).filter(|&id| id == codes)?;
        let scales = self.group.any(&[".scales", "_scales"]).map(|id| self.shape(id).to_vec())?;
        let (&[rows, cols], &[groups, wide]) = (self.shape(codes), scales.as_slice()) else { return None };
        let method = self.config.method().unwrap_or_default();
        // GEMV stores outputs first: a row of scales for each row of codes.
        let gemv = groups == rows && cols != wide;
        let awq = method.contains("awq") || (!method.contains("gptq") && cols != wide);
        let said = self.config.number(&["bits", "w_bit"]).filter(|b| (1..=16).contains(b)).map(|b| b as usize);
        let order = self.group.any(&[".g_idx", "_g_idx"]).map(|id| self.names.tensors[id].len());
        let (bits, matrix) = if awq && gemv {
            let bits = said.unwrap_or(4);
            (bits, [rows, cols * 32 / bits])
        } else if awq {
            let bits = said.or((32 * cols).checked_div(wide)).unwrap_or(4).max(1);
            (bits, [wide, rows])
        } else {
            let zeros = self.group.any(&[".qzeros", "_qzeros"]).and_then(|id| self.shape(id).last().copied());
            // `dynamic` gives other bits to single layers: what is stored counts.
            let stored = order.filter(|n| *n > 0).map(|n| 32 * rows / n);
            let stored = stored.or(zeros.map(|z| 32 * z / wide.max(1)));
            let bits = stored.or(said).filter(|b| (1..=16).contains(b)).unwrap_or(4);
            (bits, [wide, order.unwrap_or(rows * 32 / bits)])
        };
        let group = self.config.number(&["group_size", "q_group_size"]).filter(|g| *g > 0).map(|g| g as usize);
        let groups = if gemv { wide } else { groups };
        let group = group.unwrap_or_else(|| matrix[1].checked_div(groups).unwrap_or(0));
        let (scheme, name) = if awq { (Scheme::Awq, "AWQ") } else { (Scheme::Gptq, "GPTQ") };
        let words =
            if groups == 1 { format!("{name} int{bits} per channel") } else { format!("{name} int{bits} g{group}") };
        Some(Read { scheme, words, codes, matrix: Some(matrix), params: (matrix[0] * matrix[1]) as u64 })
    }

    /// `weight_packed` of compressed-tensors: integers, NVFP4 and MXFP4.
    fn packed(&self, codes: TensorId) -> Option<Read> {
        self.group.any(&[".weight_packed", "_packed"]).filter(|&id| id == codes)?;
        if self.tensor(codes).dtype == DType::U8 {
            let global = self.group.any(&[".weight_global_scale", "_global_scale"]).is_some();
            let (scheme, words) = if global { (Scheme::Nvfp4, "NVFP4") } else { (Scheme::Mxfp4, "MXFP4") };
            return Some(self.along(scheme, words.to_owned(), codes, 2));
        }
        let &[rows, words] = self.shape(codes) else { return None };
        let shape = self.group.any(&[".weight_shape", "_shape"]).and_then(|id| self.whole_numbers(id));
        let scale = self.group.any(&[".weight_scale", "_scale"]).map(|id| self.shape(id).to_vec());
        let groups = scale.as_ref().and_then(|s| s.get(1).copied()).unwrap_or(1);
        let said = self.config.group_number("num_bits").filter(|b| (1..=16).contains(b)).map(|b| b as usize);
        let known = match shape.as_deref() {
            Some([out, inputs]) if *out == rows && *inputs > 0 => Some(*inputs),
            _ => None,
        };
        let bits = known.map(|n| (1..=16).find(|b| n.div_ceil(32 / b) == words || (n * b).div_ceil(32) == words));
        let bits = bits.flatten().or(said).unwrap_or(4);
        let inputs = known.unwrap_or(words * (32 / bits));
        let group = self.config.group_number("group_size").filter(|g| *g > 0).map(|g| g as usize);
        let group = group.filter(|_| groups > 1).unwrap_or_else(|| inputs.div_ceil(groups.max(1)));
        let how = if groups > 1 { format!("g{group}") } else { "per channel".to_owned() };
        let (words, params) = (format!("packed int{bits} {how}"), (rows * inputs) as u64);
        Some(Read { scheme: Scheme::Packed, words, codes, matrix: Some([rows, inputs]), params })
    }

    /// MXFP4 of gpt-oss: `[E, rows, inputs / 32, 16]` bytes of two codes each.
    fn blocks(&self, codes: TensorId) -> Option<Read> {
        self.group.any(&["_blocks"]).filter(|&id| id == codes)?;
        let params = 2 * self.shape(codes).iter().product::<usize>() as u64;
        let (matrix, words) = match self.shape(codes) {
            [experts, rows, groups, bytes] => (Some([*rows, groups * bytes * 2]), format!("MXFP4, {experts} experts")),
            [rows, groups, bytes] => (Some([*rows, groups * bytes * 2]), "MXFP4".to_owned()),
            _ => (None, "MXFP4".to_owned()),
        };
        Some(Read { scheme: Scheme::Mxfp4, words, codes, matrix, params })
    }

    /// MLX: words of codes, whose bits and group only the config tells.
    fn mlx(&self, codes: TensorId) -> Option<Read> {
        let scales = self.group.get(".scales").filter(|_| self.tensor(codes).dtype == DType::U32)?;
        let groups = *self.shape(scales).last()?;
        let outer: usize = self.shape(codes).split_last()?.1.iter().product();
        let Some((bits, group, mode)) = self.config.mlx(self.base) else {
            let words = "MLX codes of unknown bits (config.json has no quantization)".to_owned();
            return Some(Read {
                scheme: Scheme::Mlx,
                words,
                codes,
                matrix: None,
                params: self.tensor(codes).len() as u64,
            });
        };
        let inputs = groups * group as usize;
        let words = if mode == "affine" { format!("MLX int{bits} g{group}") } else { format!("MLX {mode} g{group}") };
        let matrix = match self.shape(codes) {
            [out, _] | [_, out, _] => Some([*out, inputs]),
            _ => None,
        };
        Some(Read { scheme: Scheme::Mlx, words, codes, matrix, params: (outer * inputs) as u64 })
    }

    /// `weight` itself holds the codes.
    fn weight(&self, codes: TensorId) -> Option<Read> {
        self.group.weight.filter(|&id| id == codes)?;
        let dtype = self.tensor(codes).dtype;
        let scale = self.group.pieces.iter().filter(|p| p.2 != Piece::Activation);
        let scale = scale.max_by_key(|p| self.tensor(p.1).len()).map(|p| p.1)?;
        let (of, kind) = (self.shape(scale), self.tensor(scale).dtype);
        let float8 = matches!(dtype, DType::F8E4M3 | DType::F8E5M2) || dtype.name().starts_with("F8_");
        let expert = self.config.fp4_experts() && self.base.contains("expert");
        Some(match dtype {
            DType::U8 | DType::I8 if self.group.any(&[".weight_scale_2", "_weight_scale_2", "_scale_2"]).is_some() => {
                self.along(Scheme::Nvfp4, "NVFP4".to_owned(), codes, 2)
            }
            DType::I8 if expert || kind.name() == "F8_E8M0" => self.along(Scheme::Mxfp4, "MXFP4".to_owned(), codes, 2),
            DType::U8 if kind == DType::U8 && of.last() != Some(&1) => {
                self.along(Scheme::Mxfp4, "MXFP4".to_owned(), codes, 2)
            }
            _ if dtype.name() == "F4" => self.whole(Scheme::Mxfp4, "FP4".to_owned(), codes),
            _ if float8 && (kind == DType::U8 || (kind.name() == "F8_E8M0" && self.mx(codes, of))) => {
                self.whole(Scheme::Mxfp8, "MXFP8".to_owned(), codes)
            }
            _ if float8 => self.whole(Scheme::Fp8, format!("FP8 {}", self.shared(codes, of)), codes),
            DType::I8 => self.whole(Scheme::Integers, format!("int8 {}", self.shared(codes, of)), codes),
            _ => return None,
        })
    }

    /// Whether scales are of groups of 32 inputs.
    fn mx(&self, codes: TensorId, scale: &[usize]) -> bool {
        let shape = self.shape(codes);
        shape.len() == scale.len()
            && shape.first() == scale.first()
            && shape.last().zip(scale.last()).is_some_and(|(n, g)| n.div_ceil(32) == *g)
    }

    /// What shares a scale: `per tensor`, `per channel`, `blocks 128x128`, `g32`.
    fn shared(&self, codes: TensorId, scale: &[usize]) -> String {
        let shape = self.shape(codes);
        let [.., m, n] = *shape else { return "per tensor".to_owned() };
        match *scale {
            [] | [1] | [1, 1] => "per tensor".to_owned(),
            [.., a, 1] | [a] if a == m => "per channel".to_owned(),
            [.., a, g] if a == m && g > 1 => format!("g{}", n.div_ceil(g)),
            [.., 1, a] if shape.len() == 3 && a == n => "per channel".to_owned(),
            [.., a, b] => {
                let size = |extent: usize, count: usize| {
                    let power = (0..24).map(|p| 1usize << p).find(|s| extent.div_ceil(*s) == count);
                    power.unwrap_or(extent.div_ceil(count.max(1)))
                };
                let [r, c] = self.config.block().unwrap_or_else(|| [size(m, a), size(n, b)]);
                format!("blocks {r}x{c}")
            }
            _ => "per tensor".to_owned(),
        }
    }

    /// A tool that is known by the names it writes.
    fn by_name(&self, codes: TensorId) -> Read {
        let has = |s: &[&str]| {
            self.group.any(s).is_some() || self.group.pieces.iter().any(|p| s.iter().any(|w| p.0.contains(w)))
        };
        let name = match () {
            () if has(&[".W_q"]) => "HQQ",
            () if has(&[".q_weight"]) => "EXL2",
            () if has(&[".trellis"]) => "EXL3",
            () if has(&[".Qidxs"]) => "QuIP#",
            () if has(&[".codebooks"]) => "AQLM",
            () if has(&[".centroids"]) => "VPTQ",
            () if has(&["._data", ".weight._"]) => "Quanto",
            () if has(&["qdata", "int_data", "float8_data", "tensor_impl"]) => "torchao",
            () => "",
        };
        let tensor = self.tensor(codes);
        let own =
            matches!(tensor.dtype, DType::I8 | DType::F8E4M3 | DType::F8E5M2) && matches!(name, "Quanto" | "torchao");
        let words = match (name, self.config.method()) {
            ("", Some(method)) => format!("{method} codes of a layout that is not known"),
            ("", None) => "codes of a scheme that is not known".to_owned(),
            (name, _) if own => format!("{name} {}", if tensor.dtype == DType::I8 { "int8" } else { "FP8" }),
            (name, _) => name.to_owned(),
        };
        let whole = self.whole(Scheme::Other, words, codes);
        Read { matrix: whole.matrix.filter(|_| own), ..whole }
    }

    /// The entries of a small integer tensor.
    fn whole_numbers(&self, id: TensorId) -> Option<Vec<usize>> {
        let tensor = self.tensor(id);
        let bytes = self.peek.bytes(tensor).filter(|_| tensor.len() <= 8)?;
        let number = |b: &[u8]| -> Option<usize> {
            let mut wide = [0u8; 8];
            wide.get_mut(..b.len())?.copy_from_slice(b);
            usize::try_from(u64::from_le_bytes(wide)).ok().filter(|n| *n < 1 << 31)
        };
        match tensor.dtype {
            DType::I64 | DType::U64 => bytes.chunks_exact(8).map(number).collect(),
            DType::I32 | DType::U32 => bytes.chunks_exact(4).map(number).collect(),
            _ => None,
        }
    }
}

/// Where the config says that weights are quantised: modules without a plain weight that hold integers are codes of a
/// scheme that is not known, and all that stands beside them belongs to them.
pub fn unknown(names: &Names, config: &QuantConfig, taken: &[bool]) -> Vec<Found> {
    if !config.given() {
        return Vec::new();
    }
    let mut modules: BTreeMap<&str, Vec<TensorId>> = BTreeMap::new();
    for (id, name) in names.names.iter().enumerate().filter(|(id, _)| !taken[*id]) {
        let (module, last) = name.rsplit_once('.').unwrap_or(("", name));
        if last != "bias" && !crate::model::naming::is_buffer(name) {
            modules.entry(module).or_default().push(id);
        }
    }
    let mut out = Vec::new();
    for (module, mut parts) in modules {
        let codes = |&id: &TensorId| {
            let t = &names.tensors[id];
            !t.dtype.is_float() && t.dtype != DType::Bool && t.len() >= 4 && t.shape.len() >= 2
        };
        let own = |&id: &TensorId| names.names[id].ends_with(".weight") && plain(names.tensors[id].dtype);
        let Some(largest) = parts.iter().copied().filter(codes).max_by_key(|&id| names.tensors[id].bytes()) else {
            continue;
        };
        if module.is_empty() || parts.iter().any(own) {
            continue;
        }
        parts.sort_by_key(|&id| id != largest);
        let words = match config.method() {
            Some(method) => format!("{method} codes of a layout that is not known"),
            None => "codes of a scheme that is not known".to_owned(),
        };
        let params = names.tensors[largest].len() as u64;
        let coded = Coded { scheme: Scheme::Other, words, parts };
        out.push(Found { base: module.to_owned(), coded, matrix: None, params, adapter: false });
    }
    out
}
