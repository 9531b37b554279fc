//! How the dashboard is looked at, apart from the plan: what comes back when a session is taken up again.

use super::metric::METRICS;
use super::{App, LensId, Measure, Scope, Sort, SpectrumView};
use crate::model::LayerId;
use crate::plan::Knob;
use crate::plan::budget::{ALLOCATORS, Ask};
use crate::treat::{Criterion, Factors, Granularity, Pattern};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Everything that a key changes and that is not the plan.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    lens: LensId,
    layer: LayerId,
    knob: Knob,
    scope: Scope,
    pattern: Pattern,
    criterion: Criterion,
    form: Factors,
    per: Granularity,
    filter: String,
    sort: Sort,
    all: bool,
    folded: BTreeSet<usize>,
    metric: Option<usize>,
    spectrum: SpectrumView,
    expanded: bool,
    budget: Ask,
    allocator: usize,
    measure: Measure,
    budgeting: bool,
    activations: bool,
}

impl App {
    pub(super) fn view(&self) -> View {
        View {
            lens: self.lens,
            layer: self.selected,
            knob: self.knob,
            scope: self.scope,
            pattern: self.pattern,
            criterion: self.criterion,
            form: self.form,
            per: self.per,
            filter: self.list.filter.clone(),
            sort: self.list.sort,
            all: self.list.all,
            folded: self.list.folded.clone(),
            metric: self.map_metric,
            spectrum: self.spectrum,
            expanded: self.expanded,
            budget: self.frontier.ask,
            allocator: self.frontier.allocator,
            measure: self.frontier.measure,
            budgeting: self.frontier.active,
            activations: self.activations,
        }
    }

    /// The view in words that do not depend on where things stand in tables.
    pub(super) fn view_words(&self, view: &View) -> Value {
        json!({
            "lens": view.lens,
            "layer": self.model.layer(view.layer).map(|l| l.name.as_str()),
            "knob": view.knob,
            "scope": view.scope,
            "pattern": view.pattern,
            "criterion": view.criterion,
            "factors": view.form,
            "per": view.per,
            "filter": view.filter,
            "sort": view.sort,
            "all": view.all,
            "folded": view.folded,
            "metric": view.metric.and_then(|m| METRICS.get(m)).map(|m| m.name),
            "axes": view.spectrum.axes,
            "cumulative": view.spectrum.cumulative,
            "overlay": view.spectrum.overlay,
            "cursor": view.spectrum.cursor,
            "expanded": view.expanded,
            "budget": view.budget,
            "allocator": ALLOCATORS.get(view.allocator).map(|a| a.name),
            "measure": view.measure,
            "budgeting": view.budgeting,
            "activations": view.activations,
        })
    }

    /// Looks as the words say; words that mean nothing here change nothing.
    pub(super) fn look(&mut self, words: &Value) {
        fn put<T: DeserializeOwned>(words: &Value, name: &str, slot: &mut T) {
            if let Some(value) = words.get(name).and_then(|v| T::deserialize(v).ok()) {
                *slot = value;
            }
        }
        put(words, "lens", &mut self.lens);
        put(words, "knob", &mut self.knob);
        put(words, "scope", &mut self.scope);
        put(words, "pattern", &mut self.pattern);
        put(words, "criterion", &mut self.criterion);
        put(words, "factors", &mut self.form);
        put(words, "per", &mut self.per);
        put(words, "filter", &mut self.list.filter);
        put(words, "sort", &mut self.list.sort);
        put(words, "all", &mut self.list.all);
        put(words, "folded", &mut self.list.folded);
        put(words, "axes", &mut self.spectrum.axes);
        put(words, "cumulative", &mut self.spectrum.cumulative);
        put(words, "overlay", &mut self.spectrum.overlay);
        put(words, "cursor", &mut self.spectrum.cursor);
        put(words, "expanded", &mut self.expanded);
        put(words, "budget", &mut self.frontier.ask);
        put(words, "measure", &mut self.frontier.measure);
        put(words, "budgeting", &mut self.frontier.active);
        put(words, "activations", &mut self.activations);
        self.activations &= self.model.layers.iter().any(|l| l.inputs.is_some());
        let ask = &mut self.frontier.ask;
        for share in [&mut ask.keep, &mut ask.floor, &mut ask.ceiling] {
            *share = share.clamp(0.0, 1.0);
        }
        let allocator = words.get("allocator").and_then(Value::as_str);
        if let Some(known) = ALLOCATORS.iter().position(|a| Some(a.name) == allocator) {
            self.frontier.allocator = known;
        }
        self.spectrum.cursor = self.spectrum.cursor.filter(|c| (0.0..=1.0).contains(c));
        match words.get("metric") {
            // None was chosen.
            Some(Value::Null) => self.map_metric = None,
            Some(name) => {
                let known = METRICS.iter().position(|m| Some(m.name) == name.as_str());
                self.map_metric = known.or(self.map_metric);
            }
            None => {}
        }
        let name = words.get("layer").and_then(Value::as_str);
        if let Some(layer) = self.model.layers.iter().find(|l| Some(l.name.as_str()) == name) {
            self.selected = layer.id;
        }
        self.rebuild_rows();
    }
}
