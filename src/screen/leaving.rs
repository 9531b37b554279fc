//! The page for leaving with the plan: formats, remarks about the runtime, the name of the file.

use crate::app::Leaving;
use crate::export::lint::{Finding, Severity};
use crate::export::recipe::EXPORTERS;
use crate::lens::{self, Look};
use crate::widgets::panel::Panel;
use crate::widgets::{Ink, Phrase, fit, put, width};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Columns of the formats.
const NAMES: u16 = 20;

pub fn draw(look: &Look, leaving: &Leaving, area: Rect, buf: &mut Buffer) {
    let target = leaving.target();
    let found = look.app.findings(target);
    let count = |s: Severity| found.iter().filter(|f| f.severity == s).count();
    let counted = |s: Severity| match count(s) {
        1 => format!("1 {}", s.word()),
        n => format!("{n} {}s", s.word()),
    };
    let [problems, warnings, notes] = [Severity::Problem, Severity::Warning, Severity::Note].map(counted);
    let remark = format!("for {}: {problems}  {warnings}  {notes}", target.name());
    let keys: Vec<String> = if leaving.path.is_some() {
        ["enter writes", "! at the end replaces", "esc gives it up"].map(str::to_owned).into()
    } else {
        ["↑↓ format", "t runtime", "enter names the file", "esc closes"].map(str::to_owned).into()
    };
    let inside = Panel { title: "Leave with the plan", remark: &remark, keys: &keys }.draw(area, buf, look.theme);
    if inside.height < 3 {
        return;
    }
    let (left, right) = (
        Rect { width: NAMES.min(inside.width), ..inside },
        Rect { x: inside.x + NAMES + 1, width: inside.width.saturating_sub(NAMES + 2), ..inside },
    );
    names(look, leaving, left, buf);
    let rest = about(look, leaving, right, buf);
    remarks(look, &found, rest, buf);
}

fn names(look: &Look, leaving: &Leaving, area: Rect, buf: &mut Buffer) {
    let rows = std::iter::once("plan file").chain(EXPORTERS.iter().map(|e| e.name));
    let top = (leaving.row + 1).saturating_sub(area.height as usize);
    for ((row, name), y) in rows.enumerate().skip(top).zip(area.top()..area.bottom()) {
        let here = row == leaving.row;
        let ink = if here { Ink::Accent } else { Ink::Text };
        put(buf, area.x + 1, y, area.right(), if here { "▸" } else { " " }, look.theme.style(Ink::Accent));
        put(buf, area.x + 2, y, area.right(), &fit(name, area.width as usize - 3), look.theme.style(ink));
    }
}

/// What the format is, and the name of the file while it is typed; what is left of the area.
fn about(look: &Look, leaving: &Leaving, area: Rect, buf: &mut Buffer) -> Rect {
    let words = leaving
        .format()
        .map_or("the plan itself, in TOML: slimscope plan, apply, export and --plan read it", |format| format.words);
    let mut y = area.y;
    for line in lens::wrap(words, area.width as usize).into_iter().take(3) {
        put(buf, area.x, y, area.right(), &line, look.theme.style(Ink::Text));
        y += 1;
    }
    if let Some(prompt) = &leaving.path {
        Phrase::new().inked(format!("write to {}▏", prompt.text), Ink::Accent).draw(
            buf,
            area.x,
            y,
            area.right(),
            1,
            look.theme,
        );
        y += 1;
    }
    let (lines, ink) = match &leaving.said {
        Some(Err(why)) => (vec![why.clone()], Ink::Bad),
        Some(Ok(notes)) => (notes.clone(), Ink::Text),
        None => (Vec::new(), Ink::Text),
    };
    let mark = if ink == Ink::Bad { "!" } else { "·" };
    for text in lines.iter().take(4) {
        for (n, line) in lens::wrap(text, area.width.saturating_sub(2) as usize).into_iter().take(4).enumerate() {
            if y < area.bottom() {
                put(buf, area.x, y, area.right(), if n == 0 { mark } else { " " }, look.theme.style(ink));
                put(buf, area.x + 2, y, area.right(), &line, look.theme.style(ink));
            }
            y += 1;
        }
    }
    y = (y + 1).min(area.bottom());
    Rect { y, height: area.bottom().saturating_sub(y), ..area }
}

fn remarks(look: &Look, found: &[Finding], area: Rect, buf: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    if found.is_empty() {
        let text = if look.app.plan.is_dense() { "the plan treats no layer" } else { "nothing to remark" };
        put(buf, area.x, area.y, area.right(), text, look.theme.style(Ink::Quiet));
        return;
    }
    let mut y = area.y;
    for (n, finding) in found.iter().enumerate() {
        let (mark, ink) = match finding.severity {
            Severity::Problem => ("!", Ink::Bad),
            Severity::Warning => ("▲", Ink::Warn),
            Severity::Note => ("·", Ink::Quiet),
        };
        let whom = match finding.layers.as_slice() {
            [] => String::new(),
            [one] => format!("{one}: "),
            many => format!("{} layers: ", many.len()),
        };
        let text = format!("{whom}{}", finding.text);
        let lines = lens::wrap(&text, area.width.saturating_sub(3) as usize);
        let remedy = lens::wrap(&finding.remedy, area.width.saturating_sub(5) as usize);
        let more = found.len() - n;
        if y as usize + lines.len() + remedy.len() > area.bottom() as usize {
            let text = format!("{more} more: slimscope export PLAN MODEL --lint says all");
            put(buf, area.x, y.min(area.bottom() - 1), area.right(), &text, look.theme.style(Ink::Quiet));
            return;
        }
        put(buf, area.x, y, area.right(), mark, look.theme.style(ink));
        for line in lines {
            put(buf, area.x + 2, y, area.right(), &line, look.theme.style(Ink::Text));
            y += 1;
        }
        for line in remedy {
            debug_assert!(width(&line) <= area.width as usize);
            put(buf, area.x + 4, y, area.right(), &line, look.theme.style(Ink::Quiet));
            y += 1;
        }
    }
}
