use super::*;
use crate::model::{DType, Layer, Stored, Tensor};
use crate::probe::{Ask, ProbeError, ProbeId};
use crate::source;
use crate::treat::Prune;
use std::time::Instant;

/// A model of `layers` square layers in memory.
pub(super) fn model(layers: usize, n: usize) -> (Arc<Model>, Weights) {
    let mut header = serde_json::Map::new();
    let size = n * n * 4;
    for i in 0..layers {
        header.insert(
            format!("layers.{i}.fc.weight"),
            serde_json::json!({"dtype": "F32", "shape": [n, n], "data_offsets": [i * size, (i + 1) * size]}),
        );
    }
    let mut text = serde_json::Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text);
    for i in 0..layers * n * n {
        let x = (i as f32 * 0.7).sin() + (i as f32 * 0.013).cos();
        bytes.extend(x.to_le_bytes());
    }
    let (model, weights) = source::open_embedded("test", Box::leak(bytes.into_boxed_slice()), "{}").unwrap();
    (Arc::new(model), weights)
}

pub(super) fn start(model: &Arc<Model>, weights: Weights, settings: Settings) -> (Engine, mpsc::Receiver<Report>) {
    let (tell, inbox) = mpsc::channel();
    let engine = Engine::start(Arc::clone(model), weights, settings, move |r| drop(tell.send(r))).unwrap();
    (engine, inbox)
}

fn all(model: &Model) -> Request {
    Request::Focus { seen: model.layers.iter().map(|l| l.id).take(1).collect() }
}

pub(super) fn until_idle(inbox: &mpsc::Receiver<Report>, requests: u64) -> Vec<Report> {
    let mut out = Vec::new();
    loop {
        let report = inbox.recv_timeout(Duration::from_secs(60)).expect("the engine went silent");
        let done = matches!(report, Report::Idle { requests: r } if r >= requests);
        out.push(report);
        if done {
            return out;
        }
    }
}

/// Facts of a linear layer that come unasked: magnitudes, norms, patterns, sketch, spectrum.
const FACTS: usize = 7;

fn settings() -> Settings {
    Settings { threads: 2, debounce: Duration::from_millis(20), ..Settings::default() }
}

#[test]
fn everything_is_measured_once_and_then_it_is_idle() {
    let (model, weights) = model(5, 24);
    let (mut engine, inbox) = start(&model, weights, Settings { threads: 1, ..settings() });
    let requests = engine.ask(all(&model));
    let reports = until_idle(&inbox, requests);
    let facts = reports.iter().filter(|r| matches!(r, Report::Fact { .. })).count();
    assert_eq!(facts, 5 * FACTS);
    // The layer under the cursor answers first.
    let first = reports.iter().find_map(|r| if let Report::Fact { layer, .. } = r { Some(*layer) } else { None });
    assert_eq!(first, Some(LayerId(0)));
    let last = reports.iter().rev().find_map(|r| if let Report::Progress(p) = r { Some(*p) } else { None }).unwrap();
    assert_eq!((last.done, last.total), (5, 5));
    assert!((last.share - 1.0).abs() < 1e-9);
}

#[test]
fn scrubbing_keeps_only_the_newest_refinement() {
    let (model, weights) = model(3, 32);
    let (mut engine, inbox) = start(&model, weights, settings());
    let mut requests = engine.ask(all(&model));
    for step in 1..=30 {
        let treatment = Treatment::prune(Prune::unstructured(f64::from(step) / 100.0));
        requests = engine.ask(Request::Refine { layer: LayerId(1), treatment });
    }
    let reports = until_idle(&inbox, requests);
    let refined: Vec<(u64, f64)> = reports
        .iter()
        .filter_map(|r| match r {
            Report::Refined { generation, result, .. } => {
                Some((*generation, result.as_ref().unwrap().treatment.prune.unwrap().remove))
            }
            _ => None,
        })
        .collect();
    assert!(refined.len() <= 2, "{refined:?}");
    assert_eq!(refined.last(), Some(&(30, 0.3)));
    assert_eq!(engine.generation(), 30);
}

#[test]
fn a_cancelled_refinement_does_not_answer() {
    let (model, weights) = model(1, 32);
    let (mut engine, inbox) = start(&model, weights, Settings { debounce: Duration::from_millis(200), ..settings() });
    engine.ask(all(&model));
    engine.ask(Request::Refine { layer: LayerId(0), treatment: Treatment::prune(Prune::unstructured(0.5)) });
    let requests = engine.ask(Request::CancelRefine);
    let reports = until_idle(&inbox, requests);
    assert!(!reports.iter().any(|r| matches!(r, Report::Refined { .. })));
}

struct Panics;
impl Probe for Panics {
    fn id(&self) -> ProbeId {
        ProbeId::Spectrum
    }
    fn title(&self) -> &'static str {
        "spectra"
    }
    fn applies(&self, _: &Layer) -> bool {
        true
    }
    fn cost(&self, _: &Layer) -> f64 {
        1.0
    }
    fn workspace(&self, _: &Layer, _: usize) -> u64 {
        0
    }
    fn measure(&self, layer: &Layer, _: &Stored, _: &Ask) -> Result<Vec<Fact>, ProbeError> {
        assert!(layer.id != LayerId(1), "a bug on {}", layer.name);
        Ok(vec![Fact::Spectrum(Arc::default())])
    }
}

#[test]
fn a_panic_marks_its_layer_and_the_rest_goes_on() {
    static WITH_BUG: &[&dyn Probe] = &[&crate::probe::magnitude::MagnitudeProbe, &Panics];
    let (model, weights) = model(4, 8);
    let (mut engine, inbox) = start(&model, weights, Settings { probes: WITH_BUG.to_vec(), ..settings() });
    let requests = engine.ask(all(&model));
    let reports = until_idle(&inbox, requests);
    let failed: Vec<_> = reports
        .iter()
        .filter_map(|r| if let Report::Failed { layer, why } = r { Some((layer.0, why.clone())) } else { None })
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].0, 1);
    assert!(failed[0].1.contains("internal error: a bug on"), "{failed:?}");
    assert_eq!(reports.iter().filter(|r| matches!(r, Report::Fact { fact: Fact::Spectrum(_), .. })).count(), 3);
}

/// Runs until told to stop, counting how often it was asked to.
struct Endless;
impl Probe for Endless {
    fn id(&self) -> ProbeId {
        ProbeId::Spectrum
    }
    fn title(&self) -> &'static str {
        "spectra"
    }
    fn applies(&self, _: &Layer) -> bool {
        true
    }
    fn cost(&self, _: &Layer) -> f64 {
        1.0
    }
    fn workspace(&self, _: &Layer, _: usize) -> u64 {
        0
    }
    fn measure(&self, layer: &Layer, _: &Stored, ask: &Ask) -> Result<Vec<Fact>, ProbeError> {
        let patience = Instant::now();
        while layer.id != LayerId(0) && (ask.keep_going)() && patience.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if (ask.keep_going)() { Ok(vec![Fact::Spectrum(Arc::default())]) } else { Err(ProbeError::Stopped) }
    }
}

#[test]
fn the_selected_layer_takes_a_worker_from_what_nobody_looks_at() {
    static ENDLESS: &[&dyn Probe] = &[&Endless];
    let (model, weights) = model(3, 8);
    let (mut engine, inbox) = start(&model, weights, Settings { threads: 1, probes: ENDLESS.to_vec(), ..settings() });
    engine.ask(Request::Focus { seen: vec![LayerId(1)] });
    std::thread::sleep(Duration::from_millis(100));
    let asked = Instant::now();
    engine.ask(Request::Focus { seen: vec![LayerId(0)] });
    loop {
        match inbox.recv_timeout(Duration::from_secs(10)).expect("the selected layer was never measured") {
            Report::Fact { layer, .. } => {
                assert_eq!(layer, LayerId(0));
                break;
            }
            _ => assert!(asked.elapsed() < Duration::from_secs(10)),
        }
    }
    drop(engine);
}

#[test]
fn a_layer_with_nan_or_infinity_names_its_place_and_no_probe_gives_a_figure_of_it() {
    for bad in [f32::NAN, f32::INFINITY] {
        let header = r#"{"fc.weight":{"dtype":"F32","shape":[40,30],"data_offsets":[0,4800]}}"#;
        let header = format!("{header:<96}");
        let mut bytes = 96u64.to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend((0..1200).flat_map(|i| (if i == 605 { bad } else { i as f32 }).to_le_bytes()));
        let (model, weights) = source::open_embedded("test", Box::leak(bytes.into_boxed_slice()), "{}").unwrap();
        let model = Arc::new(model);
        let dir = tempfile::tempdir().unwrap();
        for turn in ["measured", "from the cache"] {
            let cache = Some(Arc::new(cache::Cache::new(dir.path())));
            let (mut engine, inbox) = start(&model, weights.clone(), Settings { cache, ..settings() });
            let requests = engine.ask(all(&model));
            let mut book = crate::probe::book::FactBook::new(1);
            for report in until_idle(&inbox, requests) {
                match report {
                    Report::Fact { layer, fact } => {
                        assert!(matches!(fact, Fact::Unfit(_)), "{turn}: {fact:?}");
                        book.merge(layer, fact);
                    }
                    Report::Failed { why, .. } => panic!("{turn}: {why}"),
                    _ => {}
                }
            }
            let facts = book.of(LayerId(0));
            assert_eq!(facts.not_finite(), Some((20, 5)), "{turn}");
            assert!(facts.failure.as_ref().unwrap().contains("row 20, column 5"), "{turn}");
            assert!(facts.magnitude.is_none() && facts.sketch.is_none() && facts.spectrum.is_none());
        }
    }
}

#[test]
fn a_layer_that_needs_too_much_memory_says_so_and_the_rest_is_measured() {
    let (model, weights) = model(2, 64);
    // Enough for the entries and not for their spectrum.
    let ceiling = 64 * 64 * 4 + (8 << 20);
    static TWO: &[&dyn Probe] = &[&crate::probe::magnitude::MagnitudeProbe, &Hungry];
    let (mut engine, inbox) = start(&model, weights, Settings { ceiling, probes: TWO.to_vec(), ..settings() });
    let requests = engine.ask(all(&model));
    let reports = until_idle(&inbox, requests);
    assert_eq!(
        reports
            .iter()
            .filter(|r| matches!(r, Report::Failed { why, .. } if why.contains("GiB of memory, at most 8.0 MiB")))
            .count(),
        2
    );
    assert_eq!(reports.iter().filter(|r| matches!(r, Report::Fact { fact: Fact::Magnitude(_), .. })).count(), 2);
}

struct Hungry;
impl Probe for Hungry {
    fn id(&self) -> ProbeId {
        ProbeId::Spectrum
    }
    fn title(&self) -> &'static str {
        "spectra"
    }
    fn applies(&self, _: &Layer) -> bool {
        true
    }
    fn cost(&self, _: &Layer) -> f64 {
        1.0
    }
    fn workspace(&self, _: &Layer, _: usize) -> u64 {
        1 << 40
    }
    fn measure(&self, _: &Layer, _: &Stored, _: &Ask) -> Result<Vec<Fact>, ProbeError> {
        unreachable!("it does not fit")
    }
}

#[test]
fn a_tensor_that_cannot_be_read_fails_alone() {
    let (model, weights) = model(2, 8);
    let mut broken = (*model).clone();
    broken.tensors.push(Tensor {
        name: "gone".into(),
        dtype: DType::F32,
        shape: vec![8, 8],
        file: 0,
        range: 1 << 40..(1 << 40) + 256,
    });
    broken.layers[0].tensor = broken.tensors.len() - 1;
    let model = Arc::new(broken);
    let (mut engine, inbox) = start(&model, weights, settings());
    let requests = engine.ask(all(&model));
    let reports = until_idle(&inbox, requests);
    assert!(reports.iter().any(|r| matches!(r, Report::Failed { layer: LayerId(0), why } if why.contains("gone"))));
    assert_eq!(reports.iter().filter(|r| matches!(r, Report::Fact { layer: LayerId(1), .. })).count(), FACTS);
}

#[test]
fn a_second_opening_finds_every_spectrum_in_its_first_pass() {
    let (model, weights) = model(4, 24);
    let dir = tempfile::tempdir().unwrap();
    let cache = || Some(Arc::new(cache::Cache::new(dir.path())));
    let mut seen: Vec<Vec<Vec<f64>>> = Vec::new();
    for opening in 0..2 {
        let settings = Settings { threads: 1, cache: cache(), ..settings() };
        let (mut engine, inbox) = start(&model, weights.clone(), settings);
        let requests = engine.ask(all(&model));
        let reports = until_idle(&inbox, requests);
        let facts: Vec<&Fact> =
            reports.iter().filter_map(|r| if let Report::Fact { fact, .. } = r { Some(fact) } else { None }).collect();
        assert_eq!(facts.len(), 4 * FACTS, "each once");
        let layers: Vec<usize> = reports
            .iter()
            .filter_map(|r| if let Report::Fact { layer, .. } = r { Some(layer.0) } else { None })
            .collect();
        let together = layers.chunks(FACTS).all(|c| c.iter().all(|l| *l == c[0]));
        assert_eq!(together, opening == 1, "from the cache a layer's facts come all at once: {layers:?}");
        let last =
            reports.iter().rev().find_map(|r| if let Report::Progress(p) = r { Some(*p) } else { None }).unwrap();
        assert_eq!((last.done, last.total), (4, 4));
        assert!((last.share - 1.0).abs() < 1e-9, "{}", last.share);
        let mut sigma: Vec<Vec<f64>> =
            facts.iter().filter_map(|f| if let Fact::Spectrum(s) = f { Some(s.sigma.clone()) } else { None }).collect();
        sigma.sort_by(|a, b| a[0].total_cmp(&b[0]));
        seen.push(sigma);
    }
    assert_eq!(seen[0], seen[1], "to the last bit");
}
