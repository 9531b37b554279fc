use super::*;
use crate::evaluate::trial::tests::{sample, trials};
use crate::model::{LayerId, Matrix};
use crate::plan::Pattern;
use crate::plan::budget::Unit;
use std::cell::Cell;
use std::sync::Arc;

const FAMILIES: Families = Families { prune: Some(Pattern::Unstructured), rank: true, both: true };

fn choices(model: &Model, weights: &crate::source::Weights) -> Vec<LayerMenu> {
    let free: Vec<LayerId> = model.layers.iter().filter(|l| l.eligible()).map(|l| l.id).collect();
    menus(model, weights, &free, (Unit::Params, FAMILIES), &|| true, &|_| {}).unwrap()
}

#[test]
fn choices_cost_what_they_keep_and_lose_more_the_less_that_is() {
    let (model, weights, _) = sample("digits_mlp", 8);
    for menu in choices(&model, &weights) {
        let layer = model.layer(menu.layer).unwrap();
        assert!(menu.options[0].treatment.is_dense() && menu.options[0].cost == layer.params as f64);
        let pruned = menu.options.iter().filter(|o| o.treatment.rank.is_none() && o.treatment.prune.is_some());
        let pruned: Vec<&Choosable> = pruned.collect();
        assert!(pruned.len() >= 10);
        for pair in pruned.windows(2) {
            assert!(pair[0].cost > pair[1].cost && pair[0].error < pair[1].error);
        }
        for option in &menu.options[1..] {
            let keep = option.cost / layer.params as f64;
            let said = match (option.treatment.rank, option.treatment.prune) {
                (Some(r), None) => (r * (layer.rows() + layer.cols())) as f64 / layer.params as f64,
                (None, Some(p)) => 1.0 - p.remove,
                (Some(r), Some(p)) => (r * (layer.rows() + layer.cols())) as f64 / layer.params as f64 + 1.0 - p.remove,
                (None, None) => unreachable!(),
            };
            assert!((keep - said).abs() < 2.0 / layer.params as f64 + 1e-9, "{option:?}: {keep} {said}");
        }
    }
}

#[test]
fn activations_say_which_treatments_are_weighed() {
    let (mut model, weights, _) = sample("digits_mlp", 8);
    let layer = &mut Arc::get_mut(&mut model).unwrap().layers[0];
    let n = layer.cols();
    let gram: Vec<f32> = (0..n * n).map(|i| if i % (n + 1) == 0 { 1.0 + (i % 7) as f32 } else { 0.0 }).collect();
    let mut inputs = crate::model::inputs::Inputs::of_gram(10, &Matrix::new(n, n, gram).unwrap());
    inputs.gradient = Some(vec![0.5; layer.rows()]);
    layer.inputs = Some(Arc::new(inputs));
    let free = [model.layers[0].id];
    let found = menus(&model, &weights, &free, (Unit::Params, FAMILIES), &|| true, &|_| {}).unwrap();
    for option in &found[0].options[1..] {
        // One gradient for all outputs: what is expected to be lost is a quarter of the outputs' energy that is.
        let (output, excess) = (option.output.unwrap(), option.excess.unwrap());
        assert!(excess > 0.0 && output > 0.0);
        let weighs = option.treatment.form.weighs() || option.treatment.prune.is_some_and(|p| p.criterion.weighs());
        assert!(weighs, "{:?}", option.treatment);
    }
    let ratio = |o: &Choosable| o.excess.unwrap() / o.output.unwrap();
    let first = ratio(&found[0].options[1]);
    assert!(found[0].options[1..].iter().all(|o| (ratio(o) / first - 1.0).abs() < 1e-6));
}

#[test]
fn trials_improve_a_plan_within_its_budget() {
    let (model, weights, slice) = sample("digits_mlp", 256);
    let menus = choices(&model, &weights);
    let dense: f64 = menus.iter().map(|m| m.options[0].cost).sum();
    let budget = 0.2 * dense;
    let fixed = vec![Treatment::default(); model.layers.len()];
    let time = Duration::from_secs(3600);
    let goal = Goal { model: &model, menus: &menus, budget, fixed, slice: &slice, time, seed: 3 };
    let find = || {
        let count = Cell::new(0);
        let mut trials = trials(&model, &weights, None);
        // The search asks whether it is wanted from several threads: a count of trials decides, not a clock.
        let over = std::sync::atomic::AtomicBool::new(false);
        let wanted = || !over.load(std::sync::atomic::Ordering::Relaxed);
        search(&mut trials, &goal, &wanted, &mut |p| {
            count.set(p.trials);
            over.store(p.trials >= 60, std::sync::atomic::Ordering::Relaxed);
        })
        .unwrap()
    };
    let found = find();
    let began = found.began.1.nats;
    let ended = difference(&found.measured, &found.dense).nats;
    assert!(ended < began, "{ended} {began}");
    let spent: f64 = menus
        .iter()
        .map(|m| m.options.iter().find(|o| o.treatment == found.plan[m.layer.0]).expect("of the menu").cost)
        .sum();
    assert!(spent <= budget * (1.0 + 1e-9) && spent > 0.9 * budget, "{spent} {budget}");
    assert_eq!(find().plan, found.plan, "the same seed finds the same");
}

#[test]
fn a_budget_that_nothing_meets_is_an_error() {
    let (model, weights, slice) = sample("digits_mlp", 64);
    let menus = choices(&model, &weights);
    let fixed = vec![Treatment::default(); model.layers.len()];
    let time = Duration::from_secs(1);
    let goal = Goal { model: &model, menus: &menus, budget: 10.0, fixed, slice: &slice, time, seed: 3 };
    let error = search(&mut trials(&model, &weights, None), &goal, &|| true, &mut |_| {}).unwrap_err();
    assert!(matches!(error, SearchError::OutOfReach(_)), "{error}");
}
