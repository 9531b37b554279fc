//! A plan in the formats of other tools: one file for each, one line in [`EXPORTERS`].
//!
//! A format that says less than the plan says what it left out, layer by layer; one that can say nothing of it refuses
//! and names the formats that can.

mod aimet;
mod alphapruning;
mod csv;
mod json;
mod lems;
mod llama_cpp;
mod llm_compressor;
mod mergekit;
mod peft;
mod regex;
mod torch_pruning;
mod whole;

pub use alphapruning::linears;

use super::lint::Target;
use crate::model::{Kind, Layer, Model, Orientation};
use crate::plan::file::Made;
use crate::plan::{Plan, Treatment};
use crate::probe::book::FactBook;
use crate::text::{is_hidden, shown};
use std::path::Path;

/// What is exported.
pub struct Recipe<'a> {
    /// The checkpoint.
    pub model: &'a Model,
    /// The plan.
    pub plan: &'a Plan,
    /// How the plan was made.
    pub made: &'a Made,
    /// What was measured; only what [`Exporter::spectra`] asks for.
    pub facts: &'a FactBook,
    /// Where it is written; `None` for standard output.
    pub path: Option<&'a Path>,
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exported {
    /// The file.
    pub bytes: Vec<u8>,
    /// Files beside it: what comes after the stem of its name, such as `_loader.py`, and what they hold.
    pub beside: Vec<(&'static str, Vec<u8>)>,
    /// What the format could not say, and what to know before it is used.
    pub notes: Vec<String>,
}

/// Why there is no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// The format can say nothing of this plan or model.
    #[error("{format} {why}; {remedy}")]
    Cannot {
        /// The format.
        format: &'static str,
        /// What it cannot say.
        why: String,
        /// Which can, or what to change.
        remedy: String,
    },
    /// The tool would misread a file of this name.
    #[error("{0}")]
    Place(String),
}

/// A format of another tool.
pub struct Exporter {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it says, and what reads it.
    pub words: &'static str,
    /// A name for the file.
    pub file: &'static str,
    /// Whether singular values have to be measured.
    pub spectra: bool,
    /// What the file is for, where that is one runtime.
    pub target: Target,
    write: fn(&Recipe) -> Result<Exported, ExportError>,
}

/// All formats.
pub static EXPORTERS: &[&Exporter] = &[
    &llm_compressor::FORMAT,
    &lems::FORMAT,
    &peft::FORMAT,
    &torch_pruning::FORMAT,
    &alphapruning::FORMAT,
    &aimet::FORMAT,
    &mergekit::FORMAT,
    &llama_cpp::FORMAT,
    &json::FORMAT,
    &csv::FORMAT,
];

/// The format of a name.
pub fn exporter(name: &str) -> Option<&'static Exporter> {
    EXPORTERS.iter().copied().find(|e| e.name == name)
}

impl Exporter {
    /// Writes a plan in this format.
    pub fn write(&self, recipe: &Recipe) -> Result<Exported, ExportError> {
        let mut exported = (self.write)(recipe)?;
        if let Ok(text) = std::str::from_utf8(&exported.bytes)
            && text.lines().any(|l| l.contains(is_hidden))
        {
            // Strings of JSON, Python and shell scripts; YAML quotes by itself.
            exported.bytes = text.lines().flat_map(|l| [shown(l), "\n".into()]).collect::<String>().into_bytes();
        }
        Ok(exported)
    }
}

impl<'a> Recipe<'a> {
    /// Layers that the plan may treat, in module order, with what it does to them.
    fn layers(&self) -> impl Iterator<Item = (&'a Layer, Treatment)> {
        let (model, plan) = (self.model, self.plan);
        let free = model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none());
        free.map(|l| (l, plan.treatment(l.id)))
    }
    /// Layers that the plan does something to and that are the weights of modules, for formats that name modules; the
    /// others are left out.
    fn modules(&self, lost: &mut Lost) -> Vec<(&'a Layer, Treatment)> {
        let (of_modules, bare): (Vec<_>, Vec<_>) = self.treated().partition(|(l, _)| self.is_module(l));
        bare.iter().for_each(|(l, _)| lost.add(l, BARE));
        of_modules
    }
    /// Whether a layer is the `weight` of a module. A parameter that a module holds under another name, such as
    /// `attn.in_proj_weight` or `text_projection`, is named by no list of modules.
    fn is_module(&self, layer: &Layer) -> bool {
        let tensor = self.model.tensors.get(layer.tensor);
        tensor.is_none_or(|t| t.name == "weight" || t.name.ends_with(".weight"))
    }
    /// Layers that the plan does something to.
    fn treated(&self) -> impl Iterator<Item = (&'a Layer, Treatment)> {
        self.layers().filter(|(_, t)| !t.is_dense())
    }
    fn pinned(&self, layer: &Layer) -> bool {
        self.plan.entry(layer.id).pinned
    }
}

/// Said of layers that no module's name means.
const BARE: &str = "left out: a parameter of its own, not the weight of a module, which is what this format names (json and \
                    csv carry it)";

/// Whether it is a `torch.nn.Linear`.
fn is_linear(layer: &Layer) -> bool {
    layer.kind == Kind::Linear && layer.orientation == Orientation::OutIn && layer.shape.len() == 2
}

/// What of a plan a format left out.
#[derive(Debug, Default)]
struct Lost(Vec<(String, Vec<String>)>);

impl Lost {
    /// A layer of which this is left out.
    fn add(&mut self, layer: &Layer, what: impl Into<String>) {
        let what = what.into();
        match self.0.iter_mut().find(|(w, _)| *w == what) {
            Some((_, layers)) => layers.push(layer.name.clone()),
            None => self.0.push((what, vec![layer.name.clone()])),
        }
    }
    /// Pins and rounding, which only the formats of everything carry; `quantise` where this one has no word for it.
    fn of_the_plan(&mut self, recipe: &Recipe, quantise: bool) {
        for (layer, treatment) in recipe.layers() {
            if let Some(q) = treatment.quantise.filter(|_| quantise) {
                self.add(
                    layer,
                    format!("rounding to {} is left out (json and csv carry it, llama-cpp nearly)", q.short()),
                );
            }
        }
        for layer in recipe.model.layers.iter().filter(|l| recipe.pinned(l)) {
            self.add(layer, "the pin is left out (json and csv carry pins)");
        }
    }
    /// A note for each, with the layers that it is about.
    fn notes(self) -> Vec<String> {
        self.0.into_iter().map(|(what, layers)| format!("{}: {what}", names(&layers))).collect()
    }
}

/// Names of layers in a line: all of a few, the first of many.
pub fn names(layers: &[String]) -> String {
    match layers {
        [a, b, c, rest @ ..] if rest.len() > 1 => format!("{a}, {b}, {c} and {} more", rest.len()),
        few => few.join(", "),
    }
}

/// A number with its decimal point, so that it is not read as an integer.
fn float(x: f64) -> String {
    format!("{x:?}")
}

/// A share as written in files: nine digits, which is less than an entry of any layer, without the noise of binary
/// fractions.
fn share(x: f64) -> f64 {
    (x * 1e9).round() / 1e9
}

/// Text in quotes, as YAML reads it: in single quotes with nothing to escape but the quote, or in double quotes where
/// hidden characters have to be escaped, which only these can hold.
fn quoted(text: &str) -> String {
    if text.contains(is_hidden) {
        let mut out = String::from("\"");
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if is_hidden(c) && u32::from(c) < 256 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if is_hidden(c) && u32::from(c) < 65536 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c if is_hidden(c) => out.push_str(&format!("\\U{:08x}", u32::from(c))),
                c => out.push(c),
            }
        }
        return out + "\"";
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// The line that says where a file comes from, without a comment sign.
fn origin(recipe: &Recipe) -> String {
    let how = recipe.made.allocator.as_ref().map_or(String::new(), |a| format!(", allocator {a}"));
    let budget = recipe.made.budget.as_ref().map_or(String::new(), |b| format!(", keep {} of the {}", b.keep, b.of));
    format!("slimscope {}: a plan for {}{how}{budget}", env!("CARGO_PKG_VERSION"), shown(&recipe.model.name))
}

#[cfg(test)]
mod tests;
