//! Biases: counted with the layer that they belong to, never layers of their own.

use super::TensorId;
use super::coded::Names;
use super::layer::{Kind, Layer};
use std::collections::HashMap;

/// Counts each bias with its layer. One without a layer of its name (LSTM, a stray shift) goes to the nearest layer by
/// name; one without any neighbour stays visible, and is not eligible.
pub fn attach(names: &Names, layers: &mut Vec<Layer>, loose: &[(TensorId, &str)]) {
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut near: HashMap<String, usize> = HashMap::new();
    for (i, layer) in layers.iter().enumerate() {
        index.entry(layer.name.clone()).or_insert(i);
        for (at, _) in layer.name.match_indices('.') {
            near.entry(layer.name[..at].to_owned()).or_insert(i);
        }
    }
    for &(id, module) in loose {
        let tensor = &names.tensors[id];
        if !tensor.dtype.is_float() {
            continue;
        }
        let name = &names.names[id];
        let parent = module.rsplit_once('.').map_or("", |(p, _)| p);
        let recurrent = name.replacen("bias_", "weight_", 1).replacen("in_proj_bias", "in_proj_weight", 1);
        let bare = module.strip_suffix("_bias").unwrap_or(module);
        let own = [module, &recurrent, bare, parent].iter().find_map(|n| index.get(*n)).copied();
        let at = own.or_else(|| near.get(parent).copied()).or((parent.is_empty() && !layers.is_empty()).then_some(0));
        if let Some(layer) = at.and_then(|i| layers.get_mut(i)) {
            layer.bias.get_or_insert(id);
            layer.extra_params += tensor.len() as u64;
        } else {
            let why = Some("a bias: added, not multiplied".to_owned());
            layers.push(Layer { kind: Kind::Other, why_not: why, ..Layer::of_tensor(name, id, tensor) });
        }
    }
}
