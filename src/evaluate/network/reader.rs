//! What an architecture needs of a checkpoint, looked up by name and checked against its headers.

use crate::model::{LayerId, Model, TensorId};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Looks up what a forward pass needs, and remembers it for loading. Errors are reasons why the model is not run.
pub struct Reader<'a> {
    model: &'a Model,
    tensors: HashMap<&'a str, TensorId>,
    layers: HashMap<&'a str, LayerId>,
    /// Layers that multiply, with their biases.
    pub sites: BTreeMap<LayerId, Option<TensorId>>,
    /// Tensors that are taken as they are: gains, tables, statistics.
    pub fixed: BTreeSet<TensorId>,
}

impl<'a> Reader<'a> {
    /// Of a model's headers.
    pub fn new(model: &'a Model) -> Self {
        // The names that the architecture gives, not those of the wrappers around its modules.
        let tensors = (0..model.tensors.len()).map(|id| (model.canonical(id), id)).collect();
        let layers = model.layers.iter().map(|l| (l.name.as_str(), l.id)).collect();
        Self { model, tensors, layers, sites: BTreeMap::new(), fixed: BTreeSet::new() }
    }

    /// What stands before a tensor's name in this checkpoint: the first of these that fits.
    pub fn prefix(&self, prefixes: &[&'static str], name: &str) -> Result<&'static str, String> {
        let found = prefixes.iter().find(|p| self.tensors.contains_key(format!("{p}{name}").as_str()));
        found.copied().ok_or_else(|| format!("it has no tensor {name}"))
    }

    /// Whether it is a classifier of texts or tokens: config.json says so, or the classifier's matrix is there.
    pub fn classifies(&self) -> bool {
        let classes = self.model.config.as_ref().and_then(|c| c.pointer("/architectures/0")).and_then(Value::as_str);
        let named = classes
            .is_some_and(|c| ["Classification", "RewardModel", "QuestionAnswering"].iter().any(|w| c.contains(w)));
        named || self.has("score.weight")
    }

    /// Whether a tensor is stored.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a stored tensor.
    pub fn shape(&self, name: &str) -> Result<&'a [usize], String> {
        let id = self.tensors.get(name).and_then(|&id| self.model.tensors.get(id));
        id.map(|t| t.shape.as_slice()).ok_or_else(|| format!("it has no tensor {name}"))
    }

    /// A layer that multiplies: a matrix of this many rows and columns, `out_features` × `in_features`, with its bias
    /// if one is stored.
    pub fn site(&mut self, module: &str, rows: usize, columns: usize) -> Result<LayerId, String> {
        let bias = format!("{module}.bias");
        let bias = if self.has(&bias) { Some(self.tensor(&bias, &[rows])?) } else { None };
        self.site_with(module, rows, columns, bias)
    }

    /// The same with a bias that was looked up already, or none.
    pub fn site_with(
        &mut self,
        module: &str,
        rows: usize,
        columns: usize,
        bias: Option<TensorId>,
    ) -> Result<LayerId, String> {
        let id = self.layers.get(module).copied().ok_or_else(|| format!("it has no layer {module}"))?;
        let layer = self.model.layer(id).ok_or_else(|| format!("it has no layer {module}"))?;
        if let Some(coded) = &layer.coded {
            return Err(format!("{module}: {}", coded.why_not(layer.dtype)));
        }
        if layer.matrix != [rows, columns] {
            let [m, n] = layer.matrix;
            return Err(format!("{module} is {m} × {n}, and config.json asks for {rows} × {columns}"));
        }
        if !layer.dtype.is_float() {
            return Err(format!("{module} is stored as {}: its scales are not known", layer.dtype.name()));
        }
        self.sites.insert(id, bias);
        Ok(id)
    }

    /// The layer of this name, if there is one.
    pub fn layer(&self, module: &str) -> Option<LayerId> {
        self.layers.get(module).copied()
    }

    /// A tensor that is taken as it is.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<TensorId, String> {
        let id = self.tensors.get(name).copied().ok_or_else(|| format!("it has no tensor {name}"))?;
        let tensor = self.model.tensors.get(id).ok_or_else(|| format!("it has no tensor {name}"))?;
        if tensor.shape != shape {
            return Err(format!("{name} has shape {:?}, and config.json asks for {shape:?}", tensor.shape));
        }
        if !tensor.dtype.is_float() {
            return Err(format!("{name} is stored as {}: not a floating-point tensor", tensor.dtype.name()));
        }
        self.fixed.insert(id);
        Ok(id)
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.model.config.as_ref()?.get(key).filter(|v| !v.is_null())
    }

    /// Any entry of config.json.
    pub fn entry(&self, key: &str) -> Option<&'a Value> {
        self.value(key)
    }

    /// A whole number of config.json that must be there and not be zero.
    pub fn count(&self, key: &str) -> Result<usize, String> {
        let number = self.value(key).and_then(Value::as_u64).filter(|&n| n > 0);
        number.map(|n| n as usize).ok_or_else(|| format!("config.json does not say {key}"))
    }

    /// A whole number of config.json, or what holds where it says nothing.
    pub fn count_or(&self, key: &str, default: usize) -> Result<usize, String> {
        if self.value(key).is_some() { self.count(key) } else { Ok(default) }
    }

    /// A number of config.json, or what holds where it says nothing.
    pub fn number(&self, key: &str, default: f64) -> Result<f64, String> {
        match self.value(key) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| format!("{key} in config.json is {value}, not a number")),
        }
    }

    /// A switch of config.json.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.value(key).and_then(Value::as_bool).unwrap_or(default)
    }

    /// A word of config.json.
    pub fn word(&self, key: &str) -> Option<&'a str> {
        self.value(key).and_then(Value::as_str)
    }
}
