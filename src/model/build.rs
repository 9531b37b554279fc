//! From tensors and config to layers in module order.

use super::architecture::Sequential;
use super::coded::{self, Found, Names, Peek, QuantConfig};
use super::layer::{ConvGeometry, Kind, Layer, LayerId, Orientation, Role};
use super::naming::Part;
use super::reading::Reading;
use super::{Model, Scheme, TensorId, aside, biases, canonical, channels, labels, order, orient, reasons, ties};
use std::collections::HashMap;
use std::sync::Arc;

/// Fills `model.layers` from its tensors and config; adds notes on what was odd.
pub fn build(model: &mut Model, peek: &dyn Peek) {
    model.names = canonical::names(&model.tensors);
    let mut notes = Vec::new();
    let sequential = sequential(model, &mut notes);
    let names = Names::new(&model.tensors, &model.names);
    let mut taken = vec![false; names.tensors.len()];
    let mut not_weights = aside::collect(&names);
    not_weights.iter().for_each(|(id, _)| taken[*id] = true);
    let config = QuantConfig::of(model.config.as_ref());
    let found = coded::collect(&names, &config, peek, &mut taken);
    not_weights.extend(found.beside);
    let reading = Reading::new(model, &names, &taken, &found.layers);
    // Room for all at once: growing by doubling would hold the layers of a large model one and a half times.
    let mut layers: Vec<Layer> = Vec::with_capacity(names.tensors.len());
    layers.extend(found.layers.iter().map(|f| coded_layer(&reading, f)));
    let mut loose = Vec::new();
    for id in (0..names.tensors.len()).filter(|&id| !taken[id]) {
        let (module, part) = reading.split(id);
        let buffer = |why: &str| (id, why.to_owned());
        match part {
            Part::Buffer => not_weights.push(buffer("kept beside the weights, not a parameter")),
            Part::Bias if is_mask(&names, id, module) => not_weights.push(buffer("causal mask")),
            Part::Bias => loose.push((id, module)),
            Part::Weight => match plain_layer(&reading, id, module) {
                Ok(layer) => layers.push(*layer),
                Err(why) => not_weights.push((id, why)),
            },
        }
    }
    biases::attach(&names, &mut layers, &loose);
    orient::transpose_siblings(&mut layers);
    ties::tie(model, peek, &mut layers, &mut notes);
    let stacks = reading.stacks.clone();
    drop(reading);
    finish(&mut layers, sequential.as_ref(), model, &mut notes);
    super::norms::attach(model, &mut layers);
    not_weights.sort_unstable();
    (model.layers, model.not_weights, model.stacks) = (layers, not_weights, stacks);
    model.notes.extend(notes);
}

fn sequential(model: &Model, notes: &mut Vec<String>) -> Option<Sequential> {
    let kernel = |name: &str| match model.tensors[model.names.iter().position(|n| n == name)?].shape.as_slice() {
        &[_, _, h, w] => Some([h, w]),
        _ => None,
    };
    match Sequential::from_config(model.config.as_ref()?, &kernel) {
        Ok(sequential) => sequential,
        Err(note) => {
            notes.push(note);
            None
        }
    }
}

/// Sorts, labels and numbers the layers, and fills in their work.
fn finish(layers: &mut [Layer], sequential: Option<&Sequential>, model: &Model, notes: &mut Vec<String>) {
    let sequence = sequential.map(Sequential::weight_modules).unwrap_or_default();
    if let Some(last) = sequential.and_then(Sequential::last_linear) {
        layers.iter_mut().filter(|l| l.name == last).for_each(|l| l.role = Role::Head);
    }
    order::sort(layers, &sequence);
    labels::unique(layers);
    let first: HashMap<TensorId, LayerId> = layers
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, l)| l.tied_to.is_none())
        .map(|(i, l)| (l.tensor, LayerId(i)))
        .collect();
    let chosen = coded::chosen(model);
    let mut experts = 0;
    for (i, layer) in layers.iter_mut().enumerate() {
        layer.id = LayerId(i);
        // Until now `tied_to` held the tensor; from here on it holds the layer.
        layer.tied_to = layer.tied_to.and_then(|t| first.get(&t.0).copied());
        layer.chosen = chosen.filter(|_| coded::expert_of(&layer.name));
        experts += usize::from(layer.chosen.is_some());
        let geometry = sequential.and_then(|s| s.geometry(&layer.name));
        set_cost(layer, geometry);
    }
    channels::infer_groups(layers);
    if let Some([few, all]) = chosen.filter(|_| experts > 0) {
        notes.push(format!("multiply-accumulates per token count {few} of {all} experts"));
    }
}

/// GPT-2's causal mask is stored as `attn.bias` beside `attn.c_attn`, without an `attn.weight`.
fn is_mask(names: &Names, id: TensorId, module: &str) -> bool {
    let tensor = &names.tensors[id];
    let square = matches!(tensor.shape.as_slice(), [.., a, b] if a == b);
    tensor.shape.len() >= 2
        && names.names[id].rsplit('.').next() == Some("bias")
        && (square || !tensor.dtype.is_float())
        && names.get(&format!("{module}.weight")).is_none()
}

/// The layer of one plain tensor, or why it is no weight.
fn plain_layer(reading: &Reading, id: TensorId, module: &str) -> Result<Box<Layer>, String> {
    let tensor = &reading.names.tensors[id];
    if tensor.shape.is_empty() && !tensor.dtype.is_float() {
        return Err(format!("a single number of type {}", tensor.dtype.name()));
    }
    let reason = reasons::reason(&reading.names.names[id], &tensor.shape).filter(|_| tensor.shape.len() >= 2);
    if let Some(reason) = reason.filter(|r| r.buffer) {
        return Err(reason.why.to_owned());
    }
    let mut layer = reading.named(Layer::of_tensor(module, id, tensor));
    layer.bias = reading.names.get(&format!("{module}.bias"));
    layer.orientation = orient::orientation(reading.model, reading.names, &layer);
    if layer.orientation == Orientation::InOut {
        layer.matrix.reverse();
    }
    if let Some(reason) = reason {
        if !matches!(layer.kind, Kind::Embedding | Kind::Norm) {
            layer.kind = Kind::Other;
        }
        layer.why_not = Some(reason.why.to_owned());
    } else if let Some((coded, matrix)) = coded::stacked(reading.model, id, module) {
        (layer.kind, layer.why_not) = (Kind::Linear, Some(coded.why_not(layer.dtype)));
        let &[_, a, b] = layer.shape.as_slice() else { return Ok(Box::new(layer)) };
        layer.matrix = matrix.unwrap_or([a, b]);
        layer.coded = Some(Arc::new(coded));
    } else if let Some(coded) = orient::layout(reading.model, reading.names, id, module, &layer) {
        layer.why_not = Some(coded.why_not(layer.dtype));
        layer.coded = Some(Arc::new(coded));
    } else {
        layer.why_not = why_not(&layer);
    }
    Ok(Box::new(layer))
}

/// The layer of several tensors.
fn coded_layer(reading: &Reading, found: &Found) -> Layer {
    let tensors = reading.names.tensors;
    let first = found.coded.parts[0];
    let mut layer = Layer::of_tensor(&found.base, first, &tensors[first]);
    if let Some(matrix) = found.matrix {
        (layer.matrix, layer.shape) = (matrix, matrix.to_vec());
    }
    // Convolutions keep the axes of their kernel.
    if !found.coded.quantised() && tensors[first].shape.len() > 2 && !found.adapter {
        layer.shape.clone_from(&tensors[first].shape);
    }
    layer = reading.named(layer);
    layer.bias = reading.names.get(&format!("{}.bias", found.base));
    layer.params = found.params;
    layer.bytes = found.coded.parts.iter().map(|&id| tensors[id].bytes() as u64).sum();
    layer.why_not = Some(found.coded.why_not(layer.dtype));
    if found.adapter {
        layer.kind = Kind::Adapter;
    }
    layer.coded = Some(Arc::new(found.coded.clone()));
    layer
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
        _ if layer.shape.is_empty() => Some("a single number".to_owned()),
        _ if layer.shape.len() < 2 => Some("one-dimensional".to_owned()),
        _ if layer.matrix.iter().any(|&e| e < 2) => Some("a single row or column: nothing to choose from".to_owned()),
        _ => None,
    }
}

fn set_cost(layer: &mut Layer, geometry: Option<ConvGeometry>) {
    // A stack of experts holds as many matrices as it has parameters for, and factors work as they are stored.
    let entries = match &layer.coded {
        Some(coded) if coded.quantised() || matches!(coded.scheme, Scheme::Experts | Scheme::Factors) => layer.params,
        _ => layer.matrix[0] as u64 * layer.matrix[1] as u64,
    };
    layer.conv = geometry;
    layer.uses = match layer.kind {
        _ if layer.role == Role::Other && layer.params == 0 => None,
        _ if entries == 0 => None,
        Kind::Linear | Kind::Recurrent => Some(1),
        Kind::Embedding | Kind::Norm => Some(0),
        Kind::Conv1d | Kind::Conv2d | Kind::Conv3d => geometry.map(|g| (g.output[0] * g.output[1]) as u64),
        Kind::Other | Kind::Adapter => None,
    };
    layer.macs = layer.uses.map(|uses| layer.work(entries * uses));
}
