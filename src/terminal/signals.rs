//! Signals: hang-up and termination leave in time, a stop from outside suspends.

/// What a signal means for the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Leave with this exit status.
    Leave(u8),
    /// Suspend.
    Stop,
}

/// How long the interface has to leave by itself before the process is ended.
#[cfg(unix)]
const GRACE: std::time::Duration = std::time::Duration::from_millis(200);

/// Calls `tell` on a thread of its own for every signal. A process whose terminal is gone must not live on: if the
/// interface has not left after 200 ms, it is ended.
#[cfg(unix)]
pub fn watch(tell: impl Fn(Signal) + Send + 'static) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGTERM, SIGINT, SIGTSTP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGTSTP {
                tell(Signal::Stop);
                continue;
            }
            let status = 128 + signal as u8;
            tell(Signal::Leave(status));
            std::thread::sleep(GRACE);
            super::session::restore();
            std::process::exit(i32::from(status));
        }
    })?;
    Ok(())
}

/// Stops the process as ctrl-z would; returns when the shell continues it.
#[cfg(unix)]
pub fn stop() {
    let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP);
}

/// Whether the terminal has hung up: the one that is drawn on, since keys may come from another file.
#[cfg(unix)]
pub fn hung_up() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(n) if n > 0)
        && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
}

/// Without signals there is nothing to watch.
#[cfg(not(unix))]
pub fn watch(_tell: impl Fn(Signal) + Send + 'static) -> std::io::Result<()> {
    Ok(())
}

/// There is no suspending here.
#[cfg(not(unix))]
pub fn stop() {}

/// Not told here.
#[cfg(not(unix))]
pub fn hung_up() -> bool {
    false
}
