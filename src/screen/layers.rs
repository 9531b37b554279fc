//! The layer list.

use crate::app::{Action, App, Row, Sort, Typing, keymap};
use crate::lens::Look;
use crate::model::Layer;
use crate::plan::{Factors, Pattern, Quantise, Treatment};
use crate::widgets::apart::apart;
use crate::widgets::number::{count, known, percent, ratio};
use crate::widgets::panel::Panel;
use crate::widgets::spark::spark;
use crate::widgets::{Ink, fit, fit_end, put, put_right, width};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Columns of the list, in order; those of less worth are given up first on a narrow screen.
struct Columns {
    name: u16,
    shape: u16,
    spark: u16,
    keep: u16,
    treatment: u16,
    error: u16,
}

impl Columns {
    fn of(inner: u16) -> Self {
        let (shape, spark, keep, treatment) = match inner {
            ..=27 => (0, 0, 0, 6),
            28..=44 => (0, 0, 0, 11),
            45..=58 => (9, 8, 0, 11),
            _ => (11, 8, 6, 12),
        };
        let error = 5;
        let used = shape
            + spark
            + keep
            + treatment
            + error
            + u16::from(shape > 0)
            + u16::from(spark > 0)
            + u16::from(keep > 0)
            + 3;
        Self { name: inner.saturating_sub(used), shape, spark, keep, treatment, error }
    }
}

pub fn draw(look: &Look, area: Rect, buf: &mut Buffer) {
    let (app, theme) = (look.app, look.theme);
    let shown = app.listed_count();
    let remark = format!("{shown} of {}", app.listable());
    let filter = match (&app.typing, app.list.filter.as_str()) {
        (Some(Typing::Filter { prompt, .. }), _) => format!("/{}▏", prompt.text),
        (_, "") => keymap::hint(Action::Filter),
        (_, text) => format!("/{text}  esc clears"),
    };
    let keys = [filter, format!("{} sort: {}", keymap::key_of(Action::Sort).unwrap_or_default(), order(app))];
    let inside = Panel { title: "Layers", remark: &remark, keys: &keys }.draw(area, buf, theme);
    if inside.height < 2 {
        return;
    }
    let columns = Columns::of(inside.width);
    let err = if app.activations { "out" } else { "err" };
    heads(&columns, err, inside, buf, theme.style(Ink::Quiet));
    let rows = Rect { y: inside.y + 1, height: inside.height - 1, ..inside };
    if app.list.rows.is_empty() {
        let text = if app.list.filter.is_empty() { "no layers" } else { "no layer matches: esc clears" };
        put(buf, rows.x + 1, rows.y + 1, rows.right(), text, theme.style(Ink::Quiet));
    }
    let names = names(app, &columns, usize::from(rows.height));
    let seen = app.list.rows.iter().enumerate().skip(app.list.top).zip(names);
    for ((row, name), y) in seen.zip(rows.top()..rows.bottom()) {
        draw_row(look, &columns, (*row.1, &name), row.0 == app.list.cursor, Rect { y, height: 1, ..rows }, buf);
    }
}

/// Names of the rows in view, cut so that no two of a block look alike.
fn names(app: &App, c: &Columns, rows: usize) -> Vec<String> {
    let full: Vec<(Option<usize>, String, usize)> = app
        .list
        .rows
        .iter()
        .skip(app.list.top)
        .take(rows)
        .map(|row| match row {
            Row::Block { block, .. } => (Some(*block), String::new(), 0),
            Row::Layer(id) => {
                app.model.layer(*id).map_or((None, String::new(), 0), |l| match (l.block, app.list.sort) {
                    (Some(b), Sort::Module) => (Some(b), l.label.clone(), 2),
                    (Some(b), _) => (None, format!("{b}·{}", l.label), 0),
                    (None, _) => (None, l.label.clone(), 1),
                })
            }
        })
        .collect();
    // What tells names apart stands at their end when they are paths.
    let cut = |text: &str, room: usize| if text.contains('.') { fit_end(text, room) } else { fit(text, room) };
    let room = usize::from(c.name).saturating_sub(full.iter().map(|n| n.2).max().unwrap_or(0));
    let list: Vec<(Option<usize>, &str)> = full.iter().map(|(block, name, _)| (*block, name.as_str())).collect();
    let short = apart(&list, room, cut);
    full.iter()
        .zip(short)
        .map(|((_, name, indent), short)| {
            let own = usize::from(c.name).saturating_sub(*indent);
            let text = if width(name) <= own { name.clone() } else { short };
            format!("{}{text}", " ".repeat(*indent))
        })
        .collect()
}

fn order(app: &App) -> String {
    match app.list.sort {
        Sort::Module => "module order".to_owned(),
        Sort::Error => "error".to_owned(),
        Sort::Params => "size".to_owned(),
        Sort::Metric => crate::app::metric::METRICS.get(app.metric()).map_or("metric", |m| m.name).to_owned(),
    }
}

fn heads(c: &Columns, err: &str, area: Rect, buf: &mut Buffer, style: Style) {
    let mut x = area.x + 1;
    put(buf, x, area.y, area.right(), "layer", style);
    x += c.name + 1;
    for (wide, head) in [(c.shape, "shape"), (c.spark, "spectrum"), (c.keep, "keep"), (c.treatment, "treatment")] {
        if wide > 0 {
            put(buf, x, area.y, area.right(), &fit_head(head, wide), style);
            x += wide + 1;
        }
    }
    put_right(buf, area.x, area.right() - 1, area.y, err, style);
}

fn fit_head(head: &str, wide: u16) -> String {
    if width(head) > wide as usize { head.chars().take(wide as usize).collect() } else { head.to_owned() }
}

fn draw_row(look: &Look, c: &Columns, (row, name): (Row, &str), cursor: bool, area: Rect, buf: &mut Buffer) {
    let (app, theme) = (look.app, look.theme);
    match row {
        Row::Block { block, folded, layers, .. } => {
            let mark = if folded { "▸" } else { "▾" };
            let mut x = put(
                buf,
                area.x + 1,
                area.y,
                area.right(),
                &format!("{mark} {}", app.model.block_words(block)),
                theme.style(Ink::Title),
            );
            if folded {
                let inside: Vec<&Layer> = app.index.block(block).iter().filter_map(|id| app.model.layer(*id)).collect();
                let params: u64 = inside.iter().map(|l| l.params + l.extra_params).sum();
                let treated = inside.iter().filter(|l| !app.plan.treatment(l.id).is_dense()).count();
                let text = format!("  {layers} layers  {}  {treated} treated", count(params));
                x = put(buf, x, area.y, area.right(), &text, theme.style(Ink::Quiet));
            }
            let _ = x;
        }
        Row::Layer(id) => {
            let Some(layer) = app.model.layer(id) else { return };
            draw_layer(look, c, (layer, name), area, buf);
        }
    }
    if cursor {
        put(buf, area.x, area.y, area.right(), "▌", theme.style(Ink::Accent));
        for x in area.x + 1..area.right() {
            if let Some(cell) = buf.cell_mut((x, area.y)) {
                let style = cell.style().patch(theme.style(Ink::Selected));
                cell.set_style(style);
            }
        }
    }
}

fn draw_layer(look: &Look, c: &Columns, (layer, name): (&Layer, &str), area: Rect, buf: &mut Buffer) {
    let (app, theme, y, right) = (look.app, look.theme, area.y, area.right());
    let facts = app.facts.of(layer.id);
    let (text, quiet) = (theme.style(Ink::Text), theme.style(Ink::Quiet));
    let ink = if layer.eligible() { text } else { quiet };
    let mut x = area.x + 1;
    put(buf, x, y, right, name, ink);
    x += c.name + 1;
    if c.shape > 0 {
        let shape: Vec<String> = layer.shape.iter().map(ToString::to_string).collect();
        put(buf, x, y, right, &fit(&shape.join("×"), c.shape as usize), quiet);
        x += c.shape + 1;
    }
    if c.spark > 0 {
        let (line, ink) = match (facts.best_spectrum(), &facts.failure) {
            (Some(s), _) => (spark(&s.sigma, c.spark as usize), Ink::Quiet),
            (None, Some(_)) => ("! failed".to_owned(), Ink::Bad),
            (None, None) if layer.measurable() && layer.tied_to.is_none() => ("·".repeat(c.spark as usize), Ink::Quiet),
            (None, None) => (String::new(), Ink::Quiet),
        };
        put(buf, x, y, right, &line, theme.style(ink));
        x += c.spark + 1;
    }
    let outcome = app.outcome.layers.get(layer.id.0);
    if c.keep > 0 {
        let keep = outcome.filter(|_| layer.eligible()).map_or_else(|| "·".to_owned(), |o| percent(o.keep()));
        put_right(buf, x, x + c.keep - 1, y, &keep, quiet);
        x += c.keep + 1;
    }
    let treatment = app.plan.treatment(layer.id);
    let words = treatment_words(app, layer, treatment, c.treatment);
    let ink = if treatment.is_dense() { Ink::Quiet } else { Ink::Text };
    put(buf, x, y, x + c.treatment, &words, theme.style(ink));
    let error = match outcome {
        Some(_) if facts.failure.is_some() => "!".to_owned(),
        // No run will tell.
        Some(_) if app.activations && layer.eligible() && layer.inputs.is_none() => "–".to_owned(),
        Some(o) if layer.eligible() && !treatment.is_dense() => known(o.error(app.activations), ratio),
        Some(_) if layer.eligible() => String::new(),
        _ => "·".to_owned(),
    };
    put_right(buf, right - 1 - c.error, right - 1, y, &error, text);
}

/// `r 64  55%`, `p 50%`, `tied`, `dense ⊗`.
fn treatment_words(app: &App, layer: &Layer, t: Treatment, room: u16) -> String {
    let pin = if app.plan.entry(layer.id).pinned { " ⊗" } else { "" };
    if layer.tied_to.is_some() {
        return "tied".to_owned();
    }
    if !layer.eligible() {
        return "kept".to_owned();
    }
    let keep = app.outcome.layers.get(layer.id.0).map_or(1.0, super::super::plan::outcome::LayerOutcome::keep);
    let bits = t.quantise.map(|q| format!("{}b", q.bits));
    let words = match (t.rank, t.prune) {
        (None, None) => t.quantise.map_or("dense".to_owned(), Quantise::short),
        (Some(r), None) if t.form != Factors::Matrix => {
            let of = t.form.name().chars().next().unwrap_or('r');
            format!("{of} {r:<4} {:.0}%", keep * 100.0)
        }
        (Some(r), None) if room >= 11 && bits.is_none() => format!("r {r:<4} {:.0}%", keep * 100.0),
        (Some(r), None) => format!("r {r}"),
        (None, Some(p)) => match p.pattern {
            Pattern::Groups(_) => p.short(),
            pattern => format!("{} {}", pattern.short(p.remove), percent(p.remove)),
        },
        (Some(r), Some(p)) if room >= 11 && p.pattern == Pattern::Unstructured => {
            format!("r {r} p {:.0}%", p.remove * 100.0)
        }
        (Some(r), Some(p)) if room >= 11 => format!("r {r} {}", p.pattern.short(p.remove)),
        (Some(r), Some(_)) => format!("r,p{r}"),
    };
    match bits.filter(|_| !t.is_rounded_alone()) {
        // Where both do not fit the bits stay.
        Some(bits) => {
            format!("{} {bits}{pin}", fit(&words, (room as usize).saturating_sub(1 + bits.len() + width(pin))))
        }
        // A blank stays before the error.
        None if pin.is_empty() && width(&words) >= room as usize => {
            let words = words.replace("  ", " ");
            if width(&words) < room as usize { words } else { words.replace("r ", "r").replace(" p ", " p") }
        }
        None if pin.is_empty() => words,
        // The pin is the last to go.
        None => format!("{}{pin}", fit(&words, (room as usize).saturating_sub(width(pin)))),
    }
}

/// The row of the list under a row of the screen.
pub fn row_at(app: &App, area: Rect, y: u16) -> Option<usize> {
    let first = area.y + 2;
    let row = app.list.top + y.checked_sub(first)? as usize;
    (y + 1 < area.bottom() && row < app.list.rows.len()).then_some(row)
}
