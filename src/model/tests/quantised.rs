//! Quantised checkpoints, with the names and shapes that the real tools write.

use super::*;

const Q: &str = "model.layers.0.self_attn.q_proj";

/// Tensors of one layer after its name, and a plain layer beside it.
fn with(parts: &[(&str, &[usize], DType)], config: Value) -> Model {
    let mut all: Vec<(String, Vec<usize>, DType)> =
        parts.iter().map(|(n, s, d)| (format!("{Q}{n}"), s.to_vec(), *d)).collect();
    all.push(("model.layers.0.self_attn.o_proj.weight".into(), vec![64, 64], DType::BF16));
    let list: Vec<(&str, &[usize], DType)> = all.iter().map(|(n, s, d)| (n.as_str(), s.as_slice(), *d)).collect();
    model_of(&list, config)
}

/// One layer of these words and this matrix holds all the tensors, and cannot be treated.
fn check(m: &Model, words: &str, matrix: [usize; 2], bits: f64) {
    let layer = named(m, Q);
    assert_eq!((layer.stored_as().as_ref(), layer.matrix), (words, matrix));
    assert!((layer.bits_per_weight() - bits).abs() < 1e-9, "{words}: {} bits", layer.bits_per_weight());
    assert_eq!(layer.params, (matrix[0] * matrix[1]) as u64, "{words}");
    assert!(!layer.eligible() && !layer.measurable(), "{words}");
    assert!(layer.why_not.as_ref().unwrap().contains(words), "{:?}", layer.why_not);
    assert_eq!(layer.parts().len(), m.tensors.len() - 1, "{words}: {:?}", parts(m, Q));
    assert_eq!(layer.role, Role::Query);
    assert_eq!(m.layers.len(), 2, "{words}: no part is a layer: {:?}", order(m));
    assert!(named(m, "model.layers.0.self_attn.o_proj").eligible(), "{words}: a plain layer beside it stays free");
}

#[test]
fn eight_bit_floats_have_their_scales() {
    let fp8 = |suffix, shape: &'static [usize]| {
        with(&[(".weight", &[256, 300], DType::F8E4M3), (suffix, shape, DType::F32)], json!({}))
    };
    let entries = 256.0 * 300.0;
    check(&fp8(".weight_scale_inv", &[2, 3]), "FP8 blocks 128x128", [256, 300], 8.0 + 6.0 * 32.0 / entries);
    check(&fp8(".weight_scale", &[]), "FP8 per tensor", [256, 300], 8.0 + 32.0 / entries);
    check(&fp8(".weight_scale", &[1]), "FP8 per tensor", [256, 300], 8.0 + 32.0 / entries);
    check(&fp8(".weight_scale", &[256, 1]), "FP8 per channel", [256, 300], 8.0 + 256.0 * 32.0 / entries);
    check(&fp8(".scale", &[256]), "FP8 per channel", [256, 300], 8.0 + 256.0 * 32.0 / entries);
    check(&fp8(".scale_weight", &[]), "FP8 per tensor", [256, 300], 8.0 + 32.0 / entries);
    let plain = with(&[(".weight", &[256, 300], DType::F8E4M3)], json!({}));
    assert!(named(&plain, Q).eligible(), "without a scale it is a plain cast");
    let e8m0 = DType::Unknown { bits: 8, name: "F8_E8M0" };
    let m = with(&[(".weight", &[128, 256], DType::F8E4M3), (".weight_scale", &[128, 8], e8m0)], json!({}));
    check(&m, "MXFP8", [128, 256], 8.25);
}

#[test]
fn scales_of_activations_are_no_scales_of_weights() {
    let m = with(
        &[(".weight", &[64, 64], DType::BF16), (".input_scale", &[], DType::F32), (".k_scale", &[], DType::F32)],
        json!({}),
    );
    assert!(named(&m, Q).eligible());
    assert!(aside(&m, &format!("{Q}.input_scale")) && aside(&m, &format!("{Q}.k_scale")));
    let m = with(
        &[(".weight", &[64, 64], DType::F8E4M3), (".weight_scale", &[], DType::F32), (".input_scale", &[], DType::F32)],
        json!({}),
    );
    check(&m, "FP8 per tensor", [64, 64], 8.0 + 64.0 / 4096.0);
    let m = with(&[(".weight", &[64, 64], DType::BF16), (".weight_scale", &[64, 1], DType::BF16)], json!({}));
    assert!(!named(&m, Q).eligible(), "quantised when it is loaded: its scale would be wrong");
}

#[test]
fn four_bit_floats() {
    let nvfp4 = [
        (".weight_packed", &[64, 64][..], DType::U8),
        (".weight_scale", &[64, 8], DType::F8E4M3),
        (".weight_global_scale", &[1], DType::F32),
    ];
    check(&with(&nvfp4, json!({})), "NVFP4", [64, 128], 4.5 + 32.0 / 8192.0);
    let modelopt = [
        (".weight", &[64, 64][..], DType::U8),
        (".weight_scale", &[64, 8], DType::F8E4M3),
        (".weight_scale_2", &[], DType::F32),
        (".input_scale", &[], DType::F32),
    ];
    check(&with(&modelopt, json!({})), "NVFP4", [64, 128], 4.5 + 64.0 / 8192.0);
    let mxfp4 = [(".weight_packed", &[64, 64][..], DType::U8), (".weight_scale", &[64, 4], DType::U8)];
    check(&with(&mxfp4, json!({})), "MXFP4", [64, 128], 4.25);
}

#[test]
fn gptq_and_awq_share_names_and_the_method_decides() {
    let gptq = |bits: usize| {
        with(
            &[
                (".qweight", &[256 * bits / 32, 64], DType::I32),
                (".qzeros", &[2, 64 * bits / 32], DType::I32),
                (".scales", &[2, 64], DType::F16),
                (".g_idx", &[256], DType::I32),
            ],
            json!({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}}),
        )
    };
    let extra = |bits: f64| (2.0 * 64.0 * bits + 2.0 * 64.0 * 16.0 + 256.0 * 32.0) / (256.0 * 64.0);
    check(&gptq(4), "GPTQ int4 g128", [64, 256], 4.0 + extra(4.0));
    check(&gptq(8), "GPTQ int8 g128", [64, 256], 8.0 + extra(8.0));
    check(&gptq(3), "GPTQ int3 g128", [64, 256], 3.0 + extra(3.0));
    let awq =
        [(".qweight", &[256, 8][..], DType::I32), (".qzeros", &[2, 8], DType::I32), (".scales", &[2, 64], DType::F16)];
    let config =
        json!({"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}});
    check(&with(&awq, config), "AWQ int4 g128", [64, 256], 4.0 + (128.0 * 4.0 + 128.0 * 16.0) / 16384.0);
    let gemv =
        [(".qweight", &[64, 32][..], DType::I32), (".qzeros", &[64, 1], DType::I32), (".scales", &[64, 8], DType::F16)];
    let config =
        json!({"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemv"}});
    let extra = (64.0 * 32.0 + 64.0 * 8.0 * 16.0) / 16384.0;
    check(&with(&gemv, config), "AWQ int4 g128", [64, 256], 4.0 + extra);
    check(&with(&awq, Value::Null), "AWQ int4 g128", [64, 256], 4.0 + (128.0 * 4.0 + 128.0 * 16.0) / 16384.0);
}

#[test]
fn compressed_tensors_packs_words() {
    let packed = [
        (".weight_packed", &[64, 16][..], DType::I32),
        (".weight_scale", &[64, 4], DType::BF16),
        (".weight_zero_point", &[8, 4], DType::I32),
        (".weight_g_idx", &[128], DType::I32),
        (".weight_shape", &[2], DType::I64),
    ];
    let config = json!({"quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"group_0":
        {"weights": {"num_bits": 4, "group_size": 32}}}}});
    let extra = (256.0 * 16.0 + 32.0 * 32.0 + 128.0 * 32.0 + 128.0) / 8192.0;
    check(&with(&packed, config), "packed int4 g32", [64, 128], 4.0 + extra);
    let int8 = [(".weight", &[64, 64][..], DType::I8), (".weight_scale", &[64, 1], DType::BF16)];
    check(&with(&int8, json!({})), "int8 per channel", [64, 64], 8.0 + 64.0 * 16.0 / 4096.0);
}

#[test]
fn bitsandbytes_and_mlx() {
    let int8 = [(".weight", &[64, 64][..], DType::I8), (".SCB", &[64], DType::F32), (".weight_format", &[], DType::U8)];
    check(&with(&int8, json!({})), "bitsandbytes int8", [64, 64], 8.0 + (64.0 * 32.0 + 8.0) / 4096.0);
    let nf4 = [
        (".weight", &[2048, 1][..], DType::U8),
        (".weight.absmax", &[64], DType::U8),
        (".weight.quant_map", &[16], DType::F32),
        (".weight.nested_absmax", &[1], DType::F32),
        (".weight.nested_quant_map", &[256], DType::F32),
        (".weight.quant_state.bitsandbytes__nf4", &[90], DType::U8),
    ];
    let m = with(&nf4, json!({}));
    let layer = named(&m, Q);
    assert_eq!((layer.stored_as().as_ref(), layer.params, layer.parts().len()), ("NF4", 4096, 6));
    assert!(!layer.eligible() && m.layers.len() == 2);
    let mlx = [
        (".weight", &[64, 16][..], DType::U32),
        (".scales", &[64, 2], DType::BF16),
        (".biases", &[64, 2], DType::BF16),
    ];
    let config = json!({"quantization": {"group_size": 64, "bits": 4}});
    check(&with(&mlx, config), "MLX int4 g64", [64, 128], 4.5);
    let own = json!({"quantization": {"group_size": 64, "bits": 4, Q: {"group_size": 32, "bits": 8}}});
    check(&with(&mlx, own), "MLX int8 g32", [64, 64], 9.0);
    assert!(why(&with(&mlx, Value::Null), Q).contains("unknown bits"));
}

#[test]
fn other_schemes_are_named_or_said_to_be_unknown() {
    let named_as = |parts: &[(&str, &[usize], DType)], config: Value, word: &str| {
        let m = with(parts, config);
        assert!(why(&m, Q).contains(word), "{word}: {}", why(&m, Q));
        assert_eq!((named(&m, Q).parts().len(), m.layers.len()), (parts.len(), 2), "{word}: {:?}", order(&m));
    };
    let quanto = [
        (".weight._data", &[64, 64][..], DType::I8),
        (".weight._scale", &[64, 1], DType::F16),
        (".input_scale", &[], DType::F32),
    ];
    named_as(&quanto, Value::Null, "Quanto int8");
    let torchao = [("._weight_qdata", &[64, 64][..], DType::F8E4M3), ("._weight_scale", &[64, 1], DType::F32)];
    named_as(&torchao, Value::Null, "torchao FP8");
    let exl2 =
        [(".q_weight", &[20, 64][..], DType::I32), (".q_scale", &[2, 8], DType::I32), (".q_groups", &[4], DType::I16)];
    let found = with(&exl2, Value::Null);
    assert!(why(&found, Q).contains("EXL2"), "{}", why(&found, Q));
    let hqq = [(".W_q", &[32, 64][..], DType::U8), (".scale", &[64, 2], DType::F16), (".zero", &[64, 2], DType::F16)];
    named_as(&hqq, Value::Null, "HQQ");
    let novel = [(".payload", &[64, 64][..], DType::U8), (".levels", &[64, 16], DType::F16)];
    named_as(
        &novel,
        json!({"quantization_config": {"quant_method": "novel"}}),
        "novel codes of a layout that is not known",
    );
}

#[test]
fn experts_of_gpt_oss_are_one_layer_with_scales_and_biases() {
    let e = "model.layers.0.mlp.experts";
    let names =
        [format!("{e}.gate_up_proj_blocks"), format!("{e}.gate_up_proj_scales"), format!("{e}.gate_up_proj_bias")];
    let m = model_of(
        &[
            (&names[0], &[4, 192, 3, 16], DType::U8),
            (&names[1], &[4, 192, 3], DType::U8),
            (&names[2], &[4, 192], DType::BF16),
            ("model.layers.0.mlp.router.weight", &[4, 96], DType::BF16),
            ("model.layers.0.mlp.router.bias", &[4], DType::BF16),
            ("model.layers.0.self_attn.sinks", &[8], DType::BF16),
        ],
        json!({"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 1}),
    );
    let layer = named(&m, &format!("{e}.gate_up_proj"));
    assert_eq!((layer.role, layer.matrix, layer.params), (Role::GateUp, [192, 96], 4 * 192 * 96));
    assert!(layer.stored_as().starts_with("MXFP4") && !layer.eligible());
    assert_eq!(layer.extra_params, 4 * 192, "the bias is counted with it");
    assert_eq!(layer.macs, Some(192 * 96), "one of four experts runs");
    assert_eq!(m.layers.len(), 3, "{:?}", order(&m));
    let fp8 = [
        ("experts.gate_up_proj", &[4, 64, 192][..], DType::F8E4M3),
        ("experts.gate_up_proj_scale", &[4, 1, 192], DType::F32),
        ("experts.gate_up_proj_input_scale", &[4], DType::F32),
    ];
    let m = model_of(&fp8, Value::Null);
    assert_eq!((m.layers.len(), named(&m, "experts.gate_up_proj").parts().len()), (1, 3));
}

#[test]
fn small_tensors_tell_shapes_where_they_can_be_read() {
    struct Bytes(Vec<u8>);
    impl Peek for Bytes {
        fn bytes(&self, tensor: &Tensor) -> Option<&[u8]> {
            self.0.get(tensor.range.clone())
        }
    }
    let mut m = with(
        &[
            (".weight_packed", &[64, 13], DType::I32),
            (".weight_scale", &[64, 1], DType::BF16),
            (".weight_shape", &[2], DType::I64),
        ],
        json!({"quantization_config": {"config_groups": {"g": {"weights": {"num_bits": 3}}}}}),
    );
    let mut bytes = vec![0u8; m.tensors.iter().map(|t| t.range.end).max().unwrap()];
    let at = m.tensors[2].range.start;
    bytes[at] = 64;
    bytes[at + 8] = 130;
    m = m.from_header_and(&Bytes(bytes));
    check(&m, "packed int3 per channel", [64, 130], (13.0 * 32.0 + 16.0 + 2.0) * 64.0 / (64.0 * 130.0));
}
