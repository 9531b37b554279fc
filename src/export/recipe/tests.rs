use super::*;
use crate::model::{DType, LayerId, Role, Tensor};
use crate::plan::{Entry, Pattern, Prune};

/// A recipe with all that it borrows.
pub struct At {
    pub model: Model,
    pub plan: Plan,
    made: Made,
    facts: FactBook,
}

impl At {
    pub fn recipe(&self) -> Recipe<'_> {
        Recipe { model: &self.model, plan: &self.plan, made: &self.made, facts: &self.facts, path: None }
    }
}

/// A layer of this name and shape, with block and role read from the name.
pub fn layer(name: &str, shape: &[usize]) -> Layer {
    let kind = if shape.len() == 4 { Kind::Conv2d } else { Kind::Linear };
    let block = crate::model::naming::block_of(name).and_then(|(key, _)| crate::model::naming::block_number(key));
    let role = match name.rsplit('.').next().unwrap() {
        "q_proj" => Role::Query,
        "up_proj" => Role::Up,
        "down_proj" => Role::Down,
        "lm_head" => Role::Head,
        _ => Role::Dense,
    };
    Layer { name: name.to_owned(), block, role, dtype: DType::F32, ..Layer::alone(kind, shape) }
}

/// Two layers of a block.
pub fn block(number: usize) -> Vec<Layer> {
    vec![
        layer(&format!("model.layers.{number}.self_attn.q_proj"), &[8, 8]),
        layer(&format!("model.layers.{number}.mlp.down_proj"), &[8, 8]),
    ]
}

/// A plan that treats the i-th of these layers so.
pub fn recipe_of(mut layers: Vec<Layer>, treatment: impl Fn(usize) -> Treatment) -> At {
    let mut plan = Plan::new(layers.len());
    for (i, layer) in layers.iter_mut().enumerate() {
        layer.id = LayerId(i);
        plan.set(layer.id, Entry { treatment: treatment(i), pinned: false });
    }
    let model = Model { name: "made".to_owned(), layers, ..Model::default() };
    At { model, plan, made: Made::default(), facts: FactBook::new(64) }
}

#[test]
fn floats_keep_their_point_and_names_their_quotes() {
    assert_eq!((float(1.0), float(0.5), float(0.0)), ("1.0".to_owned(), "0.5".to_owned(), "0.0".to_owned()));
    assert_eq!(share(0.1 + 0.2), 0.3);
    assert_eq!(quoted("it's"), "'it''s'");
    // Read back by PyYAML 6.0 as the texts themselves.
    assert_eq!(quoted("a\nb\u{1b}[0m\"\\"), r#""a\x0ab\x1b[0m\"\\""#);
    assert_eq!(quoted("\u{85}\u{202e}é"), r#""\x85\u202eé""#);
}

#[test]
fn parameters_that_are_no_modules_weight_are_left_out_by_name() {
    let names = ["attn.in_proj_weight", "rnn.weight_ih_l0", "text_projection", "fc.weight"];
    let layers: Vec<Layer> = names.iter().map(|n| layer(n.trim_end_matches(".weight"), &[8, 8])).collect();
    for (format, treatment) in [
        ("llm-compressor", Treatment::prune(Prune::unstructured(0.5))),
        ("torch-pruning", Treatment::prune(Prune::of(0.5, Pattern::Rows))),
        ("peft", Treatment::rank(2)),
        ("lems", Treatment::rank(2)),
        ("aimet", Treatment::rank(2)),
    ] {
        let mut at = recipe_of(layers.clone(), |_| treatment);
        for (i, name) in names.iter().enumerate() {
            let shape = vec![8, 8];
            at.model.tensors.push(Tensor {
                name: (*name).to_owned(),
                dtype: DType::F32,
                shape,
                file: 0,
                range: 0..256,
            });
            at.model.layers[i].tensor = i;
        }
        let out = exporter(format).unwrap().write(&at.recipe()).unwrap();
        let text = String::from_utf8(out.bytes).unwrap();
        assert!(text.contains("fc"), "{format}: {text}");
        for name in ["in_proj_weight", "weight_ih_l0", "text_projection"] {
            assert!(!text.contains(name), "{format}: {text}");
            assert!(out.notes.iter().any(|n| n.contains(name) && n.contains("left out")), "{format}: {:?}", out.notes);
        }
    }
}

#[test]
fn names_of_many_layers_fit_a_line() {
    let of = |n: usize| names(&(0..n).map(|i| format!("l{i}")).collect::<Vec<_>>());
    assert_eq!(
        (of(1), of(4), of(5)),
        ("l0".to_owned(), "l0, l1, l2, l3".to_owned(), "l0, l1, l2 and 2 more".to_owned())
    );
}

#[test]
fn every_format_has_its_own_name_and_refuses_a_plan_without_anything() {
    for (i, format) in EXPORTERS.iter().enumerate() {
        assert!(EXPORTERS[..i].iter().all(|e| e.name != format.name));
        assert!(exporter(format.name).is_some_and(|e| e.words == format.words));
        let dense = recipe_of((0..2).flat_map(block).collect(), |_| Treatment::default());
        let told = format.write(&dense.recipe());
        match format.name {
            "json" | "csv" => assert!(told.is_ok()),
            name => {
                let error = told.unwrap_err().to_string();
                assert!(error.starts_with(name), "{error}");
            }
        }
    }
}
