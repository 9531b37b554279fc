//! Panics: the interface's own gives the terminal back and is told; a worker's is caught by the engine and logged.

use super::session::restore;
use crate::config::state_dir;
use std::backtrace::Backtrace;
use std::io::Write;
use std::thread::{self, ThreadId};

/// Installs the hook for the interface running on this thread.
pub fn install() {
    let interface: ThreadId = thread::current().id();
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if thread::current().id() == interface {
            restore();
            tell(info);
        } else {
            // The screen stays ours: the engine marks the layer and goes on.
            log(&format!("{info}\n{}", Backtrace::force_capture()));
        }
    }));
}

/// Appends to `slimscope.log` in the state directory; says nothing when that fails, since it is a last resort.
fn log(text: &str) {
    let Some(dir) = state_dir() else { return };
    let _ = std::fs::create_dir_all(&dir);
    let file = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("slimscope.log"));
    if let Ok(mut file) = file {
        let name = thread::current().name().unwrap_or("?").to_owned();
        let _ = writeln!(file, "slimscope {} thread {name}: {text}", env!("CARGO_PKG_VERSION"));
    }
}
