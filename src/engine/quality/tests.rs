//! A runner that waits for the test: what is superseded, pushed aside, stale.

use super::super::tests::{model, start, until_idle};
use super::super::{Engine, Request, Settings};
use super::*;
use crate::evaluate::Metric;
use std::sync::Mutex;

/// Measures as many batches as it is let through, and notes what it was asked.
struct Gated {
    gate: mpsc::Receiver<()>,
    seen: Arc<Mutex<Vec<usize>>>,
}

fn measured(value: f64, share: f64) -> Measured {
    Measured {
        metric: Metric::BitsPerByte,
        value,
        standard_error: 0.1,
        nats: value,
        tokens: 1,
        bytes: 1,
        examples: 0,
        perplexity: Some(1.0),
        seconds: 1.0,
        share,
        parts: Vec::new(),
    }
}

impl Runner for Gated {
    fn measure(
        &mut self,
        plan: &[Treatment],
        _: Extent,
        _: KeepGoing<'_>,
        tell: &mut dyn FnMut(&Measured) -> bool,
    ) -> Result<Option<Measured>, String> {
        let ranks: usize = plan.iter().filter_map(|t| t.rank).sum();
        self.seen.lock().unwrap().push(ranks);
        assert_ne!(ranks, 13, "on purpose");
        for batch in 1..=2 {
            self.gate.recv().map_err(|e| e.to_string())?;
            if !tell(&measured(ranks as f64, f64::from(batch) / 2.0)) {
                return Ok(None);
            }
        }
        Ok(Some(measured(ranks as f64, 1.0)))
    }
}

struct Bench {
    engine: Engine,
    inbox: mpsc::Receiver<Report>,
    gate: mpsc::Sender<()>,
    seen: Arc<Mutex<Vec<usize>>>,
    number: u64,
}

impl Bench {
    fn new() -> Self {
        let (model, weights) = model(2, 8);
        let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
        let (gate, through) = mpsc::channel();
        let (through, noted) = (Mutex::new(Some(through)), Arc::clone(&seen));
        let open: Arc<Open> = Arc::new(move || {
            let gate = through.lock().unwrap().take().ok_or("opened twice")?;
            Ok(Box::new(Gated { gate, seen: Arc::clone(&noted) }) as Box<dyn Runner>)
        });
        let settings = Settings { threads: 1, quality: Some(open), ..Settings::default() };
        let (engine, inbox) = start(&model, weights, settings);
        Self { engine, inbox, gate, seen, number: 0 }
    }
    fn ask(&mut self, rank: usize, rest: u64) -> u64 {
        self.number += 1;
        let plan = Arc::from([Treatment::rank(rank), Treatment::default()]);
        let trial = Trial { number: self.number, plan, extent: Extent::Small, rest: Duration::from_millis(rest) };
        self.engine.ask(Request::Quality(Arc::new(trial)))
    }
    fn seen(&self) -> Vec<usize> {
        self.seen.lock().unwrap().clone()
    }
    /// Waits until the runner was asked for so many measurements.
    fn until(&self, count: usize) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.seen().len() < count {
            assert!(Instant::now() < end, "the runner was asked for {:?}", self.seen());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    fn let_through(&self, batches: usize) {
        (0..batches).for_each(|_| self.gate.send(()).unwrap());
    }
}

/// What was told of plans: number, value, whether whole.
fn told(reports: &[Report]) -> Vec<(u64, f64, bool)> {
    let of = |r: &Report| match r {
        Report::Quality { number, result: Ok(m), done } => Some((*number, m.value, *done)),
        _ => None,
    };
    reports.iter().filter_map(of).collect()
}

#[test]
fn it_streams_and_then_says_that_it_is_whole() {
    let mut bench = Bench::new();
    let requests = bench.ask(3, 0);
    bench.let_through(2);
    let reports = until_idle(&bench.inbox, requests);
    assert_eq!(told(&reports), [(1, 3.0, false), (1, 3.0, false), (1, 3.0, true)]);
}

#[test]
fn a_stale_measurement_is_never_told() {
    let mut bench = Bench::new();
    bench.ask(3, 0);
    bench.until(1);
    // The runner sits in its first batch of plan 1; meanwhile the plan changes twice.
    bench.ask(4, 0);
    let requests = bench.ask(5, 0);
    bench.let_through(3);
    let reports = until_idle(&bench.inbox, requests);
    assert!(told(&reports).iter().all(|(number, value, _)| (*number, *value) == (3, 5.0)), "{:?}", told(&reports));
    assert_eq!(told(&reports).last(), Some(&(3, 5.0, true)));
    assert_eq!(bench.seen(), [3, 5], "plan 2 was never begun");
}

#[test]
fn a_moving_plan_is_not_measured_until_it_rests() {
    let mut bench = Bench::new();
    for rank in 1..=7 {
        bench.ask(rank, 40);
    }
    let requests = bench.ask(8, 40);
    bench.let_through(2);
    until_idle(&bench.inbox, requests);
    assert_eq!(bench.seen(), [8]);
}

#[test]
fn nobody_wants_it_any_more() {
    let mut bench = Bench::new();
    bench.ask(3, 0);
    bench.until(1);
    let requests = bench.engine.ask(Request::CancelQuality);
    bench.let_through(1);
    let reports = until_idle(&bench.inbox, requests);
    assert_eq!(told(&reports), []);
}

#[test]
fn a_plan_goes_before_single_layers_and_their_turn_comes_again() {
    let mut bench = Bench::new();
    let cells = (1..=3).map(|r| (LayerId(1), Treatment::rank(r))).collect();
    bench.engine.ask(Request::Sweep(Some(Arc::new(Sweep { number: 9, layers: 2, cells }))));
    bench.until(1);
    let requests = bench.ask(40, 0);
    bench.let_through(1 + 2 + 3 * 2);
    let reports = until_idle(&bench.inbox, requests);
    let felt = reports.iter().filter_map(|r| match r {
        Report::Sensitivity { treatment, result: Ok(_), last, .. } => Some((treatment.rank.unwrap(), *last)),
        _ => None,
    });
    assert_eq!(felt.collect::<Vec<_>>(), [(1, false), (2, false), (3, true)]);
    assert_eq!(told(&reports).last(), Some(&(1, 40.0, true)));
    assert_eq!(bench.seen(), [1, 40, 1, 2, 3]);
}

#[test]
fn a_panic_is_told_as_a_failure() {
    let mut bench = Bench::new();
    let requests = bench.ask(13, 0);
    let reports = until_idle(&bench.inbox, requests);
    let failed = reports.iter().find_map(|r| match r {
        Report::Quality { number: 1, result: Err(why), done: true } => Some(why.clone()),
        _ => None,
    });
    assert!(failed.unwrap().contains("slimscope.log"));
}
