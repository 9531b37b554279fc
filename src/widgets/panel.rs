//! A framed part of the screen: a title at the upper left, a remark at the upper right, its own keys below.

use super::{Ink, Theme, fit, width};
use crate::text::shown;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Widget};

/// What is written on the frame.
#[derive(Debug, Clone, Default)]
pub struct Panel<'a> {
    /// Upper left.
    pub title: &'a str,
    /// Upper right; left out where it does not fit.
    pub remark: &'a str,
    /// Lower left: the panel's keys; those that do not fit are left out, from the last.
    pub keys: &'a [String],
}

impl Panel<'_> {
    /// Draws the frame and returns what is inside.
    pub fn draw(&self, area: Rect, buf: &mut Buffer, theme: Theme) -> Rect {
        if area.width < 4 || area.height < 2 {
            return Rect::default();
        }
        let room = area.width as usize - 4;
        let title = fit(self.title, room.saturating_sub(2));
        let left = room.saturating_sub(width(&title) + 3);
        let mut block = Block::bordered()
            .border_type(BorderType::Rounded)
            .border_style(theme.style(Ink::Quiet))
            .title(Line::from(vec![Span::raw("─ "), Span::styled(title, theme.style(Ink::Title)), Span::raw(" ")]));
        if !self.remark.is_empty() && width(self.remark) + 2 <= left {
            let remark = Span::styled(format!(" {} ", shown(self.remark)), theme.style(Ink::Text));
            block = block.title(Line::from(vec![remark, Span::raw("─")]).right_aligned());
        }
        let mut keys = String::new();
        for key in self.keys {
            let more = if keys.is_empty() { key.clone() } else { format!("  {key}") };
            if width(&keys) + width(&more) + 2 > room {
                break;
            }
            keys.push_str(&more);
        }
        if !keys.is_empty() {
            block = block.title_bottom(Line::from(vec![
                Span::raw("─ "),
                Span::raw(shown(&keys).into_owned()),
                Span::raw(" "),
            ]));
        }
        let inner = block.inner(area);
        block.render(area, buf);
        inner
    }
}

#[cfg(test)]
mod tests {
    use super::super::Depth;
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out_whole() {
        let keys = ["/ filter".to_owned(), "s sort".to_owned()];
        let panel = Panel { title: "Layers", remark: "31 of 31", keys: &keys };
        for (columns, top, bottom) in [
            (30, "╭─ Layers ────────── 31 of 31 ─╮", "╰─ / filter  s sort ───────────╯"),
            (18, "╭─ Layers ─────────╮", "╰─ / filter ───────╯"),
        ] {
            let area = Rect::new(0, 0, columns + 2, 3);
            let mut buf = Buffer::empty(area);
            let inner = panel.draw(area, &mut buf, Theme { depth: Depth::None });
            let row = |y: u16| (0..area.width).map(|x| buf[(x, y)].symbol()).collect::<String>();
            assert_eq!((row(0).as_str(), row(2).as_str()), (top, bottom));
            assert_eq!(inner, Rect::new(1, 1, columns, 1));
        }
    }
}
