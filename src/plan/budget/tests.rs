use super::*;
use crate::config::sample;
use crate::model::{DType, File, Stored, Tensor};
use crate::plan::{Entry, project};
use crate::probe::{Ask as ProbeAsk, Magnitude, PROBES, ProbeId};
use crate::source;

const GO: ProbeAsk = ProbeAsk { keep_going: &|| true, threads: 1 };

/// The bundled sample with everything that allocators look at.
fn measured() -> (Model, FactBook) {
    let (model, weights) = source::open_embedded(sample::NAME, sample::WEIGHTS, sample::CONFIG).unwrap();
    let mut book = FactBook::new(model.layers.len());
    for layer in model.layers.iter().filter(|l| l.eligible()) {
        let stored = weights.stored(&model, layer).unwrap();
        for probe in PROBES.iter().filter(|p| p.applies(layer) && !p.on_request() && p.id() != ProbeId::Sketch) {
            probe.measure(layer, &stored, &GO).unwrap().into_iter().for_each(|f| book.merge(layer.id, f));
        }
    }
    (model, book)
}

/// A model of these shapes, not measured.
fn shapes(shapes: &[&[usize]]) -> Model {
    let tensors = shapes.iter().enumerate().map(|(i, shape)| Tensor {
        name: format!("layer{i}.weight"),
        dtype: DType::F32,
        shape: shape.to_vec(),
        file: 0,
        range: 0..shape.iter().product::<usize>() * 4,
    });
    let file = File { path: "x".into(), name: "x".into(), bytes: 0 };
    Model { tensors: tensors.collect(), files: vec![file], ..Model::default() }.from_header()
}

#[test]
fn erk_meets_its_worked_example() {
    let model = shapes(&[&[64, 3, 3, 3], &[128, 64, 3, 3], &[10, 128]]);
    let facts = FactBook::new(3);
    let ask = Ask { keep: 0.1, of: Unit::Params, means: Means::Prune(Pattern::Unstructured), floor: 0.0 };
    let found = allocator("erk").unwrap().plan(&model, &facts, &Plan::new(3), ask).unwrap();
    let keep: Vec<f64> = found.iter().map(|(_, t)| 1.0 - t.prune.map_or(0.0, |p| p.remove)).collect();
    for (got, want) in keep.iter().zip([0.996_678_966_8, 0.063_359_086_7, 1.0]) {
        assert!((got - want).abs() < 2e-3, "{keep:?}");
    }
}

#[test]
fn lamp_scores_are_those_of_its_worked_examples() {
    let of = |data: Vec<f32>| -> Magnitude {
        let stored = Stored::from(crate::model::Matrix::new(1, data.len(), data).unwrap());
        crate::probe::magnitude::magnitude(&stored, &GO).unwrap()
    };
    // [1, 2, 3] → 1/14, 4/13, 1; ties in turn: [.1]·4 → .25, .333, .5, 1.
    for (data, scores) in [
        (vec![1.0, 2.0, 3.0], vec![1.0 / 14.0, 4.0 / 13.0, 1.0]),
        (vec![0.0, 1.0, -2.0, 3.0, 4.0], vec![0.0, 1.0 / 30.0, 4.0 / 29.0, 9.0 / 25.0, 1.0]),
        (vec![0.1; 4], vec![0.25, 1.0 / 3.0, 0.5, 1.0]),
    ] {
        let table = of(data);
        for (k, score) in scores.iter().enumerate() {
            assert_eq!(table.lamp_below(score * (1.0 + 1e-6) + 1e-300), k as u64 + 1, "{scores:?} {k}");
            if *score > 0.0 {
                assert_eq!(table.lamp_below(score * (1.0 - 1e-6)), k as u64, "{scores:?} {k}");
            }
        }
    }
    assert_eq!(of(vec![0.0; 3]).lamp_below(0.5), 3);
}

#[test]
fn every_allocator_meets_every_budget_and_leaves_pinned_layers_alone() {
    let (model, facts) = measured();
    let mut plan = Plan::new(model.layers.len());
    let pinned = model.layers.iter().find(|l| l.name == "lm_head").unwrap().id;
    plan.set(pinned, Entry { pinned: true, ..Entry::default() });
    for allocator in ALLOCATORS {
        for of in [Unit::Params, Unit::Bytes, Unit::Macs] {
            for means in [
                Means::Prune(Pattern::Unstructured),
                Means::Prune(Pattern::Groups(4)),
                Means::Prune(Pattern::Rows),
                Means::Rank(8),
            ] {
                for keep in [0.75, 0.5] {
                    let ask = Ask { keep, of, means, floor: 0.1 };
                    let found = match allocator.plan(&model, &facts, &plan, ask) {
                        Err(BudgetError::Unsuited(_)) => {
                            assert!(["global", "lamp"].contains(&allocator.name));
                            continue;
                        }
                        found => found.unwrap(),
                    };
                    let mut made = plan.clone();
                    for (id, treatment) in &found {
                        assert_ne!(*id, pinned);
                        made.set(*id, Entry { treatment: *treatment, pinned: false });
                        if let (Means::Rank(m), Some(rank)) = (means, treatment.rank) {
                            assert_eq!(rank % m, 0);
                        }
                    }
                    let totals = project(&model, &facts, &vec![None; model.layers.len()], &made).totals;
                    let (before, after) = match of {
                        Unit::Params => totals.params,
                        Unit::Bytes => totals.bytes,
                        Unit::Macs => totals.macs,
                    };
                    let got = after as f64 / before as f64;
                    let what = format!("{} {of:?} {means:?} {keep}: {got}", allocator.name);
                    assert!(got <= keep + 1e-9, "{what}");
                    // Coarse steps cannot meet it closely.
                    let slack = match means {
                        Means::Prune(Pattern::Groups(_)) => 0.25,
                        Means::Rank(_) => 0.08,
                        Means::Prune(_) => 0.03,
                    };
                    assert!(got > keep - slack, "{what}");
                }
            }
        }
    }
}

#[test]
fn each_hull_allocator_is_best_at_what_it_minimises() {
    let (model, facts) = measured();
    let plan = Plan::new(model.layers.len());
    let ask = Ask { keep: 0.5, of: Unit::Params, means: Means::Prune(Pattern::Unstructured), floor: 0.0 };
    let losses = |name: &str| {
        let mut made = plan.clone();
        for (id, treatment) in allocator(name).unwrap().plan(&model, &facts, &plan, ask).unwrap() {
            made.set(id, Entry { treatment, pinned: false });
        }
        let outcome = project(&model, &facts, &vec![None; model.layers.len()], &made);
        let relative: f64 =
            outcome.layers.iter().filter_map(|o| Some(o.error_energy?.value / o.energy.filter(|e| *e > 0.0)?)).sum();
        (outcome.totals.error.unwrap().value, relative)
    };
    let (global, waterfill) = (losses("global"), losses("waterfill"));
    for name in ["uniform", "erk", "lamp", "alphapruning"] {
        let other = losses(name);
        assert!(other.0 >= global.0 * (1.0 - 1e-3), "{name}: absolute {other:?} {global:?}");
        assert!(other.1 >= waterfill.1 * (1.0 - 2e-3), "{name}: relative {other:?} {waterfill:?}");
    }
}

#[test]
fn out_of_reach_says_what_binds_and_what_can_be_had() {
    let (model, facts) = measured();
    let mut plan = Plan::new(model.layers.len());
    let pinned = model.layers.iter().find(|l| l.name == "lm_head").unwrap().id;
    plan.set(pinned, Entry { pinned: true, ..Entry::default() });
    let ask = Ask { keep: 0.1, of: Unit::Params, means: Means::Prune(Pattern::Unstructured), floor: 0.1 };
    for name in ["uniform", "waterfill", "erk"] {
        let error = allocator(name).unwrap().plan(&model, &facts, &plan, ask).unwrap_err().to_string();
        assert!(error.contains("lm_head pinned") && error.contains("keeps 10%"), "{error}");
        let least: f64 = error.rsplit_once("is ").unwrap().1.trim_end_matches('%').parse().unwrap();
        let enough = Ask { keep: least / 100.0 + 0.002, ..ask };
        assert!(allocator(name).unwrap().plan(&model, &facts, &plan, enough).is_ok(), "{name} {least}");
    }
    let unknown = FactBook::new(model.layers.len());
    let error = allocator("waterfill").unwrap().plan(
        &model,
        &unknown,
        &Plan::new(model.layers.len()),
        Ask { keep: 0.5, ..ask },
    );
    assert!(matches!(error, Err(BudgetError::Unmeasured { .. })));
}

#[test]
fn hills_estimate_is_that_of_the_worked_example() {
    // λ = 2⁷ … 2⁰, k = 4: 1 + 4/(Σ ln(λ/λ₅)) = 1 + 4/(10 ln 2).
    let sigma: Vec<f64> = (0..8).rev().map(|i| 2f64.powf(f64::from(i) / 2.0)).collect();
    assert!((hill(&sigma) - 1.577_078_016_4).abs() < 1e-9);
}
