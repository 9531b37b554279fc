//! The plan file: what is done to which layer of which checkpoint, in TOML.

use super::{Entry, Plan, Treatment};
use crate::model::{Layer, Model};
use crate::treat::criterion::CRITERIA;
use crate::treat::quantise::BITS;
use crate::treat::{Criterion, Factors, Granularity, Pattern, Prune, Quantise};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The version written, and the only one read.
const VERSION: u32 = 1;

/// A plan as it stands in a file. Layers that are not named stay dense.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// Version of the format.
    pub version: u32,
    /// The checkpoint it was made for.
    pub model: ModelName,
    /// How it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Made>,
    /// Layers that are treated or pinned.
    #[serde(default, rename = "layer", skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerPlan>,
}

/// Names a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelName {
    /// Its name, for people.
    pub name: String,
    /// Its [`fingerprint`].
    pub fingerprint: String,
}

/// How a plan was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The program and its version.
    pub by: String,
    /// The allocator, where one chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocator: Option<String>,
    /// What it was asked to meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

/// A budget.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// `params`, `bytes` or `macs`.
    pub of: String,
    /// The share that stays.
    pub keep: f64,
}

/// What is done to one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerPlan {
    /// Its module name.
    pub name: String,
    /// The rank kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// What is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<PrunePlan>,
    /// Of which matrix the rank is: `matrix`, or `spatial` of a convolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factors: Option<String>,
    /// What the entries that are stored are rounded to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantise: Option<QuantisePlan>,
    /// Whether scopes larger than the layer leave it alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
}

/// What is removed from a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrunePlan {
    /// The share removed.
    pub remove: f64,
    /// By what it is chosen.
    #[serde(default = "magnitude")]
    pub criterion: String,
    /// What goes together: `unstructured`, `per-row`, `2:4`, `row`, `column`, `block:16x16`.
    #[serde(default = "unstructured")]
    pub pattern: String,
}

/// What the entries of a layer are rounded to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantisePlan {
    /// Bits of an entry.
    pub bits: u8,
    /// Which entries share a scale: `tensor`, `row`, `group:64`.
    pub per: String,
}

fn magnitude() -> String {
    Criterion::Magnitude.name().to_owned()
}

fn unstructured() -> String {
    Pattern::Unstructured.name(0.0)
}

/// Why a plan file is no plan for this model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// Not TOML, or not of this form; says the line.
    #[error("{0}")]
    Form(String),
    /// Another version.
    #[error("version {0} of the plan format is not known here (this program writes version {VERSION})")]
    Version(u32),
    /// Made for another checkpoint.
    #[error(
        "made for {made_for}, not for {model}: other names, shapes or types of tensors; --force uses it all the same"
    )]
    OtherModel {
        /// Whose plan it is.
        made_for: String,
        /// The model that was opened.
        model: String,
    },
    /// A layer that the model does not have, or that cannot be treated.
    #[error("layer {name}: {why}")]
    Layer {
        /// Its name in the file.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// The place and the message of a TOML error, without the excerpt of the file that follows it.
fn one_line(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let place = text.lines().next().unwrap_or_default();
    if place == error.message() { place.to_owned() } else { format!("{place}: {}", error.message()) }
}

/// What tells one checkpoint from another without reading a weight: a blake3 of all tensors' names, types and shapes.
pub fn fingerprint(model: &Model) -> String {
    let mut lines: Vec<String> = model
        .tensors
        .iter()
        .map(|t| format!("{} {} {:?} {}", t.name, t.dtype.name(), t.shape, t.range.len()))
        .collect();
    lines.sort();
    format!("blake3:{}", blake3::hash(lines.join("\n").as_bytes()).to_hex())
}

impl PlanFile {
    /// The file of a plan.
    pub fn of(model: &Model, plan: &Plan, made: Made) -> Self {
        let layers = model.layers.iter().filter_map(|layer| {
            let entry = plan.entry(layer.id);
            (entry.pinned || !entry.treatment.is_dense()).then(|| LayerPlan::of(layer, entry))
        });
        let name = ModelName { name: model.name.clone(), fingerprint: fingerprint(model) };
        Self { version: VERSION, model: name, made: Some(made), layers: layers.collect() }
    }

    /// Reads a file's text.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let file: Self = toml::from_str(text).map_err(|e| PlanError::Form(one_line(&e)))?;
        if file.version == VERSION { Ok(file) } else { Err(PlanError::Version(file.version)) }
    }

    /// The file's text, a line for what is done to a layer.
    pub fn text(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut out = format!("version = {}\n\n[model]\n", self.version);
        out.push_str(&format!(
            "name = {}\nfingerprint = {}\n",
            quoted(&self.model.name),
            quoted(&self.model.fingerprint)
        ));
        if let Some(made) = &self.made {
            out.push_str(&format!("\n[made]\nby = {}\n", quoted(&made.by)));
            if let Some(allocator) = &made.allocator {
                out.push_str(&format!("allocator = {}\n", quoted(allocator)));
            }
            if let Some(Budget { of, keep }) = &made.budget {
                out.push_str(&format!("budget = {{ of = {}, keep = {keep:?} }}\n", quoted(of)));
            }
        }
        for layer in &self.layers {
            out.push_str(&format!("\n[[layer]]\nname = {}\n", quoted(&layer.name)));
            if let Some(rank) = layer.rank {
                out.push_str(&format!("rank = {rank}\n"));
            }
            if let Some(factors) = &layer.factors {
                out.push_str(&format!("factors = {}\n", quoted(factors)));
            }
            if let Some(PrunePlan { remove, criterion, pattern }) = &layer.prune {
                let (criterion, pattern) = (quoted(criterion), quoted(pattern));
                out.push_str(&format!(
                    "prune = {{ remove = {remove:?}, criterion = {criterion}, pattern = {pattern} }}\n"
                ));
            }
            if let Some(QuantisePlan { bits, per }) = &layer.quantise {
                out.push_str(&format!("quantise = {{ bits = {bits}, per = {} }}\n", quoted(per)));
            }
            if layer.pinned {
                out.push_str("pinned = true\n");
            }
        }
        out
    }

    /// The plan for this model; `force` takes one that was made for another.
    pub fn plan(&self, model: &Model, force: bool) -> Result<Plan, PlanError> {
        if !force && self.model.fingerprint != fingerprint(model) {
            return Err(PlanError::OtherModel { made_for: self.model.name.clone(), model: model.name.clone() });
        }
        let mut plan = Plan::new(model.layers.len());
        // A layer may be called by its canonical name, or by the name it is stored under.
        let stored = model.layers.iter().map(|l| (l.stored(), l));
        let by_name: HashMap<&str, &Layer> = stored.chain(model.layers.iter().map(|l| (l.name.as_str(), l))).collect();
        for named in &self.layers {
            let wrong = |why: String| PlanError::Layer { name: named.name.clone(), why };
            let Some(layer) = by_name.get(named.name.as_str()).copied() else {
                return Err(wrong(format!("{} has no such layer; `slimscope inspect` lists them", model.name)));
            };
            plan.set(layer.id, named.entry(layer).map_err(wrong)?);
        }
        Ok(plan)
    }
}

impl LayerPlan {
    /// What is planned for a layer, in the words of the file.
    pub fn of(layer: &Layer, entry: Entry) -> Self {
        let Entry { treatment, pinned } = entry;
        let prune = treatment.prune.map(|p| PrunePlan {
            remove: p.remove,
            criterion: p.criterion.name().to_owned(),
            pattern: p.pattern.name(p.remove),
        });
        let quantise = treatment.quantise.map(|q| QuantisePlan { bits: q.bits, per: q.per.name() });
        let named = treatment.rank.is_some() && treatment.form != Factors::Matrix;
        let factors = named.then(|| treatment.form.name().to_owned());
        Self { name: layer.name.clone(), rank: treatment.rank, prune, factors, quantise, pinned }
    }

    /// Whether what they name goes by activations.
    pub fn weighs(&self) -> bool {
        let form = self.factors.as_deref().and_then(Factors::parse);
        let criterion = self.prune.as_ref().and_then(|p| Criterion::parse(&p.criterion));
        form.is_some_and(Factors::weighs) || criterion.is_some_and(Criterion::weighs)
    }

    /// What the words mean for the layer that they name; the error says why it cannot be so.
    pub fn entry(&self, layer: &Layer) -> Result<Entry, String> {
        let treatment = Treatment {
            rank: self.rank,
            prune: self.prune.as_ref().map(prune).transpose()?,
            form: factors(self, layer)?,
            quantise: self.quantise.as_ref().map(quantise).transpose()?,
        };
        if let Some(how) = treatment.prune
            && let Err(why) = how.criterion.applies(layer, how.pattern)
        {
            return Err(format!("criterion {}: {why}", how.criterion.name()));
        }
        if let Some(why) = layer.why_not.as_ref().filter(|_| !treatment.is_dense()) {
            return Err(format!("cannot be compressed: {why}"));
        }
        let full = treatment.form.full_rank(layer);
        if let Some(rank) = self.rank.filter(|r| *r == 0 || *r > full) {
            return Err(format!("rank {rank} is not between 1 and {full}"));
        }
        Ok(Entry { treatment, pinned: self.pinned })
    }
}

/// What a file says is removed.
fn prune(named: &PrunePlan) -> Result<Prune, String> {
    let Some(criterion) = Criterion::parse(&named.criterion) else {
        let known: Vec<&str> = CRITERIA.iter().map(|c| c.name).collect();
        return Err(format!("criterion {} is none of {}", named.criterion, known.join(", ")));
    };
    let (pattern, own) = Pattern::parse(&named.pattern).ok_or_else(|| {
        format!("pattern {} is none of unstructured, per-row, N:M, row, column, block:RxC", named.pattern)
    })?;
    if !(named.remove > 0.0 && named.remove <= 1.0) {
        return Err(format!("remove = {} is not between 0 and 1", named.remove));
    }
    match own {
        Some(own) if (own - named.remove).abs() > 1e-9 => {
            Err(format!("pattern {} removes {own}, not {}", named.pattern, named.remove))
        }
        _ => Ok(Prune { remove: named.remove, pattern, criterion }),
    }
}

/// What a file says two factors are of.
fn factors(named: &LayerPlan, layer: &Layer) -> Result<Factors, String> {
    let Some(name) = named.factors.as_deref() else { return Ok(Factors::Matrix) };
    let Some(form) = Factors::parse(name) else {
        let known = Factors::ALL.map(Factors::name).join(", ");
        return Err(format!("factors = {name} is none of {known}"));
    };
    if form == Factors::Matrix {
        return Ok(form);
    }
    if named.rank.is_none() {
        return Err("factors without a rank".to_owned());
    }
    let fits = form.fits(layer).map_err(|why| if form.weighs() { format!("factors = {name}: {why}") } else { why });
    fits.map(|()| form)
}

/// What a file says entries are rounded to.
fn quantise(named: &QuantisePlan) -> Result<Quantise, String> {
    if !BITS.contains(&named.bits) {
        return Err(format!("{} bits are not between {} and {}", named.bits, BITS.start(), BITS.end()));
    }
    let per = Granularity::parse(&named.per)
        .ok_or_else(|| format!("per = {} is none of tensor, row, group:32, group:64, group:128", named.per))?;
    Ok(Quantise { bits: named.bits, per })
}

#[cfg(test)]
mod tests;
