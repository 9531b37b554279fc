//! What a tensor's name says by itself: the module it belongs to, which part of it, and the block it stands in.

use std::cmp::Ordering;

/// What part of a module a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A weight: a layer of its own.
    Weight,
    /// A bias or shift, counted with its layer.
    Bias,
    /// Something kept beside the weights that is no parameter: running statistics, positions, masks.
    Buffer,
}

/// Names of tensors that are stored with a model but are not parameters.
const BUFFERS: &[&str] = &[
    "running_mean",
    "running_var",
    "num_batches_tracked",
    "position_ids",
    "token_type_ids",
    "inv_freq",
    "masked_bias",
    "relative_position_index",
    "cos_cached",
    "sin_cached",
    "scaled_fp8",
];

/// Whether a tensor of this name is kept beside the weights and is no parameter.
pub fn is_buffer(name: &str) -> bool {
    BUFFERS.contains(&name.rsplit('.').next().unwrap_or(name))
}

/// Splits a tensor name into its module and the part of it, such as `("fc1", Weight)` for `fc1.weight`.
pub fn split(name: &str) -> (&str, Part) {
    let last = name.rsplit('.').next().unwrap_or(name);
    if is_buffer(name) {
        return (name, Part::Buffer);
    }
    // GPT-2 files carry the causal mask as `attn.bias`; its module has no other tensor of that name's length.
    if let Some(module) = name.strip_suffix(".weight") {
        return (module, Part::Weight);
    }
    if let Some(module) = name.strip_suffix(".bias") {
        return (module, Part::Bias);
    }
    // Biases of bare parameters: `gate_up_proj_bias`, `in_proj_bias`, and an expert router's correction.
    if last.starts_with("bias_") || last.ends_with("_bias") || last == "beta" {
        return (name, Part::Bias);
    }
    (name, Part::Weight)
}

/// The same in a checkpoint of Flax or Keras, where weights are called `kernel`, `embedding` and `scale`.
pub fn split_flax(name: &str) -> (&str, Part) {
    let named = ["kernel", "embedding", "scale", "gamma"].iter().find_map(|part| {
        let module = name.strip_suffix(part)?;
        module.strip_suffix('.')
    });
    named.map_or_else(|| split(name), |module| (module, Part::Weight))
}

/// Orders names as people do: digits by their value, so that `layer2` comes before `layer10`.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        match (a.first(), b.first()) {
            (None, None) => return Ordering::Equal,
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (da, db) = (digits(a), digits(b));
                let (na, nb) = (trim_zeros(&a[..da]), trim_zeros(&b[..db]));
                let order = na.len().cmp(&nb.len()).then_with(|| na.cmp(nb)).then(da.cmp(&db));
                if order != Ordering::Equal {
                    return order;
                }
                (a, b) = (&a[da..], &b[db..]);
            }
            (Some(x), Some(y)) if x != y => return x.cmp(y),
            _ => (a, b) = (&a[1..], &b[1..]),
        }
    }
}

fn digits(s: &[u8]) -> usize {
    s.iter().take_while(|c| c.is_ascii_digit()).count()
}

fn trim_zeros(s: &[u8]) -> &[u8] {
    let zeros = s.iter().take_while(|&&c| c == b'0').count();
    &s[zeros.min(s.len().saturating_sub(1))..]
}

/// Where the block's part of a module name ends: `model.layers.3.mlp.up_proj` gives `("model.layers.3", "mlp.up_proj")`.
///
/// A block is the first number in the name that something follows (and further numbers directly behind it, as in
/// `blocks.1.0.conv`). `net.0` alone is a layer of a list, not a block.
pub fn block_of(module: &str) -> Option<(&str, &str)> {
    let mut end = 0;
    let mut found = None;
    for segment in module.split('.') {
        let number = !segment.is_empty() && segment.bytes().all(|c| c.is_ascii_digit());
        let next = end + segment.len();
        match (number, found) {
            (true, _) if next < module.len() => found = Some(next),
            (_, Some(_)) => break,
            _ => {}
        }
        end = next + 1;
    }
    found.map(|at| (&module[..at], &module[at + 1..]))
}

/// The number at the end of a block's key: 3 for `model.layers.3`.
pub fn block_number(key: &str) -> Option<usize> {
    key.rsplit('.').next()?.parse().ok()
}

/// The key without its numbers: blocks of one family are numbered together.
pub fn family(key: &str) -> &str {
    key.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')
}

/// The first number inside the last segment of a name: 2 for `conv2`, also for `layer.conv2.0`.
pub fn ordinal(label: &str) -> usize {
    let start = label.find(|c: char| c.is_ascii_digit());
    start.map_or(0, |s| {
        let rest = &label[s..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().unwrap_or(usize::MAX / 4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_by_value() {
        let mut names = ["layer10", "layer2", "layer1.conv", "layer1", "a", "layer02"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a", "layer1", "layer1.conv", "layer2", "layer02", "layer10"]);
    }

    #[test]
    fn the_block_is_the_first_number_that_something_follows() {
        assert_eq!(block_of("model.layers.3.mlp.up_proj"), Some(("model.layers.3", "mlp.up_proj")));
        assert_eq!(block_of("h.11.attn.c_attn"), Some(("h.11", "attn.c_attn")));
        assert_eq!(block_of("layer1.0.downsample.0"), Some(("layer1.0", "downsample.0")));
        assert_eq!(block_of("blocks.1.0.conv_dw"), Some(("blocks.1.0", "conv_dw")));
        assert_eq!(block_of("net.0"), None);
        assert_eq!(block_of("fc1"), None);
        assert_eq!(family("layer1.0"), "layer");
        assert_eq!(family("model.layers.3"), "model.layers");
    }

    #[test]
    fn suffixes_tell_weights_from_the_rest() {
        assert_eq!(split("a.fc.weight"), ("a.fc", Part::Weight));
        assert_eq!(split("a.fc.bias"), ("a.fc", Part::Bias));
        assert_eq!(split("lstm.weight_ih_l0"), ("lstm.weight_ih_l0", Part::Weight));
        assert_eq!(split("lstm.bias_hh_l0").1, Part::Bias);
        assert_eq!(split("bn.running_var").1, Part::Buffer);
        assert_eq!(split("mlp.experts.gate_up_proj_bias").1, Part::Bias);
        assert_eq!(split_flax("encoder.dense.kernel"), ("encoder.dense", Part::Weight));
    }
}
