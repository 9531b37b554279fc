//! Listens to what layers multiply.

use super::sums::Sums;
use super::{CalibrateError, Options};
use crate::evaluate::moments::NotFinite;
use crate::evaluate::{Batch, Moments, Network};
use crate::model::{LayerId, Model};
use candle_core::{Error, Result as Tensed, Tensor};
use std::collections::BTreeMap;

/// Sums up what each layer hears; what several layers hear together once.
pub struct Ears<'a> {
    network: &'a Network,
    model: &'a Model,
    data: &'a str,
    options: &'a Options,
    /// Each layer heard so far, and which input it hears.
    layers: BTreeMap<LayerId, usize>,
    inputs: Vec<Input>,
    /// Bytes left for Gram matrices, and how many inputs found too few.
    room: (u64, usize),
    /// The tensor heard last, and which input it belongs to.
    last: Option<(candle_core::TensorId, usize)>,
    /// The layer that heard what is no number.
    wrong: Option<(LayerId, NotFinite)>,
}

/// A tensor that one or several layers hear.
struct Input {
    /// The layer that hears it first.
    first: LayerId,
    moments: Moments,
    /// What is not in them yet, where the network runs on a GPU.
    there: Option<Sums>,
}

impl<'a> Ears<'a> {
    /// Nothing heard yet.
    pub fn new(network: &'a Network, model: &'a Model, data: &'a str, options: &'a Options) -> Self {
        let (layers, inputs, room) = (BTreeMap::new(), Vec::new(), (options.room, 0));
        Self { network, model, data, options, layers, inputs, room, last: None, wrong: None }
    }

    /// Runs a batch and listens.
    pub fn run(&mut self, batch: &Batch) -> Result<(), CalibrateError> {
        let network = self.network;
        self.last = None;
        let run = network.logits(batch, Some(&mut |layer, x| self.hear(layer, x)));
        match (run, self.wrong.take()) {
            (Err(_), Some((layer, wrong))) => Err(not_finite(self.model, layer, "its input", wrong, self.data)),
            (Err(error), None) => Err(error.into()),
            (Ok(_), _) => Ok(()),
        }
    }

    /// Up to how many columns a Gram matrix is kept, of an input of so many.
    fn limit(&mut self, columns: usize) -> usize {
        let needs = 8 * (columns as u64).pow(2);
        if columns > self.options.limit {
            return self.options.limit;
        }
        if needs > self.room.0 {
            self.room.1 += 1;
            return 0;
        }
        self.room.0 -= needs;
        self.options.limit
    }

    /// Told where memory was too small for all Gram matrices.
    pub fn without_room(&self) -> Option<String> {
        let (_, missed) = self.room;
        let gigabytes = self.options.room as f64 / 1e9;
        (missed > 0).then(|| {
            format!(
                "of {missed} inputs only the diagonal of E[x xᵀ] is kept: the others' take the {gigabytes:.1} GB that there are \
                 (--memory); calibrate some layers at a time with --layers"
            )
        })
    }

    /// Layers heard and which input each hears, and the inputs.
    pub fn heard(self) -> Result<(BTreeMap<LayerId, usize>, Vec<Moments>), CalibrateError> {
        let whole = |mut input: Input| {
            input.there.map_or(Ok(()), |there| there.into(&mut input.moments))?;
            Ok(input.moments)
        };
        let inputs: Tensed<Vec<Moments>> = self.inputs.into_iter().map(whole).collect();
        Ok((self.layers, inputs.map_err(|e| self.network.failed(e))?))
    }

    fn hear(&mut self, layer: LayerId, x: &Tensor) -> Tensed<()> {
        if !self.options.wants(layer) {
            return Ok(());
        }
        let same = self.last.filter(|(id, _)| *id == x.id()).map(|(_, input)| input);
        let number = match (same, self.layers.get(&layer).copied()) {
            // What was summed up for the layer before.
            (Some(input), None) => {
                self.layers.insert(layer, input);
                return Ok(());
            }
            (Some(input), Some(known)) if input == known => return Ok(()),
            (_, Some(known)) => known,
            (None, None) => {
                let columns = x.dim(1)?;
                let limit = self.limit(columns);
                let moments = Moments::new(columns, limit);
                let there = Sums::new(&moments, x.device());
                self.inputs.push(Input { first: layer, moments, there });
                self.layers.insert(layer, self.inputs.len() - 1);
                self.inputs.len() - 1
            }
        };
        let input =
            self.inputs.get_mut(number).filter(|i| i.first == layer && x.dims().get(1) == Some(&i.moments.columns()));
        let Some(input) = input else {
            let name = self.model.layer(layer).map_or("a layer", |l| l.name.as_str());
            return Err(Error::Msg(format!("{name} hears another tensor than in the batches before")));
        };
        self.last = Some((x.id(), number));
        let wrong = if let Some(there) = &mut input.there {
            there.add(x)?
        } else {
            let values = x.flatten_all()?.to_vec1::<f32>()?;
            self.network.inside(|| input.moments.add(&values)).err()
        };
        let Some(wrong) = wrong else { return Ok(()) };
        self.wrong = Some((layer, wrong));
        Err(Error::wrap(wrong))
    }
}

/// The error that names the layer.
pub fn not_finite(model: &Model, layer: LayerId, what: &'static str, wrong: NotFinite, data: &str) -> CalibrateError {
    let layer = model.layer(layer).map_or_else(String::new, |l| l.name.clone());
    CalibrateError::NotFinite { model: model.name.clone(), layer, what, column: wrong.column, data: data.to_owned() }
}
