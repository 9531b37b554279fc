//! What runs on a worker: decode one layer, measure or treat it, report. Panics become reports.

use super::cache::{Cache, Key};
use super::{Message, Report, Signals};
use crate::model::{Layer, LayerId, Model};
use crate::probe::{Ask, Fact, Probe, ProbeError, ProbeId, Spectrum};
use crate::source::Weights;
use crate::treat::{Refined, Treatment, refine};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

/// What every job needs.
#[derive(Clone)]
pub(super) struct Shared {
    pub model: Arc<Model>,
    pub weights: Weights,
    pub signals: Arc<Signals>,
    pub probes: &'static [&'static dyn Probe],
    pub cache: Option<Arc<Cache>>,
}

/// What a job does.
#[derive(Clone)]
pub(super) enum Work {
    /// Run these probes, in this order, on one decoded matrix.
    Measure(Vec<ProbeId>),
    /// Run a treatment.
    Refine { treatment: Treatment, generation: u64, dense: Option<Arc<Spectrum>> },
}

/// A job on its way to a worker.
#[derive(Clone)]
pub(super) struct Job {
    pub number: u64,
    pub layer: LayerId,
    pub work: Work,
    /// Set to make room for something wanted more.
    pub preempt: Arc<AtomicBool>,
    /// Threads it may use within itself.
    pub threads: usize,
}

/// The end of a job, told to the coordinator.
pub(super) struct Finished {
    pub number: u64,
    pub reports: Vec<Report>,
    /// Measurements that are finished for good, successfully or not.
    pub settled: Vec<ProbeId>,
}

impl Shared {
    /// Runs a job to its end; every way out sends exactly one `Finished`.
    pub fn run(&self, job: &Job, done: &mpsc::Sender<Message>) {
        let finished = catch_unwind(AssertUnwindSafe(|| self.work(job, done))).unwrap_or_else(|payload| {
            // Outside a probe: decoding. Nothing of this layer can be measured.
            Self::give_up(job, format!("internal error: {}", describe(&*payload)))
        });
        let _ = done.send(Message::Finished(finished));
    }

    fn wanted(&self, job: &Job) -> bool {
        if self.signals.quit.load(Ordering::Relaxed) || job.preempt.load(Ordering::Relaxed) {
            return false;
        }
        match job.work {
            Work::Refine { generation, .. } => self.signals.refinement.load(Ordering::Relaxed) == generation,
            Work::Measure(_) => true,
        }
    }

    fn work(&self, job: &Job, done: &mpsc::Sender<Message>) -> Finished {
        let nothing = Finished { number: job.number, reports: Vec::new(), settled: Vec::new() };
        let Some(layer) = self.model.layer(job.layer) else { return nothing };
        if !self.wanted(job) {
            return nothing;
        }
        let matrix = match self.weights.matrix(&self.model, layer) {
            Ok(matrix) => matrix,
            Err(error) => return Self::give_up(job, error.to_string()),
        };
        let keep_going = || self.wanted(job);
        let ask = Ask { keep_going: &keep_going, threads: job.threads };
        match &job.work {
            Work::Measure(probes) => self.measure(job, layer, &matrix, probes, &ask, done),
            Work::Refine { treatment, generation, dense } => {
                let result =
                    catch_unwind(AssertUnwindSafe(|| refine(layer, &matrix, *treatment, dense.as_deref(), &ask)));
                let result = match result {
                    Ok(Err(ProbeError::Stopped)) => return nothing,
                    Ok(answer) => answer.map(Arc::new).map_err(|e| e.to_string()),
                    Err(payload) => Err(format!("internal error: {}", describe(&*payload))),
                };
                Finished { reports: vec![refined(*generation, job.layer, result)], ..nothing }
            }
        }
    }

    fn measure(
        &self,
        job: &Job,
        layer: &Layer,
        matrix: &crate::model::Matrix,
        probes: &[ProbeId],
        ask: &Ask,
        done: &mpsc::Sender<Message>,
    ) -> Finished {
        let tell = |report: Report, probe: ProbeId| {
            // Told at once: the next probe on the same matrix may take long.
            let part = Finished { number: job.number | PART, reports: vec![report], settled: vec![probe] };
            let _ = done.send(Message::Finished(part));
        };
        let mut settled = Vec::new();
        // The first pass over a layer looks, and whatever would compute the spectrum.
        let looks = probes.contains(&ProbeId::Magnitude) || probes.contains(&ProbeId::Spectrum);
        let key = if looks { self.key(layer, ask) } else { None };
        if let Some(sigma) = self.cache.as_ref().zip(key).and_then(|(cache, key)| cache.get(key)) {
            let found = Spectrum::from_sigma(sigma, layer.rows(), layer.cols(), layer.dtype.epsilon());
            settled.push(ProbeId::Spectrum);
            tell(Report::Fact { layer: job.layer, fact: Fact::Spectrum(Arc::new(found)) }, ProbeId::Spectrum);
        }
        for probe in self.probes.iter().filter(|p| probes.contains(&p.id())) {
            if settled.contains(&probe.id()) {
                continue;
            }
            let answer = catch_unwind(AssertUnwindSafe(|| probe.measure(layer, matrix, ask)));
            let report = match answer {
                Ok(Ok(fact)) => Report::Fact { layer: job.layer, fact },
                Ok(Err(ProbeError::Stopped)) => break,
                Ok(Err(error)) => Report::Failed { layer: job.layer, why: format!("{}: {error}", probe.title()) },
                Err(payload) => Report::Failed {
                    layer: job.layer,
                    why: format!("{}: internal error: {}", probe.title(), describe(&*payload)),
                },
            };
            settled.push(probe.id());
            if let (Report::Fact { fact: Fact::Spectrum(s), .. }, Some(cache), Some(key)) = (&report, &self.cache, key)
            {
                // A full disk is no reason to stop.
                let _ = cache.put(key, &s.sigma);
            }
            tell(report, probe.id());
        }
        Finished { number: job.number, reports: Vec::new(), settled }
    }

    /// The key of a layer's spectrum, where spectra are kept and wanted.
    fn key(&self, layer: &Layer, ask: &Ask) -> Option<Key> {
        self.cache.as_ref()?;
        self.probes.iter().find(|p| p.id() == ProbeId::Spectrum && p.applies(layer))?;
        let tensor = self.model.tensors.get(layer.tensor)?;
        let bytes = self.weights.bytes(&self.model, tensor).ok()?;
        Cache::key(layer, bytes, ask.keep_going)
    }

    fn give_up(job: &Job, why: String) -> Finished {
        let (report, settled) = match &job.work {
            Work::Measure(probes) => (Report::Failed { layer: job.layer, why }, probes.clone()),
            Work::Refine { generation, .. } => (refined(*generation, job.layer, Err(why)), Vec::new()),
        };
        Finished { number: job.number, reports: vec![report], settled }
    }
}

/// Marks a `Finished` that tells of one probe while its job goes on.
pub(super) const PART: u64 = 1 << 63;

fn refined(generation: u64, layer: LayerId, result: Result<Arc<Refined>, String>) -> Report {
    Report::Refined { generation, layer, result }
}

fn describe(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic without a text".to_owned())
}
