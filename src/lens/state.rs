//! What is shown where a measurement is not there: why, and what is known meanwhile.

use super::Look;
use crate::widgets::number::{bytes, grouped, known, number};
use crate::widgets::{Ink, Phrase, fit, put};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Says why there is nothing to draw yet, or ever.
pub fn absent(look: &Look, what: &str, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let mut lines: Vec<(String, Ink)> = Vec::new();
    if let Some(why) = &look.facts.failure {
        lines.push(("! could not be measured".to_owned(), Ink::Bad));
        lines.push((why.clone(), Ink::Text));
    } else if let Some(tied) = look.layer.tied_to.and_then(|id| look.app.model.layer(id)) {
        lines.push((format!("tied: the same tensor as {}, counted and measured there", tied.name), Ink::Text));
    } else if look.layer.measurable() {
        lines.push((format!("{what} …"), Ink::Text));
        lines.push(("being computed: this layer comes first".to_owned(), Ink::Quiet));
    } else {
        let why = look.layer.why_not.clone().unwrap_or_else(|| "no matrix".to_owned());
        lines.push((format!("not measured: {why}"), Ink::Text));
    }
    let mut y = area.y + area.height / 3;
    for (text, ink) in &lines {
        for line in wrap(text, area.width.saturating_sub(4) as usize) {
            if y < area.bottom() {
                put(buf, area.x + 2, y, area.right(), &line, theme.style(*ink));
            }
            y += 1;
        }
    }
    if y + 1 < area.bottom() {
        let entries = (look.layer.rows() * look.layer.cols()) as u64;
        let mut phrase = Phrase::new().caption("entries").and(grouped(entries)).caption("size").and(format!(
            "{} {}",
            bytes(look.layer.bytes),
            look.layer.dtype.name()
        ));
        if let Some(m) = &look.facts.magnitude {
            phrase = phrase.caption("‖W‖_F").and(format!("={}", number(m.frobenius())));
        }
        if look.outcome.norm_before.is_some() {
            phrase = phrase.caption("σ₁").and(known(look.outcome.norm_before, number));
        }
        phrase.draw(buf, area.x + 2, y + 1, area.right(), 3, theme);
    }
}

/// Writes a paragraph into an empty panel.
pub fn say(look: &Look, text: &str, area: Rect, buf: &mut Buffer) {
    let lines = wrap(text, area.width.saturating_sub(4).min(72) as usize);
    for (y, line) in (area.y + area.height / 3..area.bottom()).zip(lines) {
        put(buf, area.x + 2, y, area.right(), &line, look.theme.style(Ink::Text));
    }
}

/// Breaks a text at blanks into lines of at most `room` columns.
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        let needed = crate::widgets::width(word) + usize::from(!line.is_empty());
        if !line.is_empty() && crate::widgets::width(line) + needed > room {
            lines.push(fit(word, room));
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&fit(word, room));
        }
    }
    lines
}
