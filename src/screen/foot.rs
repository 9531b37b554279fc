//! The last lines: the whole model, the work going on, the keys.

use super::layout::Layout;
use crate::app::{Action, LensId, Typing, keymap};
use crate::known::{Bound, Known};
use crate::lens::Look;
use crate::model::Model;
use crate::plan::Knob;
use crate::widgets::meter::meter;
use crate::widgets::number::{BYTES, COUNTS, bytes, change, duration, known, number, percent, percent1, ratio};
use crate::widgets::{Ink, Phrase};
use ratatui::buffer::Buffer;

pub fn draw(look: &Look, layout: &Layout, buf: &mut Buffer) {
    let (foot, gap) = (layout.foot, if look.compact { 2 } else { 3 });
    model(look).draw(buf, foot.x + 1, foot.y, foot.right(), gap, look.theme);
    work(look).draw(buf, foot.x + 1, foot.y + 1, foot.right(), 2, look.theme);
    let last = foot.bottom() - 1;
    match prompt(look) {
        Some(phrase) => phrase.draw(buf, foot.x + 1, last, foot.right(), 2, look.theme),
        None => hints(look).draw(buf, foot.x + 1, last, foot.right(), 2, look.theme),
    };
}

fn model(look: &Look) -> Phrase {
    let t = &look.app.outcome.totals;
    let arrow = if look.compact { "→" } else { " → " };
    let mut phrase = Phrase::new().caption("model").and(change(t.params.0, t.params.1, &COUNTS, arrow) + " params");
    if !look.compact {
        phrase = phrase.and(format!("(keep {})", percent1(t.keep())));
    }
    phrase = phrase.group(change(t.bytes.0, t.bytes.1, &BYTES, arrow));
    if t.macs.0 > 0 {
        let at_least = if t.macs_unknown > 0 { "≥" } else { "" };
        let unit = if look.compact { "MACs" } else { per(look) };
        phrase = phrase.group(format!("{at_least}{} {unit}", change(t.macs.0, t.macs.1, &COUNTS, arrow)));
    }
    if !look.compact {
        phrase = if look.app.activations {
            phrase.caption("mean out err").and(known(look.app.outcome.output_error(&look.app.model), ratio))
        } else {
            phrase.caption("mean err").and(known(t.error, ratio))
        };
        let of = if look.app.activations { seen(&look.app.model) } else { (t.measured, t.eligible) };
        if of.0 < of.1 {
            let word = if look.app.activations { "" } else { " layers" };
            phrase = phrase.and_inked(format!("({} of {}{word})", of.0, of.1), Ink::Quiet);
        }
    }
    if look.app.index.chain {
        let bound = t.product.map(|p| p.1).map(|k| Known { bound: Bound::Upper.and(k.bound), ..k });
        let text = match bound {
            Some(k) if k.value.abs() >= 3.0 => format!("{}10^{:.1}", k.bound.badge(), k.value),
            other => known(other.map(|k| k.map(|v| 10f64.powf(v))), number),
        };
        phrase = phrase.caption("‖f‖").and(text);
    }
    phrase
}

/// Eligible layers whose inputs were seen, of how many.
fn seen(model: &Model) -> (usize, usize) {
    let layers = || model.layers.iter().filter(|l| l.eligible() && l.tied_to.is_none());
    (layers().filter(|l| l.inputs.is_some()).count(), layers().count())
}

/// What the multiply-accumulates are counted for.
fn per(look: &Look) -> &'static str {
    if look.app.model.architecture() == Some("sequential") { "MACs/example" } else { "MACs/token" }
}

fn work(look: &Look) -> Phrase {
    let app = look.app;
    let failed = app.facts.failures();
    let mut phrase = Phrase::new();
    if let Some(p) = app.progress.as_ref().filter(|p| p.done < p.total) {
        let title = if p.title.is_empty() { "layers" } else { p.title };
        phrase = phrase
            .caption("work")
            .and(title)
            .and(format!("{}/{}", p.done, p.total))
            .and_inked(meter(p.share, if look.compact { 14 } else { 24 }), Ink::Accent)
            .and(percent(p.share.min(0.999)));
        if p.bytes_per_second > 0.0 {
            phrase = phrase.group(format!("{}/s", bytes(p.bytes_per_second as u64)));
        }
        if let Some(left) = p.left {
            phrase = phrase.group(format!("{} left", duration(left)));
        }
    } else if app.awaited.is_some() {
        phrase = phrase.caption("work").and("exact run of the plan on this layer …");
    }
    if let Some(first) = failed.iter().min().and_then(|id| app.model.layer(*id)) {
        let why = app.facts.of(first.id).failure.clone().unwrap_or_default();
        phrase =
            phrase.inked(format!("! {} failed", failed.len()), Ink::Bad).caption(&format!("{}: {why}", first.name));
    } else if phrase.is_empty()
        && let Some(note) = app.model.notes.first()
    {
        let more = app.model.notes.len() - 1;
        let tail = if more > 0 { format!(" (+{more}: i)") } else { String::new() };
        phrase = phrase.caption(&format!("note  {note}{tail}"));
    }
    phrase
}

/// What is being typed or was said, in place of the hints.
fn prompt(look: &Look) -> Option<Phrase> {
    match &look.app.typing {
        Some(Typing::Filter { prompt: p, .. }) => {
            return Some(
                Phrase::new()
                    .inked(format!("/{}▏", p.text), Ink::Accent)
                    .caption("enter keeps it")
                    .caption("esc gives it up"),
            );
        }
        Some(Typing::Value(p)) if look.app.budgeting() => {
            let typed = format!("budget = {}▏", p.text);
            let what = "50%, floor 10%, of stored, rank 8, 2:4, either, bits row, groups qkv, lamp …";
            return Some(Phrase::new().inked(typed, Ink::Accent).caption(what).caption("enter  esc"));
        }
        Some(Typing::Value(p)) => {
            let what = match look.app.knob {
                Knob::Rank => format!("a rank (of {}), a share, or dense", look.app.full_rank(look.layer.id)),
                Knob::Prune => "the share to remove: 50, 50%, .5, or off".to_owned(),
                Knob::Bits => "int4, int4 row, int3 group:64, or off".to_owned(),
            };
            let typed = format!("{} = {}▏", look.app.knob.word(), p.text);
            return Some(Phrase::new().inked(typed, Ink::Accent).caption(&what).caption("enter  esc"));
        }
        None => {}
    }
    look.app.status.as_ref().map(|s| Phrase::new().inked(s.clone(), Ink::Warn))
}

fn hints(look: &Look) -> Phrase {
    let app = look.app;
    // A page over the panels has its own keys on its frame.
    if app.overlay.is_some() {
        let (key, word) = ("esc", "back");
        return Phrase::new().group(key).and_inked(word, Ink::Quiet);
    }
    let mut actions = vec![Action::Quit, Action::Help, Action::Filter];
    if app.expanded || app.overlay.is_some() || !app.list.filter.is_empty() {
        actions.insert(2, Action::Back);
    }
    if look.compact {
        // These stand on the knobs' frame where there is one.
        actions.extend([Action::NextKnob, Action::NextScope, Action::TypeValue, Action::Undo]);
    }
    actions.extend([
        Action::Budget,
        Action::Snapshot,
        Action::Export,
        Action::Expand,
        Action::Explain,
        Action::Fold,
        Action::ShowAll,
        Action::SameRole(1),
    ]);
    if app.lens != LensId::Map {
        actions.push(Action::Metric);
    }
    let mut phrase = Phrase::new();
    for action in actions {
        let word = crate::lens::of(app.lens).word(action);
        let word = word.or((app.expanded && action == Action::Expand).then_some("shrink"));
        let hint = keymap::hint_as(action, word);
        let (key, word) = hint.split_once(' ').unwrap_or((&hint, ""));
        phrase = phrase.group(key).and_inked(word, Ink::Quiet);
    }
    phrase
}
