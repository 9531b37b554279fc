use super::*;
use crate::model::{DType, Kind, LayerId, Role, Tensor};
use crate::plan::{Entry, Prune, project};
use crate::probe::book::FactBook;
use crate::treat::{Granularity, Pattern, Quantise};

fn layer(name: &str, role: Role, shape: &[usize]) -> Layer {
    let block = crate::model::naming::block_of(name).and_then(|(key, _)| crate::model::naming::block_number(key));
    Layer { name: name.to_owned(), role, block, dtype: DType::F32, ..Layer::alone(Kind::Linear, shape) }
}

/// Rules that speak, with severities, for layers with these treatments.
fn told(of: &[(Role, [usize; 2], Entry)], target: Target) -> Vec<Finding> {
    told_named(of, target, |i| format!("model.layers.0.l{i}"))
}

fn told_named(of: &[(Role, [usize; 2], Entry)], target: Target, name: impl Fn(usize) -> String) -> Vec<Finding> {
    let mut model = Model::default();
    let mut plan = Plan::new(of.len());
    for (i, (role, shape, entry)) in of.iter().enumerate() {
        let mut made = layer(&name(i), *role, shape);
        made.id = LayerId(i);
        let (name, range) = (made.name.clone(), 0..made.bytes as usize);
        model.tensors.push(Tensor { name, dtype: made.dtype, shape: made.shape.clone(), file: 0, range });
        model.layers.push(made);
        plan.set(LayerId(i), *entry);
    }
    let outcome = project(&model, &FactBook::new(of.len()), &vec![None; of.len()], &plan);
    findings(&model, &plan, &outcome, target)
}

fn one(role: Role, shape: [usize; 2], treatment: Treatment, target: Target) -> Vec<(&'static str, Severity)> {
    let entry = Entry { treatment, pinned: false };
    told(&[(role, shape, entry)], target).iter().map(|f| (f.rule, f.severity)).collect()
}

fn cut(remove: f64, pattern: Pattern) -> Treatment {
    Treatment::prune(Prune::of(remove, pattern))
}

#[test]
fn each_rule_speaks_where_it_should_and_only_there() {
    use Severity::{Note, Problem, Warning};
    let square = [128, 128];
    let four = Pattern::Groups(4);
    assert_eq!(one(Role::Dense, square, cut(0.5, four), Target::Vllm), [("two-of-four", Problem)]);
    assert_eq!(one(Role::Dense, square, cut(0.5, four), Target::Any), [("two-of-four", Note)]);
    assert_eq!(one(Role::Dense, [128, 96], cut(0.5, four), Target::Torch)[0], ("two-of-four", Warning));
    assert_eq!(one(Role::Dense, square, cut(0.75, four), Target::Vllm), [("groups", Warning)]);
    assert_eq!(
        one(Role::Dense, [128, 130], cut(0.75, four), Target::Any),
        [("groups", Warning), ("group-tail", Warning)]
    );
    assert_eq!(one(Role::Dense, square, cut(0.5, Pattern::Unstructured), Target::Vllm), [("zeros", Warning)]);
    assert_eq!(one(Role::Dense, square, cut(1.0, Pattern::Unstructured), Target::Any), [("nothing-left", Note)]);
    assert_eq!(one(Role::Dense, square, cut(0.5, Pattern::Blocks(16, 16)), Target::Vllm), [("blocks", Warning)]);
    assert_eq!(one(Role::Down, square, cut(0.5, Pattern::Rows), Target::Any), [("coupled-rows", Warning)]);
    assert_eq!(one(Role::Down, square, cut(0.5, Pattern::Columns), Target::Any), [("coupled-rows", Note)]);
    assert_eq!(
        one(Role::Down, square, cut(0.1, Pattern::Columns), Target::Any),
        [("coupled-rows", Note), ("channel-multiple", Note)]
    );
    assert_eq!(one(Role::Dense, [512, 512], Treatment::rank(64), Target::Any), [("factored", Warning)]);
    assert_eq!(one(Role::Dense, [512, 512], Treatment::rank(64), Target::LlamaCpp), [("factored", Problem)]);
    assert_eq!(
        one(Role::Dense, [512, 512], Treatment::rank(60), Target::Any),
        [("factored", Warning), ("rank-multiple", Warning)]
    );
    for rank in [40, 48] {
        assert_eq!(one(Role::Dense, [512, 512], Treatment::rank(rank), Target::Any)[1], ("rank-multiple", Note));
    }
    assert_eq!(
        one(Role::Dense, square, Treatment::rank(64), Target::Any),
        [("factored", Warning), ("break-even", Warning)],
        "at break-even nothing is saved"
    );
    let int4 = Treatment { quantise: Some(Quantise { bits: 4, per: Granularity::Row }), ..Treatment::default() };
    assert_eq!(one(Role::Dense, square, int4, Target::Any), [("rounding", Note)]);
    assert_eq!(one(Role::Dense, [128, 40], int4, Target::LlamaCpp), [("rounding", Warning), ("rounding", Note)]);
    assert_eq!(one(Role::Dense, square, Treatment::default(), Target::Vllm), []);
}

#[test]
fn gates_that_differ_from_their_ups_and_pins_that_hold_much() {
    let rows = |remove| Entry { treatment: cut(remove, Pattern::Rows), pinned: false };
    let pin = Entry { treatment: Treatment::default(), pinned: true };
    let uneven = told(&[(Role::Gate, [64, 64], rows(0.5)), (Role::Up, [64, 64], rows(0.25))], Target::Any);
    assert!(uneven.iter().any(|f| f.rule == "uneven-gate" && f.layers == ["model.layers.0.l0"]), "{uneven:?}");
    let even = told(&[(Role::Gate, [64, 64], rows(0.5)), (Role::Up, [64, 64], rows(0.5))], Target::Any);
    assert!(even.iter().all(|f| f.rule != "uneven-gate"));
    // Experts of one block: each gate has its own up.
    let pairs = [0.5, 0.25].into_iter().flat_map(|r| [Role::Gate, Role::Up].map(|role| (role, [64, 64], rows(r))));
    let pairs: Vec<_> = pairs.collect();
    let expert = |i: usize| format!("model.layers.0.mlp.experts.{}.l{i}", i / 2);
    assert!(told_named(&pairs, Target::Any, expert).iter().all(|f| f.rule != "uneven-gate"));
    let shifted = told_named(&[pairs[0], pairs[3], pairs[2], pairs[1]], Target::Any, expert);
    let uneven = shifted.iter().find(|f| f.rule == "uneven-gate").unwrap();
    assert_eq!(uneven.layers, ["model.layers.0.mlp.experts.0.l0", "model.layers.0.mlp.experts.1.l2"]);
    let held = told(&[(Role::Gate, [64, 64], rows(0.5)), (Role::Up, [64, 64], pin)], Target::Any);
    let pinned = held.iter().find(|f| f.rule == "pinned").unwrap();
    assert!(pinned.text.contains("50 %"), "{pinned:?}");
    assert!(told(&[(Role::Gate, [64, 64], pin)], Target::Any).is_empty(), "a plan that does nothing");
}

#[test]
fn a_line_names_layers_text_and_remedy_and_problems_come_first() {
    let entry = |treatment| Entry { treatment, pinned: false };
    let found = told(
        &[
            (Role::Dense, [128, 128], entry(cut(0.5, Pattern::Unstructured))),
            (Role::Dense, [128, 128], entry(cut(0.5, Pattern::Groups(4)))),
        ],
        Target::Vllm,
    );
    let lines: Vec<String> = found.iter().map(Finding::line).collect();
    assert!(lines[0].starts_with("problem: model.layers.0.l1: vLLM no longer serves 2:4"), "{lines:?}");
    assert!(lines[1].starts_with("warning: model.layers.0.l0: vLLM stores single zeros"), "{lines:?}");
    assert!(lines.iter().all(|l| l.contains("; ")));
}

#[test]
fn targets_have_names() {
    for (target, name) in TARGETS {
        assert_eq!((Target::parse(name), target.name()), (Some(*target), *name));
    }
    assert_eq!(Target::parse("onnx"), None);
}
