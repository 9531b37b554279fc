//! The terminal, borrowed: everything switched on here is switched off exactly once.

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::{cursor, execute, queue, terminal};
use ratatui::backend::{Backend, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::io::{self, BufWriter, Stdout, Write};
#[cfg(unix)]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the terminal is ours now. Global because the panic hook and the watchdog must see it.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// How the terminal was set before raw mode, for [`restore_at_once`].
#[cfg(unix)]
static COOKED: OnceLock<rustix::termios::Termios> = OnceLock::new();

/// Presses, drags and the wheel in SGR notation; not mere movement, which would send bytes over SSH all the time.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1002h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1002l\x1b[?1000l";

/// The borrowed terminal and what stands on it.
pub struct Session {
    backend: CrosstermBackend<BufWriter<Stdout>>,
    /// What the terminal shows; `None` when that is not known.
    shown: Option<Buffer>,
}

impl Session {
    /// Takes the terminal: raw mode, alternate screen, no cursor, bracketed paste.
    pub fn open() -> io::Result<Self> {
        let backend = CrosstermBackend::new(BufWriter::with_capacity(1 << 16, io::stdout()));
        let mut session = Self { backend, shown: None };
        session.take()?;
        Ok(session)
    }

    fn take(&mut self) -> io::Result<()> {
        #[cfg(unix)]
        {
            if let Ok(before) = rustix::termios::tcgetattr(rustix::stdio::stdout()) {
                let _ = COOKED.set(before);
            }
            crate::source::mapped::before_the_end(restore_at_once);
        }
        // Before anything is switched on, so that a failure half way is undone as well.
        ACTIVE.store(true, Ordering::SeqCst);
        terminal::enable_raw_mode()?;
        execute!(self.backend, terminal::EnterAlternateScreen, cursor::Hide, EnableBracketedPaste)?;
        self.shown = None;
        Ok(())
    }

    /// Columns and rows of the window.
    pub fn size(&self) -> (u16, u16) {
        terminal::size().unwrap_or((80, 24))
    }

    /// Draws a frame: only what changed is sent, in one write, as one update where the terminal knows how.
    pub fn draw(&mut self, size: (u16, u16), paint: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        let mut next = Buffer::empty(Rect::new(0, 0, size.0, size.1));
        paint(&mut next);
        let same = self.shown.take().filter(|b| b.area == next.area);
        queue!(self.backend, terminal::BeginSynchronizedUpdate)?;
        let blank;
        let before = if let Some(before) = &same {
            before
        } else {
            queue!(self.backend, crossterm::style::ResetColor, terminal::Clear(terminal::ClearType::All))?;
            blank = Buffer::empty(next.area);
            &blank
        };
        let changes = before.diff(&next);
        self.backend.draw(changes.into_iter())?;
        queue!(self.backend, terminal::EndSynchronizedUpdate)?;
        io::Write::flush(&mut self.backend)?;
        self.shown = Some(next);
        Ok(())
    }

    /// Reports the pointer, or stops.
    pub fn mouse(&mut self, on: bool) -> io::Result<()> {
        self.backend.write_all(if on { MOUSE_ON } else { MOUSE_OFF })?;
        io::Write::flush(&mut self.backend)
    }

    /// Gives the terminal back, calls `stop`, which returns when the shell continues the process, and takes the
    /// terminal again.
    pub fn suspend(&mut self, mouse: bool, stop: impl FnOnce()) -> io::Result<()> {
        io::Write::flush(&mut self.backend)?;
        restore();
        stop();
        self.take()?;
        if mouse { self.mouse(true) } else { Ok(()) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = io::Write::flush(&mut self.backend);
        restore();
    }
}

/// Gives the terminal back, once; safe to call from anywhere at any time.
pub fn restore() {
    if ACTIVE.swap(false, Ordering::SeqCst) {
        let mut out = io::stdout();
        let _ = out.write_all(MOUSE_OFF);
        let _ = execute!(
            out,
            terminal::EndSynchronizedUpdate,
            DisableBracketedPaste,
            cursor::Show,
            terminal::LeaveAlternateScreen
        );
        let _ = terminal::disable_raw_mode();
    }
}

/// The same in a signal handler, where locks, allocation and buffered output are not allowed: plain system calls.
#[cfg(unix)]
fn restore_at_once() {
    /// What [`restore`] sends: the end of a synchronized update, no mouse, no bracketed paste, the cursor, the first
    /// screen.
    const BACK: &[u8] = b"\x1b[?2026l\x1b[?1006l\x1b[?1002l\x1b[?1000l\x1b[?2004l\x1b[?25h\x1b[?1049l";
    if ACTIVE.swap(false, Ordering::SeqCst) {
        let out = rustix::stdio::stdout();
        let _ = rustix::io::write(out, BACK);
        if let Some(cooked) = COOKED.get() {
            let _ = rustix::termios::tcsetattr(out, rustix::termios::OptionalActions::Now, cooked);
        }
    }
}
