//! A line made of groups: a group that does not fit is left out whole, never cut.

use super::{Ink, Theme, fit, put, width};
use ratatui::buffer::Buffer;

/// A line of groups, each of styled pieces.
#[derive(Debug, Clone, Default)]
pub struct Phrase {
    groups: Vec<Vec<(String, Ink)>>,
}

impl Phrase {
    /// An empty line.
    pub fn new() -> Self {
        Self::default()
    }
    /// Begins a group with a caption.
    pub fn caption(mut self, text: &str) -> Self {
        self.groups.push(vec![(text.to_owned(), Ink::Quiet)]);
        self
    }
    /// Begins a group with a value.
    pub fn group(mut self, text: impl Into<String>) -> Self {
        self.groups.push(vec![(text.into(), Ink::Text)]);
        self
    }
    /// Begins a group in an ink.
    pub fn inked(mut self, text: impl Into<String>, ink: Ink) -> Self {
        self.groups.push(vec![(text.into(), ink)]);
        self
    }
    /// Adds to the group, after a blank.
    pub fn and(self, text: impl Into<String>) -> Self {
        self.and_inked(text, Ink::Text)
    }
    /// Adds to the group in an ink, after a blank.
    pub fn and_inked(mut self, text: impl Into<String>, ink: Ink) -> Self {
        match self.groups.last_mut() {
            Some(group) => {
                group.push((" ".to_owned(), Ink::Text));
                group.push((text.into(), ink));
            }
            None => self.groups.push(vec![(text.into(), ink)]),
        }
        self
    }
    /// Adds all groups of another line.
    pub fn append(mut self, other: Self) -> Self {
        self.groups.extend(other.groups);
        self
    }
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
    /// Writes the groups that fit between two columns, `gap` blanks between them; returns the column after the last.
    pub fn draw(&self, buf: &mut Buffer, x: u16, y: u16, right: u16, gap: u16, theme: Theme) -> u16 {
        let mut at = x;
        for group in &self.groups {
            let wide: usize = group.iter().map(|(t, _)| width(t)).sum();
            let start = if at == x { at } else { at + gap };
            if start as usize + wide > right as usize {
                // The first group is shown in part rather than nothing at all.
                if at == x {
                    let all: String = group.iter().map(|(t, _)| t.as_str()).collect();
                    let ink = group.last().map_or(Ink::Text, |(_, ink)| *ink);
                    at = put(buf, at, y, right, &fit(&all, right.saturating_sub(x) as usize), theme.style(ink));
                }
                break;
            }
            at = start;
            for (text, ink) in group {
                at = put(buf, at, y, right, text, theme.style(*ink));
            }
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::super::Depth;
    use super::*;
    use ratatui::layout::Rect;

    #[test]
    fn groups_that_do_not_fit_are_left_out_whole() {
        let phrase = Phrase::new().caption("err").and("=.31").caption("bound").and("≤3.90").group("x");
        for (w, want) in
            [(30, "err =.31  bound ≤3.90  x"), (20, "err =.31"), (22, "err =.31  bound ≤3.90"), (5, "err …")]
        {
            let mut buf = Buffer::empty(Rect::new(0, 0, w, 1));
            phrase.draw(&mut buf, 0, 0, w, 2, Theme { depth: Depth::None });
            let row: String = buf.content.iter().map(ratatui::buffer::Cell::symbol).collect();
            assert_eq!(row.trim_end(), want);
        }
    }
}
