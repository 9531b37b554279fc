//! Weights that are stored or used more than once: tied heads, and copies of an embedding.

use super::Model;
use super::coded::Peek;
use super::layer::{Kind, Layer, LayerId, Orientation, Role};
use serde_json::Value;

/// Model types whose head is the embedding unless config.json says otherwise.
const TIED: &[&str] = &[
    "gpt2",
    "gpt_neo",
    "gpt_bigcode",
    "openai-gpt",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gemma3n_text",
    "t5",
    "mt5",
    "umt5",
    "longt5",
    "switch_transformers",
    "bart",
    "mbart",
    "plbart",
    "pegasus",
    "pegasus_x",
    "marian",
    "blenderbot",
    "blenderbot-small",
    "m2m_100",
    "nllb-moe",
    "led",
    "bigbird_pegasus",
    "fsmt",
    "whisper",
    "opt",
    "bloom",
    "falcon",
    "cohere",
    "cohere2",
    "mamba",
    "mamba2",
    "xglm",
    "biogpt",
    "ctrl",
    "starcoder2",
    "mpt",
    "smollm3",
    "lfm2",
];

/// Largest tensor, in bytes, that is compared whole; of larger ones as many bytes are compared in stretches.
const COMPARED: usize = 256 << 20;

/// Whether the config ties the head to the embedding: the text model's entry first, then the model's, then what the
/// family does by default.
fn tied_by_config(model: &Model) -> bool {
    let config = model.config.as_ref();
    let says = |path: &str| config.and_then(|c| c.pointer(path)).and_then(Value::as_bool);
    let family = || {
        let text = config.and_then(|c| c.pointer("/text_config/model_type")).and_then(Value::as_str);
        text.or(model.architecture()).is_some_and(|m| TIED.contains(&m))
    };
    says("/text_config/tie_word_embeddings").or_else(|| says("/tie_word_embeddings")).unwrap_or_else(family)
}

/// Whether two layers hold the same bytes; `None` where that cannot be seen.
fn equal(model: &Model, peek: &dyn Peek, a: &Layer, b: &Layer) -> Option<bool> {
    if a.tensor == b.tensor {
        return Some(true);
    }
    let bytes = |l: &Layer| peek.bytes(model.tensors.get(l.tensor)?);
    let (a, b) = (bytes(a)?, bytes(b)?);
    if a.len() != b.len() {
        return Some(false);
    }
    let stretch = 1 << 16;
    let step = (a.len() / (COMPARED / stretch)).max(stretch);
    Some((0..a.len()).step_by(step).all(|at| {
        let end = (at + stretch).min(a.len());
        a[at..end] == b[at..end]
    }))
}

fn table(layer: &Layer) -> bool {
    layer.role == Role::Embedding
        && layer.kind == Kind::Embedding
        && layer.shape.len() == 2
        && layer.coded.is_none()
        && !layer.label.contains("type")
}

fn head(layer: &Layer) -> bool {
    layer.role == Role::Head && layer.coded.is_none() && layer.shape.len() == 2
}

/// Counts each shared tensor once, with the first embedding that has it; `tied_to` holds the tensor of that one.
pub fn tie(model: &Model, peek: &dyn Peek, layers: &mut Vec<Layer>, notes: &mut Vec<String>) {
    let declared = tied_by_config(model);
    copies(model, peek, layers, declared, notes);
    let main = layers.iter().position(|l| table(l) && l.tied_to.is_none() && l.shape[0] >= l.shape[1].min(64));
    let Some(main) = main else { return };
    let shape = layers[main].shape.clone();
    let heads: Vec<usize> = (0..layers.len()).filter(|&i| head(&layers[i]) && layers[i].shape == shape).collect();
    let mut any = false;
    for &at in &heads {
        let same = equal(model, peek, &layers[main], &layers[at]);
        let name = layers[at].name.clone();
        match (same, declared) {
            (Some(true), _) => notes.push(format!("{name} is stored and equal to {}: counted once", layers[main].name)),
            (None, true) => {
                notes.push(format!("{name} is stored, and config.json ties it to the embedding: counted once"));
            }
            (Some(false), true) => {
                notes.push(format!(
                    "{name} is stored and differs from {}, although the model's config ties them: both are kept",
                    layers[main].name
                ));
                continue;
            }
            _ => continue,
        }
        any = true;
        share(layers, main, at);
    }
    let stored = layers.iter().any(|l| l.role == Role::Head && l.block.is_none());
    if any || (declared && heads.is_empty() && !stored && generates(model)) {
        layers[main].why_not = Some("a look-up table, and tied: it is the output head as well".to_owned());
    }
    if declared && !stored && generates(model) {
        let virtual_head = unstored(&layers[main], shape);
        layers.push(virtual_head);
    }
}

/// Equal tables are one: `shared`, `encoder.embed_tokens`, `decoder.embed_tokens`.
fn copies(model: &Model, peek: &dyn Peek, layers: &mut [Layer], declared: bool, notes: &mut Vec<String>) {
    let mut tables: Vec<usize> = (0..layers.len()).filter(|&i| table(&layers[i])).collect();
    // `shared` is what the others are made of.
    tables.sort_by_key(|&i| (!layers[i].name.ends_with("shared"), i));
    let mut firsts: Vec<usize> = Vec::new();
    for at in tables {
        let first = firsts.iter().copied().find(|&f| {
            let (a, b) = (&layers[f], &layers[at]);
            let alike = a.shape == b.shape && a.dtype == b.dtype;
            alike
                && equal(model, peek, a, b)
                    .unwrap_or(declared && (a.name.ends_with("shared") || b.name.ends_with("embed_tokens")))
        });
        match first {
            Some(first) => {
                notes.push(format!("{} is stored and equal to {}: counted once", layers[at].name, layers[first].name));
                share(layers, first, at);
            }
            None => firsts.push(at),
        }
    }
}

fn share(layers: &mut [Layer], with: usize, at: usize) {
    let (tensor, name) = (layers[with].tensor, layers[with].name.clone());
    let layer = &mut layers[at];
    (layer.params, layer.bytes, layer.tied_to) = (0, 0, Some(LayerId(tensor)));
    layer.why_not = Some(format!("tied to {name}: changing it would change the embedding too"));
}

fn generates(model: &Model) -> bool {
    model.config.as_ref().and_then(|c| c.get("architectures")).is_none_or(|a| {
        let text = a.to_string();
        text.contains("LM") || text.contains("Generation")
    })
}

/// The head that is not stored.
fn unstored(embedding: &Layer, shape: Vec<usize>) -> Layer {
    Layer {
        name: "lm_head".to_owned(),
        label: "lm_head".to_owned(),
        bias: None,
        block: None,
        role: Role::Head,
        kind: Kind::Linear,
        orientation: Orientation::OutIn,
        matrix: [shape[0], shape[1]],
        shape,
        params: 0,
        extra_params: 0,
        bytes: 0,
        tied_to: Some(LayerId(embedding.tensor)),
        why_not: Some(format!("tied to {}: changing it would change the embedding too", embedding.name)),
        ..embedding.clone()
    }
}
