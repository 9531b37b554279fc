//! The pointer: what a press or a drag changes.

use super::{Action, App, Effect, Knob, Overlay, Target, knobs, prompt};

impl App {
    /// The pointer pressed, or dragged with the button held.
    pub(super) fn press(&mut self, target: Target, effects: &mut Vec<Effect>) {
        // A drag stays with what it began on, wherever the pointer goes.
        let target = match (self.dragging, target) {
            (Some(Target::Slider(knob, _)), Target::Slider(_, share)) => Target::Slider(knob, share),
            (Some(Target::Plot(_)), Target::Plot(share)) => Target::Plot(share),
            (Some(Target::Budget(_)), Target::Budget(share)) => Target::Budget(share),
            (Some(_), _) => return,
            (None, target) => target,
        };
        if matches!(self.overlay, Some(Overlay::Sessions { .. })) {
            self.decline();
        }
        if self.dragging.is_none() {
            self.dragging = Some(target);
            self.status = None;
        }
        match target {
            Target::Row(row) => self.go_to_row(row),
            Target::Lens(lens) => self.act(Action::Lens(lens), effects),
            Target::Layer(id) => self.select(id),
            Target::Slider(knob, share) => {
                self.knob = knob;
                self.frontier.active = false;
                let value = match knob {
                    Knob::Rank if share >= 1.0 => prompt::Value::Dense,
                    Knob::Prune if share <= 0.0 => prompt::Value::Dense,
                    Knob::Bits => {
                        knobs::bits_at(share).map_or(prompt::Value::Dense, |b| prompt::Value::Bits(Some(b), None))
                    }
                    _ => prompt::Value::Share((share * 200.0).round() / 200.0),
                };
                self.set(value, true);
            }
            Target::Plot(share) => self.point_spectrum(share),
            Target::Budget(share) => {
                self.frontier.active = true;
                self.set_budget((share * 200.0).round() / 200.0, effects);
            }
            Target::Plan(row) => self.frontier.cursor = Some(row),
            Target::Nothing => {}
        }
    }
}
