//! Who does the work, and when: one coordinator thread decides what is wanted most, a rayon pool computes it.

mod budget;
pub mod cache;
mod codec;
mod coordinator;
mod job;
mod live;
mod mailbox;
pub mod quality;
mod queue;
mod spread;
mod weigh;

use crate::evaluate::Measured;
use crate::model::{LayerId, Model};
use crate::plan::budget::{BudgetError, Curve, Spreading};
use crate::probe::{Fact, PROBES, Probe};
use crate::source::Weights;
use crate::treat::{Preview, Refined, Treatment};
use mailbox::Mailbox;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

pub use budget::default_memory;
pub use quality::{Extent, Runner, Sweep, Trial};
pub use spread::Question;
pub use weigh::weigh;

/// What the interface asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Measure these layers first, then all others by their distance from the first; where layers are measured one by one,
    /// the others in module order.
    Focus {
        /// Layers on screen, most wanted first; the first is the one under the cursor.
        seen: Vec<LayerId>,
    },
    /// Run this treatment exactly. Makes every earlier refinement stale.
    Refine {
        /// The layer.
        layer: LayerId,
        /// What the plan does to it.
        treatment: Treatment,
    },
    /// Nobody wants the running refinement any more.
    CancelRefine,
    /// Say roughly, and at once, what removing entries of magnitude up to `threshold` makes of the spectrum. Takes the
    /// place of an earlier such question.
    Preview {
        /// The layer.
        layer: LayerId,
        /// What the plan does to it.
        treatment: Treatment,
        /// Largest magnitude removed, of single entries.
        threshold: f32,
    },
    /// Spread a budget, or draw what every allocator makes of every budget. Takes the place of an earlier such question.
    Spread(Arc<Question>),
    /// Run the model under a plan. Takes the place of an earlier such question.
    Quality(Arc<Trial>),
    /// Nobody wants to know any more.
    CancelQuality,
    /// Run the model with single layers treated while no plan is to be measured; `None` stops that.
    Sweep(Option<Arc<Sweep>>),
    /// Run the probes that run only on request, on this layer.
    Certify {
        /// The layer.
        layer: LayerId,
    },
}

/// What the engine has to say.
#[derive(Debug, Clone)]
pub enum Report {
    /// A layer was measured.
    Fact {
        /// The layer.
        layer: LayerId,
        /// What was found.
        fact: Fact,
    },
    /// A layer could not be measured.
    Failed {
        /// The layer.
        layer: LayerId,
        /// Why, for the user.
        why: String,
    },
    /// A treatment was run; `generation` counts the requests for refinements.
    Refined {
        /// Which refinement request it answers.
        generation: u64,
        /// The layer.
        layer: LayerId,
        /// What was found, or why nothing was.
        result: Result<Arc<Refined>, String>,
    },
    /// A first estimate of a treatment's spectrum, before the exact run.
    Preview {
        /// The layer.
        layer: LayerId,
        /// What was found.
        preview: Arc<Preview>,
    },
    /// What every allocator makes of every budget.
    Curves {
        /// Which question it answers.
        number: u64,
        /// How long it took.
        took: Duration,
        /// In the order of the registry.
        curves: Arc<Vec<Curve>>,
    },
    /// A budget spread over the layers.
    Spread {
        /// Which question it answers.
        number: u64,
        /// How long it took.
        took: Duration,
        /// The treatments, or why there are none.
        result: Result<Spreading, BudgetError>,
    },
    /// Quality under a plan.
    Quality {
        /// Which question it answers.
        number: u64,
        /// What is known, or why nothing will be.
        result: Result<Measured, String>,
        /// Whether the whole slice was run.
        done: bool,
    },
    /// Quality with one layer treated alone.
    Sensitivity {
        /// Which question it answers.
        number: u64,
        /// The layer.
        layer: LayerId,
        /// What was done to it.
        treatment: Treatment,
        /// What was measured, or why nothing was.
        result: Result<Measured, String>,
        /// Whether it was the last.
        last: bool,
    },
    /// How far the measurements are.
    Progress(Progress),
    /// Nothing is left to do for the first `requests` requests.
    Idle {
        /// How many requests had been received.
        requests: u64,
    },
}

/// How far the measurements are.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Measurements done and in all.
    pub done: usize,
    /// Measurements in all.
    pub total: usize,
    /// Share of the work done, by cost.
    pub share: f64,
    /// Bytes of weights measured per second so far.
    pub bytes_per_second: f64,
    /// Time left at this rate; `None` until there is a rate.
    pub left: Option<Duration>,
    /// Title of the probe that runs on the most wanted layer.
    pub title: &'static str,
    /// Jobs running now.
    pub running: usize,
}

/// Settings of an engine.
#[derive(Clone)]
pub struct Settings {
    /// Worker threads; at least one.
    pub threads: usize,
    /// Bytes that running jobs may hold together.
    pub memory: u64,
    /// Bytes that a single job may need at most; a layer that needs more is told so and not measured.
    pub ceiling: u64,
    /// Where spectra are kept between runs; `None` for nowhere.
    pub cache: Option<Arc<cache::Cache>>,
    /// The only layers to measure; `None` for all.
    pub only: Option<Arc<[LayerId]>>,
    /// What to measure.
    pub probes: Vec<&'static dyn Probe>,
    /// Whether each layer is measured in one go, in order, instead of one look at everything first.
    pub layer_by_layer: bool,
    /// How long a refinement waits for the next knob movement.
    pub debounce: Duration,
    /// Loads what runs the model, where it can be run.
    pub quality: Option<Arc<quality::Open>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: default_threads(),
            memory: default_memory(),
            ceiling: default_memory().saturating_mul(3),
            cache: None,
            only: None,
            probes: PROBES.to_vec(),
            layer_by_layer: false,
            debounce: Duration::from_millis(120),
            quality: None,
        }
    }
}

/// All cores but one, which stays with the interface; at least one.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).saturating_sub(1).max(1)
}

/// Why the engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The threads could not be created.
    #[error("cannot start {threads} worker threads: lower --threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Signals shared between the asking side, the coordinator and the jobs.
#[derive(Default)]
struct Signals {
    /// Number of the newest refinement; a job with another number is stale.
    refinement: AtomicU64,
    /// Everything stops.
    quit: AtomicBool,
}

enum Message {
    Request(Request, u64),
    Finished(job::Finished),
    Preview(LayerId, Arc<Preview>),
    Spread(u64, Report),
    Quality(Report),
    Quit,
}

/// The handle that the interface holds. Dropping it cancels everything.
pub struct Engine {
    messages: mpsc::Sender<Message>,
    signals: Arc<Signals>,
    live: Arc<Mailbox<Option<live::Question>>>,
    spread: Arc<Mailbox<spread::Waiting>>,
    quality: Arc<Mailbox<quality::Waiting>>,
    requests: u64,
}

impl Engine {
    /// Starts measuring `model`; `report` is called on the coordinator's thread and must not block.
    pub fn start(
        model: Arc<Model>,
        weights: Weights,
        settings: Settings,
        report: impl Fn(Report) + Send + 'static,
    ) -> Result<Self, EngineError> {
        let threads = settings.threads.max(1);
        let failed = |source| EngineError::Threads { threads, source };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("analysis-{i}"))
            .build()
            .map_err(|e| failed(e.into()))?;
        let (messages, inbox) = mpsc::channel();
        let signals = Arc::new(Signals::default());
        let live = Arc::<Mailbox<Option<live::Question>>>::default();
        let (mailbox, told) = (Arc::clone(&live), messages.clone());
        let (same_model, same_weights) = (Arc::clone(&model), weights.clone());
        std::thread::Builder::new()
            .name("live".into())
            .spawn(move || live::run(&mailbox, &same_model, &same_weights, &told))
            .map_err(|e| failed(e.into()))?;
        let spread = Arc::<Mailbox<spread::Waiting>>::default();
        let (mailbox, same_model, told) = (Arc::clone(&spread), Arc::clone(&model), messages.clone());
        std::thread::Builder::new()
            .name("budgets".into())
            .spawn(move || spread::run(&mailbox, &same_model, &told))
            .map_err(|e| failed(e.into()))?;
        let quality = Arc::<Mailbox<quality::Waiting>>::default();
        if let Some(open) = settings.quality.clone() {
            let (mailbox, told) = (Arc::clone(&quality), messages.clone());
            std::thread::Builder::new()
                .name("quality".into())
                .spawn(move || quality::run(&mailbox, &*open, &told))
                .map_err(|e| failed(e.into()))?;
        }
        let coordinator = coordinator::Coordinator::new(
            job::Shared {
                model,
                weights,
                signals: Arc::clone(&signals),
                probes: settings.probes.clone().into(),
                cache: settings.cache.clone(),
                contents: Arc::default(),
            },
            pool,
            settings,
            messages.clone(),
            Box::new(report),
        );
        std::thread::Builder::new()
            .name("coordinator".into())
            .spawn(move || coordinator.run(&inbox))
            .map_err(|e| failed(e.into()))?;
        Ok(Self { messages, signals, live, spread, quality, requests: 0 })
    }

    /// Asks for something; returns the number of requests made so far, which [`Report::Idle`] refers to.
    pub fn ask(&mut self, request: Request) -> u64 {
        if matches!(request, Request::Refine { .. } | Request::CancelRefine) {
            // Before the coordinator sees it, so that running work stops at once.
            self.signals.refinement.fetch_add(1, Ordering::Relaxed);
        }
        match request {
            Request::Preview { layer, treatment, threshold } => {
                self.live.put(|waiting| *waiting = Some(live::Question { layer, treatment, threshold }));
                return self.requests;
            }
            Request::CancelRefine => self.live.put(|waiting| *waiting = None),
            _ => {}
        }
        self.requests += 1;
        let question = if let Request::Spread(q) = &request { Some(Arc::clone(q)) } else { None };
        let (trial, sweep) = match &request {
            Request::Quality(trial) => (Some(Some(Arc::clone(trial))), None),
            Request::CancelQuality => (Some(None), None),
            Request::Sweep(sweep) => (None, Some(sweep.clone())),
            _ => (None, None),
        };
        let generation = self.generation();
        // A coordinator that is gone has nobody left to answer.
        let _ = self.messages.send(Message::Request(request, generation));
        if let Some(question) = question {
            self.spread.put(|waiting| waiting.put(question));
        }
        if let Some(trial) = trial {
            self.quality.put(|waiting| waiting.try_out(trial));
        }
        if let Some(sweep) = sweep {
            self.quality.put(|waiting| waiting.sweep(sweep.as_deref()));
        }
        self.requests
    }

    /// Number of the newest refinement request; answers with another number are stale.
    pub fn generation(&self) -> u64 {
        self.signals.refinement.load(Ordering::Relaxed)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.signals.quit.store(true, Ordering::Relaxed);
        self.live.close();
        self.spread.close();
        self.quality.close();
        let _ = self.messages.send(Message::Quit);
    }
}

#[cfg(test)]
mod tests;
