//! Where logs are kept: found, tried, set aside, thrown away when there are many.

use super::replay::{LogError, Replayed, head, replay};
use super::{Opened, by, clock};
use crate::model::Model;
use crate::plan::file::fingerprint;
use crate::plan::project;
use crate::probe::book::FactBook;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Logs kept of one model; older ones go.
const KEPT: usize = 20;

/// A folder of logs.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The user left.
    Left,
    /// Killed, hung up, dropped.
    CutOff,
    /// It goes on in another terminal.
    Elsewhere,
}

impl Ending {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::CutOff => "cut off",
            Self::Elsewhere => "open elsewhere",
        }
    }
}

/// A session that can be taken up.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its log.
    pub path: PathBuf,
    /// Since its last line.
    pub age: Duration,
    /// How it ended.
    pub ending: Ending,
    /// Share of the parameters that its plan keeps.
    pub keep: f64,
    /// What it amounts to.
    pub replayed: Arc<Replayed>,
}

/// Sessions of a model.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Those with a plan or a history, newest first.
    pub found: Vec<Found>,
    /// What the user should know.
    pub note: Option<String>,
}

impl Store {
    /// The store inside the state directory.
    pub fn new(state: &Path) -> Self {
        Self { dir: state.join("sessions") }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of a new log.
    pub fn file(&self, opened: &Opened) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') { c } else { '-' };
        let name: String = opened.model.name.chars().take(60).map(plain).collect();
        let start: String = opened.started.chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let name = format!("{name}-{}-{start}-{}", short(&opened.model.fingerprint), opened.pid);
        // A second log of the same second, as when one is taken up that goes on elsewhere.
        let path = |n: u32| match n {
            0 => self.dir.join(format!("{name}.jsonl")),
            n => self.dir.join(format!("{name}-{n}.jsonl")),
        };
        (0..100).map(path).find(|p| !p.exists()).unwrap_or_else(|| path(100))
    }

    /// Logs of a fingerprint with when they were last written, newest first.
    pub(super) fn logs(&self, fingerprint: &str) -> Vec<(SystemTime, PathBuf)> {
        let inside = format!("-{}-", short(fingerprint));
        let entries = fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        let mut out: Vec<(SystemTime, PathBuf)> = entries
            .filter(|e| e.file_name().to_str().is_some_and(|n| n.contains(&inside)))
            .filter(|e| e.path().extension().is_some_and(|x| x == "jsonl"))
            .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
            .collect();
        out.sort_by(|a, b| b.cmp(a));
        out
    }

    /// Sessions of a model that have a plan or a history. Files that are no logs are set aside; `own` is left out.
    pub fn list(&self, model: &Model, own: Option<&Path>) -> Listing {
        let (now, facts, none) = (SystemTime::now(), FactBook::new(model.layers.len()), vec![None; model.layers.len()]);
        let mut out = Listing::default();
        for (written, path) in self.logs(&fingerprint(model)).into_iter().take(KEPT) {
            if own == Some(path.as_path()) {
                continue;
            }
            let Ok(text) = fs::read(&path) else { continue };
            match replay(model, &text, false) {
                Ok(replayed) if replayed.plan.is_dense() && replayed.plan.depth() == (0, 0) => {}
                Ok(replayed) => {
                    let ending = match (busy(&path, &replayed.writer), replayed.left) {
                        (true, _) => Ending::Elsewhere,
                        (false, true) => Ending::Left,
                        (false, false) => Ending::CutOff,
                    };
                    let keep = project(model, &facts, &none, &replayed.plan).totals.keep();
                    let age = now.duration_since(written).unwrap_or_default();
                    out.found.push(Found { path, age, ending, keep, replayed: Arc::new(replayed) });
                }
                Err(LogError::Line { number, why }) if !of_another_version(&text) => {
                    out.note = set_aside(&path, number, &why).or(out.note);
                }
                Err(LogError::Blind { .. }) => {
                    let note = "a session that goes by activations is left alone: open with --calibration FILE";
                    out.note.get_or_insert_with(|| note.to_owned());
                }
                // Being begun just now, written by another version, or of a model that looks alike.
                Err(_) => {}
            }
        }
        out
    }

    /// Throws away all but the newest logs of a model; what is being written stays.
    pub fn prune(&self, fingerprint: &str) {
        for (_, path) in self.logs(fingerprint).into_iter().skip(KEPT) {
            let free = File::open(&path).is_ok_and(|file| lock(&file, false) != Lock::Held);
            if free {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// The beginning of a fingerprint, for file names.
fn short(fingerprint: &str) -> &str {
    let digits = fingerprint.rsplit(':').next().unwrap_or(fingerprint);
    digits.get(..12).unwrap_or(digits)
}

/// Whether another version of the program wrote a log, which may know words that this one does not.
fn of_another_version(text: &[u8]) -> bool {
    let first = text.split_inclusive(|b| *b == b'\n').next().unwrap_or_default();
    head(first).is_ok_and(|opened| opened.by != by())
}

/// Renames a file that is no log; says so.
fn set_aside(path: &Path, number: usize, why: &str) -> Option<String> {
    let mut to = path.as_os_str().to_owned();
    to.push(".corrupt");
    fs::rename(path, &to).ok()?;
    let name = Path::new(&to).file_name()?.to_string_lossy().into_owned();
    Some(format!("a damaged session was set aside as {name}: line {number}: {why}"))
}

/// Whether a log is being written.
fn busy(path: &Path, writer: &(u32, String)) -> bool {
    let Ok(file) = File::open(path) else { return false };
    match lock(&file, false) {
        Lock::Held => true,
        Lock::Free => false,
        // The file system knows no locks: a process of this number on this machine will be the one.
        Lock::Unknown => writer.1 == host() && writer.0 != std::process::id() && alive(writer.0),
    }
}

/// Whether a file is locked by who writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// Nobody holds it; after asking for all of it, it is ours.
    Free,
    /// Somebody does.
    Held,
    /// Cannot be told here.
    Unknown,
}

/// Asks for a lock, which ends with the file or the process: all of it to write, else a look.
#[cfg(unix)]
pub(super) fn lock(file: &File, all: bool) -> Lock {
    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;
    let operation = if all { FlockOperation::NonBlockingLockExclusive } else { FlockOperation::NonBlockingLockShared };
    match flock(file, operation) {
        Ok(()) => Lock::Free,
        Err(Errno::WOULDBLOCK) => Lock::Held,
        Err(_) => Lock::Unknown,
    }
}

/// Not told here.
#[cfg(not(unix))]
pub(super) fn lock(_file: &File, _all: bool) -> Lock {
    Lock::Unknown
}

#[cfg(unix)]
fn alive(pid: u32) -> bool {
    use rustix::process::{Pid, test_kill_process};
    let found = Pid::from_raw(pid as i32).map(test_kill_process);
    matches!(found, Some(Ok(()) | Err(rustix::io::Errno::PERM)))
}

#[cfg(not(unix))]
fn alive(_pid: u32) -> bool {
    false
}

/// The name of this machine.
pub(super) fn host() -> String {
    #[cfg(unix)]
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    #[cfg(not(unix))]
    let name = std::env::var("COMPUTERNAME").unwrap_or_default();
    name
}

/// Makes the folder, for its owner alone: plans are nobody else's business.
pub(super) fn make(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

impl Found {
    /// Whether its plan treats anything; else there is only something to undo or redo.
    pub fn has_plan(&self) -> bool {
        !self.replayed.plan.is_dense()
    }

    /// How long ago its last line was written.
    pub fn ago(&self) -> String {
        clock::ago(self.age)
    }
}
