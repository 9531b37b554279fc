use super::*;
use crate::treat::Prune;
use proptest::prelude::*;

fn prune(plan: &Plan, layer: usize, ratio: f64, at_ms: u64) -> Edit {
    let before = plan.entry(LayerId(layer));
    let after =
        Entry { treatment: Treatment { prune: Some(Prune::unstructured(ratio)), ..before.treatment }, ..before };
    Edit {
        changes: vec![(LayerId(layer), before, after)],
        label: format!("prune {ratio}"),
        gesture: Some((Knob::Prune, layer)),
        at: Duration::from_millis(at_ms),
    }
}

#[test]
fn a_held_key_is_undone_at_once_and_separate_presses_one_by_one() {
    let mut plan = Plan::new(2);
    for step in 1..=5u64 {
        plan.edit(prune(&plan.clone(), 0, step as f64 / 10.0, step * 30));
    }
    plan.edit(prune(&plan.clone(), 0, 0.9, 5000));
    assert_eq!(plan.depth(), (2, 0));
    plan.undo();
    assert_eq!(plan.treatment(LayerId(0)).prune.map(|p| p.remove), Some(0.5));
    plan.undo();
    assert!(plan.is_dense());
    assert_eq!(plan.undo(), None);
    plan.redo();
    assert_eq!(plan.treatment(LayerId(0)).prune.map(|p| p.remove), Some(0.5));
}

#[test]
fn an_edit_that_changes_nothing_leaves_no_trace() {
    let mut plan = Plan::new(1);
    let e = plan.entry(LayerId(0));
    assert!(!plan.edit(Edit {
        changes: vec![(LayerId(0), e, e)],
        label: String::new(),
        gesture: None,
        at: Duration::ZERO
    }));
    assert_eq!(plan.depth(), (0, 0));
}

#[test]
fn the_history_of_a_whole_model_stays_small() {
    let layers = 1000;
    let mut plan = Plan::new(layers);
    for step in 1..=10u64 {
        let changes = (0..layers).map(|i| {
            let before = plan.entry(LayerId(i));
            let treatment = Treatment::prune(Prune::unstructured(step as f64 / 100.0));
            (LayerId(i), before, Entry { treatment, ..before })
        });
        let changes = changes.collect();
        plan.edit(Edit { changes, label: "prune".into(), gesture: None, at: Duration::ZERO });
    }
    let most = plan.undo.iter().map(Step::bytes).max().unwrap();
    assert!(most < 13 * layers, "{most} bytes a step");
}

proptest! {
    #[test]
    fn undoing_everything_restores_the_dense_plan_and_redoing_restores_the_last(
        steps in prop::collection::vec((0usize..4, 0u32..10, 0u64..800), 1..40)
    ) {
        let mut plan = Plan::new(4);
        let mut clock = 0;
        for (layer, tenths, wait) in steps {
            clock += wait;
            plan.edit(prune(&plan.clone(), layer, f64::from(tenths) / 10.0, clock));
        }
        let last: Vec<_> = (0..4).map(|i| plan.entry(LayerId(i))).collect();
        while plan.undo().is_some() {}
        prop_assert!(plan.is_dense());
        while plan.redo().is_some() {}
        let again: Vec<_> = (0..4).map(|i| plan.entry(LayerId(i))).collect();
        prop_assert_eq!(last, again);
    }
}
