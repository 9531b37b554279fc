//! A layer as a JSON object, with the field names that scripts rely on.

use super::figures::{Figure, wanted};
use crate::known::{Bound, Known};
use crate::model::{Layer, Model};
use crate::probe::book::LayerFacts;
use crate::probe::spectrum::ENERGIES;
use crate::probe::structure::PATTERNS;
use crate::probe::{Magnitude, Spectrum, Structure};
use serde_json::{Map, Value, json};

/// An object under construction: values that are undefined become `null` and say why in `note`.
struct Object {
    map: Map<String, Value>,
    /// The field that a note is about, where it is about one, and the note.
    notes: Vec<(String, String)>,
}

impl Object {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.map.insert(key.to_owned(), value.into());
    }
    fn known(&mut self, key: &str, value: Option<Known>, why: &str) {
        if let Some(k) = value.filter(|k| k.value.is_finite()) {
            self.put(key, json!({"value": k.value, "bound": k.bound.word()}));
        } else {
            self.put(key, Value::Null);
            self.note(key, why);
        }
    }
    fn note(&mut self, key: &str, why: &str) {
        if !why.is_empty() {
            self.notes.push((key.to_owned(), format!("{key}: {why}")));
        }
    }
    /// The object with these figures alone; with all where none is named.
    fn finish(mut self, only: &[&Figure]) -> Value {
        self.map.retain(|field, _| wanted(only, field));
        let of = |key: &str| wanted(only, key.split('.').next().unwrap_or(key));
        let notes: Vec<String> = self.notes.iter().filter(|(key, _)| of(key)).map(|(_, note)| note.clone()).collect();
        if !notes.is_empty() {
            let notes = notes.join("; ");
            self.put("note", notes);
        }
        Value::Object(self.map)
    }
}

/// What the header says of a layer; `why_not` when it cannot be compressed.
pub fn header(model: &Model, layer: &Layer) -> Map<String, Value> {
    let tensor = model.tensors.get(layer.tensor);
    let file = tensor.and_then(|t| model.files.get(t.file)).map_or("", |f| f.name.as_str());
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
    put("layer", json!(layer.name));
    put("tensor", json!(tensor.map_or("", |t| t.name.as_str())));
    put("file", json!(file));
    put("block", json!(layer.block));
    put("role", json!(layer.role.word()));
    put("kind", json!(layer.kind.word()));
    put("shape", json!(layer.shape));
    put("matrix", json!(layer.matrix));
    put("dtype", json!(layer.stored_as()));
    put("params", json!(layer.params));
    put("bytes", json!(layer.bytes));
    put("macs_per_token", json!(layer.macs));
    put("eligible", json!(layer.eligible()));
    if layer.coded.is_some() {
        let parts = layer.parts().iter().filter_map(|id| Some(model.tensors.get(*id)?.name.as_str()));
        put("parts", json!(parts.collect::<Vec<_>>()));
        put("bits_per_weight", json!(layer.bits_per_weight()));
    }
    if let Some(why) = &layer.why_not {
        put("why_not", json!(why));
    }
    map
}

/// Everything measured of a layer, or of it the figures that are named.
pub fn measured(model: &Model, layer: &Layer, facts: &LayerFacts, with_spectrum: bool, only: &[&Figure]) -> Value {
    let mut map = header(model, layer);
    map.remove("why_not");
    let mut o = Object { map, notes: Vec::new() };
    if let Some(why) = &facts.failure {
        o.notes.push((String::new(), why.clone()));
    }
    if let Some(why) = layer.why_not.as_ref().filter(|_| layer.coded.is_some()) {
        o.notes.push((String::new(), why.clone()));
    }
    // A failure already says why everything is missing.
    let absent = if facts.failure.is_some() || layer.coded.is_some() { "" } else { "not measured" };
    norms(&mut o, layer, facts, absent);
    shape(&mut o, layer, facts, absent);
    magnitudes(&mut o, facts.magnitude.as_deref(), absent);
    patterns(&mut o, facts.structure.as_deref());
    lipschitz(&mut o, layer, facts, absent);
    if with_spectrum {
        let s = facts.spectrum.as_deref();
        o.put("singular_values", s.map_or(Value::Null, |s| json!(s.sigma)));
        // How far each of them may be off.
        o.put("singular_values_error", s.map_or(Value::Null, |s| json!(s.norm() * s.accuracy)));
    }
    o.finish(only)
}

fn norms(o: &mut Object, layer: &Layer, facts: &LayerFacts, absent: &str) {
    let m = facts.magnitude.as_deref();
    let zeros = m.map(|m| Known::exact(m.zeros as f64 / m.entries.max(1) as f64));
    o.known("zero_fraction", zeros, absent);
    o.known("frobenius_norm", m.map(|m| Known::exact(m.frobenius())), absent);
    o.known("spectral_norm", facts.norm_below(), absent);
    if let Some(bound) = facts.certificate {
        o.known("spectral_norm_certified", Some(bound), "");
    }
    let best = facts.best_spectrum();
    let from = |f: fn(&Spectrum) -> Option<f64>| best.and_then(|s| Some(s.known(f(s)?)));
    o.known("nuclear_norm", from(|s| Some(s.nuclear)), absent);
    o.known("l12_nuclear_norm", m.map(|m| m.l12_nuclear(layer.full_rank())), absent);
    let zero = m.is_some_and(|m| m.sum_squares == 0.0);
    let why = if zero { "the matrix is zero" } else { absent };
    // ‖W‖_F² over a lower bound of σ₁² bounds the stable rank from above.
    let sketch = facts.sketch.as_deref().filter(|s| s.norm.value > 0.0).zip(m);
    let sketch = sketch.map(|(s, m)| Known::upper(m.stable_rank_above(s.norm.value)));
    let stable = facts.spectrum.as_deref().map_or(sketch, |s| s.stable_rank.map(Known::exact));
    o.known("stable_rank", stable, why);
    o.known("effective_rank", from(|s| s.effective_rank), why);
}

fn shape(o: &mut Object, layer: &Layer, facts: &LayerFacts, absent: &str) {
    let (s, best) = (facts.spectrum.as_deref(), facts.best_spectrum());
    let zero = s.is_some_and(|s| s.norm() == 0.0);
    let singular = match s {
        Some(_) if zero => "the matrix is zero",
        Some(_) => "singular",
        None => absent,
    };
    o.known("condition_number", s.and_then(|s| s.condition), singular);
    o.known("numerical_rank", s.map(|s| s.numerical_rank), absent);
    let ranks = best.map(|s| {
        let pairs = ENERGIES.iter().zip(s.rank_for_energy).map(|(e, r)| (format!("{e:.2}"), json!(r)));
        Value::Object(pairs.collect())
    });
    o.put("rank_for_energy", ranks.unwrap_or(Value::Null));
    let bounds = best.map(|s| {
        let words = s.rank_for_energy_bound.map(Bound::word);
        Value::Object(ENERGIES.iter().zip(words).map(|(e, word)| (format!("{e:.2}"), json!(word))).collect())
    });
    o.put("rank_for_energy_bound", bounds.unwrap_or(Value::Null));
    if best.is_some_and(|s| !s.is_exact()) {
        o.note("rank_for_energy", "estimated from a sketch");
    }
    o.put("break_even_rank", layer.break_even_rank());
    let fit = s.and_then(|s| s.power_law.as_ref());
    if s.is_some() && fit.is_none() {
        o.note("power_law", "too few singular values above zero");
    }
    o.put(
        "power_law",
        fit.map_or(
            Value::Null,
            |f| json!({"alpha": f.alpha, "xmin": f.xmin, "ks": f.ks, "tail": f.tail, "bound": Bound::Estimate.word()}),
        ),
    );
    let bulk = best.and_then(|s| s.marchenko_pastur.as_ref());
    if s.is_some() && bulk.is_none() {
        o.note("marchenko_pastur", "no bulk to fit");
    }
    o.put(
        "marchenko_pastur",
        bulk.map_or(
            Value::Null,
            |f| json!({"sigma": f.sigma, "edge": f.edge, "spikes": f.spikes, "bound": Bound::Estimate.word()}),
        ),
    );
}

fn magnitudes(o: &mut Object, m: Option<&Magnitude>, absent: &str) {
    let Some(m) = m else {
        for key in ["magnitude", "prune_error", "prune_error_bound"] {
            o.put(key, Value::Null);
        }
        o.known("pq_index", None, absent);
        return;
    };
    let smallest = (m.min_nonzero > 0.0).then_some(m.min_nonzero);
    if smallest.is_none() {
        o.note("magnitude.min_nonzero", "the matrix is zero");
    }
    let quantiles: Map<String, Value> = [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99)]
        .map(|(name, q)| (name.to_owned(), json!(m.quantile(q).value)))
        .into_iter()
        .collect();
    let bound = m.quantile(0.5).bound.word();
    o.put("magnitude", json!({
        "min_nonzero": smallest, "median": m.quantile(0.5).value, "max": m.max, "quantiles": quantiles, "quantile_bound": bound, "bound": Bound::Exact.word(),
    }));
    let errors = m.prune_error.iter().map(|(r, e)| (format!("{r}"), json!(e)));
    o.put("prune_error", Value::Object(errors.collect()));
    o.put("prune_error_bound", Bound::Exact.word());
    o.known("pq_index", Some(Known::exact(m.pq_index)), absent);
}

fn patterns(o: &mut Object, s: Option<&Structure>) {
    let errors = |s: &Structure| PATTERNS.map(|(n, of)| (format!("{n}:{of}"), json!(s.group_error(n, of)))).into_iter();
    o.put("nm_error", s.map_or(Value::Null, |s| Value::Object(errors(s).collect())));
    o.put("nm_error_bound", s.map_or(Value::Null, |_| json!(Bound::Exact.word())));
}

fn lipschitz(o: &mut Object, layer: &Layer, facts: &LayerFacts, absent: &str) {
    let Some(l) = facts.lipschitz.as_deref() else {
        o.put("lipschitz", Value::Null);
        o.note("lipschitz", absent);
        return;
    };
    let exact = facts.spectrum.as_deref().filter(|_| !layer.kind.is_conv()).map(|s| Known::exact(s.norm()));
    let below = if layer.kind.is_conv() { l.l2_lower } else { facts.norm_below() };
    let l2 = exact.unwrap_or(l.l2_upper);
    let rms = l.rms_factor.map(|f| l2.map(|v| v * f));
    let mut map = Map::new();
    map.insert("l2".to_owned(), json!(l2));
    map.insert("linf".to_owned(), json!(l.linf));
    map.insert("l1".to_owned(), json!(l.l1));
    map.insert("rms".to_owned(), json!(rms));
    map.insert("l2_lower".to_owned(), json!(below));
    let method = if exact.is_some() { "largest singular value" } else { &l.method };
    map.insert("method".to_owned(), json!(method));
    if rms.is_none() {
        o.note("lipschitz.rms", "the convolution's image size is not known");
    }
    o.put("lipschitz", Value::Object(map));
}
