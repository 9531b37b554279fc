//! What a checkpoint of a training run holds besides the model.

use super::*;

fn set(prefix: &str) -> Vec<(String, Vec<usize>)> {
    let names = ["layers.0.fc1.weight", "layers.0.fc1.bias", "layers.0.fc2.weight", "head.weight"];
    let shapes = [vec![32, 16], vec![32], vec![16, 32], vec![10, 16]];
    names.iter().zip(shapes).map(|(n, s)| (format!("{prefix}{n}"), s)).collect()
}

fn read(sets: &[&[(String, Vec<usize>)]]) -> Model {
    let all = sets.concat();
    let list: Vec<(&str, &[usize], DType)> = all.iter().map(|(n, s)| (n.as_str(), s.as_slice(), DType::F32)).collect();
    model_of(&list, Value::Null)
}

#[test]
fn one_set_is_the_model_and_the_others_are_set_aside() {
    let alone = read(&[&set("")]).params();
    for prefix in [
        "ema.",
        "model_ema.",
        "ema_model.module.",
        "grad.",
        "opt.m.",
        "opt.v.",
        "momentum.",
        "exp_avg.",
        "shadow_params.",
    ] {
        let m = read(&[&set(""), &set(prefix)]);
        assert_eq!((m.params(), m.layers.len()), (alone, 3), "{prefix}: {:?}", order(&m));
        assert!(m.not_weights.iter().all(|(_, why)| !why.is_empty()) && m.not_weights.len() == 4, "{prefix}");
    }
    let m = read(&[&set("model."), &set("ema.")]);
    assert_eq!(m.params(), alone, "{:?}", order(&m));
    let dotless: Vec<(String, Vec<usize>)> =
        set("").into_iter().map(|(n, s)| (format!("model_ema.{}", n.replace('.', "")), s)).collect();
    assert_eq!(read(&[&set("model."), &dotless]).params(), alone);
    let numbered: Vec<(String, Vec<usize>)> =
        set("").into_iter().enumerate().map(|(i, (_, s))| (format!("optimizer.state.{i}.momentum"), s)).collect();
    assert_eq!(read(&[&set(""), &numbered]).params(), alone);
    assert_eq!(read(&[&set(""), &set("copy.")]).params(), alone, "name by name the same");
}

#[test]
fn a_model_that_is_only_an_average_is_a_model() {
    let m = read(&[&set("ema_model.")]);
    assert_eq!(m.layers.len(), 3);
    assert!(m.layers.iter().filter(|l| l.shape.len() == 2).all(Layer::eligible));
    let towers = read(&[&set("query_encoder."), &set("document_encoder.")]);
    assert_eq!(towers.layers.len(), 6, "two towers are no copies of each other");
}

#[test]
fn states_of_random_generators_are_no_weights() {
    let m = model_of(
        &[
            ("fc.weight", &[8, 8], DType::F32),
            ("rng_state", &[5056], DType::U8),
            ("cuda_rng_state", &[16], DType::U8),
            ("rng_states.torch", &[5056], DType::F32),
        ],
        Value::Null,
    );
    assert_eq!((m.params(), m.not_weights.len()), (64, 3), "{:?}", order(&m));
}
