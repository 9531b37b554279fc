//! Layers of several tensors that are not quantised: experts, factor pairs, reparametrised weights.

use super::*;

#[test]
fn stacked_experts_are_one_layer_without_figures() {
    let stacked = |kind: &str| {
        model_of(
            &[
                ("model.layers.0.mlp.experts.gate_up_proj", &[4, 64, 192], DType::BF16),
                ("model.layers.0.mlp.experts.down_proj", &[4, 96, 64], DType::BF16),
                ("model.layers.0.mlp.experts.down_proj_bias", &[4, 64], DType::BF16),
                ("model.layers.0.mlp.gate.weight", &[4, 64], DType::BF16),
            ],
            json!({"model_type": kind, "num_experts": 4, "num_experts_per_tok": 1}),
        )
    };
    let m = stacked("llama4");
    let up = named(&m, "model.layers.0.mlp.experts.gate_up_proj");
    assert_eq!((up.matrix, up.role, up.params), ([192, 64], Role::GateUp, 4 * 64 * 192));
    assert!(!up.eligible() && !up.measurable() && why(&m, &up.name).contains("4 experts"));
    assert_eq!(up.macs, Some(64 * 192), "one of four is chosen");
    assert_eq!(named(&m, "model.layers.0.mlp.experts.down_proj").extra_params, 4 * 64);
    let router = named(&m, "model.layers.0.mlp.gate");
    assert!(router.role == Role::Router && router.eligible() && router.by_name_only());
    assert!(m.notes.iter().any(|n| n.contains("1 of 4 experts")), "{:?}", m.notes);
    let granite = model_of(
        &[
            ("model.layers.0.block_sparse_moe.input_linear.weight", &[4, 192, 64], DType::BF16),
            ("model.layers.0.block_sparse_moe.output_linear.weight", &[4, 64, 96], DType::BF16),
            ("model.layers.0.block_sparse_moe.router.layer.weight", &[4, 64], DType::BF16),
        ],
        json!({"model_type": "granitemoe", "num_local_experts": 4, "num_experts_per_tok": 2}),
    );
    let up = named(&granite, "model.layers.0.block_sparse_moe.input_linear");
    assert_eq!((up.matrix, up.role, up.macs), ([192, 64], Role::GateUp, Some(2 * 192 * 64)));
    assert_eq!(named(&granite, "model.layers.0.block_sparse_moe.output_linear").role, Role::Down);
    assert_eq!(named(&granite, "model.layers.0.block_sparse_moe.router.layer").role, Role::Router);
}

#[test]
fn experts_one_by_one_count_with_their_share() {
    let name = |e: usize| format!("model.layers.0.mlp.experts.{e}.up_proj.weight");
    let names: Vec<String> = (0..8).map(name).collect();
    let mut list: Vec<(&str, &[usize], DType)> = names.iter().map(|n| (n.as_str(), &[16, 8][..], DType::F32)).collect();
    list.push(("model.layers.0.mlp.shared_expert.up_proj.weight", &[16, 8], DType::F32));
    let m = model_of(&list, json!({"model_type": "qwen2_moe", "num_experts": 8, "num_experts_per_tok": 2}));
    assert_eq!(m.macs(), 2 * 128 + 128, "two of eight, and the shared one");
    let m = model_of(&list, json!({"model_type": "qwen2_moe"}));
    assert_eq!(m.macs(), 9 * 128, "no config says how many");
}

#[test]
fn a_factor_pair_is_one_layer() {
    let q = "base_model.model.model.layers.0.self_attn.q_proj";
    let pair = |a: &str, b: &str, shapes: [[usize; 2]; 2]| {
        let (a, b) = (format!("{q}{a}"), format!("{q}{b}"));
        model_of(&[(&a, &shapes[0], DType::F32), (&b, &shapes[1], DType::F32)], Value::Null)
    };
    let name = "model.layers.0.self_attn.q_proj";
    for (a, b, shapes) in [
        (".lora_A.weight", ".lora_B.weight", [[4, 64], [32, 4]]),
        (".lora_A.default.weight", ".lora_B.default.weight", [[4, 64], [32, 4]]),
        (".lora_down.weight", ".lora_up.weight", [[4, 64], [32, 4]]),
        (".lora.down.weight", ".lora.up.weight", [[4, 64], [32, 4]]),
        (".lora_a", ".lora_b", [[64, 4], [4, 32]]),
        (".mod_a.weight", ".mod_b.weight", [[4, 64], [32, 4]]),
    ] {
        let m = pair(a, b, shapes);
        assert_eq!(m.layers.len(), 1, "{a}: {:?}", order(&m));
        let layer = named(&m, name);
        assert_eq!((layer.matrix, layer.params, layer.parts().len()), ([32, 64], 4 * 96, 2), "{a}");
        assert!(
            !layer.eligible() && !layer.measurable() && why(&m, name).contains("rank 4") || a.contains("mod"),
            "{a}"
        );
        assert_eq!(layer.role, Role::Query, "{a}: the role of the layer that it is a weight of");
        assert_eq!(layer.kind == Kind::Adapter, !a.contains("mod"), "{a}");
    }
    let kohya = model_of(
        &[
            ("lora_unet_down_blocks_0_attn.alpha", &[], DType::F32),
            ("lora_unet_down_blocks_0_attn.lora_down.weight", &[4, 64, 3, 3], DType::F32),
            ("lora_unet_down_blocks_0_attn.lora_up.weight", &[32, 4, 1, 1], DType::F32),
        ],
        Value::Null,
    );
    assert_eq!((kohya.layers.len(), kohya.layers[0].parts().len(), kohya.layers[0].matrix), (1, 3, [32, 64 * 9]));
}

#[test]
fn what_runs_of_a_wrapped_layer_is_the_base_and_the_pair() {
    let q = "model.layers.0.self_attn.q_proj";
    let names =
        [format!("{q}.base_layer.weight"), format!("{q}.lora_A.default.weight"), format!("{q}.lora_B.default.weight")];
    let m = model_of(
        &[
            (&names[0], &[32, 64], DType::F32),
            (&names[1], &[4, 64], DType::F32),
            (&names[2], &[32, 4], DType::F32),
            ("model.layers.0.self_attn.o_proj.base_layer.weight", &[64, 64], DType::F32),
            ("score.modules_to_save.default.weight", &[2, 64], DType::F32),
            ("score.original_module.weight", &[2, 64], DType::F32),
        ],
        Value::Null,
    );
    let layer = named(&m, q);
    assert_eq!((layer.role, layer.matrix, layer.parts().len()), (Role::Query, [32, 64], 3));
    assert!(!layer.eligible() && why(&m, q).contains("base weight"), "{}", why(&m, q));
    assert!(named(&m, "model.layers.0.self_attn.o_proj").eligible());
    assert_eq!(named(&m, "score").role, Role::Head);
    assert!(aside(&m, "score.original_module.weight"), "replaced by what was trained: {:?}", order(&m));
}

#[test]
fn reparametrised_weights_are_one_layer_each() {
    let one = |tensors: &[(&str, &[usize], DType)], name: &str, word: &str| {
        let m = model_of(tensors, Value::Null);
        assert_eq!(m.layers.len(), 1, "{word}: {:?}", order(&m));
        assert!(!named(&m, name).eligible() && !named(&m, name).measurable(), "{word}");
        assert!(why(&m, name).contains(word), "{}", why(&m, name));
        assert_eq!(named(&m, name).parts().len(), tensors.len(), "{word}");
    };
    let f = DType::F32;
    one(&[("fc.weight_g", &[16, 1], f), ("fc.weight_v", &[16, 32], f)], "fc", "weight norm");
    one(
        &[
            ("fc.parametrizations.weight.original0", &[16, 1], f),
            ("fc.parametrizations.weight.original1", &[16, 32], f),
        ],
        "fc",
        "weight norm",
    );
    one(
        &[("fc.weight_orig", &[16, 32], f), ("fc.weight_u", &[16], f), ("fc.weight_v", &[32], f)],
        "fc",
        "spectral norm",
    );
    one(
        &[
            ("fc.parametrizations.weight.0._u", &[16], f),
            ("fc.parametrizations.weight.0._v", &[32], f),
            ("fc.parametrizations.weight.original", &[16, 32], f),
        ],
        "fc",
        "spectral norm",
    );
    one(&[("fc.weight_orig", &[16, 32], f), ("fc.weight_mask", &[16, 32], f)], "fc", "pruning mask");
    one(
        &[("lstm.weight_hh_l0_g", &[64, 1], f), ("lstm.weight_hh_l0_v", &[64, 16], f)],
        "lstm.weight_hh_l0",
        "weight norm",
    );
}
