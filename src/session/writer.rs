//! A thread that writes the log, so that no frame waits for a disk.
//!
//! Nothing is written before the first change of the plan. A change is written at once; what goes on with a gesture and
//! what is looked at comes many times a second, and only the last of a short while is.

use super::store::{Lock, Store, lock, make};
use super::{Line, Note, Opened};
use crate::model::Model;
use crate::plan::file::LayerPlan;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The continuation of a gesture is written this long after it was made.
const GESTURE: Duration = Duration::from_millis(100);
/// What is looked at is written after this long.
const VIEW: Duration = Duration::from_millis(400);
/// Longest wait for the disk when the program leaves or is suspended.
const PATIENCE: Duration = Duration::from_millis(500);

enum Ask {
    Note(Box<Note>),
    TakeUp { path: PathBuf, whole: u64, at: u64 },
    Copy { path: PathBuf, whole: u64 },
    Flush(Sender<()>),
}

/// The log of this process.
pub struct Writer {
    asks: Option<Sender<Ask>>,
    thread: Option<JoinHandle<()>>,
    path: Arc<Mutex<Option<PathBuf>>>,
}

impl Writer {
    /// Starts the thread. `tell` hears once, in words for the user, that nothing can be written.
    pub fn start(
        store: Store,
        model: Arc<Model>,
        opened: Opened,
        tell: impl Fn(String) + Send + 'static,
    ) -> io::Result<Self> {
        let (asks, inbox) = mpsc::channel();
        let path = Arc::new(Mutex::new(None));
        let scribe = Scribe {
            store,
            model,
            opened,
            file: None,
            begin: None,
            amend: None,
            view: None,
            aside: String::new(),
            failed: false,
            path: Arc::clone(&path),
            tell: Box::new(tell),
        };
        let thread = std::thread::Builder::new().name("session".into()).spawn(move || scribe.run(&inbox))?;
        Ok(Self { asks: Some(asks), thread: Some(thread), path })
    }

    fn ask(&self, ask: Ask) {
        if let Some(asks) = &self.asks {
            let _ = asks.send(ask);
        }
    }

    /// Adds a line.
    pub fn note(&self, note: Note) {
        self.ask(Ask::Note(Box::new(note)));
    }

    /// Goes on with the log of an earlier session, of which so many bytes were read. Where another process has gone on
    /// with it meanwhile, or still does, a copy is made.
    pub fn take_up(&self, path: &Path, whole: u64, at: Duration) {
        self.ask(Ask::TakeUp { path: path.to_owned(), whole, at: at.as_millis() as u64 });
    }

    /// Begins with what another log says, once there is a change; that log stays as it is.
    pub fn copy(&self, path: &Path, whole: u64) {
        self.ask(Ask::Copy { path: path.to_owned(), whole });
    }

    /// The file that is written, once there is one.
    pub fn path(&self) -> Option<PathBuf> {
        self.path.lock().ok()?.clone()
    }

    /// Waits a short while until everything has been written; whether it was.
    pub fn flush(&self) -> bool {
        let (done, written) = mpsc::channel();
        self.ask(Ask::Flush(done));
        written.recv_timeout(PATIENCE).is_ok()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let written = self.flush();
        self.asks = None;
        // A disk that does not answer keeps nobody from leaving.
        if let Some(thread) = self.thread.take().filter(|_| written) {
            let _ = thread.join();
        }
    }
}

struct Scribe {
    store: Store,
    model: Arc<Model>,
    opened: Opened,
    file: Option<File>,
    /// The log that this one goes on from, and how much of it counts.
    begin: Option<(PathBuf, u64)>,
    amend: Option<(Line, Instant)>,
    view: Option<(Line, Instant)>,
    /// Plans put aside before there is a file.
    aside: String,
    failed: bool,
    path: Arc<Mutex<Option<PathBuf>>>,
    tell: Box<dyn Fn(String) + Send>,
}

impl Scribe {
    fn run(mut self, inbox: &Receiver<Ask>) {
        loop {
            let asked = match self.due() {
                Some(due) => inbox.recv_timeout(due.saturating_duration_since(Instant::now())),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match asked {
                Ok(Ask::Note(note)) => {
                    let line = note.line(&self.model);
                    self.line(line);
                }
                Ok(Ask::TakeUp { path, whole, at }) => self.take_up(&path, whole, at),
                Ok(Ask::Copy { path, whole }) => self.begin = Some((path, whole)),
                Ok(Ask::Flush(done)) => {
                    self.pending();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.pending(),
                Err(RecvTimeoutError::Disconnected) => return self.pending(),
            }
        }
    }

    /// When something that waits is to be written.
    fn due(&self) -> Option<Instant> {
        // Before there is a file the view waits for it.
        let view = self.view.as_ref().filter(|_| self.file.is_some()).map(|v| v.1);
        [self.amend.as_ref().map(|a| a.1), view].into_iter().flatten().min()
    }

    fn line(&mut self, line: Line) {
        match line {
            Line::View { .. } => {
                let due = self.view.take().map_or_else(|| Instant::now() + VIEW, |v| v.1);
                self.view = Some((line, due));
            }
            Line::Amend { at, label, to } => {
                let (to, due) = match self.amend.take() {
                    Some((Line::Amend { to: before, .. }, due)) => (later(before, to), due),
                    _ => (to, Instant::now() + GESTURE),
                };
                self.amend = Some((Line::Amend { at, label, to }, due));
            }
            Line::Quit { .. } if self.file.is_none() => {}
            // Put aside before any change, it is the plan of the first line: that alone is not worth a file.
            Line::Snapshot { .. } if self.file.is_none() => self.aside.push_str(&line.text()),
            line => {
                let mut text = self.waiting();
                text.push_str(&line.text());
                self.write(&text);
            }
        }
    }

    /// The lines that wait.
    fn waiting(&mut self) -> String {
        let lines = [self.amend.take(), self.view.take()];
        lines.into_iter().flatten().map(|(line, _)| line.text()).collect()
    }

    fn pending(&mut self) {
        if self.file.is_some() {
            let text = self.waiting();
            self.write(&text);
        }
    }

    fn write(&mut self, text: &str) {
        if self.failed || text.is_empty() {
            return;
        }
        let written = match &mut self.file {
            Some(file) => file.write_all(text.as_bytes()),
            None => self.create(text),
        };
        self.check(written);
    }

    /// What cannot be written is told once; the dashboard goes on.
    fn check(&mut self, written: io::Result<()>) {
        let Err(error) = written else { return };
        self.failed = true;
        let at = self.path.lock().ok().and_then(|p| p.clone()).unwrap_or_else(|| self.store.dir().to_owned());
        let remedy = "SLIMSCOPE_STATE_DIR names another folder";
        (self.tell)(format!("this session is not being saved: {}: {error}; {remedy}", at.display()));
    }

    /// Begins a log with its first line, or with all of the one that it goes on from, and some text.
    fn create(&mut self, text: &str) -> io::Result<()> {
        make(self.store.dir())?;
        let (mut whole, mut opened) = (Vec::new(), self.opened.clone());
        if let Some((path, bytes)) = &self.begin {
            File::open(path)?.take(*bytes).read_to_end(&mut whole)?;
            opened = opened.again();
        }
        whole.extend_from_slice(Line::Open(Box::new(opened)).text().as_bytes());
        whole.extend_from_slice(std::mem::take(&mut self.aside).as_bytes());
        whole.extend_from_slice(text.as_bytes());
        let path = self.store.file(&self.opened);
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        own(&file);
        // In one write: a log without a change is as good as none.
        file.write_all(&whole)?;
        self.took(file, path);
        self.store.prune(&self.opened.model.fingerprint);
        Ok(())
    }

    fn took(&mut self, file: File, path: PathBuf) {
        self.file = Some(file);
        if let Ok(mut slot) = self.path.lock() {
            *slot = Some(path);
        }
    }

    fn take_up(&mut self, path: &Path, whole: u64, at: u64) {
        if self.file.is_some() {
            let text = self.waiting() + &Line::Quit { at }.text();
            self.write(&text);
        }
        (self.file, self.amend, self.view, self.failed) = (None, None, None, false);
        self.aside.clear();
        self.begin = Some((path.to_owned(), whole));
        let written = match reopen(path, whole) {
            Some(mut file) => {
                let opened = Line::Open(Box::new(self.opened.again()));
                let written = file.write_all(opened.text().as_bytes());
                self.took(file, path.to_owned());
                written
            }
            // What was read is kept under a name of our own.
            None => self.create(""),
        };
        self.check(written);
    }
}

/// Opens a log to go on with it; `None` when it is not as it was read, or somebody holds it.
fn reopen(path: &Path, whole: u64) -> Option<File> {
    let mut file = OpenOptions::new().read(true).append(true).open(path).ok()?;
    if !own(&file) {
        return None;
    }
    let mut rest = Vec::new();
    io::Seek::seek(&mut file, io::SeekFrom::Start(whole)).ok()?;
    file.read_to_end(&mut rest).ok()?;
    if rest.contains(&b'\n') {
        return None;
    }
    // A torn last line.
    file.set_len(whole).ok()?;
    Some(file)
}

/// Locks a log for this process; whether nobody else holds it. Somebody may be looking at it: that takes no time.
fn own(file: &File) -> bool {
    for _ in 0..10 {
        if lock(file, true) != Lock::Held {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// What is planned for layers after two lines of one gesture.
fn later(mut before: Vec<LayerPlan>, after: Vec<LayerPlan>) -> Vec<LayerPlan> {
    let at: std::collections::HashMap<String, usize> =
        before.iter().enumerate().map(|(i, l)| (l.name.clone(), i)).collect();
    for layer in after {
        match at.get(&layer.name).and_then(|i| before.get_mut(*i)) {
            Some(known) => *known = layer,
            None => before.push(layer),
        }
    }
    before
}
