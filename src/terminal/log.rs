//! The log of this session, and those of earlier ones.

use crate::app::Msg;
use crate::model::Model;
use crate::session::{Note, Opened, Replayed, Store, Writer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How the session begins.
pub enum Begin {
    /// Afresh.
    Fresh,
    /// Afresh, with a word to the user.
    Told(String),
    /// Earlier sessions are offered.
    Ask,
    /// Where an earlier one ended: its log, which goes on.
    TakeUp(PathBuf, Arc<Replayed>),
    /// Where a log ends, which itself stays as it is.
    Replay(PathBuf, Arc<Replayed>),
}

/// The log of this session, and the way to the others.
pub struct Log {
    store: Option<Store>,
    writer: Option<Writer>,
    tell: Arc<dyn Fn(Msg) + Send + Sync>,
}

impl Log {
    /// Begins it; `tell` hears what was found and what went wrong.
    pub fn start(
        store: Option<Store>,
        model: Arc<Model>,
        opened: Opened,
        begin: &Begin,
        tell: impl Fn(Msg) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let tell: Arc<dyn Fn(Msg) + Send + Sync> = Arc::new(tell);
        let told = Arc::clone(&tell);
        let start = |store| Writer::start(store, model, opened, move |text| told(Msg::Told(text)));
        let writer = store.clone().map(start).transpose()?;
        match (&writer, begin) {
            (Some(writer), Begin::TakeUp(path, replayed)) => writer.take_up(path, replayed.whole, Duration::ZERO),
            (Some(writer), Begin::Replay(path, replayed)) => writer.copy(path, replayed.whole),
            _ => {}
        }
        Ok(Self { store, writer, tell })
    }

    /// Adds to it.
    pub fn note(&self, note: Note) {
        if let Some(writer) = &self.writer {
            writer.note(note);
        }
    }

    /// Goes on with another log.
    pub fn take_up(&self, path: &Path, whole: u64, at: Duration) {
        if let Some(writer) = &self.writer {
            writer.take_up(path, whole, at);
        }
    }

    /// Waits until everything has been written, not for long.
    pub fn flush(&self) {
        if let Some(writer) = &self.writer {
            writer.flush();
        }
    }

    /// Looks for earlier sessions of a model, off this thread.
    pub fn look_for_others(&self, model: &Arc<Model>, asked: bool) {
        let (store, model, tell) = (self.store.clone(), Arc::clone(model), Arc::clone(&self.tell));
        let own = self.writer.as_ref().and_then(Writer::path);
        let look = move || {
            let listing = store.map(|s| s.list(&model, own.as_deref())).unwrap_or_default();
            tell(Msg::Sessions { listing, asked });
        };
        // Without a thread there is no list; the dashboard goes on.
        let _ = std::thread::Builder::new().name("sessions".into()).spawn(look);
    }
}
