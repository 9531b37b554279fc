//! Where the newest question waits for a thread that answers one at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Holds what waits. Newer questions take the place of older ones.
#[derive(Default)]
pub(super) struct Mailbox<T> {
    state: Mutex<State<T>>,
    news: Condvar,
}

#[derive(Default)]
struct State<T> {
    waiting: T,
    quit: bool,
}

impl<T: Default> Mailbox<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Changes what waits.
    pub fn put(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.state().waiting);
        self.news.notify_one();
    }
    /// Ends the thread.
    pub fn close(&self) {
        self.state().quit = true;
        self.news.notify_one();
    }
    /// Whether the thread is to end.
    pub fn closed(&self) -> bool {
        self.state().quit
    }
    /// Looks at what waits.
    pub fn look<R>(&self, at: impl FnOnce(&T) -> R) -> R {
        at(&self.state().waiting)
    }
    /// Waits until `next` finds something; `None` once closed.
    pub fn take<Q>(&self, next: impl Fn(&mut T) -> Option<Q>) -> Option<Q> {
        let mut state = self.state();
        loop {
            if state.quit {
                return None;
            }
            if let Some(question) = next(&mut state.waiting) {
                return Some(question);
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
