//! The offer of earlier sessions: a small box over the lens. List, knobs and totals stay in sight.

use super::layout::Layout;
use crate::lens::Look;
use crate::session::{Ending, Found};
use crate::widgets::number::percent1;
use crate::widgets::panel::Panel;
use crate::widgets::{Ink, fit, put, width};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Columns of the box, frame included, where there is room.
const COLUMNS: u16 = 66;
/// Columns that when, what is kept and how it ended take.
const NARROW: usize = 38;

pub fn draw(look: &Look, cursor: usize, layout: &Layout, buf: &mut Buffer) {
    let (found, theme) = (&look.app.sessions.found, look.theme);
    let room = layout.lens;
    let wide = COLUMNS.min(room.width.saturating_sub(if room.width > COLUMNS { 4 } else { 2 }));
    // Frame, a blank line, two lines of words.
    let height = (found.len() as u16 + 5).min(room.height);
    let area =
        Rect { x: room.x + (room.width - wide) / 2, y: room.y + (room.height - height) / 3, width: wide, height };
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            if let Some(cell) = buf.cell_mut((x, y)) {
                cell.reset();
            }
        }
    }
    let mut keys = vec!["enter goes on".to_owned(), "esc anew".to_owned()];
    if found.len() > 1 {
        keys.push("↑↓ choose".to_owned());
    }
    let remark = if found.len() > 1 { format!("{} of {}", cursor + 1, found.len()) } else { String::new() };
    let title = "Go on where you were?";
    let inside = Panel { title, remark: &remark, keys: &keys }.draw(area, buf, theme);
    let rows = (inside.height as usize).saturating_sub(3).max(1);
    let first = cursor.saturating_sub(rows - 1);
    for ((i, session), y) in found.iter().enumerate().skip(first).take(rows).zip(inside.top()..inside.bottom()) {
        let ink = match session.ending {
            _ if i == cursor => Ink::Accent,
            Ending::Elsewhere => Ink::Quiet,
            Ending::Left | Ending::CutOff => Ink::Text,
        };
        let mark = if i == cursor { "▌" } else { " " };
        put(buf, inside.x, y, inside.right(), mark, theme.style(Ink::Accent));
        put(buf, inside.x + 2, y, inside.right(), &row(session, inside.width as usize - 2), theme.style(ink));
    }
    let words = ["Plan, history and view come back.", "Other keys go on; ctrl-o asks again."];
    let top = (inside.top() + found.len().min(rows) as u16 + 1).min(inside.bottom());
    for (text, y) in words.into_iter().zip(top..inside.bottom()) {
        let text = fit(text, (inside.width as usize).saturating_sub(3));
        put(buf, inside.x + 2, y, inside.right(), &text, theme.style(Ink::Quiet));
    }
}

/// A session in a line; what does not fit is left out from the last.
fn row(found: &Found, room: usize) -> String {
    let layers = found.replayed.plan.treated();
    let layers = format!("{layers} {}", if layers == 1 { "layer" } else { "layers" });
    let keep = if found.has_plan() { format!("keep {}", percent1(found.keep)) } else { "dense".to_owned() };
    let (undo, _) = found.replayed.plan.depth();
    let edits = format!("{undo} {}", if undo == 1 { "step" } else { "steps" });
    let ending = (found.ending.words().to_owned(), 15);
    let mut parts = vec![(found.ago(), 11), (keep, 12), ending, (layers, 11), (edits, 10)];
    if room < NARROW {
        // How it ended is worth more than what it keeps.
        parts.swap(1, 2);
    }
    let mut out = String::new();
    for (text, columns) in parts {
        if width(&out) + width(&text) > room {
            break;
        }
        out.push_str(&format!("{text:columns$}"));
    }
    out
}
