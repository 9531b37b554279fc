//! Budgets by keys: what is asked of the engine is answered here.

use super::super::tests::{Script, script};
use super::*;
use crate::app::{Key, Msg};
use crate::config::sample;
use crate::engine::Report;
use crate::plan::budget::{allocator, curve::curves};
use crate::probe::{Ask as ProbeAsk, PROBES, ProbeId};
use crate::source;

/// The bundled sample, measured.
fn measured() -> Script {
    let mut s = script();
    let (model, weights) = source::open_embedded(sample::NAME, sample::WEIGHTS, sample::CONFIG).unwrap();
    for layer in model.layers.iter().filter(|l| l.eligible()) {
        let stored = weights.stored(&model, layer).unwrap();
        let go = ProbeAsk { keep_going: &|| true, threads: 1 };
        for probe in PROBES.iter().filter(|p| p.applies(layer) && !p.on_request() && p.id() != ProbeId::Sketch) {
            for fact in probe.measure(layer, &stored, &go).unwrap() {
                s.send(Msg::Report(Report::Fact { layer: layer.id, fact }));
            }
        }
    }
    s
}

/// Answers what the state asks about budgets, as the engine does.
fn answer(s: &mut Script, effects: Vec<Effect>) {
    for effect in effects {
        let Effect::Spread(q) = effect else { continue };
        let report = match q.allocator {
            None => {
                let curves = Arc::new(curves(&s.app.model, &q.facts, &q.plan, q.ask));
                Report::Curves { number: q.number, took: Duration::ZERO, curves }
            }
            Some(name) => {
                let allocator = allocator(name).unwrap();
                let result = allocator.plan(&s.app.model, &q.facts, &q.plan, q.ask);
                Report::Spread { number: q.number, took: Duration::ZERO, result }
            }
        };
        s.send(Msg::Report(report));
    }
}

fn sent(s: &mut Script, msg: Msg) -> Vec<Effect> {
    s.send(msg);
    std::mem::take(&mut s.effects)
}

fn press(s: &mut Script, keys: &str) {
    for key in keys.split_whitespace() {
        s.now += 1000;
        s.send(Msg::Key(Key::parse(key).unwrap()));
        let effects = std::mem::take(&mut s.effects);
        answer(s, effects);
    }
}

#[test]
fn a_budget_becomes_one_edit_that_follows_until_a_hand_changes_it() {
    let mut s = measured();
    press(&mut s, "5 <enter>");
    let keep = s.app.outcome.totals.keep();
    assert!((0.49..=0.5).contains(&keep), "{keep}");
    assert_eq!(s.app.plan.depth(), (1, 0), "one edit for all layers");
    press(&mut s, "l l");
    let followed = s.app.outcome.totals.keep();
    assert!((0.51..=0.52).contains(&followed), "{followed}");
    press(&mut s, "p L");
    let pinned = s.app.outcome.totals.keep();
    assert!((pinned - followed).abs() < 1e-9, "a plan changed by hand waits for enter");
    press(&mut s, "<enter>");
    assert!(s.app.outcome.totals.keep() > 0.6);
    let here = s.app.selected;
    assert!(s.app.plan.entry(here).pinned);
    assert!(s.app.frontier.binding.iter().any(|b| b.starts_with("pinned")), "{:?}", s.app.frontier.binding);
    for _ in 0..8 {
        press(&mut s, "u");
    }
    assert!(s.app.plan.is_dense());
}

#[test]
fn answers_to_older_questions_are_dropped_and_early_ones_are_asked_again() {
    let mut s = measured();
    let first = sent(&mut s, Msg::Key(Key::parse("5").unwrap()));
    answer(&mut s, first);
    let old = sent(&mut s, Msg::Key(Key::parse("<enter>").unwrap()));
    let new = vec![s.app.solve()];
    answer(&mut s, old);
    assert!(s.app.plan.is_dense(), "stale");
    // Not measured, while measurements go on: asked again when nothing more will come.
    let Some(Effect::Spread(q)) = new.into_iter().find(|e| matches!(e, Effect::Spread(_))) else { panic!() };
    let unmeasured = BudgetError::Unmeasured { layer: "x".into(), why: "later".into() };
    s.send(Msg::Report(Report::Spread { number: q.number, took: Duration::ZERO, result: Err(unmeasured) }));
    assert!(s.app.frontier.is_solving() && s.app.status.is_none());
    let again = sent(&mut s, Msg::Report(Report::Idle { requests: 0 }));
    answer(&mut s, again);
    assert!(!s.app.plan.is_dense() && !s.app.frontier.is_solving());
    let result: Result<Spreading, _> = Err(BudgetError::Unsuited("no".into()));
    s.send(Msg::Report(Report::Spread { number: 0, took: Duration::ZERO, result }));
    assert!(s.app.status.is_none());
}

#[test]
fn plans_are_put_aside_compared_and_taken_up_again() {
    let mut s = measured();
    press(&mut s, "5 <enter> S");
    assert_eq!(s.app.plan_name(), ('A', false));
    let half = s.app.plan.bare();
    press(&mut s, "S");
    assert_eq!(s.app.frontier.snapshots.len(), 1, "the same plan is not put aside twice");
    press(&mut s, "t <enter>");
    assert_eq!(s.app.plan_name(), ('A', true));
    assert!(s.app.model.layers.iter().any(|l| s.app.plan.treatment(l.id).rank.is_some()));
    press(&mut s, "S D");
    assert!(s.app.frontier.differences && s.app.frontier.compared(&s.app.plan).unwrap().name == 'A');
    // Up to the first row: A.
    for _ in 0..20 {
        press(&mut s, "[");
    }
    assert_eq!(s.app.frontier.compared(&s.app.plan).unwrap().name, 'A');
    press(&mut s, "<enter>");
    assert!(s.app.plan.same(&half) && s.app.plan_name() == ('A', false));
    press(&mut s, "u");
    assert_eq!(s.app.plan_name(), ('B', false));
}

#[test]
fn what_is_typed_sets_the_budget_and_what_holds_it() {
    let mut s = measured();
    press(&mut s, "B");
    for (text, check) in [
        ("37.5%", (|f| f.ask.keep == 0.375) as fn(&Frontier) -> bool),
        ("floor 10%", |f| f.ask.floor == 0.1),
        ("ceiling .9", |f| f.ask.ceiling == 0.9),
        ("ceiling dense", |f| f.ask.ceiling == 1.0),
        ("of bytes", |f| f.ask.of.word() == "bytes"),
        ("lamp", |f| f.allocator() == "lamp"),
        ("2:4", |f| f.ask.means.words() == "N:4"),
        ("rank 8", |f| f.ask.means.words() == "rank ×8"),
        ("prune", |f| f.ask.means.words() == "N:4"),
        ("groups qkv gate", |f| f.ask.groups.words() == "q·k·v, gate·up"),
    ] {
        let keys: Vec<String> =
            text.chars().map(|c| if c == ' ' { "<space>".to_owned() } else { c.to_string() }).collect();
        press(&mut s, &format!("= {} <enter>", keys.join(" ")));
        assert!(check(&s.app.frontier), "{text}: {:?}", s.app.status);
    }
    press(&mut s, "= n o <enter>");
    assert!(s.app.status.as_ref().unwrap().contains("floor 10%"));
}

#[test]
fn tab_reaches_the_budget_on_the_frontier_only() {
    let mut s = measured();
    press(&mut s, "<tab> <tab> <tab>");
    assert!(!s.app.budgeting() && s.app.knob == Knob::Rank);
    press(&mut s, "5");
    assert!(s.app.budgeting());
    press(&mut s, "<tab> h");
    assert!(!s.app.budgeting() && s.here().rank.is_some(), "the rank moves");
    press(&mut s, "<tab> <tab> <tab>");
    assert!(s.app.budgeting());
    press(&mut s, "<s-tab>");
    assert!(!s.app.budgeting() && s.app.knob == Knob::Bits);
    press(&mut s, "<tab>");
    assert!(s.app.budgeting());
    press(&mut s, "1 h");
    assert!(!s.app.budgeting());
}

#[test]
fn keys_meant_for_the_plan_that_is_being_made_wait_for_it() {
    let mut s = measured();
    press(&mut s, "5");
    let asked = sent(&mut s, Msg::Key(Key::parse("<enter>").unwrap()));
    // At once, before the answer.
    for key in ["S", "u"] {
        sent(&mut s, Msg::Key(Key::parse(key).unwrap()));
    }
    assert!(s.app.frontier.snapshots.is_empty() && s.app.plan.is_dense());
    sent(&mut s, Msg::Key(Key::parse("j").unwrap()));
    assert_ne!(s.label(), "0·q_proj", "looking around does not wait");
    answer(&mut s, asked);
    let half = &s.app.frontier.snapshots[0].plan;
    assert!(!half.is_dense(), "what was put aside is the plan that was asked for");
    assert!(s.app.plan.is_dense(), "and then it was taken back");
    assert_eq!(s.app.plan_name(), ('A', true));
}

#[test]
fn a_budget_above_the_ceilings_is_met_as_far_as_they_allow_and_said() {
    let mut s = measured();
    press(&mut s, "5 = c e i l i n g <space> 4 0 % <enter> <enter>");
    let keep = s.app.outcome.totals.keep();
    assert!((0.41..0.43).contains(&keep), "{keep}");
    assert!(s.app.frontier.solved.as_ref().unwrap().contains("(keeps 41.9%)"), "{:?}", s.app.frontier.solved);
}
