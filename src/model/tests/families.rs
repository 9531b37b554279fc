//! Transformers of the families that people bring.

use super::*;

/// A Llama-shaped block; `prefix` is everything before the block number.
fn llama(blocks: usize, d: usize, kv: usize, f: usize, extra: &[&str]) -> Vec<(String, Vec<usize>)> {
    let mut out = Vec::new();
    // File order is alphabetical: 10 before 2.
    let mut numbers: Vec<String> = (0..blocks).map(|b| b.to_string()).collect();
    numbers.sort();
    for b in numbers {
        let mut put = |name: &str, shape: &[usize]| out.push((format!("model.layers.{b}.{name}"), shape.to_vec()));
        put("input_layernorm.weight", &[d]);
        put("mlp.down_proj.weight", &[d, f]);
        put("mlp.gate_proj.weight", &[f, d]);
        put("mlp.up_proj.weight", &[f, d]);
        put("post_attention_layernorm.weight", &[d]);
        put("self_attn.k_proj.weight", &[kv, d]);
        put("self_attn.o_proj.weight", &[d, d]);
        put("self_attn.q_proj.weight", &[d, d]);
        put("self_attn.v_proj.weight", &[kv, d]);
        for name in extra {
            let wide = if name.contains("norm") {
                8
            } else if name.contains("q_proj") {
                d
            } else {
                kv
            };
            put(name, &[wide]);
        }
    }
    out
}

fn owned(list: &[(String, Vec<usize>)], dtype: DType) -> Vec<(&str, &[usize], DType)> {
    list.iter().map(|(n, s)| (n.as_str(), s.as_slice(), dtype)).collect()
}

const LLAMA_BLOCK: [Role; 7] = [Role::Query, Role::Key, Role::Value, Role::Output, Role::Gate, Role::Up, Role::Down];

#[test]
fn llama_and_mistral_in_module_order_with_blocks_by_number() {
    let mut list = llama(12, 64, 32, 96, &[]);
    list.insert(0, ("lm_head.weight".into(), vec![100, 64]));
    list.push(("model.embed_tokens.weight".into(), vec![100, 64]));
    list.push(("model.norm.weight".into(), vec![64]));
    for kind in ["llama", "mistral"] {
        let m = model_of(&owned(&list, DType::BF16), json!({"model_type": kind, "tie_word_embeddings": false}));
        assert_eq!(m.blocks(), 12);
        for b in 0..12 {
            assert_eq!(roles(&m, Some(b)), LLAMA_BLOCK, "block {b}");
        }
        let order = order(&m);
        assert_eq!(order[0], "model.embed_tokens");
        assert_eq!(*order.last().unwrap(), "lm_head");
        let at = |name: &str| order.iter().position(|n| *n == name).unwrap();
        assert!(at("model.layers.2.mlp.down_proj") < at("model.layers.10.self_attn.q_proj"));
        assert!(at("model.norm") > at("model.layers.11.mlp.down_proj"));
        let k = named(&m, "model.layers.3.self_attn.k_proj");
        assert_eq!((k.matrix, k.label.as_str(), k.orientation), ([32, 64], "k_proj", Orientation::OutIn));
        assert_eq!((k.params, k.bytes, k.macs), (2048, 4096, Some(2048)));
        assert!(k.eligible());
        assert!(!named(&m, "model.norm").eligible());
        assert!(!named(&m, "model.embed_tokens").eligible(), "a table that is looked up is no matrix product");
        let want: u64 = list.iter().map(|(_, s)| s.iter().product::<usize>() as u64).sum();
        assert_eq!(m.params(), want);
    }
}

#[test]
fn qwen_has_biases_and_gemma_more_norms() {
    let qwen2 = ["self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"];
    let list = llama(2, 64, 32, 96, &qwen2);
    let m = model_of(&owned(&list, DType::F16), json!({"model_type": "qwen2"}));
    assert_eq!(roles(&m, Some(1)), LLAMA_BLOCK);
    assert_eq!(named(&m, "model.layers.0.self_attn.q_proj").extra_params, 64);
    assert!(!m.layers.iter().any(|l| l.name.contains("bias")), "a bias is no layer of its own");

    let list = llama(
        2,
        64,
        32,
        96,
        &["self_attn.q_norm.weight", "self_attn.k_norm.weight", "pre_feedforward_layernorm.weight"],
    );
    for kind in ["qwen3", "gemma2"] {
        let m = model_of(&owned(&list, DType::BF16), json!({"model_type": kind}));
        assert_eq!(roles(&m, Some(0)), LLAMA_BLOCK);
        assert_eq!(named(&m, "model.layers.0.self_attn.q_norm").role, Role::Norm);
    }
}

#[test]
fn a_tied_head_is_counted_once_stored_or_not() {
    let mut list = llama(1, 64, 64, 96, &[]);
    list.push(("model.embed_tokens.weight".into(), vec![100, 64]));
    let without: u64 = list.iter().map(|(_, s)| s.iter().product::<usize>() as u64).sum();
    let m = model_of(&owned(&list, DType::BF16), json!({"model_type": "llama", "tie_word_embeddings": true}));
    assert_eq!(m.params(), without);
    let tied: Vec<&Layer> = m.layers.iter().filter(|l| l.tied_to.is_some()).collect();
    assert!(tied.len() <= 1);
    for layer in tied {
        assert_eq!((layer.params, layer.bytes), (0, 0));
        assert!(layer.why_not.as_ref().is_some_and(|w| w.contains("tied")), "{:?}", layer.why_not);
    }
    // Stored twice although the config ties them.
    list.push(("lm_head.weight".into(), vec![100, 64]));
    let m = model_of(&owned(&list, DType::BF16), json!({"model_type": "llama", "tie_word_embeddings": true}));
    assert_eq!(m.params(), without);
}

#[test]
fn fused_forms_of_phi_and_mixtral_experts() {
    let fused = [
        ("model.layers.0.self_attn.qkv_proj.weight", &[192, 64][..], DType::BF16),
        ("model.layers.0.self_attn.o_proj.weight", &[64, 64], DType::BF16),
        ("model.layers.0.mlp.gate_up_proj.weight", &[192, 64], DType::BF16),
        ("model.layers.0.mlp.down_proj.weight", &[64, 96], DType::BF16),
    ];
    let m = model_of(&fused, json!({"model_type": "phi3"}));
    assert_eq!(roles(&m, Some(0)), [Role::QueryKeyValue, Role::Output, Role::GateUp, Role::Down]);

    let mixtral = [
        ("model.layers.0.block_sparse_moe.experts.0.w1.weight", &[96, 64][..], DType::BF16),
        ("model.layers.0.block_sparse_moe.experts.0.w2.weight", &[64, 96], DType::BF16),
        ("model.layers.0.block_sparse_moe.experts.0.w3.weight", &[96, 64], DType::BF16),
        ("model.layers.0.block_sparse_moe.experts.1.w1.weight", &[96, 64], DType::BF16),
        ("model.layers.0.block_sparse_moe.experts.1.w2.weight", &[64, 96], DType::BF16),
        ("model.layers.0.block_sparse_moe.experts.1.w3.weight", &[96, 64], DType::BF16),
        ("model.layers.0.block_sparse_moe.gate.weight", &[2, 64], DType::BF16),
        ("model.layers.0.self_attn.q_proj.weight", &[64, 64], DType::BF16),
    ];
    let m = model_of(&mixtral, json!({"model_type": "mixtral"}));
    assert_eq!(m.blocks(), 1);
    let role = |name: &str| named(&m, &format!("model.layers.0.block_sparse_moe.{name}")).role;
    assert_eq!(
        (role("experts.1.w1"), role("experts.1.w2"), role("experts.1.w3"), role("gate")),
        (Role::Gate, Role::Down, Role::Up, Role::Router)
    );
    let labels: std::collections::HashSet<&str> = m.layers.iter().map(|l| l.label.as_str()).collect();
    assert_eq!(labels.len(), m.layers.len(), "labels tell experts apart: {labels:?}");
}

#[test]
fn gpt2_stores_in_by_out_and_is_transposed() {
    let tensors = [
        ("transformer.h.0.attn.bias", &[1, 1, 16, 16][..], DType::F32),
        ("transformer.h.0.attn.c_attn.bias", &[192], DType::F32),
        ("transformer.h.0.attn.c_attn.weight", &[64, 192], DType::F32),
        ("transformer.h.0.attn.c_proj.bias", &[64], DType::F32),
        ("transformer.h.0.attn.c_proj.weight", &[64, 64], DType::F32),
        ("transformer.h.0.ln_1.bias", &[64], DType::F32),
        ("transformer.h.0.ln_1.weight", &[64], DType::F32),
        ("transformer.h.0.mlp.c_fc.weight", &[64, 256], DType::F32),
        ("transformer.h.0.mlp.c_proj.weight", &[256, 64], DType::F32),
        ("transformer.wpe.weight", &[16, 64], DType::F32),
        ("transformer.wte.weight", &[100, 64], DType::F32),
    ];
    let m = model_of(&tensors, json!({"model_type": "gpt2"}));
    let qkv = named(&m, "transformer.h.0.attn.c_attn");
    assert_eq!((qkv.matrix, qkv.orientation, qkv.role), ([192, 64], Orientation::InOut, Role::QueryKeyValue));
    let out = named(&m, "transformer.h.0.attn.c_proj");
    assert_eq!((out.orientation, out.role), (Orientation::InOut, Role::Output), "square: told by its siblings");
    assert_eq!(
        (named(&m, "transformer.h.0.mlp.c_fc").matrix, named(&m, "transformer.h.0.mlp.c_fc").role),
        ([256, 64], Role::Up)
    );
    assert_eq!(named(&m, "transformer.h.0.mlp.c_proj").role, Role::Down);
    assert_eq!(named(&m, "transformer.wpe").role, Role::Position);
    assert!(
        !m.layers.iter().any(|l| l.name.ends_with("attn.bias") || l.shape.len() == 4),
        "the causal mask is no layer"
    );
}

#[test]
fn gpt_neox_bert_and_vit() {
    let neox = [
        ("gpt_neox.embed_in.weight", &[100, 64][..], DType::F16),
        ("gpt_neox.layers.0.attention.dense.weight", &[64, 64], DType::F16),
        ("gpt_neox.layers.0.attention.query_key_value.weight", &[192, 64], DType::F16),
        ("gpt_neox.layers.0.mlp.dense_4h_to_h.weight", &[64, 256], DType::F16),
        ("gpt_neox.layers.0.mlp.dense_h_to_4h.weight", &[256, 64], DType::F16),
        ("embed_out.weight", &[100, 64], DType::F16),
    ];
    let m = model_of(&neox, json!({"model_type": "gpt_neox"}));
    assert_eq!(roles(&m, Some(0)), [Role::QueryKeyValue, Role::Output, Role::Up, Role::Down]);
    assert_eq!(named(&m, "embed_out").role, Role::Head);
    assert_eq!(named(&m, "gpt_neox.embed_in").role, Role::Embedding);

    let bert = [
        ("embeddings.LayerNorm.weight", &[64][..], DType::F32),
        ("embeddings.position_embeddings.weight", &[16, 64], DType::F32),
        ("embeddings.position_ids", &[1, 16], DType::I64),
        ("embeddings.token_type_embeddings.weight", &[2, 64], DType::F32),
        ("embeddings.word_embeddings.weight", &[100, 64], DType::F32),
        ("encoder.layer.0.attention.output.dense.weight", &[64, 64], DType::F32),
        ("encoder.layer.0.attention.self.key.weight", &[64, 64], DType::F32),
        ("encoder.layer.0.attention.self.query.weight", &[64, 64], DType::F32),
        ("encoder.layer.0.attention.self.value.weight", &[64, 64], DType::F32),
        ("encoder.layer.0.intermediate.dense.weight", &[256, 64], DType::F32),
        ("encoder.layer.0.output.dense.weight", &[64, 256], DType::F32),
        ("pooler.dense.weight", &[64, 64], DType::F32),
    ];
    let m = model_of(&bert, json!({"model_type": "bert"}));
    assert_eq!(roles(&m, Some(0)), [Role::Query, Role::Key, Role::Value, Role::Output, Role::Up, Role::Down]);
    assert_eq!(named(&m, "embeddings.word_embeddings").role, Role::Embedding);
    assert_eq!(named(&m, "embeddings.position_embeddings").role, Role::Position);
    assert_eq!(m.layers.last().unwrap().name, "pooler.dense");

    let vit = [
        ("vit.embeddings.patch_embeddings.projection.weight", &[64, 3, 8, 8][..], DType::F32),
        ("vit.encoder.layer.0.attention.attention.query.weight", &[64, 64], DType::F32),
        ("vit.encoder.layer.0.attention.output.dense.weight", &[64, 64], DType::F32),
        ("vit.encoder.layer.0.intermediate.dense.weight", &[256, 64], DType::F32),
        ("vit.encoder.layer.0.output.dense.weight", &[64, 256], DType::F32),
        ("classifier.weight", &[10, 64], DType::F32),
    ];
    let m = model_of(&vit, json!({"model_type": "vit"}));
    assert_eq!(roles(&m, Some(0)), [Role::Query, Role::Output, Role::Up, Role::Down]);
    assert_eq!(named(&m, "classifier").role, Role::Head);
    assert_eq!(m.layers[0].kind, Kind::Conv2d, "the patch projection comes first");
    assert_eq!(m.layers[0].matrix, [64, 192]);

    let timm = [
        ("blocks.0.attn.proj.weight", &[64, 64][..], DType::F32),
        ("blocks.0.attn.qkv.weight", &[192, 64], DType::F32),
        ("blocks.0.mlp.fc1.weight", &[256, 64], DType::F32),
        ("blocks.0.mlp.fc2.weight", &[64, 256], DType::F32),
        ("head.weight", &[10, 64], DType::F32),
        ("patch_embed.proj.weight", &[64, 3, 8, 8], DType::F32),
        ("pos_embed", &[1, 65, 64], DType::F32),
    ];
    let m = model_of(&timm, Value::Null);
    assert_eq!(roles(&m, Some(0)), [Role::QueryKeyValue, Role::Output, Role::Up, Role::Down]);
    assert_eq!(named(&m, "head").role, Role::Head);
}
