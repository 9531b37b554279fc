use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::sync::LazyLock;

/// A model in a folder with these files.
fn model(config: serde_json::Value, files: &[(&str, &str)]) -> (tempfile::TempDir, Model) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let path = folder.path().join("model.safetensors");
    let file = crate::model::File { path: path.clone(), name: "model.safetensors".to_owned(), bytes: 0 };
    let model = Model { name: "m".to_owned(), path, files: vec![file], config: Some(config), ..Model::default() };
    (folder, model)
}

/// Lower case, accents off, blanks dropped, words cut to 128 tokens with special tokens around, as BERT does.
fn bert() -> String {
    let tokenizer = json!({
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": true, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}}},
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100,
                  "vocab": {"[PAD]": 0, "[CLS]": 1, "[UNK]": 2, "in": 3, "the": 4, "be": 5, "##gin": 6, "##ning": 7,
                            ".": 8, "eglise": 9}}
    });
    tokenizer.to_string()
}

/// GPT-2's letters for bytes: those that print stand for themselves, the others for code points from 256.
fn vocabulary() -> String {
    let mut letters: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    letters.sort_unstable();
    let mut map: serde_json::Map<String, serde_json::Value> =
        letters.iter().enumerate().map(|(i, c)| (c.to_string(), json!(i))).collect();
    map.insert("th".to_owned(), json!(256));
    map.insert("the".to_owned(), json!(257));
    map.insert("Ġthe".to_owned(), json!(258));
    serde_json::Value::Object(map).to_string()
}

const MERGES: &str = "#version: 0.2\nt h\nth e\nĠ the\n";

fn gpt2() -> (tempfile::TempDir, Model) {
    let files = [("vocab.json", &*vocabulary()), ("merges.txt", MERGES)];
    model(json!({"model_type": "gpt2", "vocab_size": 259}), &files)
}

static GPT2: LazyLock<Tokeniser> = LazyLock::new(|| Tokeniser::of(&gpt2().1).unwrap());
static BERT: LazyLock<Tokeniser> =
    LazyLock::new(|| Tokeniser::of(&model(json!({"model_type": "bert"}), &[("tokenizer.json", &bert())]).1).unwrap());

fn encode(tokeniser: &Tokeniser, text: &[u8]) -> Result<Vec<Token>, DataError> {
    tokeniser.encode(text, Path::new("some.txt"), 100)
}

fn pairs(tokeniser: &Tokeniser, text: &str) -> Vec<(u32, u32)> {
    encode(tokeniser, text.as_bytes()).unwrap().iter().map(|t| (t.id, t.bytes)).collect()
}

#[test]
fn the_token_that_begins_texts_is_the_tokenizers_own_unless_its_config_says_otherwise() {
    assert_eq!(BERT.begin(Begin::Auto).unwrap(), Some(1));
    assert_eq!(BERT.begin(Begin::Never).unwrap(), None);
    assert_eq!(GPT2.begin(Begin::Auto).unwrap(), None);
    assert!(GPT2.begin(Begin::Always).unwrap_err().to_string().contains("--begin always"));
    let of = |config: &str| {
        let files = [("tokenizer.json", &*bert()), ("tokenizer_config.json", config)];
        let (_folder, model) = model(json!({"model_type": "llama", "bos_token_id": 3, "vocab_size": 10}), &files);
        let tokeniser = Tokeniser::of(&model).unwrap();
        [Begin::Auto, Begin::Always].map(|when| tokeniser.begin(when).unwrap())
    };
    assert_eq!(of(r#"{"add_bos_token": false}"#), [None, Some(3)]);
    assert_eq!(of("{}"), [Some(1), Some(1)]);
    // A template that ends texts as well is none that begins them alone.
    let end = r#"{"SpecialToken":{"id":"[CLS]","type_id":0}}"#;
    let text = r#"{"Sequence":{"id":"A","type_id":0}}"#;
    let both = bert().replacen(text, &format!("{text},{end}"), 1);
    assert_ne!(both, bert());
    let (_folder, model) = model(json!({"model_type": "bert"}), &[("tokenizer.json", &both)]);
    assert_eq!(Tokeniser::of(&model).unwrap().begin(Begin::Auto).unwrap(), None);
}

#[test]
fn windows_begin_with_that_token_which_counts_in_their_length_and_is_not_predicted() {
    let (_folder, model) = model(json!({"model_type": "llama", "vocab_size": 10}), &[("tokenizer.json", &bert())]);
    let path = model.path.with_file_name("some.txt");
    std::fs::write(&path, "in the beginning. in the beginning.").unwrap();
    let data = super::super::Data::open(&path, &model).unwrap();
    let all = 0..data.len();
    let slice = data.slice(&model, all.clone(), Some(5)).unwrap();
    assert_eq!(slice.begin, Some(1));
    let windows = |slice: &super::super::Slice| -> Vec<Vec<u32>> {
        let tokens = |u: &super::super::Unit| match u {
            super::super::Unit::Window { tokens, .. } => tokens.clone(),
            super::super::Unit::Images { .. } => Vec::new(),
        };
        slice.units.iter().map(tokens).collect()
    };
    assert_eq!(windows(&slice), [vec![1, 3, 4, 5, 6], vec![1, 7, 8, 3, 4], vec![1, 5, 6, 7, 8]]);
    let bytes: usize = slice
        .units
        .iter()
        .map(|u| match u {
            super::super::Unit::Window { bytes, .. } => *bytes,
            super::super::Unit::Images { .. } => 0,
        })
        .sum();
    assert_eq!(bytes, data.len(), "every byte of the text is predicted");
    let never = super::super::Data { begin: Begin::Never, ..data };
    let slice = never.slice(&model, all, Some(5)).unwrap();
    assert_eq!((slice.begin, windows(&slice)[0].clone()), (None, vec![3, 4, 5, 6, 7]));
}

#[test]
fn bytes_are_tokens_where_the_config_says_so() {
    let (_folder, model) = model(json!({"tokenizer": "bytes", "vocab_size": 256}), &[]);
    let tokeniser = Tokeniser::of(&model).unwrap();
    assert!(tokeniser.takes_bytes());
    let tokens = encode(&tokeniser, &[0, 255, 65]).unwrap();
    assert_eq!(tokens.iter().map(|t| (t.id, t.bytes)).collect::<Vec<_>>(), [(0, 1), (255, 1), (65, 1)]);
}

#[test]
fn pieces_of_words_are_told_by_hand_and_nothing_is_cut_padded_or_added() {
    // "Église" has six letters in seven bytes; blanks go with the word that follows them.
    let want = [(3, 2), (4, 4), (5, 4), (6, 3), (7, 4), (8, 1), (9, 10)];
    assert_eq!(pairs(&BERT, "In the  beginning.   Église"), want);
}

#[test]
fn a_text_without_a_token_has_none() {
    assert_eq!(pairs(&BERT, "   "), []);
    assert_eq!(pairs(&GPT2, ""), []);
}

#[test]
fn gpt2_is_read_from_its_two_files_and_keeps_blanks() {
    let ids: Vec<_> = pairs(&GPT2, "the the");
    assert_eq!(ids, [(257, 3), (258, 4)]);
    // A letter of four bytes is four tokens here; the first stands for all of it.
    let emoji: Vec<u32> = pairs(&GPT2, "🦀!").iter().map(|t| t.1).collect();
    assert_eq!(emoji, [4, 0, 0, 0, 1]);
}

#[test]
fn another_architecture_with_such_files_cuts_words_otherwise_and_is_refused() {
    let files = [("vocab.json", &*vocabulary()), ("merges.txt", MERGES)];
    let (_folder, model) = model(json!({"model_type": "qwen2"}), &files);
    let error = Tokeniser::of(&model).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: no such file") && error.contains("\"bytes\""), "{error}");
}

#[test]
fn what_is_no_text_says_where() {
    let error = encode(&GPT2, b"the \xff").unwrap_err().to_string();
    assert!(error.starts_with("some.txt: is not UTF-8 at byte 104"), "{error}");
}

#[test]
fn a_damaged_tokenizer_and_one_of_another_model_are_told() {
    let (_folder, broken) = model(json!({}), &[("tokenizer.json", "{\"version\": ")]);
    let error = Tokeniser::of(&broken).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: cannot be read as a tokenizer; download it again"), "{error}");
    let (_folder, small) = model(json!({"vocab_size": 8}), &[("tokenizer.json", &bert())]);
    let error = encode(&Tokeniser::of(&small).unwrap(), b"in the.").unwrap_err().to_string();
    assert!(error.contains("gives token 8 and the model's vocab_size is 8"), "{error}");
}

proptest! {
    #[test]
    fn the_bytes_of_all_tokens_are_the_text(text in "\\PC*", blanks in "[ \n\t]{0,3}") {
        let text = format!("{text}{blanks}");
        for tokeniser in [&*GPT2, &*BERT] {
            let tokens = encode(tokeniser, text.as_bytes()).unwrap();
            let sum: usize = tokens.iter().map(|t| t.bytes as usize).sum();
            prop_assert!(sum == text.len() || tokens.is_empty(), "{sum} of {}", text.len());
        }
        prop_assert_eq!(encode(&GPT2, text.as_bytes()).unwrap().is_empty(), text.is_empty());
    }
}
