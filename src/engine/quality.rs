//! The thread that measures quality: it runs the model under the newest plan, and treats single layers while nobody asks
//! for that. A question that is superseded stops within a batch; its answer is never told.

mod runner;

pub use runner::{KeptInCache, TwoSlices};

use super::mailbox::Mailbox;
use super::{Message, Report};
use crate::evaluate::Measured;
use crate::model::LayerId;
use crate::numerics::KeepGoing;
use crate::treat::Treatment;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// What runs a model under a plan. Slow; lives on the thread that measures.
pub trait Runner: Send {
    /// Quality under these treatments, one for each layer, on a slice. `wanted` is asked while layers are treated, `tell` is
    /// told what is known after each batch and says whether to go on; `None` when one of them does not.
    fn measure(
        &mut self,
        plan: &[Treatment],
        extent: Extent,
        wanted: KeepGoing<'_>,
        tell: &mut dyn FnMut(&Measured) -> bool,
    ) -> Result<Option<Measured>, String>;
}

/// Loads what runs the model; called on the thread that measures when it is first needed.
pub type Open = dyn Fn() -> Result<Box<dyn Runner>, String> + Send + Sync;

/// On how much of the data quality is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Extent {
    /// A slice that takes a moment.
    #[default]
    Small,
    /// A larger one, on request.
    Large,
}

/// A plan to measure.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Number of the question; answers to older ones are stale.
    pub number: u64,
    /// One for each layer of the model.
    pub plan: Arc<[Treatment]>,
    /// On what.
    pub extent: Extent,
    /// How long the plan has to rest first.
    pub rest: Duration,
}

impl PartialEq for Trial {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

/// Single layers to treat, each alone, all others dense.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// Number of the question.
    pub number: u64,
    /// Layers of the model.
    pub layers: usize,
    /// In the order in which they are measured.
    pub cells: Vec<(LayerId, Treatment)>,
}

/// What waits.
#[derive(Default)]
pub(super) struct Waiting {
    trial: Option<Arc<Trial>>,
    /// Grows with every trial, and when none is wanted any more.
    trials: u64,
    cells: VecDeque<(LayerId, Treatment)>,
    sweep: u64,
    layers: usize,
}

enum Next {
    Trial(Arc<Trial>, u64),
    Cell { sweep: u64, layers: usize, layer: LayerId, treatment: Treatment, last: bool },
}

impl Waiting {
    pub fn try_out(&mut self, trial: Option<Arc<Trial>>) {
        self.trials += 1;
        self.trial = trial;
    }
    pub fn sweep(&mut self, sweep: Option<&Sweep>) {
        self.sweep = sweep.map_or(0, |s| s.number);
        self.layers = sweep.map_or(0, |s| s.layers);
        self.cells = sweep.map(|s| s.cells.iter().copied().collect()).unwrap_or_default();
    }
    fn next(&mut self) -> Option<Next> {
        if let Some(trial) = self.trial.take() {
            return Some(Next::Trial(trial, self.trials));
        }
        let (layer, treatment) = self.cells.pop_front()?;
        let last = self.cells.is_empty();
        Some(Next::Cell { sweep: self.sweep, layers: self.layers, layer, treatment, last })
    }
}

/// Measures until the mailbox is closed.
pub(super) fn run(mailbox: &Mailbox<Waiting>, open: &Open, messages: &mpsc::Sender<Message>) {
    let mut runner: Option<Box<dyn Runner>> = None;
    while let Some(next) = mailbox.take(Waiting::next) {
        match next {
            Next::Trial(trial, generation) => {
                let wanted = || !mailbox.closed() && mailbox.look(|w| w.trials == generation);
                if !rested(trial.rest, &wanted) {
                    continue;
                }
                let number = trial.number;
                let mut tell = |measured: &Measured| {
                    let wanted = wanted();
                    if wanted {
                        let result = Ok(measured.clone());
                        let report = Report::Quality { number, result, done: false };
                        let _ = messages.send(Message::Quality(report));
                    }
                    wanted
                };
                let answer = attempt(&mut runner, open, |r| r.measure(&trial.plan, trial.extent, &wanted, &mut tell));
                let Some(result) = answer.transpose().filter(|_| wanted()) else { continue };
                let _ = messages.send(Message::Quality(Report::Quality { number, result, done: true }));
            }
            Next::Cell { sweep, layers, layer, treatment, last } => {
                let wanted = || !mailbox.closed() && mailbox.look(|w| w.sweep == sweep && w.trial.is_none());
                let mut plan = vec![Treatment::default(); layers];
                plan.get_mut(layer.0).into_iter().for_each(|t| *t = treatment);
                let answer = attempt(&mut runner, open, |r| {
                    r.measure(&plan, Extent::Small, &wanted, &mut |_: &Measured| wanted())
                });
                match answer.transpose() {
                    // Pushed aside by a plan: its turn comes again.
                    None => mailbox.put(|w| {
                        if w.sweep == sweep {
                            w.cells.push_front((layer, treatment));
                        }
                    }),
                    Some(result) => {
                        let report = Report::Sensitivity { number: sweep, layer, treatment, result, last };
                        let _ = messages.send(Message::Quality(report));
                    }
                }
            }
        }
    }
}

/// Whether the question was still wanted after it had rested.
fn rested(rest: Duration, wanted: &dyn Fn() -> bool) -> bool {
    let due = Instant::now() + rest;
    while wanted() {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(Duration::from_millis(10)));
    }
    false
}

/// Runs something with the runner, loading it first where need be; a panic is an error like others.
fn attempt(
    runner: &mut Option<Box<dyn Runner>>,
    open: &Open,
    work: impl FnOnce(&mut dyn Runner) -> Result<Option<Measured>, String>,
) -> Result<Option<Measured>, String> {
    let answer = catch_unwind(AssertUnwindSafe(|| {
        let loaded = match runner {
            Some(runner) => runner,
            None => runner.insert(open()?),
        };
        work(loaded.as_mut())
    }));
    answer.unwrap_or_else(|_| {
        *runner = None;
        Err("the run of the model failed; slimscope.log says where".to_owned())
    })
}

#[cfg(test)]
mod tests;
