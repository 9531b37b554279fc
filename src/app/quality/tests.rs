//! The gauge by keys; the engine's answers are made here.

use super::super::tests::{Script, script};
use super::*;
use crate::app::{Key, Msg};
use crate::engine::Report;
use crate::evaluate::Part;
use crate::screen::{self, Skin};
use crate::widgets::{Depth, Glyphs, Theme, transcript};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

pub(in super::super) fn offered() -> Script {
    let mut s = script();
    s.app.quality.offer = Some(Offer {
        metric: Metric::BitsPerByte,
        slices: ["eval.safetensors[0..4096]".into(), "eval.safetensors[0..65536]".into()],
        sizes: ["4 kB".into(), "65 kB".into()],
        automatic: true,
        units: Arc::from(["bytes 0..128".to_owned(), "bytes 128..256".to_owned()]),
    });
    s.send(Msg::Tick);
    s
}

fn measured(value: f64, share: f64) -> Measured {
    let nats = value * std::f64::consts::LN_2;
    let part = |shift: f64| Part { nats: (nats + shift) * 128.0, hits: 0.0, count: 127.0, bytes: 128.0 };
    Measured {
        metric: Metric::BitsPerByte,
        value,
        standard_error: 0.03,
        nats,
        tokens: 254,
        bytes: 256,
        examples: 0,
        perplexity: Some(nats.exp()),
        seconds: 0.5,
        share,
        parts: vec![part(0.1), part(-0.1)],
    }
}

fn trial(s: &Script) -> Option<Arc<Trial>> {
    s.effects.iter().find_map(|e| if let Effect::Quality(t) = e { Some(Arc::clone(t)) } else { None })
}

fn answer(s: &mut Script, number: u64, value: f64, share: f64) {
    let done = share >= 1.0;
    s.send(Msg::Report(Report::Quality { number, result: Ok(measured(value, share)), done }));
}

fn press(s: &mut Script, keys: &str) {
    for key in crate::drive::keys(keys).unwrap() {
        s.now += 1000;
        s.send(Msg::Key(key));
    }
}

fn frame(s: &mut Script, size: (u16, u16)) -> String {
    s.send(Msg::Resize(size.0, size.1));
    let skin = Skin { theme: Theme { depth: Depth::None }, glyphs: Glyphs::Braille };
    let mut buf = Buffer::empty(Rect::new(0, 0, size.0, size.1));
    screen::draw(&s.app, skin, &mut buf);
    transcript::text(&buf)
}

#[test]
fn the_dense_model_is_measured_first_and_then_the_plan() {
    let mut s = offered();
    let dense = trial(&s).expect("asked at the start");
    assert!(dense.plan.iter().all(Treatment::is_dense) && dense.rest.is_zero());
    press(&mut s, "<tab> L L");
    assert!(trial(&s).is_none(), "the dense model is not given up for it");
    answer(&mut s, dense.number, 1.67, 1.0);
    let plan = trial(&s).expect("now the plan");
    assert_eq!(plan.plan[s.app.selected.0], s.here());
    assert!(!plan.rest.is_zero(), "once the key rests");
    answer(&mut s, plan.number, 1.8, 0.5);
    assert!(frame(&mut s, (120, 40)).contains("1.67 → ≈1.80 ±.03 bits/byte · 4 kB"), "{}", frame(&mut s, (120, 40)));
    answer(&mut s, plan.number, 1.79, 1.0);
    assert!(frame(&mut s, (120, 40)).contains("1.67 → 1.79 ±.03 bits/byte · 4 kB"));
    let keep: Vec<f64> = s.app.quality.visits.iter().map(|v| v.keep(Unit::Params)).collect();
    assert!(keep[0] == 1.0 && keep[1] < 1.0 && keep.len() == 2, "{keep:?}");
}

#[test]
fn what_was_measured_once_is_known_and_what_is_stale_is_dropped() {
    let mut s = offered();
    let number = trial(&s).unwrap().number;
    answer(&mut s, number, 1.67, 1.0);
    press(&mut s, "<tab> L");
    let first = trial(&s).unwrap().number;
    press(&mut s, "L");
    let second = trial(&s).unwrap().number;
    answer(&mut s, first, 9.0, 1.0);
    assert!(s.app.measured().is_none(), "an answer to an older question");
    answer(&mut s, second, 1.9, 1.0);
    answer(&mut s, first, 9.0, 0.5);
    assert_eq!(s.app.measured().map(|(m, whole)| (m.value, whole)), Some((1.9, true)));
    // Back to dense: known, nothing is asked; forth again: known as well.
    press(&mut s, "u u");
    assert!(trial(&s).is_none());
    assert_eq!(s.app.measured().map(|(m, _)| m.value), Some(1.67));
    press(&mut s, "<c-r> <c-r>");
    assert!(trial(&s).is_none());
    assert_eq!(s.app.measured().map(|(m, _)| m.value), Some(1.9));
    // While something runs and the plan comes back to what is known, it is called off.
    press(&mut s, "L");
    assert!(trial(&s).is_some());
    press(&mut s, "u");
    assert!(s.effects.contains(&Effect::CancelQuality));
}

#[test]
fn no_key_waits_for_the_model() {
    // Nobody ever answers: every key still changes the plan, its numbers and the frame.
    let mut s = offered();
    press(&mut s, "<tab>");
    let mut before = frame(&mut s, (120, 40));
    for step in 1..=20 {
        s.now += 30;
        s.send(Msg::Key(Key::char('l')));
        assert!((s.here().prune.unwrap().remove - f64::from(step) / 100.0).abs() < 1e-9);
        let now = frame(&mut s, (120, 40));
        assert!(now != before && now.contains("… bits/byte · 4 kB"));
        before = now;
    }
}

#[test]
fn a_model_that_cannot_be_run_says_why_once() {
    let mut s = offered();
    let number = trial(&s).unwrap().number;
    let why = "layer lm_head: shape [3, 3]".to_owned();
    s.send(Msg::Report(Report::Quality { number, result: Err(why), done: true }));
    press(&mut s, "6 l");
    assert!(trial(&s).is_none());
    assert!(frame(&mut s, (120, 40)).contains("layer lm_head: shape [3, 3]"));
}

#[test]
fn sensitivity_is_measured_layer_by_layer_and_goes_on_where_it_stopped() {
    let mut s = offered();
    let number = trial(&s).unwrap().number;
    answer(&mut s, number, 1.67, 1.0);
    press(&mut s, "6 <tab> W");
    let sweep = |s: &Script| {
        s.effects.iter().find_map(|e| if let Effect::Sweep(Some(w)) = e { Some(Arc::clone(w)) } else { None })
    };
    let first = sweep(&s).expect("asked");
    let layers = s.app.model.layers.iter().filter(|l| l.eligible()).count();
    assert_eq!(first.cells.len(), 4 * layers);
    let (layer, treatment) = first.cells[0];
    let matrix = s.app.model.layer(layer).unwrap().clone();
    let fact = crate::probe::Magnitude { sum_squares: 1.0, entries: matrix.params, ..Default::default() };
    s.send(Msg::Report(Report::Fact { layer, fact: crate::probe::Fact::Magnitude(Arc::new(fact)) }));
    let result = Ok(measured(2.0, 1.0));
    s.send(Msg::Report(Report::Sensitivity { number: first.number, layer, treatment, result, last: false }));
    let felt = *s.app.facts.of(layer).sensitivity.as_ref().unwrap().of(treatment).unwrap();
    assert!((felt.excess - 0.33 * std::f64::consts::LN_2 * 256.0 / 254.0).abs() < 1e-9, "{felt:?}");
    press(&mut s, "W");
    assert!(s.effects.contains(&Effect::Sweep(None)), "stopped");
    press(&mut s, "W");
    let second = sweep(&s).unwrap();
    assert_eq!(second.cells.len(), 4 * layers - 1, "what is known is not measured again");
    assert!(frame(&mut s, (200, 60)).contains("what each layer loses alone"));
}

#[test]
fn proxies_are_compared_with_what_was_measured() {
    let mut s = offered();
    let number = trial(&s).unwrap().number;
    answer(&mut s, number, 1.67, 1.0);
    // Loss grows with what is removed: size ranks them rightly.
    press(&mut s, "<tab> g g g");
    for step in 0..6 {
        press(&mut s, "L");
        let number = trial(&s).unwrap().number;
        answer(&mut s, number, 1.7 + 0.1 * f64::from(step), 1.0);
    }
    press(&mut s, "6");
    let text = frame(&mut s, (200, 60));
    assert!(text.contains("size") && text.contains("τ 1.00"), "{text}");
    assert!(text.contains("not known here"), "output errors need activations");
}
