//! Results made ahead by several threads and taken in order, within a bound of memory.

use crate::numerics::KeepGoing;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What may be taken.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Threads that work.
    pub threads: usize,
    /// Bytes held by what is being made and by what waits to be taken; what needs more runs alone.
    pub memory: u64,
}

struct State<T> {
    /// The job begun next.
    next: usize,
    /// Bytes of jobs begun and not yet taken.
    held: u64,
    done: BTreeMap<usize, Option<T>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    stop: AtomicBool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn wait<'a>(&self, guard: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }
    /// Begins the next job once there is room for it. In order, so that what is waited for is never behind.
    /// Nor so far ahead of who takes that finished work piles up.
    fn begin(&self, needs: &[u64], limits: Limits) -> Option<usize> {
        let ahead = 4 + 2 * limits.threads;
        let mut state = self.lock();
        loop {
            let need = *needs.get(state.next)?;
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let room = state.held.saturating_add(need) <= limits.memory && state.done.len() < ahead;
            if state.held == 0 || room {
                state.held = state.held.saturating_add(need);
                state.next += 1;
                return Some(state.next - 1);
            }
            state = self.wait(state);
        }
    }
    fn end(&self, job: usize, result: Option<T>) {
        self.lock().done.insert(job, result);
        self.changed.notify_all();
    }
    fn take(&self, job: usize, needs: &[u64]) -> Option<T> {
        let mut state = self.lock();
        let need = *needs.get(job)?;
        loop {
            if let Some(result) = state.done.remove(&job) {
                state.held = state.held.saturating_sub(need);
                self.changed.notify_all();
                return result;
            }
            state = self.wait(state);
        }
    }
}

/// Ends the workers, however their results were left.
struct Stop<'a, T>(&'a Shared<T>);

impl<T> Drop for Stop<'_, T> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
        let _state = self.0.lock();
        self.0.changed.notify_all();
    }
}

/// Makes one result for each of `needs` (bytes that it takes). `taker` is given a function that hands out the next
/// one, in order; `None` after the last, and for one whose making panicked.
pub fn in_order<T: Send, R>(
    needs: &[u64],
    limits: Limits,
    keep_going: KeepGoing<'_>,
    make: &(dyn Fn(usize, KeepGoing<'_>) -> T + Sync),
    taker: impl FnOnce(&mut dyn FnMut() -> Option<T>) -> R,
) -> R {
    let state = Mutex::new(State { next: 0, held: 0, done: BTreeMap::new() });
    let shared = Shared { state, changed: Condvar::new(), stop: AtomicBool::new(false) };
    std::thread::scope(|scope| {
        let stop = Stop(&shared);
        for _ in 0..limits.threads.clamp(1, needs.len().max(1)) {
            scope.spawn(|| {
                let wanted = || !shared.stop.load(Ordering::Relaxed) && keep_going();
                while let Some(job) = shared.begin(needs, limits) {
                    let result = catch_unwind(AssertUnwindSafe(|| make(job, &wanted)));
                    shared.end(job, result.ok());
                }
            });
        }
        let mut job = 0;
        let out = taker(&mut || {
            job += 1;
            shared.take(job - 1, needs)
        });
        drop(stop);
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn results_come_in_order_and_no_more_is_held_than_allowed() {
        let needs: Vec<u64> = (0..60).map(|i| if i == 20 { 1000 } else { 1 + i % 7 }).collect();
        for (threads, memory) in [(1, 10), (4, 10), (8, 1 << 40), (3, 0)] {
            let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
            let make = |i: usize, _: KeepGoing<'_>| {
                let now = held.fetch_add(needs[i], Ordering::SeqCst) + needs[i];
                // After the large one, it counts here a little longer than there.
                most.fetch_max(if i < 20 && now > needs[i] { now } else { 0 }, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_micros((60 - i as u64) * 20));
                i
            };
            let taken = |i: &usize| {
                held.fetch_sub(needs[*i], Ordering::SeqCst);
            };
            let got = in_order(&needs, Limits { threads, memory }, &|| true, &make, |next| {
                std::iter::from_fn(next).inspect(taken).collect::<Vec<_>>()
            });
            assert_eq!(got, (0..60).collect::<Vec<_>>());
            // At most what is allowed, or one alone, and the one just taken, which counts here a little longer than there.
            let bound = memory.max(7).saturating_add(7);
            assert!(most.load(Ordering::SeqCst) <= bound, "{threads} {memory}: {most:?}");
        }
    }

    #[test]
    fn leaving_early_ends_the_workers_and_a_panic_is_no_result() {
        let needs = [1; 100];
        let limits = Limits { threads: 3, memory: 4 };
        let make = |i: usize, wanted: KeepGoing<'_>| {
            while i == 3 && wanted() {
                std::thread::yield_now();
            }
            i
        };
        let first = in_order(&needs, limits, &|| true, &make, |next| next());
        assert_eq!(first, Some(0));
        let make = |i: usize, _: KeepGoing<'_>| assert_ne!(i, 1, "on purpose");
        let got = in_order(&needs, limits, &|| true, &make, |next| [next(), next(), next()]);
        assert_eq!(got, [Some(()), None, Some(())]);
        assert_eq!(in_order(&[], limits, &|| true, &make, |next| next()), None);
    }
}
