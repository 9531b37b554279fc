//! Pages over the panels: keys, and what the numbers mean. Both are written from tables.

use crate::app::{Code, Key};
use crate::lens::{self, Look};
use crate::widgets::panel::Panel;
use crate::widgets::{Ink, Phrase, fit, put, width};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// A line of the help page: a heading, or an entry with its number.
enum HelpLine {
    Heading(&'static str),
    Entry(usize),
}

pub fn keys(look: &Look, search: &str, cursor: usize, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let entries = crate::app::help_entries(search);
    let (undo, redo) = look.app.plan.depth();
    let all = crate::app::help_entries("").len();
    let remark = format!("undo {undo}, redo {redo} ── {} of {all}", entries.len());
    let title = if search.is_empty() { "Help  type to search".to_owned() } else { format!("Help  {search}▏") };
    let foot =
        ["↑↓ choose".to_owned(), "enter runs it".to_owned(), format!("{} closes", Key::plain(Code::Esc).label())];
    let inside = Panel { title: &title, remark: &remark, keys: &foot }.draw(area, buf, theme);
    let mut lines = Vec::new();
    let mut group = "";
    for (i, entry) in entries.iter().enumerate() {
        if entry.group != group {
            group = entry.group;
            lines.push(HelpLine::Heading(group));
        }
        lines.push(HelpLine::Entry(i));
    }
    let at = lines.iter().position(|l| matches!(l, HelpLine::Entry(i) if *i == cursor)).unwrap_or(0);
    // Two columns where there is room; the page scrolls by whole pages so that nothing moves under the eye.
    let columns = if inside.width >= 110 { 2 } else { 1 };
    let rows = (inside.height as usize).max(1);
    let page = rows * columns;
    let first = at / page * page;
    let wide = inside.width / columns as u16;
    for (n, line) in lines.iter().skip(first).take(page).enumerate() {
        let (x, y) = (inside.x + (n / rows) as u16 * wide, inside.y + (n % rows) as u16);
        match line {
            HelpLine::Heading(text) => {
                put(buf, x + 1, y, x + wide, text, theme.style(Ink::Title));
            }
            HelpLine::Entry(i) => {
                let Some(entry) = entries.get(*i) else { continue };
                let keys: Vec<String> = entry.keys.iter().map(|k| k.label()).collect();
                let ink = if *i == cursor { Ink::Accent } else { Ink::Text };
                if *i == cursor {
                    put(buf, x, y, x + wide, "▌", theme.style(Ink::Accent));
                }
                put(buf, x + 3, y, x + wide, &fit(&keys.join(" "), 14), theme.style(ink));
                put(
                    buf,
                    x + 18,
                    y,
                    x + wide,
                    &fit(entry.action.words(), wide.saturating_sub(19) as usize),
                    theme.style(ink),
                );
            }
        }
    }
    if entries.is_empty() {
        put(buf, inside.x + 2, inside.y + 1, inside.right(), "no key does that", theme.style(Ink::Quiet));
    }
}

pub fn explain(look: &Look, scroll: usize, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let lens = lens::of(look.app.lens);
    let title = format!("What the numbers mean  {}", lens.id().title());
    let foot = ["↑↓ scroll".to_owned(), "esc closes".to_owned(), "1-6 other lenses".to_owned()];
    let inside = Panel { title: &title, remark: "", keys: &foot }.draw(area, buf, theme);
    let name = 14;
    let room = inside.width.saturating_sub(name + 4).min(96) as usize;
    let mut lines: Vec<(String, String)> = Vec::new();
    let notes: Vec<(&str, String)> = look.app.model.notes.iter().map(|n| ("note", n.clone())).collect();
    let tables = [lens.explain(), lens::plan_entries()];
    let entries = tables.iter().flat_map(|t| t.iter()).map(|(n, text)| (*n, (*text).to_owned()));
    for (term, text) in entries.chain(notes) {
        for (i, line) in lens::wrap(&text, room).into_iter().enumerate() {
            lines.push((if i == 0 { term.to_owned() } else { String::new() }, line));
        }
    }
    let rows = inside.height as usize;
    let first = scroll.min(lines.len().saturating_sub(rows));
    for ((term, text), y) in lines.iter().skip(first).zip(inside.top()..inside.bottom()) {
        put(buf, inside.x + 1, y, inside.x + name + 1, &fit(term, name as usize), theme.style(Ink::Title));
        put(buf, inside.x + name + 2, y, inside.right(), text, theme.style(Ink::Text));
    }
    if first + rows < lines.len() {
        let more = format!(" {} more lines ", lines.len() - first - rows);
        let x = area.right().saturating_sub(width(&more) as u16 + 2);
        Phrase::new().caption(&more).draw(buf, x, area.bottom() - 1, area.right(), 0, theme);
    }
}
