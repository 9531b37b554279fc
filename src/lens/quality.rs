//! Measured loss. Not built yet, and says so.

use super::explain::{self, Entry};
use super::frontier::say;
use super::{Lens, Look};
use crate::app::{Action, LensId};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// See the module.
pub struct QualityLens;

impl Lens for QualityLens {
    fn id(&self) -> LensId {
        LensId::Quality
    }
    fn remark(&self, _look: &Look) -> String {
        "not built yet".to_owned()
    }
    fn keys(&self) -> &'static [Action] {
        &[]
    }
    fn draw(&self, look: &Look, area: Rect, buf: &mut Buffer) {
        let text = "Quality: not built yet. It will run the model under the plan and show its measured loss. Until \
                    then every error shown is computed from the weights alone: it ranks nothing by quality, and \
                    cutting 2 % of the energy can double a model's loss.";
        say(look, text, area, buf);
    }
    fn explain(&self) -> &'static [Entry] {
        explain::PLAN
    }
}
