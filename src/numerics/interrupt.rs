//! How long computations are stopped: they ask, often, whether to go on.

/// Asked between pieces of work of at most about 50 ms; `false` means stop.
pub type KeepGoing<'a> = &'a (dyn Fn() -> bool + Sync);

/// The answer of a computation that was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

/// `Err(Stopped)` once nobody wants the answer; for use with `?`.
pub fn check(keep_going: KeepGoing<'_>) -> Result<(), Stopped> {
    if keep_going() { Ok(()) } else { Err(Stopped) }
}
