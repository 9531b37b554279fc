//! `config.json` of `"model_type": "sequential"`: a chain of layers with their geometry.

use super::layer::ConvGeometry;
use serde_json::Value;

/// One entry of the chain, as far as sizes need it.
#[derive(Debug, Clone, PartialEq)]
pub struct SeqLayer {
    /// `linear`, `conv2d`, `relu`, …
    pub kind: String,
    /// Module of the weight (its tensor without `.weight`), when it has one.
    pub module: Option<String>,
    /// Geometry, for `conv2d`.
    pub conv: Option<ConvGeometry>,
    /// Body of a `residual`.
    pub body: Vec<SeqLayer>,
}

/// A chain that starts from inputs of a known shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequential {
    /// Shape of one example: `[features]` or `[channels, height, width]`.
    pub input: Vec<usize>,
    /// The chain.
    pub layers: Vec<SeqLayer>,
    /// The type of the first layer that is not known, if any: geometry ends there.
    pub unknown: Option<String>,
}

/// Looks up height and width of a convolution's weight by the tensor's name.
pub type Kernel<'a> = &'a dyn Fn(&str) -> Option<[usize; 2]>;

/// Layers that keep the shape of what passes through them.
const SHAPE_KEEPING: &[&str] = &[
    "relu",
    "leaky_relu",
    "gelu",
    "silu",
    "tanh",
    "sigmoid",
    "softplus",
    "maxmin",
    "groupsort",
    "householder",
    "layer_norm",
    "rms_norm",
    "batch_norm",
    "flatten",
    "linear",
];

impl Sequential {
    /// Reads a config; `Ok(None)` for other model types, `Err` with a remark for one that cannot be followed.
    /// `kernel` tells height and width of a convolution's weight, which config.json does not repeat.
    pub fn from_config(config: &Value, kernel: Kernel) -> Result<Option<Self>, String> {
        if config.get("model_type").and_then(Value::as_str) != Some("sequential") {
            return Ok(None);
        }
        let list = config.get("layers").and_then(Value::as_array);
        let list = list.ok_or("config.json: \"sequential\" without a list of layers: no sizes of convolutions")?;
        let shape = config.pointer("/input/shape").and_then(Value::as_array);
        let input: Vec<usize> = shape.into_iter().flatten().filter_map(Value::as_u64).map(|e| e as usize).collect();
        let mut unknown = None;
        let mut at = match input.as_slice() {
            [.., h, w] if input.len() >= 3 => Some([*h, *w]),
            _ => None,
        };
        let layers = walk(list, kernel, &mut at, &mut unknown);
        Ok(Some(Self { input, layers, unknown }))
    }

    /// Modules with a weight, in the order in which they compute.
    pub fn weight_modules(&self) -> Vec<String> {
        self.flat().into_iter().filter_map(|l| l.module.clone()).collect()
    }

    /// Module of the last linear layer: the head.
    pub fn last_linear(&self) -> Option<String> {
        self.flat().into_iter().rfind(|l| l.kind == "linear").and_then(|l| l.module.clone())
    }

    /// Geometry of a convolution.
    pub fn geometry(&self, module: &str) -> Option<ConvGeometry> {
        self.flat().into_iter().find(|l| l.module.as_deref() == Some(module)).and_then(|l| l.conv)
    }

    /// Whether layers feed one into the next with nothing beside them.
    pub fn is_chain(&self) -> bool {
        self.unknown.is_none() && self.layers.iter().all(|l| l.kind != "residual")
    }

    fn flat(&self) -> Vec<&SeqLayer> {
        fn add<'a>(layers: &'a [SeqLayer], out: &mut Vec<&'a SeqLayer>) {
            for layer in layers {
                out.push(layer);
                add(&layer.body, out);
            }
        }
        let mut out = Vec::new();
        add(&self.layers, &mut out);
        out
    }
}

/// Why the product of the layers' norms does not bound the whole model; `None` when it does: a feed-forward chain of
/// linear maps, convolutions and activations that do not stretch.
pub fn why_no_product(model: &super::Model) -> Option<String> {
    let Some(config) = &model.config else { return Some("no config.json says how its layers are joined".to_owned()) };
    let sequential = match Sequential::from_config(config, &|_| None) {
        Ok(Some(sequential)) => sequential,
        Ok(None) => {
            let kind = model.architecture().unwrap_or("this architecture");
            return Some(format!("{kind} adds residual branches, attention or normalisation between its layers"));
        }
        Err(why) => return Some(why),
    };
    let still = |kind: &str| {
        matches!(
            kind,
            "linear"
                | "conv2d"
                | "relu"
                | "tanh"
                | "sigmoid"
                | "softplus"
                | "maxmin"
                | "groupsort"
                | "householder"
                | "flatten"
                | "global_avg_pool2d"
        )
    };
    let list = config.get("layers").and_then(Value::as_array);
    let stretches = |value: &Value| {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or("?");
        match kind {
            // Windows that overlap count an input more than once.
            "max_pool2d" | "avg_pool2d" => {
                let kernel = pair(value, "kernel_size", 2);
                let stride = if value.get("stride").is_some() { pair(value, "stride", 2) } else { kernel };
                stride[0] < kernel[0] || stride[1] < kernel[1]
            }
            "leaky_relu" => value.get("negative_slope").and_then(Value::as_f64).is_some_and(|s| s.abs() > 1.0),
            kind => !still(kind),
        }
    };
    if let Some(kind) = &sequential.unknown {
        return Some(format!("its layer type {kind} is not known"));
    }
    let first = list.into_iter().flatten().find(|v| stretches(v))?;
    Some(match first.get("type").and_then(Value::as_str).unwrap_or("?") {
        "batch_norm" => "batch normalisation between its layers rescales them".to_owned(),
        "residual" => "residual branches run beside its layers".to_owned(),
        kind => format!("{kind} between its layers may stretch distances"),
    })
}

/// Whether the product of the layers' norms bounds the whole model.
pub fn is_chain(model: &super::Model) -> bool {
    why_no_product(model).is_none()
}

/// Follows height and width through the chain; `None` once they are not known.
fn walk(list: &[Value], kernel: Kernel, at: &mut Option<[usize; 2]>, unknown: &mut Option<String>) -> Vec<SeqLayer> {
    let mut layers = Vec::new();
    for value in list {
        let kind = value.get("type").and_then(Value::as_str).unwrap_or("?").to_owned();
        let weight = value.get("weight").and_then(Value::as_str);
        let module = weight.map(|w| w.strip_suffix(".weight").unwrap_or(w).to_owned());
        let mut layer = SeqLayer { kind, module, conv: None, body: Vec::new() };
        match layer.kind.as_str() {
            "conv2d" => {
                layer.conv = at.and_then(|size| convolution(value, kernel(weight?)?, size));
                *at = layer.conv.map(|c| c.output);
            }
            "max_pool2d" | "avg_pool2d" => *at = at.and_then(|size| pool(value, size)),
            "global_avg_pool2d" => *at = Some([1, 1]),
            "residual" => {
                let body = value.get("layers").and_then(Value::as_array);
                layer.body = walk(body.map_or(&[][..], Vec::as_slice), kernel, at, unknown);
            }
            kind if SHAPE_KEEPING.contains(&kind) => {}
            kind => {
                unknown.get_or_insert_with(|| kind.to_owned());
                *at = None;
            }
        }
        layers.push(layer);
    }
    layers
}

/// A number or a pair of numbers.
fn pair(value: &Value, key: &str, default: usize) -> [usize; 2] {
    match value.get(key) {
        Some(Value::Array(list)) => {
            let at = |i: usize| list.get(i).and_then(Value::as_u64).map_or(default, |v| v as usize);
            [at(0), at(1)]
        }
        Some(v) => [v.as_u64().map_or(default, |v| v as usize); 2],
        None => [default; 2],
    }
}

fn convolution(value: &Value, kernel: [usize; 2], input: [usize; 2]) -> Option<ConvGeometry> {
    let (stride, padding, dilation) = (pair(value, "stride", 1), pair(value, "padding", 0), pair(value, "dilation", 1));
    let groups = value.get("groups").and_then(Value::as_u64).unwrap_or(1) as usize;
    let circular = value.get("padding_mode").and_then(Value::as_str) == Some("circular");
    let output = extent(input, kernel, stride, padding, dilation)?;
    Some(ConvGeometry { output, input, stride, padding, dilation, groups, circular })
}

fn pool(value: &Value, input: [usize; 2]) -> Option<[usize; 2]> {
    let kernel = pair(value, "kernel_size", 2);
    let stride = if value.get("stride").is_some() { pair(value, "stride", 2) } else { kernel };
    extent(input, kernel, stride, pair(value, "padding", 0), [1, 1])
}

/// ⌊(in + 2·padding − dilation·(kernel−1) − 1)/stride⌋ + 1 along each axis, as in `PyTorch`.
fn extent(
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
) -> Option<[usize; 2]> {
    let along = |i: usize| {
        let span = dilation[i] * kernel[i].checked_sub(1)? + 1;
        Some((input[i] + 2 * padding[i]).checked_sub(span)?.checked_div(stride[i])? + 1)
    };
    Some([along(0)?, along(1)?])
}
