//! Which batch normalisation follows which convolution: by config.json's list of layers, else by name.

use super::layer::Layer;
use super::{Model, TensorId};
use serde_json::Value;

/// Fills in `norm` of every convolution that batch normalisation follows.
pub fn attach(model: &Model, layers: &mut [Layer]) {
    let by_name: std::collections::HashMap<&str, TensorId> =
        model.names.iter().enumerate().map(|(id, name)| (name.as_str(), id)).collect();
    let named = |name: &str| by_name.get(name).copied();
    let mut pairs = Vec::new();
    if let Some(config) = model.config.as_ref() {
        pairs_of(config.get("layers"), &mut pairs);
    }
    for layer in layers.iter_mut().filter(|l| l.kind.is_conv() && l.coded.is_none()) {
        let listed = pairs.iter().find(|(conv, _)| conv.strip_suffix(".weight") == Some(&layer.name));
        let found = match listed {
            Some((_, gain)) => named(gain),
            None => candidates(&layer.name).into_iter().find_map(|module| {
                named(&format!("{module}.running_mean"))?;
                named(&format!("{module}.weight"))
            }),
        };
        layer.norm = found.filter(|id| fits(model, *id, layer));
    }
}

fn fits(model: &Model, id: TensorId, layer: &Layer) -> bool {
    model.tensors.get(id).is_some_and(|t| t.shape == [layer.rows()] && t.dtype.is_float())
}

/// Convolutions and the gain of the batch normalisation right after them.
fn pairs_of(layers: Option<&Value>, out: &mut Vec<(String, String)>) {
    let Some(layers) = layers.and_then(Value::as_array) else { return };
    let kind = |layer: &Value| layer.get("type").and_then(Value::as_str).map(str::to_owned);
    let weight = |layer: &Value| layer.get("weight").and_then(Value::as_str).map(str::to_owned);
    for layer in layers {
        pairs_of(layer.get("layers"), out);
    }
    for pair in layers.windows(2) {
        if (kind(&pair[0]).as_deref(), kind(&pair[1]).as_deref()) == (Some("conv2d"), Some("batch_norm")) {
            out.extend(weight(&pair[0]).zip(weight(&pair[1])));
        }
    }
}

/// Modules that usually hold it: `bn1` after `conv1`, `downsample.1` after `downsample.0`, `bn` or `norm` beside `conv`.
fn candidates(module: &str) -> Vec<String> {
    let (before, last) = module.rsplit_once('.').map_or(("", module), |(b, l)| (b, l));
    let join = |name: String| if before.is_empty() { name } else { format!("{before}.{name}") };
    let mut out = Vec::new();
    if let Ok(number) = last.parse::<usize>() {
        out.push(join((number + 1).to_string()));
    }
    if let Some(number) = last.strip_prefix("conv") {
        out.extend(["bn", "norm", "batchnorm"].map(|name| join(format!("{name}{number}"))));
    }
    if let Some(rest) = last.strip_suffix("conv").filter(|r| !r.is_empty()) {
        out.extend(["bn", "norm"].map(|name| join(format!("{rest}{name}"))));
    }
    out.extend(["bn", "norm"].map(|name| join(name.to_owned())));
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::model_of;
    use super::super::{DType, Model};
    use serde_json::json;

    fn norm_of<'a>(model: &'a Model, layer: &str) -> Option<&'a str> {
        let id = model.layers.iter().find(|l| l.name == layer).unwrap().norm?;
        Some(&model.tensors[id].name)
    }

    #[test]
    fn the_norm_that_follows_is_found_by_list_and_by_name() {
        let tensors = [
            ("conv1.weight", &[4, 1, 3, 3][..], DType::F32),
            ("bn1.weight", &[4][..], DType::F32),
            ("bn1.running_mean", &[4][..], DType::F32),
            ("down.0.weight", &[8, 4, 1, 1][..], DType::F32),
            ("down.1.weight", &[8][..], DType::F32),
            ("down.1.running_mean", &[8][..], DType::F32),
            ("other.weight", &[8, 4, 1, 1][..], DType::F32),
        ];
        let model = model_of(&tensors, json!({}));
        assert_eq!(norm_of(&model, "conv1"), Some("bn1.weight"));
        assert_eq!(norm_of(&model, "down.0"), Some("down.1.weight"));
        assert_eq!(norm_of(&model, "other"), None);
        let listed = json!({"model_type": "sequential", "input": {"shape": [1, 4, 4]}, "layers": [
            {"type": "conv2d", "weight": "conv1.weight", "padding": 1},
            {"type": "batch_norm", "weight": "down.1.weight"}]});
        assert_eq!(norm_of(&model_of(&tensors, listed), "conv1"), None, "of another length");
    }
}
