//! Tensors of no known architecture.

use super::*;

#[test]
fn recurrent_unknown_integer_and_optimiser_tensors() {
    let tensors = [
        ("rnn.weight_ih_l0", &[256, 32][..], DType::F32),
        ("rnn.weight_hh_l0", &[256, 64], DType::F32),
        ("rnn.bias_ih_l0", &[256], DType::F32),
        ("frobnicate.kernel_matrix", &[48, 32], DType::F32),
        ("scalar", &[], DType::F32),
        ("empty.weight", &[0, 5], DType::F32),
        ("flags", &[4], DType::Bool),
        ("quant.weight", &[16, 16], DType::I8),
        ("quant.weight_scale", &[16], DType::F32),
        ("quant.zero_point", &[1], DType::I32),
        ("exp_avg.fc.weight", &[48, 32], DType::F32),
    ];
    let m = model_of(&tensors, Value::Null);
    let lstm = named(&m, "rnn.weight_ih_l0");
    assert_eq!((lstm.role, lstm.kind, lstm.matrix), (Role::Recurrent, Kind::Recurrent, [256, 32]));
    assert!(lstm.eligible());
    let unknown = named(&m, "frobnicate.kernel_matrix");
    assert!(unknown.eligible() && unknown.measurable(), "{unknown:?}");
    assert!(!named(&m, "empty").measurable());
    assert!(named(&m, "quant").why_not.as_ref().is_some_and(|w| w.contains("I8")), "{:?}", named(&m, "quant").why_not);
    assert!(m.layers.iter().filter(|l| !l.eligible()).all(|l| l.why_not.as_ref().is_some_and(|w| !w.is_empty())));
    let moments: Vec<&Layer> = m.layers.iter().filter(|l| l.name.contains("exp_avg")).collect();
    assert!(moments.iter().all(|l| !l.eligible()), "an optimiser's moments are no weights");
}

#[test]
fn ids_are_positions_whatever_the_names() {
    let m = model_of(
        &[("b.weight", &[4, 4], DType::F32), ("a.weight", &[4, 4], DType::F32), ("", &[2, 2], DType::F32)],
        Value::Null,
    );
    for (i, layer) in m.layers.iter().enumerate() {
        assert_eq!(layer.id, LayerId(i));
    }
    assert_eq!(m.layers.len(), 3);
    assert!(model_of(&[], Value::Null).layers.is_empty());
}
