//! Leaving a computation that cannot be interrupted: it goes on by itself, its result is dropped, the caller is free.
//!
//! A decomposition in faer is one call of seconds for a large matrix. Where answers must be given up within a tenth of
//! a second, such a call runs on a thread of its own. At most two may be left behind at a time: then the next caller
//! waits for its result as everybody else does.

use super::KeepGoing;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// Multiplications below which a computation takes less than about 50 ms and is not worth leaving.
const SHORT: usize = 60_000_000;
/// How often the caller looks whether its answer is still wanted.
const LOOK: Duration = Duration::from_millis(15);
const MOST_LEFT: usize = 2;

static LEFT: AtomicUsize = AtomicUsize::new(0);

/// Runs `compute`, of about `work` multiplications; `None` when told to stop meanwhile.
pub fn detached<T: Send + 'static>(
    work: usize,
    keep_going: KeepGoing<'_>,
    compute: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    one_thread_each();
    if work < SHORT {
        return Some(compute());
    }
    let (tell, answer) = mpsc::channel();
    let thread = std::thread::Builder::new().name("decomposition".into()).spawn(move || {
        // Nobody may be waiting any more.
        let _ = tell.send(compute());
    });
    let Ok(thread) = thread else { return None };
    loop {
        match answer.recv_timeout(LOOK) {
            Ok(found) => return Some(found),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                // It panicked: the caller's own handling of panics is the right place for it.
                match thread.join() {
                    Err(payload) => std::panic::resume_unwind(payload),
                    Ok(()) => return None,
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) if keep_going() => {}
            Err(mpsc::RecvTimeoutError::Timeout) => {
                if LEFT.fetch_add(1, Ordering::Relaxed) < MOST_LEFT {
                    let gone = std::thread::Builder::new().spawn(move || {
                        let _ = thread.join();
                        LEFT.fetch_sub(1, Ordering::Relaxed);
                    });
                    if gone.is_err() {
                        LEFT.fetch_sub(1, Ordering::Relaxed);
                    }
                } else {
                    let _ = thread.join();
                    LEFT.fetch_sub(1, Ordering::Relaxed);
                }
                return None;
            }
        }
    }
}

/// faer would spread each call over all cores: layers are spread over them already, and the interface needs one.
fn one_thread_each() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| faer::set_global_parallelism(faer::Par::Seq));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_long_computation_is_left_and_a_panic_comes_through() {
        assert_eq!(detached(SHORT, &|| true, || 7), Some(7));
        let start = Instant::now();
        let sleep = || std::thread::sleep(Duration::from_secs(3));
        assert_eq!(detached(SHORT, &|| start.elapsed() < Duration::from_millis(20), sleep), None);
        assert!(start.elapsed() < Duration::from_secs(2));
        let caught = std::panic::catch_unwind(|| detached(SHORT, &|| true, || panic!("inside")));
        assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"inside"));
    }
}
