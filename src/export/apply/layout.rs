//! What each file of the result holds, before anything of it is written.

use super::{ApplyError, Form, factored};
use crate::model::{Layer, LayerId, Model, Orientation, Tensor};
use crate::numerics::svd;
use crate::plan::{Plan, Treatment};
use crate::source::Weights;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::ops::Range;

/// The whole result.
#[derive(Debug, Default)]
pub struct Layout {
    /// Its files, in the order of the checkpoint's.
    pub files: Vec<FileLayout>,
    /// Layers that are made anew, in the order in which they are written.
    pub jobs: Vec<Job>,
    /// Name, type and shape of every tensor.
    pub tensors: Vec<(String, &'static str, Vec<usize>)>,
}

/// A file of the result.
#[derive(Debug)]
pub struct FileLayout {
    /// Its length.
    pub bytes: u64,
    /// Bytes of its tensors.
    pub data: u64,
    /// What it is made of, without gaps.
    pub parts: Vec<Part>,
}

/// A stretch of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes.
    New(Vec<u8>),
    /// These of the checkpoint's file of the same number.
    Old(Range<usize>),
    /// What a job of [`Layout::jobs`] makes.
    Made(usize),
}

/// A layer that is made anew.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which.
    pub layer: LayerId,
    /// How.
    pub treatment: Treatment,
    /// Whether as factors.
    pub factored: bool,
    /// Bytes of the result.
    pub bytes: u64,
}

impl Layout {
    /// Plans the result.
    pub fn of(model: &Model, weights: &Weights, plan: &Plan, form: Form) -> Result<Self, ApplyError> {
        let mut this = Self::default();
        let treated: HashMap<usize, &Layer> = model
            .layers
            .iter()
            .filter(|l| l.tied_to.is_none() && !plan.treatment(l.id).is_dense())
            .map(|l| (l.tensor, l))
            .collect();
        let factored = |l: &Layer| form == Form::Factored && factored::is_factored(plan.treatment(l.id));
        let refused: Vec<(&Layer, String)> = treated
            .values()
            .filter(|l| factored(l))
            .filter_map(|l| Some((*l, factored::why_not(model, plan, l)?)))
            .collect();
        if let Some((layer, why)) = refused.iter().min_by_key(|(l, _)| l.id) {
            let more = match refused.len() {
                1 => String::new(),
                n => format!(" (and {} other layers cannot be stored as factors)", n - 1),
            };
            return Err(ApplyError::Layer { layer: layer.name.clone(), why: format!("{why}{more}") });
        }
        for number in 0..model.files.len() {
            let mut units: Vec<Unit> = Vec::new();
            for (id, tensor) in model.tensors.iter().enumerate().filter(|(_, t)| t.file == number) {
                let layer = treated.get(&id).copied();
                let treatment = layer.map(|l| plan.treatment(l.id)).unwrap_or_default();
                units.push(Unit { tensor, layer, factors: Vec::new() });
                if let (Some(layer), Some(unit)) = (layer.filter(|l| factored(l)), units.last_mut()) {
                    unit.factors = factored::tensors(layer, treatment);
                }
            }
            units.sort_by_key(|u| (u.tensor.range.start, u.tensor.range.end));
            let whole = weights.file(model, number)?;
            let file = if units.iter().all(|u| u.factors.is_empty()) {
                this.same(&units, whole.len(), plan)
            } else {
                this.rewritten(units, whole, plan)
            };
            this.files.push(file);
        }
        Ok(this)
    }

    /// Every tensor at its place.
    fn same(&mut self, units: &[Unit<'_>], length: usize, plan: &Plan) -> FileLayout {
        let (mut parts, mut from) = (Vec::new(), 0);
        let data = units.iter().map(Unit::bytes).sum();
        for unit in units {
            self.tensors.push(unit.tensors().remove(0));
            let Some(layer) = unit.layer else { continue };
            let Range { start, end } = unit.tensor.range;
            parts.push(Part::Old(from..start));
            parts.push(Part::Made(self.job(layer, plan, false, unit.bytes())));
            from = end;
        }
        parts.push(Part::Old(from..length));
        FileLayout { bytes: length as u64, data, parts }
    }

    /// Factors in the places of weights, and a header that says so.
    fn rewritten(&mut self, mut units: Vec<Unit<'_>>, whole: &[u8], plan: &Plan) -> FileLayout {
        if !aligned(&units) {
            // As the format's own writer does: the widest elements first.
            units.sort_by_key(|u| std::cmp::Reverse(u.tensor.dtype.bits()));
        }
        let mut entries: HashMap<&str, Vec<(String, Value)>> = HashMap::new();
        let mut parts = Vec::new();
        let mut at = 0;
        let old = header(whole);
        for unit in &units {
            let dtype = old.get(&unit.tensor.name).and_then(|e| e.get("dtype")).cloned();
            let dtype = dtype.unwrap_or_else(|| unit.tensor.dtype.name().into());
            let start = at;
            for (name, label, shape) in unit.tensors() {
                let length = unit.length(&shape);
                let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [at, at + length]});
                entries.entry(&unit.tensor.name).or_default().push((name.clone(), entry));
                self.tensors.push((name, label, shape));
                at += length;
            }
            let range = unit.tensor.range.clone();
            match (unit.layer, parts.last_mut()) {
                (Some(layer), _) => {
                    let job = self.job(layer, plan, !unit.factors.is_empty(), (at - start) as u64);
                    parts.push(Part::Made(job));
                }
                (None, Some(Part::Old(before))) if before.end == range.start => before.end = range.end,
                (None, _) => parts.push(Part::Old(range)),
            }
        }
        let mut object = Map::new();
        for (name, value) in &old {
            match entries.remove(name.as_str()) {
                Some(new) => object.extend(new),
                // A copy of a tensor that another shard holds is no longer there.
                None if name == "__metadata__" => drop(object.insert(name.clone(), value.clone())),
                None => {}
            }
        }
        let mut text = Value::Object(object).to_string().into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        let head = [&(text.len() as u64).to_le_bytes()[..], &text].concat();
        let bytes = (head.len() + at) as u64;
        parts.insert(0, Part::New(head));
        FileLayout { bytes, data: at as u64, parts }
    }

    fn job(&mut self, layer: &Layer, plan: &Plan, factored: bool, bytes: u64) -> usize {
        self.jobs.push(Job { layer: layer.id, treatment: plan.treatment(layer.id), factored, bytes });
        self.jobs.len() - 1
    }

    /// Length of a part.
    pub fn length(&self, part: &Part) -> u64 {
        match part {
            Part::New(bytes) => bytes.len() as u64,
            Part::Old(range) => range.len() as u64,
            Part::Made(job) => self.jobs.get(*job).map_or(0, |j| j.bytes),
        }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }
}

impl Job {
    /// Bytes that are held while it is made.
    pub fn workspace(&self, layer: &Layer) -> u64 {
        let [rows, cols] = layer.matrix;
        let matrix = rows as u64 * cols as u64 * 4;
        let turned = if layer.orientation == Orientation::InOut { matrix } else { 0 };
        let more = match (self.treatment.rank, self.treatment.prune) {
            (None, _) => 0,
            (Some(rank), how) => {
                let sparse = if how.is_some() { 2 * matrix } else { 0 };
                sparse + svd::approximation_workspace(rows, cols, rank)
            }
        };
        let weighs = if self.treatment.weighs() { layer.cols() as u64 * layer.cols() as u64 * 8 * 4 } else { 0 };
        2 * matrix + turned + more + weighs + self.bytes
    }
}

/// What takes the place of one tensor.
struct Unit<'a> {
    tensor: &'a Tensor,
    /// The layer, where it is treated.
    layer: Option<&'a Layer>,
    /// Names and shapes, where it becomes factors.
    factors: Vec<(String, Vec<usize>)>,
}

impl Unit<'_> {
    fn tensors(&self) -> Vec<(String, &'static str, Vec<usize>)> {
        let dtype = self.tensor.dtype.name();
        if self.factors.is_empty() {
            return vec![(self.tensor.name.clone(), dtype, self.tensor.shape.clone())];
        }
        self.factors.iter().map(|(name, shape)| (name.clone(), dtype, shape.clone())).collect()
    }
    fn length(&self, shape: &[usize]) -> usize {
        if self.factors.is_empty() {
            return self.tensor.range.len();
        }
        shape.iter().product::<usize>() * self.tensor.dtype.bits() / 8
    }
    fn bytes(&self) -> u64 {
        self.tensor.range.len() as u64
    }
}

/// Whether each tensor begins at a multiple of its elements' width, as readers that map files need it.
fn aligned(units: &[Unit<'_>]) -> bool {
    let mut at = 0;
    units.iter().all(|unit| {
        let width = (unit.tensor.dtype.bits() / 8).max(1);
        unit.tensors().iter().all(|(_, _, shape)| {
            let fits = at % width == 0;
            at += unit.length(shape);
            fits
        })
    })
}

/// The header of a file that was opened, as JSON.
fn header(whole: &[u8]) -> Map<String, Value> {
    let read = || {
        let length = usize::try_from(u64::from_le_bytes(whole.get(..8)?.try_into().ok()?)).ok()?;
        let text = String::from_utf8_lossy(whole.get(8..length.checked_add(8)?)?);
        serde_json::from_str::<Map<String, Value>>(&text).ok()
    };
    read().unwrap_or_default()
}
