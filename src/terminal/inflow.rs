//! Reports of the engine on their way to the interface: kept apart from keys, so that no key waits behind them.

use crate::engine::Report;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Reports that wait, oldest first.
#[derive(Default)]
pub struct Inflow {
    waiting: Mutex<VecDeque<Report>>,
}

impl Inflow {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Report>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a report. Returns whether it is the only one that waits: then the interface has to be woken.
    pub fn push(&self, report: Report) -> bool {
        let mut waiting = self.waiting();
        waiting.push_back(report);
        waiting.len() == 1
    }

    /// Takes at most so many of the oldest.
    pub fn take(&self, most: usize) -> Vec<Report> {
        let mut waiting = self.waiting();
        let many = waiting.len().min(most);
        waiting.drain(..many).collect()
    }

    /// Whether any waits.
    pub fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(requests: u64) -> Report {
        Report::Idle { requests }
    }

    #[test]
    fn only_the_first_report_wakes_and_reports_keep_their_order() {
        let inflow = Inflow::default();
        assert_eq!([1, 2, 3].map(|n| inflow.push(idle(n))), [true, false, false]);
        let number = |r: &Report| if let Report::Idle { requests } = r { *requests } else { 0 };
        assert_eq!(inflow.take(2).iter().map(number).collect::<Vec<_>>(), [1, 2]);
        assert!(!inflow.push(idle(4)), "one still waits");
        assert_eq!(inflow.take(9).iter().map(number).collect::<Vec<_>>(), [3, 4]);
        assert!(inflow.is_empty() && inflow.push(idle(5)));
    }
}
