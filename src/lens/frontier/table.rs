//! The plans: the one at hand, those put aside, and what each allocator predicts at the budget.

use super::super::quality::value;
use super::{Look, at, error_now, keep, limit};
use crate::app::Measure;
use crate::plan::Plan;
use crate::plan::budget::ALLOCATORS;
use crate::widgets::number::{PENDING, known, percent, percent1, ratio};
use crate::widgets::{Ink, fit, put, put_right};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Columns of one table, at the least.
const WIDE: u16 = 30;

/// A line of a table.
struct Entry {
    /// Its number for the cursor; `None` for the plan at hand.
    row: Option<usize>,
    name: String,
    keep: String,
    error: String,
    note: String,
}

fn plans(look: &Look) -> Vec<Entry> {
    let app = look.app;
    let (letter, changed) = app.plan_name();
    let star = if changed { "*" } else { "" };
    let now = Entry {
        row: None,
        name: format!("now {letter}{star}"),
        keep: percent1(keep(look, &app.outcome.totals)),
        error: error_of(look, &app.plan, || known(error_now(look), ratio)),
        note: String::new(),
    };
    let aside = app.frontier.snapshots.iter().enumerate().map(|(row, s)| Entry {
        row: Some(row),
        name: s.name.to_string(),
        keep: percent1(s.keep(app.frontier.ask.of)),
        error: error_of(look, &s.plan, || known(s.error(app.frontier.measure, app.activations), ratio)),
        note: String::new(),
    });
    std::iter::once(now).chain(aside).collect()
}

/// The error of a plan as it is drawn: as measured, where that is what is looked at, else as predicted.
fn error_of(look: &Look, plan: &Plan, predicted: impl Fn() -> String) -> String {
    if look.app.frontier.measure != Measure::Measured {
        return predicted();
    }
    look.app.measured_of(plan).map_or_else(|| "·".to_owned(), |m| value(m.metric, m.value))
}

fn allocators(look: &Look) -> Vec<Entry> {
    let frontier = &look.app.frontier;
    ALLOCATORS
        .iter()
        .enumerate()
        .map(|(i, allocator)| {
            let curve = frontier.curves.as_ref().and_then(|c| c.get(i));
            let point = curve.and_then(|c| c.at(frontier.ask.keep));
            let error = match (curve, point) {
                (Some(curve), Some(point)) => at(look, curve, point),
                (Some(curve), None) if curve.why.is_some() => "·".to_owned(),
                (Some(_), None) => "·".to_owned(),
                (None, _) => PENDING.to_owned(),
            };
            // Where the budget is out of reach, what can be had takes the place of the knee.
            let knee = match curve.and_then(|c| limit(look, c)) {
                Some((end, keep)) => format!("{end} {}", percent(keep)),
                None => curve.and_then(|c| c.points.get(c.knee?)).map_or(String::new(), |p| percent(p.keep)),
            };
            Entry {
                row: Some(frontier.snapshots.len() + i),
                name: allocator.name.to_owned(),
                keep: knee,
                error,
                note: if i == frontier.allocator { "•".to_owned() } else { String::new() },
            }
        })
        .collect()
}

/// Lines that the tables want below the plot.
pub fn lines(look: &Look, width: u16) -> u16 {
    let (plans, allocators) = (look.app.frontier.snapshots.len() + 1, ALLOCATORS.len());
    match width {
        // Side by side, a line of heads above.
        w if w >= 2 * WIDE => plans.max(allocators) as u16 + 1,
        _ => (plans + allocators).div_ceil(2) as u16,
    }
}

/// Where the two tables lie, and whether they have heads.
fn places(look: &Look, area: Rect) -> Vec<(Rect, bool)> {
    let plans = look.app.frontier.snapshots.len() as u16 + 1;
    if look.aside > 0 {
        let first = (plans + 1).min(area.height / 2);
        let below = (first + 1).min(area.height);
        return vec![
            (Rect { height: first, ..area }, true),
            (Rect { y: area.y + below, height: area.height - below, ..area }, true),
        ];
    }
    let half = area.width / 2;
    let heads = area.width >= 2 * WIDE;
    vec![(Rect { width: half, ..area }, heads), (Rect { x: area.x + half, width: area.width - half, ..area }, heads)]
}

/// The lines of each table; where there is little room one list runs through both.
fn split(look: &Look, area: Rect) -> [Vec<Entry>; 2] {
    let (mut first, mut second) = (plans(look), allocators(look));
    if look.aside > 0 || area.width >= 2 * WIDE {
        return [first, second];
    }
    first.append(&mut second);
    let rest = first.split_off((area.height as usize).min(first.len()));
    [first, rest]
}

pub fn draw(look: &Look, area: Rect, buf: &mut Buffer) {
    for ((place, heads), entries) in places(look, area).into_iter().zip(split(look, area)) {
        let room = place.height.saturating_sub(u16::from(heads)) as usize;
        let top = first_shown(look, &entries, room);
        if heads {
            let of_plans = entries.first().is_some_and(|e| e.row.is_none());
            let of = look.app.frontier.ask.of.word();
            let head = Entry {
                row: None,
                name: if of_plans {
                    "plan".to_owned()
                } else {
                    {
                        let keep = percent(look.app.frontier.ask.keep);
                        if place.width < 34 { format!("at {keep}") } else { format!("at {keep} of {of}") }
                    }
                },
                keep: if of_plans { "keep" } else { "knee" }.to_owned(),
                error: if of_plans && look.app.frontier.measure == Measure::Measured { "measured" } else { "err" }
                    .to_owned(),
                note: String::new(),
            };
            line(look, place, place.y, &head, Some(Ink::Quiet), buf);
        }
        for (entry, y) in entries.iter().skip(top).take(room).zip(place.y + u16::from(heads)..) {
            line(look, place, y, entry, None, buf);
        }
    }
}

/// The first line shown, so that the cursor is in sight.
fn first_shown(look: &Look, entries: &[Entry], room: usize) -> usize {
    let here = entries.iter().position(|e| e.row == Some(look.app.frontier.row())).unwrap_or(0);
    (here + 1).saturating_sub(room.max(1)).min(entries.len().saturating_sub(room))
}

fn line(look: &Look, place: Rect, y: u16, entry: &Entry, ink: Option<Ink>, buf: &mut Buffer) {
    let theme = look.theme;
    let here = entry.row.is_some() && entry.row == Some(look.app.frontier.row());
    let ink = ink.unwrap_or(if here || !entry.note.is_empty() { Ink::Accent } else { Ink::Text });
    let (x, right) = (place.x, place.right().saturating_sub(1));
    put(buf, x, y, right, if here { "▸" } else { " " }, theme.style(Ink::Accent));
    let wide = place.width >= 24;
    let columns = if wide { 15 } else { 8 };
    let room = place.width.saturating_sub(columns + 2) as usize;
    put(buf, x + 1, y, right, &fit(&entry.name, room), theme.style(ink));
    if wide {
        put_right(buf, x, right - 8, y, &entry.keep, theme.style(if ink == Ink::Accent { Ink::Text } else { ink }));
    }
    put_right(buf, x, right, y, &entry.error, theme.style(ink));
}

/// The row of the cursor that a cell of the screen shows.
pub fn row_at(look: &Look, area: Rect, x: u16, y: u16) -> Option<usize> {
    for ((place, heads), entries) in places(look, area).into_iter().zip(split(look, area)) {
        if !place.contains((x, y).into()) {
            continue;
        }
        let room = place.height.saturating_sub(u16::from(heads)) as usize;
        let at = (y - place.y).checked_sub(u16::from(heads))? as usize + first_shown(look, &entries, room);
        return entries.get(at)?.row;
    }
    None
}
