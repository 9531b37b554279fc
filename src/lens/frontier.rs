//! Size against error over whole plans. Not built yet, and says so.

use super::explain::{self, Entry};
use super::{Lens, Look, state};
use crate::app::{Action, LensId};
use crate::widgets::{Ink, put};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// See the module.
pub struct FrontierLens;

impl Lens for FrontierLens {
    fn id(&self) -> LensId {
        LensId::Frontier
    }
    fn remark(&self, _look: &Look) -> String {
        "not built yet".to_owned()
    }
    fn keys(&self) -> &'static [Action] {
        &[]
    }
    fn draw(&self, look: &Look, area: Rect, buf: &mut Buffer) {
        let text = "Frontier: not built yet. It will draw size against error for whole plans and solve a budget. The \
                    knobs below, the list and the other lenses work on every layer now.";
        say(look, text, area, buf);
    }
    fn explain(&self) -> &'static [Entry] {
        explain::PLAN
    }
}

/// Writes a paragraph into an empty panel.
pub(super) fn say(look: &Look, text: &str, area: Rect, buf: &mut Buffer) {
    let lines = state::wrap(text, area.width.saturating_sub(4).min(72) as usize);
    for (y, line) in (area.y + area.height / 3..area.bottom()).zip(lines) {
        put(buf, area.x + 2, y, area.right(), &line, look.theme.style(Ink::Text));
    }
}
