//! Wrappers around names, labels, and rows of blocks.

use super::*;

#[test]
fn wrapped_names_give_the_same_layers() {
    let plain =
        ["model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.down_proj.weight"];
    let read = |name: &dyn Fn(&str) -> String| {
        let names: Vec<String> = plain.iter().map(|n| name(n)).collect();
        let list: Vec<(&str, &[usize], DType)> =
            names.iter().map(|n| (n.as_str(), &[64, 64][..], DType::F32)).collect();
        let m = model_of(&list, json!({"model_type": "llama"}));
        (m.layers.iter().map(|l| (l.name.clone(), l.role, l.block)).collect::<Vec<_>>(), m)
    };
    let (want, _) = read(&|n| n.to_owned());
    for (what, wrap) in [
        ("compiled", &(|n: &str| format!("_orig_mod.{n}")) as &dyn Fn(&str) -> String),
        ("data parallel", &|n| format!("module.{n}")),
        ("both", &|n| format!("module._orig_mod.{n}")),
        ("inside", &|n| n.replace("model.", "model._orig_mod.")),
        ("by block", &|n| n.replace(".0.", ".0._orig_mod.").replace(".1.", ".1._fsdp_wrapped_module.")),
    ] {
        let (found, m) = read(wrap);
        assert_eq!(found, want, "{what}");
        let layer = &m.layers[1];
        assert_eq!(
            format!("{}.weight", layer.stored()),
            m.tensors[layer.tensor].name,
            "{what}: written as it is stored"
        );
        assert_eq!(m.canonical(layer.tensor), "model.layers.0.self_attn.q_proj.weight", "{what}");
    }
}

#[test]
fn labels_tell_layers_of_a_block_apart() {
    let names = [
        "encoder.layer.0.attention.output.dense.weight",
        "encoder.layer.0.output.dense.weight",
        "encoder.layer.0.intermediate.dense.weight",
        "encoder.layer.0.attention.self.query.weight",
    ];
    let list: Vec<(&str, &[usize], DType)> = names.iter().map(|n| (*n, &[64, 64][..], DType::F32)).collect();
    let m = model_of(&list, Value::Null);
    let labels: std::collections::BTreeSet<&str> = m.layers.iter().map(|l| l.label.as_str()).collect();
    assert_eq!(labels, ["attention.output.dense", "intermediate.dense", "output.dense", "query"].into());
}

#[test]
fn labels_of_very_many_layers_take_linear_time() {
    let tensor = model_of(&[("a.weight", &[4, 4], DType::F32)], Value::Null).tensors.remove(0);
    let mut layers: Vec<Layer> =
        (0..60_000).map(|e| Layer::of_tensor(&format!("mlp.experts.{e}.up_proj"), 0, &tensor)).collect();
    let start = std::time::Instant::now();
    labels::unique(&mut layers);
    assert_eq!(layers[7].label, "7.up_proj");
    // A comparison of every pair takes minutes.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn rows_of_blocks_have_their_own_numbers() {
    let m = model_of(
        &[
            ("medusa_head.0.0.linear.weight", &[64, 64], DType::F32),
            ("medusa_head.1.0.linear.weight", &[64, 64], DType::F32),
            ("model.layers.0.mlp.up_proj.weight", &[64, 64], DType::F32),
            ("model.layers.1.mlp.up_proj.weight", &[64, 64], DType::F32),
            ("audio_tower.layers.0.fc1.weight", &[64, 64], DType::F32),
        ],
        Value::Null,
    );
    let block = |name: &str| named(&m, name).block;
    assert_eq!((block("model.layers.0.mlp.up_proj"), block("model.layers.1.mlp.up_proj")), (Some(0), Some(1)));
    let tower = block("audio_tower.layers.0.fc1").unwrap();
    assert!(tower > 1);
    assert_eq!(m.block_words(tower), "audio_tower 0");
    assert_eq!(m.block_words(0), "model 0");
    let single = model_of(&[("h.3.mlp.c_fc.weight", &[64, 64], DType::F32)], Value::Null);
    assert_eq!((single.layers[0].block, single.block_words(3).as_str()), (Some(3), "block 3"));
}
