//! Measured loss: what the plan at hand costs, the plans visited so far, what each layer loses alone, and whether any
//! proxy says the same.

mod hardest;
mod heat;
mod predictors;

use super::explain::{self, Entry};
use super::state::say;
use super::{Lens, Look};
use crate::app::{Action, LensId, QualityPanel, TRACE};
use crate::evaluate::{Measured, Metric, difference};
use crate::known::Known;
use crate::widgets::number::{PENDING, known, number, percent, percent1, ratio};
use crate::widgets::plot::{Axis, Curve, Plot};
use crate::widgets::{Ink, Phrase, put};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// See the module.
pub struct QualityLens;

impl Lens for QualityLens {
    fn id(&self) -> LensId {
        LensId::Quality
    }
    fn title(&self, look: &Look) -> String {
        match &look.app.quality.offer {
            Some(offer) if look.compact => format!("Quality  {}", unit(offer.metric)),
            Some(offer) => format!("Quality  measured {}", unit(offer.metric)),
            None => "Quality".to_owned(),
        }
    }
    fn remark(&self, look: &Look) -> String {
        let quality = &look.app.quality;
        quality.offer.as_ref().map_or_else(|| "not measured".to_owned(), |o| o.slices[quality.slice()].clone())
    }
    fn keys(&self) -> &'static [Action] {
        &[Action::Metric, Action::Sweep, Action::Extent, Action::Expand]
    }
    fn word(&self, action: Action) -> Option<&'static str> {
        (action == Action::Metric).then_some("panel")
    }
    fn draw(&self, look: &Look, area: Rect, buf: &mut Buffer) {
        let quality = &look.app.quality;
        if let Some(why) = quality.failure.as_ref().or(quality.offer.is_none().then_some(&quality.why_not)) {
            let text = format!(
                "Quality is not measured: {why}. Until it is, every error shown is of weights or activations alone: \
                 cutting 2 % of the energy can double a model's loss."
            );
            say(look, &text, area, buf);
            return;
        }
        if !quality.is_on() {
            say(
                look,
                &format!("Quality: E measures it ({}). The model is large, so it waits to be asked.", remark(look)),
                area,
                buf,
            );
            return;
        }
        let numbers = if area.height >= 12 { 2 } else { 1 };
        let rest = area.height - numbers;
        let below = (rest * 11 / 20).max(rest.min(5));
        let plot = Rect { y: area.y + numbers, height: rest - below, ..area };
        let panel = Rect { y: plot.bottom(), height: below, ..area };
        words(look, Rect { height: numbers, ..area }, buf);
        trace(look, plot, buf);
        panels(look, panel, buf);
    }
    fn explain(&self) -> &'static [Entry] {
        explain::QUALITY
    }
}

/// What is measured on, in short.
fn remark(look: &Look) -> String {
    let quality = &look.app.quality;
    quality.offer.as_ref().map_or_else(String::new, |o| o.sizes[quality.slice()].clone())
}

/// The unit, as it stands behind a number.
pub fn unit(metric: Metric) -> &'static str {
    match metric {
        Metric::BitsPerByte => "bits/byte",
        Metric::Accuracy => "accuracy",
    }
}

/// A measured value: `1.67`, `.928`.
pub fn value(metric: Metric, x: f64) -> String {
    match metric {
        Metric::BitsPerByte => number(x),
        Metric::Accuracy => percent1(x),
    }
}

/// A standard error, in the unit of [`value`].
pub fn error(metric: Metric, x: f64) -> String {
    match metric {
        _ if !x.is_finite() => "±?".to_owned(),
        Metric::BitsPerByte => format!("±{}", ratio(x)),
        Metric::Accuracy => format!("±{:.1}", x * 100.0),
    }
}

/// `1.67 → 1.79 ±.03 bits/byte`, or what there is of it. A measurement under way is an estimate of the slice's.
pub fn gauge(look: &Look) -> Option<Phrase> {
    let quality = &look.app.quality;
    let offer = quality.offer.as_ref().filter(|_| quality.is_on())?;
    let (metric, size) = (offer.metric, &offer.sizes[quality.slice()]);
    let measured = look.app.measured();
    let Some(dense) = quality.dense() else {
        let now = measured.map_or_else(|| PENDING.to_owned(), |(m, _)| format!("≈{}", value(metric, m.value)));
        return Some(Phrase::new().group(now).and_inked(format!("{} · {size}", unit(metric)), Ink::Quiet));
    };
    let mut phrase = Phrase::new().group(value(metric, dense.value));
    if look.app.plan.is_dense() {
        phrase = phrase.and_inked(error(metric, dense.standard_error), Ink::Quiet);
    } else {
        phrase = phrase.and_inked("→", Ink::Quiet);
        phrase = match measured {
            None => phrase.and(PENDING),
            Some((m, whole)) => {
                let now = format!("{}{}", if whole { "" } else { "≈" }, value(metric, m.value));
                let worse = (m.value - dense.value) * if metric == Metric::Accuracy { -1.0 } else { 1.0 };
                let ink = if whole && worse > 4.0 * m.standard_error { Ink::Warn } else { Ink::Accent };
                phrase.and_inked(now, ink).and_inked(error(metric, m.standard_error), Ink::Quiet)
            }
        };
    }
    Some(phrase.and_inked(format!("{} · {size}", unit(metric)), Ink::Quiet))
}

fn words(look: &Look, area: Rect, buf: &mut Buffer) {
    let quality = &look.app.quality;
    let Some(offer) = &quality.offer else { return };
    let metric = offer.metric;
    let shown = |m: &Measured| format!("{} {}", value(metric, m.value), error(metric, m.standard_error));
    let mut first = Phrase::new().caption("dense");
    first = first.and(quality.dense().map_or_else(|| PENDING.to_owned(), shown));
    let measured = look.app.measured();
    first = first.caption("plan");
    first = match measured {
        Some((m, true)) => first.and_inked(shown(m), Ink::Accent),
        Some((m, false)) => first.and_inked(format!("≈{}", shown(m)), Ink::Accent).and(percent(m.share.min(0.999))),
        None => first.and(PENDING),
    };
    let treated = !look.app.plan.is_dense();
    if let (Some((m, true)), Some(dense), true) = (measured, quality.dense(), treated) {
        let d = difference(m, dense);
        let sign = if d.value >= 0.0 { "+" } else { "" };
        let by = format!("{sign}{} {}", value(metric, d.value), error(metric, d.value_error));
        first = first.caption(if look.compact { "Δ" } else { "difference" }).and(by);
    }
    first.draw(buf, area.x + 1, area.y, area.right(), 2, look.theme);
    if area.height < 2 {
        return;
    }
    let Some((m, whole)) = measured else { return };
    let mut second = Phrase::new();
    if let Some(perplexity) = m.perplexity {
        let value = known(Some(if whole { Known::exact(perplexity) } else { Known::estimate(perplexity) }), number);
        second = second.caption("perplexity").and(value).and_inked("per token", Ink::Quiet);
    }
    second = second.caption("loss").and(number(m.nats)).and_inked("nats", Ink::Quiet);
    if m.seconds > 0.0 {
        let rate = if m.tokens > 0 { m.tokens as f64 } else { m.examples as f64 } / m.seconds;
        let what = if m.tokens > 0 { "tokens/s" } else { "images/s" };
        second = second.group(number(rate)).and_inked(what, Ink::Quiet);
    }
    second.draw(buf, area.x + 1, area.y + 1, area.right(), 2, look.theme);
}

/// The plans visited, in their order: the last of them is at the right.
fn trace(look: &Look, area: Rect, buf: &mut Buffer) {
    let quality = &look.app.quality;
    let Some(offer) = quality.offer.as_ref().filter(|_| area.height >= 3) else { return };
    let first = quality.visits.len().saturating_sub(TRACE);
    let mut values: Vec<f64> = quality.visits[first..].iter().map(|v| v.measured.value).collect();
    if values.is_empty() {
        say(look, "the dense model is being measured …", area, buf);
        return;
    }
    let running = look.app.measured().filter(|(_, whole)| !whole).map(|(m, _)| m);
    let here = look.app.treatments();
    let at = quality.visits[first..].iter().position(|v| v.plan == here);
    // A measurement under way stands at the right, with the band in which it will probably end.
    let mut band = Vec::new();
    if let Some(m) = running {
        let x = values.len() as f64 + 1.0;
        band = vec![(x, m.value - m.standard_error), (x, m.value + m.standard_error)];
        values.push(m.value);
    }
    let dense = quality.visits.first().map_or(values[0], |v| v.measured.value);
    let all = || values.iter().copied().chain(band.iter().map(|b| b.1)).filter(|v| v.is_finite());
    let (low, high) = (all().fold(dense, f64::min), all().fold(dense, f64::max));
    let room = ((high - low) * 0.08).max(dense.abs() * 0.01);
    let cursor = if running.is_some() { Some(values.len() - 1) } else { at };
    let plot = Plot {
        x: Axis::new(1.0, (values.len().max(8)) as f64, false),
        y: Axis::new(low - room, high + room, false),
        curves: vec![Curve { values: &values, ink: Ink::Accent, kept: None }],
        marks: Vec::new(),
        level: Some((dense, format!("dense {}", value(offer.metric, dense)))),
        dead_from: None,
        dead_label: "",
        cursor: cursor.map(|i| (i as f64 + 1.0, values[i])),
        points: band.into_iter().map(|(x, y)| (x, y, "╴".to_owned(), Ink::Quiet)).collect(),
        write_y: number,
        // Plans are whole; a wide axis has ticks between them.
        write_x: |x| if x.fract() == 0.0 { format!("{x:.0}") } else { String::new() },
    };
    plot.draw(area, buf, look.theme);
}

fn panels(look: &Look, area: Rect, buf: &mut Buffer) {
    let chosen = look.app.quality.panel;
    // Where there is room, what was chosen stands beside the predictors.
    if area.width >= 96 {
        let left = area.width / 2;
        let other = if chosen == QualityPanel::Predictors { QualityPanel::Sensitivity } else { chosen };
        panel(look, QualityPanel::Predictors, Rect { width: left - 1, ..area }, buf);
        panel(look, other, Rect { x: area.x + left, width: area.width - left, ..area }, buf);
        return;
    }
    panel(look, chosen, area, buf);
}

fn panel(look: &Look, which: QualityPanel, area: Rect, buf: &mut Buffer) {
    if area.height < 2 {
        return;
    }
    let inside = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let title = match which {
        QualityPanel::Predictors => "do proxies rank plans as the loss does?",
        QualityPanel::Sensitivity => "what each layer loses alone",
        QualityPanel::Hardest => "where the plan loses most",
    };
    put(buf, area.x + 1, area.y, area.right(), title, look.theme.style(Ink::Title));
    match which {
        QualityPanel::Predictors => predictors::draw(look, inside, buf),
        QualityPanel::Sensitivity => heat::draw(look, inside, buf),
        QualityPanel::Hardest => hardest::draw(look, inside, buf),
    }
}
