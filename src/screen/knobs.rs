//! The knobs and what they do to the layers in scope.

use super::layout::{COMPACT, Layout};
use crate::app::{Action, Reading, Scope, bits_at, keymap};
use crate::known::Known;
use crate::lens::Look;
use crate::plan::{Criterion, Factors, Knob, Pattern, Quantise, Treatment, cost, rounded_share};
use crate::widgets::number::{BYTES, bytes, change, count, grouped, known, number, percent, ratio};
use crate::widgets::panel::Panel;
use crate::widgets::slider::Slider;
use crate::widgets::{Ink, Phrase, put};
use ratatui::buffer::Buffer;

pub fn draw(look: &Look, layout: &Layout, buf: &mut Buffer) {
    let area = layout.knobs;
    let line = if area.height == COMPACT {
        area.bottom() - 1
    } else {
        let keys: Vec<String> = [
            Action::Scrub(1),
            Action::Scrub(10),
            Action::TypeValue,
            Action::NextPattern,
            Action::NextKnob,
            Action::NextScope,
            Action::Undo,
            Action::Redo,
            Action::Dense,
            Action::Pin,
        ]
        .into_iter()
        .map(keymap::hint)
        .collect();
        Panel { title: "Knobs", remark: &scopes(look), keys: &keys }.draw(area, buf, look.theme);
        area.bottom() - 2
    };
    for knob in Knob::ALL {
        draw_knob(look, layout, knob, buf);
    }
    let inset = if area.height == COMPACT { 1 } else { 2 };
    consequences(look).draw(
        buf,
        area.x + inset,
        line,
        area.right() - inset + 1,
        if look.compact { 2 } else { 3 },
        look.theme,
    );
}

/// `scope: this layer  ⇄ role  block  all`, the one in force first.
fn scopes(look: &Look) -> String {
    let scope = look.app.scope();
    let others: Vec<&str> = Scope::ALL.into_iter().filter(|s| *s != scope).map(Scope::word).collect();
    format!("scope: {}  ⇄ {}", scope_words(look), others.join("  "))
}

fn scope_words(look: &Look) -> String {
    let n = look.app.in_scope().count();
    let layers = if n == 1 { "1 layer".to_owned() } else { format!("{n} layers") };
    match look.app.scope() {
        Scope::Layer => "this layer".to_owned(),
        Scope::Role => format!("role {} ({layers})", look.layer.role.short()),
        Scope::Block => look.layer.block.map_or_else(
            || format!("outside the blocks ({layers})"),
            |b| format!("{} ({layers})", look.app.model.block_words(b)),
        ),
        Scope::All => format!("all eligible ({layers})"),
    }
}

fn draw_knob(look: &Look, layout: &Layout, knob: Knob, buf: &mut Buffer) {
    let (app, theme) = (look.app, look.theme);
    let area = layout.slider(knob);
    let active = app.knob == knob && !app.budgeting();
    let reading = app.reading(knob);
    let rest = if knob == Knob::Prune { 0.0 } else { 1.0 };
    let at = match reading {
        Reading::Same(share) => share.unwrap_or(rest),
        Reading::Mixed(low, high) => f64::midpoint(low, high),
        Reading::Nothing => 0.0,
    };
    let form = look.app.form_of(look.layer.id);
    let full = form.full_rank(look.layer).max(1) as f64;
    let dead = (knob == Knob::Rank).then(|| form.break_even_rank(look.layer) as f64 / full);
    let enabled = reading != Reading::Nothing;
    Slider { at, dead_from: dead.filter(|_| enabled), active, enabled }.draw(area, buf, theme);
    let ink = if active { Ink::Accent } else { Ink::Text };
    let label = area.x - 7;
    put(buf, label, area.y, area.x, if active { "▌" } else { " " }, theme.style(ink));
    put(buf, label + 1, area.y, area.x, knob.word(), theme.style(ink));
    let words = match knob {
        Knob::Rank => rank_words(look, reading),
        Knob::Prune => prune_words(look, reading),
        Knob::Bits => bits_words(look, reading),
    };
    words.draw(buf, area.right() + 2, area.y, layout.knobs.right() - 1, 2, theme);
}

fn mixed(low: f64, high: f64) -> Phrase {
    Phrase::new().group(format!("mixed ({:.0}–{:.0}%)", low * 100.0, high * 100.0))
}

fn rank_words(look: &Look, reading: Reading) -> Phrase {
    let form = look.app.form_of(look.layer.id);
    let full = form.full_rank(look.layer);
    match reading {
        Reading::Nothing => Phrase::new().caption("nothing to treat here"),
        Reading::Mixed(low, high) => mixed(low, high),
        Reading::Same(None) => {
            let phrase = Phrase::new().group("dense").caption(&format!("full rank {full}"));
            if form == Factors::Matrix { phrase } else { phrase.caption(form.words()) }
        }
        Reading::Same(Some(share)) => {
            let rank = look.app.plan.treatment(look.layer.id).rank.unwrap_or((share * full as f64).round() as usize);
            let keep = cost(look.layer, Treatment { form, ..Treatment::rank(rank) }, None).params as f64
                / look.layer.params.max(1) as f64;
            let value = if look.app.in_scope().count() > 1 && !look.compact {
                format!("{:.0}% of rank", share * 100.0)
            } else if form != Factors::Matrix {
                format!("r {rank}/{full} {}", form.name())
            } else if look.compact {
                format!("r {rank}/{full}")
            } else {
                format!("r {rank} of {full}")
            };
            let phrase = Phrase::new().inked(value, Ink::Text);
            match (keep >= 1.0, look.compact) {
                (true, true) => phrase.inked(format!("{:.0}%: no gain", keep * 100.0), Ink::Warn),
                (true, false) => phrase.inked(format!("{:.0}% of the parameters: no gain", keep * 100.0), Ink::Warn),
                (false, true) => phrase.group(format!("keep {:.0}%", keep * 100.0)),
                (false, false) => phrase.group(format!("keeps {:.0}% of the parameters", keep * 100.0)),
            }
        }
    }
}

fn prune_words(look: &Look, reading: Reading) -> Phrase {
    match reading {
        Reading::Nothing => Phrase::new().caption(""),
        Reading::Mixed(low, high) => mixed(low, high),
        Reading::Same(None) => Phrase::new().group("off").caption("remove 0%").caption(&goes(look)),
        Reading::Same(Some(share)) => {
            let treatment = look.app.plan.treatment(look.layer.id);
            let pattern = look.app.pattern_of(look.layer.id);
            let amount = match pattern {
                Pattern::Groups(_) => format!("keep {}", pattern.name(share)),
                _ => format!("remove {}", percent(share)),
            };
            let phrase = Phrase::new().inked(amount, Ink::Text);
            match (treatment.rank.is_some(), pattern) {
                (true, Pattern::Unstructured) if look.app.criterion_of(look.layer.id) == Criterion::Magnitude => {
                    phrase.caption("of the rest W−W_r")
                }
                (true, _) => phrase.caption(&goes(look)).caption("in W−W_r"),
                (false, _) => phrase.caption(&goes(look)),
            }
        }
    }
}

/// `smallest |w|`: what goes from the selected layer, or would.
fn goes(look: &Look) -> String {
    let (by, pattern) = (look.app.criterion_of(look.layer.id), look.app.pattern_of(look.layer.id));
    if by.applies(look.layer, pattern).is_ok() { by.goes(pattern) } else { pattern.words() }
}

fn bits_words(look: &Look, reading: Reading) -> Phrase {
    let per = look.app.per_of(look.layer.id);
    match reading {
        Reading::Nothing => Phrase::new().caption(""),
        Reading::Mixed(low, high) => {
            let bits = |share| bits_at(share).map_or("off".to_owned(), |b| b.to_string());
            Phrase::new().group(format!("mixed ({} to {} bits)", bits(low), bits(high)))
        }
        Reading::Same(None) => {
            Phrase::new().group("off").caption("not rounded").caption(&format!("per {}", per.name()))
        }
        Reading::Same(Some(share)) => {
            let own = look.app.plan.treatment(look.layer.id).quantise;
            let how = own.or(bits_at(share).map(|bits| Quantise { bits, per }));
            let Some(how) = how else { return Phrase::new() };
            let share = rounded_share(look.layer, how) * 100.0;
            let phrase = Phrase::new().inked(how.short(), Ink::Text);
            match (look.compact, share >= 100.0) {
                (_, true) => phrase.inked(format!("{share:.0}% of the bytes: no gain"), Ink::Warn),
                (true, _) => phrase.group(format!("{share:.0}% of bytes")),
                (false, _) => phrase.group(format!("alone keeps {share:.0}% of the bytes")),
            }
        }
    }
}

/// What the plan makes of the layers in scope.
fn consequences(look: &Look) -> Phrase {
    if let Some(why) = look.layer.why_not.as_ref().filter(|_| look.app.scope() == Scope::Layer) {
        return Phrase::new().caption(&look.short_name()).and(format!("stays as it is: {why}"));
    }
    let mut scope = look.app.in_scope();
    match (scope.next(), scope.next()) {
        (None, _) => Phrase::new().caption("no layer in scope can be treated"),
        (Some(only), None) if only == look.layer.id => layer_words(look),
        _ => scope_consequences(look),
    }
}

fn params(look: &Look, before: u64, after: u64) -> String {
    let arrow = if look.compact { "→" } else { " → " };
    if before == after { grouped(before) } else { format!("{}{arrow}{}", grouped(before), grouped(after)) }
}

fn layer_words(look: &Look) -> Phrase {
    let out = look.outcome;
    let arrow = if look.compact { "→" } else { " → " };
    let mut phrase = Phrase::new()
        .caption(&look.short_name())
        .and(format!("{} params", params(look, out.before.params, out.after.params)));
    if look.compact && out.before.params == out.after.params && out.before.bytes != out.after.bytes {
        phrase = phrase.group(change(out.before.bytes, out.after.bytes, &BYTES, arrow));
    }
    if !look.compact {
        let size = change(out.before.bytes, out.after.bytes, &BYTES, arrow);
        phrase = phrase.group(size);
        if let Some(macs) = out.after.macs {
            phrase = phrase.group(format!("{} MACs", count(macs)));
        }
    }
    let unseen = look.app.activations && look.layer.inputs.is_none();
    let error = if unseen { "inputs not seen".to_owned() } else { known(out.error(look.app.activations), ratio) };
    phrase = phrase.caption(err(look)).and(error);
    let (before, after) = (known(out.norm_before, number), known(out.norm_after, number));
    let norm = if before == after { before } else { format!("{before}{arrow}{after}") };
    phrase = phrase.caption("σ₁").and(norm);
    if look.app.plan.treatment(look.layer.id).is_dense() {
        return phrase;
    }
    phrase = phrase.caption(if look.compact { "cut" } else { "‖W−Ŵ‖₂" }).and(known(out.delta_norm, number));
    if out.after.index > 0 && !look.compact {
        phrase = phrase.group(format!("+{} index", bytes(out.after.index)));
    }
    phrase
}

/// What becomes of several layers, in one pass: there may be tens of thousands.
fn scope_consequences(look: &Look) -> Phrase {
    let (app, activations) = (look.app, look.app.activations);
    let (mut layers, mut before, mut after) = (0usize, 0, 0);
    // `None` as soon as one is not known.
    let (mut errors, mut cut): (Option<Option<[Known; 2]>>, Option<Known>) = (Some(None), Some(Known::exact(0.0)));
    for (id, out) in app.in_scope().filter_map(|id| Some((id, app.outcome.layers.get(id.0)?))) {
        layers += 1;
        before += out.before.params;
        after += out.after.params;
        cut = cut.zip(out.delta_norm).map(|(a, b)| if b.value.total_cmp(&a.value).is_ge() { b } else { a });
        // Of layers whose inputs were not seen no run will tell.
        if !activations || app.model.layer(id).is_some_and(|l| l.inputs.is_some()) {
            errors = errors.zip(out.error(activations)).map(|(range, e)| {
                let [low, high] = range.unwrap_or([e, e]);
                Some([
                    if e.value.total_cmp(&low.value).is_lt() { e } else { low },
                    if e.value.total_cmp(&high.value).is_ge() { e } else { high },
                ])
            });
        }
    }
    let text = match errors {
        None => "…".to_owned(),
        Some(None) => "inputs not seen".to_owned(),
        Some(Some([low, high])) if low.value == high.value => known(Some(low), ratio),
        Some(Some([low, high])) => format!("{} to {}", known(Some(low), ratio), known(Some(high), ratio)),
    };
    Phrase::new()
        .caption(&format!("{layers} layers"))
        .and(format!("{} params", params(look, before, after)))
        .caption(err(look))
        .and(text)
        .caption(if look.compact { "cut" } else { "largest ‖W−Ŵ‖₂" })
        .and(known(cut, number))
}

/// Of what errors are.
fn err(look: &Look) -> &'static str {
    if look.app.activations { "out err" } else { "err" }
}
