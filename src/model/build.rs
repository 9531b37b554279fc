//! From tensors and config to layers in module order.

use super::architecture::Sequential;
use super::layer::{ConvGeometry, Kind, Layer, LayerId, Orientation, Role};
use super::naming::{self, Part};
use super::{Model, Tensor, TensorId, order, roles};
use std::collections::{BTreeMap, HashMap};

/// Fills `model.layers` from its tensors and config; adds notes on what was odd.
pub fn build(model: &mut Model) {
    let kernel = |name: &str| match model.tensors.iter().find(|t| t.name == name)?.shape.as_slice() {
        &[_, _, h, w] => Some([h, w]),
        _ => None,
    };
    let sequential = match model.config.as_ref().map(|c| Sequential::from_config(c, &kernel)) {
        Some(Ok(sequential)) => sequential,
        Some(Err(note)) => {
            model.notes.push(note);
            None
        }
        None => None,
    };
    let numbers = block_numbers(&model.tensors);
    let by_name: HashMap<&str, TensorId> =
        model.tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
    let mut layers = Vec::new();
    let mut loose = Vec::new();
    let mut not_weights: Vec<(TensorId, String)> = Vec::new();
    for (id, tensor) in model.tensors.iter().enumerate() {
        let (module, part) = naming::split(&tensor.name);
        match part {
            Part::Weight => layers.push(layer(model, id, module, &by_name, &numbers)),
            Part::Bias if is_mask(tensor, &by_name, module) => not_weights.push((id, "causal mask".to_owned())),
            Part::Bias => loose.push((id, module)),
            Part::Optimiser => layers.push(optimiser_state(id, tensor)),
            Part::Buffer => not_weights.push((id, "kept beside the weights, not a parameter".to_owned())),
        }
    }
    let counter = |l: &Layer| l.shape.is_empty() && !l.dtype.is_float();
    let counters = layers.iter().filter(|l| counter(l));
    not_weights.extend(counters.map(|l| (l.tensor, format!("a single number of type {}", l.dtype.name()))));
    not_weights.sort_unstable();
    layers.retain(|l| !counter(l));
    attach_biases(model, &mut layers, &loose);
    transpose_siblings(&mut layers);
    tie(model, &mut layers);
    let sequence = sequential.as_ref().map(Sequential::weight_modules).unwrap_or_default();
    if let Some(last) = sequential.as_ref().and_then(Sequential::last_linear) {
        layers.iter_mut().filter(|l| l.name == last).for_each(|l| l.role = Role::Head);
    }
    order::sort(&mut layers, &sequence);
    unique_labels(&mut layers);
    let names: Vec<String> = layers.iter().map(|l| l.name.clone()).collect();
    for (i, layer) in layers.iter_mut().enumerate() {
        layer.id = LayerId(i);
        // Until now `tied_to` held the tensor; from here on it holds the layer.
        layer.tied_to = layer.tied_to.and_then(|t| names.iter().position(|n| *n == tied_name(model, t.0)).map(LayerId));
        let geometry = sequential.as_ref().and_then(|s| s.geometry(&layer.name));
        set_cost(layer, geometry);
    }
    super::norms::attach(model, &mut layers);
    model.layers = layers;
    model.not_weights = not_weights;
}

fn tied_name(model: &Model, tensor: TensorId) -> String {
    model.tensors.get(tensor).map_or(String::new(), |t| naming::split(&t.name).0.to_owned())
}

/// GPT-2's causal mask is stored as `attn.bias` beside `attn.c_attn`, without an `attn.weight`.
fn is_mask(tensor: &Tensor, by_name: &HashMap<&str, TensorId>, module: &str) -> bool {
    tensor.shape.len() >= 2 && !by_name.contains_key(format!("{module}.weight").as_str())
}

/// Numbers blocks over the whole model: key → running index. One family (`model.layers.N`) keeps its own numbers.
fn block_numbers(tensors: &[Tensor]) -> BTreeMap<String, usize> {
    let mut keys: Vec<&str> = Vec::new();
    for tensor in tensors {
        let (module, part) = naming::split(&tensor.name);
        if let (Part::Weight, Some((key, _))) = (part, naming::block_of(module)) {
            keys.push(key);
        }
    }
    keys.sort_by(|a, b| naming::natural(a, b));
    keys.dedup();
    let single = keys.windows(2).all(|w| depth(w[0]) == depth(w[1]) && prefix(w[0]) == prefix(w[1]));
    keys.iter()
        .enumerate()
        .map(|(i, key)| ((*key).to_owned(), naming::block_number(key).filter(|_| single).unwrap_or(i)))
        .collect()
}

fn depth(key: &str) -> usize {
    key.split('.').count()
}

fn prefix(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(p, _)| p)
}

fn layer(
    model: &Model,
    id: TensorId,
    module: &str,
    by_name: &HashMap<&str, TensorId>,
    numbers: &BTreeMap<String, usize>,
) -> Layer {
    let tensor = &model.tensors[id];
    let (block, label) = match naming::block_of(module) {
        Some((key, rest)) => (numbers.get(key).copied(), rest.to_owned()),
        None => (None, module.to_owned()),
    };
    let has_statistics = by_name.contains_key(format!("{module}.running_mean").as_str());
    let clue = roles::Clue { module, label: &label, in_block: block.is_some(), shape: &tensor.shape, has_statistics };
    let role = roles::role(&clue);
    let kind = roles::kind(role, tensor.shape.len());
    let bias = by_name.get(format!("{module}.bias").as_str()).copied();
    let orientation = orientation(model, tensor, &label, bias);
    let params = tensor.len() as u64;
    let mut layer = Layer {
        id: LayerId(0),
        name: module.to_owned(),
        label,
        tensor: id,
        bias: None,
        block,
        role,
        kind,
        orientation,
        shape: tensor.shape.clone(),
        matrix: matrix(&tensor.shape, orientation),
        dtype: tensor.dtype,
        params,
        extra_params: 0,
        bytes: tensor.bytes() as u64,
        macs: None,
        uses: None,
        conv: None,
        tied_to: None,
        norm: None,
        gains: None,
        inputs: None,
        why_not: None,
    };
    layer.why_not = why_not(&layer);
    layer
}

/// `[rows, columns]` of the matrix view; `[0, 0]` for fewer than two axes of a scalar, `[1, n]` for a vector.
fn matrix(shape: &[usize], orientation: Orientation) -> [usize; 2] {
    match (shape, orientation) {
        ([], _) => [0, 0],
        ([n], _) => [1, *n],
        ([a, b], Orientation::InOut) => [*b, *a],
        ([out, rest @ ..], _) => [*out, rest.iter().product()],
    }
}

/// GPT-2's `Conv1D` stores `[in, out]`: told by the model type, or by a bias as long as the second axis.
fn orientation(model: &Model, tensor: &Tensor, label: &str, bias: Option<TensorId>) -> Orientation {
    let &[a, b] = tensor.shape.as_slice() else { return Orientation::OutIn };
    let last = label.rsplit('.').next().unwrap_or(label);
    let conv1d = matches!(last, "c_attn" | "c_proj" | "c_fc" | "q_attn");
    if conv1d
        && model
            .architecture()
            .is_some_and(|m| matches!(m, "gpt2" | "openai-gpt" | "imagegpt" | "decision_transformer"))
    {
        return Orientation::InOut;
    }
    let bias_len = bias.map(|i| model.tensors[i].len());
    if a != b && bias_len == Some(b) && (conv1d || model.architecture().is_none()) {
        return Orientation::InOut;
    }
    Orientation::OutIn
}

/// A square `c_proj` shows no orientation of its own: it follows its siblings.
fn transpose_siblings(layers: &mut [Layer]) {
    let transposed = layers.iter().any(|l| l.orientation == Orientation::InOut && l.label.contains("c_"));
    for layer in layers.iter_mut().filter(|l| transposed && l.shape.len() == 2) {
        if matches!(layer.label.rsplit('.').next(), Some("c_attn" | "c_proj" | "c_fc")) {
            layer.orientation = Orientation::InOut;
            layer.matrix = matrix(&layer.shape, Orientation::InOut);
        }
    }
}

fn why_not(layer: &Layer) -> Option<String> {
    if !layer.dtype.is_float() {
        return Some(format!("{} codes: not weights by themselves, their scale is stored apart", layer.dtype.name()));
    }
    if layer.params == 0 {
        return Some("empty: one of its extents is zero".to_owned());
    }
    match (layer.role, layer.kind) {
        (Role::Norm, _) => Some("normalisation gain: one number per feature".to_owned()),
        (Role::Embedding, _) => Some("a look-up table: rows are read, not multiplied".to_owned()),
        (Role::Position, _) => Some("positions: added, not multiplied".to_owned()),
        (_, Kind::Other) if layer.shape.len() >= 3 => {
            Some(format!("{} axes and not a convolution: not read as one matrix", layer.shape.len()))
        }
        _ if layer.shape.len() < 2 => Some("one-dimensional".to_owned()),
        _ if layer.matrix.iter().any(|&e| e < 2) => Some("a single row or column: nothing to choose from".to_owned()),
        _ => None,
    }
}

fn optimiser_state(id: TensorId, tensor: &Tensor) -> Layer {
    Layer {
        id: LayerId(0),
        name: tensor.name.clone(),
        label: tensor.name.clone(),
        tensor: id,
        bias: None,
        block: None,
        role: Role::Other,
        kind: Kind::Other,
        orientation: Orientation::OutIn,
        shape: tensor.shape.clone(),
        matrix: matrix(&tensor.shape, Orientation::OutIn),
        dtype: tensor.dtype,
        params: 0,
        extra_params: 0,
        bytes: 0,
        macs: None,
        uses: None,
        conv: None,
        tied_to: None,
        norm: None,
        gains: None,
        inputs: None,
        why_not: Some("optimiser state: not a weight".to_owned()),
    }
}

/// Counts each bias with its layer. A bias without one (LSTM, a stray shift) goes to the nearest layer by name.
fn attach_biases(model: &Model, layers: &mut [Layer], loose: &[(TensorId, &str)]) {
    let index: HashMap<String, usize> = layers.iter().enumerate().map(|(i, l)| (l.name.clone(), i)).collect();
    for &(id, module) in loose {
        let tensor = &model.tensors[id];
        if !tensor.dtype.is_float() {
            continue;
        }
        let lstm = tensor.name.replacen("bias_", "weight_", 1).replacen("in_proj_bias", "in_proj_weight", 1);
        let at = index.get(module).or_else(|| index.get(&lstm)).copied();
        let at = at.or_else(|| {
            let parent = module.rsplit_once('.').map_or("", |(p, _)| p);
            layers.iter().position(|l| l.name.starts_with(parent))
        });
        if let Some(layer) = at.and_then(|i| layers.get_mut(i)) {
            layer.bias.get_or_insert(id);
            layer.extra_params += tensor.len() as u64;
        }
    }
}

/// Heads that share the embedding's numbers are counted once.
fn tie(model: &mut Model, layers: &mut Vec<Layer>) {
    let config_says = |key: &str| model.config.as_ref().and_then(|c| c.get(key)).and_then(serde_json::Value::as_bool);
    let default = matches!(model.architecture(), Some("gpt2" | "gemma" | "gemma2" | "gemma3_text" | "t5"));
    if !config_says("tie_word_embeddings").unwrap_or(default) {
        return;
    }
    let embedding = layers.iter().position(|l| {
        l.role == Role::Embedding && l.shape.len() == 2 && !l.label.contains("type") && l.shape[0] >= l.shape[1].min(64)
    });
    let Some(embedding) = embedding else { return };
    let (tensor, shape, dtype) = (layers[embedding].tensor, layers[embedding].shape.clone(), layers[embedding].dtype);
    let head = layers.iter().position(|l| l.role == Role::Head && l.shape == shape);
    let generates = model.config.as_ref().and_then(|c| c.get("architectures")).is_none_or(|a| {
        let text = a.to_string();
        text.contains("LM") || text.contains("Generation")
    });
    if head.is_none() && !generates {
        return;
    }
    let why = format!("tied to {}: changing it would change the embedding too", layers[embedding].name);
    layers[embedding].why_not = Some("a look-up table, and tied: it is the output head as well".to_owned());
    if let Some(head) = head {
        let head = &mut layers[head];
        model.notes.push(format!("{} is stored, and config.json ties it to the embedding: counted once", head.name));
        (head.params, head.bytes, head.tied_to, head.why_not) = (0, 0, Some(LayerId(tensor)), Some(why));
        return;
    }
    layers.push(Layer {
        name: "lm_head".to_owned(),
        label: "lm_head".to_owned(),
        role: Role::Head,
        kind: Kind::Linear,
        orientation: Orientation::OutIn,
        matrix: matrix(&shape, Orientation::OutIn),
        shape,
        dtype,
        params: 0,
        bytes: 0,
        tied_to: Some(LayerId(tensor)),
        why_not: Some(why),
        ..optimiser_state(tensor, &model.tensors[tensor])
    });
}

/// Shortens `self_attn.q_proj` to `q_proj` wherever the short form tells the layers of a block apart.
fn unique_labels(layers: &mut [Layer]) {
    let mut groups: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (i, layer) in layers.iter().enumerate() {
        groups.entry(layer.block).or_default().push(i);
    }
    for members in groups.values() {
        let full: Vec<Vec<String>> =
            members.iter().map(|&i| layers[i].label.split('.').map(str::to_owned).collect()).collect();
        let tail = |parts: &[String], n: usize| parts[parts.len().saturating_sub(n)..].join(".");
        for (at, &i) in members.iter().enumerate() {
            let parts = &full[at];
            let vague = |s: &str| s.chars().all(|c| c.is_ascii_digit()) || matches!(s, "dense" | "proj" | "LayerNorm");
            let mut n = 1;
            while n < parts.len()
                && (vague(&tail(parts, n))
                    || full.iter().enumerate().any(|(o, p)| o != at && tail(p, n) == tail(parts, n)))
            {
                n += 1;
            }
            layers[i].label = tail(parts, n);
        }
    }
}

fn set_cost(layer: &mut Layer, geometry: Option<ConvGeometry>) {
    let entries = layer.matrix[0] as u64 * layer.matrix[1] as u64;
    layer.conv = geometry;
    layer.uses = match layer.kind {
        _ if layer.role == Role::Other && layer.params == 0 => None,
        Kind::Linear | Kind::Recurrent => Some(1),
        Kind::Embedding | Kind::Norm => Some(0),
        Kind::Conv1d | Kind::Conv2d | Kind::Conv3d => geometry.map(|g| (g.output[0] * g.output[1]) as u64),
        Kind::Other => None,
    };
    layer.macs = layer.uses.map(|uses| entries * uses);
}
