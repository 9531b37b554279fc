//! Regular expressions that match the names of some layers and no other.

use crate::model::naming;

/// A name as a regular expression that matches it alone (dots and all other signs escaped), without anchors.
pub fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 8);
    for c in name.chars() {
        if !c.is_alphanumeric() && c != '_' {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Expressions without anchors for these names: layers that differ in the number of their block alone share one, with
/// the numbers in order, as in `model\.layers\.(2|10)\.mlp\.up_proj`.
pub fn compact(names: &[&str]) -> Vec<String> {
    let mut groups: Vec<(String, String, Vec<String>)> = Vec::new();
    for name in names {
        let parts = naming::block_of(name).and_then(|(key, rest)| {
            let (family, number) = key.rsplit_once('.').unwrap_or(("", key));
            number.bytes().all(|b| b.is_ascii_digit()).then(|| (family.to_owned(), rest.to_owned(), number.to_owned()))
        });
        match parts {
            Some((family, rest, number)) => match groups.iter_mut().find(|g| g.0 == family && g.1 == rest) {
                Some(group) => group.2.push(number),
                None => groups.push((family, rest, vec![number])),
            },
            None => groups.push(((*name).to_owned(), String::new(), Vec::new())),
        }
    }
    groups
        .into_iter()
        .map(|(family, rest, mut numbers)| {
            numbers.sort_by(|a, b| naming::natural(a, b));
            let dot = if family.is_empty() { "" } else { "\\." };
            match numbers.as_slice() {
                [] => escape(&family),
                [one] => format!("{}{dot}{one}\\.{}", escape(&family), escape(&rest)),
                many => format!("{}{dot}({})\\.{}", escape(&family), many.join("|"), escape(&rest)),
            }
        })
        .collect()
}

/// The same with anchors at both ends.
pub fn anchored(names: &[&str]) -> Vec<String> {
    compact(names).into_iter().map(|e| format!("^{e}$")).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Names that an expression of this file matches: alternatives multiplied out, escapes taken back.
    pub fn matched(expression: &str) -> Vec<String> {
        let inner = expression.trim_start_matches('^').trim_end_matches('$');
        let plain = |s: &str| {
            let mut out = String::new();
            let mut chars = s.chars();
            while let Some(c) = chars.next() {
                assert!(!".*+?[]{}".contains(c), "{expression}: {c} is not escaped");
                out.push(if c == '\\' { chars.next().unwrap() } else { c });
            }
            out
        };
        match inner.split_once('(') {
            None => vec![plain(inner)],
            Some((before, rest)) => {
                let (numbers, after) = rest.split_once(')').unwrap();
                numbers.split('|').map(|n| format!("{}{n}{}", plain(before), plain(after))).collect()
            }
        }
    }

    #[test]
    fn dots_are_dots_and_blocks_are_in_order() {
        let names = ["model.layers.10.mlp.up_proj", "model.layers.9.mlp.up_proj", "lm_head", "h.0.attn.c_attn"];
        assert_eq!(anchored(&names), [r"^model\.layers\.(9|10)\.mlp\.up_proj$", r"^lm_head$", r"^h\.0\.attn\.c_attn$"]);
        assert_eq!(escape("a-b.c"), r"a\-b\.c");
    }

    #[test]
    fn what_is_matched_is_what_was_named() {
        let names =
            ["blocks.1.0.conv", "blocks.1.1.conv", "blocks.2.0.conv", "layer1.0.downsample.0", "layer1.1.conv1", "0.w"];
        let mut found: Vec<String> = anchored(&names).iter().flat_map(|e| matched(e)).collect();
        let mut want: Vec<String> = names.map(str::to_owned).to_vec();
        found.sort();
        want.sort();
        assert_eq!(found, want);
    }
}
