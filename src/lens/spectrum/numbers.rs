//! The spectrum in words: below the plot, or beside it on a wide screen.

use crate::lens::Look;
use crate::probe::Spectrum;
use crate::probe::spectrum::ENERGIES;
use crate::widgets::number::{known, number, percent, ratio, subscript};
use crate::widgets::{Ink, Phrase};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Writes as many lines as there is room for, the most wanted first.
pub fn draw(look: &Look, spectrum: &Spectrum, area: Rect, buf: &mut Buffer) {
    let lines = if look.aside > 0 {
        beside(look, spectrum)
    } else if area.height == 1 {
        vec![short_energy(look, spectrum)]
    } else if look.compact {
        let second = pruned(look).unwrap_or_else(|| cursor(look, spectrum));
        vec![short_energy(look, spectrum), second]
    } else {
        vec![
            energy(look, spectrum),
            cursor(look, spectrum),
            shape(spectrum),
            pruned(look).unwrap_or_else(|| tail(look, spectrum)),
        ]
    };
    for (y, line) in (area.y..area.bottom()).zip(lines) {
        line.draw(buf, area.x + 1, y, area.right(), if look.compact { 2 } else { 3 }, look.theme);
    }
}

fn energy(look: &Look, s: &Spectrum) -> Phrase {
    let mut phrase = Phrase::new().caption("energy");
    for (i, (share, rank)) in ENERGIES.iter().zip(s.rank_for_energy).enumerate() {
        let text = format!("{:.0}% r{}{rank}", share * 100.0, badge(s));
        phrase = if i == 0 { phrase.and(text) } else { phrase.group(text) };
    }
    phrase.caption("break-even").and(format!("r={}", look.app.form_of(look.layer.id).break_even_rank(look.layer)))
}

/// What a number that follows from this spectrum is.
fn badge(s: &Spectrum) -> char {
    s.known(0.0).bound.badge()
}

fn short_energy(look: &Look, s: &Spectrum) -> Phrase {
    let mut phrase = Phrase::new();
    for (share, rank) in ENERGIES.iter().zip(s.rank_for_energy) {
        let about = if s.is_exact() { "" } else { "≈" };
        phrase = phrase.caption(&format!("{:.0}%", share * 100.0)).and(format!("r{about}{rank}"));
    }
    phrase.caption("even").and(format!("r{}", look.app.form_of(look.layer.id).break_even_rank(look.layer)))
}

/// The share of the energy in the first `r` values.
fn kept_energy(s: &Spectrum, r: usize) -> f64 {
    if s.energy() > 0.0 { 1.0 - s.tail_energy(r) / s.energy() } else { 0.0 }
}

fn cursor(look: &Look, s: &Spectrum) -> Phrase {
    let r = look.app.spectrum_cursor();
    let value = s.sigma.get(r - 1).copied().unwrap_or(0.0);
    Phrase::new()
        .caption("cursor")
        .and(format!("σ{} {}", subscript(r), at(look, s, r, value)))
        .caption(if look.compact { "energy" } else { "kept energy" })
        .and(format!("{}{}", badge(s), percent(kept_energy(s, r))))
        .caption(cut(look))
        .and(known(Some(s.known(s.cut(r))), number))
}

/// What the first value that goes is the norm of: of the change, or of what the best factors of a rank change in the outputs.
fn cut(look: &Look) -> &'static str {
    if look.weighed { "‖(W−Ŵ)S‖₂" } else { "‖W−W_r‖₂" }
}

/// The r-th value; the first of a sketch is a bound from below.
fn at(look: &Look, s: &Spectrum, r: usize, value: f64) -> String {
    let bound = look.facts.norm_below().filter(|_| r == 1).unwrap_or_else(|| s.known(value));
    let text = known(Some(bound), number);
    let bar = s.band.as_ref().and_then(|b| Some((*b.low.get(r - 1)?, *b.high.get(r - 1)?))).filter(|_| r > 1);
    bar.map_or(text.clone(), |(low, high)| format!("{text} ({}–{})", number(low), number(high)))
}

fn shape(s: &Spectrum) -> Phrase {
    let exact = |v: Option<f64>| v.map_or("undefined".to_owned(), |v| known(Some(s.known(v)), number));
    Phrase::new()
        .caption("stable rank")
        .and(exact(s.stable_rank))
        .caption("effective rank")
        .and(exact(s.effective_rank))
        .caption("condition")
        .and(condition(s))
}

fn condition(s: &Spectrum) -> String {
    if !s.is_exact() {
        return "…".to_owned();
    }
    s.condition.map_or_else(|| "singular".to_owned(), |c| known(Some(c), number))
}

fn tail(look: &Look, s: &Spectrum) -> Phrase {
    if look.weighed {
        return Phrase::new().caption("σᵢ² of WS: what outputs lose with direction i; SSᵀ = E[x xᵀ]");
    }
    let mut phrase = Phrase::new().caption("tail");
    match &s.power_law {
        Some(fit) => phrase = phrase.and(format!("α ≈{} (KS {})", number(fit.alpha), ratio(fit.ks))),
        None if !s.is_exact() => phrase = phrase.and("α …"),
        None => phrase = phrase.and("too few values for a power law"),
    }
    if let Some(fit) = &s.marchenko_pastur {
        phrase = phrase.caption("above the noise edge").and(format!("≈{}", fit.spikes));
    }
    phrase
}

/// What pruning makes of the spectrum: exact, or what the last exact run was of.
fn pruned(look: &Look) -> Option<Phrase> {
    let treatment = look.app.plan.treatment(look.layer.id);
    // A run tells of Ŵ, and these numbers are of WS.
    let now = treatment.prune.filter(|_| !look.weighed)?;
    let phrase = Phrase::new().caption("pruned");
    if let Some(r) = look.app.current_refinement(look.layer.id) {
        let top = r.sigma.first().copied().unwrap_or(0.0);
        let energy: f64 = r.sigma.iter().map(|s| s * s).sum();
        let mut phrase = phrase.and(format!("σ₁ ={}", number(top)));
        if top > 0.0 {
            phrase = phrase.caption("stable rank").and(format!("={}", number(energy / (top * top))));
        }
        let delta = known(Some(r.delta_norm), number);
        return Some(phrase.caption("‖W−Ŵ‖₂").and(delta));
    }
    if let Some(why) = look.app.refine_failure(look.layer.id) {
        return Some(phrase.and_inked(format!("! {why}"), Ink::Bad));
    }
    let preview = look.app.preview.as_ref().filter(|p| p.0 == look.layer.id).map(|p| &*p.1);
    if let Some(p) = preview {
        let of = p.treatment.prune.filter(|r| *r != now);
        let of = of.map_or(String::new(), |r| format!(" at {}", r.short()));
        let mut phrase = phrase.and(format!("σ₁ {}{of}", known(Some(p.norm), number)));
        if let Some(stable) = p.spectrum.as_ref().filter(|_| p.norm.value > 0.0) {
            let stable = stable.energy() / (p.norm.value * p.norm.value);
            phrase = phrase.caption("stable rank").and(format!("≈{}", number(stable)));
        }
        return Some(phrase.caption("exact …"));
    }
    let last = look.app.refined.get(look.layer.id.0).and_then(Option::as_ref).and_then(|r| r.treatment.prune);
    let phrase = phrase.and(format!("at {} …", now.short()));
    Some(match last {
        Some(last) => phrase.inked(format!("(last: prune {}, dimmed)", last.short()), Ink::Warn),
        None => phrase.caption("exact spectrum on its way"),
    })
}

/// σ₁, and what is proven of it.
fn first(look: &Look, s: &Spectrum) -> String {
    let below = known(look.facts.norm_below().or_else(|| Some(s.known(s.norm()))), number);
    match look.facts.certificate {
        Some(bound) => format!("{below}  ≤{:.8} proven", bound.value),
        None if look.app.certifying == Some(look.layer.id) => format!("{below}  ≤… being proven"),
        None => below,
    }
}

fn beside(look: &Look, s: &Spectrum) -> Vec<Phrase> {
    let line = |name: &str, value: String| Phrase::new().caption(&format!("{name:<16}")).and(value);
    let exact = |v: Option<f64>| v.map_or("undefined".to_owned(), |v| known(Some(s.known(v)), number));
    let title = |text: &str| Phrase::new().inked(text, Ink::Title);
    let gap = Phrase::new;
    let r = look.app.spectrum_cursor();
    let mut lines = vec![
        title("At the cursor"),
        line(&format!("σ{}", subscript(r)), at(look, s, r, s.sigma.get(r - 1).copied().unwrap_or(0.0))),
        line("kept energy", format!("{}{}", badge(s), percent(kept_energy(s, r)))),
        line(cut(look), known(Some(s.known(s.cut(r))), number)),
        line("relative error", format!("{}{}", badge(s), ratio((1.0 - kept_energy(s, r)).max(0.0).sqrt()))),
        gap(),
        title("Rank"),
    ];
    for (share, rank) in ENERGIES.iter().zip(s.rank_for_energy) {
        lines.push(line(&format!("{:.0}% of energy", share * 100.0), format!("r{}{rank}", badge(s))));
    }
    lines.push(line("break-even", format!("r={}", look.app.form_of(look.layer.id).break_even_rank(look.layer))));
    let dtype = look.layer.dtype.name().to_lowercase();
    lines.push(line(
        &format!("to {} precision", if look.weighed { "f64" } else { &dtype }),
        format!("{} of {}", known(Some(s.numerical_rank), |r| format!("{r:.0}")), s.sigma.len()),
    ));
    lines.extend([
        gap(),
        title(if look.weighed { "Spectrum of WS" } else { "Spectrum" }),
        line("σ₁", first(look, s)),
        line("stable rank", exact(s.stable_rank)),
        line("effective rank", exact(s.effective_rank)),
        line("condition", condition(s)),
        line("nuclear norm", known(Some(s.known(s.nuclear)), number)),
    ]);
    if let Some(fit) = &s.power_law {
        lines.push(line("power law α", format!("≈{} (KS {})", number(fit.alpha), ratio(fit.ks))));
    }
    if let Some(fit) = &s.marchenko_pastur {
        lines.push(line("noise edge", format!("≈{}", number(fit.edge))));
        lines.push(line("above it", format!("≈{}", fit.spikes)));
    }
    if let Some(pruned) = pruned(look) {
        lines.extend([gap(), pruned]);
    }
    lines
}
