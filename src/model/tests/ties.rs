//! Tied heads and tables that are stored more than once.

use super::*;

/// All tensors hold the number that stands at their name.
struct Filled(Vec<u8>);

impl Peek for Filled {
    fn bytes(&self, tensor: &Tensor) -> Option<&[u8]> {
        self.0.get(tensor.range.clone())
    }
}

fn filled(tensors: &[(&str, &[usize], u8)], config: Value) -> Model {
    let list: Vec<(&str, &[usize], DType)> = tensors.iter().map(|(n, s, _)| (*n, *s, DType::F32)).collect();
    let m = model_of(&list, config);
    let bytes = m.tensors.iter().zip(tensors).flat_map(|(t, (.., value))| vec![*value; t.range.len()]).collect();
    Model { notes: Vec::new(), ..m }.from_header_and(&Filled(bytes))
}

const TABLE: &[usize] = &[100, 64];

#[test]
fn equal_tables_are_counted_once() {
    let bart = filled(
        &[
            ("model.shared.weight", TABLE, 1),
            ("model.encoder.embed_tokens.weight", TABLE, 1),
            ("model.decoder.embed_tokens.weight", TABLE, 1),
            ("lm_head.weight", TABLE, 1),
        ],
        json!({"model_type": "bart"}),
    );
    assert_eq!(bart.params(), 6400);
    assert!(!named(&bart, "lm_head").eligible());
    let t5 = filled(
        &[
            ("shared.weight", TABLE, 1),
            ("encoder.embed_tokens.weight", TABLE, 1),
            ("decoder.embed_tokens.weight", TABLE, 1),
            ("lm_head.weight", TABLE, 2),
        ],
        json!({"model_type": "t5", "tie_word_embeddings": false}),
    );
    assert_eq!(t5.params(), 2 * 6400, "a head of its own");
    assert!(named(&t5, "lm_head").eligible() && named(&t5, "lm_head").tied_to.is_none());
}

#[test]
fn a_head_that_differs_is_kept_and_said_though_the_config_ties_it() {
    let tensors = [("model.embed_tokens.weight", TABLE, 1), ("lm_head.weight", TABLE, 2)];
    let m = filled(&tensors, json!({"model_type": "llama", "tie_word_embeddings": true}));
    assert_eq!(m.params(), 2 * 6400);
    assert!(named(&m, "lm_head").eligible() && named(&m, "lm_head").tied_to.is_none());
    assert!(m.notes.iter().any(|n| n.contains("differs")), "{:?}", m.notes);
    let same = [("model.embed_tokens.weight", TABLE, 1), ("lm_head.weight", TABLE, 1)];
    let m = filled(&same, json!({"model_type": "llama", "tie_word_embeddings": false}));
    assert_eq!(m.params(), 6400, "equal bytes are one tensor, whatever the config says");
}

#[test]
fn families_tie_by_default_and_the_text_model_is_asked_first() {
    let head = |config: Value| {
        let m = filled(&[("model.decoder.embed_tokens.weight", TABLE, 1)], config);
        m.layers.iter().any(|l| l.name == "lm_head")
    };
    for kind in ["opt", "bloom", "falcon", "gpt_neo", "cohere", "mamba", "gpt2", "gemma"] {
        assert!(head(json!({"model_type": kind})), "{kind}");
    }
    assert!(!head(json!({"model_type": "llama"})));
    assert!(!head(json!({"model_type": "opt", "tie_word_embeddings": false})));
    assert!(head(json!({"model_type": "llava", "text_config": {"tie_word_embeddings": true}})));
    let both = json!({"model_type": "x", "tie_word_embeddings": true, "text_config": {"tie_word_embeddings": false}});
    assert!(!head(both));
}
