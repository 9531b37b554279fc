//! Facts as bytes, for the cache. What follows from singular values alone is not kept: it is made anew from them.

use crate::known::Known;
use crate::model::{Layer, Unfit};
use crate::numerics::density::Density;
use crate::probe::weighted;
use crate::probe::{
    Activations, Fact, Importance, Lipschitz, Magnitude, Rounding, Sketch, Spectrum, Structure, spatial,
};
use crate::treat::Factors;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A fact in its smallest form.
#[derive(Serialize, Deserialize)]
enum Record {
    Magnitude(Box<Magnitude>),
    Structure(Box<Structure>),
    Lipschitz(Lipschitz),
    Sketch { norm: Known, density: Density },
    Spectrum { sigma: Vec<f64>, accuracy: f64 },
    Certificate(Known),
    Rounding(Rounding),
    Spatial { sigma: Vec<f64> },
    Importance(Importance),
    Activations(Activations),
    Weighted(Vec<Record>),
    Losses(weighted::Losses),
    Unfit(Unfit),
}

/// The bytes of what one probe told.
pub fn encode_all(facts: &[Fact]) -> Option<Vec<u8>> {
    postcard::to_stdvec(&facts.iter().map(record).collect::<Vec<Record>>()).ok()
}

/// The facts that the bytes hold; `None` when they are none of this layer.
pub fn decode_all(layer: &Layer, bytes: &[u8]) -> Option<Vec<Fact>> {
    let records: Vec<Record> = postcard::from_bytes(bytes).ok()?;
    records.into_iter().map(|record| fact(layer, record)).collect()
}

fn record(fact: &Fact) -> Record {
    match fact {
        Fact::Magnitude(m) => Record::Magnitude(Box::new((**m).clone())),
        Fact::Structure(s) => Record::Structure(Box::new((**s).clone())),
        Fact::Lipschitz(l) => Record::Lipschitz((**l).clone()),
        Fact::Sketch(s) => Record::Sketch { norm: s.norm, density: s.density.clone() },
        Fact::Spectrum(s) => Record::Spectrum { sigma: s.sigma.clone(), accuracy: s.accuracy },
        Fact::Rounding(r) => Record::Rounding((**r).clone()),
        Fact::Spatial(s) => Record::Spatial { sigma: s.sigma.clone() },
        Fact::Importance(i) => Record::Importance((**i).clone()),
        Fact::Activations(a) => Record::Activations((**a).clone()),
        Fact::Weighted(w) => {
            let facts = [
                w.magnitude.clone().map(Fact::Magnitude),
                w.structure.clone().map(Fact::Structure),
                w.spectrum.clone().map(Fact::Spectrum),
                w.losses.clone().map(Fact::Losses),
            ];
            Record::Weighted(facts.iter().flatten().map(record).collect())
        }
        Fact::Losses(l) => Record::Losses((**l).clone()),
        Fact::Certificate(k) => Record::Certificate(*k),
        Fact::Unfit(u) => Record::Unfit(*u),
    }
}

/// The fact of this layer; `None` when its extents are another's.
fn fact(layer: &Layer, record: Record) -> Option<Fact> {
    let (rows, cols, epsilon) = (layer.rows(), layer.cols(), layer.dtype.epsilon());
    Some(match record {
        Record::Magnitude(m) => {
            let fits = m.row_squares.len() == rows && m.col_squares.len() == cols;
            fits.then(|| Fact::Magnitude(Arc::new(*m)))?
        }
        Record::Structure(s) => (s.rows.total() == rows as u64).then(|| Fact::Structure(Arc::new(*s)))?,
        Record::Lipschitz(l) => Fact::Lipschitz(Arc::new(l)),
        Record::Sketch { norm, density } => {
            (density.count == layer.full_rank()).then(|| Fact::Sketch(Arc::new(Sketch::new(layer, norm, density))))?
        }
        Record::Spectrum { sigma, accuracy } => (sigma.len() == layer.full_rank())
            .then(|| Fact::Spectrum(Arc::new(Spectrum::from_sigma(sigma, rows, cols, epsilon, accuracy))))?,
        Record::Rounding(r) => (r.shape == layer.matrix).then(|| Fact::Rounding(Arc::new(r)))?,
        Record::Spatial { sigma } => (sigma.len() == Factors::Spatial.full_rank(layer))
            .then(|| Fact::Spatial(Arc::new(spatial::found(layer, sigma))))?,
        Record::Importance(i) => (i.shape == layer.matrix).then(|| Fact::Importance(Arc::new(i)))?,
        Record::Weighted(records) => {
            let of = |r| match r {
                Record::Spectrum { sigma, .. } => (sigma.len() == layer.full_rank())
                    .then(|| Fact::Spectrum(Arc::new(weighted::spectrum(layer, sigma)))),
                other => fact(layer, other),
            };
            let facts: Option<Vec<Fact>> = records.into_iter().map(of).collect();
            Fact::Weighted(Arc::new(weighted::of(facts?)))
        }
        Record::Losses(l) => l.fit(layer).then(|| Fact::Losses(Arc::new(l)))?,
        Record::Activations(a) => (a.shape == layer.matrix).then(|| Fact::Activations(Arc::new(a)))?,
        Record::Certificate(k) => Fact::Certificate(k),
        Record::Unfit(u) => (u.row < rows && u.col < cols).then_some(Fact::Unfit(u))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sample;
    use crate::probe::{Ask, PROBES};

    #[test]
    fn every_fact_comes_back_as_it_was() {
        let ask = Ask { keep_going: &|| true, threads: 1 };
        for (name, bytes, config) in [
            ("bytelm", sample::WEIGHTS, sample::CONFIG),
            (
                "fashion_cnn",
                &include_bytes!("../../sample_models/fashion_cnn/model.safetensors")[..],
                include_str!("../../sample_models/fashion_cnn/config.json"),
            ),
        ] {
            let (model, weights) = crate::source::open_embedded(name, bytes, config).unwrap();
            let mut layer = model.layers.iter().find(|l| l.eligible()).unwrap().clone();
            let moments = (1..=layer.cols()).map(|j| j as f32).collect();
            layer.inputs = Some(Arc::new(crate::model::Inputs::of_diagonal(4, moments)));
            let layer = &layer;
            let entries = weights.stored(&model, layer).unwrap();
            for probe in PROBES.iter().filter(|p| p.applies(layer)) {
                let facts = probe.measure(layer, &entries, &ask).unwrap();
                let bytes = encode_all(&facts).unwrap();
                let back = decode_all(layer, &bytes).unwrap();
                assert!(format!("{facts:?}") == format!("{back:?}"), "{name} {:?}", probe.id());
                let other = model.layers.iter().find(|l| l.full_rank() != layer.full_rank()).unwrap();
                let depends = !matches!(facts[0], Fact::Lipschitz(_) | Fact::Certificate(_));
                assert_eq!(decode_all(other, &bytes).is_none(), depends, "{name} {:?}", probe.id());
            }
        }
    }
}
