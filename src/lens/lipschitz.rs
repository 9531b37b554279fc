//! Norms and bounds of the layer as a map, before and after; their product where that means something.

use super::explain::{self, Entry};
use super::{Lens, Look, short_name, state};
use crate::app::{Action, LensId};
use crate::known::{Bound, Known};
use crate::model::Layer;
use crate::model::architecture::why_no_product;
use crate::widgets::number::{known, number};
use crate::widgets::{Ink, Phrase, fit, put, put_right, width};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// See the module.
pub struct LipschitzLens;

impl Lens for LipschitzLens {
    fn id(&self) -> LensId {
        LensId::Lipschitz
    }
    fn remark(&self, look: &Look) -> String {
        let kind = if look.layer.kind.is_conv() { "operator on images" } else { "ℓ2 → ℓ2" };
        match (look.compact, look.of_weights()) {
            (true, "") => "Lipschitz".to_owned(),
            (false, "") => kind.to_owned(),
            (true, _) => "of weights".to_owned(),
            (false, _) => format!("of weights  {kind}"),
        }
    }
    fn keys(&self) -> &'static [Action] {
        &[Action::Scrub(1), Action::NextKnob, Action::Certify, Action::SameRole(1), Action::Expand]
    }
    fn draw(&self, look: &Look, area: Rect, buf: &mut Buffer) {
        if look.facts.lipschitz.is_none() && look.facts.magnitude.is_none() {
            state::absent(look, "norms", area, buf);
            return;
        }
        let mut y = area.y;
        y = table(look, Rect { y, height: area.bottom() - y, ..area }, buf);
        y = bracket(look, Rect { y, height: area.bottom().saturating_sub(y), ..area }, buf);
        if y < area.bottom() {
            whole(look, Rect { y, height: area.bottom() - y, ..area }, buf);
        }
    }
    fn explain(&self) -> &'static [Entry] {
        explain::LIPSCHITZ
    }
}

/// Rows of the table: name, before, after, method.
fn rows(look: &Look) -> Vec<(&'static str, Option<Known>, Option<Known>, String)> {
    let facts = look.facts.lipschitz.as_deref();
    let exact = look.app.current_refinement(look.layer.id).and_then(|r| r.linf_l1);
    let dense = look.app.plan.treatment(look.layer.id).is_dense();
    let (linf, l1) = (facts.map(|l| l.linf), facts.map(|l| l.l1));
    let conv = look.layer.kind.is_conv();
    // At the borders of an image a convolution's operator may lack its largest sums: they stay upper bounds.
    let known_as = |v: f64| if conv { Known::upper(v) } else { Known::exact(v) };
    let after = |before: Option<Known>, value: Option<f64>| if dense { before } else { value.map(known_as) };
    let factor = facts.and_then(|l| l.rms_factor);
    let scale = |k: Option<Known>| k.zip(factor).map(|(k, f)| k.map(|v| v * f));
    let out = look.outcome;
    let method = match (facts, conv, out.lipschitz_before.map(|k| k.bound)) {
        (_, false, Some(Bound::Exact)) => "σ₁ of the spectrum".to_owned(),
        (Some(l), ..) => l.method.clone().into_owned(),
        _ => String::new(),
    };
    vec![
        ("ℓ2", out.lipschitz_before, out.lipschitz_after, method),
        ("ℓ∞", linf, after(linf, exact.map(|e| e.0)), "largest row sum of |w|".to_owned()),
        ("ℓ1", l1, after(l1, exact.map(|e| e.1)), "largest column sum of |w|".to_owned()),
        ("RMS", scale(out.lipschitz_before), scale(out.lipschitz_after), "ℓ2 · √(in/out)".to_owned()),
    ]
}

fn table(look: &Look, area: Rect, buf: &mut Buffer) -> u16 {
    let theme = look.theme;
    let (quiet, text) = (theme.style(Ink::Quiet), theme.style(Ink::Text));
    let (before, after) = (area.x + 18, area.x + 30);
    put_right(buf, area.x, before, area.y, "before", quiet);
    put_right(buf, area.x, after, area.y, "after", quiet);
    let mut y = area.y + 1;
    for (name, b, a, method) in rows(look) {
        if y >= area.bottom() {
            return y;
        }
        put(buf, area.x + 1, y, area.right(), name, text);
        put_right(buf, area.x, before, y, &known(b, number), text);
        let ink = if b.map(|k| k.value) == a.map(|k| k.value) { Ink::Text } else { Ink::Accent };
        put_right(buf, area.x, after, y, &known(a, number), theme.style(ink));
        if after as usize + 3 + width(&method) <= area.right() as usize {
            put(buf, after + 3, y, area.right(), &method, quiet);
        }
        y += 1;
    }
    let out = look.outcome;
    let relative = out.delta_norm.zip(out.norm_before).filter(|(_, n)| n.value > 0.0);
    let relative = relative.map(|(d, n)| Known { value: d.value / n.value, bound: d.bound.and(n.bound) });
    let treatment = look.app.plan.treatment(look.layer.id);
    let how = match (treatment.rank, treatment.prune) {
        (None, None) => "dense: nothing changes".to_owned(),
        (Some(r), None) => format!("σ{} of the spectrum", crate::widgets::number::subscript(r + 1)),
        _ if look.app.current_refinement(look.layer.id).is_some() => "Lanczos on W−Ŵ".to_owned(),
        _ => "‖W−Ŵ‖_F until the exact run is there".to_owned(),
    };
    put(buf, area.x + 1, y, area.right(), "‖W−Ŵ‖₂", text);
    put_right(buf, area.x, after, y, &known(out.delta_norm, number), text);
    let share = relative
        .map_or(String::new(), |k| format!("{}{} of σ₁  ", k.bound.badge(), crate::widgets::number::percent(k.value)));
    let share = share.trim_end();
    if after as usize + 3 + width(share) <= area.right() as usize {
        Phrase::new().group(share).caption(&how).draw(buf, after + 3, y, area.right(), 2, theme);
    }
    y + 1
}

/// `≥3.71 ├────●────┤ ≤4.10`: between what the constant surely lies.
fn bracket(look: &Look, area: Rect, buf: &mut Buffer) -> u16 {
    let Some(l) = look.facts.lipschitz.as_deref() else { return area.y };
    let conv = look.layer.kind.is_conv();
    let low = if conv { l.l2_lower } else { look.facts.sketch.as_deref().map(|s| s.norm).or(look.facts.norm_below()) };
    let Some(low) = low else { return area.y };
    let certificate = look.facts.certificate.filter(|_| !conv);
    let high = certificate.unwrap_or(l.l2_upper);
    if area.height < 2 || area.width < 40 {
        return area.y;
    }
    let exact = look.facts.spectrum.as_deref().filter(|_| !look.layer.kind.is_conv()).map(crate::probe::Spectrum::norm);
    let y = if look.compact { area.y } else { area.y + 1 };
    let theme = look.theme;
    let (left, mut right) = (known(Some(low), number), known(Some(high), number));
    if certificate.is_some() {
        right = format!("≤{:.7} proven", high.value);
    } else if look.app.certifying == Some(look.layer.id) {
        right.push_str(" proving …");
    }
    let x = put(buf, area.x + 1, y, area.right(), &format!("before  {left} "), theme.style(Ink::Text));
    let room = area.right().saturating_sub(x + width(&right) as u16 + 3).min(40);
    if room < 8 {
        return area.y;
    }
    let spread = (high.value - low.value).max(0.0);
    let at = exact.map(|e| if spread > 0.0 { ((e - low.value) / spread).clamp(0.0, 1.0) } else { 0.0 });
    let mut line: Vec<char> = std::iter::repeat_n('─', room as usize).collect();
    let last = line.len() - 1;
    (line[0], line[last]) = ('├', '┤');
    if let Some(at) = at {
        line[1 + (at * (last - 2) as f64).round() as usize] = '●';
    }
    let text: String = line.into_iter().collect();
    let end = put(buf, x, y, area.right(), &text, theme.style(Ink::Accent));
    put(buf, end + 1, y, area.right(), &right, theme.style(Ink::Text));
    y + if look.compact { 1 } else { 2 }
}

/// The product over the model, or why there is none, and the largest constants.
fn whole(look: &Look, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let mut y = area.y;
    match why_no_product(&look.app.model) {
        None => {
            let (before, after) = match look.app.outcome.totals.product {
                // Whatever the factors are, their product bounds the network from above only.
                Some((b, a)) => (log(bounding(b)), log(bounding(a))),
                None => ("…".to_owned(), "…".to_owned()),
            };
            let arrow = if before == after { before } else { format!("{before} → {after}") };
            let line =
                Phrase::new().caption("product").and(format!("‖f‖ {arrow}")).caption("bounds the network, loosely");
            line.draw(buf, area.x + 1, y, area.right(), 2, theme);
            y += 1;
        }
        Some(why) => {
            let text = format!("no bound on the whole model: {why}; the product of these norms is not one");
            for line in state::wrap(&text, area.width.saturating_sub(2) as usize) {
                if y < area.bottom() {
                    put(buf, area.x + 1, y, area.right(), &line, theme.style(Ink::Warn));
                }
                y += 1;
            }
        }
    }
    let mut layers: Vec<(&Layer, Known)> = look
        .app
        .model
        .layers
        .iter()
        .filter(|l| l.eligible())
        .filter_map(|l| Some((l, look.app.outcome.layers.get(l.id.0)?.lipschitz_after?)))
        .collect();
    if layers.is_empty() || y >= area.bottom() {
        return;
    }
    layers.sort_by(|a, b| b.1.value.total_cmp(&a.1.value));
    let largest =
        |n: usize| layers.iter().take(n).map(|(l, k)| format!("{} {}", short_name(l), known(Some(*k), number)));
    let mut phrase = Phrase::new().caption("largest");
    for (i, text) in largest(3).enumerate() {
        phrase = if i == 0 { phrase.and(text) } else { phrase.group(text) };
    }
    phrase.draw(buf, area.x + 1, y, area.right(), 2, theme);
    waterfall(look, &layers, Rect { y: y + 1, height: area.bottom().saturating_sub(y + 1), ..area }, buf);
}

fn bounding(k: Known) -> Known {
    Known { bound: Bound::Upper.and(k.bound), ..k }
}

fn log(k: Known) -> String {
    if k.value.abs() < 3.0 {
        known(Some(k.map(|v| 10f64.powf(v))), number)
    } else {
        format!("{}10^{:.1}", k.bound.badge(), k.value)
    }
}

/// Layers through depth, each a bar from where the last ended in log10 for a chain; else each from one.
fn waterfall(look: &Look, sorted: &[(&Layer, Known)], area: Rect, buf: &mut Buffer) {
    if area.height < 3 || area.width < 40 {
        return;
    }
    let theme = look.theme;
    let chain = why_no_product(&look.app.model).is_none();
    let mut layers: Vec<(&Layer, f64, Known)> =
        sorted.iter().map(|(l, k)| (*l, k.value.max(1e-30).log10(), *k)).collect();
    layers.sort_by_key(|(l, ..)| l.id);
    let mut sum = 0.0;
    let spans: Vec<(&Layer, f64, f64, Known)> = layers
        .into_iter()
        .map(|(l, v, k)| {
            let from = if chain { sum } else { 0.0 };
            sum += v;
            (l, from, from + v, k)
        })
        .collect();
    let low = spans.iter().flat_map(|s| [s.1, s.2]).fold(0.0, f64::min);
    let high = spans.iter().flat_map(|s| [s.1, s.2]).fold(0.0, f64::max);
    let caption = if chain { "log10 of the product, layer by layer" } else { "log10 of each layer's constant" };
    put(buf, area.x + 1, area.y, area.right(), caption, theme.style(Ink::Quiet));
    let rows = (area.height - 1) as usize;
    let here = spans.iter().position(|s| s.0.id >= look.layer.id).unwrap_or(0);
    let top = here.saturating_sub(rows / 2).min(spans.len().saturating_sub(rows));
    let label = if look.compact { 14 } else { 20 };
    let field = Rect { x: area.x + 2 + label, width: area.width.saturating_sub(label + 12), ..area };
    let cell = |v: f64| {
        field.x + ((v - low) / (high - low).max(1e-9) * f64::from(field.width.saturating_sub(1))).round() as u16
    };
    for (i, (layer, from, to, k)) in spans.iter().enumerate().skip(top).take(rows) {
        let y = area.y + 1 + (i - top) as u16;
        let here = layer.id == look.layer.id;
        let ink = if here { Ink::Accent } else { Ink::Text };
        put(buf, area.x + 1, y, field.x, &fit(&short_name(layer), label as usize), theme.style(ink));
        let (a, b) = (cell(from.min(*to)), cell(from.max(*to)));
        for x in a..=b {
            put(
                buf,
                x,
                y,
                field.right(),
                if to >= from { "█" } else { "▒" },
                theme.style(if here { Ink::Accent } else { Ink::Quiet }),
            );
        }
        put_right(buf, field.right(), area.right() - 1, y, &known(Some(*k), number), theme.style(ink));
    }
}
