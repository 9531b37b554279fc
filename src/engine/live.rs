//! The thread that follows a moving knob: it works on the newest question only, and never waits for the pool.

use super::Message;
use super::mailbox::Mailbox;
use crate::model::{LayerId, Model};
use crate::source::Weights;
use crate::treat::Treatment;
use crate::treat::preview::{Preview, Warm, preview};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

/// A question: what pruning at this threshold makes of the layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub layer: LayerId,
    pub treatment: Treatment,
    pub threshold: f32,
}

/// Answers questions until the mailbox is closed.
pub(super) fn run(
    mailbox: &Mailbox<Option<Question>>,
    model: &Model,
    weights: &Weights,
    messages: &mpsc::Sender<Message>,
) {
    let mut warm: Option<(LayerId, Warm)> = None;
    while let Some(question) = mailbox.take(Option::take) {
        let id = question.layer;
        let Some(layer) = model.layer(id) else { continue };
        // What cannot be read or computed is told by the exact run.
        let Ok(entries) = weights.stored(model, layer) else { continue };
        let mut start = warm.take().filter(|w| w.0 == id).map(|w| w.1).unwrap_or_default();
        let keep_going = || !mailbox.closed();
        let wanted = || mailbox.look(Option::is_none);
        let tell = |preview: Arc<Preview>| drop(messages.send(Message::Preview(id, preview)));
        let asked = (question.treatment, question.threshold);
        let done = catch_unwind(AssertUnwindSafe(|| {
            preview(layer, &entries, asked, &mut start, (&keep_going, &wanted), &tell)
        }));
        if done.is_ok() {
            warm = Some((id, start));
        }
    }
}
