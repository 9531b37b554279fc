//! What a plan amounts to, as JSON and as a table.

use super::table::Table;
use crate::known::Known;
use crate::model::{Layer, Model};
use crate::plan::budget::Unit;
use crate::plan::file::Made;
use crate::plan::{Factors, LayerOutcome, Outcome, Plan, Treatment};
use crate::widgets::number::{BYTES, bytes, change, count, grouped, known, number, percent, ratio};
use serde_json::{Value, json as object};

/// A plan and what follows from it.
pub struct Summary<'a> {
    /// The checkpoint.
    pub model: &'a Model,
    /// Its fingerprint.
    pub fingerprint: String,
    /// How the plan was made.
    pub made: &'a Made,
    /// The plan.
    pub plan: &'a Plan,
    /// Which constraints held a budget back.
    pub binding: &'a [String],
    /// What was left open and a calibration decided, in words.
    pub by_calibration: &'a [String],
    /// What follows.
    pub outcome: &'a Outcome,
}

impl Summary<'_> {
    fn layers(&self) -> impl Iterator<Item = (&Layer, Treatment, &LayerOutcome)> {
        let all = self.model.layers.iter().zip(&self.outcome.layers);
        all.filter(|(l, _)| l.eligible() && l.tied_to.is_none()).map(|(l, o)| (l, self.plan.treatment(l.id), o))
    }
    fn binding(&self) -> Vec<String> {
        if !self.binding.is_empty() {
            return self.binding.to_vec();
        }
        let pinned = self.model.layers.iter().filter(|l| self.plan.entry(l.id).pinned);
        pinned.map(|l| format!("pinned: {}", l.name)).collect()
    }
}

fn share(before: u64, after: u64) -> f64 {
    if before == 0 { 1.0 } else { after as f64 / before as f64 }
}

/// One object with the fields that scripts rely on.
pub fn json(summary: &Summary) -> Value {
    let t = &summary.outcome.totals;
    let sizes =
        |params: u64, bytes: u64, macs: u64| object!({"params": params, "bytes": bytes, "macs_per_token": macs});
    let layers: Vec<Value> = summary
        .layers()
        .map(|(layer, treatment, out)| {
            object!({
                "layer": layer.name,
                "treatment": word(treatment),
                "remove": treatment.prune.map(|p| p.remove),
                "pattern": treatment.prune.map(|p| p.pattern.name(p.remove)),
                "criterion": treatment.prune.map(|p| p.criterion.name()),
                "rank": treatment.rank,
                "factors": (treatment.rank.is_some() && treatment.form != Factors::Matrix).then(|| treatment.form.name()),
                "bits": treatment.quantise.map(|q| q.bits),
                "bits_per": treatment.quantise.map(|q| q.per.name()),
                "params_after": out.after.params,
                "bytes_after": out.after.bytes,
                "index_bytes": out.after.index,
                "relative_error": out.relative_error(),
                "spectral_error": out.delta_norm,
                "output_error": out.weighed.map(|w| w.output_error),
                "excess_loss": out.weighed.and_then(|w| w.excess),
            })
        })
        .collect();
    let mut after = sizes(t.params.1, t.bytes.1, t.macs.1);
    after["index_bytes"] = t.index.into();
    object!({
        "model": summary.model.name,
        "fingerprint": summary.fingerprint,
        "allocator": summary.made.allocator,
        "budget": summary.made.budget.as_ref().map(|b| object!({"of": b.of, "keep": b.keep})),
        "before": sizes(t.params.0, t.bytes.0, t.macs.0),
        "after": after,
        "keep": {"params": share(t.params.0, t.params.1), "bytes": share(t.bytes.0, t.bytes.1), "macs": share(t.macs.0, t.macs.1)},
        "keep_compressible": {
            "params": Unit::Params.of_compressible(summary.model, summary.outcome, share(t.params.0, t.params.1)),
            "bytes": Unit::Bytes.of_compressible(summary.model, summary.outcome, share(t.bytes.0, t.bytes.1)),
        },
        "relative_error": t.error,
        "binding": summary.binding(),
        "by_calibration": summary.by_calibration,
        "layers": layers,
    })
}

/// What is done to a layer, in the words that scripts rely on.
fn word(treatment: Treatment) -> String {
    let parts =
        [treatment.rank.map(|_| "rank"), treatment.prune.map(|_| "prune"), treatment.quantise.map(|_| "quantise")];
    let words: Vec<&str> = parts.into_iter().flatten().collect();
    if words.is_empty() { "dense".to_owned() } else { words.join("+") }
}

/// A number with its badge; a dash where there is none: nothing more is measured.
fn told(value: Option<Known>, write: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), |k| known(Some(k), write))
}

/// A table for people, and the totals below it.
pub fn table(summary: &Summary) -> Vec<String> {
    let mut head = vec!["layer", "treatment", ">params", ">keep", ">err", ">‖W−Ŵ‖₂"];
    let seen = summary.layers().any(|(_, _, out)| out.weighed.is_some());
    head.extend(seen.then_some(">output err"));
    let mut table = Table::new(&head);
    for (layer, treatment, out) in summary.layers() {
        let words = match (treatment.rank, treatment.prune) {
            (None, None) => "dense".to_owned(),
            (Some(r), None) if treatment.form != Factors::Matrix => format!("rank {r} {}", treatment.form.words()),
            (Some(r), None) => format!("rank {r}"),
            (None, Some(p)) => format!("remove {}", p.short()),
            (Some(r), Some(p)) => format!("rank {r}, remove {} of the rest", p.short()),
        };
        let words = match treatment.quantise {
            Some(how) if treatment.is_rounded_alone() => how.short(),
            Some(how) => format!("{words}, {}", how.short()),
            None => words,
        };
        let pin = if summary.plan.entry(layer.id).pinned { " (pinned)" } else { "" };
        let mut row = vec![
            layer.name.clone(),
            format!("{words}{pin}"),
            grouped(out.after.params),
            percent(out.keep()),
            told(out.relative_error(), ratio),
            told(out.delta_norm, number),
        ];
        row.extend(seen.then(|| told(out.weighed.map(|w| w.output_error), ratio)));
        table.row(row);
    }
    let t = &summary.outcome.totals;
    let mut lines: Vec<String> = table.lines().collect();
    lines.push(String::new());
    lines.push(format!(
        "keeps {} of the parameters{} ({} of {}), {}{}, {} of the MACs; mean err {}",
        percent(t.keep()),
        Unit::Params
            .of_compressible(summary.model, summary.outcome, t.keep())
            .map_or_else(String::new, |within| format!(", {} of the compressible", percent(within))),
        grouped(t.params.1),
        grouped(t.params.0),
        change(t.bytes.0, t.bytes.1, &BYTES, " → "),
        if t.index > 0 { format!(" + {} of index", bytes(t.index)) } else { String::new() },
        percent(share(t.macs.0, t.macs.1)),
        told(t.error, ratio),
    ));
    let binding = summary.binding();
    if !binding.is_empty() {
        let pins = binding.iter().filter(|b| b.starts_with("pinned: ")).count();
        let rest = binding.iter().filter(|b| pins <= 6 || !b.starts_with("pinned: ")).cloned();
        let counted = (pins > 6).then(|| format!("{pins} layers pinned"));
        lines.push(format!("binding: {}", counted.into_iter().chain(rest).collect::<Vec<_>>().join("; ")));
    }
    if !summary.by_calibration.is_empty() {
        lines.push(format!("chosen by the calibration: {}", summary.by_calibration.join("; ")));
    }
    if t.macs_unknown > 0 {
        lines.push(format!("MACs of {} layers are not known", count(t.macs_unknown as u64)));
    }
    lines.push(if seen {
        "Output errors come from the inputs of the calibration, all others from the weights alone; none is a quality."
            .to_owned()
    } else {
        "Errors come from the weights alone and are no quality.".to_owned()
    });
    lines
}
