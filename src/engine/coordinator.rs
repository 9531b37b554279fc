//! The one thread that decides: takes requests and results, starts the job wanted most, reports.

use super::job::{Finished, Job, PART, Shared, Work};
use super::queue::Queue;
use super::{Message, Progress, Report, Request, Settings};
use crate::model::LayerId;
use crate::probe::{Fact, ProbeId, Spectrum};
use crate::treat::{Treatment, refine};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// How often progress is told while jobs run.
const PROGRESS: Duration = Duration::from_millis(100);

struct Running {
    layer: LayerId,
    probes: Vec<ProbeId>,
    refinement: bool,
    bytes: u64,
    preempt: Arc<AtomicBool>,
}

struct Pending {
    layer: LayerId,
    treatment: Treatment,
    generation: u64,
    due: Instant,
}

pub(super) struct Coordinator {
    shared: Shared,
    pool: rayon::ThreadPool,
    settings: Settings,
    messages: mpsc::Sender<Message>,
    report: Box<dyn Fn(Report) + Send>,
    queue: Queue,
    running: BTreeMap<u64, Running>,
    spectra: Vec<Option<Arc<Spectrum>>>,
    refinement: Option<Pending>,
    /// Numbers of the newest questions about budgets that have not been answered: curves, a plan.
    spreading: [Option<u64>; 2],
    /// Numbers of the plan and of the sweep that are being measured.
    measuring: [Option<u64>; 2],
    requests: u64,
    jobs: u64,
    focused: bool,
    idle_told: bool,
    tally: Tally,
}

/// What progress is computed from.
struct Tally {
    started: Instant,
    told: Instant,
    cost_done: f64,
    cost_total: f64,
    bytes_done: u64,
    done: usize,
    total: usize,
}

impl Coordinator {
    pub fn new(
        shared: Shared,
        pool: rayon::ThreadPool,
        settings: Settings,
        messages: mpsc::Sender<Message>,
        report: Box<dyn Fn(Report) + Send>,
    ) -> Self {
        let now = Instant::now();
        let only = settings.only.clone();
        let queue = Queue::new(&shared.model, &shared.probes, only.as_deref(), settings.layer_by_layer);
        let mut tally =
            Tally { started: now, told: now, cost_done: 0.0, cost_total: 0.0, bytes_done: 0, done: 0, total: 0 };
        let named: Option<HashSet<LayerId>> = only.as_deref().map(|o| o.iter().copied().collect());
        let wanted = |l: &LayerId| named.as_ref().is_none_or(|o| o.contains(l));
        for layer in shared.model.layers.iter().filter(|l| l.tied_to.is_none() && wanted(&l.id)) {
            let costs = shared.probes.iter().filter(|p| p.applies(layer) && !p.on_request()).map(|p| p.cost(layer));
            let cost: f64 = costs.sum();
            tally.cost_total += cost;
            tally.total += usize::from(cost > 0.0);
        }
        let spectra = vec![None; shared.model.layers.len()];
        Self {
            shared,
            pool,
            settings,
            messages,
            report,
            queue,
            running: BTreeMap::new(),
            spectra,
            refinement: None,
            spreading: [None; 2],
            measuring: [None; 2],
            requests: 0,
            jobs: 0,
            focused: false,
            idle_told: false,
            tally,
        }
    }

    pub fn run(mut self, inbox: &mpsc::Receiver<Message>) {
        loop {
            let wait = self.refinement.as_ref().map_or(PROGRESS, |r| r.due.saturating_duration_since(Instant::now()));
            let first = match inbox.recv_timeout(wait.min(PROGRESS)) {
                Ok(message) => Some(message),
                Err(mpsc::RecvTimeoutError::Timeout) => None,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            for message in first.into_iter().chain(std::iter::from_fn(|| inbox.try_recv().ok())) {
                match message {
                    Message::Request(request, generation) => self.take(request, generation),
                    Message::Finished(finished) => self.finish(finished),
                    Message::Preview(layer, preview) => (self.report)(Report::Preview { layer, preview }),
                    Message::Spread(number, report) => {
                        self.spreading.iter_mut().for_each(|s| *s = s.filter(|n| *n != number));
                        (self.report)(report);
                    }
                    Message::Quality(report) => self.measured(report),
                    Message::Quit => return,
                }
            }
            self.dispatch();
            self.tell();
        }
    }

    fn take(&mut self, request: Request, generation: u64) {
        self.requests += 1;
        self.idle_told = false;
        match request {
            Request::Focus { seen } => {
                if !self.focused {
                    self.tally.started = Instant::now();
                }
                self.focused = true;
                self.queue.focus(seen);
            }
            Request::Refine { layer, treatment } => {
                let due = Instant::now() + self.settings.debounce;
                self.refinement = Some(Pending { layer, treatment, generation, due });
            }
            Request::CancelRefine => self.refinement = None,
            Request::Spread(question) => {
                self.spreading[usize::from(question.allocator.is_some())] = Some(question.number);
            }
            // Without anything that runs the model nobody answers.
            Request::Quality(_) | Request::Sweep(_) if self.settings.quality.is_none() => {}
            Request::Quality(trial) => self.measuring[0] = Some(trial.number),
            Request::CancelQuality => self.measuring[0] = None,
            Request::Sweep(sweep) => {
                self.measuring[1] = sweep.filter(|s| !s.cells.is_empty()).map(|s| s.number);
            }
            // Answered elsewhere, at once.
            Request::Preview { .. } => {}
            Request::Certify { layer } => {
                let Some(certified) = self.shared.model.layer(layer) else { return };
                for probe in self.shared.probes.iter().filter(|p| p.on_request() && p.applies(certified)) {
                    if self.queue.add(layer, probe.id()) {
                        self.tally.cost_total += probe.cost(certified);
                    }
                }
            }
        }
    }

    /// Passes on what was measured, unless it is stale.
    fn measured(&mut self, report: Report) {
        let (slot, number, ends) = match &report {
            Report::Quality { number, done, .. } => (0, *number, *done),
            Report::Sensitivity { number, last, .. } => (1, *number, *last),
            _ => return,
        };
        if self.measuring[slot] == Some(number) {
            self.measuring[slot] = self.measuring[slot].filter(|_| !ends);
            (self.report)(report);
        }
    }

    fn finish(&mut self, finished: Finished) {
        let number = finished.number & !PART;
        let Some(layer) = self.running.get(&number).map(|r| r.layer) else { return };
        for report in finished.reports {
            if let Report::Fact { layer, fact: Fact::Spectrum(s) } = &report {
                self.spectra[layer.0] = Some(Arc::clone(s));
            }
            (self.report)(report);
        }
        if finished.number & PART != 0 {
            self.settle(layer, &finished.settled);
        } else if let Some(run) = self.running.remove(&number)
            && !run.refinement
        {
            self.queue.finish(layer, &run.probes, &finished.settled);
            if self.queue.is_done_with(layer) {
                self.tally.done += 1;
                self.tally.bytes_done += self.shared.model.layer(layer).map_or(0, |l| l.bytes);
            }
        }
    }

    fn settle(&mut self, layer: LayerId, probes: &[ProbeId]) {
        let Some(layer) = self.shared.model.layer(layer) else { return };
        for probe in self.shared.probes.iter().filter(|p| probes.contains(&p.id())) {
            self.tally.cost_done += probe.cost(layer);
        }
    }

    fn dispatch(&mut self) {
        let due = self.refinement.take_if(|r| r.due <= Instant::now());
        if let Some(r) = due {
            if self.running.len() < self.settings.threads {
                self.start_refinement(&r);
            } else {
                self.make_room();
                self.refinement = Some(r);
            }
        }
        while self.focused && self.running.len() < self.settings.threads && self.refinement_leaves_room() {
            let Some((layer, probes)) = self.queue.peek() else { break };
            let bytes = self.bytes(layer, &probes);
            if bytes > self.settings.ceiling {
                self.refuse(layer, &probes);
                continue;
            }
            let used: u64 = self.running.values().map(|r| r.bytes).sum();
            // The job wanted most waits for its memory; letting smaller ones pass would starve it.
            if !self.running.is_empty() && used + bytes > self.settings.memory {
                break;
            }
            self.queue.take(layer, &probes);
            let work = Work::Measure(probes.clone());
            self.start(layer, work, probes, bytes);
        }
        if self.queue.starving_focus().is_some() && self.running.len() >= self.settings.threads {
            self.make_room();
        }
    }

    /// Gives up what needs more memory than there is; what fits of the rest is measured.
    fn refuse(&mut self, layer: LayerId, probes: &[ProbeId]) {
        let too_large: Vec<ProbeId> =
            probes.iter().copied().filter(|p| self.bytes(layer, &[*p]) > self.settings.ceiling).collect();
        self.queue.take(layer, &too_large);
        self.settle(layer, &too_large);
        self.queue.finish(layer, &too_large, &too_large);
        for probe in self.shared.probes.iter().filter(|p| too_large.contains(&p.id())) {
            let (needs, most) = (size(self.bytes(layer, &[probe.id()])), size(self.settings.ceiling));
            let why = format!("{}: needs {needs} of memory, at most {most} may be taken here", probe.title());
            (self.report)(Report::Failed { layer, why });
        }
        self.tally.done += usize::from(self.queue.is_done_with(layer));
    }

    /// A refinement that is due soon keeps the last worker free for it.
    fn refinement_leaves_room(&self) -> bool {
        self.refinement.as_ref().is_none_or(|r| {
            r.due > Instant::now() + Duration::from_millis(1) || self.running.len() + 1 < self.settings.threads
        })
    }

    fn start_refinement(&mut self, r: &Pending) {
        let dense = self.spectra.get(r.layer.0).cloned().flatten();
        let bytes = self.shared.model.layer(r.layer).map_or(0, |l| refine::workspace(l, r.treatment));
        let work = Work::Refine { treatment: r.treatment, generation: r.generation, dense };
        self.start(r.layer, work, Vec::new(), bytes);
    }

    /// Threads of the next job: layers are spread over them while many wait; the last few get several each.
    fn threads(&self) -> usize {
        let remaining = self.queue.len() + self.running.len() + 1;
        (self.settings.threads / remaining).max(1)
    }

    fn start(&mut self, layer: LayerId, work: Work, probes: Vec<ProbeId>, bytes: u64) {
        self.jobs += 1;
        let preempt = Arc::new(AtomicBool::new(false));
        let refinement = matches!(work, Work::Refine { .. });
        let threads = self.threads();
        let job = Job { number: self.jobs, layer, work, preempt: Arc::clone(&preempt), threads };
        self.running.insert(self.jobs, Running { layer, probes, refinement, bytes, preempt });
        let (shared, messages) = (self.shared.clone(), self.messages.clone());
        self.pool.spawn(move || shared.run(&job, &messages));
    }

    /// Asks the most expensive background job to stop, unless one has been asked already.
    fn make_room(&mut self) {
        if self.running.values().any(|r| r.preempt.load(Ordering::Relaxed)) {
            return;
        }
        let focus = self.queue.first();
        let victim = self
            .running
            .values()
            .filter(|r| !r.refinement && Some(r.layer) != focus && r.probes.contains(&ProbeId::Spectrum))
            .max_by(|a, b| a.bytes.cmp(&b.bytes));
        if let Some(victim) = victim
            && self.queue.preempt(victim.layer)
        {
            victim.preempt.store(true, Ordering::Relaxed);
        }
    }

    fn bytes(&self, layer: LayerId, probes: &[ProbeId]) -> u64 {
        let Some(layer) = self.shared.model.layer(layer) else { return 0 };
        let threads = self.threads();
        let asked = self.shared.probes.iter().filter(|p| probes.contains(&p.id()));
        let workspace = asked.map(|p| p.workspace(layer, threads));
        let decodes = self.shared.probes.iter().any(|p| probes.contains(&p.id()) && p.decodes(layer));
        let matrix = if decodes { layer.rows() as u64 * layer.cols() as u64 * 4 } else { 0 };
        matrix + workspace.max().unwrap_or(0)
    }

    fn tell(&mut self) {
        let idle = self.running.is_empty()
            && self.refinement.is_none()
            && self.spreading == [None; 2]
            && self.measuring == [None; 2]
            && (!self.focused || self.queue.is_settled());
        let now = Instant::now();
        if idle && !self.idle_told {
            (self.report)(Report::Progress(self.progress(now)));
            (self.report)(Report::Idle { requests: self.requests });
            self.idle_told = true;
        } else if !idle && now.duration_since(self.tally.told) >= PROGRESS {
            self.tally.told = now;
            (self.report)(Report::Progress(self.progress(now)));
        }
    }

    fn progress(&self, now: Instant) -> Progress {
        let t = &self.tally;
        let elapsed = now.duration_since(t.started);
        let share = if t.cost_total > 0.0 { (t.cost_done / t.cost_total).min(1.0) } else { 1.0 };
        let seconds = elapsed.as_secs_f64();
        let left = (share > 0.001 && seconds > 0.2).then(|| elapsed.mul_f64((1.0 - share) / share));
        let current = self.running.values().next().and_then(|r| r.probes.last().copied());
        let title = self.shared.probes.iter().find(|p| Some(p.id()) == current).map_or("", |p| p.title());
        Progress {
            done: t.done,
            total: t.total,
            share,
            bytes_per_second: if seconds > 0.0 { t.bytes_done as f64 / seconds } else { 0.0 },
            left,
            title,
            running: self.running.len(),
        }
    }
}

/// Bytes in words, for a message.
fn size(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1000.0 { format!("{mib:.1} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}
