//! What runs on a worker: decode one layer, measure or treat it, report. Panics become reports.

use super::cache::{Cache, Key};
use super::codec;
use super::{Message, Report, Signals};
use crate::model::{Layer, LayerId, Model, Stored};
use crate::probe::{Ask, Fact, Probe, ProbeError, ProbeId, Spectrum};
use crate::source::Weights;
use crate::treat::{Refined, Treatment, refine};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

/// What every job needs.
#[derive(Clone)]
pub(super) struct Shared {
    pub model: Arc<Model>,
    pub weights: Weights,
    pub signals: Arc<Signals>,
    pub probes: Arc<[&'static dyn Probe]>,
    pub cache: Option<Arc<Cache>>,
    /// Contents known so far in this process.
    pub contents: Arc<Mutex<HashMap<LayerId, Key>>>,
}

/// A lock whose holder panicked still holds what it held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let entries = match self.weights.stored(&self.model, layer) {
            Ok(entries) => entries,
            Err(error) => return Self::give_up(job, error.to_string()),
        };
        let keep_going = || self.wanted(job);
        let ask = Ask { keep_going: &keep_going, threads: job.threads };
        match &job.work {
            Work::Measure(probes) => self.measure(job, layer, &entries, probes, &ask, done),
            Work::Refine { treatment, generation, dense } => {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    refine(layer, entries.matrix(), *treatment, dense.as_deref(), &ask)
                }));
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
        entries: &Stored,
        probes: &[ProbeId],
        ask: &Ask,
        done: &mpsc::Sender<Message>,
    ) -> Finished {
        let tell = |reports: Vec<Report>, probe: ProbeId| {
            // Told at once: the next probe on the same matrix may take long.
            let part = Finished { number: job.number | PART, reports, settled: vec![probe] };
            let _ = done.send(Message::Finished(part));
        };
        let mut settled = Vec::new();
        let content = self.content(layer, ask);
        let kept = self.cache.as_ref().zip(content);
        // Whatever is kept of this layer is told at once, asked for by this job or not.
        for probe in self.probes.iter().filter(|p| p.applies(layer) && kept.is_some()) {
            let asked = probes.contains(&probe.id()) || (probes.contains(&ProbeId::Magnitude) && !probe.on_request());
            let question = if asked { probe.question(layer) } else { None };
            let found = kept.zip(question).and_then(|((cache, key), q)| cache.get(key.of(&q)));
            let Some(facts) = found.and_then(|bytes| codec::decode_all(layer, &bytes)) else { continue };
            settled.push(probe.id());
            if probe.id() == ProbeId::Spectrum && !settled.contains(&ProbeId::Sketch) {
                // Nothing is left to sketch.
                settled.push(ProbeId::Sketch);
                tell(Vec::new(), ProbeId::Sketch);
            }
            let unfit = matches!(facts[..], [Fact::Unfit(_)]);
            tell(facts.into_iter().map(|fact| Report::Fact { layer: job.layer, fact }).collect(), probe.id());
            if unfit {
                return self.unfit(job, layer);
            }
        }
        let waiting: Vec<ProbeId> = probes.iter().copied().filter(|p| !settled.contains(p)).collect();
        // Where everything is kept no weight is read.
        let fit = if waiting.is_empty() { Some(Ok(())) } else { entries.fit_while(ask.keep_going) };
        let Some(fit) = fit else { return Finished { number: job.number, reports: Vec::new(), settled } };
        if let Err(unfit) = fit {
            // Kept as the answer to every question of this job: none has another.
            for probe in self.probes.iter().filter(|p| waiting.contains(&p.id())) {
                let known = probe.question(layer).zip(codec::encode_all(&[Fact::Unfit(unfit)]));
                if let Some(((cache, key), (question, bytes))) = kept.zip(known) {
                    let _ = cache.put(key.of(&question), &bytes);
                }
            }
            let report = Report::Fact { layer: job.layer, fact: Fact::Unfit(unfit) };
            return Finished { reports: vec![report], ..self.unfit(job, layer) };
        }
        for probe in self.probes.iter().filter(|p| probes.contains(&p.id())) {
            if settled.contains(&probe.id()) {
                continue;
            }
            let failed = |why: String| vec![Report::Failed { layer: job.layer, why }];
            let answer = catch_unwind(AssertUnwindSafe(|| probe.measure(layer, entries, ask)));
            // A file that was written again meanwhile gave numbers of neither the old nor the new one.
            let changed = self.weights.stored(&self.model, layer).err();
            let reports = match answer {
                Ok(Ok(_)) if changed.is_some() => failed(changed.map_or(String::new(), |e| e.to_string())),
                Ok(Ok(facts)) => {
                    let known = probe.question(layer).zip(codec::encode_all(&facts));
                    if let Some(((cache, key), (question, bytes))) = kept.zip(known) {
                        // A full disk is no reason to stop.
                        let _ = cache.put(key.of(&question), &bytes);
                    }
                    facts.into_iter().map(|fact| Report::Fact { layer: job.layer, fact }).collect()
                }
                Ok(Err(ProbeError::Stopped)) => break,
                Ok(Err(error)) => failed(format!("{}: {error}", probe.title())),
                Err(payload) => failed(format!("{}: internal error: {}", probe.title(), describe(&*payload))),
            };
            settled.push(probe.id());
            tell(reports, probe.id());
        }
        self.weights.release(&self.model, layer);
        Finished { number: job.number, reports: Vec::new(), settled }
    }

    /// The end of a job whose layer holds an entry that leaves every fact undefined: no probe is left to run.
    fn unfit(&self, job: &Job, layer: &Layer) -> Finished {
        self.weights.release(&self.model, layer);
        let settled = self.probes.iter().filter(|p| p.applies(layer)).map(|p| p.id()).collect();
        Finished { number: job.number, reports: Vec::new(), settled }
    }

    /// The content of a layer's bytes: as known, as remembered from an earlier opening, or hashed now.
    fn content(&self, layer: &Layer, ask: &Ask) -> Option<Key> {
        let cache = self.cache.as_ref()?;
        if let Some(key) = lock(&self.contents).get(&layer.id) {
            return Some(*key);
        }
        let identity = self.weights.identity(&self.model, layer);
        let key = identity.as_deref().and_then(|i| cache.recall(layer, i)).or_else(|| {
            let tensor = self.model.tensors.get(layer.tensor)?;
            let bytes = self.weights.bytes(&self.model, tensor).ok()?;
            let key = Cache::content(layer, bytes, ask.keep_going)?;
            // The file must not have changed meanwhile.
            if identity.is_some() && identity == self.weights.identity(&self.model, layer) {
                let _ = cache.remember(layer, identity.as_deref()?, key);
            }
            Some(key)
        })?;
        lock(&self.contents).insert(layer.id, key);
        Some(key)
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
