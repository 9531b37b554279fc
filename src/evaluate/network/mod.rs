//! A model that runs: glue for each architecture around *sites*, the layers that multiply.

mod activation;
mod bert;
mod blame;
mod gpt2;
mod head;
mod inplace;
mod llama;
mod pass;
mod place;
mod reader;
mod rope;
mod sequential;
mod site;

use super::{Batch, Listener, Outputs, RunError};
use crate::model::{LayerId, Model, TensorId, decode};
use crate::source::{OpenError, Weights};
use crate::treat::Parts;
use bert::Bert;
use candle_core::{Device, Result as Tensed, Tensor};
use gpt2::Gpt2;
use head::Head;
use llama::Llama;
use pass::Pass;
use rayon::ThreadPool;
use reader::Reader;
use sequential::Sequential;
use site::Site;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Rows of tokens, flattened.
struct Tokens {
    /// Row after row.
    flat: Vec<u32>,
    /// Rows, and tokens of each.
    shape: [usize; 2],
}

impl Tokens {
    /// The learned positions of all tokens: (B·T) × width.
    fn positions(&self, pass: &Pass, table: TensorId) -> Tensed<Tensor> {
        let [b, t] = self.shape;
        let table = pass.fixed(table)?;
        if t > table.dim(0)? {
            candle_core::bail!("{t} tokens, and the model has {} positions", table.dim(0)?);
        }
        table.narrow(0, 0, t)?.repeat((b, 1))
    }
}

/// The glue of an architecture.
#[derive(Debug, Clone)]
enum Body {
    Llama(Llama),
    Gpt2(Gpt2),
    Bert(Bert),
    Sequential(Sequential),
}

impl Body {
    /// Why nothing that it says can be scored.
    fn speechless(&self) -> Option<&'static str> {
        match self {
            Self::Llama(net) => net.headless(),
            Self::Gpt2(net) => net.headless(),
            Self::Bert(_) => Some("is an encoder: it gives hidden states, and nothing to compare them with"),
            Self::Sequential(_) => None,
        }
    }

    fn read(reader: &mut Reader, model: &Model) -> Result<Self, String> {
        match model.architecture() {
            Some(kind) if llama::TYPES.contains(&kind) => Llama::read(reader, kind).map(Self::Llama),
            Some("gpt2") => Gpt2::read(reader).map(Self::Gpt2),
            Some("bert") => Bert::read(reader).map(Self::Bert),
            Some("sequential") => Sequential::read(reader).map(Self::Sequential),
            Some(kind) => Err(format!("the architecture {kind} is not known")),
            None if model.config.is_none() => Err("no config.json says how its layers are joined".to_owned()),
            None => Err("config.json does not say model_type".to_owned()),
        }
    }
}

/// Whether a model says something that can be scored, from its config and headers alone; the reason names what is missing.
pub fn scorable(model: &Model) -> Result<(), String> {
    match Body::read(&mut Reader::new(model), model)?.speechless() {
        Some(why) => Err(format!("it {why}; calibrate runs it")),
        None => Ok(()),
    }
}

/// Whether a model can be run, from its config and headers alone; the reason names what is not known.
pub fn runnable(model: &Model) -> Result<(), String> {
    Body::read(&mut Reader::new(model), model).map(drop)
}

/// A model that runs. Holds its weights as `f32`; a clone shares them.
#[derive(Debug, Clone)]
pub struct Network {
    name: String,
    body: Body,
    sites: BTreeMap<LayerId, Site>,
    fixed: HashMap<TensorId, Tensor>,
    /// Names of the fixed ones, for errors.
    names: HashMap<TensorId, String>,
    device: Device,
    threads: Option<Arc<ThreadPool>>,
    differentiable: bool,
}

impl Network {
    /// Decodes what the model needs to run.
    pub fn load(model: &Model, weights: &Weights, device: &Device) -> Result<Self, RunError> {
        let mut reader = Reader::new(model);
        let body = Body::read(&mut reader, model)
            .map_err(|why| RunError::NotRunnable { model: model.path.display().to_string(), why })?;
        let failed = |cause| RunError::Arithmetic { model: model.name.clone(), cause: Box::new(cause) };
        let mut fixed = HashMap::new();
        for &id in reader.fixed.iter().chain(reader.sites.values().flatten()) {
            let tensor = as_stored(model, weights, id, device)?;
            fixed.insert(id, tensor.map_err(failed)?);
        }
        let mut sites = BTreeMap::new();
        for (&id, bias) in &reader.sites {
            let Some(layer) = model.layer(id) else { continue };
            // A tied head is the table that was loaded already: one copy in memory.
            let tied = layer.tied_to.and_then(|id| model.layer(id)).and_then(|l| fixed.get(&l.tensor));
            let shared = tied.filter(|t| t.dims() == layer.matrix).cloned();
            let weight = match shared {
                Some(shared) => shared,
                None => site::tensor(&weights.matrix(model, layer)?, device).map_err(failed)?,
            };
            weights.release(model, layer);
            let bias = bias.and_then(|b| fixed.get(&b).cloned());
            sites.insert(id, Site::new(layer.name.clone(), weight, bias));
        }
        let name = model.name.clone();
        let names = fixed.keys().filter_map(|&id| Some((id, model.tensors.get(id)?.name.clone()))).collect();
        Ok(Self { name, body, sites, fixed, names, device: device.clone(), threads: None, differentiable: false })
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether derivatives can be taken through it; slower.
    #[must_use]
    pub fn differentiable(self, differentiable: bool) -> Self {
        Self { differentiable, ..self }
    }

    /// Layers that it runs as a product, convolutions among them, in module order.
    pub fn layers(&self) -> Vec<LayerId> {
        self.sites.keys().copied().collect()
    }

    /// A layer runs as these parts from now on.
    pub fn swap(&mut self, layer: LayerId, parts: &Parts) -> Result<(), RunError> {
        let name = self.name.clone();
        let site = self.sites.get_mut(&layer);
        let site = site.ok_or_else(|| RunError::Misfit(format!("{name}: layer {} is not run", layer.0)))?;
        let placed = site.swap(parts).map_err(|what| RunError::Misfit(format!("{name}: {what}")))?;
        placed.map_err(|cause| self.failed(cause))
    }

    /// Whether it says something that can be scored: an encoder gives hidden states, no logits.
    pub fn scores(&self) -> bool {
        self.speechless().is_none()
    }

    /// Why nothing that it says can be scored.
    pub fn speechless(&self) -> Option<&'static str> {
        self.body.speechless()
    }

    /// A layer runs as it is stored again.
    pub fn restore(&mut self, layer: LayerId) {
        if let Some(site) = self.sites.get_mut(&layer) {
            site.restore();
        }
    }

    /// What it says: logits rows × tokens × vocabulary for text, examples × classes for images; of an encoder the last
    /// hidden state, rows × tokens × width. `listen` hears what each layer multiplies.
    pub fn logits(&self, batch: &Batch, listen: Option<&mut Listener>) -> Result<Tensor, RunError> {
        self.logits_through(batch, listen, None)
    }

    /// The same, with `outputs` given each layer's output before its bias is added (rows × `out_features`), and what
    /// goes on in its place: a way to derivatives by these outputs.
    pub fn logits_through<'b>(
        &self,
        batch: &Batch,
        listen: Option<&mut Listener<'b>>,
        outputs: Option<&mut Outputs<'b>>,
    ) -> Result<Tensor, RunError> {
        let mut pass = Pass::new(self, listen, outputs);
        let hidden = self.through(&mut pass, batch)?;
        let logits = self.headed(&mut pass, &hidden).map_err(|e| self.failed(e))?;
        let shaped = match batch {
            Batch::Tokens(rows) => {
                let width = logits.dim(1).map_err(|e| self.failed(e))?;
                logits.reshape((rows.len(), rows.first().map_or(0, Vec::len), width))
            }
            Batch::Images { .. } => Ok(logits),
        };
        shaped.map_err(|e| self.failed(e))
    }

    /// Logits of the last token of each row: rows × vocabulary.
    pub fn last_logits(&self, batch: &Batch) -> Result<Tensor, RunError> {
        let Batch::Tokens(rows) = batch else { return self.logits(batch, None) };
        let hidden = self.hidden(batch)?;
        let length = rows.first().map_or(0, Vec::len);
        let last: Vec<u32> = (1..=rows.len()).map(|row| (row * length - 1) as u32).collect();
        let last = Tensor::new(last, &self.device).and_then(|at| hidden.index_select(&at, 0));
        self.head(&last.map_err(|e| self.failed(e))?)
    }

    /// Hidden states before the head, (rows · tokens) × width; of images the logits.
    pub(super) fn hidden(&self, batch: &Batch) -> Result<Tensor, RunError> {
        self.through(&mut Pass::new(self, None, None), batch)
    }

    /// Logits of hidden states.
    pub(super) fn head(&self, hidden: &Tensor) -> Result<Tensor, RunError> {
        self.headed(&mut Pass::new(self, None, None), hidden).map_err(|e| self.failed(e))
    }

    fn through(&self, pass: &mut Pass, batch: &Batch) -> Result<Tensor, RunError> {
        let misfit = |what: &str| RunError::Misfit(format!("{} {what}", self.name));
        let done = match (&self.body, batch) {
            (Body::Sequential(net), Batch::Images { pixels, count }) => {
                if pixels.len() != net.example() * count || *count == 0 {
                    return Err(misfit("takes images of another size"));
                }
                net.logits(pass, pixels, *count)
            }
            (Body::Sequential(_), Batch::Tokens(_)) => return Err(misfit("takes images, not text")),
            (_, Batch::Images { .. }) => return Err(misfit("takes text, not images")),
            (Body::Llama(net), Batch::Tokens(rows)) => net.hidden(pass, &self.tokens(rows)?),
            (Body::Gpt2(net), Batch::Tokens(rows)) => net.hidden(pass, &self.tokens(rows)?),
            (Body::Bert(net), Batch::Tokens(rows)) => net.hidden(pass, &self.tokens(rows)?),
        };
        done.map_err(|e| self.failed(e))
    }

    fn headed(&self, pass: &mut Pass, hidden: &Tensor) -> Tensed<Tensor> {
        match &self.body {
            Body::Llama(net) => net.head(pass, hidden),
            Body::Gpt2(net) => net.head(pass, hidden),
            Body::Bert(_) | Body::Sequential(_) => Ok(hidden.clone()),
        }
    }

    fn tokens(&self, rows: &[Vec<u32>]) -> Result<Tokens, RunError> {
        let length = rows.first().map_or(0, Vec::len);
        if length == 0 || rows.iter().any(|r| r.len() != length) {
            return Err(RunError::Misfit(format!("{}: rows of tokens that are not of one length", self.name)));
        }
        Ok(Tokens { flat: rows.concat(), shape: [rows.len(), length] })
    }

    fn site(&self, id: LayerId) -> Tensed<&Site> {
        self.sites.get(&id).ok_or_else(|| candle_core::Error::Msg(format!("layer {} was not loaded", id.0)))
    }

    pub(super) fn failed(&self, cause: candle_core::Error) -> RunError {
        RunError::Arithmetic { model: self.name.clone(), cause: Box::new(cause) }
    }
}

/// A tensor in its stored shape, as `f32`.
fn as_stored(model: &Model, weights: &Weights, id: TensorId, device: &Device) -> Result<Tensed<Tensor>, OpenError> {
    let gone = || OpenError::broken(&model.path, format!("no tensor {id}"), "open the checkpoint again");
    let tensor = model.tensors.get(id).ok_or_else(gone)?;
    let numbers = decode::decode(tensor.dtype, weights.bytes(model, tensor)?).ok_or_else(gone)?;
    Ok(Tensor::from_vec(numbers, tensor.shape.as_slice(), device))
}
