//! Singular values: what is kept, what is cut, where noise begins.

mod numbers;

use super::explain::{self, Entry};
use super::{Lens, Look, state};
use crate::app::{Action, LensId};
use crate::plan::{Factors, Knob};
use crate::probe::Spectrum;
use crate::treat::Refined;
use crate::widgets::number::{number, percent, tick};
use crate::widgets::plot::{Axis, Curve, Mark, Plot};
use crate::widgets::{Ink, put};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// See the module.
pub struct SpectrumLens;

impl Lens for SpectrumLens {
    fn id(&self) -> LensId {
        LensId::Spectrum
    }
    fn remark(&self, look: &Look) -> String {
        let view = &look.app.spectrum;
        let what = if view.cumulative { "energy" } else { "σ" };
        let form = look.app.form_of(look.layer.id);
        if look.weighed {
            let of = if look.aside > 0 { "(WS) by activations" } else { "(WS)" };
            return format!("{what}{of}  {}", view.axes.word());
        }
        let of = if form == Factors::Spatial { " spatial-wise" } else { "" };
        let said = look.of_weights();
        if look.compact && !said.is_empty() {
            return format!("{said}  {}", view.axes.word());
        }
        let gap = if said.is_empty() { "" } else { "  " };
        format!("{what}{of}{gap}{said}  {}", view.axes.word())
    }
    fn keys(&self) -> &'static [Action] {
        &[Action::Cursor(1), Action::Axes, Action::Cumulative, Action::Overlay, Action::Expand]
    }
    fn draw(&self, look: &Look, area: Rect, buf: &mut Buffer) {
        let Some(spectrum) =
            look.facts.best_spectrum_of(look.app.form_of(look.layer.id)).filter(|s| !s.sigma.is_empty())
        else {
            state::absent(look, "singular values", area, buf);
            return;
        };
        let (picture, words) = split(look, area);
        if spectrum.norm() > 0.0 {
            picture_of(look, spectrum, picture, buf);
        } else {
            put(
                buf,
                picture.x + 2,
                picture.y + 1,
                picture.right(),
                "a zero matrix: all singular values are 0",
                look.theme.style(Ink::Text),
            );
        }
        numbers::draw(look, spectrum, words, buf);
    }
    fn explain(&self) -> &'static [Entry] {
        explain::SPECTRUM
    }
}

/// The plot, and the lines of numbers below it or beside it.
fn split(look: &Look, area: Rect) -> (Rect, Rect) {
    if look.aside > 0 {
        let wide = area.width.saturating_sub(look.aside);
        return (Rect { width: wide, ..area }, Rect { x: area.x + wide, width: look.aside, ..area });
    }
    let lines = match area.height {
        ..=9 => 1,
        _ if look.compact => 2,
        _ => 4,
    };
    let lines = lines.min(area.height);
    let top = area.height - lines;
    (Rect { height: top, ..area }, Rect { y: area.y + top, height: lines, ..area })
}

/// Where the curves are drawn, for the pointer.
pub fn plot_area(look: &Look, area: Rect) -> Rect {
    Plot::inside(split(look, area).0)
}

fn picture_of(look: &Look, spectrum: &Spectrum, area: Rect, buf: &mut Buffer) {
    let view = &look.app.spectrum;
    let treatment = look.app.plan.treatment(look.layer.id);
    let full = spectrum.sigma.len();
    let kept = treatment.rank.unwrap_or(full);
    let dense: Vec<f64>;
    let values: &[f64] = if view.cumulative {
        dense = cumulative(&spectrum.sigma);
        &dense
    } else {
        &spectrum.sigma
    };
    let mut curves = Vec::new();
    if view.overlay {
        curves.extend(others(look).map(|s| Curve { values: &s.sigma, ink: Ink::Quiet, kept: None }));
    }
    // The error bars of a sketch: between these lines the exact curve will lie.
    if let Some(band) = spectrum.band.as_ref().filter(|_| !view.cumulative) {
        curves.extend([&band.low, &band.high].map(|values| Curve { values, ink: Ink::Quiet, kept: None }));
    }
    // A pruned spectrum is what is kept; the dense one then is what it was.
    let after = Pruned::of(look);
    let current = matches!(after, Some(Pruned::Exact(_)));
    let pruned: Vec<f64>;
    let pruned = match after.as_ref().map(Pruned::sigma) {
        Some(sigma) if view.cumulative => {
            pruned = cumulative(sigma);
            Some(&pruned[..])
        }
        other => other,
    };
    let dense_ink = if treatment.prune.is_some() { Ink::Cut } else { Ink::Accent };
    curves.push(Curve { values, ink: dense_ink, kept: treatment.rank });
    if let Some(values) = pruned {
        curves.push(Curve { values, ink: if current { Ink::Accent } else { Ink::Quiet }, kept: None });
    }
    let x = Axis::new(1.0, full as f64, view.axes.log_x());
    let y = if view.cumulative { Axis::new(0.0, 1.0, false) } else { height(spectrum, pruned, view.axes.log_y()) };
    let cursor = look.app.spectrum_cursor();
    let plot = Plot {
        x,
        y,
        curves,
        marks: marks(look, spectrum, kept),
        level: (!view.cumulative).then(|| noise(spectrum)).flatten(),
        dead_from: Some(look.app.form_of(look.layer.id).break_even_rank(look.layer).max(1) as f64),
        dead_label: "no gain",
        cursor: values.get(cursor - 1).map(|v| (cursor as f64, *v)),
        points: Vec::new(),
        write_y: if view.cumulative { percent } else { tick },
        write_x: tick,
    };
    plot.draw(area, buf, look.theme);
}

/// The best known answer to what pruning makes of the spectrum.
enum Pruned<'a> {
    /// Of this very ratio, exactly.
    Exact(&'a Refined),
    /// Sketched, of this ratio or one passed a moment ago.
    Sketched(&'a Spectrum),
    /// Exact, of an earlier ratio.
    Last(&'a Refined),
}

impl<'a> Pruned<'a> {
    fn of(look: &Look<'a>) -> Option<Self> {
        let (app, id) = (look.app, look.layer.id);
        // What a run leaves are values of Ŵ, and none of ŴS.
        app.plan.treatment(id).prune.filter(|_| !look.weighed)?;
        if let Some(exact) = app.current_refinement(id) {
            return Some(Self::Exact(exact));
        }
        let preview = app.preview.as_ref().filter(|p| p.0 == id).map(|p| &*p.1);
        let sketched = preview.and_then(|p| Some(Self::Sketched(p.spectrum.as_ref()?)));
        sketched.or_else(|| app.refined.get(id.0)?.as_deref().map(Self::Last))
    }
    fn sigma(&self) -> &'a [f64] {
        match self {
            Self::Exact(r) | Self::Last(r) => &r.sigma,
            Self::Sketched(s) => &s.sigma,
        }
    }
}

/// The axis up: from the smallest value worth drawing to the largest.
fn height(spectrum: &Spectrum, pruned: Option<&[f64]>, log: bool) -> Axis {
    let top = spectrum.norm().max(pruned.and_then(|p| p.first().copied()).unwrap_or(0.0));
    if !log {
        return Axis::new(0.0, top, false);
    }
    // Values below a hundred-thousandth of the largest would flatten all others.
    let floor = top * 1e-5;
    let smallest = |values: &[f64]| values.iter().rev().copied().find(|v| *v > floor).unwrap_or(top);
    let low = smallest(&spectrum.sigma).min(pruned.map_or(top, smallest));
    Axis::new(low, top, true)
}

fn noise(spectrum: &Spectrum) -> Option<(f64, String)> {
    let fit = spectrum.marchenko_pastur.as_ref()?;
    Some((fit.edge, format!("noise edge ≈{} (MP)", number(fit.edge))))
}

fn marks(look: &Look, spectrum: &Spectrum, kept: usize) -> Vec<Mark> {
    let full = spectrum.sigma.len();
    let mut marks = Vec::new();
    if !look.compact {
        for (rank, before) in spectrum.rank_for_energy.into_iter().zip(["90", "95", "99"].map(str::to_owned)) {
            let after = String::new();
            marks.push(Mark { x: rank.max(1) as f64, before, after, ink: Ink::Mark, pointed: false, short: true });
        }
    }
    if look.app.plan.treatment(look.layer.id).rank.is_some() {
        let ink = if look.app.knob == Knob::Rank { Ink::Accent } else { Ink::Text };
        marks.push(Mark {
            x: kept as f64,
            before: format!("kept {kept}"),
            after: format!("cut {}", full - kept.min(full)),
            ink,
            pointed: true,
            short: false,
        });
    }
    marks
}

/// Spectra of the same role in other blocks.
fn others<'a>(look: &Look<'a>) -> impl Iterator<Item = &'a Spectrum> {
    let (app, here) = (look.app, look.layer);
    let weighed = look.weighed;
    app.model
        .layers
        .iter()
        .filter(move |l| l.role == here.role && l.label == here.label && l.id != here.id)
        .map(|l| app.facts.of(l.id))
        .filter_map(move |facts| if weighed { facts.weighted() } else { facts }.best_spectrum())
}

/// Σ_{i≤r}σᵢ²/Σσᵢ² for every r.
fn cumulative(sigma: &[f64]) -> Vec<f64> {
    let total: f64 = sigma.iter().map(|s| s * s).sum();
    let mut sum = 0.0;
    sigma
        .iter()
        .map(|s| {
            sum += s * s;
            if total > 0.0 { (sum / total).min(1.0) } else { 0.0 }
        })
        .collect()
}
