//! Plans tried out on one model: only what differs from the plan before is treated and swapped, and what was measured once
//! is remembered.

use super::data::Slice;
use super::quality::{Measured, measure};
use super::treated::treat_one;
use super::{Network, RunError};
use crate::model::{LayerId, Model};
use crate::numerics::KeepGoing;
use crate::probe::ProbeError;
use crate::source::Weights;
use crate::treat::{Parts, Treatment};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// Where measurements are kept between runs, by a text that says all they depend on.
pub trait Kept: Send + Sync {
    /// What is kept under this text.
    fn get(&self, question: &str) -> Option<Vec<u8>>;
    /// Keeps it; that it cannot be kept is no reason to stop.
    fn put(&self, question: &str, answer: &[u8]);
}

/// Treated layers that are remembered, up to so many bytes.
struct Memory {
    parts: HashMap<(LayerId, String), (Arc<Parts>, u64)>,
    held: u64,
    most: u64,
    clock: u64,
}

fn bytes(parts: &Parts) -> u64 {
    let matrices = parts.factors.iter().flatten().chain(&parts.entries);
    matrices.map(|m| m.data.len() as u64 * 4).sum()
}

impl Memory {
    fn get(&mut self, layer: LayerId, treatment: Treatment) -> Option<Arc<Parts>> {
        self.clock += 1;
        let (parts, used) = self.parts.get_mut(&(layer, named(treatment)))?;
        *used = self.clock;
        Some(Arc::clone(parts))
    }
    /// Remembers; what was not used for longest goes.
    fn put(&mut self, layer: LayerId, treatment: Treatment, parts: Arc<Parts>) {
        self.clock += 1;
        self.held += bytes(&parts);
        if let Some((old, _)) = self.parts.insert((layer, named(treatment)), (parts, self.clock)) {
            self.held -= bytes(&old);
        }
        while self.held > self.most && self.parts.len() > 1 {
            let oldest = self.parts.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            let Some((gone, _)) = oldest.and_then(|key| self.parts.remove(&key)) else { return };
            self.held -= bytes(&gone);
        }
    }
}

/// A treatment in words that tell it from every other.
fn named(treatment: Treatment) -> String {
    format!("{treatment:?}")
}

/// A model that plans are tried out on.
pub struct Trials {
    model: Arc<Model>,
    weights: Weights,
    network: Network,
    loaded: Vec<Treatment>,
    memory: Memory,
    kept: Option<Arc<dyn Kept>>,
    content: String,
}

impl Trials {
    /// Takes a loaded network, all its layers as they are stored. `memory` bounds the treated layers that are remembered;
    /// `kept` is asked before anything is run.
    pub fn new(
        model: Arc<Model>,
        weights: Weights,
        network: Network,
        memory: u64,
        kept: Option<Arc<dyn Kept>>,
    ) -> Result<Self, RunError> {
        let content = if kept.is_some() { content(&model, &weights)? } else { String::new() };
        let loaded = vec![Treatment::default(); model.layers.len()];
        let memory = Memory { parts: HashMap::new(), held: 0, most: memory, clock: 0 };
        Ok(Self { model, weights, network, loaded, memory, kept, content })
    }

    /// The network, with the plan that was tried last.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Quality under a plan, one treatment for each layer. `wanted` is asked while layers are treated, `tell` is told what
    /// is known after each batch and says whether to go on; `None` when one of them does not.
    pub fn run(
        &mut self,
        plan: &[Treatment],
        slice: &Slice,
        wanted: KeepGoing<'_>,
        tell: &mut dyn FnMut(&Measured) -> bool,
    ) -> Result<Option<Measured>, RunError> {
        let question = if self.kept.is_some() { self.question(plan, slice)? } else { String::new() };
        let known = self.kept.as_ref().and_then(|k| k.get(&question));
        if let Some(measured) = known.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(Some(measured));
        }
        if !self.load(plan, wanted)? {
            return Ok(None);
        }
        let measured = measure(&self.network, slice, tell)?;
        if let (Some(kept), Some(measured)) = (&self.kept, &measured)
            && let Ok(bytes) = serde_json::to_vec(measured)
        {
            kept.put(&question, &bytes);
        }
        Ok(measured)
    }

    /// Everything that a measurement depends on.
    fn question(&self, plan: &[Treatment], slice: &Slice) -> Result<String, RunError> {
        let mut text = format!("measured-1 {} {}", self.content, slice.content());
        let treated = plan.iter().enumerate().filter(|(_, t)| !t.is_dense());
        for (i, treatment) in treated {
            text.push_str(&format!("\n{i} {}", named(*treatment)));
            // What was seen at the input decides what such a treatment does.
            let layer = self.model.layers.get(i);
            if let Some((layer, inputs)) = layer.and_then(|l| Some((l, l.inputs.as_ref()?))) {
                let digest = inputs.digest().map_err(|why| RunError::Treatment {
                    layer: layer.name.clone(),
                    cause: ProbeError::Inputs(why.to_string()),
                })?;
                text.push_str(&format!(" {}", blake3::Hash::from_bytes(digest).to_hex()));
            }
        }
        Ok(text)
    }

    /// Brings a plan into the network; `false` when it is no longer wanted.
    pub fn load(&mut self, plan: &[Treatment], wanted: KeepGoing<'_>) -> Result<bool, RunError> {
        let runs = self.network.layers();
        let changed: Vec<(LayerId, Treatment)> = self
            .model
            .layers
            .iter()
            .filter(|l| runs.contains(&l.id))
            .map(|l| (l.id, plan.get(l.tied_to.unwrap_or(l.id).0).copied().unwrap_or_default()))
            .filter(|(id, treatment)| self.loaded.get(id.0) != Some(treatment))
            .collect();
        // A few at a time: each is decoded, and holds its treated matrix.
        let together = self.network.breadth().max(1) * 2;
        for some in changed.chunks(together) {
            let mut fresh: Vec<(LayerId, Treatment, Option<Arc<Parts>>)> = some
                .iter()
                .map(|(id, t)| (*id, *t, if t.is_dense() { None } else { self.memory.get(*id, *t) }))
                .collect();
            // On the network's threads: the interface keeps its core.
            let made: Vec<Option<Result<Parts, RunError>>> = self.network.inside(|| {
                let missing = |(id, t, known): &(LayerId, Treatment, Option<Arc<Parts>>)| {
                    (known.is_none() && !t.is_dense()).then(|| self.treat(*id, *t, wanted))
                };
                fresh.par_iter().map(missing).collect()
            });
            for ((id, treatment, known), made) in fresh.iter_mut().zip(made) {
                match made {
                    Some(Err(RunError::Stopped)) => return Ok(false),
                    Some(Err(error)) => return Err(error),
                    Some(Ok(parts)) => {
                        let parts = Arc::new(parts);
                        self.memory.put(*id, *treatment, Arc::clone(&parts));
                        *known = Some(parts);
                    }
                    None => {}
                }
                match known {
                    Some(parts) => self.network.swap(*id, parts)?,
                    None => self.network.restore(*id),
                }
                if let Some(slot) = self.loaded.get_mut(id.0) {
                    *slot = *treatment;
                }
            }
        }
        Ok(true)
    }

    fn treat(&self, id: LayerId, treatment: Treatment, wanted: KeepGoing<'_>) -> Result<Parts, RunError> {
        let layer = self.model.layer(id).ok_or(RunError::Stopped)?;
        treat_one(&self.model, &self.weights, layer, treatment, wanted)
    }
}

/// A hash of all that the checkpoint holds.
fn content(model: &Model, weights: &Weights) -> Result<String, RunError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(model.config.as_ref().map_or(String::new(), ToString::to_string).as_bytes());
    for tensor in &model.tensors {
        hasher.update(format!("{} {} {:?}\n", tensor.name, tensor.dtype.name(), tensor.shape).as_bytes());
        hasher.update(weights.bytes(model, tensor)?);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
pub(in crate::evaluate) mod tests;
