//! From config.json to steps; a type or an option that is not known is named.

use super::{Activation, Direction, Grid, Sequential, Step};
use crate::evaluate::network::reader::Reader;
use serde_json::Value;

impl Sequential {
    /// Reads the list.
    pub fn read(reader: &mut Reader) -> Result<Self, String> {
        let shape = reader.entry("input").and_then(|i| i.get("shape")).and_then(Value::as_array);
        let input: Option<Vec<usize>> =
            shape.and_then(|s| s.iter().map(|e| e.as_u64().filter(|e| *e > 0).map(|e| e as usize)).collect());
        let input = input.filter(|s| !s.is_empty()).ok_or("config.json does not say the shape of its input")?;
        let list = reader.entry("layers").and_then(Value::as_array).ok_or("config.json has no list of layers")?;
        Ok(Self { input, steps: steps(reader, list)? })
    }
}

fn steps(reader: &mut Reader, list: &[Value]) -> Result<Vec<Step>, String> {
    list.iter().map(|value| step(reader, &Entry::new(value)?)).collect()
}

/// One entry of the list.
struct Entry<'a> {
    value: &'a Value,
    kind: &'a str,
}

fn step(reader: &mut Reader, entry: &Entry) -> Result<Step, String> {
    let pointwise = |activation| Ok(Step::Pointwise(activation));
    match entry.kind {
        "linear" => {
            let module = entry.module()?;
            let shape = reader.shape(entry.weight()?)?;
            let &[rows, columns] = shape else { return Err(format!("{module} has shape {shape:?}, not a matrix")) };
            let bias = entry.optional(reader, "bias", &[rows])?;
            Ok(Step::Linear { layer: reader.site_with(module, rows, columns, bias)?, inputs: columns })
        }
        "conv2d" => convolution(reader, entry),
        "batch_norm" => {
            let name = entry.word("running_mean")?;
            let shape = reader.shape(name)?.to_vec();
            Ok(Step::BatchNorm {
                mean: reader.tensor(name, &shape)?,
                variance: reader.tensor(entry.word("running_var")?, &shape)?,
                gain: entry.optional(reader, "weight", &shape)?,
                shift: entry.optional(reader, "bias", &shape)?,
                eps: entry.number("eps", 1e-5)?,
            })
        }
        "max_pool2d" => Ok(Step::MaxPool(pool(entry)?)),
        "avg_pool2d" => {
            let padding_counts = entry.get("count_include_pad").and_then(Value::as_bool).unwrap_or(true);
            Ok(Step::AveragePool { grid: pool(entry)?, padding_counts })
        }
        "global_avg_pool2d" => Ok(Step::GlobalAverage),
        "flatten" => Ok(Step::Flatten),
        "relu" => pointwise(Activation::Relu),
        "leaky_relu" => pointwise(Activation::LeakyRelu(entry.number("negative_slope", 0.01)?)),
        "gelu" => match entry.get("approximate").and_then(Value::as_str).unwrap_or("none") {
            "none" => pointwise(Activation::Gelu),
            "tanh" => pointwise(Activation::GeluTanh),
            other => Err(format!("gelu with approximate: {other} is not known")),
        },
        "silu" => pointwise(Activation::Silu),
        "tanh" => pointwise(Activation::Tanh),
        "sigmoid" => pointwise(Activation::Sigmoid),
        "softplus" => match (entry.number("beta", 1.0)?, entry.number("threshold", 20.0)?) {
            // Above the threshold PyTorch takes x itself, which in f32 is the same from 17 on.
            (beta, threshold) if beta == 1.0 && threshold >= 17.0 => pointwise(Activation::Softplus),
            _ => Err("softplus with another beta or a low threshold is not known".to_owned()),
        },
        "maxmin" => Ok(Step::MaxMin),
        "groupsort" => Ok(Step::GroupSort(entry.whole("group_size")?.ok_or("groupsort does not say group_size")?)),
        "householder" => householder(reader, entry).map(Step::Householder),
        "layer_norm" | "rms_norm" => {
            let name = entry.weight()?;
            let shape = reader.shape(name)?.to_vec();
            let [_] = shape.as_slice() else {
                return Err(format!("{name} has shape {shape:?}: only one axis is known"));
            };
            let gain = reader.tensor(name, &shape)?;
            if entry.kind == "rms_norm" {
                return Ok(Step::RmsNorm { gain, eps: entry.number("eps", f64::from(f32::EPSILON))? });
            }
            let shift = entry.optional(reader, "bias", &shape)?;
            Ok(Step::LayerNorm { gain, shift, eps: entry.number("eps", 1e-5)? })
        }
        "residual" => {
            let body = entry.get("layers").and_then(Value::as_array).ok_or("a residual without a list of layers")?;
            Ok(Step::Residual(steps(reader, body)?))
        }
        other => Err(format!("its layer type {other} is not known")),
    }
}

fn convolution(reader: &mut Reader, entry: &Entry) -> Result<Step, String> {
    let module = entry.module()?;
    let shape = reader.shape(entry.weight()?)?;
    let &[o, i, kh, kw] = shape else { return Err(format!("{module} has shape {shape:?}, not a convolution's")) };
    let circular = match entry.get("padding_mode").and_then(Value::as_str).unwrap_or("zeros") {
        "zeros" => false,
        "circular" => true,
        other => return Err(format!("{module}: the padding_mode {other} is not known")),
    };
    let groups = entry.whole("groups")?.unwrap_or(1);
    if o % groups != 0 {
        return Err(format!("{module}: {o} outputs are not {groups} equal groups"));
    }
    let grid = Grid {
        kernel: [kh, kw],
        stride: entry.moved("stride", [1, 1])?,
        padding: entry.pair("padding", [0, 0])?,
        dilation: entry.moved("dilation", [1, 1])?,
        circular,
    };
    let bias = entry.optional(reader, "bias", &[o])?;
    Ok(Step::Convolution { layer: reader.site_with(module, o, i * kh * kw, bias)?, grid, groups })
}

fn pool(entry: &Entry) -> Result<Grid, String> {
    if entry.get("ceil_mode").and_then(Value::as_bool) == Some(true) {
        return Err(format!("{} with ceil_mode is not known", entry.kind));
    }
    let kernel = entry.moved("kernel_size", [0, 0])?;
    Ok(Grid {
        kernel,
        stride: entry.moved("stride", kernel)?,
        padding: entry.pair("padding", [0, 0])?,
        dilation: entry.moved("dilation", [1, 1])?,
        circular: false,
    })
}

fn householder(reader: &mut Reader, entry: &Entry) -> Result<Direction, String> {
    match entry.get("vector") {
        Some(Value::String(name)) => {
            let shape = reader.shape(name)?.to_vec();
            let [_] = shape.as_slice() else { return Err(format!("{name} has shape {shape:?}, not a vector")) };
            reader.tensor(name, &shape).map(Direction::Stored)
        }
        Some(Value::Array(list)) if !list.is_empty() => {
            let numbers: Option<Vec<f32>> = list.iter().map(|n| n.as_f64().map(|n| n as f32)).collect();
            numbers.map(Direction::Given).ok_or_else(|| "householder: a vector that is no numbers".to_owned())
        }
        _ => Err("householder does not say its vector".to_owned()),
    }
}

impl<'a> Entry<'a> {
    fn new(value: &'a Value) -> Result<Self, String> {
        let kind = value.get("type").and_then(Value::as_str);
        Ok(Self { value, kind: kind.ok_or("config.json lists a layer without a type")? })
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.value.get(key).filter(|v| !v.is_null())
    }

    fn word(&self, key: &str) -> Result<&'a str, String> {
        self.get(key).and_then(Value::as_str).ok_or_else(|| format!("a {} does not say {key}", self.kind))
    }

    fn weight(&self) -> Result<&'a str, String> {
        self.word("weight")
    }

    fn module(&self) -> Result<&'a str, String> {
        self.weight().map(|w| w.strip_suffix(".weight").unwrap_or(w))
    }

    fn optional(&self, reader: &mut Reader, key: &str, shape: &[usize]) -> Result<Option<usize>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(_) => reader.tensor(self.word(key)?, shape).map(Some),
        }
    }

    fn number(&self, key: &str, default: f64) -> Result<f64, String> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| format!("{}: {key} is {value}, not a number", self.kind)),
        }
    }

    fn whole(&self, key: &str) -> Result<Option<usize>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(n) if n > 0 => Ok(Some(n as usize)),
                _ => Err(format!("{}: {key} is {value}, not a whole number above 0", self.kind)),
            },
        }
    }

    /// A number or a pair of numbers.
    fn pair(&self, key: &str, default: [usize; 2]) -> Result<[usize; 2], String> {
        let wrong = |value: &Value| format!("{}: {key} is {value}, neither a whole number nor two", self.kind);
        let Some(value) = self.get(key) else { return Ok(default) };
        let numbers = match value {
            Value::Array(list) => list.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>(),
            single => single.as_u64().map(|n| vec![n, n]),
        };
        match numbers.as_deref() {
            Some(&[a, b]) => Ok([a as usize, b as usize]),
            _ => Err(wrong(value)),
        }
    }

    /// The same where 0 makes no sense.
    fn moved(&self, key: &str, default: [usize; 2]) -> Result<[usize; 2], String> {
        match self.pair(key, default)? {
            [0, _] | [_, 0] => Err(format!("a {} without {key}, or one of 0", self.kind)),
            pair => Ok(pair),
        }
    }
}
