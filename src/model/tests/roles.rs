//! Roles in architectures with names of their own.

use super::*;

fn role(m: &Model, name: &str) -> Role {
    named(m, name).role
}

#[test]
fn state_space_models_have_roles_of_their_own() {
    let f = DType::F32;
    let m = model_of(
        &[
            ("backbone.embeddings.weight", &[100, 32], f),
            ("backbone.layers.0.mixer.A_log", &[64, 16], f),
            ("backbone.layers.0.mixer.D", &[64], f),
            ("backbone.layers.0.mixer.conv1d.weight", &[64, 1, 4], f),
            ("backbone.layers.0.mixer.conv1d.bias", &[64], f),
            ("backbone.layers.0.mixer.dt_proj.weight", &[64, 2], f),
            ("backbone.layers.0.mixer.in_proj.weight", &[128, 32], f),
            ("backbone.layers.0.mixer.out_proj.weight", &[32, 64], f),
            ("backbone.layers.0.mixer.x_proj.weight", &[34, 64], f),
        ],
        json!({"model_type": "mamba"}),
    );
    let at = |part: &str| role(&m, &format!("backbone.layers.0.mixer.{part}"));
    assert_eq!(
        ["in_proj", "conv1d", "x_proj", "dt_proj", "out_proj"].map(at),
        [Role::SsmIn, Role::SsmConv, Role::SsmX, Role::SsmDt, Role::SsmOut]
    );
    assert_eq!(named(&m, "backbone.layers.0.mixer.conv1d").groups, Some(64), "one filter a channel");
    assert!(named(&m, "lm_head").tied_to.is_some(), "tied by the family's default");
    assert!(m.macs() > 100 * 32, "the head's work is counted");
}

#[test]
fn rwkv_mixes_are_no_routers_keys_or_values() {
    let f = DType::F32;
    let m = model_of(
        &[
            ("blocks.0.att.gate.weight", &[32, 32], f),
            ("blocks.0.att.key.weight", &[32, 32], f),
            ("blocks.0.att.receptance.weight", &[32, 32], f),
            ("blocks.0.att.time_decay", &[4, 8], f),
            ("blocks.0.ffn.key.weight", &[64, 32], f),
            ("blocks.0.ffn.value.weight", &[32, 64], f),
        ],
        Value::Null,
    );
    assert!(["gate", "key", "receptance"].iter().all(|n| role(&m, &format!("blocks.0.att.{n}")) == Role::TimeMix));
    assert!(["key", "value"].iter().all(|n| role(&m, &format!("blocks.0.ffn.{n}")) == Role::ChannelMix));
    assert!(why(&m, "blocks.0.att.time_decay").contains("entry by entry"));
}

#[test]
fn diffusers_names() {
    let f = DType::F32;
    let b = "down_blocks.0.attentions.0.transformer_blocks.0";
    let names: Vec<String> =
        ["attn1.to_q", "attn1.to_out.0", "ff.net.0.proj", "ff.net.2", "attn2.add_k_proj", "attn2.to_add_out"]
            .iter()
            .map(|n| format!("{b}.{n}.weight"))
            .collect();
    let shapes: [&[usize]; 6] = [&[64, 64], &[64, 64], &[512, 64], &[64, 256], &[64, 64], &[64, 64]];
    let list: Vec<(&str, &[usize], DType)> = names.iter().zip(shapes).map(|(n, s)| (n.as_str(), s, f)).collect();
    let m = model_of(&list, Value::Null);
    let at = |part: &str| role(&m, &format!("{b}.{part}"));
    assert_eq!(at("attn1.to_out.0"), Role::Output);
    assert_eq!(at("ff.net.0.proj"), Role::GateUp, "twice as wide as what follows takes");
    assert_eq!(at("ff.net.2"), Role::Down);
    assert_eq!((at("attn2.add_k_proj"), at("attn2.to_add_out")), (Role::Key, Role::Output));
    let plain =
        model_of(&[("b.0.ff.net.0.proj.weight", &[256, 64], f), ("b.0.ff.net.2.weight", &[64, 256], f)], Value::Null);
    assert_eq!(role(&plain, "b.0.ff.net.0.proj"), Role::Up);
}

#[test]
fn settings_of_bits_leave_heads_and_conv1d_alone() {
    let m = model_of(
        &[
            ("h.0.attn.c_attn.weight", &[64, 192], DType::F32),
            ("h.0.mlp.gate.weight", &[4, 64], DType::F32),
            ("h.0.mlp.up_proj.weight", &[128, 64], DType::F32),
            ("lm_head.weight", &[100, 64], DType::F32),
        ],
        json!({"model_type": "gpt2", "tie_word_embeddings": false}),
    );
    assert!(named(&m, "h.0.attn.c_attn").keeps_bits() && named(&m, "lm_head").keeps_bits());
    assert!(!named(&m, "h.0.mlp.up_proj").keeps_bits());
    assert!(named(&m, "h.0.mlp.gate").by_name_only());
}
