//! The thread that follows a moving knob: it works on the newest question only, and never waits for the pool.

use super::Message;
use crate::model::{LayerId, Model};
use crate::source::Weights;
use crate::treat::Treatment;
use crate::treat::preview::{Preview, Warm, preview};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};

/// A question: what pruning at this threshold makes of the layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub layer: LayerId,
    pub treatment: Treatment,
    pub threshold: f32,
}

/// Where the newest question waits.
#[derive(Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    question: Option<Question>,
    quit: bool,
}

impl Mailbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Replaces whatever waits; `None` takes it back.
    pub fn put(&self, question: Option<Question>) {
        self.state().question = question;
        self.news.notify_one();
    }
    /// Ends the thread.
    pub fn close(&self) {
        self.state().quit = true;
        self.news.notify_one();
    }
    fn take(&self) -> Option<Question> {
        let mut state = self.state();
        loop {
            if state.quit {
                return None;
            }
            if let Some(question) = state.question.take() {
                return Some(question);
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Answers questions until the mailbox is closed.
pub(super) fn run(mailbox: &Mailbox, model: &Model, weights: &Weights, messages: &mpsc::Sender<Message>) {
    let mut warm: Option<(LayerId, Warm)> = None;
    while let Some(question) = mailbox.take() {
        let id = question.layer;
        let Some(layer) = model.layer(id) else { continue };
        // What cannot be read or computed is told by the exact run.
        let Ok(entries) = weights.stored(model, layer) else { continue };
        let mut start = warm.take().filter(|w| w.0 == id).map(|w| w.1).unwrap_or_default();
        let keep_going = || !mailbox.state().quit;
        let wanted = || mailbox.state().question.is_none();
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
