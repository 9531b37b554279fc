//! Tensors that multiply nothing.

use super::*;

#[test]
fn tensors_that_multiply_nothing_are_not_eligible_and_say_why() {
    let f = DType::F32;
    let m = model_of(
        &[
            ("blocks.0.mixer.A_log", &[64, 16], f),
            ("blocks.0.mixer.D", &[64], f),
            ("blocks.0.mixer.in_proj.weight", &[128, 32], f),
            ("blocks.0.attn.rel_pos_h", &[13, 64], f),
            ("blocks.0.attn.qkv.weight", &[192, 64], f),
            ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", &[32, 8], f),
            ("query_tokens", &[1, 32, 64], f),
            ("latents", &[32, 64], f),
            ("reg_token", &[1, 4, 64], f),
            ("blocks.0.norm.gamma", &[8, 64], f),
            ("blocks.0.ls1.gamma", &[64], f),
            ("attn.bias_k", &[1, 1, 64], f),
            ("experts.b", &[4, 64], f),
            ("shared_expert_gate.weight", &[1, 64], f),
        ],
        Value::Null,
    );
    for (name, word) in [
        ("blocks.0.mixer.A_log", "state matrix"),
        ("blocks.0.attn.rel_pos_h", "relative positions"),
        ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias", "bias"),
        ("query_tokens", "learned tokens"),
        ("latents", "learned tokens"),
        ("reg_token", "learned tokens"),
        ("blocks.0.norm.gamma", "gain"),
        ("shared_expert_gate", "single row"),
    ] {
        assert!(why(&m, name).contains(word), "{name}: {}", why(&m, name));
        assert!(!named(&m, name).measurable() || name == "shared_expert_gate", "{name} has no spectrum");
    }
    for name in ["blocks.0.mixer.in_proj", "blocks.0.attn.qkv"] {
        assert!(named(&m, name).eligible(), "{name}");
    }
    assert!(!m.not_weights.iter().any(|(_, why)| why.contains("mask")), "bias_k is no mask: {:?}", m.not_weights);
}

#[test]
fn buffers_are_no_weights() {
    let m = model_of(
        &[
            ("layers.0.attn.qkv.weight", &[96, 32], DType::F32),
            ("layers.0.attn.relative_coords_table", &[1, 13, 13, 2], DType::F32),
            ("layers.0.attn_mask", &[4, 49, 49], DType::F32),
            ("layers.0.fc.weight_mask", &[16, 32], DType::F32),
            ("scaled_fp8", &[0], DType::F8E4M3),
        ],
        Value::Null,
    );
    assert_eq!(order(&m), ["layers.0.attn.qkv"]);
    assert_eq!(m.not_weights.len(), 4);
}

#[test]
fn every_parameter_is_counted_once() {
    let list: &[(&str, &[usize], DType)] = &[
        ("a.experts.gate_up_proj", &[4, 8, 16], DType::F32),
        ("a.experts.gate_up_proj_bias", &[4, 16], DType::F32),
        ("a.bias_k", &[1, 1, 8], DType::F32),
        ("b.0.A_log", &[8, 4], DType::F32),
        ("norm.bias", &[8], DType::F32),
        ("stray_bias", &[3], DType::F32),
    ];
    let m = model_of(list, Value::Null);
    assert_eq!(m.params(), list.iter().map(|t| t.1.iter().product::<usize>() as u64).sum::<u64>());
}
