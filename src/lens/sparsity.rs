//! Magnitudes: where the entries lie, what a threshold removes, and whether what is left has structure.

use super::explain::{self, Entry};
use super::{Lens, Look, state};
use crate::app::{Action, LensId};
use crate::known::Known;
use crate::plan::project_layer;
use crate::probe::Magnitude;
use crate::probe::structure::PATTERNS;
use crate::treat::{Criterion, Pattern, Prune, Refined, Treatment};
use crate::widgets::number::{bytes, count, known, number, percent, ratio, tick};
use crate::widgets::plot::Axis;
use crate::widgets::{Ink, Phrase, bars, put, put_right, spark, width};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// See the module.
pub struct SparsityLens;

impl Lens for SparsityLens {
    fn id(&self) -> LensId {
        LensId::Sparsity
    }
    fn remark(&self, look: &Look) -> String {
        if look.weighed {
            return match (look.compact, look.aside > 0) {
                (true, _) => "|w|·√E[x²]",
                (_, false) => "scores |w|·√E[x²]",
                _ => "activations: |w|·√E[x²], Wanda's scores",
            }
            .to_owned();
        }
        let bins = if look.compact { "|w|  √count" } else { "|w| on log bins, heights √count" };
        if !look.of_weights().is_empty() {
            return look.of_weights().to_owned();
        }
        match scope(look) {
            Some(scope) if look.compact => format!("|w|  by {scope}"),
            Some(scope) => format!("threshold: {scope}   {bins}"),
            None => bins.to_owned(),
        }
    }
    fn keys(&self) -> &'static [Action] {
        &[Action::Scrub(1), Action::NextKnob, Action::SameRole(1), Action::Expand]
    }
    fn draw(&self, look: &Look, area: Rect, buf: &mut Buffer) {
        let Some(magnitude) = look.facts.magnitude.as_deref() else {
            state::absent(look, "magnitudes", area, buf);
            return;
        };
        let (picture, words) = split(look, area);
        histogram(look, magnitude, picture, buf);
        let lines = if look.aside > 0 { beside(look, magnitude) } else { below(look, magnitude, words.height) };
        for (y, line) in (words.y..words.bottom()).zip(lines) {
            line.draw(buf, words.x + 1, y, words.right(), if look.compact { 2 } else { 3 }, look.theme);
        }
    }
    fn explain(&self) -> &'static [Entry] {
        explain::SPARSITY
    }
}

fn split(look: &Look, area: Rect) -> (Rect, Rect) {
    if look.aside > 0 {
        let wide = area.width.saturating_sub(look.aside);
        return (Rect { width: wide, ..area }, Rect { x: area.x + wide, width: look.aside, ..area });
    }
    let lines = if look.compact { 2 } else { 4 };
    let top = area.height.saturating_sub(lines);
    (Rect { height: top, ..area }, Rect { y: area.y + top, height: area.height - top, ..area })
}

/// Within what the threshold in force is the same; `None` where units of more entries go, or nothing.
fn scope(look: &Look) -> Option<&'static str> {
    match look.app.plan.treatment(look.layer.id).prune?.pattern {
        Pattern::Unstructured => Some("layer"),
        Pattern::PerRow => Some("row"),
        _ => None,
    }
}

/// Relative errors of removing as much as the knob says with one threshold for the layer, and with one for each row.
fn both_scopes(look: &Look) -> Option<[Option<Known>; 2]> {
    let treatment = look.app.plan.treatment(look.layer.id);
    let how = treatment.prune.filter(|_| treatment.rank.is_none() && scope(look).is_some())?;
    if look.weighed {
        return Some(
            [Pattern::Unstructured, Pattern::PerRow].map(|pattern| of_outputs(look, Prune { pattern, ..how })),
        );
    }
    let magnitude = look.facts.magnitude.as_deref()?;
    let relative =
        |k: Known| k.map(|e| if magnitude.sum_squares > 0.0 { (e / magnitude.sum_squares).sqrt() } else { 0.0 });
    let layer = magnitude.prune(how.remove).removed_energy;
    let row = look.facts.structure.as_deref().and_then(|s| s.prune(look.layer, Prune::of(how.remove, Pattern::PerRow)));
    Some([Some(relative(layer)), row.map(|r| relative(r.energy))])
}

/// The share removed under the plan, where pruning applies to the weights themselves, one by one: then there is a
/// threshold.
fn removed(look: &Look) -> Option<f64> {
    let treatment = look.app.plan.treatment(look.layer.id);
    // The line is drawn on the scores by which the plan chooses, and on no others.
    let alone = |p: &Prune| treatment.rank.is_none() && p.pattern == Pattern::Unstructured;
    let drawn = |p: &Prune| !look.weighed || p.criterion == Criterion::Wanda;
    treatment.prune.filter(|p| alone(p) && drawn(p)).map(|p| p.remove)
}

fn histogram(look: &Look, m: &Magnitude, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    // Below the bars: the axis, its labels, a strip for rows and one for columns.
    let strips = if area.height >= 11 { 3 } else { 2 };
    let below = 2 + strips;
    if area.height < below + 3 || area.width < 24 {
        return;
    }
    let tall = Rect { y: area.y + 1, height: area.height - below - 1, ..area };
    let zeros = Rect { x: area.x + 2, width: 3, ..tall };
    let field = Rect { x: area.x + 8, width: area.width - 10, ..tall };
    let binned = m.histogram(field.width as usize);
    let largest = binned.iter().map(|b| b.count).max().unwrap_or(0).max(m.zeros).max(1) as f64;
    let share = |n: u64| (n as f64 / largest).sqrt();
    let cut = removed(look).map(|r| m.prune(r));
    let gone = |i: usize| cut.is_some_and(|c| binned.get(i).is_some_and(|b| b.to <= f64::from(c.threshold)));
    let kept = if cut.is_some() { Ink::Accent } else { Ink::Text };
    bars::bars(buf, zeros, &[share(m.zeros); 3], |_| Ink::Cut, theme);
    let heights: Vec<f64> = binned.iter().map(|b| share(b.count)).collect();
    bars::bars(buf, field, &heights, |i| if gone(i) { Ink::Cut } else { kept }, theme);

    let axis_row = tall.bottom();
    let quiet = theme.style(Ink::Quiet);
    for x in (zeros.x..zeros.right()).chain(field.x..field.right()) {
        put(buf, x, axis_row, area.right(), "─", quiet);
    }
    put(buf, area.x + 1, axis_row + 1, field.x, "zero", theme.style(Ink::Text));
    put_right(
        buf,
        area.x,
        field.x - 1,
        tall.y - 1,
        &format!("={}", percent(m.zeros as f64 / m.entries.max(1) as f64)),
        theme.style(Ink::Text),
    );
    if let (Some(first), Some(last)) = (binned.first(), binned.last()) {
        let axis = Axis::new(first.from, last.to, true);
        ticks(axis, field, axis_row, buf, look);
        if let Some(cut) = cut.filter(|c| c.threshold > 0.0) {
            threshold(look, m, axis, f64::from(cut.threshold), field, buf);
        }
    }
    densities(look, m, Rect { y: axis_row + 2, height: strips, ..area }, buf);
}

fn ticks(axis: Axis, field: Rect, row: u16, buf: &mut Buffer, look: &Look) {
    let mut free = field.x;
    for value in axis.ticks((field.width / 9).max(2) as usize) {
        let Some(share) = axis.place(value) else { continue };
        let x = field.x + (share * f64::from(field.width - 1)).round() as u16;
        put(buf, x, row, field.right(), "┴", look.theme.style(Ink::Quiet));
        let label = tick(value);
        let start = x.saturating_sub(width(&label) as u16 / 2).max(field.x);
        if start >= free && start + width(&label) as u16 <= field.right() {
            free = put(buf, start, row + 1, field.right(), &label, look.theme.style(Ink::Text)) + 1;
        }
    }
}

/// The line at which the cut lies, with its value on the side where there is room.
fn threshold(look: &Look, m: &Magnitude, axis: Axis, value: f64, field: Rect, buf: &mut Buffer) {
    let Some(share) = axis.place(value) else { return };
    let x = field.x + (share * f64::from(field.width - 1)).round() as u16;
    let style = look.theme.style(Ink::Accent);
    for y in field.top() - 1..field.bottom() {
        put(buf, x, y, field.right(), "┆", style);
    }
    put(buf, x, field.bottom(), field.right(), "▲", style);
    let badge = if m.bins.exact { '=' } else { '≈' };
    let (left, right) = ("removed".to_owned(), format!("kept  |w| > {badge}{}", number(value)));
    if x > field.x + width(&left) as u16 {
        put(buf, x - width(&left) as u16 - 1, field.y - 1, x, &left, look.theme.style(Ink::Cut));
    }
    if x + 2 + width(&right) as u16 <= field.right() {
        put(buf, x + 2, field.y - 1, field.right(), &right, style);
    }
}

/// Density of rows and columns after pruning, from the last exact run.
fn densities(look: &Look, m: &Magnitude, area: Rect, buf: &mut Buffer) {
    let pruned = look.app.plan.treatment(look.layer.id).prune.is_some();
    let last = look
        .app
        .refined
        .get(look.layer.id.0)
        .and_then(Option::as_deref)
        .filter(|r| pruned && !r.row_density.is_empty());
    let current = look.app.current_refinement(look.layer.id).is_some();
    let y = area.bottom() - 2;
    let write = |buf: &mut Buffer, y: u16, name: &str, values: Option<&[f32]>, plain: &str| {
        put(buf, area.x + 1, y, area.right(), name, look.theme.style(Ink::Quiet));
        let Some(values) = values else {
            put(buf, area.x + 9, y, area.right(), plain, look.theme.style(Ink::Quiet));
            return;
        };
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let high = values.iter().copied().fold(0.0, f32::max);
        let range = format!("{}–{}", ratio(f64::from(low)), ratio(f64::from(high)));
        let room = (area.width as usize).saturating_sub(9 + 3 + width(&range)).min(96);
        let strip = spark::strip(values, room, high.max(f32::MIN_POSITIVE));
        let ink = if current { Ink::Text } else { Ink::Quiet };
        let end = put(buf, area.x + 9, y, area.right(), &strip, look.theme.style(ink));
        put(buf, end + 1, y, area.right(), &range, look.theme.style(ink));
    };
    let plain = match (pruned, m.zeros) {
        (true, _) => "density …",
        (false, 0) => "dense: every entry is kept",
        (false, _) => "not pruned: zeros are those of the checkpoint",
    };
    let rows = last.map(|r: &Refined| &r.row_density[..]);
    let cols = last.map(|r: &Refined| &r.col_density[..]);
    write(buf, y, "rows", rows, plain);
    write(buf, y + 1, "columns", cols, if rows.is_some() { "" } else { plain });
}

fn at_knob(look: &Look) -> Phrase {
    let phrase = Phrase::new();
    match look.app.plan.treatment(look.layer.id).prune {
        None => {
            phrase.caption("knob").and("remove 0%").caption(err(look)).and("=0").caption("energy kept").and("=100%")
        }
        Some(how) => {
            let kept =
                look.outcome.error(look.weighed).map(|e| Known { value: 1.0 - e.value * e.value, bound: flip(e) });
            phrase
                .caption("knob")
                .and_inked(format!("remove {}", how.short()), Ink::Accent)
                .caption(err(look))
                .and(known(look.outcome.error(look.weighed), ratio))
                .append(other_scope(look))
                .caption("energy kept")
                .and(known(kept, percent))
        }
    }
}

/// `by row =.30`: the error of the scope that is not in force.
fn other_scope(look: &Look) -> Phrase {
    let Some([layer, row]) = both_scopes(look) else { return Phrase::new() };
    match scope(look) {
        Some("row") => Phrase::new().caption("by layer").and(known(layer, ratio)),
        _ => Phrase::new().caption("by row").and(known(row, ratio)),
    }
}

/// What one minus a bound is.
fn flip(k: Known) -> crate::known::Bound {
    use crate::known::Bound;
    match k.bound {
        Bound::Upper => Bound::Lower,
        Bound::Lower => Bound::Upper,
        same => same,
    }
}

/// Of what errors are.
fn err(look: &Look) -> &'static str {
    if look.weighed { "out err" } else { "err" }
}

/// What pruning by the scores in the picture does to the outputs, as far as that is known without a run.
fn of_outputs(look: &Look, how: Prune) -> Option<Known> {
    let facts = look.app.facts.of(look.layer.id);
    project_layer(look.layer, facts, Treatment::prune(how), None).weighed.map(|w| w.output_error)
}

/// Relative errors of removing a share of the entries, least first.
fn steps(look: &Look, m: &Magnitude) -> Vec<(f64, String)> {
    let error = |share: f64, of_weights: f64| {
        let wanda = Prune { criterion: Criterion::Wanda, ..Prune::unstructured(share) };
        if look.weighed { known(of_outputs(look, wanda), ratio) } else { format!("={}", ratio(of_weights)) }
    };
    m.prune_error.iter().map(|&(share, of_weights)| (share, error(share, of_weights))).collect()
}

fn ladder(look: &Look, m: &Magnitude) -> Phrase {
    let mut phrase = Phrase::new().caption(if look.weighed { "wanda, out err" } else { "remove" });
    for (i, (share, error)) in steps(look, m).into_iter().enumerate() {
        let text = format!("{:.0}% {error}", share * 100.0);
        phrase = if i == 0 { phrase.and(text) } else { phrase.group(text) };
    }
    phrase
}

fn patterns(look: &Look) -> Phrase {
    let mut phrase = Phrase::new().caption("keep N:M");
    for (i, (n, of)) in PATTERNS.into_iter().enumerate() {
        let text = format!("{n}:{of} {}", group_error(look, n, of));
        phrase = if i == 0 { phrase.and(text) } else { phrase.group(text) };
    }
    phrase
}

fn group_error(look: &Look, n: usize, of: usize) -> String {
    if look.weighed {
        let pattern = Pattern::Groups(of);
        let how = Prune { criterion: Criterion::Wanda, ..Prune::of(1.0 - n as f64 / of as f64, pattern) };
        return known(of_outputs(look, how), ratio);
    }
    let error = look.facts.structure.as_deref().and_then(|s| s.group_error(n, of));
    error.map_or("…".to_owned(), |e| format!("={}", ratio(e)))
}

fn below(look: &Look, m: &Magnitude, lines: u16) -> Vec<Phrase> {
    if lines <= 2 {
        return vec![at_knob(look), ladder(look, m)];
    }
    let median = m.quantile(0.5);
    let rest = Phrase::new()
        .caption(if look.weighed { "score median" } else { "|w| median" })
        .and(format!("{}{}", median.bound.badge(), number(median.value)))
        .caption("max")
        .and(format!("={}", number(m.max)))
        .caption("PQ index")
        .and(format!("={}", ratio(m.pq_index)))
        .caption("zeros")
        .and(format!("={}", count(m.zeros)));
    let rest = match look.outcome.after.index {
        0 => rest,
        index => rest.caption("index").and(format!("+{}", bytes(index))),
    };
    vec![at_knob(look), ladder(look, m), patterns(look), rest]
}

fn beside(look: &Look, m: &Magnitude) -> Vec<Phrase> {
    let line = |name: &str, value: String| Phrase::new().caption(&format!("{name:<16}")).and(value);
    let title = |text: &str| Phrase::new().inked(text, Ink::Title);
    let share = look.app.plan.treatment(look.layer.id).prune.map_or("0%".to_owned(), Prune::short);
    let error = look.outcome.error(look.weighed);
    let kept = error.map(|e| Known { value: 1.0 - e.value * e.value, bound: flip(e) });
    let mut lines = vec![
        title("At the knob"),
        line("remove", share),
        line(if look.weighed { "output error" } else { "relative error" }, known(error, ratio)),
        line("energy kept", known(kept, percent)),
    ];
    if look.outcome.after.index > 0 {
        lines.push(line("index", format!("+{}", bytes(look.outcome.after.index))));
    }
    if let Some([layer, row]) = both_scopes(look) {
        lines.push(line("threshold, layer", format!("err {}", known(layer, ratio))));
        lines.push(line("threshold, row", format!("err {}", known(row, ratio))));
    }
    lines.extend([Phrase::new(), title(if look.weighed { "Remove by wanda" } else { "Remove, smallest first" })]);
    lines.extend(steps(look, m).into_iter().map(|(s, e)| line(&format!("{:.0}%", s * 100.0), format!("err {e}"))));
    lines.extend([Phrase::new(), title(if look.weighed { "N of M by wanda" } else { "Keep N of M inputs" })]);
    lines.extend(PATTERNS.map(|(n, of)| line(&format!("{n}:{of}"), format!("err {}", group_error(look, n, of)))));
    let median = m.quantile(0.5);
    lines.extend([
        Phrase::new(),
        title(if look.weighed { "Scores" } else { "Magnitudes" }),
        line("smallest", format!("={}", number(m.min_nonzero))),
        line("median", format!("{}{}", median.bound.badge(), number(median.value))),
        line("largest", format!("={}", number(m.max))),
        line("zeros", format!("={}", count(m.zeros))),
        line("PQ index", format!("={}", ratio(m.pq_index))),
        line(if look.weighed { "√Σ score²" } else { "‖W‖_F" }, format!("={}", number(m.frobenius()))),
    ]);
    lines
}
